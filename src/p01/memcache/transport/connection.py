# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One connection to a server: it sends a request and reads the reply.

It alone decides whether it can be used again. It is dirty from before the
first byte of a request until its reply has been read to the end, whatever
ends an operation in between. So no request ever reads another one's reply.
"""

import math
import socket
import ssl
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TypeVar

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import SendError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.dial import Endpoint
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.transport.lockkeepingstream import LockKeepingStream
from p01.memcache.transport.lockkeepingstream import can_keep_lock
from p01.memcache.transport.login import log_in
from p01.memcache.transport.stream import Stream
from p01.memcache.transport.tls import TLSStream
from p01.memcache.trust.trust import NO_TRUST
from p01.memcache.trust.trust import Proof
from p01.memcache.trust.trust import Trust
from p01.memcache.wire.limits import MAX_LINE
from p01.memcache.wire.reader import SIZE
from p01.memcache.wire.reader import Reader
from p01.memcache.wire.replies import unexpected


T = TypeVar('T')

class Connection:
    """A connection by a `Dialer`, which `connect` makes.

    Without `keeping` the interpreter lock is never kept.

    It cannot be used while ``dirty``: it is not connected, or its last reply
    was not read to the end. ``since`` is when it was made, and ``heard``
    whether any of the last reply has arrived.
    """

    heard = False
    since = math.inf
    _endpoint: Endpoint | None = None
    _stream: Stream
    _reader: Reader

    def __init__(self, dialer: Dialer, keeping: LockKeeping | None,
                 max_age: float, trust: Trust = NO_TRUST) -> None:
        self._dialer = dialer
        self._keeping = keeping
        self._max_age = max_age
        self._trust = trust
        self.dirty = True

    def connect(self, deadline: float) -> None:
        self._trust.convince(partial(self._connect, deadline))
        self.dirty = False
        self.since = monotonic()

    def _connect(self, deadline: float, proof: Proof) -> None:
        self.close()
        self._stream, self._endpoint = self._dialer.dial(
            deadline, partial(self._greet, proof))
        self._reader = Reader(self._stream.receive)
        if proof.credentials is not None:
            log_in(self, proof.credentials, deadline)

    def _greet(self, proof: Proof, connection: socket.socket,
               deadline: float) -> Stream:
        """Return the stream that suits a connected socket."""
        if proof.context is not None:
            return TLSStream(
                connection, proof.context, self._trust.host, deadline)
        if self._keeping is not None and can_keep_lock(connection):
            return LockKeepingStream(connection, self._keeping)
        return Stream(connection)

    def close(self) -> None:
        self.dirty = True
        if hasattr(self, '_stream'):
            self._stream.close()

    def abort(self) -> None:
        """Close in the middle of a request."""
        if hasattr(self, '_stream'):
            self._stream.abort()

    def fileno(self) -> int:
        """Return the number of the socket, to wait for a reply."""
        return self._stream.fileno()

    def has_input(self) -> bool:
        """Return whether something has arrived."""
        return bool(self._stream.has_input())

    def is_usable(self, now: float) -> bool:
        """Return whether a connection that is not dirty can be used.

        It is made anew if it is too old, or leads to where the server was
        before, or has received anything since the last reply.
        """
        reader = self._reader
        return (self._endpoint is self._dialer.endpoint
                and now - self.since < self._max_age
                # The same as `is_quiet`.
                and reader.start == len(reader.data)
                and not self._stream.has_input())

    def is_quiet(self) -> bool:
        """Return whether nothing has arrived since the last reply.

        That may be the end of the stream, or a reply too many.
        """
        return self._reader.is_empty() and not self._stream.has_input()

    def send(self, data: bytes, deadline: float) -> None:
        self.dirty = True
        self.heard = False
        self._stream.deadline = deadline
        try:
            self._stream.send(data)
        except SendError as error:
            self._explain(error)
            raise

    def receive(self, read: Callable[[Reader], T], deadline: float) -> T:
        """Return what ``read(reader)`` makes of the reply."""
        # As in `wait`, which would be one more call for each request.
        reader, stream = self._reader, self._stream
        stream.deadline = deadline
        reader.data, reader.start = stream.receive(SIZE), 0
        self.heard = True
        try:
            reply = read(reader)
        except ServerError:
            self.dirty = False
            raise
        self.dirty = reader.closed
        return reply

    def wait(self, deadline: float) -> Reader:
        """Wait for a reply to begin; return its `Reader`."""
        reader, stream = self._reader, self._stream
        stream.deadline = deadline
        reader.data, reader.start = stream.receive(SIZE), 0
        self.heard = True
        return reader

    def _explain(self, error: SendError) -> None:
        """Raise the server's reason for closing, if it sent one."""
        try:
            said = unexpected(self._reader.readline(MAX_LINE))
        except MemcacheError as trouble:
            if isinstance(trouble.__cause__, ssl.SSLError):
                raise  # an alert: it wants a certificate, for example
            return
        if isinstance(said, ServerBusy):
            raise said from error
