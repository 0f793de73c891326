# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connected socket as a stream of bytes on which no wait is unbounded."""

import contextlib
import socket
import struct
from time import monotonic

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout


CLOSED = 'the server closed the connection'
LATE = 'no reply in time'


# An l_linger of no seconds.
_AT_ONCE = struct.pack('ii', 1, 0)

# Seconds, behind a deadline, in which what is there already is received.
_LAST_LOOK = 0.02


class Stream:
    """Sends and receives in the ordinary way, on any kind of socket.

    `deadline` (of the ``monotonic`` clock) ends every wait. What is there
    then is received nevertheless: the process may have stood still while it
    came.
    """

    deadline = 0.0
    _last_look = 0.0, 0.0  # of the deadline, and until when it lasts
    _socket = None

    def __init__(self, connection):
        self._socket = connection

    def close(self):
        # There is nothing to be done about an error.
        with contextlib.suppress(OSError):
            self._socket.close()

    def abort(self):
        """Close, and have the kernel forget what it has not sent yet.

        It would go on trying for minutes, and a value might arrive after a
        newer one.
        """
        with contextlib.suppress(OSError):
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close()

    def __del__(self):
        # Who had it in use was interrupted, and dropped it.
        if self._socket is not None:
            self._socket.close()

    def fileno(self):
        return self._socket.fileno()

    def is_quiet(self):
        """Return whether there is nothing to receive, not even the end."""
        try:
            self._socket.settimeout(0)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def send(self, data):
        """Send all of `data`."""
        try:
            self._limit(SendTimeout)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise SendTimeout('request not taken in time') from error
        except OSError as error:
            raise SendError(f'cannot send: {error}') from error

    def receive(self, size):
        """Wait for bytes and return them, in general at most `size`."""
        remaining = self.deadline - monotonic()
        try:
            if remaining > 0:
                self._socket.settimeout(remaining)
                with contextlib.suppress(TimeoutError):
                    return self._received(self._socket.recv(size))
            self._limit_looks()
            self._socket.settimeout(0)
            return self._received(self._socket.recv(size))
        except BlockingIOError:
            raise ReceiveTimeout(LATE) from None
        except OSError as error:
            raise ReceiveError(f'cannot receive: {error}') from error

    def _received(self, data):
        if not data:
            raise ReceiveError(CLOSED)
        return data

    def _limit_looks(self):
        """Raise a `ReceiveTimeout` if bytes have come for long enough.

        They may pour in without an end.
        """
        now, (deadline, end) = monotonic(), self._last_look
        if deadline != self.deadline:
            self._last_look = self.deadline, now + _LAST_LOOK
        elif now >= end:
            raise ReceiveTimeout(LATE)

    def _limit(self, timeout):
        remaining = self.deadline - monotonic()
        if remaining <= 0:
            raise timeout('the time of the operation is over')
        self._socket.settimeout(remaining)
