# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects that are more than they show: proxied, wrapped and persistent ones.
"""

import functools

from p01.memcache.errors import SerializationError


try:
    from zope.security.proxy import Proxy
    from zope.security.proxy import removeSecurityProxy
except ImportError:
    # Then there are none.
    class Proxy:
        """What no object is."""

    def removeSecurityProxy(obj):
        return obj


try:
    from Acquisition import ExplicitAcquisitionWrapper
    from Acquisition import ImplicitAcquisitionWrapper
    from Acquisition import aq_base
except ImportError:
    _WRAPPERS = frozenset()
else:
    _WRAPPERS = frozenset((
        ExplicitAcquisitionWrapper, ImplicitAcquisitionWrapper))


def bare(obj):
    """Return what is behind security proxies and acquisition wrappers."""
    while (inner := unwrapped(obj)) is not obj:
        obj = inner
    return obj


def unwrapped(obj):
    """Return what is behind one of them, or the object itself.

    Types are looked up as they are: both tell the class of what they are
    around, and a wrapper has the attributes of what is around that.
    """
    kind = type(obj)
    if kind is Proxy:
        return removeSecurityProxy(obj)
    return aq_base(obj) if kind in _WRAPPERS else obj


@functools.lru_cache(1000)
def is_special(kind):
    """Return whether instances of the class are not to be stored."""
    return kind is Proxy or kind in _WRAPPERS or hasattr(kind, '_p_oid')


def refuse(obj):
    """Raise a `SerializationError` if the object is not to be stored."""
    kind = type(obj)
    if not is_special(kind):
        return
    name = type(bare(obj)).__name__
    if kind is Proxy:
        raise SerializationError(
            f'the {name} is security-proxied: whoever reads the value would'
            ' get it without its proxy; if that is meant, remove the proxy'
            ' first')
    if hasattr(type(bare(obj)), '_p_oid'):
        raise SerializationError(
            f'the {name} is persistent: its copy would not belong to a'
            ' database, and might bring half of one along; store its _p_oid,'
            ' or what you need of it')
    raise SerializationError(
        f'the {name} is acquisition-wrapped: its copy would have nothing to'
        ' acquire from; if that is meant, store aq_base of it')
