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
from p01.memcache.log import logger
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given


# Of a handshake or a login; a time-out is none of them.
_REFUSALS = AuthenticationError, ConnectError, ReceiveError, SendError

# Seconds for which a server may know the former password only.
_LATE = 60


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
        self._accepted: Credentials | None = None
        self._late_at = math.inf  # when to log that the server is

    def convince(self, attempt: Callable[[Proof], None]) -> None:
        """Call ``attempt(proof)``, with other proofs as long as it is refused.

        These are what the files contain now, and the password that the server
        accepted before: it may follow later. Certificates have no such grace:
        they may have been replaced because others got hold of them.
        """
        proof: Proof | None = self._note(self._current())
        others = None
        while proof is not None:
            try:
                attempt(proof)
            except MemcacheError as error:
                if type(error) not in _REFUSALS:
                    raise
                others = others or self._others(
                    proof, isinstance(error, AuthenticationError))
                proof = next(others, None)
                if proof is None:
                    raise
            else:
                self._accept(proof)
                return

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
        former = self._accepted
        if by_login and former not in (None, renewed.credentials):
            yield renewed._replace(credentials=former)
            # The server may have followed meanwhile.
            yield renewed

    def _accept(self, proof: Proof) -> None:
        self._accepted = proof.credentials
        if proof == self._tried:
            self._late_at = math.inf
            return
        now = monotonic()
        self._late_at = min(self._late_at, now + _LATE)
        if 0 < self._late_at <= now:
            self._late_at = -math.inf
            logger.warning(
                'memcached at %s refuses the password of the credentialsFile,'
                ' and still accepts the former one', self.host)


#: For a server that is not encrypted, and wants no password.
NO_TRUST = Trust()
