# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Any Python key as a memcached key. See `IMemcacheClient.buildKey`."""

import hashlib

from p01.memcache import pickled
from p01.memcache.proxied import Proxy
from p01.memcache.proxied import removeSecurityProxy


_CONTAINERS = frozenset((tuple, list, set, frozenset, dict))


def build(key, namespace, protocol):
    while type(key) is Proxy:
        key = removeSecurityProxy(key)
    if isinstance(key, str):
        base = str.encode(key)
    elif isinstance(key, bytes):
        base = key
    elif isinstance(key, int):
        base = b'%d' % key
    elif isinstance(oid := getattr(key, '_p_oid', None), bytes):
        base = oid
    else:
        base = pickled.dumps(_identify(key), protocol)
    if namespace:
        base = namespace.encode() + base
    return hashlib.md5(base, usedforsecurity=False).hexdigest()


def _identify(key):
    try:
        return _replace(key)
    except RecursionError:
        return key  # it contains itself, which a pickle may


def _replace(key):
    """Return the key with the identities of the objects in its containers.

    That is what is behind a security proxy, and a persistent object's _p_oid:
    the state of two may be equal. Where there are none it stays the same
    object, as a pickle tells what is in it twice from what is equal.
    """
    while type(key) is Proxy:
        key = removeSecurityProxy(key)
    kind = type(key)
    if kind in pickled.SIMPLE:
        return key
    if kind in _CONTAINERS and _is_simple(key) and (
            kind is not dict or _is_simple(key.values())):
        return key  # most are
    if kind is dict:
        items = [*key.items()]
        found = _replace(items)
        return key if found is items else dict(found)
    if kind in _CONTAINERS:
        parts = list(map(_replace, key))
        if any(part is not former
               for part, former in zip(parts, key, strict=True)):
            return kind(parts)
        return key
    oid = getattr(key, '_p_oid', None)
    return oid if isinstance(oid, bytes) else key


def _is_simple(parts):
    return pickled.SIMPLE.issuperset(map(type, parts))
