# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A login: memcached's ASCII authentication, on a new connection."""

from collections.abc import Callable
from typing import Any
from typing import Protocol

from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ServerError
from p01.memcache.secret import discreet
from p01.memcache.trust.credentials import Credentials
from p01.memcache.wire.command import Authenticate


# Other replies to a password are not shown: they may repeat it.
_REFUSALS = frozenset((
    'CLIENT_ERROR authentication failure',
    'CLIENT_ERROR bad authentication token format',
    'CLIENT_ERROR unauthenticated',
    'ERROR'))


class Conversing(Protocol):
    """See `p01.memcache.transport.connection.Connection`."""

    dirty: bool

    def send(self, data: bytes, deadline: float) -> None: ...

    def receive(self, read: Callable[..., Any], deadline: float) -> Any: ...


@discreet
def log_in(connection: Conversing, credentials: Credentials,
           deadline: float) -> None:
    """Show the credentials; a refusal is an `AuthenticationError`."""
    try:
        command = Authenticate(credentials.username, credentials.password)
        connection.send(command.encode(), deadline)
        connection.receive(command.read, deadline)
        return
    except (ProtocolError, ServerError) as error:
        connection.dirty = True
        said = str(error)
    if said not in _REFUSALS:
        said = 'an unexpected reply'
    # Without the user name: a misplaced password may be there.
    raise AuthenticationError(f'not authenticated: {said}')
