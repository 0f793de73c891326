# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How long the visitors of a small site wait while its memcached hangs.

Requests arrive at a steady rate, whether or not earlier ones are answered,
and wait for one of the threads. Each reads some values, stores those that it
misses, and has 10 ms of work of its own. Then memcached is frozen for ten
seconds; or it is killed, and started again half a second later. One line for
each phase shows how long the requests that arrived in it took, how many were
answered, and how many of the values were found. It starts its own memcached;
run it with  bin/py benchmarks/visitors.py
"""

import argparse
import collections
import logging
import multiprocessing
import queue
import random
import statistics
import threading
import time
from concurrent.futures import ProcessPoolExecutor

from p01.memcache.testing import Memcached
from p01.memcache.uclient import UltraMemcacheClient


BEFORE, DURING, AFTER = 2, 10, 5  # seconds
PAUSE = 0.5  # until a killed memcached is restarted
READS = 5  # of a request
KEYS = 100
VALUE = 'value' * 100
WORK = 0.01

# As cluster.txt recommends; all else is the default.
SITE = {'timeout': 0.5, 'delay': 1, 'blacktime': 10}

Case = collections.namedtuple('Case', 'incident threads settings')

CASES = (
    *(Case('frozen', threads, {}) for threads in (1, 4, 8, 16)),
    *(Case('frozen', 4, {'timeout': timeout})
      for timeout in (1, 0.5, 0.25, 0.1)),
    *(Case('frozen', 4, {'timeout': 0.5, 'retries': retries})
      for retries in (2, 1)),
    *(Case('frozen', 4, {'timeout': 0.5, 'blacktime': blacktime})
      for blacktime in (30, 10)),
    *(Case('frozen', threads, SITE) for threads in (1, 4, 8, 16)),
    *(Case('restarted', 4, settings) for settings in (
        {}, {'delay': 1}, {'delay': 0.1}, SITE)),
)

# Threads that compute without a pause, with a healthy memcached.
BUSY = tuple(
    Case('busy', 16, {'timeout': timeout}) for timeout in (0.5, 0.1, 0.03))

Visit = collections.namedtuple('Visit', 'arrived answered found')


class Site:
    """Threads that answer requests; ``visits`` has those answered so far."""

    def __init__(self, client, threads, work):
        self.visits = []
        self._client = client
        self._work = work
        self._arrived = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve) for _ in range(threads)]
        for key in range(KEYS):
            client.set(key, VALUE)
        for thread in self._threads:
            thread.start()

    def open(self, seconds, rate):
        """Let requests arrive for that many seconds."""
        start = time.monotonic()
        for number in range(round(seconds * rate)):
            time.sleep(max(start + number / rate - time.monotonic(), 0))
            self._arrived.put(time.monotonic())

    def close(self):
        """Wait until all requests are answered."""
        for _ in self._threads:
            self._arrived.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self):
        while (arrived := self._arrived.get()) is not None:
            found = sum(self._read(random.randrange(KEYS))
                        for _ in range(READS))
            self._work(WORK)
            self.visits.append(Visit(arrived, time.monotonic(), found))

    def _read(self, key):
        if self._client.query(key) is not None:
            return True
        self._client.set(key, VALUE)
        return False


def compute(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def befall(incident, memcached):
    """Return threads, not yet started, with memcached's faults."""
    if incident == 'frozen':
        return (threading.Timer(BEFORE, memcached.freeze),
                threading.Timer(BEFORE + DURING, memcached.thaw))
    if incident == 'restarted':
        return (threading.Timer(BEFORE, memcached.stop),
                threading.Timer(BEFORE + PAUSE, memcached.start))
    return ()


def measure(case, rate):
    """Return the lines of a case."""
    logging.getLogger('p01.memcache').setLevel(logging.CRITICAL)
    with Memcached() as memcached:
        client = UltraMemcacheClient([memcached.address], **case.settings)
        is_busy = case.incident == 'busy'
        site = Site(client, case.threads, compute if is_busy else time.sleep)
        incidents = befall(case.incident, memcached)
        for incident in incidents:
            incident.start()
        start = time.monotonic()
        # With that many requests a busy site never rests.
        site.open(BEFORE if is_busy else BEFORE + DURING + AFTER,
                  3 / WORK if is_busy else rate)
        for incident in incidents:
            incident.join()
        site.close()
        client.close()
    title = '{}, {} thread{}'.format(
        case.incident, case.threads, 's' * (case.threads > 1))
    settings = ', '.join(f'{k} {v}' for k, v in case.settings.items())
    return [f'{title}: {settings or "defaults"}', *report(
        site.visits, start, ('busy',) if is_busy else (
            'before', 'during', 'after'))]


def report(visits, start, phases):
    answered = sorted(visit.answered for visit in visits)
    for name, begin, end in zip(
            phases, (0, BEFORE, BEFORE + DURING),
            (BEFORE, BEFORE + DURING, BEFORE + DURING + AFTER), strict=False):
        phase = [visit for visit in visits
                 if begin <= visit.arrived - start < end]
        took = sorted(visit.answered - visit.arrived for visit in phase)
        yield ('  {:6}  median {:5.0f}  95 % {:5.0f}  longest {:5.0f} ms'
               '  {:3.0f} answers/s  {:6.1%} found'.format(
                   name, statistics.median(took) * 1000,
                   took[len(took) * 95 // 100] * 1000, took[-1] * 1000,
                   sum(begin <= moment - start < end
                       for moment in answered) / (end - begin),
                   sum(visit.found for visit in phase)
                   / len(phase) / READS))
    yield '  longest time without an answer {:5.2f} s'.format(
        max(after - before for before, after in zip(
            answered, answered[1:], strict=False)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rate', type=float, default=50,
                        help='requests a second (default: 50)')
    parser.add_argument('--jobs', type=int, default=5,
                        help='cases at the same time (default: 5)')
    options = parser.parse_args()
    spawn = multiprocessing.get_context('spawn')
    for cases, jobs in (CASES, options.jobs), (BUSY, 1):
        with ProcessPoolExecutor(jobs, spawn) as executor:
            for lines in executor.map(
                    measure, cases, [options.rate] * len(cases)):
                print('\n'.join(lines), flush=True)


if __name__ == '__main__':
    main()
