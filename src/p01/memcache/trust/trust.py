# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a new connection to a server shows, and what it demands to be shown."""

import math
import ssl
from collections.abc import Callable
from collections.abc import Iterator
from time import monotonic
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
        self._changed_at = -math.inf

    def convince(self, attempt: Callable[[Proof], None]) -> None:
        """Call ``attempt(proof)``, with other proofs as long as it is refused.

        These are what the files contain now or, if that was refused, the
        password that they had before: the server may follow later.
        Certificates have no such grace: they may have been replaced because
        others got hold of them.
        """
        proof: Proof | None = self._note(self._current())
        others = None
        while proof is not None:
            try:
                attempt(proof)
                return
            except MemcacheError as error:
                if type(error) not in _REFUSALS:
                    raise
                others = others or self._others(
                    proof, isinstance(error, AuthenticationError))
                proof = next(others, None)
                if proof is None:
                    raise

    def has_news(self) -> bool:
        """Return once whether a file has changed since the last attempt."""
        tried = self._tried
        return tried is not None and tried != self._note(self._current())

    def has_changed(self, since: float) -> bool:
        """Return whether a file has changed since then, after a refusal.

        With TLS 1.3 a connection may be refused after the handshake.
        """
        self._note(self._renewed())
        return self._changed_at > since

    def _note(self, proof: Proof) -> Proof:
        if self._tried is not None and self._tried != proof:
            self._changed_at = monotonic()
        self._tried = proof
        return proof

    def _current(self) -> Proof:
        return Proof(
            None if self._context is None else self._context.current(),
            None if self._credentials is None else self._credentials.current())

    def _renewed(self) -> Proof:
        return Proof(
            None if self._context is None else self._context.renewed(),
            None if self._credentials is None else self._credentials.renewed())

    def _others(self, refused: Proof, by_login: bool) -> Iterator[Proof]:
        renewed = self._note(self._renewed())
        if renewed != refused:
            yield renewed
        elif by_login and self._credentials is not None:
            former = self._credentials.former()
            if former is not None:
                yield renewed._replace(credentials=former)
                # The server may have followed meanwhile.
                yield renewed


#: For a server that is not encrypted, and wants no password.
NO_TRUST = Trust()
