# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects that are more than they show: security proxies and persistent ones.
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


@functools.lru_cache(1000)
def is_special(kind):
    """Return whether instances of the class are not to be stored."""
    return kind is Proxy or hasattr(kind, '_p_oid')


def refuse(obj):
    """Raise a `SerializationError` if the object is not to be stored."""
    kind = type(obj)
    if not is_special(kind):
        return
    if kind is Proxy:
        name = type(removeSecurityProxy(obj)).__name__
        raise SerializationError(
            f'the {name} is security-proxied: whoever reads the value would'
            ' get it without its proxy; if that is meant, remove the proxy'
            ' first')
    raise SerializationError(
        f'the {kind.__name__} is persistent: its copy would not belong to a'
        ' database, and might bring half of one along; store its _p_oid, or'
        ' what you need of it')
