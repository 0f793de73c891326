# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Every exception of the package.

Their tree::

    MemcacheError
        PoolTimeout
        LeaseLost
        LocalError
        ServerDown
            InvalidationsPending
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

Trouble with a cache is a ``MemcacheError``. Of these only ``NotInvalidated``
ever reaches the caller of a client, the others become a miss. A wrong
argument is a ``ValueError`` or ``TypeError``.
"""


class MemcacheError(Exception):
    """Something about a memcached server went wrong.

    ``server`` is its address, if one of several was asked. ``again`` means
    that a used connection was closed before any of the reply arrived: a
    request that may be repeated can be sent again, on a fresh connection.
    ``reported_elsewhere`` means that the pooled client has reported it as a
    change of the server's state, and so does not log it again.
    """

    server: str | None = None
    again: bool = False
    reported_elsewhere: bool = False


class PoolTimeout(MemcacheError):
    """All connections stayed in use until the operation's time was over."""


class LeaseLost(MemcacheError):
    """The right to compute a value may have ended: its server restarted."""


class LocalError(MemcacheError):
    """Something is missing on this side, and no server is to blame.

    A descriptor, a port, a thread, memory, an answer of the name service, or
    time to send the request.
    """


class ServerDown(MemcacheError):
    """The server has failed too often, and is not asked for a while."""

    reported_elsewhere = True


class InvalidationsPending(ServerDown):
    """The server is up, but has yet to receive an invalidation of the key.

    Until then it may hold the old value, and must not be asked for it. The
    end of its outage has been reported.
    """


class ServerBusy(MemcacheError):
    """The server responds, but accepts no further connection."""


class ServerError(MemcacheError):
    """The server understood the request and could not fulfil it."""


class ProtocolError(MemcacheError):
    """The reply does not fit the request."""

    reported_elsewhere = True


class ClientError(ProtocolError):
    """The server does not know such a request."""

    reported_elsewhere = False


class ConnectError(MemcacheError):
    """No connection to the server could be made."""

    reported_elsewhere = True


class ConnectTimeout(ConnectError):
    """The server did not accept the connection in time."""


class AuthenticationError(ConnectError):
    """The server does not accept the user name and the password."""


class SendError(MemcacheError):
    """The connection broke while the request was sent."""

    reported_elsewhere = True


class SendTimeout(SendError):
    """The server did not take the whole request in time."""


class ReceiveError(MemcacheError):
    """The connection broke before the end of the reply."""

    reported_elsewhere = True


class ReceiveTimeout(ReceiveError):
    """The reply did not arrive completely in time."""


def is_closed(error: BaseException) -> bool:
    """Return whether a connection was closed, and not only too slow."""
    return type(error) in (ReceiveError, SendError)


def forget_traceback(error: BaseException) -> None:
    """Drop the traceback of an error that is stored.

    It keeps its frames alive, with all values and the connection, which would
    not be free for others if its next user is interrupted and drops it.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None


class NotInvalidated(MemcacheError):
    """Some servers could not be flushed and may still hold old values.

    ``errors`` maps the address of each of them to its error.
    """

    def __init__(self, errors: dict[str, MemcacheError]) -> None:
        self.errors = errors
        super().__init__('not invalidated: ' + ', '.join(
            f'{address} ({error})' for address, error in errors.items()))


class UnreadableValue(MemcacheError):
    """What is stored cannot be turned into an object."""


class ForgedValue(UnreadableValue):
    """What is stored does not have the signature that its key demands."""


class ForbiddenGlobal(UnreadableValue):
    """What is stored names something that is not in the list of `allow`."""


class ValueTooLarge(UnreadableValue):
    """The value is larger than `maxValueSize`, and not stored or not read."""


class SerializationError(ValueError):
    """An object cannot be turned into bytes."""
