# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A turn: one thread at a time has it, and others wait until a deadline.

It serves as a lock, without two faults of locks. A thread that an asynchronous
exception ends between two steps leaves a lock taken for ever; a turn is a pool
of one, and free again however its owner ends. And the wait for an ordinary
lock is unbounded.
"""

import contextlib
import math
from collections.abc import Iterator
from time import monotonic

from p01.memcache.errors import PoolTimeout
from p01.memcache.threads.pool import Pool


# Seconds to wait for a thread that needs microseconds, unless it is
# interrupted.
MOMENT = 0.05


class _Token:

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


class Turn(Pool[_Token]):

    def __init__(self) -> None:
        super().__init__(_Token, 1, math.inf)

    @contextlib.contextmanager
    def by(self, deadline: float) -> Iterator[None]:
        """Take the turn, or raise a `PoolTimeout` at the deadline.

        With a deadline that has passed it does not wait.
        """
        token = self.take(deadline)
        try:
            yield
        finally:
            self.give(token)

    @contextlib.contextmanager
    def soon(self) -> Iterator[None]:
        """Take the turn, or go on without it after a moment."""
        token = None
        with contextlib.suppress(PoolTimeout):
            token = self.take(monotonic() + MOMENT)
        try:
            yield
        finally:
            if token is not None:
                self.give(token)
