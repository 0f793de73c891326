# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values behind a signature, by which nobody else can have made or moved them.

In front of the value are a byte, the version of this format, and 32 bytes, the
HMAC-SHA256 of the version, the flags, the names of the serializer and the key,
each with its length, and the value. A stamp, see `p01.memcache.values.stamp`,
is between the signature and the value, and is signed with it.
"""

import hmac
import struct

from zope.interface import implementer

from p01.memcache.errors import ForgedValue
from p01.memcache.interfaces import ISerializer
from p01.memcache.values import stamp
from p01.memcache.values.flags import SIGNED
from p01.memcache.values.flags import STAMPED


_VERSION = b'\x01'
SIZE = 1 + 32

_pack_head = struct.Struct('>cHHH').pack


@implementer(ISerializer)
class SignedSerializer:
    """Signs what another serializer, of that name, makes. See `ISerializer`.

    `secrets` are bytes. The first one signs, all of them verify.
    """

    def __init__(self, serializer, name, secrets):
        self._serializer = serializer
        self._name = name.encode()
        # Copied for each value, which is faster than to begin anew.
        self._keyed = [
            hmac.new(secret, digestmod='sha256') for secret in secrets]

    def dumps(self, key, obj):
        return self._seal(key, *self._serializer.dumps(key, obj))

    def stamp(self, key, versions, data, flags):
        """Return what `dumps` has returned with a stamp, signed anew."""
        return self._seal(
            key, stamp.put(versions, data[SIZE:]), flags | STAMPED)

    def _seal(self, key, data, flags):
        flags |= SIGNED
        signature = self._sign(self._keyed[0], key, flags, data)
        return b'%b%b%b' % (_VERSION, signature, data), flags

    def loads(self, key, data, flags):
        if not flags & SIGNED:
            raise ForgedValue('it is not signed')
        signature, value = data[1:SIZE], data[SIZE:]
        if data[:1] != _VERSION or flags > 0xffff or not any(
                hmac.compare_digest(
                    signature, self._sign(keyed, key, flags, value))
                for keyed in self._keyed):
            raise ForgedValue('its signature is wrong')
        if flags & STAMPED:
            _, value = stamp.take(value)
        return self._serializer.loads(
            key, value, flags & ~(SIGNED | STAMPED))

    def _sign(self, keyed, key, flags, data):
        mac = keyed.copy()
        name = self._name
        mac.update(b'%b%b%b' % (
            _pack_head(_VERSION, flags, len(name), len(key)), name, key))
        mac.update(data)
        return mac.digest()
