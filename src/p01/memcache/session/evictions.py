# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Notices that memcached evicts values, among which sessions may be."""

import time

from p01.memcache.log import logger


# Seconds between two looks.
PAUSE = 60


class Evictions:
    """Compares each server's ``evictions`` to those of the last look."""

    def __init__(self):
        self._next = 0
        self._known = {}

    def look(self, client):
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE
        statistics = client.getStatistics()
        if not isinstance(statistics, list):
            return  # that of a fake
        for server, numbers in statistics:
            if 'evictions' not in numbers:
                continue  # it is down
            number = int(numbers['evictions'])
            former = self._known.get(server, number)
            self._known[server] = number
            if number > former:
                logger.warning(
                    'memcached %s has evicted %s values: sessions may be among'
                    ' them, so it needs more memory', server, number - former)
