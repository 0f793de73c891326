# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Snapshots: the rules of the protocol, and that none of them is spare."""

import collections
import unittest
from unittest import mock

from p01.memcache.snapshots import entry
from p01.memcache.snapshots import versions
from p01.memcache.snapshots.versions import Snapshots
from p01.memcache.tests.support.interleaving import Database
from p01.memcache.tests.support.interleaving import Interleaving
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire.command import Set


def count(orders, kind=Interleaving, **kw):
    """Return what all these orders have counted."""
    counts = collections.Counter()
    for seed in range(orders):
        counts.update(kind(seed, **kw).run())
    return counts


class InterleavingTest(unittest.TestCase):

    def test_each_hit_is_what_its_snapshot_gives(self):
        for restarts in (False, True):
            with self.subTest(restarts=restarts):
                counts = count(200, restarts=restarts)
                self.assertGreater(counts['hits'], 200)
                self.assertEqual(counts['wrong'], 0)


class ManyTest(unittest.TestCase):

    level = 2

    def test_many_orders(self):
        for restarts in (False, True):
            with self.subTest(restarts=restarts):
                self.assertEqual(count(3000, restarts=restarts)['wrong'], 0)


class BrokenTest(unittest.TestCase):
    """Without any one of the rules some order has a wrong hit."""

    def assertWrong(self, kind=Interleaving, **kw):
        self.assertTrue(any(
            kind(seed, **kw).run()['wrong'] for seed in range(4000)))

    def test_the_vote_marks(self):
        with mock.patch.object(entry, 'mark', lambda *args: b' x'):
            self.assertWrong()

    def test_the_vote_destroys_the_version(self):
        def is_version(item):
            return item is not None and bool(
                entry._is_version(item.data[:32]))

        def first(self, tags, deadline):
            return {key: version[:32] for key, version in
                    self.current(tags, deadline).items()}

        with (mock.patch.object(entry, 'is_version', is_version),
              mock.patch.object(Snapshots, 'first', first)):
            self.assertWrong()

    def test_the_end_comes_after_the_commit(self):
        class Early(Interleaving):

            def commit(self, changes, hold, deadline):
                if changes:
                    self.end(hold, deadline)
                self._pause()
                self.db.commit(changes)

        self.assertWrong(Early)

    def test_no_version_is_made_while_a_mark_is_open(self):
        with mock.patch.object(entry, 'held', lambda *args: set()):
            self.assertWrong()

    def test_a_version_replaces_only_what_was_read(self):
        def swap(store, key, data, number, since, deadline):
            return store.run(Set(key, data, PLAIN, 0), deadline)

        with mock.patch.object(versions, 'swap', swap):
            self.assertWrong()

    def test_the_log_is_read_before_the_last_commit(self):
        class Early(Snapshots):

            def _make(self, keys, deadline):
                early = self._database.last()
                with mock.patch.object(
                        self._database, 'last', lambda: early):
                    return super()._make(keys, deadline)

        class Order(Interleaving):
            snapshots = Early

        self.assertWrong(Order)

    def test_the_last_commit_is_exact(self):
        class Lagging(Database):

            def last(self):
                self._pause()
                return self.snapshot()

        class Order(Interleaving):
            database = Lagging

        self.assertWrong(Order)

    def test_a_version_is_not_newer_than_the_snapshot(self):
        with mock.patch.object(entry, 'is_after', lambda *args: False):
            self.assertWrong()

    def test_no_version_is_made_just_after_a_restart(self):
        with mock.patch.object(versions, 'SETTLED', 0):
            self.assertWrong(restarts=True)


if __name__ == '__main__':
    unittest.main()
