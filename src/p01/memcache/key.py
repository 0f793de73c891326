# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Any Python key as a memcached key. See `IMemcacheClient.buildKey`."""

import hashlib
import itertools
import operator
import pickle

from p01.memcache import pickled
from p01.memcache.errors import SerializationError
from p01.memcache.proxied import Proxy
from p01.memcache.proxied import is_special
from p01.memcache.proxied import removeSecurityProxy


_CONTAINERS = frozenset((tuple, list, set, frozenset, dict))


class _Pickler(pickle.Pickler):

    def reducer_override(self, obj):
        # The states of two persistent objects may be equal.
        if is_special(type(obj)):
            oid = getattr(obj, '_p_oid', None)
            if isinstance(oid, bytes):
                return bytes, (oid,)
        return NotImplemented


def build(key, namespace, protocol):
    # Most are str.
    base = key.encode() if type(key) is str else _base(key, protocol)
    if namespace:
        base = namespace.encode() + base
    return hashlib.md5(base, usedforsecurity=False).hexdigest()


def _base(key, protocol):
    """Return the bytes that stand for the key."""
    while type(key) is Proxy:
        key = removeSecurityProxy(key)
    if isinstance(key, str):
        return str.encode(key)
    if isinstance(key, bytes):
        return key
    if isinstance(key, int):
        return b'%d' % key
    oid = getattr(key, '_p_oid', None)
    return oid if isinstance(oid, bytes) else _pickle(key, protocol)


def _pickle(key, protocol):
    if type(key) in (tuple, list) and pickled.SIMPLE.issuperset(
            map(type, key)):
        return pickled.dumps(key, protocol)  # as most are
    try:
        return pickled.dumps(key, protocol, _Pickler)
    except SerializationError as error:
        # A security proxy cannot be pickled, but what is behind it may be.
        try:
            found = _bare(key, {})
        except RecursionError:
            raise error from None
        return pickled.dumps(found, protocol, _Pickler)


def _bare(key, done):
    """Return the key without the security proxies around it and within it.

    What has none in it stays the same object: a pickle tells what is in it
    twice from what is equal. `done` is what was made of the containers.
    """
    while type(key) is Proxy:
        key = removeSecurityProxy(key)
    kind = type(key)
    if kind not in _CONTAINERS:
        return key
    if id(key) not in done:
        parts = [*key.items()] if kind is dict else key
        found = [*map(_bare, parts, itertools.repeat(done))]
        same = all(map(operator.is_, found, parts))
        # With the key: what has this id later is another one.
        done[id(key)] = key, key if same else kind(found)
    return done[id(key)][1]
