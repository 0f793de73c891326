# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The invalidations that a server has not received.

A key that could not be invalidated, or not be replaced, is remembered here.
Before the server is asked for it again, the key is removed, so that the server
never returns a value from before an outage. Other keys do not wait for that,
however many invalidations are left.
"""

import contextlib
import itertools
import threading
from collections.abc import Iterable
from time import monotonic
from typing import Any
from typing import Protocol

from p01.memcache.errors import ClientError
from p01.memcache.errors import InvalidationsPending
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.errors import forget_traceback
from p01.memcache.health.health import Health
from p01.memcache.log import logger
from p01.memcache.threads import fork
from p01.memcache.threads.turn import Turn
from p01.memcache.wire.batch import Batch
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll


# Keys that are remembered. With more of them the server is flushed.
MOST = 10_000

# Keys that are sent before the replies are read, at first and at most. Both
# numbers fit into the buffers of the sockets, so neither side waits for the
# other to read.
FIRST_BATCH, BATCH = 16, 512

# Seconds until keys that a server refused to invalidate are tried again, at
# first and at most.
_PAUSE, _LONGEST_PAUSE = 1, 64

# Stands for all keys.
_EVERYTHING = None

Marks = dict[bytes | None, int]


class Recipient(Protocol):
    """The `Server` that the invalidations are delivered to."""

    health: Health

    def run(self, command: Command, deadline: float) -> Any: ...

    def run_uncommon(self, command: Command, deadline: float) -> Any: ...


class Undelivered:
    """Invalidations to be delivered to the server `name`.

    ``keys`` is empty when all is well. Without `flush` the server cannot be
    flushed (it is a proxy), and keys above the bound are lost.
    """

    def __init__(self, name: str, flush: bool = True) -> None:
        self.name = name
        self._can_flush = flush
        self.keys: Marks = {}  # each with a mark of when it was added last
        self._marks = itertools.count(1)
        self._due = 0.0
        self._pause = _PAUSE
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        self._changing = Turn()
        self._turn = Turn()  # to deliver
        self._owner: int | None = None  # the thread that has it

    def add(self, key: bytes | None) -> None:
        fork.notice()
        with self._changing.soon():
            self.keys[key] = next(self._marks)
            if len(self.keys) <= MOST:
                return
            if self._can_flush:
                is_logged = _EVERYTHING in self.keys
                self.keys = {_EVERYTHING: next(self._marks)}
                if is_logged:
                    return
                lost = 'it will be flushed'
            else:
                oldest = sorted(self.keys, key=self.keys.__getitem__)
                for old in oldest[:MOST // 2]:
                    del self.keys[old]
                lost = 'old values may be seen until they expire'
        logger.warning(
            'memcached %s: more than %d invalidations are not delivered, %s',
            self.name, MOST, lost)

    def add_all(self) -> None:
        if self._can_flush:
            fork.notice()
            with self._changing.soon():
                self.keys = {_EVERYTHING: next(self._marks)}

    def deliver(
            self, server: Recipient, key: bytes, deadline: float) -> None:
        """Deliver what is due, and the invalidation of `key` in any case.

        Raises a `MemcacheError` if the server has not received the latter, or
        fails to receive others.
        """
        fork.notice()
        urgent = self.owes(key)
        if server.health.absence:
            if urgent:
                raise ServerDown(f'{self.name} is down')
            return
        if not urgent and monotonic() < self._due:
            return
        # Do not wait for a server that is down. A subscriber to the event of
        # its health may use this client, and must not wait for itself.
        patient = (urgent and not server.health.is_down
                   and self._owner != threading.get_ident())
        try:
            turn = self._turn.take(deadline if patient else 0)
        except PoolTimeout:
            if urgent:
                raise InvalidationsPending(
                    f'{self.name} is still receiving invalidations') from None
            return
        try:
            self._owner = threading.get_ident()
            if _EVERYTHING in self.keys:
                self._deliver_flush(server, deadline)
            refused = (key in self.keys
                       and self._deliver([key], server, deadline))
            if monotonic() >= self._due:
                self._deliver_due(
                    server, deadline, key if refused else None)
        finally:
            self._owner = None
            self._turn.give(turn)
        if self.owes(key):
            raise ServerError(f'{self.name} has not invalidated the key')

    def deliver_many(self, server: Recipient, keys: Iterable[bytes],
                     deadline: float) -> dict[bytes, MemcacheError]:
        """Do the same for many keys.

        Returns a dict of those that the server has not received, and the
        errors.
        """
        refused: dict[bytes, MemcacheError] = {}
        trouble: MemcacheError | None = None
        for number, key in enumerate(keys if self.keys else ()):
            # The first one also delivers what is due of other keys.
            if number and not self.owes(key):
                continue
            # A server that is down is not tried with each of the keys.
            if trouble is None or (isinstance(trouble, ServerError)
                                   and monotonic() < deadline):
                try:
                    self.deliver(server, key, deadline)
                    continue
                except MemcacheError as error:
                    trouble = error
                    forget_traceback(error)
                    if not isinstance(error, (ServerDown, ServerError)):
                        # Nor is it asked for the values.
                        return dict.fromkeys(keys, error)
            refused[key] = trouble
        return refused

    @property
    def owed(self) -> int:
        """How many keys; -1 if it will be flushed."""
        return -1 if _EVERYTHING in self.keys else len(self.keys)

    def owes(self, key: bytes) -> bool:
        return key in self.keys or _EVERYTHING in self.keys

    def _deliver_flush(self, server: Recipient, deadline: float) -> None:
        marks = dict(self.keys)
        try:
            server.run_uncommon(FlushAll(), deadline)
        except (ClientError, ServerError) as error:
            # It never will: do not ask again.
            marks = {_EVERYTHING: marks[_EVERYTHING]}
            logger.warning(
                'memcached %s cannot be flushed, old values may be seen until'
                ' they expire: %s', self.name, error)
        self._remove(marks)

    def _deliver_due(self, server: Recipient, deadline: float,
                     but: bytes | None) -> None:
        keys = [key for key in list(self.keys) if key != but]
        refused, size = 0, FIRST_BATCH
        # The other half of the time is for the request itself. The batches
        # grow as long as the server is fast enough.
        half = (monotonic() + deadline) / 2
        while keys and monotonic() < half:
            refused += self._deliver(keys[:size], server, deadline)
            del keys[:size]
            size = min(size * 2, BATCH)
        if refused:
            self._due = monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        else:
            self._pause = _PAUSE

    def _deliver(self, keys: Iterable[bytes | None], server: Recipient,
                 deadline: float) -> int:
        """Return how many of the keys the server refused to invalidate."""
        marks = {key: mark for key in keys
                 if key is not _EVERYTHING and (mark := self.keys.get(key))}
        if not marks:
            return 0
        replies: dict[bytes, Any] = {}
        # What it does not accept counts as refused.
        with contextlib.suppress(ClientError):
            server.run(Batch.of(map(Delete, marks), replies), deadline)
        removed: Marks = {key: mark for key, mark in marks.items()
                          if isinstance(replies.get(key), bool)}
        self._remove(removed)
        return len(marks) - len(removed)

    def _remove(self, marks: Marks) -> None:
        with self._changing.soon():
            for key, mark in marks.items():
                # Not if it has been added again meanwhile.
                if self.keys.get(key) == mark:
                    self.keys.pop(key, None)
