# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The numbers of a client, which all threads increment in place.

There is no lock, and no copy for each thread: CPython switches threads, and
runs signal handlers, at calls and where it jumps back only. A statement such
as ``counts.hits += 1`` has neither, so nothing gets lost. A value that needs a
call is computed in a statement before.
"""

import heapq
import itertools
import math
import threading
from collections import deque
from operator import itemgetter
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

from p01.memcache.errors import ServerError
from p01.memcache.errors import ValueTooLarge
from p01.memcache.threads import fork
from p01.memcache.threads.lock import run_locked


#: Upper bounds of the buckets in seconds.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
          0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)

#: The place of the sum of the seconds, behind the buckets.
SUM = len(BOUNDS)

# The history: seconds of a slot, and how many of them.
SLOT, SLOTS = 10, 60

# The most of the slowest operations, and the seconds that one takes at least.
MOST, _LEAST = 20, 0.001

# Errors that are time-outs.
_TIMEOUTS = 'PoolTimeout', 'ConnectTimeout', 'SendTimeout', 'ReceiveTimeout'


class _Times(dict[str, list[Any]]):
    """Maps a command to a list: how many operations are in each bucket, and at
    the end the sum of their seconds.
    """

    def __missing__(self, command: str) -> list[Any]:
        return self.setdefault(command, [0] * SUM + [0.0])


class Counts:
    """See `IMemcacheStatistics.getCounts`. A forked child begins at zero.

    An operation calls `begin`; if it has taken more than ``bound`` seconds, it
    calls `keep`.
    """

    limit = math.inf

    def __init__(self) -> None:
        # The clients that count here, and where those of its regions do.
        self._clients: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._regions: WeakValueDictionary[str, Counts] = (
            WeakValueDictionary())
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        self._sharing = threading.RLock()
        self.hits = self.misses = self.stored = self.refused = 0
        self.invalidated = self.computed = self.waited = self.stale = 0
        self.bytes_read = self.bytes_stored = self.slow = 0
        self.errors: dict[str, int] = {}
        self.unreadable: dict[str, int] = {}
        self.times = _Times()
        self._slowest: list[tuple[Any, ...]] = []
        self._serial = itertools.count()
        self._set_bound()
        # Each slot that is over, and the totals at its end.
        self._slots: deque[tuple[int, int, int, int]] = deque(
            maxlen=4 * SLOTS)
        self._slot, self._begin = 0, monotonic()
        self.until = self._begin + SLOT

    def limit_to(self, limit: float | None) -> None:
        """Have operations kept that take more seconds than the limit."""
        self.limit = math.inf if limit is None else limit
        self._set_bound()

    def failed(self, error: Exception) -> None:
        """Count the error of an operation."""
        self._count(self.errors, error)

    def was_unreadable(self, error: Exception) -> None:
        """Count a value that could not be read."""
        self._count(self.unreadable, error)

    def was_refused(self, error: Exception) -> None:
        """Count a value that was not stored, if the error refuses it."""
        if isinstance(error, (ServerError, ValueTooLarge)):
            self.refused += 1

    def was_stored(self, size: int, number: int = 1) -> None:
        """Count values that were stored, of so many bytes in all."""
        self.stored += number
        self.bytes_stored += size

    @staticmethod
    def _count(numbers: dict[str, int], error: Exception) -> None:
        name = type(error).__name__
        numbers.setdefault(name, 0)
        numbers[name] += 1

    def as_dict(self) -> dict[str, Any]:
        errors = dict(self.errors)
        return {
            'hits': self.hits, 'misses': self.misses, 'errors': errors,
            'timeouts': sum(errors.get(name, 0) for name in _TIMEOUTS),
            'unreadable': dict(self.unreadable),
            'stored': self.stored, 'refused': self.refused,
            'invalidated': self.invalidated, 'computed': self.computed,
            'waited': self.waited, 'stale': self.stale,
            'bytesRead': self.bytes_read, 'bytesStored': self.bytes_stored,
            'seconds': {command: _histogram(*times)
                        for command, times in list(self.times.items())},
            'slow': self.slow}

    # The regions

    def share(self, name: str, own: 'Counts', client: Any) -> 'Counts':
        """Return where a client of this region counts: its own, or those of
        the others of the same name.
        """
        fork.notice()
        # Two threads may make the first two.
        counts = run_locked(
            self._sharing, self._regions.setdefault, name, own)
        counts._clients[id(client)] = client
        return counts

    def get_regions(self) -> list[tuple[str, Any]]:
        """See `IMemcacheStatistics.getRegions`."""
        return sorted(
            ((name, client) for name, counts in list(self._regions.items())
             for client in list(counts._clients.values())[:1]),
            key=itemgetter(0))

    # The history

    def begin(self) -> float:
        """Return the time, as an operation begins."""
        now = monotonic()
        if now >= self.until:
            self.roll(now)  # before it counts anything
        return now

    def roll(self, now: float) -> None:
        """Begin the slot of this moment."""
        slot = self._slot
        if now < self.until:
            return  # another thread has
        # Two threads may do the same: the first one counts.
        self._slots.append((slot, *self._totals()))
        self._slot = slot = int((now - self._begin) // SLOT)
        self.until = self._begin + SLOT * (slot + 1)
        self._forget(now)

    def _totals(self) -> tuple[int, int, int]:
        return self.hits, self.misses, sum(list(self.errors.values()))

    def history(self) -> list[tuple[float, ...]]:
        """See `IMemcacheStatistics.getHistory`."""
        now = monotonic()
        self.roll(now)
        ends: dict[int, tuple[int, int, int]] = {}
        for slot, hits, misses, errors in list(self._slots):
            ends.setdefault(slot, (hits, misses, errors))
        last = int((now - self._begin) // SLOT)
        ends.setdefault(last, self._totals())
        first = max(0, last - SLOTS + 1)
        before = ends.get(max(
            (slot for slot in ends if slot < first), default=-1), (0, 0, 0))
        slots = []
        for slot in range(first, last + 1):
            totals = ends.get(slot, before)
            slots.append((now - self._begin - SLOT * slot, *(
                after - former
                for former, after in zip(before, totals, strict=True))))
            before = totals
        return slots

    # The slowest operations

    def keep(self, seconds: float, *what: str | None) -> None:
        """Keep an operation, if it is one of the slowest."""
        entry = seconds, monotonic(), next(self._serial), *what
        # Each is one step.
        if len(self._slowest) < MOST:
            heapq.heappush(self._slowest, entry)
        else:
            heapq.heappushpop(self._slowest, entry)
        self._set_bound()

    def _forget(self, now: float) -> None:
        for entry in list(self._slowest):
            if entry[1] < now - SLOT * SLOTS and entry in self._slowest:
                self._slowest.remove(entry)
        heapq.heapify(self._slowest)
        self._set_bound()

    def _set_bound(self) -> None:
        slowest = list(self._slowest)
        self.bound = min(
            self.limit, slowest[0][0] if len(slowest) >= MOST else _LEAST)

    def slowest(self) -> list[dict[str, Any]]:
        """See `IMemcacheStatistics.getSlowest`."""
        now = monotonic()
        self._forget(now)
        return [
            {'seconds': seconds, 'ago': now - when, 'command': command,
             'key': key, 'server': server, 'phase': phase}
            for seconds, when, _, command, key, server, phase in sorted(
                self._slowest, reverse=True)[:MOST]]


def _histogram(*times: Any) -> dict[str, Any]:
    *numbers, total = times
    buckets = dict(zip(BOUNDS, itertools.accumulate(numbers), strict=True))
    return {'count': buckets[math.inf], 'sum': total, 'buckets': buckets}
