# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Running a function under a lock that no exception leaves taken.

An asynchronous exception, or one that a signal's handler raises, may strike
between any two steps. On CPython 3.14 it may also strike within ``with
lock:``, after the acquire and before the block, and the lock is taken for
ever.
"""

from collections.abc import Callable
from typing import ParamSpec
from typing import Protocol
from typing import TypeVar


P = ParamSpec('P')
T = TypeVar('T')


class Lock(Protocol):
    """One of `threading`."""

    def acquire(self, blocking: bool, /) -> bool: ...

    def release(self) -> None: ...


def run_locked(
        lock: Lock, function: Callable[P, T],
        *args: P.args, **kw: P.kwargs) -> T:
    """Return what the function returns, which runs with the lock taken."""
    taken: list[bool] = []
    try:
        # One step: a call in C takes the lock and records that.
        taken.extend(map(lock.acquire, (True,)))
        return function(*args, **kw)
    finally:
        if taken:
            lock.release()
