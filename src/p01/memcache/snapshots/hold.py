# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The hold of a transaction on what it changes, from its vote to its end.

In the vote it appends a mark to the entries, in one batch. That destroys the
versions, and none will be made before the mark is ended, in another batch;
or ends by itself, if the process dies between the two.
"""

import contextlib
import time
from time import monotonic

from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.snapshots import entry
from p01.memcache.snapshots.steps import Steps
from p01.memcache.store import first_of
from p01.memcache.values import stamp
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Append
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Gets


# How often a mark is tried to be made, if the entry is evicted just then.
_TRIES = 3


class Swap(Cas):
    """If its outcome is unknown, no harm is done either way."""

    changes = False


class _End(Append):
    """Ends a mark, and destroys a version; once more does no harm."""

    repeats = True


class _EndHeld(_End):
    """Ends a mark that is there.

    If that fails the mark ends by itself, with time. To remove the entry, as
    `IStore.owe` does, would remove the marks of others, too.
    """

    changes = False


class Hold:
    """Holds dependencies, which are given by their tags, in the `store`.

    A mark ends by itself after `life` seconds.
    """

    def __init__(self, store, life):
        self._store = store
        self._life = life
        self._name = stamp.make()
        self._held = set()  # keys

    def vote(self, tags, deadline):
        """Hold them; return a dict of the keys that failed, and the errors.

        These keys are owed, see `IStore`.
        """
        mark = entry.mark(self._name, time.time() + self._life)
        keys, errors, long = entry.keys(tags), {}, []
        for _ in range(_TRIES):
            replies = self._store.run_many(
                [Steps(Add(key, entry.LOG + mark, PLAIN, 0),
                       Append(key, mark, PLAIN, 0), Get(key), changes=True)
                 for key in keys], deadline)
            keys = []
            for key, reply in replies.items():
                if isinstance(reply, MemcacheError):
                    errors[key] = reply
                    continue
                added, appended, item = reply
                if not added and not appended:
                    keys.append(key)  # it was evicted in between
                elif item is not None and len(item.data) >= entry.LONG:
                    long.append(key)
            if not keys:
                break
        for key in keys:
            errors[key] = MemcacheError('it is evicted again and again')
        self._held.update(set(entry.keys(tags)) - set(errors))
        if long:
            self._tidy(long, deadline)
        return errors

    def ends(self, tags):
        """Return the commands that end the hold, whatever has become of it.

        They also destroy a version that has been made because the vote could
        not be heard.
        """
        end = entry.end(self._name)
        return [(_EndHeld if key in self._held else _End)(key, end, PLAIN, 0)
                for key in entry.keys(tags)]

    def _tidy(self, keys, deadline):
        """Shorten logs that many transactions have written, and nobody read.
        """
        since = monotonic()
        with contextlib.suppress(MemcacheError):  # the next one tries again
            for key, item in look(self._store, keys, deadline).items():
                if item is not None and len(item.data) >= entry.LONG:
                    swap(self._store, key,
                         entry.tidied(item.data, time.time()), item.token,
                         since, deadline)


def look(store, keys, deadline):
    """Return the items of entries, with their unique numbers.

    There is a log where there was nothing.
    """
    replies = store.run_many(
        [Steps(Add(key, entry.LOG, PLAIN, 0), Gets(key), changes=False)
         for key in keys], deadline)
    errors = [reply for reply in replies.values()
              if isinstance(reply, MemcacheError)]
    if errors:
        replies.clear()
        raise first_of(errors)
    return {key: item for key, (_, item) in replies.items()}


def swap(store, key, data, number, since, deadline):
    """Replace an entry that still has the number; return whether it had.

    The number was read after the moment `since`.
    """
    if not number:
        return False  # the server does not count
    server = store.server(key, deadline).name
    try:
        return store.run(
            Swap(key, data, PLAIN, number, 0, server, since), deadline)
    except LeaseLost:
        # It may have restarted, and the number may be another entry's.
        return False
