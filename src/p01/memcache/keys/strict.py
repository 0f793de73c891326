# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The strict key scheme, in which no two different objects share a key.

An object is encoded, and its encoding hashed. Each value begins with a tag for
its type. The tag, or a length behind it, says where the value ends, so no
encoding is the beginning of another one. Changing a tag, or the encoding,
changes every key that is in use.

Types must match exactly: an instance of a subclass might hold more than its
base shows, and two of them would be one key.
"""

import struct
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from enum import Enum
from functools import partial
from hashlib import blake2b
from typing import Any
from typing import NoReturn
from uuid import UUID

from p01.memcache.errors import SerializationError
from p01.memcache.keys.adapted import adapted
from p01.memcache.path import Refused
from p01.memcache.values.unstorable import unwrapped


@dataclass(frozen=True)
class CallKey:
    """The key of a function's call, see `p01.memcache.decorator.cached`.

    Its tag, and in the other key scheme its length, are its own, so no other
    object has the same key.
    """

    digest: str


_Parts = list[bytes]

_double = struct.Struct('>d')
_missing = object()


def build(key: object, namespace: str | None) -> str:
    """Return the memcached key of an object that has a stable identity."""
    space = (namespace or '').encode()
    return blake2b(
        b'%d:%b%b' % (len(space), space, encode(key)),
        digest_size=32).hexdigest()


def encode(key: object) -> bytes:
    """Return the encoding of the key, which differs from all others."""
    try:
        return b''.join(_encoded(key))
    except Refused as refused:
        raise refused.error('key') from None
    except RecursionError:
        raise ValueError(
            'key: it contains itself, or is nested too deeply') from None


def build_all(keys: Iterable[object], namespace: str | None) -> list[bytes]:
    """Return what `build` returns for each of the keys, as bytes."""
    return [build(key, namespace).encode() for key in keys]


def _encode(key: object, parts: _Parts) -> None:
    """Append the parts of the key's encoding to the list.

    No part is the beginning of another one, so lists of parts sort as the
    encodings do.
    """
    _ENCODERS.get(type(key), _encode_other)(key, parts)


def _encoded(key: object) -> _Parts:
    parts: _Parts = []
    _encode(key, parts)
    return parts


def _encode_all(tag: bytes, keys: Sequence, parts: _Parts) -> None:
    parts.append(b'%b%d:' % (tag, len(keys)))
    number = 0
    try:
        for key in keys:
            _ENCODERS.get(type(key), _encode_other)(key, parts)
            number += 1
    except Refused as refused:
        refused.path = f'[{number}]{refused.path}'
        raise


def _encode_set(keys: set | frozenset, parts: _Parts) -> None:
    parts.append(b'e%d:' % len(keys))
    encoded: list[_Parts] = []
    try:
        for key in keys:
            encoded.append([])
            _ENCODERS.get(type(key), _encode_other)(key, encoded[-1])
    except Refused as refused:
        refused.path = f'[{len(encoded) - 1}]{refused.path}'
        raise
    for each in sorted(encoded):
        parts += each


def _encode_dict(keys: dict, parts: _Parts) -> None:
    parts.append(b'd%d:' % len(keys))
    number = index = 0
    try:
        items = []
        for number, (key, value) in enumerate(keys.items()):
            items.append((_encoded(key), _Value(value), number))
        index = 1
        # The values are encoded where they belong: to sort copies of them
        # would cost as much again for each dict around this one.
        for key, value, number in sorted(items):  # noqa: B007
            parts.append(b't2:')
            parts += key
            value = value.value
            _ENCODERS.get(type(value), _encode_other)(value, parts)
    except Refused as refused:
        refused.path = f'.items()[{number}][{index}]{refused.path}'
        raise


class _Value:
    """The value of a dict's key: two keys may be one persistent object."""

    __slots__ = ('value',)

    def __init__(self, value: object) -> None:
        self.value = value

    def __lt__(self, other: '_Value') -> bool:
        return _encoded(self.value) < _encoded(other.value)


def _scalar(tag: bytes, data: bytes) -> bytes:
    return b'%b%d:%b' % (tag, len(data), data)


def _encode_str(key: str, parts: _Parts) -> None:
    try:
        data = key.encode()
    except UnicodeEncodeError as error:
        raise Refused(ValueError, error) from None
    parts.append(b's%d:%b' % (len(data), data))


def _encode_float(key: float, parts: _Parts) -> None:
    if key != key:
        raise Refused(
            ValueError, 'nan is not equal to itself, and would never be found')
    parts.append(b'f' + _double.pack(key + 0.0))  # which makes -0.0 0.0


_ENCODERS: dict[type, Callable[[Any, _Parts], None]] = {
    type(None): lambda key, parts: parts.append(b'N'),
    bool: lambda key, parts: parts.append(b'T' if key else b'F'),
    # Not decimal: of that Python refuses to write more than 4,300 digits.
    int: lambda key, parts: parts.append(_scalar(b'i', b'%x' % key)),
    float: _encode_float,
    str: _encode_str,
    bytes: lambda key, parts: parts.append(_scalar(b'b', key)),
    tuple: partial(_encode_all, b't'),
    list: partial(_encode_all, b'l'),
    set: _encode_set,
    frozenset: _encode_set,
    dict: _encode_dict,
    # A datetime or time that has an offset ends with it. The offset, not the
    # zone: not every tzinfo has a name, and fold shows in the offset. Nor the
    # instant, although Python takes two datetimes of one instant for equal: a
    # page for 10:00+02:00 may show another hour, or day, than the one for
    # 08:00+00:00. A zone without an offset is no zone, for Python too.
    date: lambda key, parts: parts.append(
        _scalar(b'D', key.isoformat().encode())),
    datetime: lambda key, parts: parts.append(
        _scalar(b'M', key.isoformat().encode())),
    time: lambda key, parts: parts.append(
        _scalar(b'H', key.isoformat().encode())),
    timedelta: lambda key, parts: parts.append(_scalar(
        b'R', b'%d,%d,%d' % (key.days, key.seconds, key.microseconds))),
    UUID: lambda key, parts: parts.append(b'U' + key.bytes),
    CallKey: lambda key, parts: parts.append(
        _scalar(b'C', key.digest.encode())),
}

# Types whose whole state shows in comparisons.
TYPES = frozenset(_ENCODERS)


def _encode_other(key: Any, parts: _Parts) -> None:
    try:
        found = adapted(key, TYPES)
    except SerializationError as error:
        raise Refused(SerializationError, error) from None
    if found is key:
        found = unwrapped(key)
    if found is not key:
        return _encode(found, parts)
    if issubclass(type(key), Enum):
        return _encode_member(key, parts)
    oid = getattr(key, '_p_oid', _missing)
    if not isinstance(oid, bytes):
        _refuse(type(key), is_new=oid is None)
    # Databases that are mounted into each other have the same oids.
    jar = getattr(key, '_p_jar', None)
    name = None if jar is None else jar.db().database_name
    parts.append(b'P')
    _encode(oid, parts)
    _encode(name, parts)


def _refuse(kind: type, is_new: bool) -> NoReturn:
    base = next((base for base in kind.__mro__ if base in _ENCODERS), None)
    if is_new:
        reason = 'must be added to a database first, it has no _p_oid yet'
    elif base:
        name = base.__name__
        reason = f'may be more than the {name} in it: pass {name}(...)'
    else:
        reason = (
            'has no stable identity: pass a str, bytes, int, float, bool, '
            'None, tuple, list, set, dict, date, datetime, time, timedelta, '
            'UUID, member of an enum, or persistent object')
    raise Refused(TypeError, f'{_name(kind)} {reason}')


def _encode_member(key: Any, parts: _Parts) -> None:
    kind = type(key)
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split('.'):
        found = getattr(found, name, None)
    if found is not kind:
        raise Refused(
            TypeError, f'{_name(kind)} cannot be found by that name, which '
            'another enum may have: pass a member of one that can')
    name, members = key._name_, kind.__members__
    if members.get(name) is not key:
        # Combined flags have no name, or one that Python makes up; members
        # that the enum's ``_missing_`` makes may have any name.
        name = key._value_
        if isinstance(name, str) and name in members:
            raise Refused(
                TypeError, f'{_name(kind)} has another member whose name is'
                ' the value of this one')
    parts.append(b'E')
    for each in kind.__module__, kind.__qualname__, name:
        _encode(each, parts)


def _name(kind: type) -> str:
    return f'{kind.__module__}.{kind.__qualname__}'
