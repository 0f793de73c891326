# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One connection to a server: sends a request and reads its reply.

It decides, alone, whether it can be used again. It is dirty from before the
first byte of a request until its reply was read to the end, whatever ends an
operation in between. So nobody ever reads the reply to another's request.
"""

import math
import ssl
from time import monotonic

from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import SendError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.secret import discreet
from p01.memcache.transport.lockkeeping import LockKeepingStream
from p01.memcache.transport.lockkeeping import can_keep_lock
from p01.memcache.transport.stream import Stream
from p01.memcache.transport.tls import TLSStream
from p01.memcache.wire.command import Authenticate
from p01.memcache.wire.limits import MAX_LINE
from p01.memcache.wire.reader import Reader
from p01.memcache.wire.replies import unexpected


# Other replies to a password are not shown: they may repeat it.
_REFUSALS = frozenset((
    'CLIENT_ERROR authentication failure',
    'CLIENT_ERROR bad authentication token format',
    'CLIENT_ERROR unauthenticated',
    'ERROR'))


class Connection:
    """A connection by a `Dialer`, not made before `connect`.

    Without `keeping` the interpreter lock is never kept. `tls` is an
    ``ssl.SSLContext``, for an address that needs it, whose
    certificate must be that of `host`; `credentials` may be None.

    ``dirty`` tells that it cannot be used: it is not connected, or its last
    reply was not read to the end. ``since`` is when it was made, and
    ``heard`` whether something of the last reply has come.
    """

    heard = False
    since = math.inf
    _place = None

    def __init__(self, dialer, keeping, max_age, tls=None, host='',
                 credentials=None):
        self._dialer = dialer
        self._keeping = keeping
        self._max_age = max_age
        self._tls = tls
        self._host = host
        self._credentials = credentials
        self._stream = None
        self._reader = None
        self.dirty = True

    def connect(self, deadline):
        self.close()
        self._stream, self._place = self._dialer.dial(deadline, self._greet)
        self._reader = Reader(self._stream.receive)
        if self._credentials is not None:
            self._authenticate(deadline)
        self.dirty = False
        self.since = monotonic()

    def _greet(self, connection, deadline):
        """Return the stream that suits a connected socket."""
        if self._tls is not None:
            return TLSStream(connection, self._tls, self._host, deadline)
        if self._keeping is not None and can_keep_lock(connection):
            return LockKeepingStream(connection, self._keeping)
        return Stream(connection)

    @discreet
    def _authenticate(self, deadline):
        try:
            command = Authenticate(
                self._credentials.username, self._credentials.password)
            self.send(command.encode(), deadline)
            self.receive(command.read, deadline)
        except (ProtocolError, ServerError) as error:
            self.dirty = True
            said = str(error)
        else:
            return
        if said not in _REFUSALS:
            said = 'an unexpected reply'
        # Without the user name: it may be the password, in a wrong place.
        raise AuthenticationError(f'not authenticated: {said}')

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

    def is_usable(self, now):
        """Return whether a connection that is not dirty can be used.

        One that is too old, or leads to where the server was before, or has
        received something since the last reply, is made anew.
        """
        return (self._place is self._dialer.place
                and now - self.since < self._max_age
                and self._reader.is_empty()
                and self._stream.is_quiet())

    def is_quiet(self):
        """Return whether nothing came since the last reply.

        That may be the end of the stream, or a reply too many.
        """
        return self._reader.is_empty() and self._stream.is_quiet()

    def send(self, data, deadline):
        self.dirty = True
        self.heard = False
        self._stream.deadline = deadline
        try:
            self._stream.send(data)
        except SendError as error:
            self._explain(error)
            raise

    def receive(self, read, deadline):
        """Return what ``read(reader)`` makes of the reply."""
        reader = self.wait(deadline)
        try:
            reply = read(reader)
        except ServerError:
            self.dirty = False
            raise
        self.dirty = reader.closed
        return reply

    def wait(self, deadline):
        """Wait for a reply to begin; return its `Reader`."""
        self._stream.deadline = deadline
        self._reader.fill()
        self.heard = True
        return self._reader

    def _explain(self, error):
        """Raise what the server said before it closed, if it told why."""
        try:
            self._reader.fill()
            said = unexpected(self._reader.readline(MAX_LINE))
        except MemcacheError as said:
            if isinstance(said.__cause__, ssl.SSLError):
                raise  # an alert: it wants a certificate, for example
            return
        if isinstance(said, ServerBusy):
            raise said from error
