# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Snapshots on real parts: each hit is compared with what its snapshot gives.

The command ``bin/snapshots`` starts a database, some small memcached, and
processes that change objects and read values that are made of them, with old
snapshots, too. They abort, conflict, and are killed anywhere; values and
versions are evicted. In the last part of the time nobody is killed, and one
memcached after the other is restarted instead. Then it reports the hits that
were wrong. A commit fails if memcached cannot be reached (``holdOrFail``):
otherwise a hit may be wrong until the invalidation is delivered.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.testing import Memcached
from p01.memcache.uclient import UltraMemcacheClient


OBJECTS = 12

# Seconds for which a mark holds a dependency. A process that is killed leaves
# some, and they shall not last for the whole run.
LIFE = 5

# How many memcached, their megabytes, and how many values others store.
SERVERS, MEMORY, OTHERS = 2, 2, 60_000

# The part of the time in which processes are killed, and the mean of the
# seconds between two kills, or two restarts.
KILLING, KILLS, RESTARTS = 0.5, 1.5, 7

# The chance that a process kills itself, at each phase of a commit.
KILLS_OF_PHASES = 0.0005

# Seconds in which processes have started.
PATIENCE = 60

# What is printed of the counts, besides hits and looks.
COUNTED = ('reads', 'commits', 'aborts', 'vetoes', 'conflicts', 'not held',
           'kills', 'restarts', 'evictions', 'wrong')

# How many examples of wrong hits are printed.
EXAMPLES = 5

# The cache sorts behind it. It votes last, so that nobody vetoes after that.
LAST = '\U0010ffff'

STORAGES = 'file', 'zeo', 'relstorage'


# A process that uses the database


def open_storage(kind, where):
    if kind == 'file':
        from ZODB.FileStorage import FileStorage
        return FileStorage(where)
    if kind == 'zeo':
        import ZEO
        host, _, port = where.rpartition(':')
        return ZEO.client((host, int(port)))
    from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage
    options = Options(keep_history=False)
    return RelStorage(
        Sqlite3Adapter(where, pragmas={}, options=options), options=options)


class Accident:
    """A data manager that delays, vetoes, or kills the process."""

    def __init__(self, worker, manager, key):
        self.transaction_manager = manager
        self._worker = worker
        self._key = key

    def sortKey(self):
        return self._key

    def _happen(self, veto=False):
        chance = self._worker.chance
        if chance.random() < 0.2:
            time.sleep(chance.random() / 50)
        if chance.random() < self._worker.kills:
            os.kill(os.getpid(), 9)
        if veto and self._key < LAST and chance.random() < 0.08:
            raise Veto

    def tpc_begin(self, transaction):
        self._happen()

    def commit(self, transaction):
        self._happen()

    def tpc_vote(self, transaction):
        self._happen(veto=True)

    def tpc_finish(self, transaction):
        self._happen()

    def abort(self, transaction):
        pass

    tpc_abort = abort


class Veto(Exception):
    """An accident in a vote."""


class Worker(threading.Thread):
    """Reads and changes, each thread with a connection of its own."""

    def __init__(self, db, client, seed, kills):
        super().__init__(daemon=True)
        self.chance = random.Random(seed)
        self.counts = collections.Counter()
        self.wrong = []
        self.kills = kills
        self._db = db
        self._client = client

    def run(self):
        import transaction
        from transaction.interfaces import TransientError
        manager = transaction.manager
        connection = self._db.open()
        while True:
            manager.begin()
            self._objects = connection.root()['objects']
            try:
                if self.chance.random() < 0.25:
                    self._change(manager)
                else:
                    self._read(manager)
            except TransientError as error:
                manager.abort()
                self.counts['not held' if isinstance(error, MemcacheError)
                            else 'conflicts'] += 1
            except Veto:
                manager.abort()
                self.counts['vetoes'] += 1

    def _parts(self, number):
        return [number % OBJECTS, (number + 1) % OBJECTS]

    def _value(self, number):
        """Return what the snapshot of this thread gives for the key."""
        return number, [self._objects[part]['n']
                        for part in self._parts(number)]

    def _names(self, number):
        return [f'object {part}' for part in self._parts(number)]

    def _change(self, manager):
        chance = self.chance
        for key in ('\U0010fffe', LAST + ' zz'):
            manager.get().join(Accident(self, manager, key))
        self._look(chance.randrange(OBJECTS))
        for part in {chance.randrange(OBJECTS) for _ in range(2)}:
            self._objects[part]['n'] += 1
            self._client.invalidateDependencies(f'object {part}')
            self._look(part)
        if chance.random() < 0.1:
            manager.abort()
            self.counts['aborts'] += 1
        else:
            manager.commit()
            self.counts['commits'] += 1

    def _read(self, manager):
        if self.chance.random() < 0.3:
            time.sleep(self.chance.random() / 20)  # the snapshot gets old
        for _ in range(3):
            self._look(self.chance.randrange(OBJECTS))
        if self.chance.random() < 0.5:
            manager.abort()
        else:
            manager.commit()
        self.counts['reads'] += 1

    def _look(self, number):
        client, computed = self._client, []

        def factory():
            computed.append(number)
            return self._value(number)

        key, names = f'key {number}', self._names(number)
        way = self.chance.random()
        if way < 0.6:
            value = client.getOrCreate(key, factory, dependencies=names)
        elif way < 0.7:
            value = client.getOrCreate(
                key, factory, lifetime=1, grace=5, dependencies=names)
        elif way < 0.8:
            value = client.getOrCreateMany(
                [key], lambda keys: {key: factory()}, dependencies=names)[key]
        else:
            value = (client.query(key) if way < 0.9
                     else client.queryMany([key]).get(key))
            if value is None:
                value = factory()
                client.set(key, value, dependencies=names)
        self.counts['misses' if computed else 'hits'] += 1
        right = self._value(number)
        if value != right:
            self.wrong.append((value, right))


def leave_out(rule):
    """Leave a rule of the protocol out, to show that it is noticed."""
    from p01.memcache.snapshots import entry
    from p01.memcache.snapshots.hold import Hold
    from p01.memcache.snapshots.zodb import ZODB
    if rule == 'mark':
        Hold.vote = lambda self, tags, deadline: {}
    elif rule == 'date':
        entry.is_after = lambda version, tid: False
    elif rule == 'last':
        ZODB.last = ZODB.snapshot


def work(options):
    """Work until the process is killed, and print what was counted."""
    import ZODB

    leave_out(options.without)
    from p01.memcache.transactional import Transactional
    db = ZODB.DB(open_storage(options.storage, options.where), pool_size=99)
    client = Transactional(
        UltraMemcacheClient(
            options.memcached.split(), timeout=1, delay=0.2, blacktime=1),
        holdTime=LIFE, holdOrFail=True)
    workers = [Worker(db, client, f'{options.seed} {number}', options.kills)
               for number in range(options.threads)]
    for worker in workers:
        worker.start()
    said = collections.Counter()
    while all(worker.is_alive() for worker in workers):
        time.sleep(0.1)
        counts = sum((worker.counts for worker in workers),
                     collections.Counter())
        wrong = [worker.wrong.pop() for worker in workers if worker.wrong]
        print(json.dumps({'counts': counts - said, 'wrong': wrong}),
              flush=True)
        said = counts
    sys.exit('a thread has ended')


# The process that starts them


class Database:
    """The database, with a server if there is one."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.where = f'{folder}/data'
        self._stop = None
        if kind == 'zeo':
            import ZEO
            (host, port), self._stop = ZEO.server(
                f'{folder}/data.fs', threaded=False)
            self.where = f'{host}:{port}'
        self._fill()

    def _fill(self):
        import transaction
        import ZODB
        from persistent.mapping import PersistentMapping
        db = ZODB.DB(open_storage(self.kind, self.where))
        with transaction.manager:
            db.open().root()['objects'] = PersistentMapping({
                number: PersistentMapping({'n': 0})
                for number in range(OBJECTS)})
        db.close()

    def close(self):
        if self._stop is not None:
            self._stop()


class Site:
    """The processes, and what they have counted."""

    def __init__(self, options, kind, database, memcached):
        self.counts = collections.Counter()
        self.examples = []
        #: With this chance a process kills itself, at each phase of a commit.
        self.kills = KILLS_OF_PHASES
        self._options = options
        self._kind = kind
        self._database = database
        self._memcached = memcached
        self.chance = random.Random(options.seed)
        self._processes = []
        self._working = set()  # those that have said something

    def start(self):
        # Only one process can open a file.
        count = 1 if self._kind == 'file' else self._options.processes
        threads = self._options.processes * 2 // count
        while len(self._processes) < count:
            process = subprocess.Popen(
                [*self._options.python, '--work', '--storage', self._kind,
                 '--where', self._database.where,
                 '--memcached', addresses(self._memcached),
                 '--seed', str(self.chance.random()),
                 '--kills', str(self.kills),
                 '--threads', str(threads),
                 '--without', self._options.without],
                stdout=subprocess.PIPE, text=True)
            self._processes.append(process)
            threading.Thread(
                target=self._listen, args=(process,), daemon=True).start()

    def _listen(self, process):
        with process.stdout:
            for line in process.stdout:
                self._working.add(process)
                with contextlib.suppress(json.JSONDecodeError):  # cut off
                    said = json.loads(line)
                    self.counts.update(said['counts'])
                    self.counts['wrong'] += len(said['wrong'])
                    self.examples += said['wrong']

    def look_after(self):
        """Start processes anew that have been killed."""
        for process in [*self._processes]:
            if process.poll() is not None:
                self._processes.remove(process)
                if process.returncode != -9:
                    raise RuntimeError(
                        f'a process has ended with {process.returncode}')
                self.counts['kills'] += 1
        self.start()

    def wait(self):
        """Wait until all of them work."""
        end = monotonic() + PATIENCE
        while not self._working.issuperset(self._processes):
            if monotonic() > end:
                raise RuntimeError('a process does not work')
            time.sleep(0.05)
            self.look_after()

    def kill(self):
        working = [process for process in self._processes
                   if process in self._working]
        if working:
            process = self.chance.choice(working)
            process.kill()
            process.wait()

    def kill_all(self):
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def restart(self):
        server = self.chance.choice(self._memcached)
        server.stop()
        server.start()
        self.counts['restarts'] += 1


def run(options, kind):
    """Run it on a kind of storage; return the `Site`."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        memcached = [stack.enter_context(Memcached('-m', str(MEMORY)))
                     for _ in range(SERVERS)]
        database = Database(kind, folder)
        site = Site(options, kind, database, memcached)
        others = UltraMemcacheClient(addresses(memcached).split())
        try:
            site.start()
            site.wait()
            start = monotonic()
            end = start + options.seconds
            due = start + KILLS
            while monotonic() < start + options.seconds * KILLING:
                crowd(others)
                site.look_after()
                if monotonic() > due:
                    site.kill()
                    due += site.chance.expovariate(1 / KILLS)
            site.kill_all()
            site.kills = 0
            site.start()
            site.wait()
            end += monotonic() - start - options.seconds * KILLING
            due = monotonic() + 1
            while monotonic() < end:
                crowd(others)
                site.look_after()
                if monotonic() > due:
                    site.counts['evictions'] += evictions(others)
                    site.restart()
                    due += site.chance.expovariate(1 / RESTARTS)
            site.counts['evictions'] += evictions(others)
        finally:
            site.kill_all()
            others.close()
            database.close()
    return site


def addresses(servers):
    return ' '.join(server.address for server in servers)


def crowd(client):
    """Have values evicted, for a moment."""
    first = random.randrange(OTHERS)
    client.setMany({
        f'other {number}': 'x' * (number % 90)
        for number in range(first, first + 200)})
    time.sleep(0.01)


def evictions(client):
    return sum(int(numbers.get('evictions', 0))
               for _, numbers in client.getStatistics())


def main(args=None):
    parser = argparse.ArgumentParser(
        prog='bin/snapshots', description=__doc__.splitlines()[0])
    parser.add_argument('--minutes', type=float, default=1,
                        help='for each kind of storage')
    parser.add_argument('--seconds', type=float)
    parser.add_argument('--storage', choices=STORAGES)
    parser.add_argument('--processes', type=int, default=4)
    parser.add_argument('--seed', default='0')
    parser.add_argument(
        '--without', choices=['', 'mark', 'date', 'last'], default='',
        help='leave a rule out: marks, the date of a version, or that it is'
             ' that of the last commit')
    for name in ('--where', '--memcached'):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--kills', type=float, help=argparse.SUPPRESS)
    parser.add_argument('--threads', type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.work:
        work(options)
    options.seconds = options.seconds or options.minutes * 60
    options.python = [sys.executable, sys.argv[0]]
    failed = False
    for kind in [options.storage] if options.storage else STORAGES:
        site = run(options, kind)
        counts = site.counts
        looks = counts['hits'] + counts['misses']
        print(f'{kind}: {counts["hits"]} hits of {looks} looks'
              f' ({counts["hits"] / max(looks, 1):.0%}), '
              + ', '.join(f'{counts[name]} {name}' for name in COUNTED),
              flush=True)
        for value, right in site.examples[:EXAMPLES]:
            print(f'  {value}, but the snapshot gives {right}')
        failed = failed or counts['wrong'] > 0 or not counts['hits']
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
