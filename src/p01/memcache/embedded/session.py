# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The session of the embedded server: one client's dialogue, in bytes."""

import math
import re

from p01.memcache.embedded.commands import COMMANDS
from p01.memcache.embedded.commands import UNKNOWN
from p01.memcache.embedded.replies import BAD_CHUNK
from p01.memcache.embedded.replies import BAD_FORMAT
from p01.memcache.embedded.replies import HangUp
from p01.memcache.embedded.replies import Malformed
from p01.memcache.embedded.replies import Refused
from p01.memcache.embedded.syntax import MOST_WORDS


#: The bytes of a line: it may fill memcached's read buffer. One that arrives
#: in pieces may not even get near that. A get of many keys may do both, up to
#: a limit of our own.
READ_BUFFER = 16 * 1024
PARTIAL_LINE = 2048
LONGEST_GET = 1024 * 1024
LONG_GET = re.compile(rb' {0,100}gets? ')

#: The bytes that a line has at least, its end included.
SHORTEST_LINE = 4


class Session:
    """A dialogue over a buffer: bytes in, bytes out, and no socket.

    The dialogue is a generator. It yields the pieces of its replies, and None
    where it can go on with more input only. So a command is written down from
    its line to its reply, and rests wherever the client is slow: to send, or
    to read what it asked for.
    """

    #: Whether the server hangs up, after the replies so far.
    ended = False

    #: The number of a value that `ms` announced. If the value is bad, the
    #: next one gets it.
    announced = None

    def __init__(self, storage):
        self.storage = storage
        self._buffer = bytearray()
        self._dialogue = self._converse()

    def receive(self, data):
        """Take what the client has sent."""
        self._buffer += data

    def reply(self, enough=math.inf):
        """Return what there is to say by now.

        No further piece is added to what is `enough`, in bytes: the rest is
        for another call. Less means that more input is needed.
        """
        batch = bytearray()
        for piece in self._dialogue:
            if piece is None:
                break
            batch += piece
            if len(batch) >= enough:
                break
        else:
            self.ended = True
        return bytes(batch)

    # What the commands use. These are generators, as the commands are.

    def read_value(self, length):
        value = yield from self._read_block(length + len('\r\n'))
        if not value.endswith(b'\r\n'):
            raise Refused(BAD_CHUNK)
        return value[:-len('\r\n')]

    def skip_value(self, length):
        length += len('\r\n')
        while (length := length - len(self._take(length))):
            yield None

    def announce(self, unique=None):
        """Keep a number for the value to come, here or at the client's."""
        self.announced = unique or self.storage.next_unique()

    def take_unique(self):
        """Return the number for a value that has come."""
        unique = self.announced or self.storage.next_unique()
        self.announced = None
        return unique

    def _converse(self):
        try:
            while True:
                line = yield from self._read_line()
                yield from self._obey(line)
        except HangUp:
            return

    def _obey(self, line):
        if len(line) < SHORTEST_LINE:
            yield BAD_FORMAT
            return
        text = line.removesuffix(b'\n').removesuffix(b'\r')
        words = list(filter(None, text.split(b' '))) or [b'']
        name, *more = words
        command = COMMANDS.get(name, UNKNOWN)
        if text.startswith(b' ') and not command.indented:
            command = UNKNOWN
        if len(more) < command.fewest:
            yield BAD_FORMAT
            return
        silent = command.noreply and words[:MOST_WORDS][-1] == b'noreply'
        try:
            for piece in command.run(self, name.decode('latin-1'), *more):
                if piece is None or not silent:
                    yield piece
        except Malformed:
            yield BAD_FORMAT
        except Refused as refusal:
            if not silent:
                yield refusal.args[0]

    def _read_line(self):
        """Return a line with its end; hang up where it is too long."""
        searched = 0
        while True:
            end = self._buffer.find(b'\n', searched)
            searched = len(self._buffer)
            length, most = ((searched, PARTIAL_LINE) if end < 0
                            else (end, READ_BUFFER))
            if LONG_GET.match(self._buffer):
                most = LONGEST_GET
            if length > most:
                raise HangUp
            if end >= 0:
                return self._take(end + 1)
            yield None

    def _read_block(self, length):
        while len(self._buffer) < length:
            yield None
        return self._take(length)

    def _take(self, length):
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data
