# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The backend of dogpile.cache, by dogpile's own suite and others."""

import sys
import threading
import time
import types
import unittest
from unittest import mock

import transaction
import zope.component
import zope.component.testing
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.api import CachedValue

from p01.memcache.dogpile import Backend
from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.frameworks.utility import UtilityTestCase
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


class _Mark:

    def time_intensive(self, test):
        test.is_slow = True
        return test


# The suite is written for pytest, of which it needs no more than this.
with mock.patch.dict(sys.modules, pytest=types.SimpleNamespace(mark=_Mark())):
    from dogpile.testing import fixtures


class SuiteTestCase(unittest.TestCase):
    """Runs a suite of dogpile's, whose methods are those of pytest."""

    layer = MemcachedLayer
    level = 2
    backend = 'p01.memcache'
    config_args = {'arguments': {'name': ''}}
    serializer = 'pickle'

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)
        client = UltraMemcacheClient(
            [self.layer.address], serializer=self.serializer)
        self.addCleanup(client.close)
        client.invalidateAll()
        zope.component.provideUtility(client, IMemcacheClient)
        self.setup_class()
        self.addCleanup(self.teardown_method, None)


def load_tests(loader, tests, pattern):
    """Leave out what takes seconds, but once."""
    thorough = BackendTest, MutexTest
    return unittest.TestSuite(
        test for case in tests for test in case
        if type(test) in thorough or not hasattr(
            getattr(test, test.id().rpartition('.')[2]), 'is_slow'))


class BackendTest(SuiteTestCase, fixtures._GenericBackendTestSuite):
    pass


class JSONClientTest(BackendTest):

    serializer = 'json'

    def test_backend_set_get_value(self):
        backend = self._backend()
        with self.assertRaises(SerializationError):
            backend.set_serialized('key', b'bytes')

    test_backend_delete = test_backend_set_get_value


class LocalMutexTest(BackendTest):

    config_args = {'arguments': {'distributed_lock': False}}


class ShortLockTest(BackendTest):

    config_args = {'arguments': {'lock_timeout': 1}}


class SerializerTest(fixtures._GenericSerializerTestSuite, BackendTest):
    pass


class MutexTest(SuiteTestCase, fixtures._GenericMutexTestSuite):
    pass


class RegionTest(UtilityTestCase):

    def region(self, **arguments):
        return make_region().configure('p01.memcache', arguments=arguments)

    def test_found_by_its_entry_point(self):
        self.assertIsInstance(self.region().backend, Backend)

    def test_clients(self):
        client = UltraMemcacheClient(
            [self.server.address], namespace='given')
        self.addCleanup(client.close)
        self.region(client=client).set('key', 'given')
        named = UltraMemcacheClient([self.server.address], namespace='named')
        self.addCleanup(named.close)
        with self.assertRaises(zope.component.ComponentLookupError):
            self.region(name='named').set('key', 'named')
        zope.component.provideUtility(named, IMemcacheClient, 'named')
        self.region(name='named').set('key', 'named')
        self.region().set('key', 'unnamed')
        self.assertEqual(self.region(client=client).get('key'), 'given')
        self.assertEqual(self.region(name='named').get('key'), 'named')
        self.assertEqual(self.region().get('key'), 'unnamed')

    def test_configured_by_text(self):
        region = make_region().configure_from_config({
            'cache.backend': 'p01.memcache',
            'cache.expiration_time': '60',
            'cache.arguments.lifetime': '120',
            'cache.arguments.distributed_lock': 'false',
            'cache.arguments.lock_timeout': '5',
        }, 'cache.')
        with mock.patch.object(
                self.client, 'set', wraps=self.client.set) as set_:
            region.set('key', 'value')
        self.assertEqual(set_.call_args.args[2], 120)
        self.assertFalse(region.backend.has_lock_timeout())

    def test_wrong_arguments(self):
        for timeout in 0, -1:
            with self.assertRaisesRegex(ValueError, 'lock_timeout'):
                Backend({'lock_timeout': timeout})
        with self.assertRaisesRegex(ValueError, 'lifetime'):
            self.region(lifetime=-1).set('key', 'value')

    def test_lifetime(self):
        for method, args in (
                ('set', ('a', CachedValue(1, {}))),
                ('set_serialized', ('a', b'1'))):
            with mock.patch.object(
                    self.client, 'set', wraps=self.client.set) as set_:
                getattr(Backend({'lifetime': 7}), method)(*args)
            self.assertEqual(set_.call_args.args[2], 7)
        for method, args in (
                ('set_multi', ({'a': CachedValue(1, {})},)),
                ('set_serialized_multi', ({'a': b'1'},))):
            with mock.patch.object(
                    self.client, 'setMany', wraps=self.client.setMany) as set_:
                getattr(Backend({'lifetime': 7}), method)(*args)
            self.assertEqual(set_.call_args.args[1], 7)

    def test_plain_data_for_every_serializer(self):
        region = self.region()
        region.set('key', 'value')
        value, metadata = self.client.query('key')
        self.assertEqual(value, 'value')
        self.assertIs(type(self.client.query('key')), list)
        self.assertIs(type(region.backend.get('key')), CachedValue)

    def test_what_is_none_of_its_own_is_a_miss(self):
        backend = Backend({})
        for other in 'text', b'bytes', 5, [1, 2, 3], {'a': 1}:
            self.client.set('key', other)
            self.assertIs(backend.get('key'), NO_VALUE)
        self.client.set('key', [1, {}])
        self.assertIs(backend.get_serialized('key'), NO_VALUE)
        self.assertEqual(backend.get_multi(iter(['key', 'other'])),
                         [CachedValue(1, {}), NO_VALUE])
        self.assertEqual(backend.get_serialized_multi(iter(['key'])),
                         [NO_VALUE])

    def test_none_is_a_value(self):
        region = self.region()
        region.set('key', None)
        self.assertIsNone(region.get('key'))

    def test_down(self):
        region = self.region()
        region.set('key', 'value')
        self.server.stop()
        calls = []

        def create():
            calls.append(1)
            return 'computed'

        with self.assertLogs('p01.memcache', 'WARNING'):
            self.assertIs(region.get('key'), NO_VALUE)
            self.assertEqual(region.get_multi(['key']), [NO_VALUE])
            self.assertEqual(region.get_or_create('key', create), 'computed')
            region.set_multi({'key': 1})
            region.delete('key')
            region.delete_multi(['key'])
            self.assertFalse(region.key_is_locked('key'))
        self.assertEqual(calls, [1])


class MutexesTest(UtilityTestCase):
    """Mutexes of two processes: each has a backend of its own."""

    def mutex(self, timeout=60):
        return Backend({'lock_timeout': timeout}).get_mutex('key')

    def test_exclude_each_other(self):
        one, two = self.mutex(), self.mutex()
        self.assertTrue(one.acquire())
        self.assertFalse(two.acquire(False))
        self.assertTrue(two.locked())
        one.release()
        self.assertFalse(two.locked())
        begin = time.monotonic()
        self.assertTrue(two.acquire(False))
        self.assertLess(time.monotonic() - begin, 0.5)
        two.release()

    def test_waits(self):
        one, two = self.mutex(), self.mutex()
        one.acquire()
        acquired = threading.Event()

        def wait():
            two.acquire()
            acquired.set()
            two.release()

        thread = threading.Thread(target=wait)
        thread.start()
        self.assertFalse(acquired.wait(0.1))
        one.release()
        self.assertTrue(acquired.wait(PATIENCE))
        thread.join()

    def test_ends_by_itself(self):
        one, two = self.mutex(1), self.mutex(1)
        one.acquire()
        begin = time.monotonic()
        self.assertTrue(two.acquire())
        self.assertGreater(time.monotonic() - begin, 0.9)
        one.release()  # late: it is that of the other
        self.assertTrue(two.locked())
        self.assertFalse(self.mutex(1).acquire(False))
        two.release()
        self.assertFalse(two.locked())

    def test_in_a_transaction(self):
        transactional = Transactional(self.client)
        transaction.begin()
        self.addCleanup(transaction.abort)
        mutex = Backend({'client': transactional}).get_mutex('key')
        mutex.acquire()
        self.assertFalse(self.mutex().acquire(False))
        mutex.release()
        self.assertTrue(self.mutex().acquire(False))

    def test_interrupted(self):
        one, two = self.mutex(), self.mutex()
        one.acquire()
        with mock.patch('time.sleep', side_effect=KeyboardInterrupt), \
                self.assertRaises(KeyboardInterrupt):
            two.acquire()
        one.release()
        self.assertTrue(two.acquire(False))
        two.release()

    def test_processes_compute_once(self):
        calls = []

        def create():
            calls.append(1)
            time.sleep(0.2)
            return 'value'

        regions = [
            make_region().configure('p01.memcache') for _ in range(4)]
        self.assertEqual(
            at_once(lambda region: region.get_or_create('key', create),
                    regions * 4), ['value'] * 16)
        self.assertEqual(calls, [1])

    def test_down(self):
        self.server.stop()
        one, two = self.mutex(), self.mutex()
        with self.assertLogs('p01.memcache', 'WARNING'):
            self.assertTrue(one.acquire())
            self.assertTrue(two.acquire(False))
            # The threads of one process still exclude each other.
            self.assertFalse(one.acquire(False))
            self.assertTrue(one.locked())
            one.release()
            two.release()
            self.assertFalse(one.locked())

    def test_stops_meanwhile(self):
        one = self.mutex()
        one.acquire()
        self.server.stop()
        with self.assertLogs('p01.memcache', 'WARNING'):
            one.release()
            self.assertTrue(one.acquire(False))
            one.release()
