# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Transactions in an order of their steps that chance decides.

Each is a greenlet, and lets the others go on before each command that it sends
and before each question to the database. A hit is compared with what its own
snapshot gives.
"""

import collections
import contextlib
import random
from time import monotonic
from unittest import mock

import greenlet
from zope.interface import implementer

from p01.memcache.features.dependencies import Outdated
from p01.memcache.features.dependencies import Versions
from p01.memcache.snapshots import entry
from p01.memcache.snapshots.database import IDatabase
from p01.memcache.snapshots.steps import Steps
from p01.memcache.snapshots.versions import SETTLED
from p01.memcache.snapshots.versions import Snapshots
from p01.memcache.testing.backend import FakeMemcached
from p01.memcache.testing.fakes import FakeStore
from p01.memcache.values import stamp
from p01.memcache.values.flags import STAMPED
from p01.memcache.wire.command import Set


KEY = b'%032x' % 1
TAG = stamp.TAG + b'%032x' % 2
ENTRY = stamp.TID + b'%032x' % 2


def tid(number):
    return number.to_bytes(8, 'big')


class Server:
    """Says for how long it has been running."""

    name = 'fake'

    def __init__(self, uptime):
        self._uptime = uptime

    def lends(self, deadline):
        return True

    def run(self, command, deadline):
        return {'uptime': str(self._uptime())}


class Store(FakeStore):
    """A fake store that pauses before each command."""

    def __init__(self, backend, pause, uptime):
        super().__init__(lambda: backend, ['fake'])
        self._server = Server(uptime)
        self._pause = pause

    def get_many(self, keys, deadline, most):
        self._pause()
        return super().get_many(keys, deadline, most)

    def run(self, command, deadline):
        self._pause()
        return super().run(command, deadline)

    def run_many(self, commands, deadline):
        replies = {}
        for command in commands:
            if isinstance(command, Steps):
                # Other clients' commands may come between them.
                replies[command.key] = [
                    self.run(step, deadline) for step in command._steps]
            else:
                replies[command.key] = self.run(command, deadline)
        return replies


@implementer(IDatabase)
class Database:
    """Each commit has the next number."""

    def __init__(self, pause):
        self._pause = pause
        self.number = 0
        self.changes = [0]  # the commits that changed what the value is of
        self.seen = {}  # what each transaction sees

    def snapshot(self):
        seen = self.seen.get(greenlet.getcurrent())
        return None if seen is None else tid(seen)

    def last(self):
        self._pause()
        return tid(self.number)

    def commit(self, changes):
        self.number += 1
        if changes:
            self.changes.append(self.number)

    def content(self, seen):
        return max(number for number in self.changes if number <= seen)


class Interleaving:
    """One order, which is that of its seed.

    ``counts`` are the hits, and those of them that were wrong.
    """

    database = Database
    snapshots = Snapshots

    def __init__(self, seed, restarts=False):
        self.chance = random.Random(seed)
        self.counts = collections.Counter()
        self._restarts = restarts
        self._backend = FakeMemcached()
        self._hub = greenlet.getcurrent()
        self._now = 10 ** 9
        self._between = set()  # transactions between vote and end
        self._lost = set()  # those whose marks are lost
        self._killed = set()
        self.db = self.database(self._pause)
        self._store = Store(self._backend, self._pause, self._uptime)
        self._versions = self.snapshots(
            self.db, self._store, Versions(self._store), lambda tags: False,
            lambda: True)

    def _uptime(self):
        # Whoever has voted commits in less time than `SETTLED`.
        self._pause()
        return SETTLED - bool(self._lost - self._killed)

    def _pause(self):
        self._hub.switch()

    def run(self):
        with mock.patch('time.time', lambda: self._now):
            running = [greenlet.greenlet(step) for step in (
                *[self._commit] * 2, *[self._read] * 3)]
            while running:
                self._happen()
                one = self.chance.choice(running)
                one.switch()
                if one in self._between and self.chance.random() < 0.03:
                    self._killed.add(one)
                if one.dead or one in self._killed:
                    running.remove(one)
        return self.counts

    def _happen(self):
        """Let something else happen, or nothing."""
        event = self.chance.random()
        cache = self._backend.cache
        if event < 0.02:
            cache.pop(KEY, None)
        elif event < 0.04:
            if entry._is_version(cache.get(ENTRY, (b'',))[0]):
                del cache[ENTRY]
        elif event < 0.06:
            # Nobody who is alive is that slow.
            if not self._between - self._killed:
                self._now += 1000
        elif event < 0.07 and self._restarts:
            self._backend.flush_all()
            self._lost = set(self._between)

    def _commit(self):
        me = greenlet.getcurrent()
        for _ in range(3):
            hold, deadline = self._versions.hold(), monotonic() + 100
            self._pause()
            changes = self.chance.random() < 0.8
            self._between.add(me)
            if changes:
                hold.vote([TAG], deadline)
            self.commit(changes, hold, deadline)
            self._between.discard(me)
            self._lost.discard(me)

    def commit(self, changes, hold, deadline):
        self._pause()
        if self.chance.random() < 0.8:
            self.db.commit(changes)
        self._pause()
        if changes:
            self.end(hold, deadline)

    def end(self, hold, deadline):
        self._store.run_many(hold.ends([TAG]), deadline)

    def _read(self):
        me = greenlet.getcurrent()
        for _ in range(8):
            self._pause()
            # A client's view of the database may lag.
            self.db.seen[me] = max(
                0, self.db.number - (self.chance.random() < 0.3))
            with contextlib.suppress(Outdated):
                self._look(self.db.seen[me], monotonic() + 100)
            del self.db.seen[me]

    def _look(self, seen, deadline):
        is_first = self.chance.random() < 0.5
        if is_first:
            versions = self._versions.first([TAG], deadline)
        found, _ = self._store.get_many([KEY], deadline, 10 ** 6)
        if not is_first:
            versions = self._versions.first([TAG], deadline)
        if KEY in found:
            stamped, data = stamp.take(found[KEY].data)
            if stamped == versions:
                self.counts['hits'] += 1
                if self.db.content(int(data)) != self.db.content(seen):
                    self.counts['wrong'] += 1
                return
        self._store.run(
            Set(KEY, stamp.put(versions, b'%d' % seen), STAMPED, 0), deadline)
