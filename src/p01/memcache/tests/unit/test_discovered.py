# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A client whose servers are found, without a server or a name service."""

import unittest
from unittest import mock

from p01.memcache.errors import MemcacheError
from p01.memcache.membership import assembly
from p01.memcache.membership.blueprint import Blueprint
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.waits import until
from p01.memcache.transport.address import parse as address
from p01.memcache.uclient import UltraMemcacheClient


class DiscoveredTest(unittest.TestCase):

    def setUp(self):
        self.listed = ['a', 'b']
        self.asked = 0
        self.enterContext(mock.patch.object(assembly, 'find', self.find))
        keep_quiet(self)

    def find(self, source, deadline, context, account):
        self.asked += 1
        return [address(text) for text in self.listed]

    def connect(self, **settings):
        return UltraMemcacheClient(['dns://x'], refresh=0.1, **settings)

    def look(self, client):
        """Have the client look, and wait until it has looked."""
        asked, store = self.asked, client._state.base
        until(lambda: store.current(0) and self.asked > asked + 1)

    def test_a_list_that_cannot_be_used_once(self):
        client = self.connect()
        self.listed = ['a', 'b', 'c']
        with mock.patch.object(Blueprint, 'build', side_effect=MemoryError):
            self.look(client)
        self.assertEqual(len(client._state.base.servers), 2)
        self.look(client)
        self.assertEqual(len(client._state.base.servers), 3)

    def test_all_of_them_are_drained(self):
        store = self.connect(drained=['a', 'b'])._state.base
        with self.assertRaisesRegex(MemcacheError, 'are drained'):
            store.get(b'key', 0)
