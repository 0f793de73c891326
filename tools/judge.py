# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A process of a site: its threads read, change, and judge what they read.

There is a database, which the processes share. A change goes to the database
first, and then to the cache. A key is changed by one thread of one process,
and read by all of them.
"""

import collections
import contextlib
import logging
import multiprocessing
import os
import socket
import threading
import time
from time import monotonic

import zope.component

from p01.memcache.interfaces import IServersChangedEvent
from p01.memcache.uclient import UltraMemcacheClient
from soak import EXAMPLES
from soak import TIMEOUT
from soak import Watch
from soak import Worker
from soak import make_value


# The keys of each thread.
KEYS = 40

# Seconds that a thread rests between two operations, so that the processes
# leave each other, and the servers, some time.
REST = 0.001

# Seconds. After an operation as slow as that the server is doubted for a
# while, and misses are excused: the machine is too busy, or a server hangs.
SLOW, EXCUSED = TIMEOUT / 4, 1

# Seconds for a process to start or to end.
PATIENCE = 20


class Database:
    """The rows, and what is known of their keys, in shared memory."""

    def __init__(self, size):
        def array(kind):
            return multiprocessing.RawArray(kind, size)

        #: The number of the list that was published last.
        self.list = multiprocessing.RawValue('q')
        self.versions = array('q')
        #: The version of the last change that has returned, and of the last
        #: one that was acknowledged.
        self.returned = array('q')
        self.acknowledged = array('q')
        #: The number of the list by which that was done.
        self.lists = array('q')
        #: Since when the key must be there, or 0.
        self.kept = array('d')
        #: When the key was last moved; infinite while it is.
        self.moved = array('d')

    def forget(self):
        """Forget what only the processes knew, which have ended."""
        self.returned[:] = self.acknowledged[:]


class Row:
    """A row of the database, and the key of its value, as `soak.Entry`."""

    shared = True

    def __init__(self, database, place, site):
        self.key = f'row {place}'
        self.place = place
        self.is_own = False  # whether a thread of this process changes it
        self._database = database
        self._site = site

    versions = property(lambda self: self)

    def __next__(self):
        self._database.versions[self.place] += 1
        return self.version

    @property
    def version(self):
        return self._database.versions[self.place]

    @property
    def returned(self):
        return self._database.returned[self.place]

    @property
    def by(self):
        """The list by which it was changed last."""
        return self._database.lists[self.place]

    @property
    def least(self):
        """The oldest version that may be read.

        What was not acknowledged counts in the same process only: the others
        cannot know of it.
        """
        if self.is_own:
            return self.returned
        return self._database.acknowledged[self.place]

    @least.setter
    def least(self, version):
        self._database.returned[self.place] = version

    @property
    def kept(self):
        return self._database.kept[self.place] or None

    @kept.setter
    def kept(self, since):
        if since is not None:
            self.acknowledge()
        self._database.kept[self.place] = since or 0

    def acknowledge(self):
        self._database.lists[self.place] = self._site.list
        self._database.acknowledged[self.place] = self.returned

    @property
    def moved(self):
        return self._database.moved[self.place]


class Thread(Worker):
    """The operations of one thread."""

    def __init__(self, site, number, rows):
        super().__init__(site, number)
        self.entries = rows
        # Not that of a process which has ended.
        self.counter += f' {site.list}'
        self.odds[self.query] = 30
        self.odds[self.get_or_create] = 15
        for row in rows:
            row.is_own = True

    def run(self):
        while not self.site.ended.wait(REST):
            if not self.site.going.is_set():
                self.resting = True
                self.site.going.wait()
                self.resting = False
            self.list = self.site.list
            try:
                self.step()
            except Exception as error:
                self.broken('errors', repr(error))

    resting = False

    def timed(self, *args, **kw):
        start = monotonic()
        try:
            return super().timed(*args, **kw)
        finally:
            if monotonic() > start + SLOW:
                self.site.slow = monotonic()

    def broken(self, what, *args):
        if what == 'lost' and monotonic() < self.site.slow + EXCUSED:
            self.counts['excused'] += 1
            return
        # Where it was read, and where it had been changed.
        row = self.site.rows.get(args[0])
        if what == 'stale' and row is not None and row.by >= 0:
            lists = self.list, row.by
            self.counts[lists] += 1
            args += lists
        super().broken(what, *args)

    def read(self, entries, *args, **kw):
        returned = [entry.returned for entry in entries]
        least = [entry.least for entry in entries]
        found = super().read(entries, *args, **kw)
        for entry, last, acknowledged in zip(
                entries, returned, least, strict=True):
            value = found.get(entry.key)
            if value is not None and acknowledged <= value[1] < last:
                self.counts['not acknowledged'] += 1
                self.site.examples.append((
                    'not acknowledged', entry.key, value[1], last))

    def get_or_create(self):
        row = self.chance.choice(self.site.shared)

        def factory():
            self.counts['misses'] += 1
            return make_value(row.key, row.version)

        self.read([row], lambda: {
            row.key: self.client.getOrCreate(row.key, factory)}, timeouts=2)

    # changing

    def invalidate(self):
        row = self.chance.choice(self.entries)
        row.kept, version = None, next(row)
        done = self.timed(self.client.invalidate, row.key)
        row.least = version
        if done is not None:
            row.acknowledge()


class Site:
    """The threads of a process, and what they have found out.

    Its public methods are what `Process` calls.
    """

    healthy = None
    slow = 0.0  # when an operation was slow

    def __init__(self, database, number, options, client):
        self.client = client
        self.database = database
        self.seed = options.seed
        #: The number of the list that is in force.
        self.list = database.list.value
        self.ended = threading.Event()
        self.going = threading.Event()
        self.examples = collections.deque(maxlen=EXAMPLES)
        self.watch = Watch()
        rows = [Row(database, place, self)
                for place in range(options.keys)]
        self.rows = {row.key: row for row in rows}
        self.entries = rows
        self.shared = rows[1::2]
        count = options.threads
        self.threads = [
            Thread(self, each, rows[each * KEYS:(each + 1) * KEYS])
            for each in range(number * count, (number + 1) * count)]

    def must_have(self, row, kept):
        return kept is not None and kept > row.moved

    @contextlib.contextmanager
    def work(self):
        threads = [threading.Thread(target=thread.run, daemon=True)
                   for thread in self.threads]
        with self.watch:
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self.ended.set()
                self.going.set()
                for thread in threads:
                    thread.join(PATIENCE)
                self.client.close()

    def go(self):
        self.going.set()

    def rest(self):
        self.going.clear()
        end = monotonic() + PATIENCE
        while monotonic() < end and not all(
                thread.resting for thread in self.threads):
            time.sleep(0.001)

    def set(self, **settings):
        for name, value in settings.items():
            setattr(self.client, name, value)

    def follow(self, event):
        """Note that a list has come in force."""
        self.list = self.database.list.value

    def take(self):
        """Return what was counted since the last time."""
        total, examples = collections.Counter(), []
        for thread in self.threads:
            counts, thread.counts = thread.counts, collections.Counter()
            total += counts
        while self.examples:
            examples.append(self.examples.popleft())
        longest, self.watch.longest = self.watch.longest, {1: 0.0, 2: 0.0}
        return total, longest, examples

    def look(self):
        """Return the keys with an old value, while all threads rest."""
        found = self.client.queryMany(list(self.rows))
        return {key: (value[1], self.rows[key].least)
                for key, value in found.items()
                if value[1] < self.rows[key].least}


class NameService:
    """Knows some names from a file; it takes the place of the real one."""

    def __init__(self, path):
        self._path = path
        self._original = socket.getaddrinfo

    def __call__(self, host, port, *args, flags=0, **kw):
        name = host.removesuffix('.')
        if not name.endswith('.test') or flags & socket.AI_NUMERICHOST:
            return self._original(host, port, *args, flags=flags, **kw)
        with open(self._path) as file:
            names = {name: hosts for name, *hosts in map(str.split, file)}
        return [answer for host in names[name]
                for answer in self._original(host, port, *args, **kw)]


def ask(port):
    """Have the name server on that port asked."""
    import dns.resolver
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ['127.0.0.1'], port
    dns.resolver.Resolver = lambda: resolver


def serve(pipe, database, number, options):
    """Do what comes through the pipe, until it is closed."""
    # An interrupt from the terminal is for the command, which closes it.
    os.setsid()
    # What the client would log happens on purpose.
    logging.getLogger('p01.memcache').disabled = True
    socket.getaddrinfo = NameService(options.names)
    if options.resolver:
        ask(options.resolver)
    site = Site(
        database, number, options, UltraMemcacheClient(**options.settings))
    zope.component.provideHandler(site.follow, (IServersChangedEvent,))
    with contextlib.suppress(EOFError, BrokenPipeError), site.work():
        pipe.send(None)
        while True:
            name, args, kw = pipe.recv()
            pipe.send(getattr(site, name)(*args, **kw))


class Process:
    """A process with a `Site`, whose methods it has."""

    def __init__(self, *args):
        context = multiprocessing.get_context('spawn')
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(self._theirs, *args))

    def start(self):
        self._process.start()
        self._theirs.close()

    def end(self):
        self._pipe.close()
        self._process.join(PATIENCE)
        self._process.kill()
        self._process.join()

    def send(self, name, *args, **kw):
        self._pipe.send((name, args, kw))

    def receive(self):
        if not self._pipe.poll(PATIENCE):
            raise RuntimeError('a process of the site does not answer')
        return self._pipe.recv()
