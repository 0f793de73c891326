# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreate`, and a place that is another one at each look.

It is looked at some times more, with pauses, and then the value is computed.
"""

import time
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.features import computing
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.flags import CLAIM


load_tests = run_in(Replies)


def nothing_there(request):
    """Nothing is there, and nothing can be added."""
    command, *words = request.split()
    if command == b'ms':
        return b'NS k%b\r\n' % words[0]
    return {b'mn': b'MN\r\n', b'mg': b'EN\r\n'}[command]


class LooksTest(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.ahead = 0.0
        self.pauses = []
        self.enterContext(mock.patch.multiple(
            computing, sleep=self.sleep,
            monotonic=lambda: monotonic() + self.ahead))
        self.server = self.enterContext(ScriptedServer(default=nothing_there))
        self.client = UltraMemcacheClient(
            [self.server.address], timeout=PATIENCE)
        self.addCleanup(self.client.close)

    def sleep(self, seconds):
        self.assertGreaterEqual(seconds, 0)
        self.pauses.append(seconds)
        self.ahead += seconds

    def compute(self):
        self.assertEqual(
            self.client.getOrCreate('key', lambda: 'value'), 'value')

    def test_pauses_grow(self):
        self.compute()
        self.assertEqual(self.pauses, sorted(self.pauses))
        self.assertGreater(len(self.pauses), 3)
        # All of them together are next to nothing.
        self.assertTrue(0.1 < sum(self.pauses) < 0.3, self.pauses)
        looks = [request for request in self.server.requests
                 if request.startswith(b'mg')]
        self.assertLess(len(looks), 20)

    def test_no_pause_is_longer_than_what_is_left(self):
        def sleep(seconds):
            if not self.pauses:
                self.ahead += PATIENCE - 0.004
            self.pauses.append(seconds)
            self.ahead += seconds

        with mock.patch.object(computing, 'sleep', sleep):
            self.compute()
        for pause in self.pauses[1:]:
            self.assertTrue(0 <= pause <= 0.004, self.pauses)
        self.assertGreater(len(self.pauses), 3)


class ArgumentTest(unittest.TestCase):

    def test_lifetime_and_grace_together(self):
        # Each of them may be as long. It is not found out afterwards.
        client = UltraMemcacheClient(['127.0.0.1:1'])
        self.addCleanup(client.close)
        most = int((2 ** 31 - time.time()) * 0.6)
        factory = mock.Mock()
        with self.assertRaisesRegex(ValueError, '2038'):
            client.getOrCreate('key', factory, most, most)
        factory.assert_not_called()


class ClaimTest(unittest.TestCase):
    """A claim is no value, on a server that lends no right to compute either.

    An earlier one, that did, may have left it there.
    """

    def setUp(self):
        keep_quiet(self)
        self.server = self.enterContext(ScriptedServer(default=self.answer))
        self.client = UltraMemcacheClient(
            [self.server.address], timeout=PATIENCE)
        self.addCleanup(self.client.close)

    def answer(self, request):
        command, key, *_ = *request.split(), b''
        if command == b'get':
            return b'VALUE %b %d 1\r\n.\r\nEND\r\n' % (key, CLAIM)
        # Another process has its own claim there, so that this one's is none.
        return {b'add': b'NOT_STORED\r\n'}.get(command, b'ERROR\r\n')

    def test_it_is_not_read(self):
        self.assertEqual(
            self.client.getOrCreate('key', lambda: 'value'), 'value')
        self.assertEqual(self.client.getUnreadable(), {})
        # What is computed is added, it does not replace anything.
        commands = [request.split()[0] for request in self.server.requests]
        self.assertIn(b'add', commands)
        self.assertNotIn(b'set', commands)
