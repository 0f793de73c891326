# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A stream that keeps the interpreter lock while a reply is about to come.

A system call that releases the interpreter lock has to get it back
afterwards. Beside a computing thread that takes up to the switch interval
(5 ms) each time, among many threads that all talk to the server it takes as
long as the talk itself, for a reply that was there after 20 µs. And who sleeps
until a reply is there has to be woken up, which takes longer than to look for
it a few times. So `LockKeepingStream` calls the C library in a way that does
not release the lock, and looks for the reply again and again, but only for a
moment. `LockKeeping` sees whether the server mostly answers within it.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import sys
from time import monotonic
from time import sleep

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.transport.stream import CLOSED
from p01.memcache.transport.stream import LATE
from p01.memcache.transport.stream import Stream
from p01.memcache.wire.reader import SIZE


# How long the lock is kept for a reply. A memcached on this machine or in this
# rack answers sooner.
_MOMENT = 100e-6

# A bit less than the interpreter's switch interval, which ends a turn; and the
# gap between two requests in which others had theirs.
_TURN, _GAP = 4e-3, 1e-3

# How often a wait that releases the lock looks whether its time is over.
_TICK = struct.pack('ll', 0, 20_000)

# What a request does, and who waits for its reply: keep the lock and look for
# it, keep the lock and sleep, or release the lock.
LOOK, SLEEP, RELEASE = range(3)

# After so many more looks in vain than others nobody looks any more, for so
# many requests, at first and at most.
_VAIN = 8
_FIRST, _LAST = 32, 4096

# More bytes take the kernel too long for keeping the lock.
_LARGE = 1 << 16


class LockKeeping:
    """Which way requests to a server go: `LOOK`, `SLEEP` or `RELEASE`.

    One object is shared by the connections to a server. It is not locked:
    an update that gets lost makes it decide a little later.
    """

    def __init__(self):
        self.way = RELEASE    # of the last request
        self.vain = 0         # how many looks more in vain than not, lately
        self._other = LOOK    # the way while nobody looks
        self._left = 0        # for so many requests
        self._rest = _FIRST   # and for so many, the next time
        self._began = 0.0     # the turn of a thread
        self._ended = 0.0     # the last request

    def choose(self):
        """Return the way of the next request."""
        if self._left > 0:
            self._left -= 1
            self.way = self._other
        else:
            self.way = LOOK
        return self.way

    def succeeded(self):
        """The reply was seen in time, after looks in vain."""
        self.vain = max(self.vain - 1, 0)
        if not self.vain:
            self._rest = _FIRST

    def failed(self, other):
        """It was not, and `other` would have been the better way."""
        # Milliseconds without the processor are more than many looks gain.
        self.vain = _VAIN if other == SLEEP else self.vain + 1
        if self.vain >= _VAIN:
            # After the rest a single look tells whether it is still so.
            self.vain = _VAIN - 1
            self._other = other
            if self._left <= 0:  # else others who looked, too, were faster
                self._left = self._rest
                self._rest = min(self._rest * 2, _LAST)

    def give_way(self, asked):
        """Let other threads run, where the turn of this one is nearly over.

        This is called behind a request that was sent at `asked`. A thread that
        loses the lock within one keeps its connection until it has its next
        turn; with many threads soon all of them, and each request has to wait
        for one.
        """
        now = monotonic()
        if asked - self._ended > _GAP:
            self._began = asked
        self._ended = now
        if now - self._began > _TURN:
            self._began = now
            sleep(1e-6)


try:
    import ctypes

    # PyDLL is the one that keeps the lock.
    _libc = ctypes.PyDLL(None, use_errno=True)
    _send, _recv = _libc.send, _libc.recv
    _poll, _ppoll = _libc.poll, _libc.ppoll
    _yield = _libc.sched_yield
    # The lock is released here, as socket.recv does, but that would begin
    # anew after a signal, with the kernel's whole time-out.
    _recv_releasing = ctypes.CDLL(None, use_errno=True).recv
    _FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
except (ImportError, OSError, TypeError, AttributeError):
    _libc = None  # type: ignore[assignment]
else:
    _send.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)

    class _PollFd(ctypes.Structure):
        _fields_ = [('fd', ctypes.c_int),
                    ('events', ctypes.c_short),
                    ('revents', ctypes.c_short)]

    class _Timespec(ctypes.Structure):
        _fields_ = [('seconds', ctypes.c_long),
                    ('nanoseconds', ctypes.c_long)]

    # Arguments that are made once: converting them would take half of a call.
    _moment = _Timespec(0, int(_MOMENT * 1e9))
    _A_MOMENT = ctypes.byref(_moment)
    _ONE = ctypes.c_ulong(1)
    _SIZE = ctypes.c_size_t(SIZE)


def can_keep_lock(connection):
    """Whether there is a lock to be kept, and a plain socket to do it with.

    TLS needs its own calls; the sockets of gevent must let others run. Times
    have other sizes where a long has 32 bits.
    """
    return (_libc is not None
            and sys.maxsize > 2 ** 32
            and getattr(sys, '_is_gil_enabled', lambda: True)()
            and type(connection).__module__ == 'socket')


class LockKeepingStream(Stream):
    """Keeps the interpreter lock while it sends and receives, or not."""

    def __init__(self, connection, keeping):
        super().__init__(connection)
        connection.settimeout(None)
        self._keeping = keeping
        self._way = RELEASE
        self._fd = connection.fileno()
        self._pollfd = ctypes.byref(_PollFd(self._fd, select.POLLIN, 0))
        # The kernel's own time-out: it saves a call to wait, before each one
        # to receive.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)
        self._reserve(SIZE)

    def _reserve(self, size):
        buffer = ctypes.create_string_buffer(size)
        self._buffer = ctypes.byref(buffer)
        self._buffered = memoryview(buffer)

    def close(self):
        # The number may belong to another file from now on.
        self._fd = self._pollfd._obj.fd = -1
        super().close()

    def is_quiet(self):
        return _poll(self._pollfd, _ONE, 0) == 0

    def send(self, data):
        size = len(data)
        self._way = self._keeping.choose()
        if self._way != RELEASE and size <= _LARGE:
            sent = _send(self._fd, data, size, _FLAGS)
            if sent < 0:
                self._would_block(SendError)
                sent = 0
        else:
            try:
                sent = self._socket.send(data, _FLAGS)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise SendError(f'cannot send: {error}') from error
        if sent < size:
            with self._in_time():
                super().send(memoryview(data)[sent:])

    def receive(self, size):
        if size > _LARGE:
            return self._receive_block(size)
        most = _SIZE if size == SIZE else ctypes.c_size_t(size)
        if size > len(self._buffered):
            self._reserve(_LARGE)
        now = monotonic()
        if self._way != RELEASE and now < self.deadline:
            look = self._look if self._way == LOOK else self._sleep
            size = look(most, now)
            if size > 0:
                return self._buffered[:size].tobytes()
            now = monotonic()
        while now < self.deadline:
            size = _recv_releasing(self._fd, self._buffer, most, 0)
            if size > 0:
                return self._buffered[:size].tobytes()
            if size == 0:
                raise ReceiveError(CLOSED)
            self._would_block(ReceiveError)
            now = monotonic()
        self._limit_looks()
        size = _recv(self._fd, self._buffer, most, _FLAGS)
        if size > 0:
            return self._buffered[:size].tobytes()
        if size == 0:
            raise ReceiveError(CLOSED)
        self._would_block(ReceiveError)
        raise ReceiveTimeout(LATE)

    def _look(self, most, start):
        """Return how many bytes are received within a moment, or less than 0.
        """
        size, passed = -1, 0
        while size < 0 and passed < _MOMENT:
            # The server may need this very processor to answer.
            _yield()
            size = _recv(self._fd, self._buffer, most, _FLAGS)
            passed = monotonic() - start
        if passed < _MOMENT:
            if self._keeping.vain:
                self._keeping.succeeded()
        elif passed < 2 * _MOMENT:
            # The server is too far away to be waited for by who has the lock.
            self._keeping.failed(RELEASE)
        else:
            # Who yields does not get the processor back, but who is woken up.
            self._keeping.failed(SLEEP)
        return size

    def _sleep(self, most, start):
        """Do so without the processor."""
        if _ppoll(self._pollfd, _ONE, _A_MOMENT, None) != 1:
            return -1
        return _recv(self._fd, self._buffer, most, _FLAGS)

    def _receive_block(self, size):
        # No copy: the kernel writes into what is returned.
        if monotonic() < self.deadline:
            try:
                return self._received(
                    self._socket.recv(size, socket.MSG_DONTWAIT))
            except BlockingIOError:
                pass
            except OSError as error:
                raise ReceiveError(f'cannot receive: {error}') from error
        with self._in_time():
            return super().receive(size)

    @contextlib.contextmanager
    def _in_time(self):
        """In the ordinary way the socket has a time-out."""
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._socket.settimeout(None)

    def _would_block(self, trouble):
        """Raise `trouble`, unless the call only had nothing to do."""
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            doing = 'send' if trouble is SendError else 'receive'
            raise trouble(f'cannot {doing}: {os.strerror(number)}')
