# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Dialling: from an `Address` to a connected socket.

A name stands for one server. If it has several addresses, all connections of
a dialer go to one of them, as long as that works and the name still has it: a
value that is invalidated at one address must not be read at another.
"""

import _thread
import collections
import contextlib
import errno
import socket
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.threads import fork
from p01.memcache.threads.mailbox import Mailbox
from p01.memcache.transport.address import Address
from p01.memcache.transport.stream import Stream


S = TypeVar('S', bound=Stream)

# Not the server's fault: this machine has no descriptor, memory or port left.
_OWN = frozenset((
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS,
    errno.EADDRNOTAVAIL))

# The answers of a name service that works.
_NO_NAME = frozenset(
    getattr(socket, name) for name in ('EAI_NONAME', 'EAI_NODATA')
    if hasattr(socket, name))

# Seconds after which the kernel probes whether an idle connection is alive,
# and between probes without an answer, of which three are enough. This also
# keeps firewalls from forgetting the connection.
_KEEP_ALIVE = (
    ('TCP_KEEPIDLE', 30), ('TCP_KEEPALIVE', 30), ('TCP_KEEPINTVL', 10),
    ('TCP_KEEPCNT', 3))


def _set_up(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            connection.setsockopt(
                socket.IPPROTO_TCP, getattr(socket, name), value)


class Endpoint(NamedTuple):
    """Where to connect to, as ``socket.getaddrinfo`` returns it."""

    family: int
    type: int
    protocol: int
    address: Any


class _Asking:
    """Exists as long as the thread of a look-up runs."""


class Lookup:
    """Looks up the addresses of a name in a thread: that has no time-out.

    It is a bare thread. ``Thread.start`` waits without bound until the thread
    runs, and for ever if an exception strikes it before.
    """

    is_late = False  # a thread has waited for it in vain
    answer: Any = None  # a list, or the exception

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        # A mailbox of each thread.
        self._waiting: collections.deque[Mailbox[None]] = collections.deque()
        asking = _Asking()
        self._asking = weakref.ref(asking)
        _thread.start_new_thread(self._ask, (asking,))

    @property
    def is_lost(self) -> bool:
        """Whether the thread has ended without an answer."""
        return self._asking() is None and self.answer is None

    def _ask(self, asking: _Asking) -> None:
        try:
            self.answer = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM)
        except Exception as error:
            self.answer = error
        finally:
            with contextlib.suppress(IndexError):
                while True:
                    self._waiting.pop().put(None)

    def wait(self, seconds: float) -> Any:
        """Return the answer, or None if there is none in time."""
        # One for each thread: a lock that all wait for stays taken if an
        # exception strikes a thread that has just got it.
        mailbox: Mailbox[None] = Mailbox()
        self._waiting.append(mailbox)
        if self.answer is None:
            try:
                mailbox.get(seconds)
            except IndexError:
                self.is_late = self.answer is None
        return self.answer


class Dialer:
    """Connects to the server at an `Address`.

    ``endpoint`` is where the connections go: one that leads elsewhere must not
    be used any more.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._host = address.at or address.host
        # Those of an address that is not a name.
        self._known: list[Endpoint] | None = None
        self.endpoint: Endpoint | None = None
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        # The thread of another one belongs to the parent.
        self._lookup: Lookup | None = None

    def dial(self, deadline: float,
             greet: Callable[[socket.socket, float], S]) -> tuple[S, Endpoint]:
        """Return what ``greet(socket, deadline)`` makes, and its endpoint.

        An OSError or ValueError of `greet` counts as the endpoint's.
        """
        kept, trouble = self.endpoint, None
        if self._known is None:
            self._known = _find_known(self._host, self.address.port)
        endpoints = self._known or self._find(deadline)
        if kept in endpoints:
            endpoints = [kept, *(other for other in endpoints
                                 if other != kept)]
        try:
            for tried, endpoint in enumerate(endpoints):
                # A silent one leaves time for the others.
                now = monotonic()
                remaining = (deadline - now) / (len(endpoints) - tried)
                if remaining <= 0:
                    break
                try:
                    stream = _connect(endpoint, now + remaining, greet)
                except (OSError, ValueError) as error:
                    trouble = error
                    continue
                if self.endpoint is kept:
                    self.endpoint = endpoint
                if self.endpoint == endpoint:
                    return stream, self.endpoint
                # Another thread was faster, with another endpoint.
                stream.close()
                return self.dial(deadline, greet)
            what = (
                'no TLS connection' if self.address.tls else 'cannot connect')
            raise _translate(trouble, what)
        finally:
            # Its traceback leads back here, and to the connection that is
            # being made, which must not wait for the collector of cycles.
            trouble = None

    def _find(self, deadline: float) -> list[Endpoint]:
        """Return the endpoints of the name, or the one that it had."""
        lookup, kept = self._lookup, self.endpoint
        if lookup is None or lookup.is_lost:
            try:
                lookup = self._lookup = Lookup(
                    self._host, self.address.port)
            except RuntimeError as error:  # no thread can be started
                return self._do_without(error)
        remaining = deadline - monotonic()
        if lookup.is_late:
            # It has had its time. Take its answer, but do not wait for it.
            remaining = 0
        elif kept is not None:
            remaining /= 2
        answer = lookup.wait(remaining)
        if answer is None:
            return self._do_without('no answer in time')
        if self._lookup is lookup:
            self._lookup = None
        if isinstance(answer, list):
            return _endpoints(answer)
        if getattr(answer, 'errno', None) in _NO_NAME or isinstance(
                answer, UnicodeError):
            raise ConnectError(
                f'no address of {self._host}: {answer}') from answer
        return self._do_without(answer)

    def _do_without(self, trouble: object) -> list[Endpoint]:
        """The name service is to blame, not the server."""
        if self.endpoint is not None:
            return [self.endpoint]
        raise LocalError(f'no address of {self._host}: {trouble}')


def _find_known(host: str, port: int) -> list[Endpoint]:
    """Return the endpoints of an address that is not a name."""
    if port == 0:
        return [Endpoint(socket.AF_UNIX, socket.SOCK_STREAM, 0, host)]
    try:
        return _endpoints(socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (OSError, UnicodeError):
        return []


def _endpoints(answer: list[tuple[Any, ...]]) -> list[Endpoint]:
    return [Endpoint(family, kind, protocol, address)
            for family, kind, protocol, _, address in answer]


def _connect(endpoint: Endpoint, deadline: float,
             greet: Callable[[socket.socket, float], S]) -> S:
    connection = socket.socket(*endpoint[:3])
    try:
        connection.settimeout(max(deadline - monotonic(), 0.001))
        connection.connect(endpoint.address)
        if endpoint.family != socket.AF_UNIX:
            if connection.getsockname() == connection.getpeername():
                # With no server listening, the kernel chose that very port
                # for this end. That would keep the server from starting.
                raise ConnectionRefusedError('connected to itself')
            _set_up(connection)
        return greet(connection, deadline)
    except BaseException:
        connection.close()
        raise


def _translate(trouble: Exception | None, what: str) -> MemcacheError:
    """Return the error that says whose trouble it is."""
    error: MemcacheError
    if trouble is None:
        error = LocalError('no time left to connect')
    elif isinstance(trouble, TimeoutError):
        error = ConnectTimeout('connection not accepted in time')
    elif getattr(trouble, 'errno', None) in _OWN:
        error = LocalError(f'{what}: {trouble}')
    else:
        error = ConnectError(f'{what}: {trouble}')
    error.__cause__ = trouble
    return error
