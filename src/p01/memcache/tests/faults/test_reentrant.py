# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Code that is called within an operation may use the same client.

Such are the handlers of the log, the subscribers of events, and finalizers.
"""

import contextlib
import gc
import itertools
import logging
import threading
import unittest
import weakref
from time import monotonic
from unittest import mock

from zope.event import subscribers

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IUnreadableValueEvent
from p01.memcache.tests.support.layers import Interruptions
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Interruptions)


TIMEOUT = 0.1
SLACK = 0.1


class UsingHandler(logging.Handler):
    """A log handler that counts the records in the cache."""

    def __init__(self, client, calls):
        super().__init__()
        self._client = client
        self._calls = calls

    def emit(self, record):
        self._calls.append(record.getMessage())
        self._client.set('last record', record.getMessage())


class Node:
    """An object that uses the client when it is collected."""

    def __init__(self, use):
        self.me = self
        self.use = use

    def __del__(self):
        self.use()


class Scenarios:

    timeout = TIMEOUT
    rounds = 80

    def setUp(self):
        keep_quiet(self)
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        self.client = self.make()
        self.addCleanup(self.client.close)
        self.calls = []

    def patience(self):
        return mock.patch.object(type(self.client), '_timeout', PATIENCE)

    def assertInTime(self, call, *args):
        """The operation and its callbacks end in time; callbacks are few."""
        for _ in range(3):
            start, before = monotonic(), len(self.calls)
            call(*args)
            took = monotonic() - start
            calls = len(self.calls) - before
            self.assertLess(calls, 6)
            if took < (1 + calls) * TIMEOUT + SLACK:
                return
        self.fail(f'took {took:.3f} s')

    def assertWorks(self):
        self.proxy.clear()
        self.proxy.release(drop=True)
        with self.patience():
            for number in range(10):
                self.assertTrue(self.client.set('key', number))
                self.assertEqual(self.client.query('key'), number)

    # The log

    def check_log(self, trouble):
        logger = logging.getLogger('p01.memcache')
        handler = UsingHandler(self.client, self.calls)
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        for debug in 0, 1:
            self.client.debug = debug
            self.proxy.accept()
            self.assertWorks()
            trouble()
            for call, *args in (
                    (self.client.query, 'key'),
                    (self.client.set, 'key', 1),
                    (self.client.queryMany, ['key', 'other']),
                    (self.client.getStatistics, )):
                with self.subTest(call.__name__, debug=debug):
                    self.assertInTime(call, *args)
        self.assertTrue(self.calls)
        self.proxy.accept()
        self.assertWorks()

    def test_log_of_a_server_that_stalls(self):
        self.check_log(lambda: setattr(self.proxy, 'fault', HOLD))

    def test_log_of_a_server_that_refuses(self):
        def trouble():
            self.proxy.refuse()
            self.proxy.cut()

        self.check_log(trouble)

    # Events

    @contextlib.contextmanager
    def subscribed(self, subscriber):
        def subscribe(event):
            if IUnreadableValueEvent.providedBy(event):
                self.calls.append(event.key)
                subscriber(event)

        subscribers.append(subscribe)
        try:
            yield
        finally:
            subscribers.remove(subscribe)

    def check_event(self, subscriber):
        with self.patience():
            self.client.set('broken', b'no pickle', raw=True)
            with self.subscribed(subscriber):
                self.assertIsNone(self.client.query('broken'))
                self.client.set('broken', b'no pickle', raw=True)
                self.assertEqual(self.client.queryMany(['broken']), {})
        self.assertEqual(self.calls, ['broken'] * 2)
        self.assertWorks()

    def test_a_subscriber_that_invalidates(self):
        self.check_event(lambda event: self.client.invalidate(event.key))

    def test_a_subscriber_that_reads_it_again(self):
        with self.assertNoLogs('p01.memcache', 'ERROR'):
            self.check_event(lambda event: self.client.query(event.key))

    def test_a_subscriber_when_the_server_stalls(self):
        self.client.set('broken', b'no pickle', raw=True)

        def stall(event):
            self.proxy.fault = HOLD
            self.client.query('key')

        with self.subscribed(stall):
            self.assertInTime(self.client.query, 'broken')
        self.assertEqual(self.calls, ['broken'])
        self.assertWorks()

    # Finalizers

    def check_collections(self, plant):
        """Collections within operations, here and there."""
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        # Existing objects need not be examined in each round.
        self.addCleanup(gc.unfreeze)
        gc.freeze()
        with self.patience():
            for number in itertools.count(1):
                key = f'key {number % 7}'
                gc.collect()
                gc.set_threshold(1 + number % 40, 1000, 1000)
                plant()
                start = monotonic()
                self.client.set(key, key)
                self.assertIn(self.client.query(key), (key, None))
                self.client.queryMany(['key 1', key])
                self.client.getOrCreate(f'computed {number}', lambda: 1)
                # No thread waits for ever.
                self.assertLess(monotonic() - start, PATIENCE / 2)
                if number == self.rounds:
                    break
        gc.set_threshold(700, 10, 10)
        gc.collect()  # the last finalizers need the client, too
        self.assertGreater(len(self.calls), self.rounds / 4)
        self.assertWorks()

    def use(self, reference=None):
        if threading.current_thread() is not threading.main_thread():
            return  # the test's own servers would wait for themselves
        with self.patience():
            self.client.set('used', 'used')
            self.assertIn(self.client.query('used'), ('used', None))
        self.calls.append('used')

    def test_finalizers(self):
        self.check_collections(lambda: Node(self.use))

    def test_weak_references(self):
        kept = []

        def plant():
            node = Node(lambda: None)
            kept.append(weakref.ref(node, self.use))

        self.check_collections(plant)


class PooledTest(Scenarios, unittest.TestCase):

    def make(self, **settings):
        return UltraMemcacheClient(
            [self.proxy.address], timeout=TIMEOUT, retries=3, delay=0,
            blacktime=0, **settings)


class ClassicTest(Scenarios, unittest.TestCase):

    level = 2

    def make(self):
        class Client(MemcacheClient):
            _timeout = TIMEOUT
            _retry = 0

        return Client([self.proxy.address])


class AloneTest(Scenarios, unittest.TestCase):
    """There is only one connection, which the operation may be using."""

    level = 2
    rounds = 30

    def make(self):
        return UltraMemcacheClient(
            [self.proxy.address], timeout=TIMEOUT, retries=3, delay=0,
            blacktime=0, maxPoolSize=1)

    @contextlib.contextmanager
    def patience(self):
        """Return the time for an operation that may wait for itself."""
        yield
