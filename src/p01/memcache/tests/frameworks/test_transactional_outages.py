# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Transactions while memcached is down, hangs, or comes back."""

import os
import subprocess
import sys
import threading
import unittest
from time import monotonic
from unittest import mock

import transaction

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IServerDownEvent
from p01.memcache.log import logger
from p01.memcache.tests.frameworks.resource import Resource
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import until
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


TIMEOUT = 0.3

# Seconds on top of it that a busy machine may take.
SLACK = 0.5


class ClassicClient(MemcacheClient):

    _timeout = TIMEOUT


class Classic:

    client_class = ClassicClient
    settings = {}  # noqa: RUF012


class OutageCase(ClientCase):

    client_class = UltraMemcacheClient
    settings = {'timeout': TIMEOUT}  # noqa: RUF012

    def factory(self, **settings):
        return self.client_class(**{**self.settings, **settings})

    def setUp(self):
        transaction.abort()
        self.addCleanup(transaction.abort)
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        self.observer = UltraMemcacheClient([self.server.address])
        self.addCleanup(self.observer.close)
        super().setUp()
        self.cache = Transactional(self.client)
        self.observer.setMany({'key': 0, 'other': 0})

    def makeClient(self, **settings):
        return super().makeClient(
            **{'servers': [self.proxy.address], 'debug': 1, **settings})

    def change(self, cache=None):
        """Change something, which takes several batches."""
        cache = cache or self.cache
        cache.set('key', 1)
        cache.setMany({number: number for number in range(10)})
        for _ in range(4):
            cache.add('new', 1)
            cache.append('raw', b'x')
            cache.increment('count', initial=1)
        cache.invalidate('other')

    def commit(self):
        """Commit; it takes one time-out at most, and raises nothing."""
        database = Resource()
        began = monotonic()
        transaction.commit()
        self.assertLess(monotonic() - began, TIMEOUT + SLACK)
        self.assertEqual(database.phases[-1], 'tpc_finish')


@variant('Classic', Classic)
class OutageTest(OutageCase, unittest.TestCase):

    def test_it_hangs_at_the_commit(self):
        for fault in DEAF, HOLD:
            with self.subTest(fault.side):
                transaction.begin()
                self.change()
                self.proxy.fault = fault
                with self.assertLogs(logger):
                    self.commit()
                self.proxy.clear()
                self.proxy.cut()

    def test_it_hangs_at_the_abort(self):
        transaction.begin()
        self.change()
        Resource()
        self.cache.getOrCreate('computed', lambda: 1)
        self.proxy.fault = DEAF
        began = monotonic()
        transaction.abort()
        self.assertLess(monotonic() - began, SLACK)

    def test_it_refuses(self):
        with refusing() as address:
            self.client.servers = [address]
            transaction.begin()
            with self.assertLogs(logger):
                self.cache.set('key', 1)
                self.cache.add('new', 1)
                self.cache.invalidate('other')
                self.cache.invalidateAll()
                self.cache.set('key', 2)
                self.assertEqual(self.cache.query('key'), 2)
                self.cache.getOrCreate('computed', lambda: 3)
                self.commit()

    def test_a_connection_that_is_closed(self):
        """A used connection may have ended meanwhile: that is no failure."""
        self.assertEqual(self.cache.query('key'), 0)
        transaction.begin()
        self.cache.set('key', 1)
        self.cache.invalidate('other')
        self.proxy.cut()
        transaction.commit()
        self.assertEqual(
            self.observer.queryMany(['key', 'other']), {'key': 1})

    def test_a_handler_of_the_log_that_fails(self):
        with refusing() as address:
            self.client.servers = [address]
            transaction.begin()
            self.change()
            with mock.patch.object(
                    logger, 'warning', side_effect=ZeroDivisionError):
                self.commit()

    def test_reads_within(self):
        """What the transaction has changed is seen without a server."""
        transaction.begin()
        self.cache.set('key', 1)
        self.cache.invalidate('other')
        self.proxy.refuse()
        self.proxy.cut()
        self.assertEqual(self.cache.query('key'), 1)
        self.assertEqual(self.cache.query('other', default=MISSING), MISSING)
        self.assertEqual(
            self.cache.queryMany(['key', 'other', 'more']), {'key': 1})
        # An operation that needs to know more fails as usual.
        self.assertIsNone(self.cache.add('new', 1))
        self.assertIsNone(self.cache.increment('new'))
        self.assertEqual(self.cache.query('new', default=MISSING), MISSING)

    def test_computing_without_a_server(self):
        transaction.begin()
        Resource()
        self.proxy.fault = DEAF
        began = monotonic()
        self.assertEqual(self.cache.getOrCreate('key', lambda: 1), 1)
        self.assertEqual(self.cache.getOrCreate(
            'page', lambda: 1, dependencies=['x']), 1)
        self.assertLess(monotonic() - began, 2 * TIMEOUT + SLACK)
        self.commit()

    def test_computed_before_a_commit(self):
        """Without a server, threads share what one of them computes; but
        not with those that come after a commit has invalidated it.
        """
        changed, entered, committed, leave = [
            threading.Event() for _ in range(4)]

        def old():
            entered.set()
            leave.wait(10)
            return 'old'

        def first(_):
            changed.wait(10)
            return self.cache.getOrCreate('page', old)

        def second(_):
            with transaction.manager:
                self.cache.invalidate('page')
                changed.set()
                entered.wait(10)
            committed.set()
            return self.cache.getOrCreate('page', lambda: 'new')

        def third(_):
            committed.wait(10)
            leave.wait(TIMEOUT / 3)
            leave.set()

        with refusing() as address:
            self.client.servers = [address]
            self.assertEqual(
                at_once(lambda work: work(None), [first, second, third]),
                ['old', 'new', None])

    def test_it_is_interrupted(self):
        """The keys of what has not been sent are owed."""
        transaction.begin()
        self.change()
        with (mock.patch.object(
                type(self.client._state.base), 'run_many',
                side_effect=KeyboardInterrupt),
              mock.patch.object(
                  type(self.client._state.base), 'owe') as owe,
              self.assertRaises(KeyboardInterrupt)):
            transaction.commit()
        owed = {call.args[-1].decode() for call in owe.mock_calls}
        for key in 'key', 'other', 'new', 'count', 7:
            self.assertIn(self.cache.buildKey(key), owed)

    def test_threads(self):
        """64 commits at once while it hangs."""
        barrier = threading.Barrier(64)

        def work(number):
            transaction.begin()
            self.cache.set('key', number)
            self.cache.invalidate('other')
            barrier.wait(10)
            self.proxy.fault = DEAF
            began = monotonic()
            transaction.commit()
            return monotonic() - began

        self.assertLess(max(at_once(work, range(64))), TIMEOUT + 2 * SLACK)


class OwedTest(OutageCase, unittest.TestCase):
    """The pooled client knows what it could not deliver."""

    def test_it_hangs_at_the_commit(self):
        transaction.begin()
        self.cache.set('key', 1)
        self.cache.invalidate('other')
        self.proxy.fault = DEAF
        self.commit()
        self.assertEqual(self.observer.query('other'), 0)
        self.proxy.clear()
        self.proxy.cut()
        until(lambda: self.cache.set('again', 1))
        # The old value is not seen, and removed.
        self.assertEqual(self.cache.query('other', default=MISSING), MISSING)
        self.assertEqual(self.cache.query('key', default=MISSING), MISSING)
        self.assertEqual(
            self.observer.queryMany(['key', 'other', 'again']), {'again': 1})

    def test_it_is_down_at_the_commit(self):
        self.client.delay = self.client.blacktime = 0.05
        transaction.begin()
        self.cache.invalidate('other')
        self.cache.set('key', 1)
        self.proxy.refuse()
        self.proxy.cut()
        self.commit()

        def is_down():
            with transaction.manager:
                self.cache.invalidate('more')
            return any(map(IServerDownEvent.providedBy, self.events))

        until(is_down)
        self.proxy.accept()
        until(lambda: self.cache.query('again', default=MISSING) is MISSING
              and self.client.set('again', 1))
        self.assertEqual(self.client.query('other', default=MISSING), MISSING)
        self.assertEqual(self.observer.queryMany(['key', 'other']), {})


GREENLETS = '''
from gevent import monkey
monkey.patch_all()
import sys
import gevent
import transaction
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient

plain = UltraMemcacheClient([sys.argv[1]], timeout=5)
cache = Transactional(plain)
plain.invalidateAll()

def work(number):
    with transaction.manager:
        cache.set(number, number)
        cache.set('shared', number)
        gevent.sleep(0.01)
        assert cache.query('shared') == number
        assert plain.query('shared') is None
        gevent.sleep(0.05)

jobs = [gevent.spawn(work, number) for number in range(50)]
gevent.joinall(jobs, timeout=10, raise_error=True)
assert plain.queryMany(range(50)) == {n: n for n in range(50)}

def reads(number):
    with transaction.manager:
        return cache.getOrCreate('computed', factory)

calls = []

def factory():
    calls.append(1)
    gevent.sleep(0.05)
    return 'value'

jobs = [gevent.spawn(reads, number) for number in range(50)]
gevent.joinall(jobs, timeout=10, raise_error=True)
assert {job.value for job in jobs} == {'value'}
assert len(calls) == 1, calls

# A greenlet's time-out within its transaction.
def late():
    transaction.begin()
    cache.set('late', 1)
    try:
        with gevent.Timeout(0.01):
            gevent.sleep(1)
    except gevent.Timeout:
        transaction.abort()

gevent.spawn(late).join()
assert plain.query('late') is None
print('right')
'''


class GreenletTest(unittest.TestCase):

    def test_each_has_its_transaction(self):
        with EmbeddedServer() as server:
            done = subprocess.run(
                [sys.executable, '-c', GREENLETS, server.address],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ('right\n', ''))
