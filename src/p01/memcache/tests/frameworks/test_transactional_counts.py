# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a transactional client counts."""

import gc
import unittest

import transaction

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


class TransactionalCountsTest(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        transaction.abort()
        self.addCleanup(transaction.abort)
        server = self.enterContext(EmbeddedServer())
        self.client = UltraMemcacheClient([server.address], timeout=5)
        self.addCleanup(self.client.close)
        self.cache = Transactional(self.client)

    def assertCounts(self, **expected):
        """The counts are these; bytes and seconds are not compared."""
        counts = self.cache.getCounts()
        self.assertEqual(
            {name: number for name, number in counts.items() if number
             and name not in ('bytesRead', 'bytesStored', 'seconds')},
            expected)

    def test_a_change_counts_when_it_is_asked_for(self):
        for end in transaction.commit, transaction.abort:
            transaction.begin()
            self.cache = Transactional(self.client)
            self.cache.set('key', 1)
            self.cache.setMany({'a': 1, 'b': 2})
            self.cache.invalidate('other')
            self.assertCounts(stored=3, invalidated=1)
            end()
            self.assertCounts(stored=3, invalidated=1)

    def test_a_savepoint(self):
        transaction.begin()
        self.cache.set('key', 1)
        savepoint = transaction.savepoint()
        self.cache.set('key', 2)
        savepoint.rollback()
        self.assertCounts(stored=2)
        self.assertEqual(self.cache.query('key'), 1)
        transaction.commit()
        self.assertCounts(stored=2, hits=1)

    def test_what_the_transaction_itself_has_changed_is_read(self):
        transaction.begin()
        self.cache.set('key', 1)
        self.cache.query('key')
        self.cache.query('other')
        self.cache.queryMany(['key', 'other'])
        self.cache.invalidate('key')
        self.cache.query('key')
        self.assertCounts(stored=1, hits=2, misses=3, invalidated=1)

    def test_computed_after_a_change(self):
        """It is stored after the commit, and counts once."""
        transaction.begin()
        self.cache.set('other', 1)
        self.cache.getOrCreate('key', lambda: 'value')
        self.cache.getOrCreate('key', lambda: 'value')
        self.assertCounts(stored=2, misses=1, computed=1, hits=1)
        transaction.commit()
        self.assertEqual(self.client.query('key'), 'value')
        self.assertCounts(stored=2, misses=1, computed=1, hits=1)

    def test_many_computed_after_a_change(self):
        transaction.begin()
        self.cache.set('other', 1)
        self.cache.getOrCreateMany(['a', 'b'], dict.fromkeys)
        self.assertCounts(stored=3, misses=2, computed=2)

    def test_computed_from_what_only_the_transaction_sees(self):
        """It is for the transaction alone, and not stored."""
        transaction.begin()
        self.cache.invalidate('key')
        self.cache.getOrCreate('key', lambda: 'value')
        self.assertCounts(misses=1, computed=1, invalidated=1)
        transaction.commit()
        self.assertIsNone(self.client.query('key'))
        self.assertCounts(misses=1, computed=1, invalidated=1)

    def test_a_factory_that_changes_something(self):
        def factory():
            self.cache.set('other', 1)
            return 'value'

        transaction.begin()
        self.cache.getOrCreate('key', factory)
        self.assertCounts(stored=2, misses=1, computed=1)
        transaction.commit()
        self.assertEqual(self.client.query('key'), 'value')

    def test_immediate(self):
        """It counts with its client, as nobody would see it elsewhere."""
        self.cache.immediate().set('key', 1)
        self.cache.immediate().query('key')
        self.assertCounts(stored=1, hits=1)
        self.assertIsNot(self.cache.immediate(), self.cache)
        self.assertEqual(self.cache.getRegions(), [])
        # A change of a setting keeps it that way.
        self.client.timeout = 4
        self.cache.immediate().query('key')
        self.assertCounts(stored=1, hits=2)

    def test_immediate_of_a_region(self):
        region = self.cache.region('menus')
        region.immediate().query('key')
        del region
        gc.collect()
        self.assertEqual(self.cache.getRegions(), [])
        region = self.cache.region('menus')
        region.immediate().region('top').query('key')
        top = region.immediate().region('top')
        top.query('key')
        self.assertEqual(self.cache.getRegions(), [('menus', region)])
        self.assertEqual(region.getRegions(), [('top', top)])
        self.assertEqual(top.getCounts()['misses'], 1)

    def test_they_count_apart(self):
        self.client.set('key', 1)
        self.client.region('menus').set('key', 1)
        self.assertCounts()
