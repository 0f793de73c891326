# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A cache of values for objects and their views, in memcached."""

from zope.component import getUtility
from zope.interface import implementer

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.ramcache.interfaces import IMemcacheRAMCache
from p01.memcache.ramcache.statistics import Statistics


_PREFIX = 'p01.memcache.ramcache'

_MISSING = object()


@implementer(IMemcacheRAMCache)
class MemcacheRAMCache:
    """See `IMemcacheRAMCache`."""

    def __init__(self, name='', maxEntries=1000, maxAge=3600,
                 cleanupInterval=300, cacheName=''):
        self.name = name
        self.cacheName = cacheName
        self.maxAge = maxAge
        self.cleanupInterval = cleanupInterval
        self._statistics = Statistics(maxEntries)

    @property
    def maxEntries(self):
        return self._statistics.most

    @maxEntries.setter
    def maxEntries(self, value):
        self._statistics.most = value

    def update(self, maxEntries=None, maxAge=None, cleanupInterval=None):
        if maxEntries is not None:
            self.maxEntries = maxEntries
        if maxAge is not None:
            self.maxAge = maxAge
        if cleanupInterval is not None:
            self.cleanupInterval = cleanupInterval

    def query(self, ob, key=None, default=None):
        client = self._client()
        built = self._key(client, ob, key)
        value = client.query(built, default=_MISSING)
        if value is _MISSING:
            self._statistics.miss(ob)
            return default
        self._statistics.hit(ob, built)
        return value

    def set(self, data, ob, key=None):
        client = self._client()
        built = self._key(client, ob, key)
        tags = self._everything, self._tag(client, ob)
        if client.set(built, data, self.maxAge, dependencies=tags) is not None:
            self._statistics.stored(ob, built)

    def invalidate(self, ob, key=None):
        client = self._client()
        if key:
            client.invalidate(self._key(client, ob, key))
        else:
            client.invalidateDependencies(self._tag(client, ob))

    def invalidateAll(self):
        self._client().invalidateDependencies(self._everything)
        self._statistics.clear()

    def getStatistics(self):
        return self._statistics.report(self._client())

    def _client(self):
        return getUtility(IMemcacheClient, self.cacheName)

    def _key(self, client, ob, key):
        return (_PREFIX, self.name, client.buildKey(ob),
                tuple(sorted((key or {}).items())))

    # What values depend on. A built key has no colon.

    def _tag(self, client, ob):
        return f'{_PREFIX}:{client.buildKey(ob)}:{self.name}'

    @property
    def _everything(self):
        return f'{_PREFIX}::{self.name}'
