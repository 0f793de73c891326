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

    _counts = None

    def after_fork(self):
        self._counting = Turn()

    def resetCounts(self):
        if self._counts is None:
            self._counts = SimpleNamespace()
        vars(self._counts).update(gets=0, hits=0, misses=0, sets=0)

    def count(self, gets=0, hits=0, sets=0):
        counts = self._counts
        with self._counting.by(math.inf):
            counts.gets += gets
            counts.hits += hits
            counts.misses += gets - hits
            counts.sets += sets

    gets = property(attrgetter('_counts.gets'))
    hits = property(attrgetter('_counts.hits'))
    misses = property(attrgetter('_counts.misses'))
    sets = property(attrgetter('_counts.sets'))
