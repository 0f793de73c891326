# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Keys by adapter, see `ICacheKey`.

A persistent object is not loaded to find out that it has none: its class is
asked, not the object. The adapter itself may load it.
"""

from typing import Any

import zope.component
from zope.interface import implementedBy

from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import ICacheKey
from p01.memcache.values.unstorable import Proxy
from p01.memcache.values.unstorable import bare
from p01.memcache.values.unstorable import is_special
from p01.memcache.values.unstorable import unwrapped


def adapted(obj: Any, plain: frozenset[type]) -> Any:
    """Return the key that stands for the object, or the object itself.

    An instance of a type that is `plain` stands for itself.
    """
    kind: Any = type(obj)
    if kind in plain or kind is Proxy:
        return obj
    inner: Any = type(bare(obj)) if is_special(kind) else kind
    if hasattr(inner, '_p_oid'):
        adapter = zope.component.getSiteManager().adapters.lookup1(
            implementedBy(inner), ICacheKey)
        key = None if adapter is None else adapter(obj)
    else:
        key = ICacheKey(obj, None)
    if key is None:
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
