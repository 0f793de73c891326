# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A lock that no exception leaves taken.

An asynchronous exception, or one that a signal's handler raises, may strike
between any two steps. On CPython 3.14 it strikes between the two steps of
``with lock:`` as well, behind the acquire and before the block, and the lock
is taken for ever.
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
    """Return what the function returns; it runs with the lock taken."""
    taken: list[bool] = []
    try:
        # One step: a call written in C takes the lock and keeps a note of it.
        taken.extend(map(lock.acquire, (True,)))
        return function(*args, **kw)
    finally:
        if taken:
            lock.release()
