# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheFlusher`: they empty the cache."""

from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.facade.writing import Writing
from p01.memcache.features.lifetime import plain
from p01.memcache.wire.command import FlushAll


_DAY = 24 * 60 * 60


class Flushing(Writing):

    def invalidateNamespace(self):
        namespace = self._state.namespace
        if namespace is None:
            raise ValueError(
                'generations: must be on to invalidate a namespace')
        return self._forget(namespace.versions, [namespace.key], 'namespace')

    def invalidateAll(self, delay=0):
        seconds = plain(delay)
        if not 0 <= seconds <= _DAY:
            raise ValueError(
                f'delay {delay!r}: must be a number of seconds, from 0 to'
                f' {_DAY}')
        self._flights.clear()
        replies = self._state.store.ask_all(
            FlushAll(), monotonic() + self._timeout, seconds)
        errors = {server: reply for server, reply in replies
                  if isinstance(reply, MemcacheError)}
        if errors:
            raise NotInvalidated(errors)
