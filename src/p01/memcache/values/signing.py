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

from p01.memcache.errors import ForgedValue
from p01.memcache.trust.secrets import Keys
from p01.memcache.trust.secrets import Secrets
from p01.memcache.values.flags import SIGNED


_VERSION = b'\x01'

# Bytes in front of the data.
SIZE = 1 + 32

_pack_head = struct.Struct('>cHHH').pack


class Signer:
    """Signs what the serializer of this name makes.

    The first of the `secrets` signs, all of them verify.
    """

    def __init__(self, name: str, secrets: Secrets) -> None:
        self.secrets = secrets
        self._name = name.encode()

    def sign(self, key: bytes, data: bytes, flags: int) -> tuple[bytes, int]:
        """Return the data behind their signature, and the flags."""
        flags |= SIGNED
        signature = self._digest(self.secrets.keys()[0], key, flags, data)
        return b'%b%b%b' % (_VERSION, signature, data), flags

    def verify(self, key: bytes, data: bytes, flags: int
               ) -> tuple[bytes, int]:
        """Return the data and flags that were signed, or `ForgedValue`."""
        if not flags & SIGNED:
            raise ForgedValue('it is not signed')
        keys = self.secrets.keys()
        if data[:1] != _VERSION or flags > 0xffff or not (
                self._fits(keys, key, flags, data)
                or self._fits(self.secrets.newer(keys), key, flags, data)):
            raise ForgedValue('its signature is wrong')
        return data[SIZE:], flags & ~SIGNED

    def _fits(self, keys: Keys, key: bytes, flags: int, data: bytes) -> bool:
        signature, signed = data[1:SIZE], data[SIZE:]
        return any(hmac.compare_digest(
            signature, self._digest(keyed, key, flags, signed))
            for keyed in keys)

    def _digest(self, keyed: hmac.HMAC, key: bytes, flags: int, data: bytes
                ) -> bytes:
        mac = keyed.copy()
        name = self._name
        mac.update(b'%b%b%b' % (
            _pack_head(_VERSION, flags, len(name), len(key)), name, key))
        mac.update(data)
        return mac.digest()
