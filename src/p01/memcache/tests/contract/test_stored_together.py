# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The results of `getOrCreateMany`, which are stored in few requests."""

import unittest
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.contract.callers import Callers
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire import batch
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Set


load_tests = run_in(Contract)

KEYS = [f'key {number}' for number in range(12)]


class StoredTogetherTest(Callers, unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.servers = [
            self.enterContext(EmbeddedServer()) for _ in range(2)]
        self.proxies = [
            self.enterContext(FaultProxy(server.address))
            for server in self.servers]
        self.client = self.make(timeout=PATIENCE)
        self.direct = self.make(timeout=PATIENCE)
        self.client.getOrCreateMany(range(20), dict.fromkeys)

    def make(self, **settings):
        client = UltraMemcacheClient(
            [proxy.address for proxy in self.proxies], retries=1, delay=0,
            blacktime=0, **settings)
        self.addCleanup(client.close)
        return client

    def create(self, meanwhile, value='new'):
        """Compute all keys; something happens before they are stored."""
        def factory(keys):
            meanwhile()
            return dict.fromkeys(keys, value)

        self.assertEqual(
            self.client.getOrCreateMany(KEYS, factory),
            dict.fromkeys(KEYS, value))
        self.assertEqual(self.client._flights, {})

    def test_all(self):
        self.create(lambda: None)
        self.assertEqual(
            self.direct.queryMany(KEYS), dict.fromkeys(KEYS, 'new'))

    def test_some_have_changed(self):
        def change():
            self.direct.set(KEYS[0], 'set')
            self.direct.invalidate(KEYS[1])

        self.create(change)
        self.assertEqual(self.direct.queryMany(KEYS), {
            KEYS[0]: 'set', **dict.fromkeys(KEYS[2:], 'new')})

    def test_connections_that_ended(self):
        # The numbers of the claims are confirmed on the new ones.
        self.create(lambda: [proxy.cut() for proxy in self.proxies])
        self.assertEqual(
            self.direct.queryMany(KEYS), dict.fromkeys(KEYS, 'new'))

    def test_a_server_that_was_restarted(self):
        # Its numbers begin anew: a value that was set since then stays.
        def restart():
            self.direct.invalidateAll()
            self.direct.setMany(dict.fromkeys(KEYS, 'set'))
            for proxy in self.proxies:
                proxy.cut()
            lend.start()

        lend = mock.patch.object(
            Cas, 'encode', lambda command: Set.encode(command))
        # A number that fits does not help.
        try:
            self.create(restart)
        finally:
            lend.stop()
        self.assertEqual(
            self.direct.queryMany(KEYS), dict.fromkeys(KEYS, 'set'))

    def test_a_server_that_is_gone(self):
        def go():
            self.proxies[0].refuse()
            self.proxies[0].cut()

        self.create(go)
        self.proxies[0].accept()
        found = self.client.queryMany(KEYS)
        self.assertEqual(found, dict.fromkeys(found, 'new'))
        self.assertGreater(len(found), 0)
        self.assertLess(len(found), len(KEYS))
        # What could not be stored, with its claim, is removed by now.
        self.assertEqual(
            self.client.getOrCreateMany(
                KEYS, lambda keys: dict.fromkeys(keys, 'newer')),
            {**dict.fromkeys(KEYS, 'newer'), **found})

    def test_replies_that_are_cut(self):
        for size in range(1, 12 * 8, 7):
            with self.subTest(size):
                self.client.invalidateMany(KEYS)
                self.create(lambda size=size: self.proxies[0].once(
                    *self.faults(size)))
                for proxy in self.proxies:
                    proxy.clear()
                # None is a claim that holds others up.
                found = self.client.getOrCreateMany(
                    KEYS, lambda keys: dict.fromkeys(keys, 'newer'))
                self.assertLessEqual(set(found.values()), {'new', 'newer'})
                self.assertEqual(self.direct.queryMany(KEYS), found)

    def faults(self, size):
        return [Fault(after=size, then='close')] * 2

    def test_some_are_too_large_for_the_server(self):
        value = {key: key for key in KEYS}
        value[KEYS[3]] = 'x' * (1 << 21)
        self.assertEqual(
            self.client.getOrCreateMany(KEYS, lambda keys: value), value)
        self.assertEqual(
            self.direct.queryMany(KEYS),
            {key: key for key in KEYS if key != KEYS[3]})
        with self.direct.lookUp(KEYS[3]) as found:
            self.assertFalse(found.isHit)

    def test_more_than_a_batch(self):
        keys = [f'many {number}' for number in range(1500)]
        made = dict.fromkeys(keys, 'x' * 100)
        self.client.getOrCreateMany(keys, lambda keys: made)
        self.assertEqual(self.direct.queryMany(keys), made)

    def test_when_a_batch_was_made(self):
        # It goes on no connection that one of its commands must not.
        commands = [Cas(b'key%d' % number, b'', 0, 1, 0, None, since)
                    for number, since in enumerate((5, 3, 4))]
        commands.append(Set(b'key', b'', 0, 0))
        [together] = batch.change_all(commands, {})
        self.assertEqual(together.since, 3)
