# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The health of a server: who may ask it, and when."""

import threading
import unittest
from time import monotonic
from unittest import mock

from p01.memcache import server
from p01.memcache.errors import ClientError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.server import Server
from p01.memcache.server import parse_address


class Connection:
    """Answers with what the test says, or raises it."""

    dirty = False
    answer = 'answer'

    def is_ready(self):
        return True

    def request(self, data, read, deadline):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        pass


class TestServer(unittest.TestCase):

    def setUp(self):
        self.enterContext(self.assertLogs('p01.memcache'))
        server.logger.warning('at least one line')
        self.server = Server('127.0.0.1:1', 2, 0, 0.05, 2, 60)
        self.server.pool._factory = Connection
        self.addCleanup(setattr, Connection, 'answer', 'answer')

    def request(self, answer='answer', timeout=1):
        Connection.answer = answer
        return self.server.request(b'', None, monotonic() + timeout)

    def fail(self, error, times=1):
        for _ in range(times):
            with self.assertRaises(type(error)):
                self.request(error)

    def wait(self):
        until = self.server._down_until
        pause = threading.Event()
        while monotonic() < until:
            pause.wait(0.005)

    def test_states(self):
        self.assertEqual(self.server.state, 'up')
        self.fail(ReceiveTimeout('late'))
        self.assertEqual(self.server.state, 'failing')
        self.request()
        self.assertEqual(self.server.state, 'up')
        self.fail(ReceiveTimeout('late'), 2)
        self.assertEqual(self.server.state, 'down')
        with self.assertRaises(ServerDown):
            self.request()
        self.wait()
        self.assertEqual(self.request(), 'answer')
        self.assertEqual(self.server.state, 'up')

    def test_a_probe_that_fails(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.fail(ReceiveTimeout('late'))
        with self.assertRaises(ServerDown):
            self.request()

    def test_one_probe(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.server._probe(monotonic() + 1)
        with self.assertRaises(ServerDown):
            self.server._probe(monotonic() + 1)

    def test_the_probe_came_back_meanwhile(self):
        # It must not be marked down again by who is about to look.
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()

        def clock():
            self.server._answered(monotonic())
            return monotonic()

        with mock.patch.object(server, 'monotonic', clock):
            self.server._probe(monotonic() + 1)
        self.assertEqual(self.server.state, 'up')
        self.request()

    def test_refusals_are_answers(self):
        for error in (ServerError('no'), ClientError('no'), ServerBusy('no')):
            self.fail(error, 5)
            self.assertEqual(self.server.state, 'up')

    def test_a_probe_that_is_refused(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.fail(ServerError('no'))
        self.assertEqual(self.server.state, 'up')

    def late(self, times):
        """Somebody waits long for a connection, and not so for the reply."""
        clock = iter((0.0, 0.9) * times)
        Connection.answer = ReceiveTimeout('late')
        for _ in range(times):
            with (mock.patch.object(server, 'monotonic', lambda: next(clock)),
                  mock.patch.object(self.server, '_failed') as failed,
                  self.assertRaises(ReceiveTimeout)):
                self.server.request(b'', None, 1.0)
        return failed.called

    def test_who_waited_for_others_does_not_blame(self):
        self.server._heard = 0.5
        self.assertFalse(self.late(1))

    def test_but_does_if_nobody_got_an_answer(self):
        self.server._heard = -0.5
        self.assertTrue(self.late(1))


class TestAddress(unittest.TestCase):

    def test_right(self):
        for address, expected in (
                ('a', ('a', 11211)), ('a-b.c_d:1', ('a-b.c_d', 1)),
                ('127.0.0.1:65535', ('127.0.0.1', 65535)),
                ('m\xfcnchen:2', ('m\xfcnchen', 2)),
                ('[::1]', ('::1', 11211)), ('[0:0::1]:3', ('::1', 3))):
            self.assertEqual(parse_address(address), expected)

    def test_wrong(self):
        for address in ('', ':1', 'a:', 'a:0', 'a:65536', 'a:-1', 'a:b', '*',
                        'a b', 'a,b', 'a\n', 'a\0', '::1', '[::', '[:::]:1',
                        '[a]:1', 'a:1:2', 'user@a', 'a/b', 'a:\u0661'):
            with (self.subTest(address),
                  self.assertRaisesRegex(ValueError, '.+')):
                parse_address(address)
        for address in (None, 1, b'a', ('a', 1)):
            with self.subTest(address), self.assertRaises(TypeError):
                parse_address(address)
