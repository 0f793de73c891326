# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Base classes: three servers, one of which is lost."""

import contextlib
import itertools
import random
import threading
import time
import traceback

import zope.event

from p01.memcache.cluster.ring import Ketama
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IServerEvent
from p01.memcache.testing import ClusterLayer
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.transport import address
from p01.memcache.uclient import UltraMemcacheClient


LOST = 1  # the place of the server that has trouble

THREADS = 8


class Ledger:
    """What one thread has written to its keys, and so may read back.

    A write counts whether or not it was acknowledged. With `late`, an
    unacknowledged one may be carried out at any later time.
    """

    def __init__(self, client, keys, late=False):
        self.client = client
        self._late = late
        self._open = {key: set() for key in keys}
        self._newest = dict.fromkeys(keys, 0)
        self._least = dict.fromkeys(keys, 1)

    def set(self, key, **kw):
        self._newest[key] += 1
        self._least[key] = self._newest[key]
        stored = self.client.set(key, (key, self._newest[key]), **kw)
        if stored is None:
            self._open[key].add(self._newest[key])
        return stored

    def invalidate(self, key):
        self._least[key] = self._newest[key] + 1
        return self.client.invalidate(key)

    def invalidate_all(self):
        for key, version in self._newest.items():
            self._least[key] = version + 1
        self.client.invalidateAll()

    def query(self, key):
        """Return the version that was found, or None."""
        value = self.client.query(key)
        if value is None:
            return None
        least, newest = self._least[key], self._newest[key]
        if self._late and value in [(key, late) for late in self._open[key]]:
            return value[1]
        if value[0] != key or not least <= value[1] <= newest:
            raise AssertionError(
                f'{value!r} for {key!r}: must be version {least} to {newest}')
        return value[1]


class Load:
    """Threads that write and read keys of their own, within the context.

    ``errors`` has the tracebacks, ``slowest`` the longest operation.
    """

    _odds = (3, 1, 6)
    _loads = itertools.count()

    def __init__(self, client, threads=THREADS, keys=30, late=False):
        self.errors = []
        self.slowest = 0.0
        self.ledgers = {}
        self._done = [0] * threads
        self._stopping = False
        self._threads = []
        # What another load has left on the servers is removed.
        load = next(self._loads)
        for number in range(threads):
            names = [f'{load} {number} {key}' for key in range(keys)]
            ledger = self.ledgers[number] = Ledger(client, names, late)
            self._threads.append(threading.Thread(
                target=self._run, args=(number, ledger, names)))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self._stopping = True
        for thread in self._threads:
            thread.join(4 * PATIENCE)
            if thread.is_alive():
                self.errors.append('a thread does not end')

    @property
    def operations(self):
        return sum(self._done)

    def _run(self, number, ledger, keys):
        chance = random.Random(number)
        operations = ledger.set, ledger.invalidate, ledger.query
        try:
            while not self._stopping:
                [operation] = chance.choices(operations, self._odds)
                start = time.monotonic()
                operation(chance.choice(keys))
                self.slowest = max(
                    self.slowest, time.monotonic() - start)
                self._done[number] += 1
            for key in keys:
                ledger.query(key)
        except BaseException:
            self.errors.append(traceback.format_exc())


class OutageCase(FaultCase):
    """Three servers, each behind a proxy, and clients of all of them.

    A server is lost when its proxy cuts and refuses connections; it keeps
    its data.
    """

    level = 2
    timeout = PATIENCE

    def setUp(self):
        keep_quiet(self)
        self.spent = []
        self.servers = self.start_servers()
        self.proxies = self.start_proxies()
        self.addresses = [
            server.address for server in self.proxies or self.servers]
        # Clients that reach the servers without the proxies.
        self.directs = [
            self.client([server.address]) for server in self.servers]

    def start_servers(self):
        return [self.enterContext(EmbeddedServer()) for _ in range(3)]

    def start_proxies(self):
        return [self.enterContext(FaultProxy(server.address))
                for server in self.servers]

    def client(self, addresses=None, **settings):
        # One failure marks a server down, until `let_probe`.
        client = UltraMemcacheClient(
            addresses or self.addresses,
            **{'timeout': self.timeout, 'retries': 1, 'delay': 0,
               'blacktime': 60, **settings})
        self.addCleanup(client.close)
        return client

    # The outage

    def lose(self, place=LOST):
        self.proxies[place].refuse()
        self.proxies[place].cut()

    def bring_back(self, place=LOST):
        self.proxies[place].accept()

    def state(self, client, place=LOST):
        return client._state.store.servers[place].health.state

    def lose_marked(self, client, place=LOST):
        """Lose a server, and let the client find out."""
        self.lose(place)
        # If the server is silent, a used connection may be at fault.
        while self.state(client, place) == 'up':
            self.assertIsNone(client.query(*self.keys(place, 1)))
            self.assertLess(
                client._state.store.servers[place].health.doubts, 3)
        self.assertEqual(self.state(client, place), 'down')

    def let_probe(self, client, place=LOST):
        """Let the client ask a server as if its blacktime were over."""
        client._state.store.servers[place].health._asking._until = (
            time.monotonic())

    def return_known(self, client, place=LOST):
        """Bring a server back, and let the client find out."""
        self.bring_back(place)
        self.let_probe(client, place)
        self.wait_up(client, place)

    def wait_up(self, client, place=LOST):
        [key] = self.keys(place, 1)

        def is_up():
            client.query(key)
            return self.state(client, place) == 'up'

        until(is_up)

    def let_work(self, load, operations=400):
        before = load.operations
        until(
            lambda: load.errors or load.operations > before + operations)

    # Keys and values

    def keys(self, place=None, count=30):
        """Return keys of this server, or that many of each server."""
        if place is None:
            return [key for place in range(3)
                    for key in self.keys(place, count)]
        ring = self.ring()
        return list(itertools.islice((
            key for key in map('key {}'.format, itertools.count())
            if ring.find(self.wire_key(key)) == place), count))

    def ring(self):
        return Ketama(address.parse_all(self.addresses))

    def wire_key(self, key):
        return self.directs[0].buildKey(key).encode()

    def stand_in(self, key):
        """Return the place of the stand-in for the key, in an outage."""
        return next(self.ring().after(self.wire_key(key), LOST))

    def ledger(self, client, count=30):
        """Return a ledger; all its keys are stored, in their first version."""
        keys = self.keys(count=count)
        ledger = Ledger(client, keys)
        for key in keys:
            self.assertIsNotNone(ledger.set(key))
        return ledger

    def moved(self, key):
        """Return the version that the stand-in has."""
        value = self.directs[self.stand_in(key)].query(key)
        return value and value[1]

    def assertVersion(self, ledger, keys, version):
        for key in keys:
            self.assertEqual(ledger.query(key), version, key)

    def live(self, count=30):
        return [key for place in range(3) if place != LOST
                for key in self.keys(place, count)]

    def found(self, key):
        """Return the key's version on each of the servers."""
        values = [direct.query(key) for direct in self.directs]
        for value in values:
            if value is not None:
                self.assertEqual(value[0], key)
        return [value and value[1] for value in values]

    # Events and log

    @contextlib.contextmanager
    def subscribed(self, handler):
        def handle(event):
            if IServerEvent.providedBy(event):
                handler(event)

        zope.event.subscribers.append(handle)
        try:
            yield
        finally:
            zope.event.subscribers.remove(handle)


class OnMemcached:
    """The same on memcached."""

    level = 2
    layer = ClusterLayer

    def start_servers(self):
        return ClusterLayer.servers


class DirectMixin(OnMemcached):
    """The same without proxies."""

    def start_proxies(self):
        return []


class FrozenMixin(DirectMixin):
    """The same, with a lost server that hangs instead of being cut off."""

    timeout = 0.5

    def lose(self, place=LOST):
        self.servers[place].freeze()

    def bring_back(self, place=LOST):
        self.servers[place].thaw()
