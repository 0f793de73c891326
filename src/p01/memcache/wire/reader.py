# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Lines and blocks of bytes out of a stream that gives what it has."""
from p01.memcache.wire.item import Item


# Together with the longest line of the protocol less than 8 kB, which is all
# that a server can make us read without ever sending the end of a line.
SIZE = 6144

# The ends of a value and of its reply, which are received with the value.
_BEHIND = b'\r\nEND\r\n'
BEHIND = len(_BEHIND)

# What is allocated ahead for bytes that are announced and not here yet.
PIECE = 1 << 20


class Reader:
    """Reads as a file does, from ``receive(size)`` that returns some bytes."""

    closed = False

    def __init__(self, receive):
        self._receive = receive
        self._data = b''
        self._start = 0

    def is_empty(self):
        """Return whether all that was received has been read."""
        return self._start == len(self._data)

    def close(self):
        """Nothing is to be read any more, and much might still come."""
        self.closed = True

    def fill(self):
        """Wait for the first bytes, when all others have been read."""
        self._data = self._receive(SIZE)
        self._start = 0

    def readline(self, limit):
        """Return a line with its end, or without one after `limit` bytes."""
        start = self._start
        end = self._data.find(b'\n', start, start + limit) + 1
        if not end:
            end = self._find_end(limit)
            start = self._start
        self._start = end
        return self._data[start:end]

    def _find_end(self, limit):
        """Receive until a line ends, and return where that is."""
        while True:
            rest = self._data[self._start:]
            if len(rest) >= limit:
                return self._start + limit
            self._data = rest + self._receive(SIZE)
            self._start = 0
            end = self._data.find(b'\n', len(rest), limit) + 1
            if end:
                return end

    def read(self, size):
        """Return exactly `size` bytes."""
        start = self._start
        end = start + size
        if end > len(self._data):
            return self._gather(size)
        self._start = end
        return self._data[start:end]

    def scan(self, match, keys, found):
        """Read the values that were received and are what was asked for.

        It ends in front of whatever is not. See `protocol.read_values`.
        """
        data, start = self._data, self._start
        while (header := match(data, start)) is not None:
            key, flags, size = header.groups()
            begin = header.end()
            end = begin + int(size)
            if (data[end:end + 2] != b'\r\n' or key not in keys
                    or key in found):
                break
            found[key] = Item(data[begin:end], int(flags))
            start = end + 2
        self._start = start

    def take(self, match, key):
        """Read a reply that has been received whole: the `Item` of the key.

        For any other reply it returns None, and reads nothing.
        """
        data, start = self._data, self._start
        header = match(data, start)
        if header is None:
            return None
        named, flags, size = header.groups()
        begin = header.end()
        end = begin + int(size)
        if named != key or data[end:end + BEHIND] != _BEHIND:
            return None
        self._start = end + BEHIND
        return Item(data[begin:end], int(flags))

    def _gather(self, size):
        pieces = [self._data[self._start:]]
        missing = size - len(pieces[0])
        while missing:
            self._data = self._receive(
                max(SIZE, min(missing + BEHIND, PIECE)))
            pieces.append(self._data[:missing])
            self._start = len(pieces[-1])
            missing -= self._start
        # What is left over alone, else an idle connection keeps the value.
        self._data, self._start = self._data[self._start:], 0
        return b''.join(pieces)
