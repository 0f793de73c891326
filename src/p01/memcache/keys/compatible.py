# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The compatible key scheme, that of every release so far.

See `IMemcacheClient.buildKey`.
"""

from collections.abc import Collection
from collections.abc import Iterable
from typing import Any

from p01.memcache.digest import md5
from p01.memcache.keys import canonical
from p01.memcache.keys import strict
from p01.memcache.keys.adapted import stripped
from p01.memcache.values import pickles
from p01.memcache.values.unstorable import bare


_TEXTS = frozenset((str, bytes))


def build(key: object, namespace: str | None, protocol: int) -> str:
    """Return the memcached key of any Python object."""
    if type(key) is str:  # as most are
        base = key.encode()
    elif type(bare(key)) is strict.CallKey:
        return strict.build(key, namespace)
    else:
        base = encode(key, protocol)
    if namespace:
        base = namespace.encode() + base
    return md5(base).hexdigest()


def build_all(keys: Iterable[object], namespace: str | None,
              protocol: int) -> list[bytes]:
    """Return what `build` returns for each of the keys, as bytes."""
    prefix = namespace.encode() if namespace else b''
    return [
        # As most are, without a call.
        md5(prefix + key.encode()).hexdigest().encode()
        if type(key) is str else build(key, namespace, protocol).encode()
        for key in keys]


def encode(key: object, protocol: int) -> bytes:
    """Return the bytes that stand for the key."""
    found = stripped(key, strict.TYPES)
    if isinstance(found, str):
        return str.encode(found)
    if isinstance(found, bytes):
        return found
    if isinstance(found, int):
        return b'%d' % found
    oid = getattr(found, '_p_oid', None)
    return oid if isinstance(oid, bytes) else _pickle(key, protocol)


def _pickle(key: Any, protocol: int) -> bytes:
    # An ordinary pickle will do for most: for numbers and texts of which no
    # two are equal.
    if type(key) in (tuple, list) and pickles.SIMPLE.issuperset(
            map(type, key)) and (_differ(key) or _differ(
                [part for part in key if type(part) in _TEXTS])):
        return pickles.dumps(key, protocol)
    return pickles.dumps(key, protocol, canonical.Pickler)


def _differ(values: Collection) -> bool:
    return len(set(values)) == len(values)
