# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One connection to a server: sends a request and reads its reply.

It decides, alone, whether it can be used again. It is dirty from before the
first byte of a request until its reply was read to the end, whatever ends an
operation in between. So nobody ever reads the reply to another's request.
"""

import io

from p01.memcache import stream
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerError


# Together with the longest line less than 8 kB, which is all that a server
# can make us read without ever sending the end of a line.
BUFFER = 6144


class Connection:
    """A connection to `host` and `port`, not made before `connect`."""

    def __init__(self, host, port, keeping):
        self._address = host, port, keeping
        self._stream = None
        self._reader = None
        self.dirty = False

    def connect(self, deadline):
        self._stream = stream.connect(*self._address, deadline)
        self._reader = io.BufferedReader(self._stream, BUFFER)

    def close(self):
        if self._stream is not None:
            self._stream.close()
            self._stream = self._reader = None
        self.dirty = False

    def is_ready(self):
        """Whether it is connected, and nothing came since the last reply.

        The end of the stream may have come meanwhile, or a reply too many.
        """
        if self._reader is None:
            return False
        self._stream.deadline = 0
        try:
            # Without bytes in the buffer this reads what is there, at once.
            return not self._reader.peek(1)
        except MemcacheError:
            return False

    def request(self, data, read, deadline, *args):
        """Send `data` and return what ``read(reader, *args)`` makes of it."""
        self.dirty = True
        self._stream.deadline = deadline
        self._stream.send(data)
        try:
            reply = read(self._reader, *args)
        except ServerError:
            self.dirty = False
            raise
        self.dirty = False
        return reply
