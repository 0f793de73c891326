# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A bounded, blocking pool of anything that a factory makes.

What was used last is used next, and those who wait are served in the order in
which they came. The factory must not wait: it is called under the lock.

An asynchronous exception (a signal's, a greenlet's time-out) may end a caller
between any two steps, and a count of what is lent would be wrong for ever
then. So nothing is counted: the pool refers weakly to all that it made, and
what is lent belongs to its user alone. Whatever way the user comes to drop
it, it is gone, and that is what makes room. All that must not be interrupted
half way is a single call of a container written in C.
"""

import collections
import queue
import threading
import weakref
from time import monotonic

from p01.memcache.errors import PoolTimeout


# How often who waits looks whether something was dropped without a word.
_LOOK = 0.05


class Pool:
    """Lends at most `size` items that have a ``close`` method.

    What was idle for more than `idle_time` seconds is closed by the next
    call of `take`.
    """

    def __init__(self, factory, size, idle_time):
        self._factory = factory
        self._size = size
        self._idle_time = idle_time
        self._reset()

    def _reset(self):
        self._lock = threading.Lock()
        self._members = set()               # a weak reference to each item
        self._gone = collections.deque()    # those whose item is no more
        self._idle = collections.deque()    # (item, since when)
        self._waiting = collections.deque()  # a queue for one item each

    def __repr__(self):
        return '<Pool {active} active, {idle} idle>'.format_map(
            self.statistics())

    def statistics(self):
        with self._lock:
            idle = len(self._idle)
            alive = sum(item() is not None for item in self._members)
        return {'active': alive - idle, 'idle': idle}

    def take(self, deadline):
        """Return an item; wait for one until the deadline."""
        expired = ()
        limit = monotonic() - self._idle_time
        with self._lock:
            if self._idle and self._idle[0][1] < limit:
                expired = self._expired(limit)
            item = self._idle.pop()[0] if self._idle else None
        for old in expired:
            old.close()
        return self._wait(deadline) if item is None else item

    def give(self, item):
        """Take back an item that can be used again."""
        now = monotonic()
        with self._lock:
            self._idle.append((item, now))
            if self._waiting:
                self._serve()

    def drop(self, item):
        """Take back an item that cannot be used again, and close it."""
        with self._lock:
            self._members.discard(weakref.ref(item))
            self._serve()
        item.close()

    def close(self):
        """Close all that is idle."""
        with self._lock:
            idle = [item for item, since in self._idle]
            self._idle.clear()
            self._members.difference_update(map(weakref.ref, idle))
        for item in idle:
            item.close()

    def after_fork(self):
        """Forget the items, which belong to the parent process."""
        items = [item() for item in self._members]
        self._reset()
        for item in items:
            if item is not None:
                item.close()

    # The rest is called under the lock.

    def _expired(self, limit):
        expired = []
        while self._idle and self._idle[0][1] < limit:
            item = self._idle.popleft()[0]
            self._members.discard(weakref.ref(item))
            expired.append(item)
        return expired

    def _serve(self):
        while self._waiting and (self._idle or self._has_room()):
            item = self._idle.pop()[0] if self._idle else self._make()
            # Interrupted between the two, it is given a second item, which
            # is gone together with the queue.
            self._waiting[0].put(item)
            self._waiting.popleft()

    def _has_room(self):
        while self._gone:
            self._members.discard(self._gone[0])
            self._gone.popleft()
        return len(self._members) < self._size

    def _make(self):
        item = self._factory()
        self._members.add(weakref.ref(item, self._gone.append))
        return item

    # The rest is called without it.

    def _wait(self, deadline):
        mailbox = queue.SimpleQueue()
        try:
            with self._lock:
                self._waiting.append(mailbox)
                self._serve()
            while True:
                remaining = deadline - monotonic()
                try:
                    return mailbox.get(timeout=max(min(remaining, _LOOK), 0))
                except queue.Empty:
                    if remaining <= 0:
                        raise PoolTimeout(
                            f'all {self._size} connections are in use'
                        ) from None
                with self._lock:
                    if mailbox not in self._waiting and mailbox.empty():
                        # Who was about to serve it was interrupted.
                        self._waiting.appendleft(mailbox)
                    self._serve()
        except BaseException:
            self._leave(mailbox)
            raise

    def _leave(self, mailbox):
        with self._lock:
            if mailbox in self._waiting:
                self._waiting.remove(mailbox)
        if not mailbox.empty():
            self.give(mailbox.get_nowait())
