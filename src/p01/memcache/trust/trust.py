# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a new connection to a server shows, and what it demands to be shown."""

import ssl
from collections.abc import Callable
from typing import NamedTuple

from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import SendError
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given


# Of a handshake or a login; a time-out is none of them.
_REFUSALS = AuthenticationError, ConnectError, ReceiveError, SendError


class Proof(NamedTuple):
    """What one connection uses."""

    context: ssl.SSLContext | None
    credentials: Credentials | None


class Trust:
    """The proofs for one server.

    With a context the connections are encrypted, and the certificate must be
    that of `host`. Files are read again when they have changed, and after a
    refusal.
    """

    def __init__(self, context: Given[ssl.SSLContext] | None = None,
                 host: str = '',
                 credentials: Given[Credentials] | None = None) -> None:
        self.host = host
        self._context = context
        self._credentials = credentials
        self._tried: Proof | None = None

    def convince(self, attempt: Callable[[Proof], None]) -> None:
        """Call ``attempt(proof)``.

        If it is refused, it is called once more if there is another proof:
        files that have changed meanwhile, or a password that they had before,
        as the server may follow later. Certificates have no such grace: they
        may have been replaced because others got hold of them.
        """
        proof = self._tried = self._current()
        try:
            attempt(proof)
            return
        except MemcacheError as error:
            other = self._other(proof, error)
            if other is None:
                raise
        attempt(other)

    def has_news(self) -> bool:
        """Return once whether a file has changed since the last attempt."""
        tried, current = self._tried, self._current()
        self._tried = current
        return tried is not None and tried != current

    def _current(self) -> Proof:
        return Proof(
            None if self._context is None else self._context.current(),
            None if self._credentials is None else self._credentials.current())

    def _other(self, proof: Proof, error: MemcacheError) -> Proof | None:
        if type(error) not in _REFUSALS:
            return None
        other = self._tried = Proof(
            None if self._context is None else self._context.renewed(),
            None if self._credentials is None else self._credentials.renewed())
        if other == proof and isinstance(
                error, AuthenticationError) and self._credentials is not None:
            former = self._credentials.former()
            if former is not None:
                return other._replace(credentials=former)
        return None if other == proof else other


#: For a server that is not encrypted, and wants no password.
NO_TRUST = Trust()
