# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connected socket as a stream of bytes; no wait on it is unbounded."""

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

# Seconds after a deadline in which bytes that have arrived are received.
_LAST_LOOK = 0.02


class Stream:
    """Sends and receives in the ordinary way, on any kind of socket.

    `deadline` (of the ``monotonic`` clock) ends every wait. What has arrived
    by then is still received: the process may have stood still meanwhile.
    """

    deadline = 0.0
    _last_look = 0.0, 0.0  # its deadline, and when it ends

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def close(self) -> None:
        # Nothing can be done about an error.
        with contextlib.suppress(OSError):
            self._socket.close()

    def abort(self) -> None:
        """Close, and have the kernel discard what it has not sent yet.

        It would keep trying for minutes, and a value might arrive after a
        newer one.
        """
        with contextlib.suppress(OSError):
            self._socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close()

    def __del__(self) -> None:
        # Its user was interrupted and dropped it, perhaps half made.
        if hasattr(self, '_socket'):
            self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def has_input(self) -> object:
        """Return a true value if anything has arrived, even just the end."""
        try:
            self._socket.settimeout(0)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def send(self, data: bytes | memoryview) -> None:
        """Send all of `data`."""
        try:
            self._limit(SendTimeout)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise SendTimeout('request not taken in time') from error
        except OSError as error:
            raise SendError(f'cannot send: {error}') from error

    def receive(self, size: int) -> bytes:
        """Wait for bytes and return them, usually no more than `size`."""
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

    def _received(self, data: bytes) -> bytes:
        if not data:
            raise ReceiveError(CLOSED)
        return data

    def _limit_looks(self) -> None:
        """Raise a `ReceiveTimeout` if bytes have kept arriving too long.

        They may pour in without an end.
        """
        now, (deadline, end) = monotonic(), self._last_look
        if deadline != self.deadline:
            self._last_look = self.deadline, now + _LAST_LOOK
        elif now >= end:
            raise ReceiveTimeout(LATE)

    def _limit(self, timeout: type[Exception]) -> None:
        remaining = self.deadline - monotonic()
        if remaining <= 0:
            raise timeout('the time of the operation is over')
        self._socket.settimeout(remaining)
