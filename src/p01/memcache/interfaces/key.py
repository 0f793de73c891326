# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of keys by adapter."""

from zope.interface import Interface


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class ICacheKey(Interface):
    """The plain key that stands for an object, as a key or within one.

    An adapter makes it, of what is no plain data: a ``DateTime``, a message of
    zope.i18nmessageid, a content object. It is called with the object, without
    its security proxy, but with its acquisition wrapper, and returns a str,
    bytes, int, float, bool, date, datetime, time, timedelta or UUID, or a
    tuple, list, set, frozenset or dict; what is in these may have adapters,
    too. If it returns None, all is as without an adapter::

        @zope.component.adapter(DateTime)
        @zope.interface.implementer(ICacheKey)
        def keyOfDateTime(date):
            return 'DateTime', date.ISO8601()

    The object and what the adapter returns are the same key. So that it is not
    that of another object, begin it with a name, as above.

    Anything else, such as the object itself, is a ``SerializationError`` (a
    ``ValueError``). What the adapter raises is raised, or the cause of a
    ``SerializationError``. No adapter is asked for plain data of exactly the
    types above. Of a persistent object the interfaces of its class count, not
    its own: it is not loaded to find out that it has no adapter. All processes
    that share the cache need the same adapters: register them globally, not
    for a site.
    """
