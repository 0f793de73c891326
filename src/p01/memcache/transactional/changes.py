# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The changes of a transaction, and what it sees of them itself."""

import itertools
import secrets
from functools import cached_property
from time import monotonic

from p01.memcache.transactional.effects import KEPT
from p01.memcache.transactional.effects import UNCHANGED
from p01.memcache.transactional.effects import is_told
from p01.memcache.transactional.effects import outcome
from p01.memcache.values import stamp
from p01.memcache.wire import cas
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Set
from p01.memcache.wire.limits import MAX_VALUE


#: Instead of what a key has: what the servers have.
UNKNOWN = object()


class Changes:
    """Commands in their order, and what each key has after them.

    `store` has what they change.
    """

    def __init__(self, store):
        #: The seconds that an operation may take.
        self.seconds = 0
        self.store = store
        self._numbers = itertools.count(1)
        self._steps = []  # commands, each with what its key has then
        self._recall()

    @cached_property
    def name(self):
        """The name of the server that tokens tell."""
        return f'transaction-{secrets.token_hex(8)}'

    def __len__(self):
        return len(self._steps)

    @property
    def tags(self):
        """The dependencies that it invalidates."""
        return list(dict.fromkeys(
            command.key for command, _ in self._steps
            if command.removes and (command.key or b'').startswith(stamp.TAG)))

    @property
    def commands(self):
        return [command for command, _ in self._steps]

    @property
    def removals(self):
        """Commands that remove whatever it changes."""
        return [command if command.removes else Delete(command.key)
                for command in self.commands]

    def truncate(self, size):
        """Forget all but the first so many changes."""
        del self._steps[size:]
        self._recall()

    def _recall(self):
        self._view, self._others = {}, UNKNOWN
        for step in self._steps:
            self._see(*step)

    def _see(self, command, item):
        if command.key is None:  # it empties the servers
            self._view.clear()
            self._others = None
        elif item is not KEPT:
            self._view[command.key] = item

    def look(self, key):
        """Return the `Item` that the transaction has put there.

        It is None if the transaction has removed it, or `UNKNOWN` if it has
        done neither.
        """
        return self._view.get(key, self._others)

    def put(self, command, deadline):
        """Add a command; return the reply to it, as the transaction sees it.
        """
        self._note(deadline)
        item = self.look(command.key)
        if item is UNKNOWN and not is_told(command):
            item = self._fetch(command, deadline)
        reply, item = outcome(command, item)
        if item is UNCHANGED:
            return reply
        if item is not None and item is not KEPT:
            item = item._replace(
                token=cas.make(next(self._numbers), self.name))
        if command.only_at == self.name:
            # It changes what the transaction itself has set by then.
            command = Delete(command.key) if item is None else Set(
                command.key, command.data, command.flags, command.expires)
        self._append(command, item)
        return reply

    def remove(self, command, deadline):
        """Add a command that removes a key, or everything."""
        self._note(deadline)
        self._append(command, None)

    def _append(self, command, item):
        self._steps.append((command, item))
        self._see(command, item)

    def _note(self, deadline):
        self.seconds = max(self.seconds, deadline - monotonic())

    def _fetch(self, command, deadline):
        """Return the `Item` that the servers have, or None."""
        if not isinstance(command, Cas):
            return self.store.get(command.key, deadline, MAX_VALUE)
        item = self.store.gets(command.key, deadline, MAX_VALUE)
        if item is None or cas.parse(item.token)[1] != command.only_at:
            return None
        return item
