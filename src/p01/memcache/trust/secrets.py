# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The secrets of signatures, each ready to make one."""

import hmac
from collections.abc import Iterable
from time import monotonic

from p01.memcache import secret
from p01.memcache.secret import discreet
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.renewable import Renewable


Keys = list[hmac.HMAC]

# Seconds between two looks at whether the file has changed.
_LOOK = 1


@discreet
def prepare(secrets: Iterable[bytes]) -> Keys:
    # Copying one is faster than making it for each value.
    return [hmac.new(secret, digestmod='sha256') for secret in secrets]


def read(file: str | None, variable: str | None) -> Given[Keys]:
    """Return the secrets of a file or of the environment."""
    if file is None or variable is not None:
        return Given(prepare(secret.read(file, variable)))
    return Renewable({'secretsFile': file}, lambda is_first: prepare(
        secret.read(file, None, warns=is_first)))


class Secrets:
    """What `read` returned, for many calls a second."""

    def __init__(self, source: Given[Keys]) -> None:
        self._source = source
        self._next = 0.0

    def keys(self) -> Keys:
        if monotonic() >= self._next:
            self._next = monotonic() + _LOOK
            return self._source.current()
        return self._source.value

    def newer(self, keys: Keys) -> Keys:
        """Return other ones than these, if there are any now."""
        current = self._source.current()
        return [] if current is keys else current
