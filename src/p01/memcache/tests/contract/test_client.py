# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The classic client, on python-memcached, when things go wrong.

Each value contains its key, so that a wrong one is detected.
"""

import contextlib
import io
import os
import pickle
import signal
import socket
import threading
import time
import tracemalloc
import unittest
import warnings
from unittest import mock

from p01.memcache import errors
from p01.memcache.classic.host import Host
from p01.memcache.client import MemcacheClient
from p01.memcache.cluster.ring import Modulo
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.threads import fork
from p01.memcache.transport.address import parse_all
from p01.memcache.transport.stream import Stream
from p01.memcache.wire import batch
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll
from p01.memcache.wire.command import Set
from p01.memcache.wire.command import Stats


load_tests = run_in(Contract)


SLACK = 0.05  # by how much an operation may exceed its time-out


class QuickClient(MemcacheClient):
    """Has shorter time-outs, and retries a failed server sooner."""

    _timeout = 0.3
    _retry = 0


class PatientClient(MemcacheClient):

    _timeout = PATIENCE
    _retry = 0


class Interrupted(BaseException):
    """An exception that no ``except Exception`` catches."""


def hit(key, data=None, size=None, flags=0, end=b'END\r\n'):
    data = pickle.dumps('value of ' + key) if data is None else data
    return b'VALUE %b %b %b\r\n%b\r\n%b' % (
        wire(key), str(flags).encode(),
        str(len(data) if size is None else size).encode(), data, end)


def wire(key):
    return MemcacheClient().buildKey(key).encode()


class ClientCase(unittest.TestCase):

    factory = QuickClient

    def setUp(self):
        keep_quiet(self)

    def client(self, *addresses, factory=None):
        client = (factory or self.factory)(addresses)
        self.addCleanup(client.close)
        return client

    def assertError(self, expected, call, *args):
        """The call degrades, and logs one of the errors."""
        with self.assertLogs('p01.memcache') as logs:
            client = call.__self__
            client.debug = 1
            try:
                self.assertIsNone(call(*args))
            finally:
                client.debug = 0
        [record] = logs.records
        # The last line of the traceback.
        name = record.exc_text.splitlines()[-1].partition(':')[0]
        self.assertTrue(
            issubclass(getattr(errors, name), expected), name)


class ProxyCase(ClientCase):
    """A server, and a proxy in front of it."""

    def setUp(self):
        super().setUp()
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        self.cache = self.client(self.proxy.address)

    def fill(self, *keys):
        for key in keys:
            self.assertIsNotNone(self.cache.set(key, 'value of ' + key))

    def assertRight(self, *keys):
        for key in keys * 10:
            self.assertEqual(self.cache.query(key), 'value of ' + key)

    def waitFor(self, condition):
        self.assertTrue(self.proxy.wait(condition))


class ConnectionsTest(ProxyCase):
    """One connection for each thread and server, while the thread lives."""

    factory = PatientClient

    def test_one_for_each_thread(self):
        self.fill('main')
        self.assertEqual(self.proxy.opened, 1)
        barrier = threading.Barrier(5)
        trouble = []

        def work(number):
            try:
                for i in range(20):
                    key = f'{number} {i}'
                    self.fill(key)
                    self.assertRight(key)
                barrier.wait(PATIENCE)
                barrier.wait(PATIENCE)
            except Exception as error:
                trouble.append(error)

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait(PATIENCE)
        self.assertEqual((self.proxy.opened, self.proxy.current), (5, 5))
        barrier.wait(PATIENCE)
        for thread in threads:
            thread.join()
        self.assertEqual(trouble, [])
        # The connections are gone with their threads.
        self.waitFor(lambda: self.proxy.current == 1)
        self.assertRight('main')
        self.assertEqual(self.proxy.opened, 5)

    @contextlib.contextmanager
    def no_warning(self):
        """No socket is left for the garbage collector to close."""
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter('always')
            yield
        self.assertEqual(found, [])

    def check_all_end(self, act):
        self.fill('key')
        used = threading.Event()
        done = threading.Event()

        def work():
            self.cache.query('key')
            used.set()
            done.wait(PATIENCE)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(done.set)
        self.assertTrue(used.wait(PATIENCE))
        self.assertEqual(self.proxy.current, 2)
        with self.no_warning():
            act()
        self.waitFor(lambda: self.proxy.current == 0)

    def test_close_closes_those_of_all_threads(self):
        self.check_all_end(self.cache.close)
        self.assertRight('key')

    def test_assigning_servers_closes_the_old_ones(self):
        other = self.enterContext(EmbeddedServer())

        def change():
            self.cache.servers = [other.address]

        self.check_all_end(change)
        self.assertIsNone(self.cache.query('key'))

    def test_they_close_with_the_client(self):
        client = PatientClient([self.proxy.address])
        client.set('key', 'value')
        self.assertEqual(self.proxy.current, 1)
        with self.no_warning():
            del client
        self.waitFor(lambda: self.proxy.current == 0)

    def test_close_in_the_middle_of_an_operation(self):
        self.fill('key')
        self.proxy.once(HOLD)
        found = []
        thread = threading.Thread(
            target=lambda: found.append(self.cache.query('key')))
        thread.start()
        self.waitFor(lambda: self.proxy.stalled)
        self.cache.close()
        self.proxy.release()
        thread.join()
        self.assertEqual(found, ['value of key'])
        self.waitFor(lambda: self.proxy.current == 0)

    def test_close_before_a_value_is_sent(self):
        # By another thread, or by a signal handler.
        until = Host.until

        def close(self_, deadline):
            with mock.patch.object(Host, 'until', until):
                self.cache.close()
            return until(self_, deadline)

        with mock.patch.object(Host, 'until', close):
            self.assertIsNotNone(self.cache.set('key', 'value of key'))
        self.assertRight('key')

    def test_idle_ones_closed_by_the_server(self):
        self.fill('key')
        for how in 'fin', 'rst':
            self.proxy.cut(how)
            self.assertRight('key')
        self.assertEqual(self.proxy.opened, 3)

    def test_segments(self):
        self.proxy.fault = Fault(size=1)
        self.fill('key')
        self.assertEqual(self.cache.query('key'), 'value of key')
        self.assertIs(self.cache.invalidate('key'), True)
        self.assertIsNone(self.cache.invalidateAll())
        self.assertIn('version', self.cache.getStatistics()[0][1])

    def test_a_large_value(self):
        large = os.urandom(1000000)
        self.cache.set('key', large, raw=True)
        self.assertEqual(self.cache.query('key', raw=True), large)


class ForkTest(ProxyCase):

    factory = PatientClient

    def setUp(self):
        super().setUp()
        self.fill('key', 'other')

    def check_child(self, work):
        """Fork; nothing may go wrong in the child's ``work()``."""
        with warnings.catch_warnings():
            # The test's own servers are threads; the child needs none.
            warnings.simplefilter('ignore', DeprecationWarning)
            child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                work()
                status = 0
            os._exit(status)
        self.assertRight('key')
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertRight('other')
        self.assertEqual(self.proxy.opened, 2)

    def test_a_connection_of_its_own(self):
        self.check_child(lambda: self.assertRight('other'))

    def test_the_childs_copy_is_closed(self):
        [host] = self.cache._state.store.servers

        def work():
            self.assertRight('key')
            self.assertEqual(host.connection.fileno(), -1)

        self.check_child(work)

    def test_it_is_registered(self):
        self.assertIn(self.cache._state.store, fork._known)


class InterruptedTest(ProxyCase):
    """No operation ever gets the late reply to another one."""

    level = 2

    factory = PatientClient

    def setUp(self):
        super().setUp()
        self.fill('key', 'other')

    def signalled(self, handler, call, *args):
        """Make a call; a signal is handled while its reply is held back."""
        def work():
            if self.proxy.wait(lambda: self.proxy.stalled):
                signal.pthread_kill(
                    threading.main_thread().ident, signal.SIGUSR1)
        former = signal.signal(
            signal.SIGUSR1, lambda number, frame: handler())
        thread = threading.Thread(target=work)
        thread.start()
        try:
            return call(*args)
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, former)

    def interrupt(self, error, call, *args):
        def handler():
            raise error
        with self.assertRaises(type(error)):
            self.signalled(handler, call, *args)

    def test_interrupted(self):
        size = len(hit('key'))
        for error in KeyboardInterrupt(), Interrupted(), ValueError():
            # Within the first line, within the value, before the end.
            for after in 0, 7, size - 20, size - 3:
                with self.subTest(error=error, after=after):
                    self.proxy.once(Fault(after=after, then='stall'))
                    start = time.monotonic()
                    self.interrupt(error, self.cache.query, 'key')
                    # It ends at once, and waits for nothing more.
                    self.assertLess(time.monotonic() - start, 1)
                    self.proxy.release()
                    self.assertRight('other', 'key')

    def test_interrupted_writes(self):
        for call, args in [
                (self.cache.set, ('key', 'new')),
                (self.cache.invalidate, ('key',)),
                (self.cache.getStatistics, ()),
                (self.cache.invalidateAll, ())]:
            with self.subTest(call=call.__name__):
                self.fill('key', 'other')
                self.proxy.once(HOLD)
                self.interrupt(Interrupted(), call, *args)
                self.proxy.release()
                self.fill('key', 'other')
                self.assertRight('key', 'other')

    def test_a_handler_that_uses_the_client_within_a_value(self):
        large, receive, calls = 'large' * 10000, Stream.receive, []

        def handled(stream, size):
            data = receive(stream, min(size, 6000))
            calls.append(size)
            if len(calls) == 4:
                self.assertRight('key')
            return data

        self.fill('key')
        self.cache.set('large', large)
        self.cache.close()
        with mock.patch.object(Stream, 'receive', handled):
            self.assertEqual(self.cache.query('large'), large)
        self.assertGreater(len(calls), 4)
        self.assertRight('key')

    def test_a_handler_that_uses_the_client(self):
        found = []
        self.proxy.once(HOLD)
        # The operation that waits loses its connection; it asks again, unless
        # the handler came before the request was sent.
        self.assertIn(self.signalled(
            lambda: found.append(self.cache.query('other')),
            self.cache.query, 'key', False, MISSING),
            ('value of key', MISSING))
        self.assertEqual(found, ['value of other'])
        self.proxy.release()
        self.assertRight('other', 'key')

    def test_timeout(self):
        self.cache = self.client(self.proxy.address, factory=QuickClient)
        size = len(hit('key'))
        for after in 0, 7, size - 20, size - 3:
            with self.subTest(after=after):
                self.assertRight('key', 'other')
                self.proxy.once(Fault(after=after, then='stall'))
                self.assertError(ReceiveTimeout, self.cache.query, 'key')
                self.proxy.release()
                self.assertRight('other', 'key')

    def test_a_late_reply_to_a_get(self):
        # The key is set again meanwhile, so even its own reply is out of date.
        for i in range(20):
            self.cache.set('key', i)
            self.proxy.once(HOLD)
            self.interrupt(Interrupted(), self.cache.query, 'key')
            self.cache.set('key', i + 1)
            self.proxy.release()
            self.assertEqual(self.cache.query('key'), i + 1)


class SlowTest(ProxyCase):

    level = 2

    def check_quick(self, errors, fault, call, *args):
        # It takes longer on a busy machine, but hardly every time.
        limit = self.factory._timeout + SLACK
        for _ in range(3):
            if fault:
                self.proxy.once(fault)
            start = time.monotonic()
            self.assertError(errors, call, *args)
            elapsed = time.monotonic() - start
            self.proxy.release(drop=True)
            if elapsed < limit:
                return
        self.fail(f'{elapsed} s')

    def test_drip(self):
        self.fill('key')
        for fault in (Fault(size=1, pause=0.02), Fault(size=20, pause=0.09)):
            self.check_quick(ReceiveTimeout, fault, self.cache.query, 'key')
        self.assertRight('key')

    def test_a_flood(self):
        head = b'VALUE %b 0 1000000000\r\n' % wire('key')
        flood = [(head, 0), *[(bytes(4096), 0)] * 100000]
        server = self.enterContext(ScriptedServer(default=flood))
        cache = self.client(server.address)
        cache.maxValueSize = 1 << 30
        self.check_quick(ReceiveTimeout, None, cache.query, 'key')

    def test_a_server_that_does_not_read(self):
        self.fill('key')
        self.check_quick((SendTimeout, ReceiveTimeout), DEAF,
                         self.cache.set, 'key', bytes(900000), None, True)
        self.assertRight('key')
        # More than all buffers on the way can hold.
        self.proxy.once(DEAF)
        self.assertError(SendTimeout, self.cache.set, 'key', bytes(20000000))
        self.proxy.release(drop=True)
        self.assertRight('key')

    def test_a_server_that_does_not_accept(self):
        with full_backlog() as address:
            cache = self.client(address)
            self.check_quick(ConnectTimeout, None, cache.query, 'key')

    def test_it_is_left_alone_for_a_while(self):
        class Client(QuickClient):
            _retry = 0.2
        self.cache = self.client(self.proxy.address, factory=Client)
        self.fill('key')
        # A used connection may itself be at fault, a fresh one is not.
        self.proxy.once(HOLD, HOLD)
        for _ in range(2):
            self.assertError(ReceiveTimeout, self.cache.query, 'key')
        self.proxy.release()
        start = time.monotonic()
        exchanges = self.proxy.exchanges
        self.assertError(ServerDown, self.cache.query, 'key')
        for _ in range(50):
            self.assertIsNone(self.cache.query('key'))
        self.assertLess(time.monotonic() - start, SLACK)
        self.assertEqual(self.proxy.exchanges, exchanges)
        while self.cache.query('key') is None:
            self.assertLess(time.monotonic() - start, PATIENCE)
            time.sleep(0.005)
        self.assertGreaterEqual(
            time.monotonic() - start, Client._retry - SLACK)

    def test_one_that_refuses_is_left_alone_for_a_while(self):
        self.proxy.refuse()
        cache = self.client(self.proxy.address, factory=MemcacheClient)
        self.assertError(ConnectError, cache.query, 'key')
        self.proxy.accept()
        self.assertError(ServerDown, cache.query, 'key')

    def test_every_wait_is_bounded_by_default(self):
        cache = self.client(self.proxy.address, factory=MemcacheClient)
        self.assertIsNone(cache.query('key'))
        [host] = cache._state.store.servers
        self.assertEqual((host.socket_timeout, host.dead_retry), (3, 3))
        self.assertLessEqual(host.connection._stream._socket.gettimeout(), 3)


class CutTest(ProxyCase):

    def test_cut_replies(self):
        self.fill('key')
        for how in 'fin', 'rst':
            for after in range(0, len(hit('key')), 3):
                with self.subTest(how=how, after=after):
                    # Before the first byte, the request is repeated. On a
                    # reset the kernel may discard what it has received.
                    fault = Fault(after=after, then=how)
                    self.proxy.once(
                        *[fault] * (1 if after and how == 'fin' else 2))
                    self.assertError(ReceiveError, self.cache.query, 'key')
                    self.proxy.clear()
                    self.assertEqual(
                        self.cache.query('key'), 'value of key')

    def test_cut_requests(self):
        self.fill('key')
        for how in 'fin', 'rst':
            for after in 0, 10, 50:
                with self.subTest(how=how, after=after):
                    self.proxy.once(
                        Fault(after=after, then=how, side='request'))
                    self.assertError(
                        ReceiveError, self.cache.set, 'key', 'another')
                    self.assertRight('key')

    def test_a_broken_connection_while_sending(self):
        self.cache = self.client(self.proxy.address, factory=PatientClient)
        self.fill('key')
        self.proxy.once(Fault(then='rst', side='request'))
        self.assertError(SendError, self.cache.set, 'key', bytes(20000000))
        self.assertRight('key')

    def test_restart(self):
        self.fill('key')
        self.server.stop()
        self.proxy.refuse()
        self.proxy.cut('fin')
        self.assertError(ConnectError, self.cache.query, 'key')
        start = time.monotonic()
        for _ in range(10):
            self.assertIsNone(self.cache.query('key'))
        self.assertLess(time.monotonic() - start, SLACK)
        self.server.start()
        self.proxy.accept()
        self.assertIsNone(self.cache.query('key'))
        self.fill('key')
        self.assertRight('key')

    def test_a_reply_twice(self):
        self.fill('key', 'other')
        for call in (
                lambda: self.assertEqual(
                    self.cache.query('key'), 'value of key'),
                lambda: self.fill('key'),
                lambda: self.assertIs(self.cache.invalidate('gone'), True),
                self.cache.getStatistics):
            opened = self.proxy.opened
            self.proxy.once(TWICE)
            call()
            self.assertRight('other', 'key')
            self.assertEqual(self.proxy.opened, opened + 1)


class RepliesTest(ClientCase):
    """Replies that do not fit the request."""

    def answers(self, *answers, **kw):
        server = self.enterContext(ScriptedServer(*answers, **kw))
        return server, self.client(server.address)

    def check_dropped(self, server, cache, error, call, *args):
        opened = server.opened
        self.assertError(error, call, *args)
        server.answers.append(hit('next'))
        self.assertEqual(cache.query('next'), 'value of next')
        self.assertEqual(server.opened, opened + 1)

    def test_query(self):
        server, cache = self.answers(hit('first'))
        cache.query('first')
        whole = hit('key')
        for reply in (
                hit('other'),
                hit('key', end=b'') + hit('other'),
                hit('other', end=b'') + hit('key'),
                hit('key', end=b'') + hit('key'),
                whole[:-5] + b'OK\r\n',
                b'\r\n',
                b'\r\n' + whole,
                b'STORED\r\n',
                b'OK\r\n',
                b'ERROR\r\n',
                b'ERROR\r\nERROR\r\n',
                b'CLIENT_ERROR bad data chunk\r\n',
                b'END \r\n',
                b'garbage\r\n',
                bytes(range(256)) + b'\r\n',
                b'VALUE\r\n',
                b'VALUE ' + wire('key') + b'\r\n',
                whole.replace(b'VALUE ', b'VALUE  '),
                whole.replace(b'VALUE', b'value'),
                hit('key', size=-1),
                hit('key', size='abc'),
                hit('key', size=''),
                hit('key', size='1_0'),
                hit('key', size='5 7'),
                hit('key', size=8 * 2 ** 30),
                hit('key', size=10 ** 30),
                hit('key', size=3),
                hit('key', b'x' * 30, 29),
                b'VALUE %b 0 5\r\nvalue..END\r\n' % wire('key'),
                hit('key', flags='abc'),
                hit('key', flags=-1),
                b'x' * 8000,
                ):
            with self.subTest(reply=reply[:80]):
                server.answers.append(reply)
                self.check_dropped(
                    server, cache, ProtocolError, cache.query, 'key')

    def test_a_length_that_is_too_long(self):
        server, cache = self.answers(hit('first'))
        cache.query('first')
        size = cache.maxValueSize
        server.answers.append(hit('key', size=size))
        self.check_dropped(server, cache, ReceiveTimeout, cache.query, 'key')
        server.answers.append(hit('key', size=size))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        self.assertIsNone(cache.query('key'))
        # The bytes of one receive, and a little for all else.
        self.assertLess(
            tracemalloc.get_traced_memory()[1] - before, 2 * 2 ** 20)

    def test_a_line_without_an_end(self):
        # It stops reading by itself, not because the server has no more.
        piece = (b'x' * 4096, 0.01)
        server, cache = self.answers([piece] * 1000)
        cache = self.client(server.address, factory=PatientClient)
        start = time.monotonic()
        self.assertError(ProtocolError, cache.query, 'key')
        self.assertLess(time.monotonic() - start, 1)

    def test_too_many_connections(self):
        server, cache = self.answers(
            hit('first'), b'ERROR Too many open connections\r\n')
        cache.query('first')
        self.check_dropped(server, cache, ServerBusy, cache.query, 'key')

    def test_set(self):
        server, cache = self.answers(hit('first'))
        cache.query('first')
        for reply in (b'ERROR\r\n', b'NOT_STORED\r\n', b'OK\r\n', b'END\r\n',
                      b'\r\n', b'STORED \r\n', hit('key'), b'DELETED\r\n',
                      b'CLIENT_ERROR bad data chunk\r\nERROR\r\n'):
            with self.subTest(reply=reply):
                server.answers.append(reply)
                self.check_dropped(
                    server, cache, ProtocolError, cache.set, 'key', 'value')

    def test_invalidate(self):
        server, cache = self.answers(hit('first'))
        cache.query('first')
        for reply in (b'ERROR\r\n', b'STORED\r\n', b'OK\r\n', b'END\r\n',
                      b'\r\n', b'TOUCHED\r\n'):
            with self.subTest(reply=reply):
                server.answers.append(reply)
                self.check_dropped(
                    server, cache, ProtocolError, cache.invalidate, 'key')
        for reply in b'DELETED\r\n', b'NOT_FOUND\r\n':
            server.answers.append(reply)
            self.assertIs(cache.invalidate('key'), True)

    def test_invalidateAll(self):
        server, cache = self.answers()
        for reply, error in [
                (b'ERROR\r\n', ClientError), (b'END\r\n', ProtocolError),
                (b'\r\n', ProtocolError), (None, ReceiveError),
                (b'SERVER_ERROR no\r\n', ServerError)]:
            server.answers.append(reply)
            with self.assertRaises(NotInvalidated) as caught:
                cache.invalidateAll()
            [(address, trouble)] = caught.exception.errors.items()
            self.assertEqual(address, server.address)
            self.assertIs(type(trouble), error)

    def test_getStatistics(self):
        server, cache = self.answers(
            b'STAT a 1\r\nSTAT b two words\r\nSTAT c \r\nSTAT d\r\n'
            b'STAT \xfc \xfc\r\nEND\r\n', b'END\r\n')
        self.assertEqual(cache.getStatistics(), [(server.address, {
            'a': '1', 'b': 'two words', 'c': '', 'd': '',
            '\ufffd': '\ufffd'})])
        self.assertEqual(cache.getStatistics(), [(server.address, {})])
        for reply, error in [
                (b'ERROR\r\n', ClientError), (b'\r\n', ProtocolError),
                (b'STAT a 1\r\nOK\r\n', ProtocolError),
                (b'SERVER_ERROR no\r\n', ServerError),
                (b'STAT a 1\r\n', ReceiveTimeout), (None, ReceiveError)]:
            server.answers.append(reply)
            [(address, trouble)] = cache._state.store.ask_all(
            Stats(), soon())
            self.assertIs(type(trouble), error)
            server.answers.append(reply)
            [(address, values)] = cache.getStatistics()
            self.assertEqual((address, list(values)),
                             (server.address, ['error']))

    def test_getStatistics_of_a_name(self):
        server, cache = self.answers(
            b'STAT 23:addr tcp:127.0.0.1:43290\r\n'
            b'STAT 23:state conn_parse_cmd\r\nEND\r\n')
        self.assertEqual(cache.getStatistics('conns'), [(server.address, {
            '23:addr': 'tcp:127.0.0.1:43290', '23:state': 'conn_parse_cmd'})])
        server.answers.extend([b'ERROR\r\n', None, None])
        for _ in range(2):  # some proxies close the connection
            [(_, values)] = cache.getStatistics('items')
            self.assertEqual(list(values), ['error'])
        # As many connections as a server has at most, by default.
        server.answers.clear()
        server.answers.append(b''.join(
            b'STAT %d:addr tcp:192.168.100.100:54321\r\n'
            b'STAT %d:listen_addr tcp:192.168.100.101:11211\r\n'
            b'STAT %d:state conn_read\r\n'
            b'STAT %d:secs_since_last_cmd 12345\r\n' % ((number, ) * 4)
            for number in range(1024)) + b'END\r\n')
        [(_, values)] = cache.getStatistics('conns')
        self.assertEqual(len(values), 4096)
        self.assertEqual(
            [request for request in server.requests
             if request.startswith(b'stats')][:2],
            [b'stats conns\r\n', b'stats items\r\n'])

    def test_refused_values(self):
        server, cache = self.answers(
            b'SERVER_ERROR out of memory storing object\r\n', b'DELETED\r\n',
            hit('next'))
        self.assertError(ServerError, cache.set, 'key', 'value')
        self.assertEqual(
            server.requests[1], b'delete ' + wire('key') + b'\r\n')
        self.assertEqual(cache.query('next'), 'value of next')
        self.assertEqual(server.opened, 1)

    def test_a_refused_value_before_the_connection_is_lost(self):
        # Its old value must not remain, whatever happens to the others.
        self.enterContext(mock.patch.object(batch, 'MOST_CHANGES', 2))
        server, cache = self.answers(
            b'STORED\r\n', b'SERVER_ERROR out of memory storing object\r\n',
            b'STORED\r\n', None, b'DELETED\r\n')
        self.assertEqual(cache.setMany(dict.fromkeys('abcd', 1)), [*'bd'])
        self.assertEqual(
            server.requests[4], b'delete %b\r\n' % wire('b'))

    def test_a_refused_value_before_another_server_takes_the_time(self):
        refused = b'SERVER_ERROR out of memory storing object\r\n'
        server = self.enterContext(ScriptedServer(
            default=lambda request: b'DELETED\r\n'
            if request.startswith(b'delete') else refused))
        silent = self.enterContext(ScriptedServer(default=[(b'', PATIENCE)]))
        cache = self.client(server.address, silent.address)
        keys = [f'key {number}' for number in range(40)]
        store = cache._state.store
        keys.sort(key=lambda key: store.server(
            wire(key), 0).name != server.address)
        self.assertEqual(cache.setMany(dict.fromkeys(keys, 1)), keys)
        self.assertTrue(silent.requests)
        sets, deletes = (
            [request.split()[1] for request in server.requests
             if request.startswith(command)] for command in (b'set', b'del'))
        self.assertTrue(sets)
        self.assertEqual(deletes, sets)

    def test_refused_values_that_cannot_be_removed(self):
        refused = b'SERVER_ERROR out of memory storing object\r\n'
        server, cache = self.answers(
            refused, b'STORED\r\n', refused, refused, b'DELETED\r\n')
        self.assertEqual(cache.setMany(dict.fromkeys('abc', 1)), [*'ac'])
        self.assertEqual(
            server.requests[3:],
            [b'delete %b\r\n' % wire(key) for key in 'ac'])

    def test_a_surplus_reply_between_two_batches(self):
        self.enterContext(mock.patch.object(batch, 'MOST_CHANGES', 2))
        server, cache = self.answers(
            b'STORED\r\n', b'STORED\r\nSTORED\r\n',
            b'SERVER_ERROR out of memory storing object\r\n', b'STORED\r\n',
            b'DELETED\r\n')
        self.assertEqual(cache.setMany(dict.fromkeys('abcd', 1)), ['c'])
        self.assertEqual(server.opened, 2)

    def test_a_refused_value_whose_old_one_cannot_be_removed(self):
        server, cache = self.answers(
            b'SERVER_ERROR out of memory storing object\r\n', None,
            hit('next'))
        self.assertError(ReceiveError, cache.set, 'key', 'value')
        self.assertEqual(cache.query('next'), 'value of next')
        self.assertEqual(server.opened, 2)

    def test_what_is_sent(self):
        server, cache = self.answers(
            b'STORED\r\n', b'END\r\n', b'DELETED\r\n', b'OK\r\n', b'END\r\n')
        cache.set('key', 'value', 60)
        cache.query('key')
        cache.invalidate('key')
        cache.invalidateAll()
        cache.getStatistics()
        key, data = wire('key'), pickle.dumps('value', -1)
        self.assertEqual(server.requests, [
            # python-memcached adds the blank at its end, which is harmless.
            b'set %b 0 60 %d \r\n%b\r\n' % (key, len(data), data),
            b'get %b\r\n' % key, b'delete %b\r\n' % key, b'flush_all\r\n',
            b'stats\r\n'])

    def test_keys_are_checked_where_they_are_sent(self):
        server, cache = self.answers()
        store = cache._state.store
        for key in (b'', b'a b', b'a\r\n', b'a\n', b'a\0', b'\x7f',
                    b'k' * 251):
            for call in (
                    lambda key: store.run(Set(key, b'', 0, 0), soon()),
                    lambda key: store.get(key, soon()),
                    lambda key: store.gets(key, soon()),
                    lambda key: store.run(Delete(key), soon())):
                with self.subTest(key=key), self.assertRaises(ValueError):
                    call(key)
        self.assertEqual(server.requests, [])

    def test_nothing_is_printed(self):
        server, cache = self.answers(b'garbage\r\n', None)
        with (contextlib.redirect_stderr(io.StringIO()) as stderr,
              contextlib.redirect_stdout(io.StringIO()) as stdout):
            cache.debug = 1
            for _ in range(2):
                cache.query('key')
            server.refuse()
            cache.query('key')
        self.assertEqual((stdout.getvalue(), stderr.getvalue()), ('', ''))

    def test_each_kind_of_failure_is_logged_once(self):
        server, cache = self.answers()
        with self.assertLogs('p01.memcache') as logs:
            for _ in range(10):
                cache.query('key')
                cache.invalidate('key')
        self.assertEqual(len(logs.output), 2)

    def test_so_is_trouble_with_a_server(self):
        # Of its state this client reports nothing else.
        for answer in None, b'nonsense\r\n', [(b'', PATIENCE)]:
            server, cache = self.answers(default=answer)
            with self.assertLogs('p01.memcache') as logs:
                for _ in range(3):
                    cache.query('key')
            self.assertEqual(len(logs.output), 1, logs.output)
        cache.servers = ['127.0.0.1:1']
        with self.assertLogs('p01.memcache') as logs:
            cache.query('key')
        self.assertIn('not read: cannot connect', logs.output[0])


class ServersTest(ClientCase):
    """Which server has a key."""

    def test_as_the_pooled_client_chooses(self):
        addresses = [f'10.0.0.{i}' for i in range(5)]
        client = self.client(*addresses)
        ring = Modulo(parse_all(addresses))
        for number in range(1000):
            key = client.buildKey(number).encode()
            self.assertEqual(
                client._state.store.server(key, None).name,
                addresses[ring.find(key)])

    def test_as_python_memcached_hashes(self):
        client = self.client(*(f'10.0.0.1:{i + 1}' for i in range(1000)))
        for key, value in [
                (b'foo', 3187), (b'bar', 30463), (b'baz', 30756),
                ('\xfc'.encode(), 25561)]:
            self.assertEqual(
                client._state.store.server(key, None).name,
                f'10.0.0.1:{value % 1000 + 1}')

    def test_keys_do_not_move(self):
        servers = [self.enterContext(EmbeddedServer()) for _ in range(3)]
        client = self.client(*(server.address for server in servers))
        lost = [key for key in range(60) if client._state.store.server(
            client.buildKey(key).encode(), None).name == servers[1].address]
        self.assertTrue(lost)
        for key in range(60):
            client.set(key, 'old')
        servers[1].stop()
        for key in range(60):
            self.assertEqual(
                client.query(key), None if key in lost else 'old')
            self.assertEqual(client.set(key, 'new') is None, key in lost)
        servers[1].start()
        for key in range(60):
            self.assertEqual(
                client.query(key), None if key in lost else 'new')

    def test_addresses(self):
        for address, host, port in [
                ('localhost', 'localhost', 11211), ('a.b:1', 'a.b', 1),
                ('[::1]', '::1', 11211), ('[fe80::1]:22', 'fe80::1', 22),
                ('[fe80::1%eth0]:22', 'fe80::1%eth0', 22)]:
            [found] = self.client(address)._state.store.servers
            self.assertEqual((found.ip, found.port), (host, port))

    @unittest.skipUnless(socket.has_ipv6, 'this Python has no IPv6')
    def test_ip6(self):
        with socket.create_server(('::1', 0), family=socket.AF_INET6) as here:
            cache = self.client(
                f'[::1]:{here.getsockname()[1]}', factory=PatientClient)
            thread = threading.Thread(
                target=lambda: self.answer(here, hit('key')))
            thread.start()
            self.assertEqual(cache.query('key'), 'value of key')
            thread.join()

    def answer(self, listener, reply):
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(reply)

    def test_names_that_cannot_be_resolved(self):
        # The zone index is invalid, so the name is not even looked up.
        cache = self.client('[fe80::1%a..b]')
        self.assertError(ConnectError, cache.query, 'key')
        [(_, error)] = cache._state.store.ask_all(
            FlushAll(), soon())
        self.assertIsInstance(error, MemcacheError)
        cache = self.client('unknown')
        for number, trouble in (
                (socket.EAI_NONAME, ConnectError),
                (socket.EAI_AGAIN, LocalError)):
            cache = self.client('unknown')
            with mock.patch('socket.getaddrinfo', side_effect=socket.gaierror(
                    number, 'no address')):
                self.assertError(trouble, cache.query, 'key')
