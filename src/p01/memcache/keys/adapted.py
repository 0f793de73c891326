# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Keys by adapter, see `ICacheKey`."""

from typing import Any

from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import ICacheKey
from p01.memcache.values.unstorable import Proxy
from p01.memcache.values.unstorable import unwrapped


_MISSING = object()


def adapted(obj: Any, plain: frozenset[type]) -> Any:
    """Return the key that stands for the object, or the object itself.

    An instance of a type that is `plain` stands for itself.
    """
    kind: Any = type(obj)
    if kind in plain or kind is Proxy:
        return obj
    key = ICacheKey(obj, _MISSING)
    if key is _MISSING:
        return obj
    if type(key) not in plain:
        what = 'itself' if key is obj else f'a {type(key).__name__}'
        raise SerializationError(
            f'the ICacheKey of a {kind.__name__} must be plain data, such as a'
            f' str or a tuple, not {what}')
    return key


def stripped(obj: Any, plain: frozenset[type]) -> Any:
    """Return the key that stands for the object, or for what is inside its
    proxies and wrappers, or that itself.
    """
    while type(obj) not in plain:
        inner = adapted(obj, plain)
        if inner is obj:
            inner = unwrapped(obj)
        if inner is obj:
            break
        obj = inner
    return obj
