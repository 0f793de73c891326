# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Signatures: a value that others forged, or moved to another key, shows it.

In front of the data are a byte, the version of this format, and 32 bytes, the
HMAC-SHA256 of: the version, the flags, the name of the serializer and the key,
each with its length, and the data. A stamp, see `p01.memcache.values.stamp`,
is between the signature and the value, and signed with it.
"""

import hmac
import struct
from collections.abc import Iterable

from p01.memcache.errors import ForgedValue
from p01.memcache.values.flags import SIGNED


_VERSION = b'\x01'

# Bytes in front of the data.
SIZE = 1 + 32

_pack_head = struct.Struct('>cHHH').pack


class Signer:
    """Signs what the serializer of this name makes.

    The first secret signs, all of them verify.
    """

    def __init__(self, name: str, secrets: Iterable[bytes]) -> None:
        self._name = name.encode()
        # Copying one is faster than making it for each value.
        self._keyed = [
            hmac.new(secret, digestmod='sha256') for secret in secrets]

    def __len__(self) -> int:
        """Return how many secrets verify."""
        return len(self._keyed)

    def sign(self, key: bytes, data: bytes, flags: int) -> tuple[bytes, int]:
        """Return the data behind their signature, and the flags."""
        flags |= SIGNED
        signature = self._digest(self._keyed[0], key, flags, data)
        return b'%b%b%b' % (_VERSION, signature, data), flags

    def verify(self, key: bytes, data: bytes, flags: int
               ) -> tuple[bytes, int]:
        """Return the data and flags that were signed, or `ForgedValue`."""
        if not flags & SIGNED:
            raise ForgedValue('it is not signed')
        signature, signed = data[1:SIZE], data[SIZE:]
        if data[:1] != _VERSION or flags > 0xffff or not any(
                hmac.compare_digest(
                    signature, self._digest(keyed, key, flags, signed))
                for keyed in self._keyed):
            raise ForgedValue('its signature is wrong')
        return signed, flags & ~SIGNED

    def _digest(self, keyed: hmac.HMAC, key: bytes, flags: int, data: bytes
                ) -> bytes:
        mac = keyed.copy()
        name = self._name
        mac.update(b'%b%b%b' % (
            _pack_head(_VERSION, flags, len(name), len(key)), name, key))
        mac.update(data)
        return mac.digest()
