# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What the settings and statistics of a cache in memcached mean."""

from zope.interface import Attribute
from zope.ramcache.interfaces.ram import IRAMCache


class IMemcacheRAMCache(IRAMCache):
    """An `IRAMCache` whose values are in memcached.

    Values are copies: a change of a value that `query` has returned changes
    nothing in the cache. What the client cannot serialize, `set` rejects with
    a ``SerializationError``.

    An object is part of a key, see `IMemcacheReader.buildKey`. So give its
    path, as zope.ramcache asks for, or a persistent object that is stored.

    While memcached is down `query` misses, so all is computed.
    """

    name = Attribute(
        'A text that separates caches on the same client. Processes share the '
        'values of caches of the same name.')

    cacheName = Attribute(
        'The name of the `IMemcacheClient` utility. It is looked up whenever '
        'it is needed; if it does not exist, that is a '
        '``ComponentLookupError``.')

    maxAge = Attribute(
        'The lifetime in seconds of the values that are set from now on; 0 '
        'never expires.')

    maxEntries = Attribute(
        'The number of keys that the statistics of this process know. They '
        'forget the one that was used least recently. The values themselves '
        "are bounded by memcached's memory.")

    cleanupInterval = Attribute('Has no effect: memcached cleans up.')

    def getStatistics():
        """Return a tuple of dicts, sorted by the path of the object.

        `hits` and `misses` are those of this process, for the keys that it
        knows; `entries` is the number of these keys that have a value in
        memcached now, and `size` that of their bytes. These are read: it takes
        a round trip for each hundred keys.

        `path` is the object if that is a str, otherwise its ``repr``.
        """
