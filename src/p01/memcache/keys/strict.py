# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A memcached key without aliases, of what has a stable identity.

The key is hashed in an encoding of its own, where each value begins with a
tag for its type. The tag, or a length after it, tells where the value ends, so
that no encoding is the beginning of another one. A change of it, or of a tag,
is a change of every key that anybody has stored.

Types are looked up as they are: a subclass might carry more than what its base
shows, and two of its instances would be one key.
"""

import struct
import sys
from dataclasses import dataclass
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from enum import Enum
from functools import partial
from hashlib import blake2b
from uuid import UUID

from p01.memcache.values.path import Refused
from p01.memcache.values.unstorable import bare


@dataclass(frozen=True)
class CallKey:
    """The key of a function's call, see `p01.memcache.decorator.cached`.

    It has a tag, and in the other key scheme a length, of its own: whatever
    text, or anything else, is a key elsewhere does not equal it.
    """

    digest: str


_double = struct.Struct('>d')
_missing = object()


def build(key, namespace):
    space = (namespace or '').encode()
    parts = [b'%d:%b' % (len(space), space)]
    try:
        _encode(key, parts)
    except Refused as refused:
        raise refused.error('key') from None
    except RecursionError:
        raise ValueError(
            'key: it contains itself, or is nested too deep') from None
    return blake2b(b''.join(parts), digest_size=32).hexdigest()


def _encode(key, parts):
    """Append the parts of the key's encoding to the list.

    No part is the beginning of another one. So lists of them have the order
    that the encodings have.
    """
    _ENCODERS.get(type(key), _encode_other)(key, parts)


def _encoded(key):
    parts = []
    _encode(key, parts)
    return parts


def _encode_all(tag, keys, parts):
    parts.append(b'%b%d:' % (tag, len(keys)))
    number = 0
    try:
        for key in keys:
            _ENCODERS.get(type(key), _encode_other)(key, parts)
            number += 1
    except Refused as refused:
        refused.place = f'[{number}]{refused.place}'
        raise


def _encode_set(keys, parts):
    parts.append(b'e%d:' % len(keys))
    encoded = []
    try:
        for key in keys:
            encoded.append([])
            _ENCODERS.get(type(key), _encode_other)(key, encoded[-1])
    except Refused as refused:
        refused.place = f'[{len(encoded) - 1}]{refused.place}'
        raise
    for each in sorted(encoded):
        parts += each


def _encode_dict(keys, parts):
    parts.append(b'd%d:' % len(keys))
    number = place = 0
    try:
        items = []
        for number, (key, value) in enumerate(keys.items()):
            items.append((_encoded(key), _Value(value), number))
        place = 1
        # The values are not copied to be put in order, which would be done
        # again for each dict around this one.
        for key, value, number in sorted(items):  # noqa: B007
            parts.append(b't2:')
            parts += key
            value = value.value
            _ENCODERS.get(type(value), _encode_other)(value, parts)
    except Refused as refused:
        refused.place = f'.items()[{number}][{place}]{refused.place}'
        raise


class _Value:
    """The value of a dict's key. Two keys may be one persistent object."""

    __slots__ = ('value',)

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        return _encoded(self.value) < _encoded(other.value)


def _scalar(tag, data):
    return b'%b%d:%b' % (tag, len(data), data)


def _encode_str(key, parts):
    try:
        data = key.encode()
    except UnicodeEncodeError as error:
        raise Refused(ValueError, error) from None
    parts.append(b's%d:%b' % (len(data), data))


def _encode_float(key, parts):
    if key != key:
        raise Refused(
            ValueError, 'nan is not equal to itself, and would never be found')
    parts.append(b'f' + _double.pack(key + 0.0))  # -0.0 is 0.0 then


_ENCODERS = {
    type(None): lambda key, parts: parts.append(b'N'),
    bool: lambda key, parts: parts.append(b'T' if key else b'F'),
    # Not decimal: Python refuses to write more than some 4,000 digits of it.
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
    # zone: that has no name which all kinds of tzinfo would know, and fold
    # shows in the offset. And not the instant, although two of the same are
    # equal in Python: what is cached for 10:00+02:00 may show another hour,
    # or day, than what is cached for 08:00+00:00. A time's zone that gives no
    # offset is as none, for Python too.
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

# What has no more state than it shows by being equal to another one.
TYPES = frozenset(_ENCODERS)


def _encode_other(key, parts):
    found = bare(key)
    if found is not key:
        return _encode(found, parts)
    kind = type(key)
    if issubclass(kind, Enum):
        return _encode_member(key, parts)
    oid = getattr(key, '_p_oid', _missing)
    if isinstance(oid, bytes):
        # Databases that are mounted into each other have the same oids.
        jar = getattr(key, '_p_jar', None)
        name = None if jar is None else jar.db().database_name
        parts.append(b'P')
        _encode(oid, parts)
        return _encode(name, parts)
    if oid is None:
        reason = 'must be added to a database first, it has no _p_oid yet'
    elif base := next((b for b in kind.__mro__ if b in _ENCODERS), None):
        name = base.__name__
        reason = f'may be more than the {name} in it: pass {name}(...)'
    else:
        reason = (
            'has no stable identity: pass a str, bytes, int, float, bool, '
            'None, tuple, list, set, dict, date, datetime, time, timedelta, '
            'UUID, member of an enum, or persistent object')
    raise Refused(TypeError, f'{_name(kind)} {reason}')


def _encode_member(key, parts):
    kind = type(key)
    found = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split('.'):
        found = getattr(found, name, None)
    if found is not kind:
        raise Refused(
            TypeError, f'{_name(kind)} is not found by that name, and another '
            'may have it: pass a member of an enum that is')
    name, members = key._name_, kind.__members__
    if members.get(name) is not key:
        # Flags that are combined have no name, or one that Python makes up;
        # what the enum's ``_missing_`` makes may have any.
        name = key._value_
        if isinstance(name, str) and name in members:
            raise Refused(
                TypeError, f'{_name(kind)} has another member of the name that'
                ' is the value of this one')
    parts.append(b'E')
    for each in kind.__module__, kind.__qualname__, name:
        _encode(each, parts)


def _name(kind):
    return f'{kind.__module__}.{kind.__qualname__}'
