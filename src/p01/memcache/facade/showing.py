# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheStatistics`, and what they show."""

from time import monotonic

from p01.memcache.counts import steps
from p01.memcache.counts.counts import BOUNDS
from p01.memcache.counts.counts import SUM
from p01.memcache.errors import MemcacheError
from p01.memcache.facade.deriving import Derivable
from p01.memcache.wire.command import Stats


class Showing(Derivable):

    def getStatistics(self, name=None):
        replies = self._state.store.ask_all(
            Stats(name), monotonic() + self._timeout)
        return [
            (server, {'error': str(reply)}
             if isinstance(reply, MemcacheError) else reply)
            for server, reply in replies]

    def getUnreadable(self):
        return dict(self._counts.unreadable)

    def getCounts(self):
        return self._counts.as_dict()

    def getHistory(self):
        return self._counts.history()

    def getSlowest(self):
        return self._counts.slowest()

    # Counting

    def _end(self, command, key, state, begin, pause=0.0):
        """Note the end of an operation that began then; the pause in it does
        not count.
        """
        # `Reading._read` has the same, without a call.
        counts = self._counts
        seconds = monotonic() - begin - pause
        times = counts.times[command]
        bucket = 0
        while seconds > BOUNDS[bucket]:
            bucket += 1
        times[bucket] += 1
        times[SUM] += seconds
        if seconds > counts.bound:
            self._note(command, key, state, begin, seconds)

    def _note(self, command, key, state, begin, seconds):
        """Note an operation that is slow."""
        counts = self._counts
        phase, server = steps.longest(begin, seconds)
        if server is None and phase == 'receive':
            server = state.address(key)
        counts.keep(seconds, command, key, server, phase)
        if seconds > counts.limit:
            counts.slow += 1
            self._trouble.slow(command, key, seconds, phase, server)
