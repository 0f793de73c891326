# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreate` behind two proxies."""

import contextlib
import unittest

from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.contract.callers import Factory
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.uclient import UltraMemcacheClient


class TestBehindProxies(unittest.TestCase):

    level = 2
    layer = MemcachedLayer

    def setUp(self):
        self.client = UltraMemcacheClient(
            [self.enterContext(Nutcracker([self.layer.address])).address
             for _ in range(2)],
            timeout=PATIENCE, distribution='roundrobin')
        self.addCleanup(self.client.close)
        self.servers = self.client._state.store.servers
        for server in self.servers:
            # This costs one connection, once.
            self.assertIs(server.lends(soon()), False)
            server._look(soon())
        for key in 'key', 'other':
            self.client.invalidate(key)
        self.client.invalidateDependencies('a')

    @contextlib.contextmanager
    def well(self):
        """Nothing costs a connection or changes a server's state."""
        before = self.client.getPools()
        with self.assertNoLogs('p01.memcache'):
            yield
        self.assertEqual(self.client.getPools(), before)
        for server in self.servers:
            self.assertEqual(
                (server.health.state, server.health.failures), ('up', 0))

    def test_factories_that_fail(self):
        with self.well():
            for _ in range(30):
                with self.assertRaises(KeyError):
                    self.client.getOrCreate('key', Factory(KeyError('no')))
            self.assertEqual(
                self.client.getOrCreate('key', Factory('good')), 'good')
            self.assertEqual(self.client.query('key'), 'good')

    def test_obsolete_values(self):
        factory = Factory()
        with self.well():
            for number in range(1, 4):
                for _ in range(4):
                    self.assertEqual(self.client.getOrCreate(
                        'other', factory, 60, None, ['a']), 'computed')
                self.assertEqual(factory.calls, number)
                self.client.invalidateDependencies('a')
