# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheFlusher`: they empty the cache."""

from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.facade.writing import Writing
from p01.memcache.features.lifetime import seconds
from p01.memcache.wire.command import FlushAll


class Flushing(Writing):

    def invalidateNamespace(self):
        namespace = self._state.namespace
        if namespace is None:
            raise ValueError(
                'generations: must be on to invalidate a namespace')
        return self._forget(namespace.versions, [namespace.key], 'namespace')

    def invalidateAll(self, delay=0):
        pause = seconds(delay, 'delay')
        self._flights.clear()
        replies = self._state.store.ask_all(
            FlushAll(), monotonic() + self._timeout, pause)
        errors = {server: reply for server, reply in replies
                  if isinstance(reply, MemcacheError)}
        if errors:
            raise NotInvalidated(errors)
