# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The versions of dependencies in transactions that see a snapshot.

Of each dependency memcached has one entry, see `p01.memcache.snapshots.entry`.

- A transaction appends a mark to the entries of what it changes before it
  commits, in its vote, and ends the mark afterwards, committed or not. The
  first destroys the version and keeps others from making one. The second
  also destroys one that was made meanwhile, which takes a restart of memcached
  that lost the mark. If the process dies between the two, the mark ends by
  itself, after `life` seconds.

- A version is made in this order: add a log, if there is none; read it with
  its unique number, no mark in it may be open; ask for the last commit; put a
  version of that in its place, if it still has the number.

- A version is good for a snapshot that is not older than it. While it is
  there, nothing has been committed since that changed the dependency. So a
  value with this version in its stamp is the one that the snapshot gives, and
  a value may be stored with it.
"""

import time
from time import monotonic

from zope.interface import implementer

from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.features.dependencies import IVersions
from p01.memcache.features.dependencies import Outdated
from p01.memcache.snapshots import entry
from p01.memcache.snapshots.steps import Steps
from p01.memcache.values import stamp
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Append
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Gets
from p01.memcache.wire.limits import MAX_VALUE


def _entries(tags):
    """Return the keys of the entries of these dependencies."""
    return [stamp.TID + tag.removeprefix(stamp.TAG) for tag in tags]


def _tag(key):
    """Return the dependency of an entry."""
    return stamp.TAG + key.removeprefix(stamp.TID)


class _Swap(Cas):
    """If its outcome is unknown, no harm is done either way."""

    changes = False


def make_name():
    """Return a name for the marks of one transaction."""
    return stamp.make()


@implementer(IVersions)
class Snapshots:
    """See `IVersions`.

    The entries are in the `store`; `versions` are those for callers that see
    no snapshot. ``has_changed(tags)`` returns whether the transaction has
    invalidated one of these dependencies itself, and ``is_queued()`` whether
    its invalidations wait for `vote` and `end`.
    """

    def __init__(self, store, versions, database, has_changed, is_queued,
                 life=600):
        self._store = store
        self._versions = versions
        self._database = database
        self._has_changed = has_changed
        self._is_queued = is_queued
        self._life = life

    # Readers

    def view(self):
        return self._database.snapshot()

    def read(self, keys, deadline):
        snapshot = self._database.snapshot()
        if snapshot is None:
            return self._versions.read(keys, deadline)
        found, errors = self._read(keys, deadline)
        return {key: version for key, version in found.items()
                if self._is_ours(key, version, snapshot)}, errors

    def _read(self, keys, deadline):
        """Return the versions of those keys that count in transactions."""
        items, errors = self._store.get_many(
            [key for key in keys if not key.startswith(stamp.TAG)], deadline,
            MAX_VALUE)
        return {
            key: item.data for key, item in items.items()
            if (entry.is_version(item) if key.startswith(stamp.TID)
                else stamp.is_version(item.data, item.flags))}, errors

    def _is_ours(self, key, version, snapshot):
        return not key.startswith(stamp.TID) or not (
            entry.is_after(version, snapshot)
            or self._has_changed([_tag(key)]))

    def is_ahead(self, versions, deadline):
        snapshot = self._database.snapshot()
        if snapshot is None:
            return False
        lasting = {key: version for key, version in versions.items()
                   if not key.startswith(stamp.FRESH)}
        found, errors = self._read(lasting, deadline)
        return not errors and found == lasting and not all(
            self._is_ours(key, version, snapshot)
            for key, version in found.items())

    def first(self, tags, deadline):
        if self._database.snapshot() is None:
            return {}
        return self.current(tags, deadline)

    def current(self, tags, deadline):
        snapshot = self._database.snapshot()
        if snapshot is None:
            return self._versions.current(tags, deadline)
        if self._has_changed(tags):
            raise Outdated('the transaction itself has changed it')
        keys = _entries(tags)
        versions, errors = self._read(keys, deadline)
        if errors:
            raise errors[0]
        missing = [key for key in keys if key not in versions]
        if missing:
            versions.update(self._make(missing, deadline))
        if len(versions) < len(keys):
            raise Outdated('it is being changed')
        if any(entry.is_after(version, snapshot)
               for version in versions.values()):
            raise Outdated('the transaction sees an older snapshot')
        return versions

    def _make(self, keys, deadline):
        """Return the versions of entries that had none, if they can be made.
        """
        since = monotonic()
        versions, numbers = {}, {}
        for key, item in self._look(keys, deadline).items():
            if entry.is_version(item):
                versions[key] = item.data  # another caller was faster
            elif item is not None and entry.tidied(
                    item.data, time.time()) == entry.LOG:
                numbers[key] = item.token
        if numbers:
            last = self._database.last()
        for key, number in numbers.items():
            version = entry.make(last)
            if self._swap(key, version, number, since, deadline):
                versions[key] = version
        return versions

    def _look(self, keys, deadline):
        """Return the items of entries, with their unique numbers."""
        replies = self._store.run_many(
            [Steps(Add(key, entry.LOG, PLAIN, 0), Gets(key), changes=False)
             for key in keys], deadline)
        for reply in replies.values():
            if isinstance(reply, MemcacheError):
                raise reply
        return {key: item for key, (_, item) in replies.items()}

    def _swap(self, key, data, number, since, deadline):
        """Replace an entry that still has the number; return whether it had.
        """
        if not number:
            return False  # the server does not count
        server = self._store.server(key, deadline).name
        try:
            return self._store.run(
                _Swap(key, data, PLAIN, number, 0, server, since), deadline)
        except LeaseLost:
            # It may have restarted, and the number may be another entry's.
            return False

    # Writers

    def forget(self, tags, deadline):
        replies = self._versions.forget(tags, deadline)
        if not self._is_queued():
            errors = self.end(make_name(), tags, deadline)
            replies.update(errors)
        return replies

    def vote(self, name, tags, deadline):
        """Destroy the versions of what a transaction is about to change.

        None will be made before `end` is called with the same `name`, see
        `make_name`. Returns a dict of the tags for which this failed, and the
        errors. These are owed, see `IStore`.
        """
        mark = entry.mark(name, time.time() + self._life)
        replies = self._run(
            [Steps(Add(key, entry.LOG, PLAIN, 0),
                   Append(key, mark, PLAIN, 0), changes=True)
             for key in _entries(tags)], deadline)
        for tag, reply in replies.items():
            if not isinstance(reply, MemcacheError) and not reply[1]:
                replies[tag] = MemcacheError('it was evicted at once')
        return _errors(replies)

    def end(self, name, tags, deadline):
        """End the marks of `vote`, whatever has become of the transaction.

        Returns the same as it.
        """
        replies = self._run(
            [Steps(Append(key, entry.end(name), PLAIN, 0), Get(key),
                   changes=True)
             for key in _entries(tags)], deadline)
        errors = _errors(replies)
        self._tidy([
            tag for tag, reply in replies.items()
            if tag not in errors and reply[1] is not None
            and len(reply[1].data) >= entry.LONG], deadline)
        return errors

    def _run(self, commands, deadline):
        replies = self._store.run_many(commands, deadline)
        return {_tag(key): reply for key, reply in replies.items()}

    def _tidy(self, tags, deadline):
        """Shorten logs that many transactions have written, and nobody read.
        """
        if not tags:
            return
        since = monotonic()
        try:
            for key, item in self._look(_entries(tags), deadline).items():
                if item is not None and len(item.data) >= entry.LONG:
                    self._swap(key, entry.tidied(item.data, time.time()),
                               item.token, since, deadline)
        except MemcacheError:
            pass  # the next transaction tries again


def _errors(replies):
    return {tag: reply for tag, reply in replies.items()
            if isinstance(reply, MemcacheError)}
