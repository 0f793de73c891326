# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A stream that keeps the interpreter lock while a reply is about to come.

It calls the C library in a way that does not release the lock, and looks for
the reply again and again, but only for a moment: a thread that sleeps until
the reply arrives has to be woken up, which takes longer than a few looks.
`LockKeeping` learns whether that pays.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from functools import partial
from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.transport.lockkeeping import LOOK
from p01.memcache.transport.lockkeeping import RELEASE
from p01.memcache.transport.lockkeeping import SLEEP
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.transport.stream import CLOSED
from p01.memcache.transport.stream import LATE
from p01.memcache.transport.stream import Stream
from p01.memcache.wire.reader import SIZE


# How long the lock is kept for a reply. A memcached on this machine or in this
# rack answers sooner.
_MOMENT = 100e-6

# How often a wait that releases the lock checks whether its time is over.
_TICK = struct.pack('ll', 0, 20_000)

# More bytes take the kernel too long for keeping the lock.
_LARGE = 1 << 16


try:
    import ctypes

    # PyDLL is the one that keeps the lock.
    _libc = ctypes.PyDLL(None, use_errno=True)
    _send, _recv = _libc.send, _libc.recv
    _poll, _ppoll = _libc.poll, _libc.ppoll
    _yield = _libc.sched_yield
    # Releases the lock as socket.recv does, which would begin anew after a
    # signal, with the kernel's whole time-out.
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

    # Made once: converting arguments would take half of a call.
    _moment = _Timespec(0, int(_MOMENT * 1e9))
    _A_MOMENT = ctypes.byref(_moment)
    _ONE = ctypes.c_ulong(1)
    _SIZE = ctypes.c_size_t(SIZE)


def can_keep_lock(connection: socket.socket) -> bool:
    """Return whether there is a lock to keep, and a plain socket to use.

    TLS needs its own calls; the sockets of gevent must let others run. The
    sizes of times differ where a long has 32 bits.
    """
    return (_libc is not None
            and sys.maxsize > 2 ** 32
            and getattr(sys, '_is_gil_enabled', lambda: True)()
            and type(connection).__module__ == 'socket')


class LockKeepingStream(Stream):
    """Sends and receives in the `Way` that is chosen for each request."""

    def __init__(
            self, connection: socket.socket, keeping: LockKeeping) -> None:
        super().__init__(connection)
        connection.settimeout(None)
        self._keeping = keeping
        self._way = RELEASE
        self._polled = _PollFd(connection.fileno(), select.POLLIN, 0)
        self._pollfd = ctypes.byref(self._polled)
        # A call in C costs less than a method.
        self.has_input = partial(  # type: ignore[method-assign]
            _poll, self._pollfd, _ONE, 0)
        self._fd = connection.fileno()
        # The kernel's own time-out saves a call to wait before each call to
        # receive.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)
        self._reserve(SIZE)

    def _reserve(self, size: int) -> None:
        buffer = ctypes.create_string_buffer(size)
        self._buffer = ctypes.byref(buffer)
        self._buffered = memoryview(buffer)

    def close(self) -> None:
        # The number may belong to another file from now on.
        self._fd = self._polled.fd = -1
        super().close()

    def send(self, data: bytes | memoryview) -> None:
        size, keeping = len(data), self._keeping
        if keeping.resting:
            self._way = keeping.choose()
        else:
            self._way = keeping.way = LOOK
        if self._way is not RELEASE and size <= _LARGE:
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

    def receive(self, size: int) -> bytes:
        if size > _LARGE:
            return self._receive_block(size)
        most = _SIZE if size == SIZE else ctypes.c_size_t(size)
        if size > len(self._buffered):
            self._reserve(_LARGE)
        now = monotonic()
        if self._way is not RELEASE and now < self.deadline:
            look = self._look if self._way is LOOK else self._sleep
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

    def _look(self, most: 'ctypes.c_size_t', start: float) -> int:
        """Return how many bytes arrive within a moment, or less than 0."""
        size, passed = -1, 0.0
        while size < 0 and passed < _MOMENT:
            # The server may need this very processor to answer.
            _yield()
            size = _recv(self._fd, self._buffer, most, _FLAGS)
            passed = monotonic() - start
        if passed < _MOMENT:
            if self._keeping.vain:
                self._keeping.succeeded()
        elif passed < 2 * _MOMENT:
            # The server is too slow to wait for while holding the lock.
            self._keeping.failed(RELEASE)
        else:
            # A thread that yields is not rescheduled promptly; one that is
            # woken up is.
            self._keeping.failed(SLEEP)
        return size

    def _sleep(self, most: 'ctypes.c_size_t', start: float) -> int:
        """Do the same, and leave the processor to others."""
        if _ppoll(self._pollfd, _ONE, _A_MOMENT, None) != 1:
            return -1
        return _recv(self._fd, self._buffer, most, _FLAGS)

    def _receive_block(self, size: int) -> bytes:
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
    def _in_time(self) -> Iterator[None]:
        """Run what gives the socket a time-out, and take that off again."""
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._socket.settimeout(None)

    def _would_block(self, trouble: type[MemcacheError]) -> None:
        """Raise `trouble`, unless the call merely had nothing to do."""
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            doing = 'send' if trouble is SendError else 'receive'
            raise trouble(f'cannot {doing}: {os.strerror(number)}')
