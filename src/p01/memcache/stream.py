# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connected socket as a stream of bytes on which no wait is unbounded.

This is the only module that touches sockets and translates ``OSError``.

Every system call that releases the interpreter lock has to get it back
afterwards, and beside a computing thread that takes up to the switch
interval (5 ms) each time, for a reply that was there after 20 µs. Such a
contended lock is better kept: `LockKeepingStream` calls the C library in a
way that does not release it, and waits so for a reply, but only for a moment.
Where the lock is not contended, keeping it would hold up other threads for
nothing, so `LockKeeping` decides by what it sees.
"""

import ctypes
import errno
import io
import os
import queue
import select
import socket
import sys
import threading
from time import monotonic

from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout


def _resolve(host, port, deadline):
    """Return the addresses of `host`, by the deadline."""
    try:
        return socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    # It is a name, and asking for its addresses knows no time-out.
    answers = queue.SimpleQueue()

    def ask():
        try:
            answers.put(
                socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)

    threading.Thread(
        target=ask, name=f'p01.memcache resolves {host}', daemon=True).start()
    try:
        answer = answers.get(timeout=max(deadline - monotonic(), 0))
    except queue.Empty:
        raise ConnectTimeout(f'no address of {host} in time') from None
    if isinstance(answer, Exception):
        raise ConnectError(f'no address of {host}: {answer}')
    return answer


def connect(host, port, keeping, deadline):
    """Return a stream to the first address of `host` that accepts."""
    trouble = None
    for family, kind, protocol, _, address in _resolve(host, port, deadline):
        remaining = deadline - monotonic()
        if remaining <= 0:
            break
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:
            trouble = error
            continue
        try:
            connection.settimeout(remaining)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            trouble = error
            continue
        except BaseException:
            connection.close()
            raise
        if can_keep_lock(connection):
            return LockKeepingStream(connection, keeping)
        return Stream(connection)
    if trouble is None or isinstance(trouble, TimeoutError):
        raise ConnectTimeout('connection not accepted in time') from trouble
    raise ConnectError(f'cannot connect: {trouble}') from trouble


_CLOSED = 'the server closed the connection'


class Stream(io.RawIOBase):
    """Sends and receives in the ordinary way, on any kind of socket.

    `deadline` (of the ``monotonic`` clock) ends every wait.
    """

    deadline = 0.0

    def __init__(self, connection):
        super().__init__()
        self._socket = connection

    def readable(self):
        return True

    def close(self):
        if not self.closed:
            self._socket.close()
        super().close()

    def send(self, data):
        """Send all of `data`."""
        try:
            self._limit(SendTimeout)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise SendTimeout('request not taken in time') from error
        except OSError as error:
            raise SendError(f'cannot send: {error}') from error

    def readinto(self, buffer):
        """Wait for bytes and put them into `buffer`.

        With a deadline of 0 it takes what is there and else returns None, as
        raw streams do that do not block. The end of the stream is an error.
        """
        try:
            if self.deadline:
                self._limit(ReceiveTimeout)
            else:
                self._socket.settimeout(0)
            size = self._socket.recv_into(buffer)
        except BlockingIOError:
            return None
        except TimeoutError as error:
            raise ReceiveTimeout('no reply in time') from error
        except OSError as error:
            raise ReceiveError(f'cannot receive: {error}') from error
        if not size:
            raise ReceiveError(_CLOSED)
        return size

    def _limit(self, timeout):
        remaining = self.deadline - monotonic()
        if remaining <= 0:
            raise timeout('the time of the operation is over')
        self._socket.settimeout(remaining)


# How long the lock is kept while a reply is waited for. A memcached on this
# machine or in this rack answers sooner.
_MOMENT = 100e-6

# Who waited longer than this for a reply has mostly waited for the lock.
_CONTENDED = 2e-3

# How many waits pass until the other way is tried again, at first and at most.
_FIRST, _LAST = 32, 4096

# A larger request takes the kernel too long for keeping the lock.
_SMALL = 16384


class LockKeeping:
    """Whether waiting for a server's replies should keep the lock.

    One object is shared by the connections to a server. It is not locked:
    an update that gets lost makes it decide a little later.
    """

    def __init__(self):
        self.active = False
        self._spell = _FIRST  # so many waits keep the lock the next time
        self._kept = 0        # so many of this spell have done so
        self._late = 0        # so many of them in vain
        self._rest = _FIRST   # so many long waits pass after a vain spell
        self._resting = 0     # so many of them are left

    def released(self, seconds):
        """A wait that released the lock took so long."""
        if seconds < _CONTENDED:
            self._spell = _FIRST
        elif self._resting:
            self._resting -= 1
        else:
            self._kept = self._late = 0
            self.active = True

    def kept(self, answered):
        """A wait that kept the lock has ended, with the reply or without."""
        self._kept += 1
        if not answered:
            self._late += 1
            if self._late > _FIRST // 4 and self._late * 2 > self._kept:
                # The server is too far away to be waited for in this way.
                self.active = False
                self._spell = _FIRST
                self._resting = self._rest
                self._rest = min(self._rest * 2, _LAST)
        if self._kept >= self._spell:
            # One wait releases the lock, to see whether that is still slow.
            self.active = False
            self._spell = min(self._spell * 2, _LAST)
            self._rest = _FIRST


class _PollFd(ctypes.Structure):
    _fields_ = [('fd', ctypes.c_int),
                ('events', ctypes.c_short),
                ('revents', ctypes.c_short)]


class _Timespec(ctypes.Structure):
    _fields_ = [('seconds', ctypes.c_long), ('nanoseconds', ctypes.c_long)]


_moment = _Timespec(0, int(_MOMENT * 1e9))
_MOMENT_ADDRESS = ctypes.addressof(_moment)

try:
    # PyDLL is the one that keeps the lock.
    _libc = ctypes.PyDLL(None, use_errno=True)
    _send, _recv, _ppoll = _libc.send, _libc.recv, _libc.ppoll
    _FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
except (OSError, TypeError, AttributeError):
    _libc = None
else:
    _send.argtypes = (
        ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
    _send.restype = ctypes.c_ssize_t
    _recv.argtypes = (
        ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    _recv.restype = ctypes.c_ssize_t
    _ppoll.argtypes = (
        ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_void_p)


def can_keep_lock(connection):
    """Whether there is a lock to be kept, and a plain socket to do it with.

    TLS needs its own calls; the sockets of gevent must let others run.
    """
    return (_libc is not None
            and getattr(sys, '_is_gil_enabled', lambda: True)()
            and type(connection).__module__ == 'socket')


class LockKeepingStream(Stream):
    """Keeps the interpreter lock while it sends and receives, or not."""

    def __init__(self, connection, keeping):
        super().__init__(connection)
        connection.settimeout(None)
        self._keeping = keeping
        self._fd = connection.fileno()
        self._pollfd = _PollFd(self._fd, select.POLLIN, 0)
        self._poll = ctypes.addressof(self._pollfd)
        self._poller = select.poll()
        self._poller.register(self._fd, select.POLLIN)

    def close(self):
        # The number may belong to another file from now on.
        self._fd = self._pollfd.fd = -1
        super().close()

    def send(self, data):
        size = len(data)
        if self._keeping.active and size <= _SMALL:
            sent = _send(self._fd, data, size, _FLAGS)
            if sent < 0:
                sent = self._would_block(SendError)
        else:
            try:
                sent = self._socket.send(data, _FLAGS)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise SendError(f'cannot send: {error}') from error
        if sent < size:
            super().send(memoryview(data)[sent:])
            self._socket.settimeout(None)

    def readinto(self, buffer):
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        while True:
            if self.deadline:
                self._wait()
            size = _recv(self._fd, start, len(buffer), _FLAGS)
            if size > 0:
                return size
            if size == 0:
                raise ReceiveError(_CLOSED)
            self._would_block(ReceiveError)
            if not self.deadline:
                return None

    def _wait(self):
        keeping = self._keeping
        if keeping.active:
            answered = _ppoll(self._poll, 1, _MOMENT_ADDRESS, None) == 1
            keeping.kept(answered)
            if answered:
                return
        start = monotonic()
        remaining = self.deadline - start
        if remaining <= 0 or not self._poller.poll(remaining * 1000):
            raise ReceiveTimeout('no reply in time')
        keeping.released(monotonic() - start)

    def _would_block(self, trouble):
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR):
            return 0
        raise trouble(os.strerror(number))
