# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The health of a server: whether it may be asked, and for how long.

A server is up, failing (it showed failures, but fewer than `retries` in a
row) or down. While it is down nobody asks it, and nobody waits for it: after
`blacktime` seconds one request is let through and decides.
"""

import logging
import math
import threading
from time import monotonic

from p01.memcache import fork
from p01.memcache.errors import ConnectError
from p01.memcache.errors import ServerDown


logger = logging.getLogger('p01.memcache')

# A failing server is given half of the time for each failure in a row, but
# not less than an eighth: it may be slow, and yet answer.
_MOST_HALVINGS = 3

# memcached counts whole seconds, and may be one behind.
_GRAIN = 2


class Gate:
    """Open; or shut for a while, and then opened to one at a time."""

    def __init__(self, pause):
        self._pause = pause
        self._until = 0.0  # 0: open
        self._guest = None  # the thread that was let in
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._lock = threading.RLock()  # a signal's handler may come back

    @property
    def remaining(self):
        """Seconds for which nobody passes; 0 if somebody would."""
        return max(self._until - monotonic(), 0)

    def open(self):
        self._until = 0.0

    def shut(self):
        self._until = monotonic() + self._pause

    def leave(self):
        """The one that was let in is back, and has decided nothing."""
        with self._lock:
            if self._guest == threading.get_ident():
                self._guest = None
                self._until = min(self._until, monotonic() + self._pause)

    def let_in(self, deadline):
        """Return whether the caller may go on, until the deadline."""
        now = monotonic()
        if now < self._until:
            return False
        with self._lock:
            if now < self._until:
                return False
            if self._until:
                # Nobody else, as long as this one is on its way.
                self._guest = threading.get_ident()
                self._until = max(now + self._pause, deadline)
            return True


class Health:
    """What is known of the server `name`. All times are seconds.

    ``tell(name, state, reason)`` is called when it goes down and when it
    comes back.
    """

    def __init__(self, name, retries, delay, blacktime, tell):
        self._name = name
        self._retries = retries
        self._blacktime = blacktime
        self._tell = tell
        self.failures = 0  # in a row
        self._since = 0.0  # the first of the failures
        self._reason = ''  # of the last one
        self._settled_at = -math.inf
        self._asking = Gate(blacktime)
        self._connecting = Gate(delay)
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._lock = threading.RLock()

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
            return now + (deadline - now) / (
                1 << min(self.failures, _MOST_HALVINGS))
        if not self._asking.let_in(deadline) and self.is_down:
            raise ServerDown(f'{self._name} is down, after: {self._reason}')
        return deadline

    def admit_connect(self, deadline):
        """Raise `ServerDown` if now is not the time to try to connect."""
        if not self._connecting.let_in(deadline):
            raise ServerDown(
                f'{self._name} is left alone, after: {self._reason}')

    def connected(self):
        self._connecting.open()

    def undecided(self):
        """A request has ended that tells nothing of the server's health."""
        self._asking.leave()
        self._connecting.leave()

    def failed(self, error):
        with self._lock:
            before = self.state
            if not self.failures:
                self._since = monotonic()
            self.failures += 1
            self._reason = str(error)
            if isinstance(error, ConnectError):
                self._connecting.shut()
            if self.is_down:
                self._asking.shut()
            after = self.state
        if after != before:
            self._changed(before, after, str(error))

    def answered(self):
        """The server is well. Call it if there were failures before."""
        with self._lock:
            before = self.state
            if before == 'up':
                return
            seconds = monotonic() - self._since
            reason = '{} failure{} in {:.1f} seconds'.format(
                self.failures, 's' * (self.failures > 1), seconds)
            if self.is_down:
                self._settle(self._blacktime)
            self.failures = 0
            self._asking.open()
        self._changed(before, 'up', reason)

    def _changed(self, before, after, reason):
        if after == 'up':
            logger.warning(
                'memcached %s is up again, after %s', self._name, reason)
        else:
            logger.warning('memcached %s is %s: %s', self._name, after, reason)
        if 'down' in (before, after):
            try:
                self._tell(self._name, after, reason)
            except Exception:
                # The listener's trouble, not that of the caller of `query`.
                logger.exception(
                    'memcached %s: a listener failed to hear that it is %s',
                    self._name, after)
