# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Several commands for one key, which travel as one.

The server carries them out in their order, also behind a proxy.
"""

from p01.memcache.errors import ServerError
from p01.memcache.wire.command import Command


class Steps(Command):
    """The reply is the list of the replies; each step may be repeated."""

    repeats = True

    def __init__(self, *steps, changes):
        self.key = steps[0].key
        self.changes = changes
        self.everywhere = all(step.everywhere for step in steps)
        self._steps = steps

    def encode(self):
        return b''.join(step.encode() for step in self._steps)

    def limited(self, seconds):
        return Steps(*(step.limited(seconds) for step in self._steps),
                     changes=self.changes)

    def read(self, reader):
        replies, refusals = [], []
        for step in self._steps:
            try:
                replies.append(step.read(reader))
            except ServerError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]
        return replies
