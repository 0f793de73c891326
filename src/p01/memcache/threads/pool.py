# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A bounded, blocking pool of items that a factory makes.

The item that was used last is lent next, and threads that wait are served in
the order in which they came.

An asynchronous exception (a signal's, a greenlet's time-out) may end a caller
between any two steps, and would leave a count of lent items wrong for ever. So
nothing is counted: the pool refers weakly to all items that it made, and a
lent one belongs to its user alone. However the user drops it, it is gone, and
that makes room.

Nor is there a lock. A thread that gets one may still have to wait for the
interpreter lock, and many threads then queue for both and hardly proceed; and
a thread that is interrupted while holding it blocks all others. Each step is
one call of a container written in C, which cannot be interrupted; a thread
that adds an item looks for a waiting thread afterwards, and one that begins to
wait looks for an item afterwards.
"""

import collections
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Generic
from typing import Protocol
from typing import TypeVar

from p01.memcache.errors import PoolTimeout
from p01.memcache.threads.mailbox import Mailbox


# Seconds after which a waiting thread checks whether an item was dropped
# without notice.
_LOOK = 0.05


class Closable(Protocol):

    def close(self) -> None: ...


T = TypeVar('T', bound=Closable)


class Pool(Generic[T]):
    """Lends at most `size` items that have a ``close`` method.

    An item that was idle for more than `idle_time` seconds is closed by the
    next call of `take`.
    """

    def __init__(self, factory: Callable[[], T], size: int,
                 idle_time: float) -> None:
        self._factory = factory
        self._size = size
        self._idle_time = idle_time
        self._reset()

    def _reset(self) -> None:
        # A weak reference to each item.
        self._members: set[weakref.ref[T]] = set()
        # Each with the time since which it is idle.
        self._idle: collections.deque[tuple[T, float]] = collections.deque()
        # A mailbox for one item of each waiting thread.
        self._waiting: collections.deque[Mailbox[T]] = collections.deque()

    def __repr__(self) -> str:
        return '<Pool {active} active, {idle} idle>'.format_map(
            self.statistics())

    def statistics(self) -> dict[str, int]:
        idle = len(self._idle)
        alive = sum(item() is not None for item in list(self._members))
        return {'active': alive - idle, 'idle': idle}

    def take(self, deadline: float) -> T:
        """Return an item; wait for one until the deadline."""
        limit = monotonic() - self._idle_time
        try:
            if self._idle[0][1] < limit:
                self._expire(limit)
            return self._idle.pop()[0]
        except IndexError:
            pass
        return self._wait(deadline)

    def give(self, item: T) -> None:
        """Take back an item that can be used again."""
        if self._waiting:
            try:
                self._waiting.popleft().put(item)
                return
            except IndexError:
                pass
        self._idle.append((item, monotonic()))
        if self._waiting:
            self._serve()

    def drop(self, item: T) -> None:
        """Take back an item that cannot be used again, and close it."""
        try:
            self._discard(item)
        finally:
            self._serve()

    def close(self) -> None:
        """Close all idle items."""
        try:
            for _ in range(len(self._idle)):
                self._discard(self._idle.popleft()[0])
        except IndexError:
            pass
        self._serve()

    def after_fork(self) -> None:
        """Forget the items, which belong to the parent process."""
        items = [item() for item in self._members]
        self._reset()
        for item in items:
            if item is not None:
                item.close()

    def _discard(self, item: T) -> None:
        # It makes room for another one when it is closed.
        try:
            item.close()
        finally:
            self._members.discard(weakref.ref(item))

    def _expire(self, limit: float) -> None:
        while True:
            item, since = self._idle.popleft()
            if since >= limit:
                self._idle.appendleft((item, since))
                break
            self._discard(item)

    def _serve(self) -> None:
        """Give items to the threads that wait, as long as there are any."""
        item: T | None
        while self._waiting:
            try:
                item = self._idle.pop()[0]
            except IndexError:
                item = self._make()
                if item is None:
                    break
            self.give(item)

    def _make(self) -> T | None:
        """Return a new item, or None if there is no room."""
        members = self._members
        if len(members) >= self._size:
            return None
        item = self._factory()
        # An item that is dropped without notice makes room by itself.
        member = weakref.ref(item, members.discard)
        hash(member)  # it keeps the hash when the item is gone
        members.add(member)
        if len(members) > self._size:
            # Another thread was faster; or neither was, and both look again.
            members.discard(member)
            return None
        return item

    def _wait(self, deadline: float) -> T:
        mailbox: Mailbox[T] = Mailbox()
        try:
            self._waiting.append(mailbox)
            self._serve()
            while True:
                remaining = deadline - monotonic()
                try:
                    return mailbox.get(min(remaining, _LOOK))
                except IndexError:
                    if remaining <= 0:
                        raise PoolTimeout(
                            f'all {self._size} of the pool are in use'
                        ) from None
                if mailbox not in self._waiting and not mailbox:
                    # The thread that was to serve it was interrupted.
                    self._waiting.appendleft(mailbox)
                self._serve()
        except BaseException:
            self._leave(mailbox)
            raise

    def _leave(self, mailbox: Mailbox[T]) -> None:
        try:
            self._waiting.remove(mailbox)
        except ValueError:
            if mailbox:
                self.give(mailbox.get(0))
