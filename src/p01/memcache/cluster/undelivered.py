# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The invalidations that a server has not heard of.

What could not be invalidated, or not be replaced, is remembered here. The
server is told before it is asked for such a key again, so that it never shows
what it had before an outage. A key is of no concern to the others: what is
left over of a backlog that is not delivered yet holds up nobody.
"""

import contextlib
import itertools
import threading
from time import monotonic

from p01.memcache.cluster.fanout import detach
from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.log import logger
from p01.memcache.threads import fork
from p01.memcache.threads.turn import Turn
from p01.memcache.wire.batch import Batch
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll


# So many keys are remembered. With more of them the server is flushed.
MOST = 10_000

# So many are sent before the replies are read, at first and at most. Both fit
# into the buffers of the sockets, so neither side waits for the other to read.
FIRST_BATCH, BATCH = 16, 512

# Seconds until keys that a server refused to invalidate are tried again, at
# first and at most.
_PAUSE, _LONGEST_PAUSE = 1, 64

# Stands for all keys.
_EVERYTHING = None


class Undelivered:
    """Invalidations to be delivered to the server `name`.

    ``keys`` is empty when all is well. Without `flush` the server cannot be
    flushed (it is a proxy), and keys above the bound are lost.
    """

    def __init__(self, name, flush=True):
        self.name = name
        self._can_flush = flush
        self.keys = {}  # each with the mark of when it was added last
        self._marks = itertools.count(1)
        self._due = 0.0
        self._pause = _PAUSE
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._changing = Turn()
        self._turn = Turn()  # to deliver
        self._owner = None  # the thread that has it

    def add(self, key):
        fork.notice()
        with self._changing.soon():
            self.keys[key] = next(self._marks)
            if len(self.keys) <= MOST:
                return
            if self._can_flush:
                self.keys = {_EVERYTHING: next(self._marks)}
                lost = 'it will be flushed'
            else:
                oldest = sorted(self.keys, key=self.keys.get)
                for key in oldest[:MOST // 2]:
                    del self.keys[key]
                lost = 'old values may be seen until they expire'
        logger.warning(
            'memcached %s: more than %d invalidations are not delivered, %s',
            self.name, MOST, lost)

    def add_all(self):
        if self._can_flush:
            fork.notice()
            with self._changing.soon():
                self.keys = {_EVERYTHING: next(self._marks)}

    def deliver(self, server, key, deadline):
        """Tell the server what is due, and `key` in any case.

        Returns when the server has heard of `key`, if that is in the backlog.
        Raises a `MemcacheError` otherwise, or where the server fails while it
        is told of others.
        """
        fork.notice()
        urgent = self.owes(key)
        if server.health.absence:
            if urgent:
                raise ServerDown(f'{self.name} is down')
            return
        if not urgent and monotonic() < self._due:
            return
        # Nobody waits for a server that is down, or for himself: that is a
        # listener to the server's health.
        patient = (urgent and not server.health.is_down
                   and self._owner != threading.get_ident())
        try:
            turn = self._turn.take(deadline if patient else 0)
        except PoolTimeout:
            if urgent:
                raise ServerDown(
                    f'{self.name} is told of invalidations') from None
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

    def deliver_many(self, server, keys, deadline):
        """Do the same for many keys.

        Returns a dict of those that the server has not heard of, and the
        errors.
        """
        refused, trouble = {}, None
        for number, key in enumerate(keys if self.keys else ()):
            # The first one is for what is due of other keys.
            if number and not self.owes(key):
                continue
            # One that is down is not asked for each of the keys.
            if trouble is None or (isinstance(trouble, ServerError)
                                   and monotonic() < deadline):
                try:
                    self.deliver(server, key, deadline)
                    continue
                except MemcacheError as error:
                    trouble = error
                    detach(error)
                    if not isinstance(error, (ServerDown, ServerError)):
                        # Nor is it asked for the others.
                        return dict.fromkeys(keys, error)
            refused[key] = trouble
        return refused

    def owes(self, key):
        return key in self.keys or _EVERYTHING in self.keys

    def _deliver_flush(self, server, deadline):
        marks = dict(self.keys)
        try:
            server.run_uncommon(FlushAll(), deadline)
        except (ClientError, ServerError) as error:
            # It never will, so there is no use in asking again.
            marks = {_EVERYTHING: marks[_EVERYTHING]}
            logger.warning(
                'memcached %s cannot be flushed, old values may be seen until'
                ' they expire: %s', self.name, error)
        self._remove(marks)

    def _deliver_due(self, server, deadline, but):
        keys = [key for key in list(self.keys) if key != but]
        refused, size = 0, FIRST_BATCH
        # The other half of the time is for the request itself. How many a
        # slow server gets done in it shows by and by.
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

    def _deliver(self, keys, server, deadline):
        """Return how many of the keys the server refused to invalidate."""
        marks = {key: mark for key in keys
                 if key is not _EVERYTHING and (mark := self.keys.get(key))}
        if not marks:
            return 0
        replies = {}
        # Whatever it does not take, it refuses.
        with contextlib.suppress(ClientError):
            server.run(Batch.of(map(Delete, marks), replies), deadline)
        told = {key: mark for key, mark in marks.items()
                if isinstance(replies.get(key), bool)}
        self._remove(told)
        return len(marks) - len(told)

    def _remove(self, marks):
        with self._changing.soon():
            for key, mark in marks.items():
                # Not if it was added anew in the meantime.
                if self.keys.get(key) == mark:
                    self.keys.pop(key, None)
