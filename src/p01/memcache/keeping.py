# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A stream that keeps the interpreter lock where that is better.

Every system call that releases the interpreter lock has to get it back
afterwards, and beside a computing thread that takes up to the switch
interval (5 ms) each time, for a reply that was there after 20 µs. Such a
contended lock is better kept: `LockKeepingStream` calls the C library in a
way that does not release it, and waits so for a reply, but only for a moment.
Where the lock is not contended, keeping it would hold up other threads for
nothing, so `LockKeeping` decides by what it sees.
"""

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
from p01.memcache.stream import CLOSED
from p01.memcache.stream import LATE
from p01.memcache.stream import Stream


# How long the lock is kept while a reply is waited for. A memcached on this
# machine or in this rack answers sooner.
_MOMENT = 100e-6

# Who waited longer than this for a reply has mostly waited for the lock.
_CONTENDED = 2e-3

# How often a wait that releases the lock looks whether its time is over.
_TICK = struct.pack('ll', 0, 20_000)

# A bit less than the interpreter's switch interval, which ends a turn.
_TURN = 4e-3

# How many waits pass until the other way is tried again, at first and at most.
_FIRST, _LAST = 32, 4096

# More bytes take the kernel too long for keeping the lock.
_SMALL = 6144


class LockKeeping:
    """Whether requests to a server should keep the lock.

    One object is shared by the connections to a server. It is not locked:
    an update that gets lost makes it decide a little later.
    """

    def __init__(self):
        self.active = False
        self._spell = _FIRST  # so many requests keep the lock at a stretch
        self._left = 0        # so many of them are to come
        self._late = 0        # so many waited for a moment in vain
        self._rest = _FIRST   # so many long waits pass after a vain spell
        self._resting = 0     # so many of them are to come
        self._turn = 0.0      # when a thread gave way

    def choose(self):
        """Return whether the next request keeps the lock."""
        if not self.active:
            return False
        self._left -= 1
        if self._left > 0:
            return True
        # This one releases it, to see whether that still takes so long.
        self._left = self._spell
        self._late = 0
        return False

    def released(self, seconds):
        """A wait that released the lock took so long."""
        if seconds < _CONTENDED:
            # The lock may have come free by chance: believe it by and by.
            self._spell = max(self._spell // 4, _FIRST)
            self.active = self.active and self._spell > _FIRST
        elif self._resting:
            self._resting -= 1
        elif self.active:
            self._spell = min(self._spell * 2, _LAST)
            self._rest = _FIRST
        else:
            self._left = self._spell
            self._late = 0
            self.active = True

    def give_way(self):
        """Let other threads run, where the turn of this one is nearly over.

        This is called between two requests. Who loses the lock within one
        takes a connection out of use until it is his turn again; with many
        threads soon all of them, and each request has to wait for one.
        """
        now = monotonic()
        if now - self._turn > _TURN:
            self._turn = now
            sleep(1e-6)

    def waited(self):
        """A wait that kept the lock was in vain."""
        self._late += 1
        if self._late > _FIRST // 4 and (
                self._late * 2 > self._spell - self._left):
            # The server is too far away to be waited for in this way.
            self.active = False
            self._spell = _FIRST
            self._resting = self._rest
            self._rest = min(self._rest * 2, _LAST)


try:
    import ctypes

    # PyDLL is the one that keeps the lock.
    _libc = ctypes.PyDLL(None, use_errno=True)
    _send, _recv = _libc.send, _libc.recv
    _poll, _ppoll = _libc.poll, _libc.ppoll
    # The lock is released here, as socket.recv does, but that would begin
    # anew after a signal, with the kernel's whole time-out.
    _recv_releasing = ctypes.CDLL(None, use_errno=True).recv
    _FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
except (ImportError, OSError, TypeError, AttributeError):
    _libc = None
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
    _CAPACITY = ctypes.c_size_t(_SMALL)


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
        self._keeps = False  # this request
        self._fd = connection.fileno()
        self._pollfd = ctypes.byref(_PollFd(self._fd, select.POLLIN, 0))
        # The kernel's own time-out: it saves a call to wait, before each one
        # to receive.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TICK)
        buffer = ctypes.create_string_buffer(_SMALL)
        self._buffer = ctypes.byref(buffer)
        self._received = memoryview(buffer)

    def close(self):
        # The number may belong to another file from now on.
        self._fd = self._pollfd._obj.fd = -1
        super().close()

    def is_quiet(self):
        return _poll(self._pollfd, _ONE, 0) == 0

    def send(self, data):
        size = len(data)
        keeping = self._keeping
        self._keeps = keeping.active and size <= _SMALL and keeping.choose()
        if self._keeps:
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
            super().send(memoryview(data)[sent:])
            self._socket.settimeout(None)

    def receive(self, size):
        if size > _SMALL:
            return self._receive_block(size)
        start = now = monotonic()
        if self._keeps and now < self.deadline:
            if _ppoll(self._pollfd, _ONE, _A_MOMENT, None) == 1:
                size = _recv(self._fd, self._buffer, _CAPACITY, _FLAGS)
                if size > 0:
                    return self._received[:size].tobytes()
            else:
                self._keeping.waited()
        while now < self.deadline:
            size = _recv_releasing(self._fd, self._buffer, _CAPACITY, 0)
            now = monotonic()
            if size > 0:
                if not self._keeps and (
                        now - start > _CONTENDED or self._keeping.active):
                    self._keeping.released(now - start)
                return self._received[:size].tobytes()
            if size == 0:
                raise ReceiveError(CLOSED)
            self._would_block(ReceiveError)
        raise ReceiveTimeout(LATE)

    def _receive_block(self, size):
        # No copy: the kernel writes into what is returned.
        data = super().receive(size)
        self._socket.settimeout(None)
        return data

    def _would_block(self, trouble):
        """Raise `trouble`, unless the call only had nothing to do."""
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            doing = 'send' if trouble is SendError else 'receive'
            raise trouble(f'cannot {doing}: {os.strerror(number)}')
