# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheFlusher`: they empty the cache."""

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
        return self._forget('invalidateNamespace', namespace.versions,
                            [namespace.key], 'namespace')

    def invalidateAll(self, delay=0):
        pause = seconds(delay, 'delay')
        self._flights.clear()
        state, begin = self._state, self._counts.begin()
        replies = state.store.ask_all(
            FlushAll(), begin + self._timeout, pause)
        self._end('invalidateAll', 'all keys', state, begin,
                  pause * max(len(replies) - 1, 0))
        errors = {server: reply for server, reply in replies
                  if isinstance(reply, MemcacheError)}
        for error in errors.values():
            self._counts.failed(error)
        if not errors:
            self._counts.invalidated += 1
        else:
            raise NotInvalidated(errors)
