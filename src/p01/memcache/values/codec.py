# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a client stores of an object, or of raw bytes, and how it is read."""

import pickle
from collections.abc import Mapping
from typing import Any

import zope.component

from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.interfaces import ISerializer
from p01.memcache.log import describe
from p01.memcache.trust import secrets
from p01.memcache.values import signing
from p01.memcache.values import stamp
from p01.memcache.values.compression import compress
from p01.memcache.values.compression import decompress
from p01.memcache.values.flags import COMPRESSED
from p01.memcache.values.flags import FREE
from p01.memcache.values.flags import JSON
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import SIGNED
from p01.memcache.values.flags import STAMPED
from p01.memcache.values.foreign import ForeignSerializer
from p01.memcache.values.jsons import JSONSerializer
from p01.memcache.values.pickles import SIMPLE
from p01.memcache.values.pickles import PickleSerializer
from p01.memcache.values.stamp import Versions


# Bytes that may be in front of a value.
_AROUND = stamp.SIZE + signing.SIZE

# In front of the name of a serializer whose values are signed.
_SIGNED = 'signed-'


def is_signed(serializer: object) -> bool:
    return isinstance(serializer, str) and serializer.startswith(_SIGNED)


def make(client: Any) -> 'Codec':
    """Return the codec that the attributes of a client, or settings, ask for.
    """
    serializer: Any
    name, found = client.serializer, None
    if is_signed(name):
        name = name.removeprefix(_SIGNED)
        found = secrets.read(client.secretsFile, client.secretsVariable)
    if name == 'pickle':
        serializer = PickleSerializer(
            client.pickleProtocol, client.allow, trusted=found is not None)
    elif name == 'json':
        serializer = JSONSerializer()
    else:
        serializer = _find(name)
    return Codec(
        serializer, client.maxValueSize, client.compress,
        None if found is None else signing.Signer(
            name, secrets.Secrets(found)))


def _find(serializer: Any) -> Any:
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
    return ForeignSerializer(found)


class Codec:
    """Makes stored data and flags of an object or raw bytes, and reads them.

    `largest` is the size in bytes of the largest value as the serializer
    makes it. From `threshold` bytes on it is compressed, never if that is
    None. most is the size of the largest data that are received, with a
    stamp and a signature.
    """

    def __init__(self, serializer: Any, largest: int,
                 threshold: int | None = None,
                 signer: signing.Signer | None = None) -> None:
        self.most = largest + _AROUND
        self.signer = signer
        self._serializer = serializer
        self._largest = largest
        self._threshold = threshold
        # The serializer, if it is just ours, and its pickles are not signed.
        self._pickles = (serializer if signer is None and type(
            serializer) is PickleSerializer else None)
        # Flags of the serialized bytes that are read as raw.
        self._raw_flags = (
            FREE if isinstance(serializer, ForeignSerializer) else JSON)

    def dumps(self, key: bytes, obj: object, raw: bool) -> tuple[bytes, int]:
        """Return what is stored of the object, or of raw bytes."""
        if raw:
            data, flags = raw_bytes(obj), PLAIN
        else:
            data, flags = self._serializer.dumps(key, obj)
        if len(data) > self._largest:
            raise self._too_large(data)
        if raw:
            return data, flags
        if self._threshold is not None and len(data) >= self._threshold:
            data, flags = compress(data, flags)
        if self.signer is not None:
            return self.signer.sign(key, data, flags)
        return data, flags

    def stamp(self, key: bytes, versions: Versions, data: bytes, flags: int
              ) -> tuple[bytes, int]:
        """Return what `dumps` returned, with a stamp of the versions."""
        if self.signer is None or not flags & SIGNED:
            return stamp.put(versions, data), flags | STAMPED
        return self.signer.sign(
            key, stamp.put(versions, data[signing.SIZE:]), flags | STAMPED)

    def unstamp(self, data: bytes, flags: int
                ) -> tuple[Versions, tuple[bytes, int]]:
        """Return the versions in the stamp, and the arguments for `loads`.

        A stamp that is signed stays, to be verified there with the value.
        """
        if flags & SIGNED:
            versions, _ = stamp.take(
                data[signing.SIZE:signing.SIZE + stamp.SIZE])
            return versions, (data, flags)
        versions, data = stamp.take(data)
        return versions, (data, flags & ~STAMPED)

    def loads(self, key: bytes, data: bytes, flags: int, raw: bool) -> Any:
        """Return the object, or with `raw` the bytes that it was made of.

        Whatever is wrong with them is an `UnreadableValue`.
        """
        try:
            if len(data) > self.most:  # before anything is done with them
                raise self._too_large(data)
            # What was stored as raw is not signed, and has no flags.
            if self.signer is not None and (flags or not raw):
                data, flags = self.signer.verify(key, data, flags)
                if flags & STAMPED:
                    (_, data), flags = stamp.take(data), flags & ~STAMPED
            # What is not signed is not even decompressed.
            if flags & COMPRESSED:
                data, flags = decompress(data, flags, self._largest)
            elif len(data) > self._largest:
                raise self._too_large(data)
            if not raw:
                return self._serializer.loads(key, data, flags)
            if flags & ~self._raw_flags:
                raise UnreadableValue(f'unknown flags {flags}')
            return data
        except UnreadableValue:
            raise
        except Exception as error:
            raise UnreadableValue(describe(error)) from error

    def loads_many(
            self, wanted: Mapping[Any, bytes],
            items: Mapping[bytes, tuple[bytes, int, Any]], raw: bool,
            ) -> tuple[dict[Any, Any], dict[Any, Exception]]:
        """Return what `loads` returns for many keys, and what it raises.

        `wanted` maps them to the keys of the items; some have none.
        """
        values: dict[Any, Any] = {}
        errors: dict[Any, Exception] = {}
        largest, plain = self._largest, None
        if self._pickles is not None and not raw:
            plain = self._pickles.loads_plain
        for key, wire in wanted.items():
            if wire not in items:
                continue
            data, flags, _ = items[wire]
            try:
                # Most of them: without the calls of `loads`.
                if plain is not None and not flags and len(data) <= largest:
                    values[key] = plain(data)
                else:
                    values[key] = self.loads(wire, data, flags, raw)
            except UnreadableValue as error:
                errors[key] = error
            except Exception as error:
                errors[key] = UnreadableValue(describe(error))
                errors[key].__cause__ = error
        return values, errors

    def dumps_many(self, objects: Mapping[bytes, Any], raw: bool,
                   ) -> tuple[dict[bytes, tuple[bytes, int]],
                              dict[bytes, Exception]]:
        """Return what `dumps` returns for many keys, and what it raises."""
        dumped: dict[bytes, tuple[bytes, int]] = {}
        errors: dict[bytes, Exception] = {}
        largest, protocol = self._largest, -1
        simple: frozenset[type] = frozenset()
        if self._pickles is not None and not raw and self._threshold is None:
            simple, protocol = SIMPLE, self._pickles.protocol
        for key, obj in objects.items():
            try:
                # Most of them: without the calls of `dumps`.
                if type(obj) not in simple or len(
                        data := pickle.dumps(obj, protocol)) > largest:
                    dumped[key] = self.dumps(key, obj, raw)
                else:
                    dumped[key] = data, PLAIN
            except (ValueError, ValueTooLarge) as error:
                # A traceback would lead back to the errors, and to all values.
                errors[key] = error.with_traceback(None)
        return dumped, errors

    def _too_large(self, data: bytes) -> ValueTooLarge:
        return ValueTooLarge(
            f'{len(data)} bytes are more than maxValueSize {self._largest}')


def raw_bytes(data: Any) -> bytes:
    """Return raw data unchanged, if they are bytes."""
    # Not isinstance(), which looks into proxies.
    if not issubclass(type(data), bytes):
        raise ValueError(
            f'a raw value must be bytes, not {type(data).__name__}')
    # A subclass may lie about its length.
    return data if type(data) is bytes else bytes(memoryview(data))
