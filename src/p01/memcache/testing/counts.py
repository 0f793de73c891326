# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Counters of requests."""

import math
from operator import attrgetter
from types import SimpleNamespace

from p01.memcache.threads.turn import Turn


class Counted:
    """Counts ``gets``, ``hits``, ``misses`` and ``sets``.

    A client and those derived from it count together.
    """

    _requests = None

    def after_fork(self):
        self._counting = Turn()

    def resetCounts(self):
        if self._requests is None:
            self._requests = SimpleNamespace()
        vars(self._requests).update(gets=0, hits=0, misses=0, sets=0)

    def count(self, gets=0, hits=0, sets=0):
        requests = self._requests
        with self._counting.by(math.inf):
            requests.gets += gets
            requests.hits += hits
            requests.misses += gets - hits
            requests.sets += sets

    gets = property(attrgetter('_requests.gets'))
    hits = property(attrgetter('_requests.hits'))
    misses = property(attrgetter('_requests.misses'))
    sets = property(attrgetter('_requests.sets'))
