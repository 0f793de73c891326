# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What one client makes of objects, and of the values that it reads."""

import zope.component

from p01.memcache import secret
from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import describe
from p01.memcache.interfaces import ISerializer
from p01.memcache.values import signing
from p01.memcache.values import stamp
from p01.memcache.values.compression import CompressedSerializer
from p01.memcache.values.compression import check_size
from p01.memcache.values.flags import FREE
from p01.memcache.values.flags import JSON
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import SIGNED
from p01.memcache.values.flags import STAMPED
from p01.memcache.values.jsons import JSONSerializer
from p01.memcache.values.pickles import PickleSerializer
from p01.memcache.values.unstorable import refuse


# The bytes in front of a value.
_AROUND = stamp.SIZE + signing.SIZE

# In front of the name of a serializer whose values are signed.
_SIGNED = 'signed-'


def is_signed(serializer):
    return isinstance(serializer, str) and serializer.startswith(_SIGNED)


def make(client):
    """Return the codec of a client, as its attributes say."""
    serializer, name, secrets = client.serializer, None, None
    if is_signed(serializer):
        serializer = name = serializer.removeprefix(_SIGNED)
        secrets = secret.read(client.secretsFile, client.secretsVariable)
    if serializer == 'pickle':
        serializer = PickleSerializer(
            client.pickleProtocol, client.allow, trusted=secrets is not None)
    elif serializer == 'json':
        serializer = JSONSerializer()
    else:
        serializer = _find(serializer)

    def wrap(serializer):
        # What is not signed is not even decompressed.
        serializer = CompressedSerializer(
            serializer, client.compress, client.maxValueSize)
        if secrets is None:
            return serializer
        return signing.SignedSerializer(serializer, name, secrets)

    return Codec(wrap(serializer), wrap(_Bytes(
        FREE if isinstance(serializer, _Foreign) else JSON)),
        client.maxValueSize)


def _find(serializer):
    """Return the serializer of an application."""
    found = serializer
    if isinstance(serializer, str):
        found = zope.component.queryUtility(ISerializer, serializer)
    if found is None:
        raise ValueError(
            f'serializer {serializer!r}: must be pickle, signed-pickle, json,'
            ' signed-json, or the name of an ISerializer utility that is'
            ' registered before the client is made')
    if isinstance(found, (PickleSerializer, JSONSerializer)):
        return found
    return _Foreign(found)


class Codec:
    """Makes what is stored of an object, or of raw bytes, and reads it again.

    `unwrapper` is as the serializer, but leaves the serialized bytes as they
    are. ``most`` is how many bytes are received, of what is `most` bytes when
    it is not compressed, nor behind a signature and a stamp.
    """

    def __init__(self, serializer, unwrapper, most):
        self._serializer = serializer
        self._unwrapper = unwrapper
        self._most = most
        self.most = most + _AROUND

    def dumps(self, key, obj, raw):
        if not raw:
            return self._serializer.dumps(key, obj)
        data = raw_bytes(obj)
        check_size(len(data), self._most)
        return data, PLAIN

    def stamp(self, key, versions, data, flags):
        """Return what `dumps` has returned with a stamp of the versions."""
        if flags & SIGNED:
            return self._serializer.stamp(key, versions, data, flags)
        return stamp.put(versions, data), flags | STAMPED

    def unstamp(self, data, flags):
        """Return the versions in the stamp, and ``(data, flags)`` for `loads`.

        There a stamp that is signed is verified, together with the value.
        """
        if flags & SIGNED:
            versions, _ = stamp.take(
                data[signing.SIZE:signing.SIZE + stamp.SIZE])
            return versions, (data, flags)
        versions, data = stamp.take(data)
        return versions, (data, flags & ~STAMPED)

    def loads(self, key, data, flags, raw):
        try:
            if len(data) > self.most:
                check_size(len(data), self._most)  # before all else
            if not raw:
                return self._serializer.loads(key, data, flags)
            if flags:
                return self._unwrapper.loads(key, data, flags)
            check_size(len(data), self._most)
            return data
        except UnreadableValue:
            raise
        except Exception as error:
            raise UnreadableValue(describe(error)) from error


def raw_bytes(data):
    """Return raw data as it is, if it is bytes."""
    # Of what is wrapped isinstance() tells what is in it.
    if not issubclass(type(data), bytes):
        raise ValueError(
            f'a raw value must be bytes, not {type(data).__name__}')
    # A subclass may tell lies about its length.
    return data if type(data) is bytes else bytes(memoryview(data))


class _Bytes:
    """Leaves the bytes that serializers with these flags made as they are."""

    def __init__(self, flags):
        self._flags = flags

    def loads(self, key, data, flags):
        if flags & ~self._flags:
            raise UnreadableValue(f'unknown flags {flags}')
        return data


class _Foreign:
    """An application's serializer: its mistakes are told in our errors."""

    def __init__(self, serializer):
        self._serializer = serializer

    def dumps(self, key, obj):
        refuse(obj)
        try:
            result = self._serializer.dumps(key, obj)
        except Exception as error:
            raise SerializationError(
                f'a {type(obj).__name__} cannot be serialized:'
                f' {describe(error)}') from error
        if not isinstance(result, tuple) or len(result) != 2 or (
                type(result[0]) is not bytes or type(result[1]) is not int):
            raise SerializationError(
                f'serializer {self._serializer!r}: must return bytes, int')
        if result[1] & ~FREE:
            raise SerializationError(
                f'serializer {self._serializer!r}: flags {result[1]} must be'
                ' made of the bits 0 to 5 and 12 to 15')
        return result

    def loads(self, key, data, flags):
        if flags & ~FREE:
            raise UnreadableValue(f'unknown flags {flags}')
        return self._serializer.loads(key, data, flags)
