# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreate`, on a key that has changed at each look.

It looks a few times more, with pauses, and then the value is computed.
"""

import time
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.features import computing
from p01.memcache.features import looking
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.flags import CLAIM


load_tests = run_in(Replies)


def nothing_there(request):
    """The key does not exist, and nothing can be added."""
    command, *words = request.split()
    if command == b'ms':
        return b'NS k%b\r\n' % words[0]
    return {b'get': b'END\r\n', b'mn': b'MN\r\n', b'mg': b'EN\r\n'}[command]


class LooksTest(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.ahead = 0.0
        self.pauses = []
        def now():
            return monotonic() + self.ahead

        self.enterContext(mock.patch.multiple(
            looking, sleep=self.sleep, monotonic=now))
        self.enterContext(mock.patch.object(computing, 'monotonic', now))
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
        # In total they take hardly any time.
        self.assertTrue(0.1 < sum(self.pauses) < 0.3, self.pauses)
        looks = [request for request in self.server.requests
                 if request.startswith(b'mg')]
        self.assertLess(len(looks), 20)

    def test_no_pause_is_longer_than_the_time_left(self):
        def sleep(seconds):
            if not self.pauses:
                self.ahead += PATIENCE - 0.004
            self.pauses.append(seconds)
            self.ahead += seconds

        with mock.patch.object(looking, 'sleep', sleep):
            self.compute()
        for pause in self.pauses[1:]:
            self.assertTrue(0 <= pause <= 0.004, self.pauses)
        self.assertGreater(len(self.pauses), 3)


class ArgumentTest(unittest.TestCase):

    def test_lifetime_and_grace_together(self):
        # Each of them is valid on its own. The sum is checked beforehand.
        client = UltraMemcacheClient(['127.0.0.1:1'])
        self.addCleanup(client.close)
        most = int((2 ** 31 - time.time()) * 0.6)
        factory = mock.Mock()
        with self.assertRaisesRegex(ValueError, '2038'):
            client.getOrCreate('key', factory, most, most)
        factory.assert_not_called()


class ClaimTest(unittest.TestCase):
    """A claim is not a value, even on a server that grants no leases.

An earlier server, which did, may have left it there.
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
        # The claim is that of another process.
        return {b'add': b'NOT_STORED\r\n'}.get(command, b'ERROR\r\n')

    def test_a_claim_is_not_read(self):
        self.assertEqual(
            self.client.getOrCreate('key', lambda: 'value'), 'value')
        self.assertEqual(self.client.getUnreadable(), {})
        # The computed value is added; it does not replace anything.
        commands = [request.split()[0] for request in self.server.requests]
        self.assertIn(b'add', commands)
        self.assertNotIn(b'set', commands)
