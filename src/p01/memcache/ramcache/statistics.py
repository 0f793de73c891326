# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a process knows of the use of its cache."""

import threading
from collections import Counter


# So many values are read at a time.
_BATCH = 100


class Statistics:
    """Counts hits by key, and misses by object, of the `most` latest ones.

    An object is the text that `path` makes of it, which keeps nothing alive.
    """

    def __init__(self, most):
        self.most = most
        self._lock = threading.Lock()
        self.clear()

    def clear(self):
        with self._lock:
            self._hits = {}  # by path and key
            self._misses = {}  # by path

    def hit(self, ob, key, number=1):
        with self._lock:
            self._add(self._hits, (path(ob), key), number)

    def stored(self, ob, key):
        self.hit(ob, key, 0)

    def miss(self, ob):
        with self._lock:
            self._add(self._misses, path(ob), 1)

    def _add(self, counts, name, number):
        """Count, and forget what was not used for the longest time."""
        counts[name] = counts.pop(name, 0) + number
        while len(counts) > self.most:
            del counts[next(iter(counts))]

    def report(self, client):
        """See `IMemcacheRAMCache.getStatistics`."""
        with self._lock:
            known, misses = list(self._hits.items()), dict(self._misses)
        hits, sizes, entries = Counter(), Counter(), Counter()
        for start in range(0, len(known), _BATCH):
            batch = known[start:start + _BATCH]
            found = client.queryMany([key for (_, key), _ in batch], raw=True)
            for (name, key), number in batch:
                hits[name] += number
                if key in found:
                    sizes[name] += len(found[key])
                    entries[name] += 1
        return tuple(
            {'path': name, 'hits': hits[name], 'misses': misses.get(name, 0),
             'size': sizes[name], 'entries': entries[name]}
            for name in sorted({*hits, *misses}))


def path(ob):
    return ob if isinstance(ob, str) else repr(ob)
