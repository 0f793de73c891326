# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What one client makes of objects, and of the values that it reads."""

import zope.component
from zope.interface import implementer

from p01.memcache import flags
from p01.memcache import secret
from p01.memcache.compressed import CompressedSerializer
from p01.memcache.compressed import check_size
from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import describe
from p01.memcache.interfaces import ISerializer
from p01.memcache.jsoned import JSONSerializer
from p01.memcache.pickled import PickleSerializer
from p01.memcache.proxied import refuse
from p01.memcache.signed import SignedSerializer


def make(client):
    """Return the codec of a client, as its attributes say."""
    named, threshold, most = (
        client.serializer, client.compress, client.maxValueSize)
    secrets = None
    if named in ('pickle', 'signed-pickle'):
        signed = named == 'signed-pickle'
        serializer = PickleSerializer(
            client.pickleProtocol, client.allow, signed)
        if signed:
            secrets = secret.read(client.secretsFile, client.secretsVariable)
    elif named == 'json':
        serializer = JSONSerializer()
    else:
        serializer = _Foreign(_find(named))

    def wrap(serializer):
        # What is not signed is not even decompressed.
        serializer = CompressedSerializer(serializer, threshold, most)
        return SignedSerializer(serializer, secrets) if secrets else serializer

    return Codec(wrap(serializer), wrap(_Bytes()), most)


_OWN = PickleSerializer, JSONSerializer, SignedSerializer


def _find(named):
    if not isinstance(named, str):
        return named
    serializer = zope.component.queryUtility(ISerializer, named)
    if serializer is None:
        raise ValueError(
            f'serializer {named!r}: must be pickle, signed-pickle, json, or'
            ' the name of an ISerializer utility, registered before the client'
            ' is made')
    return serializer


class Codec:
    """An `ISerializer` that also knows raw values.

    `serialized` makes the bytes of a value again of what is stored.
    """

    def __init__(self, serializer, serialized, most):
        self._serializer = serializer
        self._serialized = serialized
        self._most = most

    def dumps(self, key, obj, raw):
        if not raw:
            return self._serializer.dumps(key, obj)
        data = raw_bytes(obj)
        check_size(len(data), self._most)
        return data, flags.PLAIN

    def loads(self, key, data, found, raw):
        try:
            if not raw:
                return self._serializer.loads(key, data, found)
            if found:
                return self._serialized.loads(key, data, found)
            check_size(len(data), self._most)
            return data
        except UnreadableValue:
            raise
        except Exception as error:
            raise UnreadableValue(describe(error)) from error


def raw_bytes(data):
    """Return raw data as it is, if it is bytes."""
    if not isinstance(data, bytes):
        raise ValueError(
            f'a raw value must be bytes, not {type(data).__name__}')
    # A subclass may tell lies about its length.
    return data if type(data) is bytes else bytes(memoryview(data))


class _Bytes:
    """Leaves what our own serializers have made as it is."""

    def loads(self, key, data, found):
        if found not in (flags.PLAIN, flags.JSON):
            raise UnreadableValue(f'unknown flags {found}')
        return data


@implementer(ISerializer)
class _Foreign:
    """An application's serializer: its mistakes are told in our errors."""

    def __init__(self, serializer):
        self._serializer = serializer
        # One of ours, as an object, marks its values itself.
        self._reserved = (
            flags.STAMPED | flags.CLAIM if isinstance(serializer, _OWN)
            else flags.OURS)

    def dumps(self, key, obj):
        refuse(obj)
        try:
            result = data, made = self._serializer.dumps(key, obj)
        except Exception as error:
            raise SerializationError(
                f'a {type(obj).__name__} cannot be serialized:'
                f' {describe(error)}') from error
        if type(data) is not bytes:
            raise SerializationError(
                f'serializer {self._serializer!r}: it returned'
                f' {type(data).__name__}, not bytes')
        if type(made) is not int or made & self._reserved or (
                not 0 <= made <= flags.MOST):
            raise SerializationError(
                f'serializer {self._serializer!r}: the flags {made!r} are not'
                ' for applications')
        return result

    def loads(self, key, data, found):
        if found & self._reserved:
            raise UnreadableValue(f'unknown flags {found}')
        return self._serializer.loads(key, data, found)
