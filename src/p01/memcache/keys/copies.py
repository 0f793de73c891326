# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Copies of the parts of a key, whose pickles are equal where the parts are.

The pickler writes an object once, and refers to it where the same one comes
again. So either no object comes twice in a copy, or equal ones are the same.
"""

import copyreg
import io
import itertools
import math
import pickle
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import BuiltinMethodType
from types import FunctionType
from types import MethodType
from typing import Any

from p01.memcache.errors import SerializationError
from p01.memcache.keys.adapted import adapted
from p01.memcache.keys.instance import Content
from p01.memcache.keys.instance import Instance
from p01.memcache.keys.instance import InstancePickler
from p01.memcache.keys.strict import TYPES
from p01.memcache.values.unstorable import Proxy
from p01.memcache.values.unstorable import is_special
from p01.memcache.values.unstorable import unwrapped


# What a pickle never refers to.
_NUMBERS = frozenset((bool, int, float))
_ATOMS = _NUMBERS | {type(None)}

_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))

_newobj_ex = copyreg.__newobj_ex__  # type: ignore[attr-defined]


class TooMany(Exception):
    """A key has more parts than may be written again."""


class Copies:
    """Copies in which no object comes twice.

    Tuples within tuples may be few objects, but billions of parts if each is
    written again: `most` bounds them.
    """

    def __init__(self, protocol: int, most: float) -> None:
        self._protocol = protocol
        self._left = most
        self._is_guarded = False  # inside a security proxy
        self._names: dict[str, str] = {}
        # By the id of a part: the copy of one that may contain itself, one
        # that cannot be made before its parts, and an instance with its copy.
        self._open: dict[int, Any] = {}
        self._begun: set[int] = set()
        self._known: dict[int, tuple[Any, Instance]] = {}

    def of(self, obj: Any) -> Any:
        """Return the copy of a part."""
        kind = type(obj)
        if kind in _ATOMS:
            return obj
        self._left -= 1
        if self._left < 0:
            raise TooMany
        if kind is str:
            # Of one character, Python has one object for most purposes.
            return obj[:1] + obj[1:] if len(obj) > 1 else sys.intern(obj)
        if kind is bytes:
            return obj[:1] + obj[1:] if len(obj) > 1 else bytes([*obj])
        if id(obj) in self._open:
            return self._open[id(obj)]
        if kind is tuple:
            return self._made_of_parts(obj, tuple)
        if kind is set or kind is frozenset:
            return self._made_of_parts(obj, partial(self._set, kind))
        copy: Any
        if kind is list:
            copy = self._open[id(obj)] = []
            copy.extend(map(self.of, obj))
        elif kind is dict:
            copy = self._open[id(obj)] = {}
            for key, value in obj.items():
                copy[self.of(key)] = self.of(value)
        elif kind is bytearray:
            return bytearray(obj)
        else:
            found = adapted(obj, TYPES)
            if found is obj:
                found = unwrapped(obj)
            if found is obj:
                return self._instance(obj)
            return self._guarded(kind is Proxy or self._is_guarded, found)
        del self._open[id(obj)]
        return copy

    def _guarded(self, is_guarded: bool, obj: Any) -> Any:
        former, self._is_guarded = self._is_guarded, is_guarded
        copy = self.of(obj)
        self._is_guarded = former
        return copy

    def _made_of_parts(self, obj: Any, make: Callable[[list], Any]) -> Any:
        """Copy what cannot be made before its parts.

        If it contains itself, it is made in there, as the pickler does it.
        """
        number = id(obj)
        outermost = number not in self._begun
        self._begun.add(number)
        parts = [*map(self.of, obj)]
        if number not in self._open:
            self._open[number] = make(parts)
        if not outermost:
            return self._open[number]
        self._begun.remove(number)
        return self._open.pop(number)

    def _set(self, kind: type, parts: list) -> Any:
        """Return a set that has the same order in every process."""
        if len(parts) > 1:
            parts.sort(key=self._pickle)
            if not all(map(_is_number, parts)):
                return _instance_of(kind, self._first(parts))
        # Numbers have the same order, unless two collide in the hash table:
        # there the one that was put in first comes first.
        return kind(parts)

    def _pickle(self, copy: Any) -> bytes:
        file = io.BytesIO()
        InstancePickler(file, self._protocol).dump(copy)
        return file.getvalue()

    def _instance(self, obj: Any) -> Any:
        kind: Any = type(obj)
        if is_special(kind):
            # The states of two persistent objects may be equal.
            oid = getattr(obj, '_p_oid', None)
            if isinstance(oid, bytes):
                return _instance_of(bytes, self.of(oid))
        if id(obj) in self._known:
            known, copy = self._known[id(obj)]
            if _is_only_one(known):
                return copy
        reduced = self._reduce(obj)
        if reduced is None:
            return obj
        is_guarded = self._is_guarded
        if is_guarded and kind not in TYPES:
            # Its state could be guessed, by comparing keys, where it must not
            # be seen.
            raise SerializationError(
                f'key: the {kind.__name__} is security-proxied, and a key'
                ' would show its state: pass what identifies it')
        copy = self._open[id(obj)] = Instance(kind)
        self._is_guarded = False  # for example the zone of a datetime
        copy.content = self._content(*reduced)
        self._is_guarded = is_guarded
        del self._open[id(obj)]
        self._known[id(obj)] = obj, copy
        return copy

    def _reduce(self, obj: Any) -> tuple | None:
        """Return what it is pickled as, or None to pickle it as it is."""
        kind = type(obj)
        if issubclass(kind, (type, FunctionType, Enum)) or (
                kind in (MethodType, BuiltinMethodType)
                and isinstance(obj.__self__, type)):
            return None
        reduce = copyreg.dispatch_table.get(kind)
        reduced = (obj.__reduce_ex__(self._protocol) if reduce is None
                   else reduce(obj))
        # About anything else the pickler says what is wrong.
        return reduced if type(reduced) is tuple and (
            2 <= len(reduced) <= 6 and type(reduced[1]) is tuple) else None

    def _content(self, make: Any, args: tuple, state: Any = None,
                 items: Any = None, pairs: Any = None, setter: Any = None
                 ) -> Content:
        if make is getattr:
            args = self.of(args[0]), self._name(args[1])
        elif make is _newobj_ex:
            args = *map(self.of, args[:2]), self._first(
                self._attributes(args[2]))
        else:
            args = tuple(map(self.of, args))
        return Content(
            make, args, self._state(state),
            None if items is None else [*map(self.of, items)],
            None if pairs is None else [
                self.of(part) for pair in pairs for part in pair],
            setter)

    def _state(self, state: Any) -> Any:
        # With slots it is a dict, or None, and a dict of these.
        if type(state) is tuple and len(state) == 2:
            return self._first(tuple(
                self._first(self._attributes(part)) for part in state))
        return self._attributes(state)

    def _attributes(self, state: Any) -> Any:
        if type(state) is not dict:
            return self.of(state)
        return {self._name(key): self.of(value)
                for key, value in state.items()}

    def _name(self, name: Any) -> Any:
        """Return the same object for names that are equal."""
        return (self._names.setdefault(name, name) if type(name) is str
                else self.of(name))

    def _first(self, copy: Any) -> Any:
        return copy


class EqualCopies(Copies):
    """Copies in which equal parts are the same object."""

    def __init__(self, protocol: int) -> None:
        super().__init__(protocol, math.inf)
        self._done: dict[int, tuple[Any, Any]] = {}  # a part, and its copy
        self._same: dict[Any, Any] = {}  # what makes copies equal -> the first

    def of(self, obj: Any) -> Any:
        if id(obj) in self._open:
            return self._open[id(obj)]
        if id(obj) not in self._done:
            # With the part itself, or its id might be used again.
            self._done[id(obj)] = obj, self._first(super().of(obj))
        return self._done[id(obj)][1]

    def _first(self, copy: Any) -> Any:
        """Return the first of the copies that are equal to this one."""
        kind = type(copy)
        value: Any
        if kind is Instance and not _is_itself(copy.kind):
            value = copy.kind, *map(_ids, copy.content)
        elif kind is bytearray:
            value = bytes(copy)
        elif kind is float:
            value = copy.hex()  # 0.0 and -0.0 are equal
        elif kind in _ATOMS or kind is str or kind is bytes:
            value = copy
        else:
            value = _ids(copy)
        return self._same.setdefault((kind, value), copy)


def _instance_of(kind: type, part: Any) -> Instance:
    return Instance(kind, Content(kind, (part,)))


def _ids(copy: Any) -> Any:
    """Return a value that is equal for copies with the same parts."""
    if type(copy) is dict:
        copy = [*itertools.chain.from_iterable(copy.items())]
    elif type(copy) not in _CONTAINERS:
        return id(copy)
    return *map(id, copy),


def _is_number(copy: Any) -> bool:
    """Return whether its hash is the same in every process."""
    if type(copy) is tuple or type(copy) is frozenset:
        return all(map(_is_number, copy))
    return type(copy) in _NUMBERS


def _is_itself(kind: type) -> bool:
    """Return whether instances are equal to nothing but themselves."""
    equal: Any = object.__eq__
    return kind.__eq__ is equal


def _is_only_one(obj: Any) -> bool:
    """Return whether every process has a single such object."""
    if _is_itself(type(obj)):
        return True
    try:
        return pickle.loads(pickle.dumps(obj)) is obj
    except Exception:
        return False
