# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Counters of requests."""

import math

from p01.memcache.threads.turn import Turn


class Counted:
    """Counts ``gets``, ``hits``, ``misses`` and ``sets``."""

    def after_fork(self):
        self._counting = Turn()

    def resetCounts(self):
        self._gets = self.hits = self.misses = self.sets = 0

    def count(self, gets=0, hits=0, sets=0):
        with self._counting.by(math.inf):
            self._gets += gets
            self.hits += hits
            self.misses += gets - hits
            self.sets += sets

    @property
    def gets(self):
        return self._gets
