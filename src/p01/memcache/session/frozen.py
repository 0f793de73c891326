# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values as they were at one moment, to compare with and to return to.

A value may change in place, deep within. So what is kept of it is a pickle,
which never leaves the process. Mostly nothing has changed, which one pickle of
all of them tells; only otherwise there is one for each.
"""

import io
import pickle
from functools import cached_property

from persistent import Persistent


# Types of values that cannot change.
_SIMPLE = frozenset((str, bytes, int, bool, type(None)))


class _Unknown:
    """A value that only the client's serializer can take apart.

    It equals nothing, so it counts as changed.
    """

    def __init__(self, value):
        self.value = value


class _Pickler(pickle.Pickler):

    def reducer_override(self, obj):
        # One may lead to the whole database. The client will refuse it.
        if isinstance(obj, Persistent):
            raise pickle.PicklingError('a persistent object')
        return NotImplemented


def _dumps(value):
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


class Frozen:
    """A dict as it was when this was made."""

    def __init__(self, values):
        try:
            self._whole = _dumps(values)
        except Exception:
            self._whole = None
            self._parts = _freeze(values)

    def thaw(self):
        """Return a dict like that one."""
        if self._whole is not None:
            return pickle.loads(self._whole)
        return {place: _thaw(*part) for place, part in self._parts.items()}

    def changed(self, other):
        """Return the keys whose values differ in another one."""
        if self._whole is not None and self._whole == other._whole:
            return set()
        old, new = self._parts, other._parts
        return {place for place in old.keys() | new.keys()
                if old.get(place) != new.get(place)}

    @cached_property
    def _parts(self):
        return _freeze(pickle.loads(self._whole))


def _freeze(values):
    return {place: _freeze_one(value) for place, value in values.items()}


def _freeze_one(value):
    kind = type(value)
    if kind in _SIMPLE:
        return kind, value
    try:
        return pickle, _dumps(value)
    except Exception:
        return _Unknown, _Unknown(value)


def _thaw(kind, content):
    if kind is pickle:
        return pickle.loads(content)
    return content.value if kind is _Unknown else content
