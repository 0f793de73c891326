# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One connection to a server: sends a request and reads its reply.

It decides, alone, whether it can be used again. It is dirty from before the
first byte of a request until its reply was read to the end, whatever ends an
operation in between. So nobody ever reads the reply to another's request.
"""

from p01.memcache import stream
from p01.memcache.errors import ServerError
from p01.memcache.reader import Reader


class Connection:
    """A connection to `host` and `port`, not made before `connect`.

    ``dirty`` tells that it cannot be used: it is not connected, or its last
    reply was not read to the end.
    """

    def __init__(self, host, port, keeping):
        self._address = host, port, keeping
        self._stream = None
        self._reader = None
        self.dirty = True

    def connect(self, deadline):
        self.close()
        self._stream = stream.connect(*self._address, deadline)
        self._reader = Reader(self._stream.receive)
        self.dirty = False

    def close(self):
        self.dirty = True
        if self._stream is not None:
            self._stream.close()

    def is_ready(self):
        """Return whether it can be used, and nothing came meanwhile.

        That may be the end of the stream, or a reply too many.
        """
        return (not self.dirty
                and self._reader.is_empty()
                and self._stream.is_quiet())

    def request(self, data, read, deadline, *args):
        """Send `data` and return what ``read(reader, *args)`` makes of it."""
        self.dirty = True
        self._stream.deadline = deadline
        self._stream.send(data)
        self._reader.fill()
        try:
            reply = read(self._reader, *args)
        except ServerError:
            self.dirty = False
            raise
        self.dirty = False
        return reply
