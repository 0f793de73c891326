# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The cache of plone.memoize: a mapping for each call of a function.

plone.memoize asks the mapping for the key, calls the function on a miss, and
puts the result into the mapping. So the mapping holds the right to compute,
as `getOrCreate` does, from the one to the other. If the function raises, the
mapping is dropped, and the right with it.
"""

import pickle
from time import monotonic

from plone.memoize.interfaces import ICacheChooser
from plone.memoize.ram import RAMCacheAdapter
from plone.memoize.ram import global_cache
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.interface import provider
from zope.ramcache.ram import RAMCache

from p01.memcache.content.identity import identify
from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.log import logger
from p01.memcache.plone.interfaces import IMemoizeSettings
from p01.memcache.plone.settings import MemoizeSettings


#: What the results of all functions depend on.
EVERYTHING = 'plone.memoize'

_DEFAULT = MemoizeSettings()

# Results by function, each with the time until which it may be used. They are
# pickles: a caller may change what it gets.
_ram = RAMCache()

# Functions whose results cannot be pickled.
_unstorable = set()

_MISSING = object()


@provider(ICacheChooser)
def chooseCache(function):
    """Return the mapping for a call of a function, "module.function".

    As long as the site has no memcache client, and for a function whose
    results cannot be pickled, this is the RAM cache of plone.memoize.
    """
    settings = (queryUtility(IMemoizeSettings, function)
                or queryUtility(IMemoizeSettings) or _DEFAULT)
    find = getUtility if settings.cacheName else queryUtility
    client = find(IMemcacheClient, settings.cacheName)
    if client is None or function in _unstorable:
        return RAMCacheAdapter(global_cache, globalkey=function)
    return Results(client, function, settings)


class Results:
    """The results of a function, for one call of it."""

    def __init__(self, client, function, settings):
        self._client = client
        self._function = function
        self._settings = settings
        self._dependencies = function, EVERYTHING
        self._lookUps = {}

    def _place(self, key):
        """Return the key in memcached: each site has its own results."""
        site = getSite()
        path = None if site is None else identify(site).path
        return EVERYTHING, path, key

    def get(self, key, default=None):
        place, settings = self._place(key), self._settings
        self._lookUps.pop(key, None)
        try:
            lookUp = self._client.lookUp(
                place, settings.lifetime, settings.grace, self._dependencies)
        except RuntimeError:
            # The function calls itself with the same key. plone.memoize
            # computes it then, and so the inner call computes, too.
            return default
        if lookUp.isHit:
            return lookUp.value
        if settings.ram and lookUp.isAway:
            end, data = _ram.query(self._function, {'': place}, (0, None))
            if monotonic() < end:
                lookUp.release()
                return pickle.loads(data)
        self._lookUps[key] = place, lookUp
        return default

    def __getitem__(self, key):
        value = self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key, value):
        # The function may have left another site than it was called in.
        place, lookUp = self._lookUps.pop(key, (None, None))
        try:
            if lookUp is None:
                self._client.set(
                    self._place(key), value, self._settings.lifetime,
                    dependencies=self._dependencies)
            else:
                lookUp.store(value)
                if self._settings.ram and lookUp.isAway:
                    self._keep(place, value)
        except SerializationError as error:
            if self._function not in _unstorable:
                _unstorable.add(self._function)
                logger.warning(
                    'memcache: the results of %s stay in the RAM of each'
                    ' process: %s', self._function, error)

    def _keep(self, place, value):
        try:
            data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception:
            return  # only the serializer of the client can take it apart
        _ram.set((monotonic() + self._settings.ram, data),
                 self._function, {'': place})

    # Add-ons empty the cache of a function by
    # ``chooser(function).ramcache.invalidate(function)``.

    @property
    def ramcache(self):
        return self

    def invalidate(self, ob=None, key=None, key_params=None):
        """Remove all results of the function, whatever the key."""
        _ram.invalidate(self._function)
        self._client.invalidateDependencies(self._function)

    def invalidateAll(self):
        """Remove the results of all functions."""
        _ram.invalidateAll()
        self._client.invalidateDependencies(EVERYTHING)
