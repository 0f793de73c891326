# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The connections to a server: a pool that counts those that wait for one."""

from collections.abc import Callable
from time import monotonic

from p01.memcache.counts import steps
from p01.memcache.threads.pool import Pool
from p01.memcache.transport.connection import Connection


class Connections(Pool[Connection]):
    """The pool of the server `name`."""

    def __init__(self, name: str, factory: Callable[[], Connection],
                 size: int, idle_time: float) -> None:
        super().__init__(factory, size, idle_time)
        self._name = name

    @property
    def waiting(self) -> int:
        """How many threads wait for a connection."""
        return len(self._waiting)

    def _wait(self, deadline: float) -> Connection:
        since = monotonic()
        try:
            return super()._wait(deadline)
        finally:
            steps.note('pool', self._name, since)
