# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A cluster that moves: its servers come and go while processes use it.

The command ``bin/moving`` starts some memcached of its own and some processes
of a site, see `judge`. Scenario by scenario something happens to the servers
or to their list. It reports what was read before, while and after that. With
``--lists`` it measures what two lists at a time do.
"""

import argparse
import contextlib
import json
import math
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from time import monotonic
from types import SimpleNamespace

from judge import KEYS
from judge import Database
from judge import Process
from machines import CLUSTERS
from machines import MACHINES
from p01.memcache.cluster.ring import Ketama
from p01.memcache.testing import Memcached
from p01.memcache.transport.address import parse_all
from p01.memcache.uclient import UltraMemcacheClient
from soak import SLACK
from soak import TIMEOUT
from soak import number


# The servers of the list at first.
SERVERS = 3

PARTS = 'before', 'while', 'after'

# What must not happen.
BROKEN = 'wrong', 'stale', 'lost', 'errors'


class Run:
    """The processes of a site, and what happens to their cluster.

    A scenario does it by the public methods.
    """

    def __init__(self, options, **settings):
        self.options = options
        self.seconds = options.seconds
        self.chance = random.Random(options.seed)
        kind = CLUSTERS[options.by]
        self._settings = {
            'timeout': TIMEOUT, 'lifetime': 3600, 'delay': 0.1,
            'blacktime': 0.3, 'maxPoolSize': options.threads + 1,
            'maxAge': 0.3,  # connections are made all the time
            **kind.settings, **settings}
        self.handover = self._settings['handover']
        self.rows = []
        self.examples = Counter()
        self._drained = []
        self._moved = set()  # rows whose server changed
        count = options.processes * options.threads * KEYS
        self._database = Database(count)
        client = UltraMemcacheClient()
        self._keys = [client.buildKey(f'row {place}').encode()
                      for place in range(count)]
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self.cluster = stack.enter_context(
                CLUSTERS[self.options.by](folder))
            self.cluster.places = list(range(SERVERS))
            self.cluster.publish()
            self._processes = self._make()
            stack.callback(self._end)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._stack.close()

    def _make(self):
        settings = {
            **self._settings, 'servers': self.cluster.servers,
            'drained': self.cluster.addresses(self._drained),
            'credentialsFile': self.cluster.login}
        return [Process(self._database, place, SimpleNamespace(
            seed=f'{self.options.seed} {self.number}', settings=settings,
            names=self.cluster.names, resolver=self.cluster.resolver,
            keys=len(self._keys), threads=self.options.threads))
            for place in range(self.options.processes)]

    def _start(self):
        for process in self._processes:
            process.start()
        for process in self._processes:
            process.receive()
        self.all('go')

    def _end(self):
        for process in self._processes:
            process.end()

    def all(self, name, *args, **kw):
        """Return what all processes answer."""
        for process in self._processes:
            process.send(name, *args, **kw)
        return [process.receive() for process in self._processes]

    # What happens

    @property
    def number(self):
        """That of the list in force."""
        return self._database.list.value

    @property
    def places(self):
        return self.cluster.places

    def assign(self, places, between=None):
        """Put a list in force.

        If it is assigned to one process after the other, the others follow
        the first one when `between` has returned.
        """
        with self._moving():
            self.cluster.places = places
        self._database.list.value += 1
        self.cluster.publish()
        if not self.cluster.is_assigned:
            return
        for place, process in enumerate(self._processes):
            if place == 1 and between is not None:
                between()
            process.send('set', servers=self.cluster.servers)
            process.receive()

    def drain(self, places):
        with self._moving():
            self._drained = places
        self._database.list.value += 1
        self.all('set', drained=self.cluster.addresses(places))

    def replace(self, place):
        """Replace a machine by one with the same name."""
        with self._moving():
            former = self.cluster.replace(place)
        self._database.list.value += 1
        self.cluster.publish()
        # No time is left to those who have not found it yet.
        former.stop()

    def freeze(self, place):
        machine = self.cluster.machines[place]
        self._may_miss(row for row, home in enumerate(self._homes())
                       if home is machine)
        machine.freeze()

    def restart(self, places):
        """End all processes, and start others with that list."""
        self._end()
        with self._moving():
            self.cluster.places = places
        self._database.list.value += 1
        self._database.forget()
        self.cluster.publish()
        self._processes = self._make()
        self._start()

    @contextlib.contextmanager
    def _moving(self):
        """The keys whose machine changes may be missed."""
        before = self._homes()
        yield
        both = zip(before, self._homes(), strict=True)
        self._may_miss(row for row, (old, new) in enumerate(both)
                       if old is not new)

    def _homes(self):
        """Return the machine of each key."""
        places = [place for place in self.places
                  if place not in self._drained]
        ring = Ketama(parse_all(self.cluster.addresses(places)))
        return [self.cluster.machines[places[ring.find(key)]]
                for key in self._keys]

    def _may_miss(self, rows):
        for row in rows:
            self._database.moved[row] = math.inf
            self._moved.add(row)

    # What is measured

    def scenario(self, name, change):
        self._moved.clear()
        self.all('take')
        for part in PARTS:
            if part == 'while':
                change(self)
                time.sleep(self.handover)
            time.sleep(self.seconds)
            self._note(name, part)
        # From now on, these must be there, too.
        now = monotonic()
        for row in self._moved:
            self._database.moved[row] = now

    def _note(self, name, part):
        row, longest, examples = self.take()
        reads = max(row['reads'], 1)
        row = {
            'scenario': name, 'part': part,
            'right': 1 - (row['misses'] + row['wrong'] + row['stale']) / reads,
            'missed': row['misses'] / reads,
            'moved': (len(self._moved) / len(self._keys)
                      if part == 'while' else 0),
            'longest': longest[1], 'longest getOrCreate': longest[2],
            **{what: row[what] for what in (
                'operations', 'reads', 'misses', 'not acknowledged',
                'excused', *BROKEN)}}
        for what, *args in examples:
            if row[what]:
                self.examples[name, part, what] += 1
                if self.examples[name, part, what] == 1:
                    row.setdefault('examples', []).append((what, *args))
        self.rows.append(row)
        print(LINE.format(**row, ms=f'{row["longest"] * 1000:.0f} ms'),
              flush=True)

    def take(self):
        """Return what all have counted, the longest, and examples."""
        total, times, shown = Counter(), {1: 0.0, 2: 0.0}, []
        for counts, longest, examples in self.all('take'):
            total.update(counts)
            times = {timeouts: max(longest[timeouts], seconds)
                     for timeouts, seconds in times.items()}
            shown += examples
        return total, times, shown


    def look(self):
        """Return how many keys the first and the last process read wrong.

        Meanwhile all threads rest.
        """
        self.all('rest')
        found = self.all('look')
        self.all('go')
        return len(found[0]), len(found[-1])


def is_broken(row):
    return (row['scenario'] not in KNOWN and any(row[what] for what in BROKEN)
            or row['longest'] > TIMEOUT + SLACK
            or row['longest getOrCreate'] > 2 * TIMEOUT + SLACK)


# The scenarios


def nothing(run):
    """Nothing happens."""


def add(run, between=None):
    run.assign([*run.places, len(run.places)], between)


def remove(run, between=None):
    run.assign(run.places[:-1], between)


def replace(run):
    run.replace(1)


def drain(run):
    run.drain([1])


def fill(run):
    run.drain([])


def remove_frozen(run):
    """A server hangs, and so is removed."""
    run.freeze(run.places[-1])
    time.sleep(run.seconds / 2)
    remove(run)


def add_thawed(run):
    """It comes back with all that it had, and with late requests."""
    run.cluster.machines[len(run.places)].thaw()
    add(run)


def scale(run):
    """The list grows and shrinks again, and again."""
    few, many = run.places, [*run.places, 3, 4]
    for places in 3 * (many, few):
        time.sleep(run.seconds / 3)
        run.assign(places)


def rotate(run):
    """The password is replaced; both are valid for a while."""
    run.cluster.rotate(run.seconds)


def switch(run):
    """The password is replaced at once."""
    run.cluster.rotate(0)


def walk(run):
    """Any list follows any other, at any time, and is learned late."""
    for _ in range(12):
        places = run.chance.sample(
            range(MACHINES), run.chance.randint(1, MACHINES))
        time.sleep(run.chance.uniform(0, run.seconds / 2))
        run.assign(places, lambda: time.sleep(
            run.chance.uniform(0, 0.8 * run.handover)))
    run.assign(list(range(SERVERS)))


def restart(run):
    """A server goes, and comes while all processes are restarted."""
    run.all('set', handover=0)
    remove(run)
    time.sleep(run.handover + run.seconds)
    run.restart([*run.places, len(run.places)])


SCENARIOS = {
    'no change': nothing,
    'added': add,
    'removed': remove,
    'back': add,
    'replaced': replace,
    'drained': drain,
    'used again': fill,
    'hangs, removed': remove_frozen,
    'thawed, back': add_thawed,
    'removed again': remove,
    'up and down': scale,
    'new password': rotate,
    'hard switch': switch,
    'any list': walk,
    'back, restarted': restart,
}

# Scenarios in which old values are read, as no process can know better.
KNOWN = {'back, restarted'}


# Two lists at a time

LAGS = 0, 1, 3
HANDOVERS = 0, 2


def disagree(run, change, lag):
    """Change the list, which the other processes learn a `lag` later.

    Return how many reads and keys were wrong meanwhile and after that.
    """
    row = {}

    def between():
        run.take()
        time.sleep(lag)
        counts, _, _ = run.take()
        old, new = run.number - 1, run.number
        row.update({
            'reads': counts['reads'], 'unacknowledged': counts[
                'not acknowledged'],
            'new reads old': counts[new, old],
            'old reads new': counts[old, new]})
        row['keys new'], row['keys old'] = run.look()

    change(run, between)
    run.take()
    time.sleep(run.seconds)
    counts, _, _ = run.take()
    row['after'], row['keys after'] = counts['stale'], max(run.look())
    row['unacknowledged after'] = counts['not acknowledged']
    row['wrong'], row['errors'] = counts['wrong'], counts['errors']
    return row


def measure_lists(options):
    """Print a table of what two lists at a time do; return the exit status."""
    rows = []
    for handover in HANDOVERS:
        for lag in LAGS:
            with Run(options, handover=handover) as run:
                time.sleep(options.seconds)
                for name, change in ('added', add), ('removed', remove):
                    row = {'handover': handover, 'lag': lag, 'change': name,
                           **disagree(run, change, lag)}
                    if not rows:
                        print(*(name.rjust(9) for name in row))
                    rows.append(row)
                    print(*(f'{value:>{max(len(name), 9)}}'
                            for name, value in row.items()), flush=True)
    write(options, rows)
    return 0


# The command

LINE = (
    '{scenario:16}{part:8}{reads:>9,}{right:>8.1%}{missed:>8.1%}{moved:>8.1%}'
    '{wrong:>7}{stale:>7}{not acknowledged:>7}{lost:>7}{errors:>7}{ms:>8}')

HEAD = LINE.replace(',', '').replace('.1%', '').format(
    scenario='', part='', ms='longest', **{
        'not acknowledged': 'unack.', 'missed': 'misses', **{
            name: name for name in (
                'reads', 'right', 'moved', 'wrong', 'stale', 'lost',
                'errors')}})


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog='moving', description='Has processes use memcached that it'
        ' starts, while the list of servers changes. The exit status is 1 if a'
        ' promise was broken.')
    parser.add_argument(
        '--seconds', metavar='N', type=lambda text: number(text, float),
        default=2, help='of each part of a scenario (default: %(default)s)')
    parser.add_argument(
        '--by', choices=CLUSTERS, default='assignment', help='how the'
        ' processes get to know the list (default: %(default)s)')
    parser.add_argument(
        '--processes', metavar='N', type=number, default=2,
        help='default: %(default)s')
    parser.add_argument(
        '--threads', metavar='N', type=number, default=4,
        help='of each process (default: %(default)s)')
    parser.add_argument(
        '--seed', metavar='N', type=number,
        help='a number that makes a run repeat the one with the same seed, as'
        ' far as timing allows')
    parser.add_argument(
        '--json', metavar='FILE', help='write the figures into a file, too')
    parser.add_argument(
        '--only', metavar='NAME', choices=SCENARIOS, action='append',
        help='a scenario; may be repeated')
    parser.add_argument(
        '--lists', action='store_true', help='measure what happens while'
        ' processes have two lists, instead')
    options = parser.parse_args(arguments)
    if sys.platform != 'linux':
        parser.error('other systems have no loopback addresses to spare')
    if Memcached().find() is None:
        parser.error('there is no memcached')
    options.seed = options.seed or random.randrange(1, 2 ** 31)
    return options


def write(options, rows):
    if options.json:
        with open(options.json, 'w') as file:
            json.dump(rows, file, indent=1)


def move(options):
    """Do the run; return the exit status."""
    with Run(options) as run:
        time.sleep(options.seconds)  # the cache fills
        print(HEAD)
        for name in options.only or SCENARIOS:
            run.scenario(name, SCENARIOS[name])
    write(options, run.rows)
    broken = list(filter(is_broken, run.rows))
    for row in broken:
        print(f'BROKEN: {row["scenario"]}, {row["part"]}:',
              *row.get('examples', ()))
    return int(bool(broken))


def main(arguments=None):
    options = parse_arguments(arguments)
    print(f'{options.processes} processes with {options.threads} threads,'
          f' --seed {options.seed}', flush=True)
    # The servers end with the command, also by `kill`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return measure_lists(options) if options.lists else move(options)
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
