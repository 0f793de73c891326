# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Errors that are kept keep no descriptors, connections or values alive.

An error has a traceback with frames, and those refer to all that was in use.
The garbage collector is off here: a dropped object must be gone at once.
"""

import gc
import os
import socket
import unittest
import warnings
import weakref
from functools import partial
from time import monotonic
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ConnectError
from p01.memcache.errors import LocalError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import SerializationError
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.servers import refusing
from p01.memcache.transport import connection
from p01.memcache.transport import lockkeepingstream
from p01.memcache.transport.address import parse
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.dial import Endpoint
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.transport.lockkeepingstream import LockKeepingStream
from p01.memcache.transport.stream import Stream
from p01.memcache.trouble import Trouble
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Replies)


PATIENCE = 5  # seconds
REFUSED = b'SERVER_ERROR no\r\n'


class Marker:
    """A local variable: shows whether its frame is still alive."""


class Interrupted(BaseException):
    pass


class Case(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        gc.disable()
        self.addCleanup(gc.enable)


class Recorded(socket.socket):
    """A socket that is not closed by being dropped: a list refers to it."""

    all = []  # noqa: RUF012

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.all.append(self)


class DialTest(Case):
    """Sockets of connections that could not be made are closed."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(socket, 'socket', Recorded))
        self.addCleanup(Recorded.all.clear)
        self.listening = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(self.listening.close)
        self.port = self.listening.getsockname()[1]
        Recorded.all.clear()

    def dialer(self, *ports):
        dialer = Dialer(parse(f'127.0.0.1:{self.port}'))
        if ports:
            dialer._known = [
                Endpoint(
                    socket.AF_INET, socket.SOCK_STREAM, 6, ('127.0.0.1', port))
                for port in ports]
        return dialer

    def dial(self, dialer, greet=lambda sock, deadline: sock):
        """Return the error, and a reference that shows if its frames live."""
        marker = Marker()

        def greeting(sock, deadline, marker=marker):
            return greet(sock, deadline)

        try:
            dialer.dial(monotonic() + PATIENCE, greeting)
        except BaseException as error:
            return error, weakref.ref(marker)
        self.fail('it is connected')

    def assertClosed(self, count):
        self.assertEqual([sock.fileno() for sock in Recorded.all],
                         [-1] * count)

    def test_refused(self):
        error, _ = self.dial(self.dialer(1, 2))
        self.assertIs(type(error), ConnectError)
        self.assertClosed(2)

    def test_not_greeted(self):
        for trouble, kind in (
                (ConnectionResetError('no'), ConnectError),
                (OSError(24, 'no descriptor'), LocalError),
                (ValueError('no'), ConnectError),
                (MemoryError(), MemoryError), (Interrupted(), Interrupted)):
            with self.subTest(kind):
                def greet(sock, deadline, trouble=trouble):
                    raise trouble

                error, _ = self.dial(self.dialer(), greet)
                self.assertIs(type(error), kind)
                self.assertClosed(len(Recorded.all))
        self.assertEqual(len(Recorded.all), 5)

    def test_another_thread_was_faster(self):
        # It used another address. This connection is dropped for one to that.
        dialer = self.dialer(self.port)
        elsewhere = iter(['elsewhere', *dialer._known])

        def greet(sock, deadline):
            dialer.endpoint = next(elsewhere)
            return sock

        found, place = dialer.dial(monotonic() + PATIENCE, greet)
        self.addCleanup(found.close)
        self.assertEqual([place], dialer._known)
        self.assertEqual(
            [sock.fileno() == -1 for sock in Recorded.all], [True, False])

    def test_an_error_that_is_dropped(self):
        def greet(sock, deadline):
            raise ConnectionResetError

        for dialer, greeting in (
                (self.dialer(), greet), (self.dialer(1, 2), greet)):
            error, marker = self.dial(dialer, greeting)
            self.assertIsNotNone(marker())
            del error
            self.assertIsNone(marker())

    def test_an_address_that_refused_before(self):
        marker = Marker()
        gone = weakref.ref(marker)

        def greet(sock, deadline, marker=marker):
            return sock

        found, _ = self.dialer(1, self.port).dial(
            monotonic() + PATIENCE, greet)
        self.addCleanup(found.close)
        del greet, marker
        self.assertIsNone(gone())


class DropTest(Case):
    """A stream or connection that is dropped is closed at once."""

    def setUp(self):
        super().setUp()
        # It would warn about a socket that was not closed.
        self.warned = self.enterContext(warnings.catch_warnings(record=True))
        warnings.simplefilter('always')

    def streams(self):
        """Yield one of each kind, alone in a list, and its peer."""
        kinds = [Stream]
        if lockkeepingstream._libc is not None:
            kinds.append(lambda sock: LockKeepingStream(sock, LockKeeping()))
        for kind in kinds:
            here, there = socket.socketpair()
            self.addCleanup(there.close)
            there.settimeout(PATIENCE)
            self.number = here.fileno()
            alone = [kind(here)]
            del here
            yield alone, there

    def assertGone(self, there):
        self.assertEqual(there.recv(1), b'')
        with self.assertRaises(OSError):
            os.fstat(self.number)
        self.assertEqual(self.warned, [])

    def test_stream(self):
        for alone, there in self.streams():
            alone.pop()
            self.assertGone(there)

    def test_connection(self):
        # In the middle of a request, as after an interrupt.
        for alone, there in self.streams():
            dialer = mock.Mock()
            dialer.dial.return_value = alone.pop(), 'place'
            made = Connection(dialer, None, 60)
            made.connect(monotonic() + PATIENCE)
            dialer.reset_mock(return_value=True)
            made.send(b'get key\r\n', monotonic() + PATIENCE)
            self.assertEqual(there.recv(100), b'get key\r\n')
            del made
            self.assertGone(there)


class ManyTest(Case):
    """Errors that stand for a reply keep no frames alive."""

    def setUp(self):
        super().setUp()
        self.errors = []
        report = Trouble.report

        def keep(trouble, error, *args):
            self.errors.append(error)
            report(trouble, error, *args)

        self.enterContext(mock.patch.object(Trouble, 'report', keep))

    def client(self, *addresses, timeout=PATIENCE):
        client = UltraMemcacheClient(
            addresses, timeout=timeout, retries=2, delay=0, maxPoolSize=1)
        self.addCleanup(client.close)
        return client

    def operations(self):
        yield lambda client: client.queryMany(['a', 'b'])
        yield lambda client: client.setMany({'a': 1, 'b': 2})
        yield lambda client: client.invalidateMany(['a', 'b'])
        # Once more, with a backlog now; and while it is down.
        yield lambda client: client.queryMany(['a', 'b'])
        yield lambda client: client.setMany({'a': 1, 'b': 2})
        yield lambda client: client.invalidateMany(['a', 'b'])

    def assertBare(self, errors):
        self.assertTrue(errors)
        for error in errors:
            self.assertEqual(
                (error.__traceback__, error.__cause__, error.__context__),
                (None, None, None), repr(error))

    def check(self, client, least):
        for number, operation in enumerate(self.operations()):
            operation(client)
            with self.subTest(number):
                self.assertBare(self.errors)
        self.assertGreaterEqual(len(self.errors), least)
        for server in client._state.store.servers:
            for pool in server.pool, server.undelivered._turn:
                self.assertEqual(pool.statistics()['active'], 0)

    def test_answers(self):
        for answer in REFUSED, b'garbage\r\n', b'CLIENT_ERROR no\r\n', None:
            with (self.subTest(answer),
                  ScriptedServer(default=answer) as server):
                self.errors.clear()
                self.check(self.client(server.address), 6)

    def test_two_of_a_kind(self):
        with ScriptedServer(default=REFUSED) as server:
            client = self.client(server.address, '127.0.0.1:1')
            client.distribution = 'modulo'
            self.check(client, 6)

    def test_refused(self):
        self.check(self.client('127.0.0.1:1'), 6)

    def test_silent(self):
        # The time-out of an ordinary socket is the error's context.
        self.enterContext(mock.patch.object(
            connection, 'can_keep_lock', lambda sock: False))
        with ScriptedServer(default=[(b'', PATIENCE)]) as server:
            self.check(self.client(server.address, timeout=0.02), 6)

    def test_all_servers(self):
        with ScriptedServer(default=REFUSED) as server:
            client = self.client(server.address, '127.0.0.1:1')
            for _ in range(3):  # in the end, one of them is down
                with self.assertRaises(NotInvalidated) as caught:
                    client.invalidateAll()
                self.assertEqual(
                    [*caught.exception.errors], client.servers)
                self.assertBare(caught.exception.errors.values())
                self.assertIsNone(caught.exception.__context__)


class Unreadable:

    def __init__(self):
        self.used = True

    def __setstate__(self, state):
        raise RuntimeError('no')


class Seen:
    """A value that remembers each that was made of it, as long as it lives."""

    made = []  # noqa: RUF012

    def __init__(self):
        self.used = True

    def __setstate__(self, state):
        self.made.append(weakref.ref(self))


class ValuesTest(Case):
    """What is wrong with one of many values keeps no other one alive."""

    def setUp(self):
        super().setUp()
        server = self.enterContext(EmbeddedServer())
        self.client = UltraMemcacheClient(
            [server.address], timeout=PATIENCE, maxValueSize=1000)
        self.addCleanup(self.client.close)

    def stored(self, **values):
        """Store them, and one more; return a reference to that."""
        values['more'] = Seen()
        self.client.setMany(values)
        return weakref.ref(values['more'])

    def test_too_large(self):
        for value in 'x' * 1001, ['x' * 1001]:
            self.assertIsNone(self.stored(key=value)())

    def test_it_cannot_be_pickled(self):
        more = weakref.ref(seen := Seen())
        values = {'more': seen, 'key': lambda: 1, 'key 2': lambda: 2}
        with self.assertRaises(SerializationError):
            self.client.setMany(values)
        del values, seen
        self.assertIsNone(more())

    def test_it_cannot_be_read(self):
        self.stored(key=Unreadable(), key2=Unreadable())
        Seen.made.clear()
        found = self.client.queryMany(['more', 'key', 'key2'])
        self.assertEqual([*found], ['more'])
        del found
        self.assertEqual([made() for made in Seen.made], [None])


class DroppedTest(Case):
    """What the caller of a failed operation has is dropped at once."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(MemcacheClient, '_retry', 0))

    def clients(self, *addresses):
        for settings in {}, {'generations': True}:
            yield UltraMemcacheClient(addresses, **settings)
            yield MemcacheClient(addresses, **settings)

    def operations(self, client):
        for tags in (), ('a', 'b'):
            kw = {'dependencies': tags}
            yield partial(client.lookUp, 'key', **kw)
            yield partial(client.getOrCreate, 'key', int, **kw)
            yield partial(client.getOrCreate, 'key', int, grace=60, **kw)
            yield partial(
                client.getOrCreateMany, range(20), dict.fromkeys, **kw)
            yield partial(client.set, 'key', 1, **kw)
            yield partial(client.replace, 'key', 1, **kw)
            yield partial(client.setMany, dict.fromkeys(range(20)), **kw)
        yield partial(client.query, 'key')
        yield partial(client.queryMany, range(20))
        yield partial(client.invalidateMany, range(20))
        yield partial(client.invalidateDependencies, 'a', 'b')

    def check(self, *addresses):
        for client in self.clients(*addresses):
            for number, operation in enumerate(self.operations(client)):
                marker = Marker()
                reference = weakref.ref(marker)

                def call(marker=marker, operation=operation):
                    operation()

                call()
                del marker, call, operation
                with self.subTest(client=client, number=number):
                    self.assertIsNone(reference())
            client.close()

    def test_a_server_that_is_down(self):
        with refusing() as address:
            self.check(address)

    def test_servers_that_are_down(self):
        with refusing() as one, refusing() as two, EmbeddedServer() as up:
            self.check(one, up.address, two)

    def test_a_server_that_refuses(self):
        with ScriptedServer(default=lambda request: REFUSED) as server:
            self.check(server.address)

    def test_look_ups(self):
        # The right is free again, without a collection.
        with refusing() as address:
            for client in self.clients(address):
                for number in range(3):
                    self.assertFalse(client.lookUp('key').isHit, number)
                client.close()
