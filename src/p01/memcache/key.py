# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Any Python key as a memcached key. See `IMemcacheClient.buildKey`."""

import hashlib

from p01.memcache import pickled
from p01.memcache.errors import SerializationError
from p01.memcache.proxied import Proxy
from p01.memcache.proxied import bare
from p01.memcache.proxied import removeSecurityProxy


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
        base = _pickle(key, protocol)
    if namespace:
        base = namespace.encode() + base
    return hashlib.md5(base, usedforsecurity=False).hexdigest()


def _pickle(key, protocol):
    try:
        return pickled.dumps(key, protocol)
    except SerializationError as error:
        # A security proxy cannot be pickled, but what is behind it may be.
        try:
            found = bare(key)
        except RecursionError:
            raise error from None
        return pickled.dumps(found, protocol)
