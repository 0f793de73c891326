# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The health of a server: whether it may be asked, and for how long.

A server is up, failing (it showed failures, but fewer than `retries` in a
row) or down. While it is down nobody asks it, and nobody waits for it: after
`blacktime` seconds one request is let through and decides.

An incident is counted once, however many threads see it: what began before
the last failure that counted is no news. Only a fresh connection tells of the
server, and after its failure one at a time is tried. One that was used before
may have been forgotten by a firewall, or belong to a process that has been
replaced: its failure is a doubt, which only gives the next requests less time.
"""

import contextlib
import math
import threading
from time import monotonic

from p01.memcache.errors import ConnectError
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.log import logger
from p01.memcache.threads import fork
from p01.memcache.threads.turn import MOMENT
from p01.memcache.threads.turn import Turn


# What part of the time a server is given after so many doubts in a row. With
# the usual three failures it is down within twice the time-out; and it may be
# slow, and yet answer.
_PARTS = 1, 2, 8

# memcached counts whole seconds, and may be one behind.
_GRAIN = 2

# So many lines are logged in so many seconds.
_MOST_LINES, _MINUTE = 20, 60


class Gate:
    """Open; or shut for a while, and then opened to one at a time."""

    def __init__(self):
        self._until = 0.0  # 0: open
        self._pause = 0.0
        self._guest = None  # the thread that was let in
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._turn = Turn()

    @property
    def remaining(self):
        """Seconds for which nobody passes; 0 if somebody would."""
        return max(self._until - monotonic(), 0)

    def open(self):
        self._until = 0.0

    def shut(self, pause):
        """Let nobody in for so many seconds, not less than so far."""
        until = monotonic() + pause
        if self._guest != threading.get_ident():
            until = max(until, self._until)
        self._guest = None
        self._pause = pause
        self._until = until

    def leave(self):
        """The one that was let in is back, and has decided nothing."""
        if self._guest == threading.get_ident():
            self._guest = None
            self._until = min(self._until, monotonic() + self._pause)

    def let_in(self, deadline):
        """Return whether the caller may go on, until the deadline."""
        if not self._until:
            return True
        if monotonic() < self._until:
            return False
        with contextlib.suppress(PoolTimeout), self._turn.by(0):
            now = monotonic()
            if not self._until:
                return True
            if now >= self._until:
                # Nobody else, as long as this one is on its way.
                self._guest = threading.get_ident()
                self._until = max(now + self._pause, deadline)
                return True
        return False


class _Lines:
    """The log of a server, which may change its state at every request."""

    def __init__(self):
        self._begin = -math.inf
        self._count = 0

    def warn(self, message, *args):
        now = monotonic()
        if now >= self._begin + _MINUTE:
            missing = self._count - _MOST_LINES
            if missing > 0:
                message += f' ({missing} more changes were not logged)'
            self._begin, self._count = now, 0
        self._count += 1
        if self._count == _MOST_LINES:
            message += (
                f' (more changes are not logged for {_MINUTE} seconds)')
        if self._count <= _MOST_LINES:
            logger.warning(message, *args)


class Health:
    """What is known of the server `name`. All times are seconds.

    ``tell(name, state, reason)`` is called when it goes down and when it
    comes back.
    """

    def __init__(self, name, retries, delay, blacktime, tell):
        self._name = name
        self._retries = retries
        self._delay = delay
        self._blacktime = blacktime
        self._tell = tell
        self._lines = _Lines()
        self.failures = 0  # of fresh connections, in a row
        self.doubts = 0    # these, and the failures of used ones
        self._since = 0.0  # the first of the failures
        self._failed_at = self._doubted_at = -math.inf  # the last of each
        self._reason = ''  # of the last failure
        self._settled_at = -math.inf
        self._asking = Gate()
        self._connecting = Gate()
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._turn = Turn()

    @property
    def is_down(self):
        return self.failures >= self._retries

    @property
    def state(self):
        if self.is_down:
            return 'down'
        return 'failing' if self.failures else 'up'

    @property
    def absence(self):
        """Seconds until the server is asked again; 0 if it may be now."""
        return self._asking.remaining if self.is_down else 0

    @property
    def pause(self):
        """Seconds until the server is asked, or connected to, again."""
        return max(self.absence, self._connecting.remaining)

    def is_settled(self, deadline):
        """Whether what stood in for it in an earlier outage has expired.

        That is what any process stored on other servers, not knowing yet
        that this one was back. Its last probe may have failed when the server
        was about to return, and its last request may have been on the way, as
        long as one that begins now and has to end at the deadline.
        """
        now = monotonic()
        return now > self._settled_at + 2 * (deadline - now)

    def inherit(self, former):
        """Take over from the health of the same server, until now."""
        self._settled_at = former._settled_at
        if former.is_down:
            # For this one it begins anew.
            self._settle(former._blacktime)

    def _settle(self, seconds):
        # An earlier outage may have been one with longer times.
        self._settled_at = max(
            self._settled_at, monotonic() + seconds + _GRAIN)

    def admit(self, deadline):
        """Return by when a request must be done, or raise `ServerDown`."""
        if not self.is_down:
            now = monotonic()
            return now + (deadline - now) / _PARTS[min(self.doubts, 2)]
        if not self._asking.let_in(deadline) and self.is_down:
            raise ServerDown(f'{self._name} is down, after: {self._reason}')
        return deadline

    def admit_connect(self, deadline):
        """Raise `ServerDown` if now is not the time to try to connect."""
        if not self._connecting.let_in(deadline):
            raise ServerDown(
                f'{self._name} is left alone, after: {self._reason}')

    def undecided(self):
        """A request has ended that tells nothing of the server's health."""
        self._asking.leave()
        self._connecting.leave()

    def connected(self):
        """A connection is made, which says little of the server as yet."""
        if not self.doubts:
            self._connecting.open()

    def hindered(self, error):
        """Something on our own side kept a request from being made."""
        self._asking.leave()
        # One at a time tries again, at once.
        self._reason = str(error)
        self._connecting.shut(0)

    def doubted(self, error, began):
        """A request that began then has failed, on a used connection."""
        self._asking.leave()
        with contextlib.suppress(PoolTimeout), self._by_turns():
            if began > max(self._doubted_at, self._failed_at):
                self._doubted_at = monotonic()
                self.doubts += 1
                self._reason = str(error)

    def failed(self, error, began):
        """A request that began then has failed, on a fresh connection."""
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
            # As long as there are doubts, an answer clears all of it up.
            self.doubts += 1
            self.failures += 1
            self._reason = str(error)
            self._connecting.shut(
                self._delay if isinstance(error, ConnectError) else 0)
            if self.is_down:
                self._asking.shut(self._blacktime)
            after = self.state
        if after != before:
            self._changed(before, after, str(error))

    def answered(self):
        """The server is well. Call it if there were doubts before."""
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

    def _by_turns(self):
        """To change the state; without it, another thread is at it."""
        return self._turn.by(monotonic() + MOMENT)

    def _history(self):
        ago = f'{monotonic() - self._failed_at:.1f} seconds ago'
        if self.failures == 1:
            return f'1 failure {ago}'
        lasted = self._failed_at - self._since
        return (f'{self.failures} failures in {lasted:.1f} seconds, the last'
                f' one {ago}')

    def _changed(self, before, after, reason):
        if after == 'up':
            self._lines.warn(
                'memcached %s is up again, after %s', self._name, reason)
        else:
            self._lines.warn(
                'memcached %s is %s: %s', self._name, after, reason)
        if 'down' in (before, after):
            try:
                self._tell(self._name, after, reason)
            except Exception:
                # The listener's trouble, not that of the caller of `query`.
                logger.exception(
                    'memcached %s: a listener failed to hear that it is %s',
                    self._name, after)
