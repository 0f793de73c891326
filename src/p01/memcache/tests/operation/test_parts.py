# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The parts of the page: figures, curve, verdict, tokens, questions."""

import math
import os
import threading
import time
import unittest
from types import SimpleNamespace
from unittest import mock

from p01.memcache.browser import clients
from p01.memcache.browser import curve
from p01.memcache.browser import figures
from p01.memcache.browser import servers
from p01.memcache.browser import sums
from p01.memcache.browser import token
from p01.memcache.browser import verdict
from p01.memcache.errors import SerializationError
from p01.memcache.observed import clients as observed_clients
from p01.memcache.observed.asking import Asking
from p01.memcache.observed.clients import parsed
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.tests.faults.test_forks import another_thread
from p01.memcache.tests.faults.test_forks import fork
from p01.memcache.tests.faults.test_forks import fork_silently
from p01.memcache.tests.faults.test_forks import wait
from p01.memcache.tests.operation import scenes
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


def shown(text):
    return text.replace('\u00a0', ' ')


class FiguresTest(unittest.TestCase):

    def test_percent(self):
        for part, whole, text in (
                (0, 9, '0 %'), (9, 9, '100 %'), (1, 3, '33 %'),
                (99_999, 100_000, '99.9 %'), (1, 100_000, '0.1 %'),
                (995, 1000, '99.5 %'), (0, 0, figures.NONE)):
            self.assertEqual(shown(figures.percent(part, whole)), text)

    def test_size(self):
        for number, text in (
                (0, '0 B'), (999, '999 B'), (1000, '1.0 KiB'),
                (1 << 30, '1.0 GiB'), (64 << 20, '64.0 MiB'),
                (512 << 20, '512 MiB'), (1 << 60, '1,048,576 TiB'),
                (None, figures.NONE)):
            self.assertEqual(shown(figures.size(number)), text)

    def test_times(self):
        for number, text in (
                (0, '0 s'), (119, '119 s'), (120, '2 min'), (7300, '2 h'),
                (200_000, '2 d')):
            self.assertEqual(shown(figures.span(number)), text)
        for number, text in (
                (0.00012, '0.12 ms'), (0.0123, '12 ms'), (0.25, '250 ms'),
                (2, '2.0 s')):
            self.assertEqual(shown(figures.quick(number)), text)

    def test_what_a_server_says(self):
        for text in '', '-1', '1e9', '٣', '9' * 5000, ' 1':
            self.assertIsNone(parsed({'bytes': text}, 'bytes'))
        self.assertEqual(parsed({'bytes': '12'}, 'bytes'), 12)
        self.assertIsNone(parsed({}, 'bytes'))


class CurveTest(unittest.TestCase):

    def test_nothing(self):
        shapes = curve.draw([], [])
        self.assertEqual(
            (shapes.reads, shapes.errors, shapes.lines), ([], [], []))
        self.assertEqual(
            shapes.label, 'Nothing was read in the last 10 minutes.')

    def test_gaps(self):
        history = [(100.0, 9, 1, 0), (90.0, 9, 1, 0), (80.0, 0, 0, 0),
                   (70.0, 1, 1, 3), (40.0, 5, 5, 0)]
        shapes = curve.draw(history, history)
        # Nothing was read, too little was read, or there is no slot.
        self.assertEqual(
            shapes.lines, ['505.0,10.0 515.0,10.0', '560.0,50.0 570.0,50.0'])
        self.assertEqual(len(shapes.reads), 4)
        [error] = shapes.errors
        self.assertEqual((error.x, error.height), (530, curve.TROUBLE))

    def test_in_bounds(self):
        history = [(ago / 7, 10 ** 9, 1, ago) for ago in range(4200, 0, -70)]
        shapes = curve.draw(history, history)
        for bar in shapes.reads:
            self.assertGreaterEqual(bar.y, 0)
            self.assertLessEqual(bar.x + bar.width, curve.WIDTH)
        self.assertEqual(len(shapes.lines), 1)

    def test_a_slot_that_is_not_over(self):
        for lasted, reads, errors, height, strip in (
                (2.5, 25, 2, 100, 24), (2.5, 10, 1, 40, 12),
                (0.2, 4, 0, 40, None), (7.5, 300, 0, 100, None)):
            client = scenes.Pooled(history=[
                (lasted + 10, 90, 10, 8), (lasted, reads, 0, errors)])
            [section] = SectionsTest().sections(client=client)
            own = section.curve
            most = max(reads, 100)
            self.assertEqual(own.most, str(most))
            self.assertEqual([bar.height for bar in own.reads],
                             [round(10000 / most, 1), height])
            self.assertEqual([bar.height for bar in own.errors],
                             [24, strip] if errors else [24])
            # What is said is what was counted.
            self.assertEqual(section.recent, [90 + reads, 10, 8 + errors])
            self.assertIn(f'{8 + errors} errors', shown(own.label))

    def test_sums(self):
        history = sums.of_histories([
            [(14.0, 1, 2, 3), (4.0, 1, 0, 0)], [(11.0, 10, 20, 30)],
            [(700.0, 5, 5, 5)]])
        self.assertEqual(history, [(20, 11, 22, 33), (10, 1, 0, 0)])
        self.assertEqual(curve.total(history, 10), [1, 0, 0])
        self.assertEqual(curve.total([], 10), [0, 0, 0])
        own = scenes.seconds(10)
        self.assertEqual(
            sums.of_counts([{'hits': 1, 'seconds': {'set': own}},
                            {'hits': 2, 'seconds': {'set': own}}]),
            {'hits': 3, 'seconds': {'set': {
                'count': 20, 'sum': 2 * own['sum'], 'buckets': {
                    bound: 2 * number
                    for bound, number in own['buckets'].items()}}}})


class SectionsTest(unittest.TestCase):

    def sections(self, **registered):
        with mock.patch.object(
                observed_clients, 'getUtilitiesFor',
                lambda interface: list(registered.items())):
            return clients.overview(slabs=False)

    def test_errors(self):
        """What was not tried is shown apart from what has failed."""
        for scene, note in (
                (scenes.well(), '0 time-outs'),
                (scenes.outage(), '9 time-outs, 219 not tried: server down')):
            [section] = self.sections(client=scene[''])
            [tile] = [tile for tile in section.tiles
                      if tile.label == 'Errors']
            self.assertEqual(tile.note.replace('\xa0', ' '), note)

    def test_a_region_that_is_a_utility(self):
        region = scenes.Pooled()
        client = scenes.Pooled(regions=[('inner', region)])
        found = self.sections(client=client, region=region)
        self.assertEqual([section.name for section in found], ['client'])
        self.assertEqual([row.name for row in found[0].regions],
                         ['in no region', 'inner'])

    def test_regions_with_a_name_are_one(self):
        client = scenes.Pooled(regions=[
            ('a', scenes.Pooled(history=[(1, 3, 0, 0)],
                                regions=[('b', scenes.Pooled())])),
            ('a', scenes.Pooled(history=[(1, 4, 0, 0)]))])
        [section] = self.sections(client=client)
        self.assertEqual([row.name for row in section.regions],
                         ['in no region', 'a', 'a / b'])
        self.assertEqual(section.regions[1].reads, '7')
        self.assertEqual(section.recent, [7, 0, 0])

    def test_a_client_of_another_kind(self):
        good = scenes.Pooled([scenes.server('one:1')])
        with self.assertLogs('p01.memcache'):
            bad, well = self.sections(bad=object(), good=good)
        self.assertIn('AttributeError', bad.failure)
        self.assertIsNone(well.failure)
        with self.assertLogs('p01.memcache'):
            [text, *_] = verdict.judge(
                self.sections(bad=object(), good=good)).sentences
        self.assertIn('The client bad cannot be shown', text)

    def test_the_time_of_nearly_all(self):
        self.assertEqual(shown(clients.within({'count': 100, 'buckets': {
            0.001: 50, 0.01: 99, math.inf: 100}})), '10 ms')
        self.assertEqual(shown(clients.within({'count': 100, 'buckets': {
            0.001: 50, math.inf: 100}})), 'over 1 ms')


class VerdictTest(unittest.TestCase):

    def judge(self, *states, history=(), answered=True, uptime=10 ** 6):
        client = scenes.Pooled(states, history=history)
        answer = [(name, scenes.statistics(uptime=uptime))
                  for name in client.servers], None
        rows = servers.rows(client, answer if answered else None)
        found = verdict.judge([SimpleNamespace(
            title='', failure=None, servers=rows,
            recent=curve.total(history, 60))])
        return found.level, [shown(text) for text in found.sentences]

    def test_well(self):
        self.assertEqual(
            self.judge(scenes.server('a'), scenes.server('b'),
                       history=[(10, 94, 6, 0)]),
            ('good', ['All 2 servers are up; 94 % of 100 reads in the last '
                      'minute were hits.']))

    def test_down(self):
        self.assertEqual(
            self.judge(scenes.server('a', 'down', 12.2, 'no reply in time', 5),
                       scenes.server('b', 'failing', 3, 'refused', 0),
                       history=[(10, 0, 0, 2)]),
            ('bad', [
                'a has been down for 12 s: no reply in time; next try in 5 s.',
                'b has been failing for 3 s: refused; next try at once.',
                '2 operations failed in the last minute.',
                '0 of 2 servers are up; nothing was read in the last minute.',
            ]))

    def test_details(self):
        for state, text in (
                (scenes.server('a'), ''),
                (scenes.server('a', since=200), 'up for 3 min'),
                (scenes.server('a', 'down', 12, 'refused', 0.1, owed=-1),
                 'down for 12 s; refused; next try at once; will be flushed'),
                (scenes.server('a', 'failing', 0, 'refused', 5, owed=1200),
                 'refused; next try in 5 s; owes 1,200 keys')):
            answer = [('a', scenes.statistics())], None
            [row] = servers.rows(scenes.Pooled([state]), answer)
            self.assertEqual(shown(row.details), text)

    def test_it_is_over(self):
        summary = 'The server is up; nothing was read in the last minute.'
        began = time.monotonic() - 60
        with mock.patch.object(verdict, '_began', began):
            self.assertEqual(
                self.judge(scenes.server('a', since=40), uptime=50),
                ('good', [
                    'a has been up again for 40 s.',
                    'a was started 50 s ago, with an empty cache.', summary]))
            # It was there before this process.
            self.assertEqual(
                self.judge(scenes.server('a'), uptime=70),
                ('good', [summary]))

    def test_drained(self):
        level, sentences = self.judge(
            scenes.server('a'), scenes.server('b', 'drained'))
        self.assertEqual(level, 'good')
        self.assertIn('The server is up', sentences[0])

    def test_two_clients_see_one_server(self):
        sections = [SimpleNamespace(
            title='', failure=None, recent=[0, 0, 0],
            servers=servers.rows(scenes.Pooled([state]), None))
            for state in (scenes.server('a', 'failing'),
                          scenes.server('a', 'down'), scenes.server('a'))]
        found = verdict.judge(sections)
        self.assertEqual(found.level, 'bad')
        self.assertEqual(len(found.sentences), 2)

    def test_no_answer(self):
        level, [first, _] = self.judge(scenes.server('a'), answered=False)
        self.assertEqual(
            (level, first), ('watch', 'a has not answered this page in time.'))
        # One of them stands still, and nobody knows which.
        self.assertEqual(
            self.judge(*map(scenes.server, 'abc'), answered=False),
            ('watch', [
                'At least one of 3 servers has not answered this page in '
                'time.',
                'No server is known to be down; nothing was read in the last '
                'minute.']))

    def test_the_only_one(self):
        for state, text in (('down', 'The server is down'),
                            ('failing', 'The server is failing')):
            *_, last = self.judge(scenes.server('a', state))[1]
            self.assertEqual(
                last, f'{text}; nothing was read in the last minute.')


class TokenTest(unittest.TestCase):

    def test_token(self):
        made = token.make('secret', 'user', 'client')
        self.assertTrue(token.is_valid(made, 'secret', 'user', 'client'))
        self.assertFalse(token.is_valid(made, 'other', 'user', 'client'))
        for subject in (('other', 'client'), ('user', 'other'), ('user',),
                        ('user', 'client', ''), ('userclient',),
                        ('use', 'rclient')):
            self.assertFalse(
                token.is_valid(made, 'secret', *subject), subject)
        for given in '', '-', made[:-1], made + '0', made.upper(), 'ü' + made:
            self.assertFalse(
                token.is_valid(given, 'secret', 'user', 'client'), given)

    def test_age(self):
        now = time.time()
        made = token.make('secret', 'user')
        for later, valid in (
                (token.LIFETIME - 5, True), (token.LIFETIME + 5, False),
                (-60, False)):
            with mock.patch('time.time', lambda later=later: now + later):
                self.assertEqual(
                    token.is_valid(made, 'secret', 'user'), valid)

    def test_processes_share_the_secret(self):
        client = FakeUltraMemcacheClient(generations=True)
        secret = token.find_secret(client)
        with mock.patch.object(token, '_own', 'another'):
            self.assertEqual(token.find_secret(client), secret)
            # It is emptied with all the rest.
            client.invalidateNamespace()
            self.assertEqual(token.find_secret(client), 'another')

    def test_no_secret(self):
        # Always the same, for the real error to be shown.
        own = token.find_secret(scenes.Actor())
        self.assertGreater(len(own), 60)
        with refusing() as address:
            client = UltraMemcacheClient([address])
            self.assertEqual(token.find_secret(client), own)
        with mock.patch.object(
                client, 'getOrCreate', side_effect=SerializationError):
            self.assertEqual(token.find_secret(client), own)
        client = FakeUltraMemcacheClient(serializer='json')
        for found in 7, None, ['x']:
            client.set('p01.memcache.browser', found)
            self.assertEqual(token.find_secret(client), own)


class AskingTest(unittest.TestCase):

    def test_late(self):
        asking, asked, go = Asking(), [], threading.Event()

        def late():
            asked.append(1)
            go.wait(30)
            return 'late'

        questions = {'late': late, 'quick': lambda: 'quick'}
        for _ in range(3):
            self.assertEqual(asking.ask(questions, 0.05),
                             {'late': None, 'quick': 'quick'})
        # It is on its way, and not asked again.
        self.assertEqual(len(asked), 1)
        go.set()
        self.assertEqual(asking.ask(questions, 5)['late'], 'late')
        until(lambda: not asking._running)

    def test_failures(self):
        asking = Asking()
        with self.assertLogs('p01.memcache'):
            self.assertEqual(asking.ask({1: lambda: 1 // 0}, 5), {1: None})
        with mock.patch('threading.Thread.start', side_effect=RuntimeError):
            self.assertEqual(asking.ask({1: lambda: 1}, 5), {1: None})
        self.assertEqual(asking.ask({1: lambda: 1}, 5), {1: 1})

    def test_after_a_fork(self):
        asking, go = Asking(), threading.Event()
        self.addCleanup(go.set)
        asking.ask({1: lambda: go.wait(30)}, 0)

        def work():  # without the thread, and with a lock that is taken
            assert asking.ask({1: lambda: 1}, 5) == {1: 1}

        for by in os.fork, fork_silently:
            with another_thread(asking._lock):
                wait(fork(work, by=by))
