# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values as they were at one moment, to compare with and to return to.

A value may change in place, deep within. So what can change is kept as a
pickle, which never leaves the process.
"""

import pickle


# Types of values that cannot change.
_SIMPLE = frozenset((str, bytes, int, bool, type(None)))


class _Unknown:
    """A value that only the client's serializer can take apart.

    It equals nothing, so it counts as changed.
    """

    def __init__(self, value):
        self.value = value


def freeze(value):
    """Return what equals that of another value if nothing has changed."""
    kind = type(value)
    if kind in _SIMPLE:
        return kind, value
    try:
        return pickle, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return _Unknown, _Unknown(value)


def thaw(frozen):
    """Return a value like the one that was frozen."""
    kind, content = frozen
    if kind is pickle:
        return pickle.loads(content)
    return content.value if kind is _Unknown else content


def freeze_all(values):
    return {place: freeze(value) for place, value in values.items()}


def thaw_all(values):
    return {place: thaw(value) for place, value in values.items()}


def changed(old, new):
    """Return the places in which two frozen states differ."""
    return {place for place in old.keys() | new.keys()
            if old.get(place) != new.get(place)}
