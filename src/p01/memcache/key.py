# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Any Python key as a memcached key. See `IMemcacheClient.buildKey`."""

import hashlib

from p01.memcache import serializer


def build(key, namespace, protocol):
    if isinstance(key, str):
        base = str.encode(key)
    elif isinstance(key, bytes):
        base = key
    elif isinstance(key, int):
        base = b'%d' % key
    elif isinstance(oid := getattr(key, '_p_oid', None), bytes):
        base = oid
    else:
        base = serializer.dumps(key, protocol)
    if namespace:
        base = namespace.encode() + base
    return hashlib.md5(base, usedforsecurity=False).hexdigest()
