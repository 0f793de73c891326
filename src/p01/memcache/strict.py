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
from hashlib import blake2b
from uuid import UUID

from p01.memcache.proxied import bare
from p01.memcache.refused import Refused


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
    try:
        encoded = _encode(key)
    except Refused as refused:
        raise refused.error('key') from None
    except RecursionError:
        raise ValueError(
            'key: it contains itself, or is nested too deep') from None
    space = (namespace or '').encode()
    return blake2b(
        b'%d:%b%b' % (len(space), space, encoded), digest_size=32).hexdigest()


def _encode(key):
    return _ENCODERS.get(type(key), _encode_other)(key)


def _encode_all(keys, place='[%d]'):
    encoded = []
    try:
        for key in keys:
            encoded.append(_ENCODERS.get(type(key), _encode_other)(key))
    except Refused as refused:
        refused.place = place % len(encoded) + refused.place
        raise
    return encoded


def _scalar(tag, data):
    return b'%b%d:%b' % (tag, len(data), data)


def _container(tag, encoded):
    return b'%b%d:%b' % (tag, len(encoded), b''.join(encoded))


def _encode_str(key):
    try:
        data = key.encode()
    except UnicodeEncodeError as error:
        raise Refused(ValueError, error) from None
    return b's%d:%b' % (len(data), data)


def _encode_float(key):
    if key != key:
        raise Refused(
            ValueError, 'nan is not equal to itself, and would never be found')
    return b'f' + _double.pack(key + 0.0)  # -0.0 is 0.0 then


_ENCODERS = {
    type(None): lambda key: b'N',
    bool: lambda key: b'T' if key else b'F',
    # Not decimal: Python refuses to write more than some 4,000 digits of it.
    int: lambda key: _scalar(b'i', b'%x' % key),
    float: _encode_float,
    str: _encode_str,
    bytes: lambda key: _scalar(b'b', key),
    tuple: lambda key: _container(b't', _encode_all(key)),
    list: lambda key: _container(b'l', _encode_all(key)),
    set: lambda key: _container(b'e', sorted(_encode_all(key))),
    frozenset: lambda key: _container(b'e', sorted(_encode_all(key))),
    dict: lambda key: _container(
        b'd', sorted(_encode_all(key.items(), '.items()[%d]'))),
    # A datetime or time that has an offset ends with it. The offset, not the
    # zone: that has no name which all kinds of tzinfo would know, and fold
    # shows in the offset. And not the instant, although two of the same are
    # equal in Python: what is cached for 10:00+02:00 may show another hour,
    # or day, than what is cached for 08:00+00:00. A time's zone that gives no
    # offset is as none, for Python too.
    date: lambda key: _scalar(b'D', key.isoformat().encode()),
    datetime: lambda key: _scalar(b'M', key.isoformat().encode()),
    time: lambda key: _scalar(b'H', key.isoformat().encode()),
    timedelta: lambda key: _scalar(
        b'R', b'%d,%d,%d' % (key.days, key.seconds, key.microseconds)),
    UUID: lambda key: b'U' + key.bytes,
    CallKey: lambda key: _scalar(b'C', key.digest.encode()),
}


def _encode_other(key):
    found = bare(key)
    if found is not key:
        return _encode(found)
    kind = type(key)
    if issubclass(kind, Enum):
        return _encode_member(key)
    oid = getattr(key, '_p_oid', _missing)
    if isinstance(oid, bytes):
        # Databases that are mounted into each other have the same oids.
        jar = getattr(key, '_p_jar', None)
        name = None if jar is None else jar.db().database_name
        return b'P' + _encode(oid) + _encode(name)
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


def _encode_member(key):
    kind = type(key)
    found = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split('.'):
        found = getattr(found, name, None)
    if found is not kind:
        raise Refused(
            TypeError, f'{_name(kind)} is not found by that name, and another '
            'may have it: pass a member of an enum that is')
    # Flags that are combined have no name, or one that Python makes up.
    name = key._name_ if key._name_ in kind.__members__ else key._value_
    return (b'E' + _encode(kind.__module__) + _encode(kind.__qualname__)
            + _encode(name))


def _name(kind):
    return f'{kind.__module__}.{kind.__qualname__}'
