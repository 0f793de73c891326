# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Any Python key as a memcached key. See `IMemcacheClient.buildKey`."""

import hashlib

from p01.memcache.keys import canonical
from p01.memcache.keys import strict
from p01.memcache.values import pickles
from p01.memcache.values.unstorable import bare


_TEXTS = frozenset((str, bytes))


def build(key, namespace, protocol):
    if type(key) is str:  # as most are
        base = key.encode()
    elif type(bare(key)) is strict.CallKey:
        return strict.build(key, namespace)
    else:
        base = _base(key, protocol)
    if namespace:
        base = namespace.encode() + base
    return hashlib.md5(base, usedforsecurity=False).hexdigest()


def _base(key, protocol):
    """Return the bytes that stand for the key."""
    found = bare(key)
    if isinstance(found, str):
        return str.encode(found)
    if isinstance(found, bytes):
        return found
    if isinstance(found, int):
        return b'%d' % found
    oid = getattr(found, '_p_oid', None)
    return oid if isinstance(oid, bytes) else _pickle(key, protocol)


def _pickle(key, protocol):
    # Most are: numbers and texts, and of these no two are equal.
    if type(key) in (tuple, list) and pickles.SIMPLE.issuperset(
            map(type, key)) and (_differ(key) or _differ(
                [part for part in key if type(part) in _TEXTS])):
        return pickles.dumps(key, protocol)
    return pickles.dumps(key, protocol, canonical.Pickler)


def _differ(values):
    return len(set(values)) == len(values)
