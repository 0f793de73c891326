# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""When missed changes are delivered, and when a server is left alone."""

import unittest
from unittest import mock

from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.health import undelivered
from p01.memcache.health.undelivered import Undelivered


REFUSED = b'SERVER_ERROR no\r\n'
DELETED = b'DELETED\r\n'
TIME = 5  # seconds for a delivery


class Health:

    absence = 0
    is_down = False


class Server:
    """A server that gives the same reply to each line."""

    reply = REFUSED

    def __init__(self):
        self.health = Health()
        self.asked = []

    def run(self, command, deadline):
        data = command.encode()
        self.asked.append(data)
        command.read(Lines(self.reply * data.count(b'\n')))


class Lines:

    def __init__(self, data):
        self._lines = data.splitlines(keepends=True)

    def readline(self, limit):
        return self._lines.pop(0)


class UndeliveredCase(unittest.TestCase):

    def setUp(self):
        self.now = 1000.0
        self.enterContext(mock.patch.object(
            undelivered, 'monotonic', lambda: self.now))
        self.server = Server()
        self.undelivered = Undelivered('server')
        self.undelivered.add(b'refused')

    def deliver(self, key=b'another'):
        """Deliver; return whether the server was asked."""
        before = len(self.server.asked)
        self.undelivered.deliver(self.server, key, self.now + TIME)
        return len(self.server.asked) > before


class DownTest(UndeliveredCase):

    def test_it_is_not_asked(self):
        self.server.health.absence = 60
        for _ in range(2):
            self.assertFalse(self.deliver())
        with self.assertRaises(ServerDown):
            self.deliver(b'refused')
        self.assertEqual(self.server.asked, [])
        self.server.health.absence = 0
        self.assertTrue(self.deliver())


class FloodTest(UndeliveredCase):

    def test_it_is_logged_once(self):
        with self.assertLogs('p01.memcache') as logs:
            for number in range(3 * undelivered.MOST):
                self.undelivered.add(b'%d' % number)
        self.assertEqual(len(logs.output), 1)
        self.assertTrue(self.undelivered.owes(b'any'))
        self.assertLessEqual(len(self.undelivered.keys), undelivered.MOST)


class PauseTest(UndeliveredCase):

    def pause(self):
        """Return how long the server is left alone, in whole seconds."""
        start = self.now
        while not self.deliver():
            # Just before its end, and then at its end.
            self.now += 0.5
            if self.now - start > 1000:
                self.fail('never again')
        return self.now - start

    def test_it_grows(self):
        self.assertTrue(self.deliver())
        self.assertEqual(
            [self.pause() for _ in range(9)],
            [1, 2, 4, 8, 16, 32, 64, 64, 64])
        self.assertEqual(list(self.undelivered.keys), [b'refused'])

    def test_it_starts_over(self):
        # As soon as everything has been accepted once.
        self.deliver()
        for _ in range(4):
            self.pause()
        self.server.reply = DELETED
        self.now += 16
        self.assertTrue(self.deliver())
        self.assertEqual(self.undelivered.keys, {})
        self.server.reply = REFUSED
        self.undelivered.add(b'refused')
        self.assertTrue(self.deliver())
        self.assertEqual([self.pause() for _ in range(3)], [1, 2, 4])

    def test_a_request_for_the_key_does_not_wait_for_it(self):
        # And that does not prolong the pause of other keys.
        self.deliver()
        for _ in range(5):
            with self.assertRaises(ServerError):
                self.deliver(b'refused')
        self.assertEqual(self.pause(), 1)
        for _ in range(5):
            with self.assertRaises(ServerError):
                self.deliver(b'refused')
        self.assertEqual(self.pause(), 2)
