# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Many commands in a few requests.

A request is small enough for the buffers of the sockets, so that neither side
waits for the other to read.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import Self

from p01.memcache.errors import ServerError
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import GetMany
from p01.memcache.wire.item import Announced
from p01.memcache.wire.item import Item
from p01.memcache.wire.reader import Readable


# Keys in one request.
MOST_KEYS = 1000

# Changes in one request, and their bytes.
MOST_CHANGES, MOST_BYTES = 500, 1 << 16

# After this many values that are too large, the rest is not asked for again.
# Each of them costs a connection.
MOST_LARGE = 10


def get_all(keys: Sequence[bytes], found: dict[bytes, Item],
            most: int) -> Iterator[GetMany]:
    """Yield a `GetMany` for the next of the keys, until all are asked for.

    The keys behind a value that is too large are asked for again.
    """
    left = MOST_LARGE
    while keys:
        wanted = keys[:MOST_KEYS]
        yield GetMany(wanted, found, most)
        last = next(reversed(found), b'')
        if left and last in wanted and type(found[last].data) is Announced:
            left -= 1
            keys = [key for key in keys if key not in found]
        else:
            keys = keys[MOST_KEYS:]


def change_all(commands: Iterable[Command], replies: dict[bytes, Any],
               most: int = MOST_BYTES) -> Iterator['Batch']:
    """Yield a `Batch` of at most `most` bytes for the next of the commands.

    A larger value goes alone.
    """
    batch: list[Command] = []
    requests: list[bytes] = []
    size = 0
    for command in commands:
        data = command.encode()
        size += len(data)
        if batch and (size > most or len(batch) == MOST_CHANGES):
            yield Batch(batch, requests, replies)
            batch, requests, size = [], [], len(data)
        batch.append(command)
        requests.append(data)
    if batch:
        yield Batch(batch, requests, replies)


class Batch(Command):
    """Commands that are sent at once, as the bytes of their requests.

    What is read of each reply, or the server's refusal, is put into the dict
    `replies`, by key.
    """

    def __init__(self, commands: Sequence[Command], requests: Sequence[bytes],
                 replies: dict[bytes, Any]) -> None:
        self._commands, self._requests = commands, requests
        self._replies = replies
        self.since = min([command.since for command in commands])

    @classmethod
    def of(cls, commands: Iterable[Command],
           replies: dict[bytes, Any]) -> Self:
        """Return the batch of all these commands."""
        batch = list(commands)
        return cls(batch, [command.encode() for command in batch], replies)

    def encode(self) -> bytes:
        return b''.join(self._requests)

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        return all(command.repeats for command in self._commands)

    def read(self, reader: Readable) -> None:
        if self._read_usual(reader):
            return
        for command in self._commands:
            try:
                self._replies[command.key] = command.read(reader)
            except ServerError as error:
                # A traceback would lead back to the replies, and to all
                # frames.
                self._replies[command.key] = error.with_traceback(None)

    def _read_usual(self, reader: Readable) -> bool:
        """Return whether all replies are the usual one, which was received.

        Then they are read all at once.
        """
        skip = getattr(reader, 'skip', None)
        usual = [command.usual for command in self._commands]
        # A command without one has a reply to be read nevertheless.
        if skip is None or not all(usual) or not skip(b''.join(usual)):
            return False
        self._replies.update(dict.fromkeys(
            [command.key for command in self._commands], True))
        return True
