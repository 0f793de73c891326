# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""TLS: whom to trust, and a stream on a socket that speaks it."""

import ssl

from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.stream import Stream


# The most that one record holds.
_RECORD = 1 << 14


def make_context(caFile, certFile, keyFile):
    """Return a context that verifies certificates and host names."""
    try:
        context = ssl.create_default_context(cafile=caFile)
    except OSError as error:
        raise ValueError(f'caFile {caFile!r}: {_reason(error)}') from error
    if certFile is not None:
        try:
            # Who cannot type a passphrase should not be asked for one.
            context.load_cert_chain(certFile, keyFile, password='')
        except (OSError, ValueError) as error:
            raise ValueError(
                f'certFile {certFile!r}, keyFile {keyFile!r}:'
                f' {_reason(error)}') from error
    return context


def _reason(error):
    return getattr(error, 'strerror', None) or str(error)


class TLSStream(Stream):
    """Sends and receives on an encrypted socket."""

    def __init__(self, connection, context, host):
        """Shake hands, within the time-out of the socket."""
        super().__init__(context.wrap_socket(
            connection, server_hostname=host, do_handshake_on_connect=False))
        try:
            self._socket.do_handshake()
        except BaseException:
            self.close()
            raise

    def is_quiet(self):
        # What makes the socket readable may be a ticket for a later session,
        # and is no reply.
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False

    def send(self, data):
        # sendall would grant the whole time-out to each record.
        rest = memoryview(data)
        try:
            while rest:
                self._limit(SendTimeout)
                rest = rest[self._socket.send(rest):]
        except TimeoutError as error:
            raise SendTimeout('request not taken in time') from error
        except OSError as error:
            raise SendError(f'cannot send: {error}') from error

    def receive(self, size):
        return super().receive(min(size, _RECORD))
