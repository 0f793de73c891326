# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Whether to keep the interpreter lock while a request is answered.

A system call that releases the interpreter lock has to get it back, which
takes up to the switch interval (5 ms) beside a computing thread, and as long
as the request itself among many threads that use the same server. The reply
is often there after 20 µs. So it pays to keep the lock for a moment, see
`LockKeepingStream`, if the server mostly answers within it. `LockKeeping`
learns that by experience.
"""

import enum
from time import monotonic
from time import sleep


class Way(enum.Enum):
    """How a request is sent, and its reply waited for."""

    LOOK = 'keep the lock, and look for the reply again and again'
    SLEEP = 'keep the lock, and sleep'
    RELEASE = 'release the lock'


LOOK, SLEEP, RELEASE = Way

# A bit less than the interpreter's switch interval, which ends a turn; and the
# gap between two requests in which other threads had theirs.
_TURN, _GAP = 4e-3, 1e-3

# This many more looks in vain than not are followed by a rest, which takes so
# many requests, at first and at most.
_VAIN = 8
_FIRST, _LAST = 32, 4096


class LockKeeping:
    """The way of the requests to one server.

    The connections to the server share this object. It is not locked: an
    update that gets lost delays a decision a little.
    """

    way = RELEASE  # of the last request
    vain = 0       # how many more looks were in vain than not, lately
    resting = 0    # requests until the next look; 0 to look each time

    def __init__(self) -> None:
        self._other = LOOK   # the way during a rest
        self._rest = _FIRST  # requests that the next rest takes
        self._began = 0.0    # the turn of a thread
        self._ended = 0.0    # the last request

    def choose(self) -> Way:
        """Return the way of the next request."""
        if self.resting > 0:
            self.resting -= 1
            self.way = self._other
        else:
            self.way = LOOK
        return self.way

    def succeeded(self) -> None:
        """Note that a look saw the reply in time, after some in vain."""
        self.vain = max(self.vain - 1, 0)
        if not self.vain:
            self._rest = _FIRST

    def failed(self, other: Way) -> None:
        """Note a look in vain; `other` would have been the better way."""
        # Milliseconds without the processor outweigh what many looks gain.
        self.vain = _VAIN if other is SLEEP else self.vain + 1
        if self.vain >= _VAIN:
            # After the rest a single look shows whether this still holds.
            self.vain = _VAIN - 1
            self._other = other
            if self.resting <= 0:  # else another thread's look came first
                self.resting = self._rest
                self._rest = min(self._rest * 2, _LAST)

    def give_way(self, asked: float) -> None:
        """Let other threads run if this one's turn is nearly over.

        Called after a request that was sent at `asked`. A thread that loses
        the lock in mid-request holds its connection until it is scheduled
        again; with many threads the pool soon runs dry.
        """
        now = monotonic()
        if asked - self._ended > _GAP:
            self._began = asked
        self._ended = now
        if now - self._began > _TURN:
            self._began = now
            sleep(1e-6)
