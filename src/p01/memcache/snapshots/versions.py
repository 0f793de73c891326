# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The versions of dependencies in transactions that see a snapshot.

Of each dependency memcached has one entry, see `p01.memcache.snapshots.entry`.

- A transaction appends a mark to the entries of what it changes before it
  commits, in its vote, and ends the mark afterwards, committed or not. The
  first destroys the version and keeps others from making one. If the process
  dies between the two, the mark ends by itself, after `life` seconds.

- A version is made in this order: add a log, if there is none; read it with
  its unique number, no mark in it may be open; ask for the last commit; put a
  version of that in its place, if it still has the number.

- Nor is one made just after the start of a server, if there was nothing: a
  restart may have lost the marks of transactions that are about to commit.

- A version is good for a snapshot that is not older than it. While it is
  there, nothing has been committed since that changed the dependency. So a
  value with this version in its stamp is the one that the snapshot gives, and
  a value may be stored with it.
"""

import time
from time import monotonic

from zope.interface import implementer

from p01.memcache.features.dependencies import IVersions
from p01.memcache.features.dependencies import Outdated
from p01.memcache.snapshots import entry
from p01.memcache.snapshots.hold import Hold
from p01.memcache.snapshots.hold import look
from p01.memcache.snapshots.hold import swap
from p01.memcache.store import first_of
from p01.memcache.values import stamp
from p01.memcache.wire.command import Stats
from p01.memcache.wire.limits import MAX_VALUE


#: Seconds after the start of a server in which no version is made where there
#: was nothing. A transaction commits in less time once it has voted.
SETTLED = 5

# How often a version is tried to be made, while others change the entry.
_TRIES = 3


@implementer(IVersions)
class Snapshots:
    """See `IVersions`.

    The entries are in the `store`; `versions` are those for callers that see
    no snapshot. ``has_changed(tags)`` returns whether the transaction has
    invalidated one of these dependencies itself, and ``is_queued()`` whether
    its invalidations wait for its end. For `life` see `Hold`.
    """

    def __init__(self, database, store, versions, has_changed, is_queued,
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
        found, errors = self._read(keys, deadline)
        if snapshot is not None:
            found = {key: version for key, version in found.items()
                     if self._is_ours(key, version, snapshot)}
        # A lifetime that the transaction itself has begun is not sent yet.
        others = [key for key in keys if (
            snapshot is None if key.startswith(stamp.TAG)
            else key.startswith(stamp.FRESH) and self._has_changed([key]))]
        if others:
            random, more = self._versions.read(others, deadline)
            found, errors = {**found, **random}, [*errors, *more]
        return found, errors

    def _read(self, keys, deadline):
        """Return the versions of those keys that count in transactions."""
        dated = [key for key in keys if not key.startswith(stamp.TAG)]
        if not dated:
            return {}, []
        items, errors = self._store.get_many(dated, deadline, MAX_VALUE)
        return {
            key: item.data for key, item in items.items()
            if (entry.is_version(item) if key.startswith(stamp.TID)
                else stamp.is_version(item.data, item.flags))}, errors

    def _is_ours(self, key, version, snapshot):
        return not key.startswith(stamp.TID) or not (
            entry.is_after(version, snapshot)
            or self._has_changed([entry.tag(key)]))

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
        keys = entry.keys(tags)
        versions, errors = self._read(keys, deadline)
        if errors:
            raise first_of(errors)
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
        versions = {}
        for _ in range(_TRIES):
            # In this order, each time: a server may be restarted in between.
            numbers, started, since = {}, {}, monotonic()
            for key, item in look(self._store, keys, deadline).items():
                if entry.is_version(item):
                    versions[key] = item.data  # another caller was faster
                elif (item is not None
                        and not entry.held(item.data, time.time())
                        and not (entry.is_new(item.data)
                                 and self._may_have_lost(
                                     key, started, deadline))):
                    numbers[key] = item.token
            if numbers:
                last = self._database.last()
            for key, number in numbers.items():
                version = entry.make(last)
                if swap(self._store, key, version, number, since, deadline):
                    versions[key] = version
            keys = [key for key in numbers if key not in versions]
            if not keys:
                break
        return versions

    def _may_have_lost(self, key, started, deadline):
        """Return whether the server was started just now.

        Then transactions may be about to commit whose marks are lost. What is
        known of servers is in the dict `started`.
        """
        server = self._store.server(key, deadline)
        if server.name not in started:
            # What does not know meta commands may be a proxy, whose servers
            # do not say when they were started.
            uptime = server.lends(deadline) and server.run(
                Stats(), deadline).get('uptime', '')
            started[server.name] = bool(
                uptime and uptime.isdigit() and int(uptime) < SETTLED)
        return started[server.name]

    # Writers

    def forget(self, tags, deadline):
        replies = self._versions.forget(tags, deadline)
        if not self._is_queued():
            # Dated versions, too. Inside a transaction its end does it.
            replies.update(self._store.run_many(
                self.hold().ends(tags), deadline))
        return replies

    def hold(self):
        """Return a new `Hold` for one transaction."""
        return Hold(self._store, self._life)
