# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A stream that encrypts."""

import socket
import ssl

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import ServerBusy
from p01.memcache.transport.stream import CLOSED
from p01.memcache.transport.stream import Stream
from p01.memcache.wire.replies import unexpected


# Bytes that one record holds at most.
RECORD = 1 << 14

# Bytes that are encrypted before they are sent.
_PIECE = 1 << 18

# Records that may arrive unasked, each with a ticket for a later session.
_MOST_TICKETS = 8

# The first byte of a server that speaks TLS: a handshake or an alert.
_FIRST = b'\x16\x15'


class TLSStream(Stream):
    """Encrypts what a `Stream` sends, and decrypts what it receives.

    The socket stays a plain one: a memcached that has no room for another
    connection says so in plain text.
    """

    _ahead = b''  # decrypted already, to see whether it is a reply

    def __init__(self, connection: socket.socket, context: ssl.SSLContext,
                 host: str, deadline: float) -> None:
        """Shake hands. A failure is an OSError or a `ServerBusy`."""
        super().__init__(connection)
        self.deadline = deadline
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=host)
        is_first = True
        while not self._shake_hands():
            data = self._receive_record()
            if is_first and data[0] not in _FIRST:
                end = data.find(b'\n') + 1
                said = unexpected(data[:end] or data)
                if isinstance(said, ServerBusy):
                    raise said
                raise ConnectionError(
                    f'the server answers in plain text: {said}')
            is_first = False
            self._incoming.write(data)
        if self._tls.getpeercert(True) is None:
            # With an anonymous cipher there is nothing to verify.
            raise ConnectionError('the server shows no certificate')

    def _receive_record(self) -> bytes:
        try:
            return super().receive(RECORD)
        except ReceiveTimeout as error:
            raise TimeoutError(str(error)) from error
        except ReceiveError as error:
            raise ConnectionError(str(error)) from error

    def _shake_hands(self) -> bool:
        """Return whether this is done, or else more has to be received."""
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            # An alert, too: it says to the server what was wrong.
            self._limit(TimeoutError)
            self._socket.sendall(self._outgoing.read())

    def has_input(self) -> object:
        # A ticket for a later session is not a reply.
        if self._ahead:
            return True
        try:
            for _ in range(_MOST_TICKETS):
                if not super().has_input():
                    self._ahead = self._tls.read(RECORD)
                    break
                data = self._socket.recv(RECORD)
                if not data:
                    break
                self._incoming.write(data)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            pass
        return True

    def send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest[:_PIECE]):]
                super().send(self._outgoing.read())
        except ssl.SSLError as error:
            raise SendError(f'cannot send: {error}') from error

    def receive(self, size: int) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead, b''
            return data
        while True:
            try:
                data = self._tls.read(min(size, RECORD))
            except ssl.SSLWantReadError:
                self._incoming.write(super().receive(RECORD))
                continue
            except ssl.SSLError as error:
                raise ReceiveError(f'cannot receive: {error}') from error
            if not data:
                raise ReceiveError(CLOSED)
            return data
