# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One connection to a server: sends a request and reads its reply.

It decides, alone, whether it can be used again. It is dirty from before the
first byte of a request until its reply was read to the end, whatever ends an
operation in between. So nobody ever reads the reply to another's request.
"""

import functools
import queue
import socket
import ssl
import threading
from time import monotonic

from p01.memcache import protocol
from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import SendError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.keeping import LockKeepingStream
from p01.memcache.keeping import can_keep_lock
from p01.memcache.reader import Reader
from p01.memcache.stream import Stream
from p01.memcache.tls import TLSStream


# Other replies to a password are not shown: they may repeat it.
_REFUSALS = frozenset((
    'CLIENT_ERROR authentication failure',
    'CLIENT_ERROR bad authentication token format',
    'CLIENT_ERROR unauthenticated',
    'ERROR'))


def _resolve(host, port, deadline):
    """Return the addresses of `host`, by the deadline."""
    try:
        return socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError, LookupError):
        pass
    # It is a name, and asking for its addresses knows no time-out.
    answers = queue.SimpleQueue()

    def ask():
        try:
            answers.put(
                socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)

    try:
        threading.Thread(
            target=ask, name=f'p01.memcache resolves {host}', daemon=True
        ).start()
        answer = answers.get(timeout=max(deadline - monotonic(), 0))
    except queue.Empty:
        raise ConnectTimeout(f'no address of {host} in time') from None
    except RuntimeError as error:
        raise ConnectError(f'no address of {host}: {error}') from error
    if isinstance(answer, Exception):
        raise ConnectError(f'no address of {host}: {answer}')
    return answer


def _open(address, tls, keeping, deadline):
    """Return a stream to the first place of `address` that accepts."""
    trouble = None
    if address.is_unix:
        places = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, '', address.host)]
    else:
        places = _resolve(address.host, address.port, deadline)
    for tried, (family, *kind, _, place) in enumerate(places):
        # A silent one leaves time for the others.
        now = monotonic()
        remaining = (deadline - now) / (len(places) - tried)
        if remaining <= 0:
            break
        try:
            connection = socket.socket(family, *kind)
        except OSError as error:
            trouble = error
            continue
        try:
            connection.settimeout(remaining)
            connection.connect(place)
            if not address.is_unix:
                if connection.getsockname() == connection.getpeername():
                    # The kernel chose the very port that nobody listens on,
                    # and would keep the server from starting there.
                    raise ConnectionRefusedError('connected to itself')
                connection.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls:
                return TLSStream(
                    connection, tls, address.server_name, now + remaining)
            if can_keep_lock(connection):
                return LockKeepingStream(connection, keeping)
            return Stream(connection)
        except (OSError, ValueError) as error:
            connection.close()
            trouble = error
        except BaseException:
            connection.close()
            raise
    if trouble is None or isinstance(trouble, TimeoutError):
        raise ConnectTimeout('connection not accepted in time') from trouble
    what = 'no TLS connection' if address.tls else 'cannot connect'
    raise ConnectError(f'{what}: {trouble}') from trouble


class Connection:
    """A connection to an `Address`, not made before `connect`.

    `tls` is an ``ssl.SSLContext``, for an address that needs it;
    `credentials` may be None.

    ``dirty`` tells that it cannot be used: it is not connected, or its last
    reply was not read to the end.
    """

    def __init__(self, address, keeping, tls=None, credentials=None):
        self._open = functools.partial(_open, address, tls, keeping)
        self._credentials = credentials
        self._stream = None
        self._reader = None
        self.dirty = True

    def connect(self, deadline):
        self.close()
        self._stream = self._open(deadline)
        self._reader = Reader(self._stream.receive)
        if self._credentials is not None:
            self._authenticate(deadline)
        self.dirty = False

    def _authenticate(self, deadline):
        try:
            self.send(
                protocol.authenticate(
                    self._credentials.username,
                    self._credentials.password.reveal()), deadline)
            self.receive(protocol.read_stored, deadline)
        except (ProtocolError, ServerError) as error:
            self.dirty = True
            said = str(error)
        else:
            return
        if said not in _REFUSALS:
            said = 'an unexpected reply'
        raise AuthenticationError(
            f'not authenticated as {self._credentials.username}: {said}')

    def close(self):
        self.dirty = True
        if self._stream is not None:
            self._stream.close()

    def abort(self):
        """Close, in the middle of a request."""
        if self._stream is not None:
            self._stream.abort()

    def fileno(self):
        """Return the number of the socket, to wait for a reply."""
        return self._stream.fileno()

    def is_ready(self):
        """Return whether it can be used, and nothing came meanwhile.

        That may be the end of the stream, or a reply too many.
        """
        return (not self.dirty
                and self._reader.is_empty()
                and self._stream.is_quiet())

    def send(self, data, deadline):
        self.dirty = True
        self._stream.deadline = deadline
        try:
            self._stream.send(data)
        except SendError as error:
            self._explain(error)
            raise

    def receive(self, read, deadline, *args):
        """Return what ``read(reader, *args)`` makes of the reply."""
        self._stream.deadline = deadline
        self._reader.fill()
        try:
            reply = read(self._reader, *args)
        except ServerError:
            self.dirty = False
            raise
        self.dirty = False
        return reply

    def _explain(self, error):
        """Raise what the server said before it closed, if it told why."""
        try:
            self._reader.fill()
            said = protocol.unexpected(
                self._reader.readline(protocol.MAX_LINE))
        except MemcacheError as said:
            if isinstance(said.__cause__, ssl.SSLError):
                raise  # an alert: it wants a certificate, for example
            return
        if isinstance(said, ServerBusy):
            raise said from error
