# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A server of the classic client, as one thread sees it.

It is python-memcached's host, which sends and receives, on a `Connection` of
ours. So a reply is checked against the request, and a connection is used again
only if its last reply was read to the end.
"""

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any
from typing import Self
from typing import TypeVar

import memcache

from p01.memcache.counts import steps
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.errors import is_closed
from p01.memcache.threads import fork
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.wire.command import Command
from p01.memcache.wire.limits import MAX_LINE
from p01.memcache.wire.meta import IsLeased
from p01.memcache.wire.reader import Reader
from p01.memcache.wire.replies import read_block
from p01.memcache.wire.replies import unexpected


T = TypeVar('T')

# Seconds for which a connection is used. The next one looks up the server's
# name again.
_MOST_AGE = 300


def repeat(ask: Callable[[], T], again: bool = True) -> T:
    """Return ``ask()``; retry it once if a used connection was closed.

    `again` is false for a request that must not be sent twice.
    """
    try:
        return ask()
    except MemcacheError as error:
        if not (again and error.again):
            raise
    return ask()


class Host(memcache._Host):
    """One thread's connection to a server.

    ``with host.until(deadline):`` is an operation. A signal handler that
    interrupts it may use the client, and so this very host: the connection is
    dirty by then, and the handler makes another one. All threads share the
    dialer, so that they talk to the same address of the server.
    """

    _reader: Reader | None = None  # of the reply that is being read
    _asked = False  # whether a reply is expected
    _knows_meta = True  # until it turns out otherwise

    def __init__(self, dialer: Dialer, timeout: float, retry: float) -> None:
        address = dialer.address
        if address.is_unix:
            host = f'unix:{address.host}'
        elif ':' in address.host:
            host = f'inet6:[{address.host}]:{address.port}'
        else:
            host = f'{address.host}:{address.port}'
        super().__init__(
            (host, address.weight), socket_timeout=timeout, dead_retry=retry)
        self.name = address.text
        self.connection = Connection(dialer, None, _MOST_AGE)

    def until(self, deadline: float) -> Self:
        self._deadline = deadline
        return self

    def __enter__(self) -> Self:
        fork.notice()
        connection, now = self.connection, monotonic()
        self._reader, self._asked, self._sent = None, False, now
        # A signal handler that runs from here on makes a connection of its
        # own: it must not wait for the time-out of this one.
        dirty, connection.dirty = connection.dirty, True
        self._is_fresh = dirty or not connection.is_usable(now)
        if self._is_fresh:
            self._connect()
        connection.dirty = True
        connection.heard = False
        return self

    def __exit__(
            self, kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None) -> None:
        connection = self.connection
        asked, self._asked = self._asked, False
        if error is None or isinstance(error, (ServerError, LeaseLost)):
            connection.dirty = (
                self._reader is not None and self._reader.closed)
            if connection.dirty:
                self.close_socket()
            return
        self.close_socket()
        if isinstance(error, MemoryError):
            raise LocalError('no memory') from None
        if not isinstance(error, MemcacheError):
            return
        error.server = self.name
        if type(error) is ReceiveError and not asked:
            # A signal handler has used the client meanwhile, see `_receive`.
            error.again = True
        if not self._is_fresh:
            # The failure of a used connection says nothing about a new one.
            error.again = error.again or (
                is_closed(error) and not connection.heard)
        elif (isinstance(error, (SendTimeout, ReceiveTimeout))
              and self._sent < self._deadline):
            # Otherwise this process was suspended, not the server.
            self._leave_alone()

    def close_socket(self) -> None:
        self.connection.close()

    def _leave_alone(self) -> None:
        self.deaduntil = monotonic() + self.dead_retry

    def _connect(self) -> None:
        if monotonic() < self.deaduntil:
            self.close_socket()
            raise ServerDown(f'{self.name} failed a moment ago')
        since = monotonic()
        try:
            self.connection.connect(self._deadline)
        except MemoryError:
            raise LocalError('no memory') from None
        except MemcacheError as error:
            error.server = self.name
            if isinstance(error, ConnectError):
                self._leave_alone()
            raise
        finally:
            steps.note('connect', self.name, since)

    def _send(self, data: bytes) -> None:
        self.connection.send(data, self._deadline)
        self._sent = monotonic()
        self._reader = None
        self._asked = True

    def _receive(self) -> Reader:
        """Return the reader of the reply."""
        if not self._asked:
            # A signal handler or a finalizer has used the client meanwhile,
            # and with it this connection.
            error = ReceiveError('the connection was used meanwhile')
            error.again = True
            raise error
        if self._reader is None:
            self._reader = self.connection.wait(self._deadline)
        return self._reader

    def ask(self, command: Command) -> Any:
        """Return the reply to the command, within an operation."""
        if self.connection.since > command.since:
            raise LeaseLost('the connection has ended')
        self._send(command.encode())
        return command.read(self._receive())

    def run(self, command: Command, deadline: float) -> Any:
        """Return the reply to the command."""
        def ask() -> Any:
            with self.until(deadline):
                return self.ask(command)

        return repeat(ask, command.repeats)

    # The right to compute a value, see `IStore.server`

    def lends(self, deadline: float) -> bool:
        # This client computes values by commands that every server knows.
        return False

    def is_leased(self, key: bytes, deadline: float) -> bool | None:
        # Another client's claim may have been made by meta commands.
        if not self._knows_meta:
            return None
        try:
            return self.run(IsLeased(key), deadline)
        except ClientError:
            self._knows_meta = False
            return None

    # What python-memcached calls

    def send_cmd(self, cmd: bytes) -> None:
        self._send(cmd + b'\r\n')

    def read_block(self, size: int, most: int) -> bytes:
        return read_block(self._receive(), size, most)

    def readline(self, raise_exception: bool = False) -> bytes:
        reader = self._receive()
        if reader.closed:
            return b''
        line = reader.readline(MAX_LINE)
        # python-memcached would take an empty line for the end of the reply.
        if not line.endswith(b'\r\n') or len(line) == 2:
            raise unexpected(line)
        return line[:-2]

    def expect(
            self, *texts: bytes, raise_exception: bool = False) -> bytes:
        line = self.readline()
        if line not in texts:
            raise unexpected(line + b'\r\n')
        return line
