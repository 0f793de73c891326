# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A long run: threads use the pooled client while its servers fail.

The command ``bin/soak`` starts some memcached of its own, each behind a fault
proxy. At first there are faults, and exceptions strike the threads; in the
last part of the time all is well. Then it reports which promises were broken.

Each value contains its key and a version, so a wrong or a stale one is
detected. A key is changed by one thread, its owner, and read by all of them.
Once a change has returned, whatever its outcome, nothing older may be read.
"""

import argparse
import collections
import contextlib
import ctypes
import gc
import itertools
import logging.handlers
import math
import os
import queue
import random
import signal
import sys
import threading
import time
from time import monotonic
from typing import NamedTuple

from tqdm import tqdm

from p01.memcache.testing import Memcached
from p01.memcache.tests.support.storm import Storm
from p01.memcache.uclient import UltraMemcacheClient
from trouble import PATIENCE
from trouble import SERVERS
from trouble import Servers


KEYS = 60  # keys of each thread

# The time-out, and by how much an operation may exceed it, in seconds.
TIMEOUT, SLACK = 0.5, 0.05

# The most seconds of an operation that has an excuse, see `Watch`.
EXCUSE = 1.5

# Megabytes by which the process may grow while all is well.
GROWTH = 2.0

# Each phase's share of the time. After the first one the process has all that
# it needs, so from then on its memory can be compared.
SHARES = {'warming up': 0.2, 'faults': 0.4, 'healthy': 0.4}

# Memory is measured after each of these phases.
MOMENTS = 'warmed up', 'after faults', 'at the end'

# Seconds between two exceptions that strike a thread.
TICK = 0.2

# How many examples of a broken promise are printed.
EXAMPLES = 10

logger = logging.getLogger('p01.memcache')


# The operations


class Watch(threading.Thread):
    """Keeps the longest operation, and judges those that took too long.

    It looks at the clock all the time. If it was held up, so were they: the
    machine or the interpreter was busy. That is an excuse.
    """

    look = 0.005  # seconds

    def __init__(self):
        super().__init__(daemon=True)
        self.excused = 0
        self.excuse = 0.0  # the longest operation with an excuse
        self.longest = {1: 0.0, 2: 0.0}  # by the number of time-outs allowed
        self._slow = collections.deque()
        self._pauses = collections.deque(maxlen=1000)
        self._ended = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self.join(PATIENCE)

    def note(self, start, end, timeouts):
        if end - start > timeouts * TIMEOUT + SLACK:
            self._slow.append((start, end, timeouts))
        elif end - start > self.longest[timeouts]:
            self.longest[timeouts] = end - start

    def run(self):
        ended = False
        while not ended:
            due = monotonic() + self.look
            ended = self._ended.wait(self.look)
            if monotonic() > due + self.look:
                self._pauses.append((due, monotonic()))
            while self._slow:
                self._judge(*self._slow.popleft())

    def _judge(self, start, end, timeouts):
        # Not their sum: a busy interpreter makes many small ones.
        pause = max((min(end, over) - max(start, since)
                     for since, over in self._pauses), default=0)
        if end - start - max(pause, 0) > timeouts * TIMEOUT + SLACK:
            self.longest[timeouts] = max(self.longest[timeouts], end - start)
        else:
            self.excused += 1
            self.excuse = max(self.excuse, end - start)


def make_value(key, version):
    return key, version, 'x' * (version * 37 % 500)


class Entry:
    """What is known about a key."""

    def __init__(self, key, shared):
        self.key = key
        self.shared = shared  # others create it, too
        self.versions = itertools.count(1)
        self.least = 0  # the oldest version that may be read
        self.kept = None  # since when it must be there, without an incident


class Worker:
    """The operations of one thread, which may be struck anywhere in them."""

    def __init__(self, site, number):
        self.site = site
        self.client = site.client
        self.chance = random.Random(f'{site.seed} {number}')
        self.counts = collections.Counter()
        self.entries = [Entry(f'{number} {place}', shared=place % 2 > 0)
                        for place in range(KEYS)]
        # A counter's value shows its key, too.
        self.counter = f'{number} counter'
        self.counted = self.tried = (number + 1) * 10 ** 9
        self.odds = {
            self.query: 40, self.query_many: 10, self.get_or_create: 7,
            self.set: 20, self.set_many: 3, self.cas: 8, self.invalidate: 5,
            self.increment: 7}

    def step(self):
        [operation] = self.chance.choices(
            list(self.odds), list(self.odds.values()))
        operation()

    def timed(self, function, *args, timeouts=1):
        start = monotonic()
        try:
            return function(*args)
        finally:
            self.site.watch.note(start, monotonic(), timeouts)
            self.counts['operations'] += 1

    def broken(self, what, *args):
        self.counts[what] += 1
        self.site.examples.append((what, *args))

    def not_stored(self, count):
        self.counts['not stored'] += count
        if count and self.site.healthy is not None:
            self.broken('refused', count)

    # reading

    def read(self, entries, function, *args, **kw):
        """Check, and return, the ``{key: value}`` that the function returns.
        """
        before = [(entry, entry.least, entry.kept) for entry in entries]
        found = self.timed(function, *args, **kw)
        self.counts['reads'] += len(entries)
        for key in set(found) - {entry.key for entry in entries}:
            self.broken('wrong', key, found[key])
        for entry, least, kept in before:
            value = found.get(entry.key)
            if value is None:
                self.counts['misses'] += 1
                if kept == entry.kept and self.site.must_have(entry, kept):
                    self.broken('lost', entry.key, least)
            elif value != make_value(entry.key, value[1]):
                self.broken('wrong', entry.key, value)
            elif value[1] < least:
                self.broken('stale', entry.key, value[1], least)
        return found

    def query(self):
        entry = self.chance.choice(self.site.entries)
        self.read([entry], lambda: {entry.key: self.client.query(entry.key)})

    def query_many(self):
        entries = self.chance.sample(self.site.entries, 20)
        self.read(
            entries, self.client.queryMany, [entry.key for entry in entries])

    def get_or_create(self):
        entry = self.chance.choice(self.site.shared)

        def factory():
            return make_value(entry.key, next(entry.versions))

        self.read([entry], lambda: {entry.key: self.client.getOrCreate(
            entry.key, factory)}, timeouts=2)

    # changing

    def change(self, entries, function):
        """Let the function change ``{key: value}``.

        It returns the keys that aren't stored, or None if nothing changed.
        """
        versions = [next(entry.versions) for entry in entries]
        for entry in entries:
            entry.kept = None
        start = monotonic()
        failed = self.timed(function, {
            entry.key: make_value(entry.key, version)
            for entry, version in zip(entries, versions, strict=True)})
        if failed is not None:
            for entry, version in zip(entries, versions, strict=True):
                entry.least = version
                if entry.key not in failed:
                    entry.kept = start
            self.not_stored(len(failed))

    def set(self):
        entry = self.chance.choice(self.entries)

        def change(values):
            stored = self.client.set(entry.key, values[entry.key])
            return [entry.key] if stored is None else []

        self.change([entry], change)

    def set_many(self):
        self.change(
            self.chance.sample(self.entries, 20), self.client.setMany)

    def cas(self):
        entry, token = self.chance.choice(self.entries), None

        def gets():
            nonlocal token
            value, token = self.client.gets(entry.key)
            return {entry.key: value}

        def change(values):
            stored = self.client.cas(entry.key, values[entry.key], token)
            return {True: [], None: [entry.key], False: None}[stored]

        self.read([entry], gets)
        if token is not None:
            self.change([entry], change)

    def invalidate(self):
        entry = self.chance.choice(self.entries)
        entry.kept, version = None, next(entry.versions)
        self.timed(self.client.invalidate, entry.key)
        entry.least = version

    def increment(self):
        # After a failure it is gone, and starts over at the next number.
        self.tried += 1
        number = self.timed(
            self.client.increment, self.counter, 1, self.tried)
        if number is None:
            self.not_stored(1)
        elif number > self.tried:
            self.broken('wrong', self.counter, number, self.tried)
        elif number <= self.counted:
            self.broken('stale', self.counter, number, self.counted)
            self.client.invalidate(self.counter)  # count it once
        else:
            self.tried = number
        self.counted = self.tried


# The run


class Reading(NamedTuple):
    """The resources of the process, while no operation is under way."""

    descriptors: int
    threads: int
    megabytes: float

    @classmethod
    def take(cls):
        gc.collect()
        # Memory that glibc keeps for later is not in use.
        getattr(ctypes.CDLL(None), 'malloc_trim', int)(0)
        with open('/proc/self/statm') as file:
            pages = int(file.read().split()[1])
        return cls(
            len(os.listdir('/proc/self/fd')), threading.active_count(),
            pages * os.sysconf('SC_PAGE_SIZE') / 2 ** 20)


class Site:
    """Threads that use the client, and what they find out about it."""

    def __init__(self, client, servers, threads, seed):
        self.client = client
        self.servers = servers
        self.seed = seed
        self.chance = random.Random(seed)
        self.healthy = None  # since when
        self.strikes = self.evicted = self.slots = 0
        self.readings = []
        self.dead = []  # why a thread is dead
        self.complaints = queue.SimpleQueue()  # of the client, when healthy
        self.examples = collections.deque(maxlen=EXAMPLES)
        self.watch = Watch()
        self.workers = [Worker(self, number) for number in range(threads)]
        self.entries = [entry for worker in self.workers
                        for entry in worker.entries]
        self.shared = [entry for entry in self.entries if entry.shared]

    def must_have(self, entry, kept):
        """Return whether a value that was stored then must still be there.

        A restarted server is empty. A value that another thread has created,
        perhaps without success, is removed.
        """
        return None not in (kept, self.healthy) and kept > (
            self.healthy if entry.shared else self.servers.restarted)

    def run(self, seconds):
        ticks = {name: max(1, round(seconds * share / TICK))
                 for name, share in SHARES.items()}
        handler = logging.handlers.QueueHandler(self.complaints)
        with self.watch, tqdm(total=sum(ticks.values())) as bar:
            try:
                # A thread struck within a handler may leave its lock taken.
                logger.disabled = True
                for name in 'warming up', 'faults':
                    bar.set_description(name)
                    with self.servers.storm():
                        self.work(ticks[name], bar, strike=True)
                    self.rest()
                self.wait_for_servers()
                bar.set_description('healthy')
                self.healthy = monotonic()
                logger.disabled = False
                self.client.debug = 1  # log each error
                logger.addHandler(handler)
                self.work(ticks['healthy'], bar)
                for _, statistics in self.client.getStatistics():
                    # A server that does not answer is a logged error, too.
                    self.evicted += int(statistics.get('evictions', 0))
                self.rest()
            finally:
                logger.disabled = False
                logger.removeHandler(handler)

    def work(self, ticks, bar, strike=False):
        with contextlib.ExitStack() as stack:
            storms = [stack.enter_context(Storm(worker.step, threads=1))
                      for worker in self.workers]
            start = monotonic()
            for tick in range(1, ticks + 1):
                time.sleep(max(0, start + tick * TICK - monotonic()))
                if strike:
                    self.chance.choice(storms).strike(1)
                    self.strikes += 1
                bar.update()
            for storm in storms:
                storm.stopping = True
        self.dead += [storm.errors[0] for storm in storms if storm.errors]

    def rest(self):
        self.client.close()
        self.readings.append(Reading.take())
        self.slots = sum(pool['active'] for _, pool in self.client.getPools())

    def wait_for_servers(self):
        end = monotonic() + PATIENCE
        while monotonic() < end and any(
                'error' in statistics
                for _, statistics in self.client.getStatistics()):
            time.sleep(0.01)  # they are marked down

    # The report

    def rows(self):
        """Yield a name, a number and its maximum, or None, of each row."""
        def total(name):
            return sum(worker.counts[name] for worker in self.workers)

        def milliseconds(seconds):
            return round(seconds * 1000)

        yield 'operations', total('operations'), None
        yield 'faults', self.servers.faults + self.strikes, None
        yield 'misses', total('misses'), None
        yield 'not stored', total('not stored'), None
        yield 'wrong values', total('wrong'), 0
        yield 'stale values', total('stale'), 0
        yield 'lost values', total('lost'), 0
        yield 'not stored while healthy', total('refused'), 0
        yield 'evicted values', self.evicted, 0
        for name, timeouts in ('operation', 1), ('getOrCreate', 2):
            yield (f'longest {name} (ms)',
                   milliseconds(self.watch.longest[timeouts]),
                   milliseconds(timeouts * TIMEOUT + SLACK))
        yield 'longer, but excused', self.watch.excused, None
        # The client may have stopped all threads.
        yield ('longest excused (ms)', milliseconds(self.watch.excuse),
               milliseconds(EXCUSE))
        yield 'threads alive', len(self.workers) - len(self.dead), None
        yield 'threads dead', len(self.dead), 0
        yield 'errors while healthy', self.complaints.qsize(), 0
        yield 'slots in use at rest', self.slots, 0
        for name in Reading._fields:
            numbers = [getattr(reading, name) for reading in self.readings]
            for place, number in enumerate(numbers):
                limit = None
                if place == 1 and name == 'megabytes':
                    limit = numbers[0] + 5 * GROWTH
                if place == 2:
                    # While all is well, memory must not grow.
                    limit = (numbers[1] + GROWTH if name == 'megabytes'
                             else numbers[0])
                yield f'{name}, {MOMENTS[place]}', number, limit

    def report(self):
        """Print the report; return whether all promises were kept."""
        rows = list(self.rows())
        for row in (('', 'there are', 'at most'), *rows):
            print('{:28}{:>12}{:>12}'.format(*map(show, row)))
        broken = [row for row in rows
                  if row[2] is not None and row[1] > row[2]]
        for row in broken:
            print('BROKEN: {}: {}, at most {}'.format(*map(show, row)))
        for example in (*self.examples, *self.dead):
            print(example)
        for _ in range(min(EXAMPLES, self.complaints.qsize())):
            print(self.complaints.get().getMessage())
        return not broken


def show(thing):
    if isinstance(thing, (int, float)):
        return f'{thing:,}' if isinstance(thing, int) else f'{thing:,.1f}'
    return thing or ''


# The command


def number(text, kind=int):
    value = kind(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def minutes(text):
    return number(text, float)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog='soak', description='Has threads use the pooled client on'
        f' {SERVERS} memcached that it starts, while faults befall them, and'
        ' then while all is well. The exit status is 1 if a promise was'
        ' broken.')
    parser.add_argument(
        '--minutes', metavar='N', type=minutes, default=10,
        help='how long; less than 0.3 is of no use (default: %(default)s)')
    parser.add_argument(
        '--threads', metavar='N', type=number, default=16,
        help='default: %(default)s')
    parser.add_argument(
        '--seed', metavar='N', type=number,
        help='a number that makes a run repeat the one with the same seed, as'
        ' far as timing allows')
    options = parser.parse_args(arguments)
    if sys.platform != 'linux':
        parser.error('what a process has is looked at on Linux only')
    if Memcached().find() is None:
        parser.error('there is no memcached')
    return options


def soak(client, servers, threads, seed, seconds):
    """Do the run; return the exit status."""
    site, status = Site(client, servers, threads, seed), 0
    try:
        site.run(seconds)
    except KeyboardInterrupt:
        print('Interrupted. So far:')
        status = 130
    return status if site.report() else 1


def main(arguments=None):
    options = parse_arguments(arguments)
    seed = options.seed or random.randrange(1, 2 ** 31)
    print(f'{options.threads} threads for {options.minutes:g} minutes,'
          f' --seed {seed}', flush=True)
    # The servers end with the command, also by `kill`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Servers(seed) as servers:
            client = UltraMemcacheClient(
                servers.addresses, timeout=TIMEOUT, lifetime=0, delay=0.1,
                blacktime=0.3, maxPoolSize=8)
            return soak(client, servers, options.threads, seed,
                        options.minutes * 60)
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
