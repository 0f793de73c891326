# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Every exception of the package.

MemcacheError
    PoolTimeout
    LeaseLost
    LocalError
    ServerDown
    ServerBusy
    ServerError
    ProtocolError
        ClientError
    ConnectError
        ConnectTimeout
        AuthenticationError
    SendError
        SendTimeout
    ReceiveError
        ReceiveTimeout
    NotInvalidated
    UnreadableValue
        ForgedValue
        ForbiddenGlobal
        ValueTooLarge
SerializationError (a ValueError)

Trouble with a cache is a ``MemcacheError``. Only ``NotInvalidated`` ever
reaches a caller of the clients, the others become a miss. A wrong argument
is a ``ValueError`` or ``TypeError``.
"""


def describe(error):
    """Return an exception in words, whoever has written them."""
    # Not by a TracebackException: it looks for names to suggest, in what an
    # attacker has made, and fails if his own is no UTF-8.
    try:
        told = str(error)
    except Exception:
        told = '<exception str() failed>'
    return printable(f'{type(error).__name__}: {" ".join(told.split())}')


def reason(error):
    """Return why a file could not be used, without its path."""
    return getattr(error, 'strerror', None) or str(error)


def printable(text, most=300):
    """Return the text without what writes lines, or commands a terminal."""
    # Cut first: it may be the largest part of a value.
    text = text[:most]
    return (text if text.isprintable() else ascii(text)[1:-1])[:most]


class MemcacheError(Exception):
    """Something about a memcached server went wrong.

    ``server`` is its address, where one of several was asked. With ``again``
    a used connection was closed before anything of the reply had come: what
    does no harm twice may be asked again, on a fresh one.
    """

    server = None
    again = False


class PoolTimeout(MemcacheError):
    """All connections stayed in use until the operation's time was over."""


class LeaseLost(MemcacheError):
    """The right to compute a value may have ended with its server's restart.
    """


class LocalError(MemcacheError):
    """Something is missing on this side, of which no server is to blame.

    A descriptor, a port, a thread, memory, an answer of the name service, or
    the time to ask.
    """


class ServerDown(MemcacheError):
    """The server showed too many failures and is left alone for a while."""


class ServerBusy(MemcacheError):
    """The server answers, but has no room for one more connection."""


class ServerError(MemcacheError):
    """The server understood the request and could not fulfil it."""


class ProtocolError(MemcacheError):
    """The reply is not the one that the request asks for."""


class ClientError(ProtocolError):
    """The server does not take the request for one that it knows."""


class ConnectError(MemcacheError):
    """No connection to the server could be made."""


class ConnectTimeout(ConnectError):
    """The server did not accept the connection in time."""


class AuthenticationError(ConnectError):
    """The server does not accept the user name and the password."""


class SendError(MemcacheError):
    """The connection broke while the request was sent."""


class SendTimeout(SendError):
    """The server did not take the whole request in time."""


class ReceiveError(MemcacheError):
    """The connection broke before the end of the reply."""


class ReceiveTimeout(ReceiveError):
    """The reply did not come to its end in time."""


def is_closed(error):
    """Return whether a connection was closed, and not only too slow."""
    return type(error) in (ReceiveError, SendError)


class NotInvalidated(MemcacheError):
    """Some servers could not be flushed and may still hold old values.

    ``errors`` maps the address of each of them to its error.
    """

    def __init__(self, errors):
        self.errors = errors
        super().__init__('not invalidated: ' + ', '.join(
            f'{address} ({error})' for address, error in errors.items()))


class UnreadableValue(MemcacheError):
    """What is stored cannot be turned into an object."""


class ForgedValue(UnreadableValue):
    """What is stored does not have the signature that its key asks for."""


class ForbiddenGlobal(UnreadableValue):
    """What is stored names something that is not in the list of `allow`."""

    def __init__(self, name):
        super().__init__(f'{printable(name)} is not allowed')


class ValueTooLarge(UnreadableValue):
    """The value is larger than `maxValueSize`, and not stored or not read."""


class SerializationError(ValueError):
    """An object cannot be turned into bytes."""
