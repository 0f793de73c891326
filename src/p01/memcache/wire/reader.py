# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Lines and blocks of bytes, read from a stream that arrives in pieces."""

import io
import re
from collections.abc import Callable
from collections.abc import Collection
from typing import Protocol

from p01.memcache.errors import MemcacheError
from p01.memcache.wire.item import Item


# Keys with other bytes are left to `replies.parse_value`, which is slower.
_match_value = re.compile(
    rb'VALUE ([!-\xff]+) (\d{1,10}) (\d{1,10})\r\n').match

# What follows a key in the same line. No value of a longer size can be here.
_parse_rest = re.compile(rb' (\d{1,10}) (\d{1,9})\r\n').fullmatch
_BEFORE = len(b'VALUE ')

# Most replies, with values of some kB or a hundred small ones, arrive in one
# piece of this size. It is also, but for the longest line of the protocol, all
# that a server can make us read without ever sending the end of a line.
SIZE = 16384

# The ends of a value and of its reply, received together with the value.
_BEHIND = b'\r\nEND\r\n'
BEHIND = len(_BEHIND)

# The most that is allocated for bytes that are announced but not here yet.
PIECE = 1 << 20


class Readable(Protocol):
    """What a reply is read from: a `Reader`, or an ``io.BytesIO``."""

    @property
    def closed(self) -> bool: ...

    def close(self) -> None: ...

    def readline(self, limit: int, /) -> bytes: ...

    def read(self, size: int, /) -> bytes: ...


class Reader:
    """Reads as a file does, from ``receive(size)`` that returns some bytes.

    ``data`` is what was received last, and begins to be read at ``start``. A
    `Connection` puts the first bytes of a reply there.
    """

    closed = False

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self.data = b''
        self.start = 0

    def is_empty(self) -> bool:
        """Return whether all that was received has been read."""
        return self.start == len(self.data)

    def close(self) -> None:
        """Read nothing more, however much may still come."""
        self.closed = True

    def readline(self, limit: int) -> bytes:
        """Return a line with its end, or without one after `limit` bytes."""
        data, start = self.data, self.start
        end = data.find(b'\n', start, start + limit) + 1
        if not end:
            end = self._find_end(limit)
            data, start = self.data, self.start
        self.start = end
        return data[start:end]

    def _find_end(self, limit: int) -> int:
        """Receive until a line ends, and return where that is."""
        while True:
            rest = self.data[self.start:]
            if len(rest) >= limit:
                return self.start + limit
            self.data = rest + self._receive(SIZE)
            self.start = 0
            end = self.data.find(b'\n', len(rest), limit) + 1
            if end:
                return end

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        start = self.start
        end = start + size
        if end > len(self.data):
            return self._gather(size)
        self.start = end
        return self.data[start:end]

    def scan(
            self, keys: Collection[bytes], found: dict[bytes, Item]) -> None:
        """Read the values that were received whole and were asked for.

        It stops in front of anything else. See `replies.read_values`.
        """
        file, new = io.BytesIO(self.data), tuple.__new__
        file.seek(self.start)
        read = file.read
        # Built keys have the same length, and most values the same flags and
        # one of a few sizes. The end of a line is parsed when it is new.
        end_of_key = _BEFORE + len(next(iter(keys), b''))
        known: dict[bytes, tuple[int, int]] = {}
        unread = 0
        for line in file:
            unread = len(line)
            key, rest = line[_BEFORE:end_of_key], line[end_of_key:]
            if rest not in known:
                match = _parse_rest(rest)
                if match is None:
                    break
                known[rest] = int(match[1]), int(match[2])
            flags, size = known[rest]
            if (key not in keys or key in found
                    or line[:_BEFORE] != b'VALUE '):
                break
            data, end = read(size), read(2)
            if end != b'\r\n':
                unread += len(data) + len(end)
                break
            # As ``Item(...)`` does, without a call of Python code.
            found[key] = new(Item, (data, flags, None))
            unread = 0
        self.start = file.tell() - unread

    def take(self, key: bytes) -> Item | None:
        """Return the `Item` of a reply that was received whole.

        For any other reply it returns None, and reads nothing.
        """
        data, start = self.data, self.start
        header = _match_value(data, start)
        if header is None:
            return None
        named, flags, size = header.groups()
        begin = header.end()
        end = begin + int(size)
        if named != key or data[end:end + BEHIND] != _BEHIND:
            return None
        self.start = end + BEHIND
        return tuple.__new__(Item, (data[begin:end], int(flags), None))

    def skip(self, expected: bytes) -> bool:
        """Read exactly these bytes, however they arrive; or nothing."""
        data = self.data[self.start:]
        while len(data) < len(expected) and expected.startswith(data):
            self.data, self.start = data, 0
            try:
                data += self._receive(SIZE)
            except MemcacheError:
                # Raised again where what has arrived was read.
                return False
        self.data, self.start = data, 0
        if not data.startswith(expected):
            return False
        self.start = len(expected)
        return True

    def _gather(self, size: int) -> bytes:
        pieces = [self.data[self.start:]]
        missing = size - len(pieces[0])
        while missing:
            self.data = self._receive(
                max(SIZE, min(missing + BEHIND, PIECE)))
            pieces.append(self.data[:missing])
            self.start = len(pieces[-1])
            missing -= self.start
        # What is left over alone, else an idle connection keeps the value.
        self.data, self.start = self.data[self.start:], 0
        return b''.join(pieces)
