# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The end of a stream: an abort, a socket that fails, time that is over."""

import errno
import socket
import ssl
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.transport import lockkeepingstream
from p01.memcache.transport import stream
from p01.memcache.transport.lockkeeping import RELEASE
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.transport.lockkeepingstream import LockKeepingStream
from p01.memcache.transport.stream import Stream
from p01.memcache.transport.tls import TLSStream
from p01.memcache.wire.reader import SIZE


PATIENCE = 10  # seconds
PIECE = b'.' * (1 << 16)


def plain(connection):
    return Stream(connection)


def keeping_lock(connection):
    return LockKeepingStream(connection, LockKeeping())


def tls(connection):
    """Return a TLS stream whose handshake counts as done."""
    with mock.patch.object(TLSStream, '_shake_hands', lambda stream: True), \
         mock.patch.object(ssl.SSLObject, 'getpeercert', lambda *args: b'.'):
        return TLSStream(
            connection, ssl.create_default_context(), 'localhost',
            monotonic() + PATIENCE)


class AbortTest(unittest.TestCase):
    """A peer that reads late gets a reset, not the rest of the request."""

    kinds = [plain, tls]  # noqa: RUF012
    if lockkeepingstream._libc is not None:
        kinds.append(keeping_lock)

    def connected(self):
        """Return both ends of a TCP connection."""
        with socket.create_server(('127.0.0.1', 0)) as listening:
            here = socket.create_connection(listening.getsockname())
            self.addCleanup(here.close)
            there = listening.accept()[0]
            self.addCleanup(there.close)
        there.settimeout(PATIENCE)
        return here, there

    def fill(self, connection):
        """Send until the buffers of the peer and of the kernel are full."""
        sent = 0
        connection.setblocking(False)
        while True:
            try:
                sent += connection.send(PIECE)
            except BlockingIOError:
                return sent

    def read(self, connection):
        """Return how much arrives before the end; a reset is an OSError."""
        received = 0
        while data := connection.recv(1 << 20):
            received += len(data)
        return received

    def test_abort(self):
        for kind in self.kinds:
            with self.subTest(kind.__name__):
                here, there = self.connected()
                aborted = kind(here)
                self.fill(here)
                aborted.abort()
                with self.assertRaises(ConnectionResetError):
                    self.read(there)

    def test_close(self):
        # In contrast, this sends all that was written.
        for kind in self.kinds:
            with self.subTest(kind.__name__):
                here, there = self.connected()
                closed = kind(here)
                sent = self.fill(here)
                closed.close()
                self.assertEqual(self.read(there), sent)

    def test_twice(self):
        for kind in self.kinds:
            here, _ = self.connected()
            aborted = kind(here)
            for _ in range(2):
                aborted.abort()
            self.assertEqual(aborted.fileno(), -1)


class LastLookTest(unittest.TestCase):
    """What is there at the deadline is received, for a moment."""

    kinds = [plain]  # noqa: RUF012
    if lockkeepingstream._libc is not None:
        kinds.append(keeping_lock)

    def streams(self):
        """Yield one of each kind, whose time is over, and its peer."""
        self.enterContext(mock.patch.object(
            stream, 'monotonic', lambda: self.now))
        for kind in self.kinds:
            here, there = socket.socketpair()
            self.addCleanup(there.close)
            found = kind(here)
            self.addCleanup(found.close)
            found.deadline = self.now = -1000.0
            there.send(b'.' * 100)
            yield found

    def assertReceives(self, found):
        self.assertEqual(found.receive(1), b'.')

    def assertLate(self, found):
        with self.assertRaises(ReceiveTimeout):
            found.receive(1)

    def test_as_long_as_the_moment_lasts(self):
        for found in self.streams():
            self.now += 500  # the process stood still
            for _ in range(3):
                self.assertReceives(found)
                self.now += 0.006
            self.now += 0.004
            for _ in range(3):
                self.assertLate(found)

    def test_each_deadline_has_its_own(self):
        for found in self.streams():
            for _ in range(3):
                self.assertReceives(found)
                self.now += 0.05
                self.assertLate(found)
                found.deadline = self.now

    def test_nothing_is_there(self):
        for found in self.streams():
            self.assertEqual(len(found.receive(1000)), 100)
            self.assertLate(found)


@unittest.skipIf(
    lockkeepingstream._libc is None, 'the C library cannot be called')
class FailingSocketTest(unittest.TestCase):
    """A wait that releases the lock ends with the first error.

    If asked again, a socket that has failed fails at once: the wait would use
    the processor until the deadline.
    """

    def setUp(self):
        here, there = socket.socketpair()
        self.addCleanup(there.close)
        self.stream = keeping_lock(here)
        self.addCleanup(self.stream.close)
        self.stream.deadline = monotonic() + PATIENCE

    def fail(self, *numbers):
        """Make the socket fail with these errors, and then with none."""
        self.calls = 0

        def receive(*args):
            self.calls += 1
            lockkeepingstream.ctypes.set_errno(numbers[self.calls - 1])
            return -1

        self.enterContext(mock.patch.object(
            lockkeepingstream, '_recv_releasing', receive))

    def receive(self):
        self.assertEqual(self.stream._way, RELEASE)
        with self.assertRaises(ReceiveError) as caught:
            self.stream.receive(SIZE)
        return str(caught.exception)

    def test_it_is_asked_once(self):
        for number in errno.ECONNRESET, errno.EBADF, errno.ENOTCONN:
            self.fail(number)
            self.assertRegex(self.receive(), '^cannot receive: ')
            self.assertEqual(self.calls, 1)

    def test_no_data_yet_is_no_error(self):
        # A tick has passed, or a signal has arrived.
        self.fail(errno.EAGAIN, errno.EINTR, errno.EAGAIN, errno.ECONNRESET)
        self.receive()
        self.assertEqual(self.calls, 4)
