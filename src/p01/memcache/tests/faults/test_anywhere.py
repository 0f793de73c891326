# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Operations that are interrupted, or re-entered, at each of their steps."""

import contextlib
import gc
import itertools
import random
import socket
import sys
import threading
import time
import traceback
import unittest
import warnings
from time import monotonic
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ConnectError
from p01.memcache.errors import LocalError
from p01.memcache.errors import ServerDown
from p01.memcache.health.health import Health
from p01.memcache.tests.support.anywhere import act_at
from p01.memcache.tests.support.anywhere import in_a_thread
from p01.memcache.tests.support.layers import Interruptions
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.storm import Storm
from p01.memcache.tests.support.storm import Struck
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.threads.turn import Turn
from p01.memcache.transport.address import parse
from p01.memcache.transport.dial import Dialer
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Interruptions)


TIMEOUT = 0.05  # of an operation that is struck
SLACK = 0.1


def strike():
    raise Struck


class LinesTest(unittest.TestCase):
    """An interrupted operation leaves nothing taken or marked behind."""

    level = 2
    opcodes = False
    step, small_step = 5, 1  # 1 means every step

    def setUp(self):
        keep_quiet(self)
        # We cannot close a socket whose creation was interrupted.
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter('ignore', ResourceWarning)
        # An interrupt while a socket is being finalized cannot be raised.
        self.enterContext(mock.patch.object(
            sys, 'unraisablehook', lambda unraisable: None))
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))

    def client(self, *addresses, **settings):
        client = UltraMemcacheClient(
            list(addresses) or [self.proxy.address], **{
                'timeout': PATIENCE, 'retries': 1, 'delay': 0, 'blacktime': 0,
                'maxPoolSize': 1, **settings})
        self.addCleanup(client.close)
        return client

    @in_a_thread
    def check(self, prepare, operate, step=None):
        """Interrupt ``operate(prepare())`` at each of its steps, in turn.
        """
        wrong = []
        for number in itertools.count(1, step or self.step):
            client = prepare()
            where, client.timeout = None, TIMEOUT
            try:
                if not act_at(number, lambda client=client: operate(client),
                              strike, self.opcodes):
                    break
            except Struck as struck:
                where = traceback.extract_tb(struck.__traceback__)[-3]
            try:
                self.assertIntact(client)
            except AssertionError as error:
                wrong.append(f'{where}: {error}')
                if len(wrong) > 9:
                    break
            client.close()
        self.assertEqual(wrong, [])
        self.assertGreater(number, 60)

    def assertIntact(self, client):
        self.proxy.accept()
        client.timeout = PATIENCE
        start = monotonic()
        # A server is left alone until the operation's time would have ended.
        while not client.set('key', 'value'):
            self.assertLess(monotonic() - start, PATIENCE / 2)
            time.sleep(0.01)
        start = monotonic()
        self.assertEqual(client.query('key'), 'value')
        for server in client._state.store.servers:
            with server.health._turn.by(0):
                pass
            server.undelivered._turn.give(server.undelivered._turn.take(0))
            self.assertEqual(server.pool.statistics()['active'], 0)
            if server.pool.statistics()['idle']:
                health = server.health
                self.assertEqual(
                    (health.state, health.failures, health.doubts,
                     health.pause), ('up', 0, 0, 0))
        # Nothing had to be waited for.
        self.assertLess(monotonic() - start, PATIENCE / 2)
        self.assertEqual(client._flights, {})

    def used(self, *args, **settings):
        client = self.client(*args, **settings)
        client.set('key', 'value')
        return client

    def test_connecting(self):
        self.check(self.client, lambda client: client.query('key'))

    def test_connecting_to_a_name(self):
        name = self.proxy.address.replace('127.0.0.1', 'localhost')
        self.check(
            lambda: self.client(name), lambda client: client.query('key'))

    def test_reading(self):
        self.check(self.used, lambda client: client.query('key'))

    def test_storing(self):
        self.check(self.used, lambda client: client.set('key', 'new'))

    def test_computing(self):
        def operate(client):
            client.getOrCreate('computed', lambda: 'value')
            client.invalidate('computed')

        self.check(self.used, operate)

    def test_looking_up(self):
        def operate(client):
            with client.lookUp('computed') as found:
                if not found.isHit:
                    found.store('value')
            client.invalidate('computed')
            found = client.lookUp('computed')
            if not found.isHit:
                found.release()

        self.check(self.used, operate)

    def test_computing_many(self):
        def operate(client):
            client.getOrCreateMany(['a', 'b'], dict.fromkeys)
            client.invalidateMany(['a', 'b'])

        self.check(self.used, operate)

    def test_asking_two_servers(self):
        other = self.enterContext(FaultProxy(self.server.address))
        keys = [f'key {number}' for number in range(9)]

        def prepare():
            client = self.client(self.proxy.address, other.address)
            client.queryMany(keys)
            return client

        self.check(prepare, lambda client: client.queryMany(keys))

    def test_a_server_that_is_gone(self):
        def prepare():
            client = self.used()
            self.proxy.refuse()
            self.proxy.cut()
            return client

        self.check(
            prepare, lambda client: client.query('key'), self.small_step)

    def test_a_server_that_is_back(self):
        def prepare():
            self.proxy.refuse()
            client = self.client()
            client.query('key')
            self.proxy.accept()
            return client

        self.check(prepare, lambda client: client.query('key'))

    def test_a_server_that_fails_again(self):
        def prepare():
            client = self.client(retries=3)
            self.proxy.refuse()
            client.query('key')
            return client

        self.check(
            prepare, lambda client: client.query('key'), self.small_step)

    def test_delivering_missed_changes(self):
        def prepare():
            client = self.used()
            client._state.store.owe(client.buildKey('owed').encode())
            client._state.store.owe(client.buildKey('key').encode())
            return client

        self.check(prepare, lambda client: client.query('key'))

    def test_failures_of_this_process(self):
        def prepare():
            client = self.client()
            client._state.store.servers[0].health.hindered(OSError())
            return client

        self.check(prepare, lambda client: client.query('key'))

    def test_assigning_a_setting(self):
        def operate(client):
            client.pooltime = 30
            client.query('key')

        self.check(self.used, operate)


class InstructionsTest(LinesTest):
    """The same between any two instructions, at some of them."""

    level = 2
    opcodes = True
    step, small_step = 61, 5


class NestedCase:
    """Finalizers, weak references and signal handlers may use the client.

    They may take up to the time-out, as may the operation they interrupt.
    """

    timeout = 0.1
    step = 1

    def setUp(self):
        keep_quiet(self)
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))

    @in_a_thread
    def check(self, operate, least=30, prepare=None):
        client = self.client()
        late, used, nested = [], 0, []

        def use():
            start = monotonic()
            key = f'nested {len(nested)}'
            found = client.query('key')
            nested.append(monotonic() - start)
            # There may be no free connection.
            self.assertIn(found, ('value', None))
            if client.set(key, key):
                self.assertIn(client.query(key), (key, None))

        for number in itertools.count(1, self.step):
            with self.patience(client):
                client.set('key', 'value')
                if prepare is not None:
                    prepare(client)
            start = monotonic()
            if not act_at(number, lambda: operate(client), use):
                break
            used += 1
            took = monotonic() - start
            if took > 4 * self.timeout + SLACK:
                late.append(f'step {number}: {took:.3f} s')
        self.assertLessEqual(len(late), used // 20, late)
        self.assertGreater(used, least / self.step)
        with self.patience(client):
            for number in range(10):
                self.assertTrue(client.set('key', number))
                self.assertEqual(client.query('key'), number)
        return client

    def patience(self, client):
        return mock.patch.object(type(client), '_timeout', 5)

    def test_within_a_query(self):
        self.check(lambda client: self.assertIn(
            client.query('key'), ('value', None)))

    def test_within_a_set(self):
        self.check(lambda client: client.set('other', 'value'))

    def test_within_many(self):
        def operate(client):
            for key, value in client.queryMany(['key', 'other']).items():
                self.assertEqual(value, {'key': 'value'}.get(key, 'other'))

        self.check(operate)

    def test_within_a_computation(self):
        numbers = itertools.count()

        def operate(client):
            number = next(numbers)
            self.assertEqual(
                client.getOrCreate(f'computed {number}', lambda: number),
                number)

        self.check(operate)

    def test_within_a_connect(self):
        self.check(
            lambda client: self.assertIn(
                client.query('key'), ('value', None)),
            prepare=lambda client: self.proxy.cut())


@variant('EachStep', level=2, step=1)
class NestedPooledTest(NestedCase, unittest.TestCase):

    step = 3

    def client(self):
        client = UltraMemcacheClient(
            [self.proxy.address], timeout=self.timeout, delay=0, blacktime=0)
        self.addCleanup(client.close)
        return client

    def check(self, *args, **kw):
        client = super().check(*args, **kw)
        [server] = client._state.store.servers
        self.assertEqual(server.health.state, 'up')
        self.assertEqual(server.pool.statistics()['active'], 0)


class NestedAloneTest(NestedPooledTest):
    """There is only one connection, which the operation may be using."""

    level = 2
    timeout = 0.02
    step = 7

    def client(self):
        client = super().client()
        client.maxPoolSize = 1
        return client


class NestedClassicTest(NestedCase, unittest.TestCase):
    """The operation loses its connection."""

    level = 2
    step = 3

    def client(self):
        class Client(MemcacheClient):
            _timeout = self.timeout
            _retry = 0

        client = Client([self.proxy.address])
        self.addCleanup(client.close)
        return client


class StormTest(unittest.TestCase):
    """Exceptions that come at random, among several threads."""

    level = 2

    def setUp(self):
        keep_quiet(self)

    def check(self, operation):
        with Storm(operation, threads=4) as storm:
            storm.strike(500)
        self.assertEqual(storm.errors, [])
        self.assertGreater(storm.operations, 0)
        gc.collect()

    def test_turn(self):
        turn, owners = Turn(), []

        def operate():
            with turn.by(soon()):
                me = object()
                owners.append(me)
                try:
                    if len(owners) > 1:
                        raise AssertionError('two at a time')
                finally:
                    owners.clear()

        self.check(operate)
        with turn.by(0):
            pass

    def test_health(self):
        health = Health(
            'name', retries=2, delay=0, blacktime=0,
            notify=lambda *args: None)
        acts = (
            lambda: health.admit(monotonic() + TIMEOUT),
            lambda: health.admit_connect(monotonic() + TIMEOUT),
            health.connected, health.undecided, health.answered,
            lambda: health.hindered(OSError()),
            lambda: health.doubted(OSError(), monotonic()),
            lambda: health.failed(ConnectError(), monotonic()))

        def operate():
            with contextlib.suppress(ServerDown):
                random.choice(acts)()

        self.check(operate)
        # The thread that a gate has let in may have been struck.
        end = soon()
        while health.pause and monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(health.pause, 0)
        if health.doubts:
            health.admit(monotonic())
            health.admit_connect(monotonic())
            health.answered()
        for _ in range(3):
            health.admit_connect(monotonic())
            health.connected()
        self.assertEqual(
            (health.state, health.failures, health.doubts), ('up', 0, 0))
        with health._turn.by(0):
            pass


class LookupTest(unittest.TestCase):

    def test_a_thread_that_ends_without_an_answer(self):
        # A thread that is interrupted right after its start ends before it can
        # report anything.
        look_up, lost = socket.getaddrinfo, threading.Event()

        def end(*args, flags=0, **kw):
            if not flags and not lost.is_set():
                lost.set()
                raise SystemExit
            return look_up(*args, flags=flags, **kw)

        server = self.enterContext(EmbeddedServer())
        self.enterContext(mock.patch.object(socket, 'getaddrinfo', end))
        name = server.address.replace('127.0.0.1', 'localhost')
        dialer = Dialer(parse(name))

        def dial(seconds):
            dialer.dial(monotonic() + seconds,
                        lambda sock, deadline: sock)[0].close()

        with self.assertRaises(LocalError):
            dial(TIMEOUT)
        self.assertTrue(lost.is_set())
        dial(PATIENCE)

    def test_the_threads_start_is_not_waited_for(self):
        with (EmbeddedServer() as server,
              mock.patch.object(threading.Event, 'wait', self.fail)):
            dialer = Dialer(parse(
                server.address.replace('127.0.0.1', 'localhost')))
            dialer.dial(soon(),
                        lambda sock, deadline: sock)[0].close()
