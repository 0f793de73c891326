# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""invalidateAll with a delay: one server after the other."""

import contextlib
import math
import time
import unittest
from decimal import Decimal
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import NotInvalidated
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


KEYS = range(60)


class Turns:
    """Instead of `time.sleep`: notes the seconds, and looks around."""

    def __init__(self, look=lambda: None):
        self.look = look
        self.slept = []

    def __call__(self, seconds):
        self.slept.append(seconds)
        self.look()


@contextlib.contextmanager
def instead_of_sleep(turns):
    with (mock.patch('p01.memcache.store.time.sleep', turns),
          mock.patch('p01.memcache.classic.store.time.sleep', turns)):
        yield turns


class InTurnCase:
    """Three servers, and a client of each of them."""

    def setUp(self):
        keep_quiet(self)
        self.servers = [self.enterContext(self.makeServer())
                        for _ in range(3)]
        self.addresses = [server.address for server in self.servers]
        super().setUp()
        self.directs = [self.makeClient(servers=[address])
                        for address in self.addresses]
        self.client.servers = self.addresses
        self.fill()

    def makeServer(self):
        kind = Memcached if self.level == 2 else EmbeddedServer
        return kind()

    def fill(self):
        for key in KEYS:
            self.assertIsNotNone(self.client.set(key, 'old'))

    def left(self):
        """Return how many values each server has."""
        return [len(direct.queryMany(KEYS)) for direct in self.directs]


@matrix(*EMBEDDED, slow=MEMCACHED)
class FlushedInTurnScenario(InTurnCase):

    def test_one_server_after_the_other(self):
        before = self.left()
        self.assertTrue(all(before), before)
        seen = []
        with instead_of_sleep(Turns(
                lambda: seen.append(self.left()))) as turns:
            self.assertIsNone(self.client.invalidateAll(delay=60))
        self.assertEqual(turns.slept, [60, 60])
        self.assertEqual(seen, [[0, *before[1:]], [0, 0, before[2]]])
        self.assertEqual(self.left(), [0, 0, 0])

    def test_the_seconds_pass(self):
        start = time.monotonic()
        self.client.invalidateAll(0.1)
        self.assertGreaterEqual(time.monotonic() - start, 0.2)
        self.assertEqual(self.left(), [0, 0, 0])

    def test_without_a_delay(self):
        for delay in ((), (0,), (0.0,)):
            with instead_of_sleep(Turns()) as turns:
                self.client.invalidateAll(*delay)
            self.assertEqual(turns.slept, [])
            self.assertEqual(self.left(), [0, 0, 0])
            self.fill()

    def test_what_is_set_meanwhile(self):
        # It is on a server that has had its turn, or is removed with the
        # former values.
        def look():
            seen.append({
                key for key in KEYS if self.client.query(key) == 'old'})
            for key in KEYS:
                self.client.set(key, f'new {len(seen)}')

        seen = []
        with instead_of_sleep(Turns(look)):
            self.client.invalidateAll(delay=60)
        homes = [{key for key in KEYS if direct.query(key)}
                 for direct in self.directs]
        self.assertTrue(homes[0] and homes[1])
        self.assertEqual(homes[2], set())
        self.assertEqual(
            {self.client.query(key) for key in homes[0] | homes[1]},
            {'new 2'})
        # Nothing of a server that has had its turn is old.
        self.assertFalse(seen[0] & homes[0])
        self.assertEqual(seen[1], set())

    def test_no_removed_value_comes_back(self):
        # As it would with the delay of memcached's own flush_all.
        self.client.invalidateAll()
        seen = []
        with instead_of_sleep(Turns(lambda: seen.extend(self.left()))):
            self.client.invalidateAll(delay=60)
        self.assertEqual(seen, 6 * [0])

    def test_one_of_them_is_down(self):
        for place in range(3):
            with self.subTest(place):
                down = self.servers[place]
                down.stop()
                client = self.makeClient(servers=self.addresses)
                with (instead_of_sleep(Turns()) as turns,
                      self.assertRaises(NotInvalidated) as caught):
                    client.invalidateAll(delay=60)
                self.assertEqual(turns.slept, [60, 60])
                self.assertEqual(
                    list(caught.exception.errors), [down.address])
                down.start()

    def test_wrong_delays(self):
        before = self.left()
        for delay in (
                -1, -0.1, math.nan, math.inf, 86401, 10 ** 30, True, None,
                '60', b'60', [60], Decimal(60), '60\r\nset a 0 0 1\r\nx'):
            with (self.subTest(delay), instead_of_sleep(Turns()) as turns,
                  self.assertRaises(ValueError) as caught):
                self.client.invalidateAll(delay)
            self.assertEqual(
                str(caught.exception), f'delay {delay!r}: must be a number of'
                ' seconds, from 0 to 86400')
            self.assertEqual(turns.slept, [])
        self.assertEqual(self.left(), before)

    def test_no_connection_waits(self):
        def use(number):
            for key in KEYS:
                value = self.client.query(key)
                self.assertIn(value, (None, 'old', 'new'))
                self.client.set((number, key), 'new')

        took = []

        def look():
            start = time.monotonic()
            at_once(use, range(8))
            took.append(time.monotonic() - start)
            if hasattr(self.client, 'getPools'):
                self.assertEqual(
                    {pool['active'] for _, pool in self.client.getPools()},
                    {0})

        with instead_of_sleep(Turns(look)):
            self.client.invalidateAll(delay=60)
        self.assertEqual(len(took), 2)

    def test_a_factory_that_is_running(self):
        # Its result is from before the flush of its server, and is not kept.
        for key in KEYS:
            self.client.invalidate(key)

        def compute():
            with instead_of_sleep(Turns()):
                self.client.invalidateAll(delay=60)
            return 'old'

        for key in KEYS:
            self.assertEqual(self.client.getOrCreate(key, compute), 'old')
            self.assertIsNone(self.client.query(key))

    def test_the_list_changes_meanwhile(self):
        def look():
            self.client.servers = self.addresses[:1]
            self.client.set('key', 'value')

        with instead_of_sleep(Turns(look)) as turns:
            self.client.invalidateAll(delay=60)
        self.assertEqual(turns.slept, [60, 60])
        self.assertEqual(self.left(), [0, 0, 0])
        self.assertEqual(self.client.query('key'), 'value')

    def test_in_a_region(self):
        region = self.client.region('region')
        region.set('key', 'value')
        with instead_of_sleep(Turns()) as turns:
            region.invalidateAll(delay=60)
        self.assertEqual(turns.slept, [60, 60])
        self.assertEqual(self.left(), [0, 0, 0])
        self.assertIsNone(region.query('key'))


class InterruptTest(unittest.TestCase):
    """The pooled client remembers what it has not flushed."""

    def setUp(self):
        keep_quiet(self)
        self.servers = [self.enterContext(EmbeddedServer())
                        for _ in range(3)]
        self.client = UltraMemcacheClient(
            [server.address for server in self.servers], delay=0)
        self.addCleanup(self.client.close)
        for key in KEYS:
            self.client.set(key, 'old')

    def test_interrupted_between_two_servers(self):
        def interrupt():
            raise KeyboardInterrupt

        with (instead_of_sleep(Turns(interrupt)),
              self.assertRaises(KeyboardInterrupt)):
            self.client.invalidateAll(delay=60)
        self.assertEqual(self.client.queryMany(KEYS), {})
        self.assertIsNotNone(self.client.set(1, 'new'))
        self.assertEqual(self.client.query(1), 'new')

    def test_a_server_that_is_back_after_its_turn(self):
        # It has kept its values, and is flushed before any of them is read.
        proxy = self.enterContext(FaultProxy(self.servers[1].address))
        addresses = [server.address for server in self.servers]
        addresses[1] = proxy.address
        self.client.invalidateAll()
        self.client.servers = addresses
        for key in KEYS:
            self.client.set(key, 'old')
        direct = UltraMemcacheClient([self.servers[1].address])
        self.addCleanup(direct.close)
        mine = direct.queryMany(KEYS)
        proxy.refuse()
        proxy.cut()

        def after_the_first():
            turns.look = after_the_second

        def after_the_second():
            proxy.accept()
            self.assertEqual(direct.queryMany(KEYS), mine)
            until(lambda: self.client.set(min(mine), 'new'))
            self.assertEqual(
                {self.client.query(key) for key in mine}, {None, 'new'})

        turns = Turns(after_the_first)
        with (instead_of_sleep(turns),
              self.assertRaises(NotInvalidated) as caught):
            self.client.invalidateAll(delay=60)
        self.assertEqual(list(caught.exception.errors), [proxy.address])
        self.assertEqual(direct.queryMany(KEYS), {min(mine): 'new'})

    def test_each_server_has_a_time_out_of_its_own(self):
        with contextlib.ExitStack() as stack:
            mute = [stack.enter_context(ScriptedServer(default=[(b'', 5)]))
                    for _ in range(3)]
            client = UltraMemcacheClient(
                [server.address for server in mute], timeout=0.2, delay=0)
            start = time.monotonic()
            with (instead_of_sleep(Turns()),
                  self.assertRaises(NotInvalidated) as caught):
                client.invalidateAll(delay=60)
            self.assertEqual(len(caught.exception.errors), 3)
            took = time.monotonic() - start
            self.assertTrue(0.5 < took < 1.5, took)
            for server in mute:
                self.assertEqual(server.requests, [b'flush_all\r\n'])
            client.close()


class ElsewhereTest(unittest.TestCase):

    def test_proxies(self):
        client = UltraMemcacheClient(
            ['127.0.0.1:1', '127.0.0.1:2'], distribution='roundrobin')
        with self.assertRaisesRegex(
                ValueError, 'delay 60: must be 0 with proxies'):
            client.invalidateAll(delay=60)

    def test_fakes(self):
        for factory in FakeMemcacheClient, FakeUltraMemcacheClient:
            client = factory(['a', 'b', 'c'])
            client.set('key', 'value')
            with self.assertRaises(ValueError):
                client.invalidateAll(-1)
            self.assertEqual(client.query('key'), 'value')
            with instead_of_sleep(Turns()) as turns:
                client.invalidateAll(delay=60)
            self.assertIsNone(client.query('key'))
            self.assertEqual(turns.slept, [])
