# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Lines and blocks of bytes out of a stream that gives what it has."""

# Together with the longest line of the protocol less than 8 kB, which is all
# that a server can make us read without ever sending the end of a line.
SIZE = 6144

# What is allocated ahead for bytes that are announced and not here yet.
PIECE = 1 << 20


class Reader:
    """Reads as a file does, from ``receive(size)`` that returns some bytes."""

    def __init__(self, receive):
        self._receive = receive
        self._data = b''
        self._start = 0

    def is_empty(self):
        """Return whether all that was received has been read."""
        return self._start == len(self._data)

    def fill(self):
        """Wait for the first bytes, when all others have been read."""
        self._data = self._receive(SIZE)
        self._start = 0

    def readline(self, limit):
        """Return a line with its end, or without one after `limit` bytes."""
        start = self._start
        end = self._data.find(b'\n', start, start + limit) + 1
        while not end:
            rest = self._data[self._start:]
            if len(rest) >= limit:
                end = self._start + limit
                break
            self._data = rest + self._receive(SIZE)
            self._start = 0
            end = self._data.find(b'\n', len(rest), limit) + 1
        line = self._data[self._start:end]
        self._start = end
        return line

    def read(self, size):
        """Return exactly `size` bytes."""
        end = self._start + size
        data = self._data[self._start:end]
        if len(data) < size:
            pieces = [data]
            missing = size - len(data)
            while missing:
                self._data = self._receive(max(SIZE, min(missing, PIECE)))
                pieces.append(self._data[:missing])
                end = len(pieces[-1])
                missing -= end
            data = b''.join(pieces)
        self._start = end
        return data
