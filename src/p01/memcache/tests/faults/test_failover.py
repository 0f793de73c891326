# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Fail-over of the whole client: servers that stand in for one that is down.

The tests move the clock of the client and of its servers.
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
LONG = 10 * BLACKTIME  # after which all on a stand-in has expired
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
        """Return the reply of the server at that place, without a client."""
        host, port = self.servers[place].address.split(':')
        with socket.create_connection((host, int(port)), PATIENCE) as direct:
            direct.sendall(request + b'\r\n')
            return direct.recv(1 << 16)

    def where(self, key):
        """Return the places of the servers that have the key."""
        return [place for place in range(3)
                if self.ask(place, b'get ' + self.wire(key)) != b'END\r\n']

    def stop(self, place=0):
        """Stop a server, and let the client find out.

        The client asks for no key of the tests, nor for a generation.
        """
        self.proxies[place].refuse()
        self.proxies[place].cut()
        self.client.getStatistics()
        self.assertEqual(self.down(), [place])

    def start(self, place=0):
        """Start a server again; the next operation asks it."""
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
        # The old value is removed before it is read.
        self.start()
        self.assertEqual(self.query(), MISSING)
        self.assertEqual(self.down(), [])
        # That of the stand-in expires by itself.
        self.assertNotIn(0, self.where(self.key))

    def test_the_keys_of_the_others_stay(self):
        self.client.set(self.other, 'value')
        self.stop()
        self.assertEqual(self.query(self.other), 'value')
        self.assertTrue(self.client.invalidate(self.other))
        self.assertEqual(self.query(self.other), MISSING)

    def test_values_on_a_stand_in_expire_with_the_outage(self):
        # They must have expired when it no longer stands in.
        self.stop()
        for lifetime in 10 * BLACKTIME, None, 0:
            self.client.set(self.key, 'value', lifetime)
            [place] = self.where(self.key)
            reply = self.ask(place, b'mg %b t' % self.wire(self.key))
            seconds = int(reply.split()[1][1:])
            self.assertTrue(0 < seconds <= BLACKTIME, reply)

    def test_values_of_an_earlier_outage(self):
        self.stop()
        # Another process, which finds out when the outage is nearly over,
        # stores for as long as it takes the server to be down.
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
        # No server stands in until what was stored then has expired.
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
        # This does not mark the server down; it has to remove the key.
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
            # The last client first has to find out that a server is down.
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
    """The namespace's generation has a key, too: on the first server."""

    settings = {'generations': True}  # noqa: RUF012

    def setUp(self):
        super().setUp()
        # Choose a namespace whose generation belongs there.
        for number in range(1000):
            self.client.namespace = f'site {number}'
            if self.client._state.store.router.ring.find(
                    self.client._state.namespace.key) == 0:
                break

    def strike(self, before=None, after=None):
        """Set a key, with calls before and after the generation is read."""
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
        """Have another process make a generation, on the stand-in."""
        late = self.make_client(namespace=self.client.namespace)
        for _ in range(2):
            late.set('key', 'of another process')
        self.assertEqual(late.query('key'), 'of another process')

    def assertOwed(self):
        """Neither the old generation nor its values are seen again."""
        self.assertEqual(self.query('key'), MISSING)
        self.assertEqual(self.down(), [])
        self.assertTrue(self.client.set('key', 'newest'))
        self.assertEqual(self.query('key'), 'newest')

    def test_a_generation_made_on_the_stand_in(self):
        self.client.set('key', 'old')
        self.stop()
        self.client.set('key', 'new')
        self.assertEqual(self.query('key'), 'new')
        self.start()
        self.assertOwed()

    def test_a_generation_found_on_the_stand_in(self):
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
