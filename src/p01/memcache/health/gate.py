# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A gate: it keeps threads out for a while, and then lets in one at a time."""

import contextlib
import threading
from time import monotonic

from p01.memcache.errors import PoolTimeout
from p01.memcache.threads import fork
from p01.memcache.threads.turn import Turn


class Gate:
    """Open at first. After a pause that shuts it, one thread may try."""

    def __init__(self) -> None:
        self._until = 0.0  # 0: open
        self._pause = 0.0
        self._guest: int | None = None  # the thread that was let in
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        self._turn = Turn()

    @property
    def remaining(self) -> float:
        """Seconds until a thread may pass; 0 if one may now."""
        return max(self._until - monotonic(), 0)

    def open(self) -> None:
        self._until = 0.0

    def shut(self, pause: float) -> None:
        """Let no thread in for so many seconds, and never less than so far."""
        until = monotonic() + pause
        if self._guest != threading.get_ident():
            until = max(until, self._until)
        self._guest = None
        self._pause = pause
        self._until = until

    def hurry(self) -> None:
        """Let a thread in at once."""
        if self._until:
            self._until = min(self._until, monotonic())

    def leave(self) -> None:
        """Let the thread that was let in return without a result."""
        if self._guest == threading.get_ident():
            self._guest = None
            self._until = min(self._until, monotonic() + self._pause)

    def let_in(self, deadline: float) -> bool:
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
                # No other thread, as long as this one is on its way.
                self._guest = threading.get_ident()
                self._until = max(now + self._pause, deadline)
                return True
        return False
