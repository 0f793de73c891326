# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The works: what a contender repeats while it is measured."""

import threading
import time
from resource import RUSAGE_SELF
from resource import getrusage
from typing import NamedTuple

from contenders import POOL


KEYS = [f'key_{number}' for number in range(100)]

# Realistic text, not zeros.
PAGE = ''.join(f'<li>{number} of many</li>' for number in range(50_000))


class Work(NamedTuple):
    """``make(client, number)`` returns what thread `number` repeats.

    It gets the count so far, and returns a true value if all was right.
    `stored` is what it finds stored; the `servers` are `delay` milliseconds
    away, and there are at most `pool` connections to each of them. A turn
    takes `seconds`, as a multiple of the usual time.
    """

    title: str
    make: object
    threads: int = 1
    computing: bool = False
    stored: dict = {}
    servers: int = 1
    delay: float = 0
    pool: int = POOL
    seconds: float = 1


def sets(value, keys=KEYS):
    def make(client, number):
        return lambda count: client.set(keys[count % len(keys)], value)
    return make


def gets(keys=KEYS):
    def make(client, number):
        return lambda count: (
            client.query(keys[count % len(keys)]) is not None)
    return make


def misses(client, number):
    return lambda count: client.query('nobody has it') is None


def set_many(values):
    def make(client, number):
        return lambda count: client.setMany(values)
    return make


def get_many(keys):
    def make(client, number):
        return lambda count: len(client.queryMany(keys)) == len(keys)
    return make


def writes(client, number):
    """Do what the load test does."""
    return lambda count: client.set(
        f'key_{number}_{count % 2000}', f'value {number} {count}')


def reads_and_writes(client, number):
    def operate(count):
        if count % 10:
            return client.query(KEYS[count % 100]) is not None
        return client.set(KEYS[count % 100], f'value {number} {count}')
    return operate


def small(keys):
    return {key: f'value of {key}' for key in keys}


def pages(size, keys=KEYS):
    return dict.fromkeys(keys, PAGE[:size])


SMALL = small(KEYS)

# Keys that are not str or int are handled differently by our clients.
RECORD = {'number': 42, 'title': 'A page', 'prices': list(range(20)),
          'author': ('Jane', 'Doe')}

#: By name in the results.
WORKS = {
    'get': Work('get, small', gets(), stored=SMALL),
    'set': Work('set, small', sets('value 1')),
    'get-dict': Work('get, a dict', gets(), stored=dict.fromkeys(
        KEYS, RECORD)),
    'set-dict': Work('set, a dict', sets(RECORD)),
    'get-10k': Work('get, 10 kB', gets(), stored=pages(10_000)),
    'set-10k': Work('set, 10 kB', sets(PAGE[:10_000])),
    'get-100k': Work('get, 100 kB', gets(), stored=pages(100_000)),
    'set-100k': Work('set, 100 kB', sets(PAGE[:100_000])),
    'miss': Work('a miss', misses),
    'queryMany': Work('queryMany of 100', get_many(KEYS), stored=SMALL),
    'setMany': Work('setMany of 100', set_many(SMALL)),
    'three': Work('get, 3 servers', gets(), stored=SMALL, servers=3),
    'three-many': Work('queryMany of 100, 3 servers', get_many(KEYS),
                       stored=SMALL, servers=3),
    'away-0.3': Work('get, 0.3 ms away', gets(), stored=SMALL, delay=0.3),
    'away-1': Work('get, 1 ms away', gets(), stored=SMALL, delay=1),
    'away-5': Work('get, 5 ms away', gets(), stored=SMALL, delay=5),
    'load': Work('100 threads write', writes, threads=100, seconds=3),
    'write-8': Work('8 threads write', writes, threads=8, seconds=2),
    'mixed-8': Work('8 threads, 9 reads to a write', reads_and_writes,
                    threads=8, stored=SMALL, seconds=2),
    'busy-8': Work('8 threads write, one computes', writes, threads=8,
                   computing=True, seconds=3),
    'busy-100': Work('100 threads write, one computes', writes, threads=100,
                     computing=True, seconds=4),
}


class Measure(NamedTuple):
    """The result of one turn: microseconds per operation, and of CPU time.

    The first is the time that has passed, divided by all threads' operations.

    ``computed`` is how much the computing thread did, as a part of what it
    does alone. Then there is no CPU time: most of it is that thread's.
    """

    wall: float
    cpu: float | None
    failed: int
    computed: float | None


def _repeat(operate, warm, ready, stopping, tallies):
    # A thread's connections are made beforehand.
    failed = _fails(operate, 0)
    warm.wait()
    ready.wait()
    count = 0
    while not stopping:
        count += 1
        failed += _fails(operate, count)
    tallies.append((count, failed, time.perf_counter()))


def _fails(operate, count):
    try:
        return not operate(count)
    except Exception:
        return True


def _compute(ready, stopping, computed):
    ready.wait()
    rounds = number = 0
    while not stopping:
        for digit in range(1000):
            number = (number * 31 + digit) % 1_000_003
        rounds += 1
    computed.append(rounds)


def compute_alone(seconds):
    """Return how much the computing thread does in a second, alone."""
    ready, stopping, computed = threading.Event(), [], []
    thread = threading.Thread(
        daemon=True, target=_compute, args=(ready, stopping, computed))
    thread.start()
    start = time.perf_counter()
    ready.set()
    time.sleep(seconds)
    stopping.append(True)
    taken = time.perf_counter() - start
    thread.join()
    return computed[0] / taken


def turn(work, client, seconds, alone=None):
    """Let the client work for that many seconds; return a `Measure`.

    `alone` is what the computing thread does alone in a second.
    """
    stopping, tallies, computed = [], [], []
    warm, ready = threading.Barrier(work.threads + 1), threading.Event()
    threads = [
        threading.Thread(daemon=True, target=_repeat, args=(
            work.make(client, number), warm, ready, stopping, tallies))
        for number in range(work.threads)]
    if work.computing:
        threads.append(threading.Thread(
            daemon=True, target=_compute, args=(ready, stopping, computed)))
    for thread in threads:
        thread.start()
    warm.wait()
    before = getrusage(RUSAGE_SELF)
    start = time.perf_counter()
    ready.set()
    try:
        time.sleep(seconds * work.seconds)
    finally:
        # The threads also end if this is interrupted.
        stopping.append(True)
    end = time.perf_counter()
    for thread in threads:
        thread.join()
    after = getrusage(RUSAGE_SELF)
    count = ended = sum(count for count, _, _ in tallies)
    if work.threads == 1:
        # The last operation may be long, so wait for it.
        [(_, _, end)] = tallies
    else:
        # Waiting here would also measure how long threads take to end. Their
        # last operations were half done, on average.
        ended -= sum(count > 0 for count, _, _ in tallies) / 2
    cpu = None
    if not work.computing:
        cpu = (after.ru_utime + after.ru_stime - before.ru_utime
               - before.ru_stime) / max(count, 1) * 1e6
    return Measure(
        (end - start) / max(ended, 1) * 1e6, cpu,
        sum(failed for _, failed, _ in tallies),
        computed[0] / (end - start) / alone if computed else None)
