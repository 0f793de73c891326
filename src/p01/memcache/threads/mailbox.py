# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A mailbox: one thread waits for what another one puts into it.

It is a lock and a deque. `queue.SimpleQueue` would be simpler, but up to
CPython 3.12 its ``get`` waits for ever when a signal's handler takes longer
than the rest of the time-out. A lock keeps its time-out.
"""

import collections
import contextlib
import threading
from typing import Generic
from typing import TypeVar


T = TypeVar('T')


class Mailbox(Generic[T]):
    """Empty at first. Each step is one call of a container written in C.

    So it can be interrupted anywhere, and nothing gets lost.
    """

    def __init__(self) -> None:
        self._items: collections.deque[T] = collections.deque()
        self._locked = threading.Lock()
        self._locked.acquire()

    def __bool__(self) -> bool:
        """Return whether anything is in it."""
        return bool(self._items)

    def put(self, item: T) -> None:
        self._items.append(item)
        with contextlib.suppress(RuntimeError):  # it is open already
            self._locked.release()

    def get(self, seconds: float) -> T:
        """Return an item, or raise an IndexError after so many seconds."""
        if not self._items:
            self._locked.acquire(timeout=max(seconds, 0))
        return self._items.popleft()
