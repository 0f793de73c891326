# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""zope.ramcache's caches in memcached; and its own tests of caches."""

import gc
import threading
import weakref

import transaction
import zope.component
import zope.component.testing
from plone.memoize.ram import RAMCacheAdapter
from zope.configuration import xmlconfig
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject
from zope.ramcache.interfaces import ICache
from zope.ramcache.interfaces.ram import IRAMCache
from zope.ramcache.ram import RAMCache
from zope.ramcache.tests import test_icache

from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.ramcache import MemcacheRAMCache
from p01.memcache.ramcache.interfaces import IMemcacheRAMCache
from p01.memcache.tests.frameworks.utility import UtilityTestCase
from p01.memcache.transactional import Transactional


class Place:
    """An object to which there can be weak references."""

    def __repr__(self):
        return 'a place'


class CacheTestCase(UtilityTestCase):

    def setUp(self):
        super().setUp()
        self.cache = MemcacheRAMCache()


class ICacheTest(CacheTestCase, test_icache.BaseICacheTest):
    """zope.ramcache's test of every cache."""

    def _Test__new(self):
        return self.cache


class CacheTest(CacheTestCase):

    def test_interfaces(self):
        verifyObject(ICache, self.cache)
        verifyObject(IRAMCache, self.cache)
        verifyObject(IMemcacheRAMCache, self.cache)
        verifyClass(IRAMCache, MemcacheRAMCache)

    def test_the_same_as_of_a_RAMCache(self):
        missing = object()
        for cache in RAMCache(), self.cache:
            with self.subTest(cache):
                key, other = {'b': 1, 'a': 'x'}, {'a': 'y'}
                self.assertIs(cache.query('path', key, missing), missing)
                cache.set('value', 'path', {'a': 'x', 'b': 1})
                self.assertEqual(cache.query('path', key), 'value')
                self.assertIsNone(cache.query('path'))
                cache.set(None, 'path')
                self.assertIsNone(cache.query('path', None, missing))
                self.assertIsNone(cache.query('path', {}, missing))
                cache.set('another', ('path', 1), other)
                cache.invalidate('path', key)
                self.assertIs(cache.query('path', key, missing), missing)
                self.assertIsNone(cache.query('path', None, missing))
                cache.set('value', 'path', key)
                cache.invalidate('path')
                self.assertIs(cache.query('path', key, missing), missing)
                self.assertIs(cache.query('path', None, missing), missing)
                self.assertEqual(cache.query(('path', 1), other), 'another')
                cache.invalidate('nothing there')
                cache.invalidate('nothing there', key)
                cache.invalidateAll()
                self.assertIs(
                    cache.query(('path', 1), other, missing), missing)
                cache.update(1, 2, 3)
                self.assertEqual(
                    (cache.maxEntries, cache.maxAge, cache.cleanupInterval),
                    (1, 2, 3))
                cache.update()
                self.assertEqual(cache.maxEntries, 1)

    def test_the_same_statistics_as_of_a_RAMCache(self):
        found = []
        for cache in RAMCache(), self.cache:
            cache.set(42, 'one', {'foo': 'bar'})
            cache.set(43, 'one', {'foo': 'baz'})
            cache.set('x' * 1000, 'two')
            cache.query('one')
            cache.query('one', {'foo': 'bar'})
            cache.query('one', {'foo': 'bar'})
            cache.query('two')
            report = cache.getStatistics()
            for numbers in report:
                self.assertGreater(numbers.pop('size'), 0)
            found.append(report)
        self.assertEqual(*found)
        self.assertEqual(found[1], (
            {'path': 'one', 'hits': 2, 'misses': 1, 'entries': 2},
            {'path': 'two', 'hits': 1, 'misses': 0, 'entries': 1}))

    def test_statistics_tell_what_memcached_has(self):
        self.cache.set('x' * 100, 'one')
        self.cache.set('y' * 100, 'two')
        self.cache.invalidate('one')
        one, two = self.cache.getStatistics()
        self.assertEqual((one['entries'], one['size']), (0, 0))
        self.assertEqual(two['entries'], 1)
        self.assertGreater(two['size'], 100)
        self.cache.invalidateAll()
        self.assertEqual(self.cache.getStatistics(), ())

    def test_statistics_are_bounded(self):
        self.cache.update(maxEntries=150)
        for number in range(300):
            self.cache.query(f'path{number:03}')
            self.cache.set(number, f'path{number:03}')
        report = self.cache.getStatistics()
        self.assertEqual(len(report), 150)
        self.assertEqual(report[0]['path'], 'path150')
        self.assertEqual(sum(numbers['entries'] for numbers in report), 150)

    def test_other_processes_and_names(self):
        self.cache.set('value', 'path', {'a': 1})
        self.assertEqual(MemcacheRAMCache().query('path', {'a': 1}), 'value')
        other = MemcacheRAMCache('other')
        self.assertIsNone(other.query('path', {'a': 1}))
        other.set('theirs', 'path')
        other.invalidate('path')
        other.invalidateAll()
        self.assertEqual(self.cache.query('path', {'a': 1}), 'value')

    def test_named_client(self):
        cache = MemcacheRAMCache(cacheName='pages')
        with self.assertRaises(zope.component.ComponentLookupError):
            cache.query('path')
        zope.component.provideUtility(self.client, IMemcacheClient, 'pages')
        self.assertIsNone(cache.query('path'))

    def test_maxAge(self):
        lifetimes = []
        original = self.client.set

        def set(key, data, lifetime, **kw):
            lifetimes.append(lifetime)
            return original(key, data, lifetime, **kw)

        self.client.set = set
        self.cache.set(1, 'path')
        self.cache.update(maxAge=5)
        self.cache.set(1, 'path')
        self.cache.update(maxAge=0)
        self.cache.set(1, 'path')
        self.assertEqual(lifetimes, [3600, 5, 0])

    def test_wrong_value(self):
        with self.assertRaises(SerializationError):
            self.cache.set(lambda: None, 'path')

    def test_down(self):
        self.cache.set('value', 'path')
        self.server.stop()
        with self.assertLogs('p01.memcache', 'WARNING'):
            self.assertEqual(self.cache.query('path', None, 'none'), 'none')
            self.cache.set('value', 'path')
            self.cache.invalidate('path')
            self.cache.invalidate('path', {'a': 1})
            [numbers] = self.cache.getStatistics()
            self.cache.invalidateAll()
        self.assertEqual(
            numbers, {'path': 'path', 'hits': 0, 'misses': 1, 'size': 0,
                      'entries': 0})

    def test_threads(self):
        self.cache.update(maxEntries=20)
        errors = []

        def work(number):
            try:
                for step in range(30):
                    path = f'path{(number + step) % 40}'
                    self.cache.set(path, path, {'k': step % 3})
                    found = self.cache.query(path, {'k': step % 3}, path)
                    if found != path:
                        errors.append(found)
                    if step % 10 == 9:
                        self.cache.invalidate(path)
                        self.cache.getStatistics()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])

    def test_plone_memoize(self):
        cache = RAMCacheAdapter(self.cache, 'shop.prices')
        with self.assertRaises(KeyError):
            cache['apples']
        cache['apples'] = 0.5
        self.assertEqual(cache['apples'], 0.5)
        self.assertIsNone(cache.get('pears'))
        self.cache.invalidate('shop.prices')
        self.assertIsNone(cache.get('apples'))

    def test_transactional(self):
        zope.component.provideUtility(
            Transactional(self.client), IMemcacheClient, 'transactional')
        cache = MemcacheRAMCache(cacheName='transactional')
        self.addCleanup(transaction.abort)
        self.cache.set('old', 'path')
        transaction.begin()
        cache.invalidate('path')
        self.assertIsNone(cache.query('path'))
        self.assertEqual(self.cache.query('path'), 'old')
        cache.set('new', 'path')
        self.assertEqual(cache.query('path'), 'new')
        self.assertEqual(self.cache.query('path'), 'old')
        transaction.commit()
        self.assertEqual(self.cache.query('path'), 'new')
        transaction.begin()
        cache.invalidateAll()
        transaction.abort()
        self.assertEqual(self.cache.query('path'), 'new')

    def test_zcml(self):
        xmlconfig.string('''
            <configure xmlns="http://namespaces.zope.org/zope">
              <include package="p01.memcache.ramcache" />
            </configure>''')
        cache = zope.component.getUtility(IRAMCache)
        self.assertIsInstance(cache, MemcacheRAMCache)
        cache.set('value', 'path')
        self.assertEqual(cache.query('path'), 'value')


class StrictCacheTest(CacheTest):

    keyScheme = 'strict'

class ReferenceTest(CacheTestCase):

    def test_statistics_keep_no_object(self):
        ob = Place()
        self.cache.set(1, ob)
        self.cache.query(ob)
        [numbers] = self.cache.getStatistics()
        self.assertEqual(numbers['path'], 'a place')
        reference = weakref.ref(ob)
        del ob
        gc.collect()
        self.assertIsNone(reference())
