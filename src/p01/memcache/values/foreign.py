# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A serializer of an application, which may make mistakes."""

from typing import Any

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import IPersistentSerializer
from p01.memcache.log import describe
from p01.memcache.values.flags import FREE
from p01.memcache.values.unstorable import is_persistent
from p01.memcache.values.unstorable import refuse


class ForeignSerializer:
    """Checks an `ISerializer`, and raises its errors as ours."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer
        self._takes: Any = (
            serializer.takes if IPersistentSerializer.providedBy(serializer)
            else lambda obj: False)

    def dumps(self, key: bytes, obj: object) -> tuple[bytes, int]:
        if not (is_persistent(obj) and self._ask(self._takes, obj)):
            refuse(obj)
        result = self._ask(self._serializer.dumps, key, obj)
        if not isinstance(result, tuple) or len(result) != 2 or (
                type(result[0]) is not bytes or type(result[1]) is not int):
            raise SerializationError(
                f'serializer {self._serializer!r}: must return bytes, int')
        if result[1] & ~FREE:
            raise SerializationError(
                f'serializer {self._serializer!r}: flags {result[1]} must be'
                ' made of the bits 0 to 5 and 12 to 15')
        return result

    def _ask(self, method: Any, *args: Any) -> Any:
        try:
            return method(*args)
        except Exception as error:
            raise SerializationError(
                f'a {type(args[-1]).__name__} cannot be serialized:'
                f' {describe(error)}') from error

    def loads(self, key: bytes, data: bytes, flags: int) -> Any:
        if flags & ~FREE:
            raise UnreadableValue(f'unknown flags {flags}')
        return self._serializer.loads(key, data, flags)
