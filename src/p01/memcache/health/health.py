# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The health of a server: whether it may be asked, and for how long.

A server is up, failing (fewer than `retries` failures in a row) or down. While
it is down no request goes to it or waits for it: after `blacktime` seconds a
single one is let through and decides.

An incident is counted once, however many threads see it: a request that began
before the last counted failure is no news. Only a fresh connection says
something about the server, and after a failure they are tried one at a time. A
used one may have been forgotten by a firewall, or belong to a process that has
been replaced: its failure is a doubt, which only gives the next requests less
time.
"""

import contextlib
import math
from collections.abc import Callable
from time import monotonic

from p01.memcache.errors import ConnectError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.health.gate import Gate
from p01.memcache.log import LimitedLog
from p01.memcache.log import logger
from p01.memcache.threads import fork
from p01.memcache.threads.turn import MOMENT
from p01.memcache.threads.turn import Turn


# The part of the time that a server gets after so many doubts in a row: with
# the usual three failures it is down within twice the time-out, while one that
# is merely slow may still answer.
_PARTS = 1, 2, 8

# memcached counts whole seconds, and may be one behind.
_GRAIN = 2


class Health:
    """What is known of the server `name`. All times are seconds.

    ``notify(name, before, after, reason)`` is called when its state changes.
    """

    def __init__(self, name: str, retries: int, delay: float,
                 blacktime: float,
                 notify: Callable[[str, str, str, str], None]) -> None:
        self._name = name
        self._retries = retries
        self._delay = delay
        self._blacktime = blacktime
        self._notify = notify
        self._log = LimitedLog()
        self.failures = 0  # of fresh connections, in a row
        self.doubts = 0    # these, and failures of used ones
        self._since = 0.0  # the first of the failures
        self._failed_at = self._doubted_at = -math.inf  # the last of each
        self.reason = ''  # of the last failure
        self.changed_at = 0.0  # the state; 0: never
        self._settled_at = -math.inf
        self._asking = Gate()
        self._connecting = Gate()
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        self._turn = Turn()

    @property
    def is_down(self) -> bool:
        return self.failures >= self._retries

    @property
    def state(self) -> str:
        if self.is_down:
            return 'down'
        return 'failing' if self.failures else 'up'

    @property
    def absence(self) -> float:
        """Seconds until the server may be asked again; 0 if it may be now."""
        return self._asking.remaining if self.is_down else 0

    @property
    def pause(self) -> float:
        """Seconds until it may be asked, or connected to, again."""
        return max(self.absence, self._connecting.remaining)

    def is_settled(self, deadline: float) -> bool:
        """Return whether the stand-ins of an earlier outage have expired.

        Any process stored such values on other servers, until it noticed that
        this one was back. Its last probe may have failed just before the
        server returned, and its last request may have taken as long as one
        that begins now and has to end at the deadline.
        """
        now = monotonic()
        return now > self._settled_at + 2 * (deadline - now)

    def inherit(self, former: 'Health') -> None:
        """Take over from the same server's health so far."""
        self._settled_at = former._settled_at
        if former.is_down:
            # To this one the outage begins now.
            self._settle(former._blacktime)

    def _settle(self, seconds: float) -> None:
        # The times of an earlier outage may have been longer.
        self._settled_at = max(
            self._settled_at, monotonic() + seconds + _GRAIN)

    def admit(self, deadline: float, has_news: bool = False) -> float:
        """Return by when a request must end, or raise `ServerDown`.

        With `has_news`, such as another password than the one that the server
        has refused, one may try at once.
        """
        if has_news:
            self._asking.hurry()
            self._connecting.hurry()
        if not self.is_down:
            now = monotonic()
            return now + (deadline - now) / _PARTS[min(self.doubts, 2)]
        if not self._asking.let_in(deadline) and self.is_down:
            raise ServerDown(f'{self._name} is down: {self.reason}')
        return deadline

    def admit_connect(self, deadline: float) -> None:
        """Raise `ServerDown` if it is too early to try to connect."""
        if not self._connecting.let_in(deadline):
            raise ServerDown(
                f'{self._name} is not retried yet: {self.reason}')

    def undecided(self) -> None:
        """Note the end of a request that says nothing about the server."""
        self._asking.leave()
        self._connecting.leave()

    def connected(self) -> None:
        """Note a connection, which says little about the server so far."""
        if not self.doubts:
            self._connecting.open()

    def hindered(self, error: MemcacheError) -> None:
        """Note what prevented a request on our own side."""
        self._asking.leave()
        # One at a time tries again, at once.
        self.reason = str(error)
        self._connecting.shut(0)

    def doubted(self, error: MemcacheError, began: float) -> None:
        """Note that a request, begun then, failed on a used connection."""
        self._asking.leave()
        with contextlib.suppress(PoolTimeout), self._by_turns():
            if began > max(self._doubted_at, self._failed_at):
                self._doubted_at = monotonic()
                self.doubts += 1
                self.reason = str(error)

    def failed(self, error: MemcacheError, began: float) -> None:
        """Note that a request, begun then, failed on a fresh connection."""
        before = after = self.state
        with contextlib.suppress(PoolTimeout), self._by_turns():
            if began <= self._failed_at:
                # The incident has been counted.
                self.undecided()
                return
            before, now = self.state, monotonic()
            if not self.failures:
                self._since = now
            self._failed_at = now
            # As long as there are doubts, an answer clears up everything.
            self.doubts += 1
            self.failures += 1
            self.reason = str(error)
            self._connecting.shut(
                self._delay if isinstance(error, ConnectError) else 0)
            if self.is_down:
                self._asking.shut(self._blacktime)
            after = self.state
        if after != before:
            self._changed(before, after, str(error))

    def answered(self) -> None:
        """Note that the server is well, if there were doubts before."""
        before = 'up'
        with contextlib.suppress(PoolTimeout), self._by_turns():
            before = self.state
            reason = self._history()
            if self.is_down:
                self._settle(self._blacktime)
            self.failures = 0
            self._asking.open()
            self._connecting.open()
            self.doubts = 0
        if before != 'up':
            self._changed(before, 'up', reason)

    def _by_turns(self) -> contextlib.AbstractContextManager[None]:
        """Return the turn to change the state; a busy one is a PoolTimeout."""
        return self._turn.by(monotonic() + MOMENT)

    def _history(self) -> str:
        ago = f'{monotonic() - self._failed_at:.1f} seconds ago'
        if self.failures == 1:
            return f'1 failure {ago}'
        lasted = self._failed_at - self._since
        return (f'{self.failures} failures in {lasted:.1f} seconds, the last'
                f' one {ago}')

    def _changed(self, before: str, after: str, reason: str) -> None:
        self.changed_at = monotonic()
        if after == 'up':
            self._log.warn(
                'memcached %s is up again, after %s', self._name, reason)
        else:
            self._log.warn(
                'memcached %s is %s: %s', self._name, after, reason)
        try:
            self._notify(self._name, before, after, reason)
        except Exception:
            # The subscriber's trouble, not that of the caller of `query`.
            logger.exception(
                'memcached %s is %s: a subscriber of this event failed',
                self._name, after)
