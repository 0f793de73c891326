# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Waits during which a signal handler runs for longer than the time left.

Handlers run in the main thread, which is also that of the tests.
"""

import functools
import itertools
import signal
import socket
import ssl
import threading
import time
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.faults.case import KeptLock
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.layers import Interruptions
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.tls import TLSServer
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.transport import connection
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Interruptions)


TIMEOUT = 0.1
SLACK = 0.1
LARGE = bytes(900_000)


class Endless(BaseException):
    """Ends a wait that would never end."""


class ClassicClient(MemcacheClient):

    _timeout = TIMEOUT
    _retry = 0


class SignalCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        self.spent = []

    def interrupt(self, call, *args, use=None):
        """Return what the call returns; a handler uses up its time.

        The handler also calls `use`. The time that all took, less that of the
        handler, is noted.
        """
        handled = []

        def handle(number, frame):
            if handled:
                raise Endless
            start = monotonic()
            handled.append(0)
            if use is not None:
                use()
            time.sleep(TIMEOUT)
            handled[0] = monotonic() - start

        former = signal.signal(signal.SIGALRM, handle)
        start = monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, TIMEOUT / 3, PATIENCE)
            result = call(*args)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
        self.spent.append(monotonic() - start - sum(handled))
        self.assertEqual(len(handled), 1, 'it did not wait')
        return result

    def assertInTime(self, scenario, *args):
        """One of three tries ends in time; all have the right result."""
        for _ in range(3):
            self.spent.clear()
            scenario(*args)
            took = max(self.spent)
            if took <= TIMEOUT + SLACK:
                return
        self.fail(f'took {took:.3f} s, without the handler')


class WaitCase(SignalCase):
    """Each wait is interrupted by a handler that does not use the client, and
    by one that does.
    """

    @property
    def address(self):
        return self.proxy.address

    def setUp(self):
        super().setUp()
        self.cache = self.client()
        self.fill()

    def client(self, *addresses):
        client = self.factory(list(addresses) or [self.address])
        self.addCleanup(client.close)
        return client

    def fill(self):
        with self.patience():
            for key in 'key', 'other':
                self.assertTrue(self.cache.set(key, 'value of ' + key))
            self.assertTrue(self.cache.set('large', LARGE, raw=True))

    def patience(self):
        """Give the client enough time for what is not measured."""
        return mock.patch.object(type(self.cache), '_timeout', PATIENCE)

    def use(self):
        self.assertRight('other')

    def release(self):
        self.proxy.clear()
        self.proxy.release()
        self.assertRight('key', 'other')

    def assertRight(self, *keys):
        with self.patience():
            for key in keys * 5:
                self.assertEqual(self.cache.query(key), 'value of ' + key)

    def check(self, wait, *args, use=None):
        for used in None, use or self.use:
            with self.subTest(uses_the_client=used is not None):
                self.assertInTime(wait, used, *args)


class Others:
    """Waits for something other than a reply."""

    def test_for_a_connection(self):
        def wait(use):
            with full_backlog() as address:
                self.cache = self.client(address)
                self.assertIsNone(self.interrupt(
                    self.cache.query, 'key', use=use))

        self.check(wait, use=lambda: self.assertIsNone(
            self.cache.query('other')))

    def test_for_a_name(self):
        stopping = threading.Event()
        self.addCleanup(stopping.set)

        def look_up(*args, flags=0, **kw):
            if not flags:
                stopping.wait(PATIENCE)
            raise socket.gaierror(socket.EAI_AGAIN, 'try again')

        def wait(use):
            self.cache = self.client('memcached.example:1')
            self.assertIsNone(self.interrupt(
                self.cache.query, 'key', use=use))

        with mock.patch.object(socket, 'getaddrinfo', look_up):
            self.check(wait, use=lambda: self.assertIsNone(
                self.cache.query('other')))

    def test_for_the_factory_of_another_thread(self):
        numbers = itertools.count()

        def wait(use):
            key = f'computed {next(numbers)}'
            computing, stopping = threading.Event(), threading.Event()

            def compute():
                computing.set()
                stopping.wait(PATIENCE)

            thread = threading.Thread(
                target=self.cache.getOrCreate, args=(key, compute))
            thread.start()
            self.assertTrue(computing.wait(PATIENCE))
            try:
                self.assertEqual(self.interrupt(
                    self.cache.getOrCreate, key, lambda: 'mine', use=use),
                    'mine')
            finally:
                stopping.set()
                thread.join(PATIENCE)

        self.check(wait)

    def test_for_the_factory_of_another_process(self):
        numbers = itertools.count()
        other = self.client()

        def wait(use):
            key = f'computed {next(numbers)}'
            found = []

            def compute():
                found.append(self.interrupt(
                    self.cache.getOrCreate, key, lambda: 'mine', use=use))

            other.getOrCreate(key, compute)
            self.assertEqual(found, ['mine'])

        self.check(wait)


class Replies:
    """Waits for replies."""

    def test_for_a_reply(self):
        def wait(use, fault, call, *args):
            self.proxy.once(fault)
            self.assertIsNone(self.interrupt(call, *args, use=use))
            self.release()

        for fault in HOLD, Fault(10, 'stall'):
            self.check(wait, fault, self.cache.query, 'key')
        self.check(wait, HOLD, self.cache.set, 'new', 'value')
        self.check(wait, HOLD, self.cache.invalidate, 'nothing')
        self.check(wait, Fault(500_000, 'stall'), self.cache.query, 'large')

    def test_for_a_dripping_reply(self):
        def wait(use):
            self.proxy.once(Fault(size=1, pause=0.02))
            self.assertIsNone(self.interrupt(
                self.cache.query, 'key', use=use))
            self.release()

        self.check(wait)

    def test_for_many_values(self):
        def wait(use):
            self.proxy.once(HOLD)
            self.assertEqual(self.interrupt(
                self.cache.queryMany, ['key', 'other'], use=use), {})
            self.release()

        self.check(wait)

    def test_for_a_server_that_does_not_read(self):
        large = bytes(8_000_000)

        def wait(use):
            # The handler may run while the request is being built: its own
            # request must pass.
            self.proxy.fault = DEAF

            def use_another():
                self.proxy.fault = None
                if use is not None:
                    use()

            self.assertIsNone(self.interrupt(
                self.cache.set, 'a', large, None, True, use=use_another))
            self.release()

        self.check(wait)


class PooledCase(WaitCase):

    def factory(self, addresses, **settings):
        return UltraMemcacheClient(addresses, **{
            'timeout': TIMEOUT, 'delay': 0, 'blacktime': 0, 'retries': 10 ** 6,
            **settings})


class PooledOthersTest(Others, PooledCase):

    def test_for_a_slot(self):
        self.cache.maxPoolSize = 1
        [server] = self.cache._state.store.servers

        def wait(use):
            taken = server.pool.take(soon())
            self.assertIsNone(self.interrupt(
                self.cache.query, 'key', use=use))
            server.pool.give(taken)
            self.release()

        self.check(wait, use=lambda: self.assertIsNone(
            self.cache.query('other')))

    def test_for_another_threads_delivery(self):
        # That thread delivers missed changes; no other one does.
        [server] = self.cache._state.store.servers

        def wait(use):
            server.undelivered.add(self.cache.buildKey('owed').encode())
            taken = server.undelivered._turn.take(soon())
            self.assertIsNone(self.interrupt(
                self.cache.query, 'owed', use=use))
            server.undelivered._turn.give(taken)
            self.assertIsNone(self.cache.query('owed'))
            self.release()

        self.check(wait)


class PooledTest(Replies, PooledCase):
    """As by default: the interpreter lock is kept, or not."""

    level = 2

    def test_for_several_servers(self):
        other = self.enterContext(FaultProxy(self.server.address))
        self.cache.servers = [self.address, other.address]
        keys = [f'key {number}' for number in range(20)]

        def wait(use):
            # Servers under suspicion would get less time.
            with self.patience():
                self.cache.queryMany(keys)
            self.proxy.once(HOLD)
            other.once(HOLD)
            [(_, one), (_, two)] = self.interrupt(
                self.cache.getStatistics, use=use)
            self.assertEqual(one, {'error': 'no reply in time'})
            self.assertEqual(two, {'error': 'no reply in time'})
            for proxy in self.proxy, other:
                proxy.clear()
                proxy.release()

        self.check(wait, use=lambda: self.cache.queryMany(keys))


class KeptTest(KeptLock, PooledTest):
    """The lock is kept for the beginning of each wait."""


class PlainTest(PooledTest):
    """Each wait is that of a Python socket."""

    def setUp(self):
        self.enterContext(mock.patch.object(
            connection, 'can_keep_lock', lambda sock: False))
        super().setUp()


class TLSTest(Replies, PooledCase):

    level = 2

    @functools.cached_property
    def files(self):
        return self.enterContext(Certificates())

    @functools.cached_property
    def address(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files.server_chain, self.files.server_key)
        return self.enterContext(
            TLSServer(self.proxy.address, context)).tls_address

    def factory(self, addresses, **settings):
        return super().factory(addresses, caFile=self.files.ca, **settings)

    def test_for_a_handshake(self):
        silent = self.enterContext(ScriptedServer(default=b'', raw=True))

        def wait(use):
            self.cache = self.client(f'tls://{silent.address}')
            self.assertIsNone(self.interrupt(
                self.cache.query, 'key', use=use))

        self.check(wait, use=lambda: self.assertIsNone(
            self.cache.query('other')))


class ClassicTest(Replies, Others, WaitCase):
    """A handler takes the connection away from the operation that waits."""

    level = 2
    factory = ClassicClient

    # Copying such large data takes too long.
    test_for_a_server_that_does_not_read = None
