# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The invalidations that a server has not heard of.

What could not be invalidated, or not be replaced, is remembered here. The
server is told before it is asked for such a key again, so that it never shows
what it had before an outage. A key is of no concern to the others: what is
left over of a backlog that is not delivered yet holds up nobody.
"""

import logging
import threading
from time import monotonic

from p01.memcache import fork
from p01.memcache import protocol
from p01.memcache.errors import ClientError
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.pool import Pool


logger = logging.getLogger('p01.memcache')

# So many keys are remembered. With more of them the server is flushed.
MOST = 10_000

# So many are sent before the replies are read. Both fit into the buffers of
# the sockets, so neither side waits for the other to read.
BATCH = 500

# Seconds until keys that a server refused to invalidate are tried again.
_PAUSE = 1

# Stands for all keys.
_EVERYTHING = None


class _Turn:
    """To be had by one thread at a time."""

    def close(self):
        pass


class Backlog:
    """Invalidations to be delivered to the server `name`.

    ``keys`` is empty when all is well. Without `flush` the server cannot be
    flushed (it is a proxy), and keys above the bound are lost.
    """

    def __init__(self, name, flush=True):
        self._name = name
        self._flush = flush
        self.keys = {}  # each with a mark that tells when it was added
        self._due = 0.0
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._lock = threading.RLock()  # a signal's handler may come back
        # A pool of one is a lock that is free again whatever way its owner
        # ends, and that can be waited for until a deadline.
        self._turn = Pool(_Turn, 1, float('inf'))

    def add(self, key):
        with self._lock:
            self.keys[key] = object()
            if len(self.keys) <= MOST:
                return
            if self._flush:
                self.keys = {_EVERYTHING: object()}
                lost = 'it will be flushed'
            else:
                for oldest in list(self.keys)[:MOST // 2]:
                    del self.keys[oldest]
                lost = 'old values may be seen until they expire'
        logger.warning(
            'memcached %s: more than %d invalidations are not delivered, %s',
            self._name, MOST, lost)

    def add_all(self):
        if self._flush:
            with self._lock:
                self.keys = {_EVERYTHING: object()}

    def deliver(self, server, key, deadline):
        """Tell the server what is due, and `key` in any case.

        Returns when the server has heard of `key`, if that is in the backlog;
        raises a `MemcacheError` otherwise.
        """
        urgent = self._has(key)
        if not urgent and monotonic() < self._due:
            return
        # Nobody waits for a server that is down.
        patient = urgent and not server.health.is_down
        try:
            turn = self._turn.take(deadline if patient else 0)
        except PoolTimeout:
            if urgent:
                raise ServerDown(
                    f'{self._name} is told of invalidations') from None
            return
        try:
            if _EVERYTHING in self.keys:
                self._deliver_flush(server, deadline)
            if key in self.keys:
                self._deliver([key], server, deadline)
            if monotonic() >= self._due:
                keys = list(self.keys)
                for start in range(0, len(keys), BATCH):
                    self._deliver(
                        keys[start:start + BATCH], server, deadline)
        finally:
            self._turn.give(turn)
        if self._has(key):
            raise ServerError(f'{self._name} has not invalidated the key')

    def _has(self, key):
        return key in self.keys or _EVERYTHING in self.keys

    def _deliver_flush(self, server, deadline):
        marks = dict(self.keys)
        try:
            server.request(protocol.flush_all(), protocol.read_ok, deadline)
        except (ClientError, ServerError) as error:
            # It never will, so there is no use in asking again.
            marks = {_EVERYTHING: marks[_EVERYTHING]}
            logger.warning(
                'memcached %s cannot be flushed, old values may be seen until'
                ' they expire: %s', self._name, error)
        self._remove(marks)

    def _deliver(self, keys, server, deadline):
        marks = {key: mark for key in keys
                 if key is not _EVERYTHING and (mark := self.keys.get(key))}
        if not marks:
            return
        refused = server.request(
            protocol.delete_all(marks), protocol.read_all_deleted, deadline,
            marks)
        if refused:
            self._due = monotonic() + _PAUSE
        for key in refused:
            del marks[key]
        self._remove(marks)

    def _remove(self, marks):
        with self._lock:
            for key, mark in marks.items():
                # Not if it was added anew in the meantime.
                if self.keys.get(key) is mark:
                    del self.keys[key]
