# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Dialling: the way from an `Address` to a socket that is connected.

A name is taken for one server. Should it have several addresses, all of a
dialer's connections go to one of them, as long as that works and the name has
it: a value that is invalidated at one address must not be read at another.
"""

import _thread
import collections
import contextlib
import errno
import socket
import weakref
from time import monotonic

from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import LocalError
from p01.memcache.threads import fork
from p01.memcache.threads.mailbox import Mailbox


# What no server is to blame for: this machine has no descriptor, no memory,
# or no port left.
_OWN = frozenset((
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS,
    errno.EADDRNOTAVAIL))

# The answers of a name service that works.
_NO_NAME = frozenset(
    getattr(socket, name) for name in ('EAI_NONAME', 'EAI_NODATA')
    if hasattr(socket, name))

# Seconds after which the kernel looks whether an idle connection is alive, and
# between looks that stay without an answer. Three of them are enough. It also
# keeps firewalls from forgetting the connection.
_KEEP_ALIVE = (
    ('TCP_KEEPIDLE', 30), ('TCP_KEEPALIVE', 30), ('TCP_KEEPINTVL', 10),
    ('TCP_KEEPCNT', 3))


def _set_up(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            connection.setsockopt(
                socket.IPPROTO_TCP, getattr(socket, name), value)


class _Asking:
    """Is there as long as a thread asks."""


class _Lookup:
    """Asks for the addresses of a name, in a thread: it knows no time-out.

    It is a bare thread. The `start` of one of `threading` waits without bound
    until it runs, and for ever if an exception strikes it before.
    """

    is_late = False  # a thread has waited for it in vain
    answer = None

    def __init__(self, host, port):
        self._host = host
        self._port = port
        self._waiting = collections.deque()  # a mailbox of each thread
        asking = _Asking()
        self._asking = weakref.ref(asking)
        _thread.start_new_thread(self._ask, (asking,))

    @property
    def is_lost(self):
        """Whether the thread has ended without an answer."""
        return self._asking() is None and self.answer is None

    def _ask(self, asking):
        try:
            self.answer = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM)
        except Exception as error:
            self.answer = error
        finally:
            with contextlib.suppress(IndexError):
                while True:
                    self._waiting.pop().put(None)

    def wait(self, seconds):
        """Return the answer; None if there is none in time."""
        # One for each thread: a lock that all wait for stays taken if an
        # exception strikes a thread that has just got it.
        mailbox = Mailbox()
        self._waiting.append(mailbox)
        if self.answer is None:
            try:
                mailbox.get(seconds)
            except IndexError:
                self.is_late = self.answer is None
        return self.answer


class Dialer:
    """Connects to the server at an `Address`.

    ``place`` is where the connections go: a connection to another one is not
    to be used any more.
    """

    def __init__(self, address):
        self.address = address
        self._known = None  # the places of what is no name
        self.place = None
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._lookup = None  # its thread is one of the parent's

    def dial(self, deadline, greet):
        """Return what ``greet(socket, deadline)`` makes, and its place.

        An OSError or ValueError of `greet` is one of the place.
        """
        kept, trouble = self.place, None
        if self._known is None:
            self._known = _find_known(self.address)
        places = self._known or self._find(deadline)
        if kept in places:
            places = [kept, *(place for place in places if place != kept)]
        try:
            for tried, place in enumerate(places):
                # A silent one leaves time for the others.
                now = monotonic()
                remaining = (deadline - now) / (len(places) - tried)
                if remaining <= 0:
                    break
                try:
                    found = _connect(place, now + remaining, greet)
                except (OSError, ValueError) as error:
                    trouble = error
                    continue
                if self.place is kept:
                    self.place = place
                if self.place == place:
                    return found, self.place
                # Another thread was faster, with another address.
                found.close()
                return self.dial(deadline, greet)
            what = (
                'no TLS connection' if self.address.tls else 'cannot connect')
            raise _translate(trouble, what)
        finally:
            # Its traceback leads back here, and to the connection that is
            # being made: that must not wait for the collector of cycles.
            trouble = None

    def _find(self, deadline):
        """Return the places of the name, or the one that it had."""
        lookup, kept = self._lookup, self.place
        if lookup is None or lookup.is_lost:
            try:
                lookup = self._lookup = _Lookup(
                    self.address.host, self.address.port)
            except RuntimeError as error:  # there is no thread to be had
                return self._do_without(error)
        remaining = deadline - monotonic()
        if lookup.is_late:
            # It has had its time. It is asked for an answer, not waited for.
            remaining = 0
        elif kept is not None:
            remaining /= 2
        answer = lookup.wait(remaining)
        if answer is None:
            return self._do_without('no answer in time')
        if self._lookup is lookup:
            self._lookup = None
        if isinstance(answer, list):
            return _places(answer)
        if getattr(answer, 'errno', None) in _NO_NAME or isinstance(
                answer, UnicodeError):
            raise ConnectError(
                f'no address of {self.address.host}: {answer}') from answer
        return self._do_without(answer)

    def _do_without(self, trouble):
        """The name service, not the server, is to blame."""
        if self.place is not None:
            return [self.place]
        raise LocalError(f'no address of {self.address.host}: {trouble}')


def _find_known(address):
    """Return the places of what is no name, and none of a name."""
    if address.is_unix:
        return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, address.host)]
    try:
        return _places(socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST))
    except (OSError, UnicodeError):
        return []


def _places(found):
    return [(*kind, place) for *kind, _, place in found]


def _connect(place, deadline, greet):
    *kind, place = place
    connection = socket.socket(*kind)
    try:
        connection.settimeout(max(deadline - monotonic(), 0.001))
        connection.connect(place)
        if kind[0] != socket.AF_UNIX:
            if connection.getsockname() == connection.getpeername():
                # The kernel chose the very port that nobody listens on, and
                # would keep the server from starting there.
                raise ConnectionRefusedError('connected to itself')
            _set_up(connection)
        return greet(connection, deadline)
    except BaseException:
        connection.close()
        raise


def _translate(trouble, what):
    """Return the error that tells whose trouble it is."""
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
