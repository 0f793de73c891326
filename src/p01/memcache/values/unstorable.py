# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects that must not be stored: proxied, wrapped and persistent ones."""

import functools
from typing import Any

from p01.memcache.errors import SerializationError


try:
    from zope.security.proxy import Proxy
    from zope.security.proxy import removeSecurityProxy
except ImportError:
    # Then no object has this type.
    Proxy = removeSecurityProxy = None


try:
    from Acquisition import ExplicitAcquisitionWrapper
    from Acquisition import ImplicitAcquisitionWrapper
    from Acquisition import aq_base
except ImportError:
    _WRAPPERS: frozenset[type] = frozenset()
else:
    _WRAPPERS = frozenset((
        ExplicitAcquisitionWrapper, ImplicitAcquisitionWrapper))


def bare(obj: Any) -> Any:
    """Return what is inside security proxies and acquisition wrappers."""
    while (inner := unwrapped(obj)) is not obj:
        obj = inner
    return obj


def unwrapped(obj: Any) -> Any:
    """Return what is inside the outermost of them, or the object itself.

    This looks at the type only: isinstance() sees through a proxy and a
    wrapper, and a wrapper has the attributes of what is around its object.
    """
    kind = type(obj)
    if kind is Proxy:
        return removeSecurityProxy(obj)
    return aq_base(obj) if kind in _WRAPPERS else obj


@functools.lru_cache(1000)
def is_special(kind: Any) -> bool:
    """Return whether instances of the class must not be stored."""
    return kind is Proxy or kind in _WRAPPERS or hasattr(kind, '_p_oid')


def is_persistent(obj: Any) -> bool:
    """Return whether it is a persistent object, and not in a wrapper."""
    kind: Any = type(obj)
    return is_special(kind) and unwrapped(obj) is obj


def refuse(obj: object) -> None:
    """Raise a `SerializationError` if the object must not be stored."""
    kind: Any = type(obj)
    if not is_special(kind):
        return
    inner = type(bare(obj))
    name = inner.__name__
    if kind is Proxy:
        raise SerializationError(
            f'the {name} is security-proxied: whatever reads the value would'
            ' get it without its proxy; if that is meant, remove the proxy'
            ' first')
    if hasattr(inner, '_p_oid'):
        raise SerializationError(
            f'the {name} is persistent: its copy would not belong to a'
            ' database, and might bring half of one along; store its _p_oid,'
            ' or what you need of it')
    raise SerializationError(
        f'the {name} is acquisition-wrapped: its copy would have nothing to'
        ' acquire from; if that is meant, store aq_base of it')
