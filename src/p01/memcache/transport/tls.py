# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""TLS: whom to trust, and a stream on a socket that speaks it."""

import ssl

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import ServerBusy
from p01.memcache.secret import reason
from p01.memcache.secret import show_path
from p01.memcache.transport.stream import CLOSED
from p01.memcache.transport.stream import Stream
from p01.memcache.wire.replies import unexpected


# The most that one record holds.
RECORD = 1 << 14

# How much is encrypted before it is sent.
_PIECE = 1 << 18

# So many records may come unasked, each with a ticket for a later session.
_MOST_TICKETS = 8

# What a server's first byte is, if it speaks TLS: a handshake or an alert.
_FIRST = b'\x16\x15'


def make_context(caFile, certFile, keyFile):
    """Return a context that verifies certificates and host names."""
    try:
        context = ssl.create_default_context(cafile=caFile)
    except (OSError, ValueError) as error:
        raise ValueError(
            f'caFile {show_path(caFile)}: {reason(error)}') from None
    if certFile is not None:
        try:
            # Who cannot type a passphrase should not be asked for one.
            context.load_cert_chain(certFile, keyFile, password='')
        except (OSError, ValueError) as error:
            raise ValueError(
                f'certFile {show_path(certFile)}, keyFile'
                f' {keyFile and show_path(keyFile)}: {reason(error)}'
            ) from None
    return check_context(context)


def check_context(context):
    """Return the context; one that does not verify is a ValueError.

    A certificate must have the host's name where names belong: the common
    name of its subject is text that few authorities check.
    """
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError(
            'ssl_context: must verify certificates and the names of hosts, so'
            ' its verify_mode must be CERT_REQUIRED, and its check_hostname'
            ' True')
    context.hostname_checks_common_name = False
    return context


class TLSStream(Stream):
    """Encrypts what a `Stream` sends, and decrypts what it receives.

    The socket stays a plain one: a memcached that has no room for one more
    connection says so in plain text.
    """

    def __init__(self, connection, context, host, deadline):
        """Shake hands. What fails is an OSError or a `ServerBusy`."""
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
            # With anonymous ciphers there is nothing to be verified.
            raise ConnectionError('the server shows no certificate')

    def _receive_record(self):
        try:
            return super().receive(RECORD)
        except ReceiveTimeout as error:
            raise TimeoutError(str(error)) from error
        except ReceiveError as error:
            raise ConnectionError(str(error)) from error

    def _shake_hands(self):
        """Return whether that is done; otherwise more has to be received."""
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            # An alert, too: it tells the server what was wrong.
            self._limit(TimeoutError)
            self._socket.sendall(self._outgoing.read())

    def is_quiet(self):
        # What came may be a ticket for a later session, and is no reply.
        try:
            for _ in range(_MOST_TICKETS):
                if super().is_quiet():
                    self._tls.read(1)
                    break
                data = self._socket.recv(RECORD)
                if not data:
                    break
                self._incoming.write(data)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False

    def send(self, data):
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._tls.write(rest[:_PIECE]):]
                super().send(self._outgoing.read())
        except ssl.SSLError as error:
            raise SendError(f'cannot send: {error}') from error

    def receive(self, size):
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
