# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The parts of a key, pickled so that equal keys have equal pickles.

A pickle writes an object once, and refers to it where the same one comes
again. So ``(a, a)`` and ``(a, b)`` differ where `b` is another object that is
equal to `a`. Here each part is written as if it came for the first time.

A key of parts that all are different has the pickle that it always had. So
references stay where every process has the same ones: to what there is only
one of, as a class, a member of an enum, or an instance that is equal to
nothing but itself; and to the names of attributes, which Python interns.
"""

import copyreg
import io
import itertools
import math
import pickle
import sys
from enum import Enum
from functools import partial
from types import BuiltinMethodType
from types import FunctionType
from types import MethodType

from p01.memcache.errors import SerializationError
from p01.memcache.keys.strict import TYPES
from p01.memcache.values.unstorable import Proxy
from p01.memcache.values.unstorable import is_special
from p01.memcache.values.unstorable import unwrapped


# What a pickle never refers to.
_NUMBERS = frozenset((bool, int, float))
_ATOMS = _NUMBERS | {type(None)}

_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))

# Tuples within tuples may be few objects, but billions of parts if each is
# written again. In a key of more parts than this, equal ones are written once.
_MOST = 10000


class Pickler(pickle.Pickler):
    """Pickles a key by what it is, and not by how it was built."""

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self._protocol = (
            pickle.HIGHEST_PROTOCOL if protocol < 0 else protocol)

    def dump(self, key):
        try:
            copy = _Copies(self._protocol).of(key)
        except _TooMany:
            copy = _EqualCopies(self._protocol).of(key)
        super().dump(copy)

    def reducer_override(self, obj):
        return obj.reduced() if type(obj) is _Instance else NotImplemented


class _TooMany(Exception):
    """A key has more parts than are written again."""


class _Instance:
    """A copy of an instance: it is pickled as that would be."""

    def __init__(self, kind):
        self.kind = kind
        self.content = None

    @property
    def __class__(self):
        return self.kind  # the pickler compares it

    def reduced(self):
        if self.content is None:
            raise ValueError('a set contains itself')
        make, args, state, items, pairs, setter = self.content
        return (make, args, state, None if items is None else iter(items),
                None if pairs is None else zip(
                    pairs[::2], pairs[1::2], strict=True), setter)


class _Copies:
    """Copies of parts, in which no object comes twice."""

    _left = _MOST
    _is_guarded = False  # behind a security proxy

    def __init__(self, protocol):
        self._protocol = protocol
        self._names = {}
        self._open = {}  # id -> the copy of what may contain itself
        self._begun = set()  # ids of what can only be made of its parts
        self._known = {}  # id -> (instance, its copy)

    def of(self, obj):
        kind = type(obj)
        if kind in _ATOMS:
            return obj
        self._left -= 1
        if self._left < 0:
            raise _TooMany
        if kind is str:
            # Of one character, Python has one for most purposes.
            return obj[:1] + obj[1:] if len(obj) > 1 else sys.intern(obj)
        if kind is bytes:
            return obj[:1] + obj[1:] if len(obj) > 1 else bytes([*obj])
        if id(obj) in self._open:
            return self._open[id(obj)]
        if kind is tuple:
            return self._made_of_parts(obj, tuple)
        if kind is set or kind is frozenset:
            return self._made_of_parts(obj, partial(self._set, kind))
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
            found = unwrapped(obj)
            if found is obj:
                return self._instance(obj)
            return self._guarded(kind is Proxy or self._is_guarded, found)
        del self._open[id(obj)]
        return copy

    def _guarded(self, is_guarded, obj):
        former, self._is_guarded = self._is_guarded, is_guarded
        copy = self.of(obj)
        self._is_guarded = former
        return copy

    def _made_of_parts(self, obj, make):
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

    def _set(self, kind, parts):
        """Return a set whose order is the same in every process."""
        if len(parts) > 1:
            parts.sort(key=self._pickle)
            if not all(map(_is_number, parts)):
                return self._new(kind, self._first(parts))
        # The order of numbers is the same, but for those that come to one
        # place of its table: there the first one is first.
        return kind(parts)

    def _new(self, kind, part):
        copy = _Instance(kind)
        copy.content = kind, (part,), None, None, None, None
        return copy

    def _pickle(self, copy):
        file = io.BytesIO()
        pickler = Pickler(file, self._protocol)
        super(Pickler, pickler).dump(copy)
        return file.getvalue()

    def _instance(self, obj):
        kind = type(obj)
        if is_special(kind):
            # The states of two persistent objects may be equal.
            oid = getattr(obj, '_p_oid', None)
            if isinstance(oid, bytes):
                return self._new(bytes, self.of(oid))
        if id(obj) in self._known:
            known, copy = self._known[id(obj)]
            if _is_only_one(known):
                return copy
        reduced = self._reduce(obj)
        if reduced is None:
            return obj
        is_guarded = self._is_guarded
        if is_guarded and kind not in TYPES:
            # Who may not see its state could guess it, and compare the keys.
            raise SerializationError(
                f'key: the {kind.__name__} is security-proxied, and a key'
                ' would show its state: pass what identifies it')
        copy = self._open[id(obj)] = _Instance(kind)
        self._is_guarded = False  # as the zone of a datetime
        copy.content = self._content(*reduced)
        self._is_guarded = is_guarded
        del self._open[id(obj)]
        self._known[id(obj)] = obj, copy
        return copy

    def _reduce(self, obj):
        """Return what it is pickled as, None where it is left as it is."""
        kind = type(obj)
        if issubclass(kind, (type, FunctionType, Enum)) or (
                kind in (MethodType, BuiltinMethodType)
                and isinstance(obj.__self__, type)):
            return None
        reduce = copyreg.dispatch_table.get(kind)
        reduced = (obj.__reduce_ex__(self._protocol) if reduce is None
                   else reduce(obj))
        # Of anything else the pickler tells what is wrong.
        return reduced if type(reduced) is tuple and (
            2 <= len(reduced) <= 6 and type(reduced[1]) is tuple) else None

    def _content(self, make, args, state=None, items=None, pairs=None,
                 setter=None):
        if make is getattr:
            args = self.of(args[0]), self._name(args[1])
        elif make is copyreg.__newobj_ex__:
            args = *map(self.of, args[:2]), self._first(
                self._attributes(args[2]))
        else:
            args = tuple(map(self.of, args))
        return (
            make, args, self._state(state),
            None if items is None else [*map(self.of, items)],
            None if pairs is None else [
                self.of(part) for pair in pairs for part in pair],
            setter)

    def _state(self, state):
        # With slots it is a dict, or None, and a dict of these.
        if type(state) is tuple and len(state) == 2:
            return self._first(tuple(
                self._first(self._attributes(part)) for part in state))
        return self._attributes(state)

    def _attributes(self, state):
        if type(state) is not dict:
            return self.of(state)
        return {self._name(key): self.of(value)
                for key, value in state.items()}

    def _first(self, copy):
        return copy

    def _name(self, name):
        """Return the same object for names that are equal."""
        return (self._names.setdefault(name, name) if type(name) is str
                else self.of(name))


class _EqualCopies(_Copies):
    """Copies of parts, in which equal ones are the same object."""

    _left = math.inf

    def __init__(self, protocol):
        super().__init__(protocol)
        self._done = {}  # id -> (part, its copy)
        self._same = {}  # what makes copies equal -> the first one

    def of(self, obj):
        if id(obj) in self._open:
            return self._open[id(obj)]
        if id(obj) not in self._done:
            # With the part: what has this id later is another one.
            self._done[id(obj)] = obj, self._first(super().of(obj))
        return self._done[id(obj)][1]

    def _first(self, copy):
        kind = type(copy)
        if kind is _Instance and not _is_itself(copy.kind):
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


def _ids(copy):
    """Return what is equal where the same copies are in it."""
    if type(copy) is dict:
        copy = [*itertools.chain.from_iterable(copy.items())]
    elif type(copy) not in _CONTAINERS:
        return id(copy)
    return *map(id, copy),


def _is_number(copy):
    """Return whether its hash is the same in every process."""
    if type(copy) is tuple or type(copy) is frozenset:
        return all(map(_is_number, copy))
    return type(copy) in _NUMBERS


def _is_itself(kind):
    """Return whether instances are equal to nothing but themselves."""
    return kind.__eq__ is object.__eq__


def _is_only_one(obj):
    """Return whether the same object is in this place in every process."""
    if _is_itself(type(obj)):
        return True
    try:
        return pickle.loads(pickle.dumps(obj)) is obj
    except Exception:
        return False
