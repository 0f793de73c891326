# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command bin/moving: memcacheds come and go under the load of threads."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import time
import unittest
from types import SimpleNamespace
from unittest import mock

from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.checkout import load_tool
from p01.memcache.tests.support.checkout import refusal
from p01.memcache.tests.support.layers import Commands
from p01.memcache.tests.support.layers import run_in


load_tests = run_in(Commands)

judge, moving = load_tool('judge'), load_tool('moving')
in_checkout = unittest.skipUnless(
    moving and sys.platform == 'linux', 'bin/moving is for Linux, a checkout')

# Promises have times, which a busy machine may exceed.
TRIES = 3


class Forgetful(FakeUltraMemcacheClient):
    """Does not store all that it claims to have stored."""

    def set(self, key, value):
        return super().invalidate(key)


class Stale(FakeUltraMemcacheClient):
    """Returns for ever what it has once read."""

    def __init__(self):
        super().__init__()
        self.read = {}

    def query(self, key):
        value = super().query(key)
        return value and self.read.setdefault(key, value)


class Denying(FakeUltraMemcacheClient):
    """Claims that changes failed, which it does not make."""

    def set(self, key, value):
        return None

    def invalidate(self, key):
        return None


class Broken(FakeUltraMemcacheClient):

    def query(self, key):
        raise LookupError(key)


@in_checkout
class SiteTest(unittest.TestCase):
    """What the threads of a process find out about a client."""

    def site(self, client, number=0, database=None):
        return judge.Site(
            database or judge.Database(4 * judge.KEYS), number,
            SimpleNamespace(seed=1, keys=4 * judge.KEYS, threads=2), client)

    def counts(self, *sites, seconds=0.2):
        with contextlib.ExitStack() as stack:
            for site in sites:
                stack.enter_context(site.work())
                site.go()
            time.sleep(seconds)
            for site in sites:
                site.rest()
                self.assertTrue(
                    all(thread.resting for thread in site.threads))
            return [site.take()[0] for site in sites]

    def test_nothing_is_broken(self):
        [counts] = self.counts(self.site(FakeUltraMemcacheClient()))
        self.assertGreater(counts['reads'], 100)
        self.assertGreater(counts['reads'], counts['misses'])
        for what in (*moving.BROKEN, 'not acknowledged'):
            self.assertEqual(counts[what], 0, what)

    def test_broken_promises(self):
        for kind, what in (
                (Forgetful, 'lost'), (Stale, 'stale'), (Broken, 'errors')):
            [counts] = self.counts(self.site(kind()))
            self.assertGreater(counts[what], 0, what)

    def test_two_processes(self):
        database = judge.Database(4 * judge.KEYS)
        client = FakeUltraMemcacheClient()
        self.counts(*(self.site(client, number, database)
                      for number in range(2)))
        # One changes the database only, and the other cannot know.
        denying = self.site(Denying(), 0, database)
        for thread in denying.threads:
            thread.odds = {thread.set: 1, thread.invalidate: 1}
        other = self.site(client, 1, database)
        _, counts = self.counts(denying, other)
        self.assertEqual(counts['stale'], 0)
        self.assertGreater(counts['not acknowledged'], 0)
        # If it claims to have done it, the other is wrong.
        denying.client.set = denying.client.invalidate = lambda *args: True
        for site in denying, other:
            site.ended.clear()
            site.watch = judge.Watch()
        _, counts = self.counts(denying, other)
        self.assertGreater(counts['stale'], 0)
        # By which lists that was.
        self.assertEqual(counts[0, 0], counts['stale'])
        self.assertGreater(len(other.look()), 0)

    def test_keys_that_move_may_be_missed(self):
        site = self.site(Forgetful())
        for place in range(len(site.entries)):
            site.database.moved[place] = float('inf')
        [counts] = self.counts(site)
        self.assertEqual(counts['lost'], 0)
        self.assertGreater(counts['misses'], 0)


@in_checkout
class MovesTest(unittest.TestCase):
    """Real servers and 8 threads; keys that stay are found all the time."""

    level = 2
    by = 'assignment'
    scenarios = 'added', 'removed'
    seconds = 0.2

    def options(self):
        return moving.parse_arguments((
            '--seconds', str(self.seconds), '--processes', '1', '--threads',
            '8', '--by', self.by))

    def run_once(self):
        with (contextlib.redirect_stdout(io.StringIO()),
              moving.Run(self.options()) as run):
            time.sleep(self.seconds)
            for name in self.scenarios:
                run.scenario(name, moving.SCENARIOS[name])
        return run.rows

    def test_scenarios(self):
        for _ in range(TRIES):
            rows = self.run_once()
            # These have no excuse.
            for row in rows:
                for what in 'wrong', 'stale', 'errors':
                    self.assertEqual(row[what], 0, row)
            if not any(map(moving.is_broken, rows)):
                break
        else:
            self.fail(list(filter(moving.is_broken, rows)))
        for row in rows:
            self.assertGreater(row['reads'], 0, row)
        for before, then, _ in zip(*3 * [iter(rows)], strict=True):
            self.assertLess(
                then['missed'], before['missed'] + then['moved'] + 0.15, then)
            self.assertEqual(then['moved'] > 0,
                             then['scenario'] in self.moving, then)

    moving = 'added', 'removed'


class LongMovesTest(MovesTest):

    scenarios = (
        'added', 'removed', 'back', 'replaced', 'drained', 'used again',
        'hangs, removed', 'thawed, back', 'removed again', 'up and down',
        'new password', 'hard switch', 'any list')
    moving = set(scenarios) - {'new password', 'hard switch'}


class EndpointTest(LongMovesTest):

    by = 'config'


class ServiceTest(LongMovesTest):

    by = 'srv'


class NameTest(LongMovesTest):

    by = 'dns'


@in_checkout
class CommandTest(unittest.TestCase):

    level = 2

    def main(self, *arguments):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            return moving.main(arguments), output.getvalue()

    def setUp(self):
        self.path = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())) / 'rows'

    def test_a_short_run(self):
        for _ in range(TRIES):
            status, output = self.main(
                '--seconds', '0.3', '--seed', '1', '--json', str(self.path),
                '--only', 'added', '--only', 'back, restarted')
            if not status:
                break
        self.assertEqual(status, 0, output)
        self.assertIn('--seed 1\n', output)
        self.assertIn('\nadded           while', output)
        rows = json.loads(self.path.read_text())
        self.assertEqual([row['part'] for row in rows], 2 * [*moving.PARTS])
        # Nobody can prevent this. So it shows that old values are found.
        self.assertGreater(sum(row['stale'] for row in rows), 0)

    def test_two_lists(self):
        with (mock.patch.object(moving, 'LAGS', (0.5,)),
              mock.patch.object(moving, 'HANDOVERS', (0, 1.5))):
            status, output = self.main(
                '--seconds', '0.5', '--lists', '--json', str(self.path))
        self.assertEqual(status, 0, output)
        for row in json.loads(self.path.read_text()):
            wrong = row['new reads old'] + row['old reads new']
            self.assertEqual(wrong > 0, row['handover'] == 0, row)
            self.assertEqual(row['wrong'] + row['errors'], 0, row)


@in_checkout
class ArgumentsTest(unittest.TestCase):

    def test_values(self):
        for name, values in (
                ('--seconds', ('0', '-1', 'nan', 'inf', 'ten', '')),
                ('--threads', ('0', '1.5')), ('--processes', ('0', 'x')),
                ('--by', ('hand',)), ('--only', ('nobody',))):
            for value in values:
                self.assertIn(
                    f'argument {name}: invalid', refusal(moving, name, value))

    def test_no_server(self):
        with mock.patch.object(Memcached, 'find', return_value=None):
            self.assertIn('there is no memcached', refusal(moving))

    def test_another_system(self):
        with mock.patch.object(sys, 'platform', 'darwin'):
            self.assertIn('loopback addresses', refusal(moving))
