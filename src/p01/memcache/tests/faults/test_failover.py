# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Servers that stand in for one that is down, as the whole client uses them.

The clock of the client and its servers has hands.
"""

import socket
import sys
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import NotInvalidated
from p01.memcache.features import dependencies
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)


PATIENCE = 5  # seconds
BLACKTIME = 60
LONG = 10 * BLACKTIME  # then all that a stand-in had has expired
MISSING = 'missing'


class FailoverCase(unittest.TestCase):

    settings = {}  # noqa: RUF012

    def setUp(self):
        keep_quiet(self)
        self.ahead = 0
        for name, module in list(sys.modules.items()):
            if name.startswith('p01.memcache.') and '.tests.' not in name:
                for name, value in list(vars(module).items()):
                    if value is monotonic:
                        self.enterContext(mock.patch.object(
                            module, name, lambda: monotonic() + self.ahead))
        self.servers = [
            self.enterContext(EmbeddedServer()) for _ in range(3)]
        self.proxies = [self.enterContext(FaultProxy(server.address))
                        for server in self.servers]
        self.client = self.make_client()
        self.key, self.other = (
            next(key for key in range(1000) if self.home(key) == place)
            for place in (0, 1))

    def make_client(self, **settings):
        client = UltraMemcacheClient(
            [proxy.address for proxy in self.proxies], **{
                'timeout': PATIENCE, 'failover': True, 'retries': 1,
                'delay': 0, 'blacktime': BLACKTIME, **self.settings,
                **settings})
        self.addCleanup(client.close)
        return client

    def home(self, key):
        return self.client._state.store.router.ring.find(self.wire(key))

    def wire(self, key):
        return self.client.buildKey(key).encode()

    def ask(self, place, request):
        """Return what the server of that place says, without a client."""
        host, port = self.servers[place].address.split(':')
        with socket.create_connection((host, int(port)), PATIENCE) as direct:
            direct.sendall(request + b'\r\n')
            return direct.recv(1 << 16)

    def where(self, key):
        """Return the places of the servers that have the key."""
        return [place for place in range(3)
                if self.ask(place, b'get ' + self.wire(key)) != b'END\r\n']

    def stop(self, place=0):
        """Have a server go, and the client notice it.

        It has asked for no key, nor for a generation.
        """
        self.proxies[place].refuse()
        self.proxies[place].cut()
        self.client.getStatistics()
        self.assertEqual(self.down(), [place])

    def start(self, place=0):
        """Have it return; the next operation asks it."""
        self.proxies[place].accept()
        server = self.client._state.store.servers[place]
        self.ahead += server.health.absence

    def down(self):
        return [place for place, server
                in enumerate(self.client._state.store.servers)
                if server.health.is_down]

    def query(self, key=None):
        return self.client.query(
            self.key if key is None else key, default=MISSING)


class FailoverTest(FailoverCase):

    def test_another_has_the_key(self):
        self.client.set(self.key, 'old')
        self.assertEqual(self.where(self.key), [0])
        self.stop()
        self.assertEqual(self.query(), MISSING)
        self.assertTrue(self.client.set(self.key, 'new'))
        self.assertEqual(self.query(), 'new')
        places = self.where(self.key)
        self.assertEqual((len(places), places[0]), (2, 0))
        # The old value is gone before it is asked for.
        self.start()
        self.assertEqual(self.query(), MISSING)
        self.assertEqual(self.down(), [])
        self.assertEqual(self.where(self.key), [])

    def test_the_keys_of_the_others_stay(self):
        self.client.set(self.other, 'value')
        self.stop()
        self.assertEqual(self.query(self.other), 'value')
        self.assertTrue(self.client.invalidate(self.other))
        self.assertEqual(self.query(self.other), MISSING)

    def test_no_longer_than_the_outage(self):
        # What a stand-in has must have expired when its time is over.
        self.stop()
        for lifetime in 10 * BLACKTIME, None, 0:
            self.client.set(self.key, 'value', lifetime)
            [place] = self.where(self.key)
            reply = self.ask(place, b'mg %b t' % self.wire(self.key))
            seconds = int(reply.split()[1][1:])
            self.assertTrue(0 < seconds <= BLACKTIME, reply)

    def test_an_earlier_outage_is_over(self):
        self.stop()
        # Another process, which hears of the outage when it is nearly over,
        # stores for as long as it believes in it.
        late = self.make_client()
        self.ahead += BLACKTIME - 1
        late.query(self.key)
        late.set(self.key, 'of the first outage')
        [place] = self.where(self.key)
        self.ahead -= BLACKTIME - 1
        self.start()
        self.assertTrue(self.client.set(self.key, 'new'))
        self.stop()
        self.assertEqual(self.where(self.key), [0, place])
        self.assertEqual(self.query(), MISSING)
        self.assertIsNone(self.client.set(self.key, 'newer'))
        # Nobody stands in before what was stored then has expired.
        self.start()
        self.assertEqual(self.query(), MISSING)
        self.ahead += LONG
        self.stop()
        self.assertTrue(self.client.set(self.key, 'of the second outage'))
        self.assertEqual(self.query(), 'of the second outage')

    def test_an_invalidation_is_owed(self):
        self.client.set(self.key, 'old')
        self.stop()
        self.assertIsNone(self.client.invalidate(self.key))
        self.assertEqual(self.where(self.key), [0])
        self.start()
        self.assertEqual(self.query(), MISSING)
        self.assertEqual(self.where(self.key), [])

    def test_a_reply_that_is_lost(self):
        # The server is not down by that, and has to forget the key.
        self.client = self.make_client(retries=3)
        self.proxies[0].once(Fault(then='rst'))
        self.assertIsNone(self.client.set(self.key, 'value'))
        self.assertEqual(self.down(), [])
        self.assertEqual(self.where(self.key), [0])
        self.assertEqual(self.query(), MISSING)
        self.assertEqual(self.where(self.key), [])

    def test_many(self):
        keys = range(60)
        self.assertEqual(
            self.client.setMany(dict.fromkeys(keys, 'old')), [])
        mine = [key for key in keys if self.home(key) == 0]
        others = [key for key in keys if key not in mine]
        self.stop()
        self.assertEqual(
            self.client.queryMany(keys), dict.fromkeys(others, 'old'))
        self.assertEqual(
            self.client.setMany(dict.fromkeys(keys, 'new')), [])
        self.assertEqual(
            self.client.queryMany(keys), dict.fromkeys(keys, 'new'))
        self.assertEqual(self.client.invalidateMany(mine[:2]), mine[:2])
        self.start()
        self.assertEqual(
            self.client.queryMany(keys), dict.fromkeys(others, 'new'))
        for key in mine:
            self.assertNotIn(0, self.where(key))

    def test_all_are_flushed(self):
        for key in self.key, self.other:
            self.client.set(key, 'old')
        self.stop()
        self.client.set(self.key, 'new')
        with self.assertRaises(NotInvalidated) as caught:
            self.client.invalidateAll()
        self.assertEqual(
            [*caught.exception.errors], [self.proxies[0].address])
        self.assertEqual(self.where(self.other), [])
        self.assertEqual(self.where(self.key), [0])
        self.start()
        self.assertEqual(self.query(), MISSING)
        self.assertEqual(self.where(self.key), [])

    def test_computed_once(self):
        self.stop()
        calls = []

        def factory():
            calls.append(1)
            return len(calls)

        for client in self.client, self.client, self.make_client():
            # The last one has to find out first that a server is away.
            client.query(self.key)
            self.assertEqual(client.getOrCreate(self.key, factory), 1)
        self.start()
        self.assertEqual(self.client.getOrCreate(self.key, factory), 2)

    def test_all_are_down(self):
        for proxy in self.proxies:
            proxy.refuse()
            proxy.cut()
        for _ in range(3):
            self.assertEqual(self.query(), MISSING)
        self.assertEqual(self.down(), [0, 1, 2])
        self.assertIsNone(self.client.set(self.key, 'value'))
        self.assertEqual(self.query(), MISSING)

    def test_without_failover(self):
        self.client.failover = False
        self.stop()
        self.assertIsNone(self.client.set(self.key, 'value'))
        self.assertEqual(self.where(self.key), [])


class GenerationTest(FailoverCase):
    """The generation of the namespace is a key, too: on the first server."""

    settings = {'generations': True}  # noqa: RUF012

    def setUp(self):
        super().setUp()
        # The namespace is one whose generation has its home there.
        for number in range(1000):
            self.client.namespace = f'site {number}'
            if self.client._state.store.router.ring.find(
                    self.client._state.namespace.key) == 0:
                break

    def strike(self, before=None, after=None):
        """Set a key; call these before and after the generation is read."""
        read = dependencies.current

        def struck(*args):
            with mock.patch.object(dependencies, 'current', read):
                if before:
                    before()
                found = read(*args)
                if after:
                    after()
                return found

        with mock.patch.object(dependencies, 'current', struck):
            self.client.set('key', 'new')

    def late(self):
        """Have another process make one, on the stand-in."""
        late = self.make_client(namespace=self.client.namespace)
        for _ in range(2):
            late.set('key', 'of another process')
        self.assertEqual(late.query('key'), 'of another process')

    def assertOwed(self):
        """The older one is not seen again, nor is what was there then."""
        self.assertEqual(self.query('key'), MISSING)
        self.assertEqual(self.down(), [])
        self.assertTrue(self.client.set('key', 'newest'))
        self.assertEqual(self.query('key'), 'newest')

    def test_one_that_is_made(self):
        self.client.set('key', 'old')
        self.stop()
        self.client.set('key', 'new')
        self.assertEqual(self.query('key'), 'new')
        self.start()
        self.assertOwed()

    def test_one_that_is_there(self):
        self.client.set('key', 'old')
        self.stop()
        self.late()
        self.client.set('key', 'new')
        self.assertEqual(self.query('key'), 'new')
        self.start()
        self.assertOwed()

    def test_the_server_returns_meanwhile(self):
        self.client.set('key', 'old')
        self.stop()
        self.late()
        self.ahead += BLACKTIME - 1
        self.strike(after=self.start)
        self.assertOwed()

    def test_the_server_leaves_meanwhile(self):
        self.client.set('key', 'old')
        self.proxies[0].refuse()
        self.proxies[0].cut()
        self.late()
        self.proxies[0].accept()
        self.strike(before=self.stop)
        self.start()
        self.assertOwed()
