# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""When the interpreter lock is kept for a reply, and how."""

import itertools
import socket
import threading
import time
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.transport import lockkeeping
from p01.memcache.transport import lockkeepingstream
from p01.memcache.transport.lockkeeping import LOOK
from p01.memcache.transport.lockkeeping import RELEASE
from p01.memcache.transport.lockkeeping import SLEEP
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.transport.lockkeepingstream import LockKeepingStream
from p01.memcache.wire.reader import PIECE
from p01.memcache.wire.reader import SIZE


WAYS = LOOK, SLEEP, RELEASE


class TestLockKeeping(unittest.TestCase):

    def setUp(self):
        self.keeping = LockKeeping()

    def choose(self, count):
        return [self.keeping.choose() for _ in range(count)]

    def fail(self, count, other=RELEASE):
        for _ in range(count):
            self.assertEqual(self.keeping.choose(), LOOK)
            self.keeping.failed(other)

    def test_replies_in_time(self):
        self.assertEqual(self.choose(100), [LOOK] * 100)
        self.assertEqual(self.keeping.way, LOOK)

    def test_a_server_that_is_too_slow(self):
        self.fail(8)
        self.assertEqual(self.choose(32), [RELEASE] * 32)
        self.assertEqual(self.keeping.way, RELEASE)

    def test_other_threads_want_the_processor(self):
        self.fail(1, SLEEP)
        self.assertEqual(self.choose(32), [SLEEP] * 32)
        self.assertEqual(self.keeping.way, SLEEP)
        # As long as that goes on, keeping is tried more and more rarely.
        self.fail(1, SLEEP)
        self.assertEqual(self.choose(65), [SLEEP] * 64 + [LOOK])

    def test_rests_get_longer(self):
        self.fail(8)
        for rest in 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096:
            self.assertEqual(self.choose(rest), [RELEASE] * rest)
            # One failed try is enough to rest again.
            self.fail(1)

    def test_all_fail_at_the_same_time(self):
        self.fail(8)
        for _ in range(16):
            self.keeping.failed(RELEASE)
        self.assertEqual(self.choose(33), [RELEASE] * 32 + [LOOK])

    def test_the_way_to_rest_may_change(self):
        self.fail(8, RELEASE)
        self.choose(32)
        self.fail(1, SLEEP)
        self.assertEqual(self.choose(64), [SLEEP] * 64)

    def test_half_of_them_in_time(self):
        for _ in range(100):
            self.fail(7)
            for _ in range(7):
                self.keeping.succeeded()
        self.assertEqual(self.keeping.choose(), LOOK)

    def test_fast_again(self):
        self.fail(8)
        self.choose(32)
        for _ in range(7):
            self.assertEqual(self.keeping.choose(), LOOK)
            self.keeping.succeeded()
        # Earlier failures are forgotten.
        self.fail(8)
        self.assertEqual(self.choose(33), [RELEASE] * 32 + [LOOK])


class TestGiveWay(unittest.TestCase):

    def setUp(self):
        self.keeping = LockKeeping()
        self.now = 1000.0
        self.sleep = mock.Mock()
        self.enterContext(mock.patch.multiple(
            lockkeeping, monotonic=lambda: self.now, sleep=self.sleep))

    def request(self, seconds, pause=0):
        self.now += pause
        asked = self.now
        self.now += seconds
        self.keeping.give_way(asked)

    def test_at_the_end_of_each_turn(self):
        for _ in range(100):
            self.request(100e-6)
        self.assertEqual(self.sleep.call_count, 2)

    def test_not_if_other_threads_had_their_turn(self):
        for _ in range(100):
            self.request(100e-6, pause=2e-3)
        self.sleep.assert_not_called()

    def test_after_a_request_that_lost_the_lock(self):
        self.request(6e-3)
        self.assertEqual(self.sleep.call_count, 1)


class TestStream(unittest.TestCase):

    def setUp(self):
        if lockkeepingstream._libc is None:
            self.skipTest('the C library cannot be called here')
        self.end, other = socket.socketpair()
        self.keeping = LockKeeping()
        self.stream = LockKeepingStream(other, self.keeping)
        self.addCleanup(self.end.close)
        self.addCleanup(self.stream.close)
        self.stream.deadline = monotonic() + 10

    def use(self, way):
        self.keeping.resting = 1
        self.keeping.choose = lambda: way
        self.stream.send(b'.')
        self.end.recv(1)

    def test_a_reply(self):
        for way in WAYS:
            self.use(way)
            self.end.send(b'reply')
            self.assertEqual(self.stream.receive(SIZE), b'reply')

    def test_sizes(self):
        # No more is received than was asked for.
        data = bytes(range(256)) * 1024
        for way in WAYS:
            for size in SIZE, SIZE + 1, 1 << 16, (1 << 16) + 1, PIECE, SIZE:
                self.use(way)
                sending = threading.Thread(
                    target=self.end.sendall, args=(data,))
                sending.start()
                received = b''
                while len(received) < len(data):
                    piece = self.stream.receive(size)
                    self.assertLessEqual(len(piece), size)
                    received += piece
                sending.join()
                self.assertEqual(received, data)

    def test_large_requests(self):
        data = bytes(range(256)) * 4096
        for way in WAYS:
            self.keeping.resting = 1
            self.keeping.choose = lambda way=way: way
            received = bytearray()

            def receive(received=received):
                while len(received) < len(data):
                    received.extend(self.end.recv(1 << 16))

            receiving = threading.Thread(target=receive)
            receiving.start()
            self.stream.send(data)
            receiving.join(10)
            self.assertEqual(bytes(received), data)

    def test_the_time_is_over(self):
        for way in WAYS:
            for size in SIZE, PIECE:
                self.use(way)
                self.stream.deadline = monotonic() + 0.05
                with self.assertRaises(ReceiveTimeout):
                    self.stream.receive(size)
                self.assertLess(monotonic() - self.stream.deadline, 1)
                # But data that has already arrived is returned.
                self.stream.deadline = monotonic() - 1
                self.end.send(b'late')
                self.assertEqual(self.stream.receive(size), b'late')
                with self.assertRaises(ReceiveTimeout):
                    self.stream.receive(size)

    def sizes(self):
        """Yield sizes, each with a stream of its own, in each way."""
        for way, size in itertools.product(WAYS, (SIZE, PIECE)):
            self.doCleanups()
            self.setUp()
            self.use(way)
            yield size

    def test_the_end(self):
        for size in self.sizes():
            self.end.close()
            with self.assertRaises(ReceiveError):
                self.stream.receive(size)
            with self.assertRaises(SendError):
                for _ in range(2):
                    self.stream.send(b'.')

    def test_closed(self):
        for size in self.sizes():
            self.stream.close()
            with self.assertRaises(ReceiveError):
                self.stream.receive(size)

    def test_a_fast_server(self):
        # Also on a busy machine: a look takes this thread a microsecond.
        looks = itertools.count(monotonic(), 1e-6)
        here = threading.get_ident()

        def clock():
            return next(looks) if threading.get_ident() == here else (
                monotonic())

        self.enterContext(mock.patch.object(
            lockkeepingstream, 'monotonic', clock))
        for _ in range(20):
            self.stream.send(b'.')
            self.end.recv(1)
            self.end.send(b'reply')
            self.stream.receive(SIZE)
        self.assertEqual((self.keeping.way, self.keeping.vain), (LOOK, 0))

    def test_a_slow_server(self):
        # No other thread wants the processor here, and a look ends in time.
        looks = [monotonic() + step * 20e-6 for step in range(1000)]
        for _ in range(8):
            self.stream.send(b'.')
            with mock.patch.object(
                    lockkeepingstream, 'monotonic', iter(looks).__next__):
                self.assertLess(
                    self.stream._look(lockkeepingstream._SIZE, looks[0]), 0)
        self.assertEqual(self.keeping.choose(), RELEASE)

    def test_a_processor_that_other_threads_want(self):
        self.enterContext(mock.patch.object(
            lockkeepingstream, '_yield', lambda: time.sleep(300e-6)))
        self.stream.send(b'.')
        self.end.send(b'reply')
        self.assertEqual(self.stream.receive(SIZE), b'reply')
        self.assertEqual(self.keeping.choose(), SLEEP)
