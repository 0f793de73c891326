# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The backend: values by the client, whose serializer stores them."""

from dogpile.cache.api import NO_VALUE
from dogpile.cache.api import CacheBackend
from dogpile.cache.api import CachedValue
from zope.component import getUtility

from p01.memcache.dogpile.mutex import Mutex
from p01.memcache.interfaces import IMemcacheClient


class Backend(CacheBackend):
    """Caches the values of a region; README.txt explains the arguments.

    What a region serializes itself is stored as bytes. Otherwise the value and
    its metadata are stored as plain data, for every serializer of a client.
    """

    def __init__(self, arguments):
        self._client = arguments.get('client')
        self._name = arguments.get('name', '')
        self._lifetime = arguments.get('lifetime')
        self._has_mutex = arguments.get('distributed_lock', True)
        self._lock_timeout = arguments.get('lock_timeout', 60)
        if not self._lock_timeout > 0:
            raise ValueError(
                f'lock_timeout {self._lock_timeout!r}: must be more than 0, or'
                ' the lock of a process that died would stay for ever')

    @property
    def client(self):
        if self._client is not None:
            return self._client
        return getUtility(IMemcacheClient, self._name)

    def has_lock_timeout(self):
        return self._has_mutex

    def get_mutex(self, key):
        if self._has_mutex:
            return Mutex(self, key, self._lock_timeout)
        return None

    def get(self, key):
        return _value(self.client.query(key))

    def get_multi(self, keys):
        keys = list(keys)
        found = self.client.queryMany(keys)
        return [_value(found.get(key)) for key in keys]

    def set(self, key, value):
        self.client.set(key, list(value), self._lifetime)

    def set_multi(self, mapping):
        self.client.setMany(
            {key: list(value) for key, value in mapping.items()},
            self._lifetime)

    def get_serialized(self, key):
        return _bytes(self.client.query(key))

    def get_serialized_multi(self, keys):
        keys = list(keys)
        found = self.client.queryMany(keys)
        return [_bytes(found.get(key)) for key in keys]

    def set_serialized(self, key, value):
        self.client.set(key, value, self._lifetime)

    def set_serialized_multi(self, mapping):
        self.client.setMany(mapping, self._lifetime)

    def delete(self, key):
        self.client.invalidate(key)

    def delete_multi(self, keys):
        self.client.invalidateMany(keys)


def _value(found):
    """Return what was stored of a value; a region of bytes may share a key."""
    if isinstance(found, list) and len(found) == 2:
        return CachedValue(*found)
    return NO_VALUE


def _bytes(found):
    return found if isinstance(found, bytes) else NO_VALUE
