# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command bin/benchmark, if there is a checkout."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from unittest import mock

from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.tests.support.layers import Commands
from p01.memcache.tests.support.layers import run_in


load_tests = run_in(Commands)


FOLDER = pathlib.Path(__file__).resolve().parents[4] / 'benchmarks'

PATIENCE = 10  # seconds


def columns(*wall, failed=0, computed=None):
    return {'wall': list(wall), 'cpu': [wall / 2 for wall in wall],
            'failed': failed, 'computed': [computed] * len(wall)}


def results():
    def known(title, version='', isPeer=False):
        return {'title': title, 'version': version, 'isPeer': isPeer}

    contenders = {
        'limit': columns(10, 20, 30), 'ultra': columns(11, 24, 60),
        'libmc': columns(20, 30, 40), 'pylibmc': columns(90, 40, 50, failed=3)}
    return {
        'about': {
            'date': '2026-11-23', 'cpu': 'a CPU', 'cores': 2,
            'kernel': 'Linux 6', 'python': 'CPython 3.11', 'memcached': '1.6',
            'rounds': 3, 'seconds': 0.2},
        'contenders': {
            'limit': known('raw sockets'), 'ultra': known('ours'),
            'libmc': known('libmc', '1.4', True),
            'pylibmc': known('pylibmc', '1.6', True)},
        'missing': {'pymemcache': 'it is not installed'},
        'works': {
            'get': {'title': 'get, small', 'contenders': contenders},
            'busy-8': {'title': 'busy', 'contenders': {
                'limit': columns(50, 40, 50, computed=0.5),
                'ultra': columns(5, 5, 5, computed=0.25)}}},
        'startup': {'limit': {'ms': [10, 20, 15], 'MB': [7, 7, 7]},
                    'ultra': {'ms': [100, 90, 150], 'MB': [None] * 3},
                    'libmc': {'ms': [15, 20, 15], 'MB': [8, 9, 9]},
                    'pylibmc': {'ms': [15, 30, 15], 'MB': [8, 9, 9]}},
        'footprint': {'connections': {'limit': 50, 'ultra': 41},
                      'memory': {'limit': 0.8, 'ultra': None}},
        'curves': {'grow-get': {
            'title': 'get', 'axis': 'bytes', 'points': [
                {'number': 10, 'contenders': contenders},
                {'number': 1000, 'contenders': contenders}]}},
    }


TABLE = '''\
2026-11-23, a CPU, 2 cores, Linux 6
CPython 3.11, memcached 1.6, libmc 1.4, pylibmc 1.6
Medians of 3 rounds, 0.2 s or more for a turn
Ratios to the raw sockets (limit) and to the fastest other client (peer): medians of those in each round
Without pymemcache: it is not installed

get, small                             µs    least     most   limit    peer   CPU µs
  raw sockets                        20.0     10.0     30.0  1.00 x  0.67 x     10.0
  ours                               24.0     11.0     60.0  1.20 x  0.80 x     12.0
  libmc                              30.0     20.0     40.0  1.50 x  1.00 x     15.0
  pylibmc                            50.0     40.0     90.0  2.00 x  1.33 x     25.0  3 FAILED

busy                                   µs    least     most   limit    peer computed
  raw sockets                        50.0     40.0     50.0  1.00 x       -      50%
  ours                                5.0      5.0      5.0  0.10 x       -      25%
  libmc                                 -
  pylibmc                               -

import, client, first get              ms    least     most   limit       MB
  raw sockets                        15.0     10.0     20.0  1.00 x        7
  ours                              100.0     90.0    150.0 10.00 x        -
  libmc                              15.0     15.0     20.0  1.00 x        9
  pylibmc                            15.0     15.0     30.0  1.50 x        9

100 threads write: connections opened
  raw sockets                          50
  ours                                 41

an idle client: kB of memory
  raw sockets                         0.8
  ours                                  -

get: µs by bytes
                     raw sockets                ours               libmc             pylibmc
          10                20.0                24.0                30.0                50.0  pylibmc: 3 FAILED
       1,000                20.0                24.0                30.0                50.0  pylibmc: 3 FAILED
'''  # noqa: E501

SUMMARY = '''\

For performance.txt:

                            raw Ultra pylib libmc
get, small                   20    24    50    30
busy                         50     5     -     -

the pooled client          x raw  least   most  x peer  computed
get, small                  1.20   1.10   2.00    0.80           libmc
busy                        0.10   0.10   0.12       -       25%

import, client, first get   raw Ultra pylib libmc
milliseconds                 15   100    15    15
megabytes                     7     -     9     9
'''

COMPARISON = '''\

Compared to 2026-11-23: a CPU, 2 cores, CPython 3.11, memcached 1.6
Raw sockets take 1.00 x as long as then
Ratios to raw sockets                                              before                  now
  get, small                      ours                  1.20 ( 1.15,  1.60)  2.40 ( 2.30,  3.20)  slower
  busy                            ours                  0.10 ( 0.10,  0.11)  0.10 ( 0.10,  0.11)  failed
  import, client, first get       ours                 10.00 ( 7.25, 10.00) 10.00 ( 7.25, 10.00)  same
1 failed, 1 same, 1 slower
'''  # noqa: E501


@unittest.skipUnless((FOLDER / 'benchmark.py').exists(),
                     'there are no benchmarks without a checkout')
class BenchmarkTest(unittest.TestCase):

    def setUp(self):
        self.enterContext(mock.patch.object(
            sys, 'path', [str(FOLDER.parent), *sys.path]))
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / 'results.json'

    def load(self, name):
        return importlib.import_module(f'benchmarks.{name}')

    def run_here(self, *arguments):
        """Return the exit status and the output."""
        output = io.StringIO()
        with (contextlib.redirect_stdout(output),
              contextlib.redirect_stderr(output)):
            try:
                status = self.load('benchmark').main(arguments)
            except SystemExit as end:
                status = end.code
        return status, output.getvalue()


class ArgumentTest(BenchmarkTest):

    def test_wrong_arguments(self):
        self.file.write_text('{}')
        missing = str(self.folder / 'missing' / 'file')
        for arguments, problem in [
                (['--rounds', '0'], "invalid count value: '0'"),
                (['--rounds', 'x'], "invalid count value: 'x'"),
                (['--seconds', '0'], "invalid duration value: '0'"),
                (['--seconds', 'nan'], "invalid duration value: 'nan'"),
                (['--seconds', 'inf'], "invalid duration value: 'inf'"),
                (['--only', 'x'], "invalid choice: 'x'"),
                (['--only'], 'expected at least one argument'),
                (['--results', missing], 'there is no folder'),
                (['--results', str(self.folder)], 'is a folder'),
                (['--pictures', missing], 'there is no folder'),
                (['--draw', missing], 'No such file'),
                (['--draw', __file__], 'Expecting value'),
                (['--draw', str(self.file)], 'these are no results'),
                (['--draw', str(self.file), '--only', 'get'], 'results'),
                (['--check', missing], 'No such file'),
                (['--check', '--rounds', '2'], 'needs 3 rounds'),
                (['--check', '--only', 'memory'], 'compares get, set'),
                (['x'], 'unrecognized arguments')]:
            with self.subTest(arguments):
                status, output = self.run_here(*arguments)
                self.assertEqual(status, 2)
                self.assertIn('usage: benchmark ', output)
                self.assertIn(problem, output)

    def test_without_memcached(self):
        with mock.patch.dict(os.environ, {'PATH': ''}):
            status, output = self.run_here('--only', 'get')
        self.assertRegex(status, '^benchmark: There is no memcached: ')


class TableTest(BenchmarkTest):

    def test_table(self):
        self.assertEqual(self.load('report').table(results()) + '\n', TABLE)

    def test_the_document(self):
        # It has the figures that are stored next to the command.
        text = (FOLDER.parent / 'src/p01/memcache/performance.txt').read_text(
            encoding='utf-8')
        summary = self.load('report').summary(
            self.load('benchmark').read(FOLDER / 'results.json'))
        for part in summary.split('\n\n'):
            self.assertIn(textwrap.indent(part, '  '), text)

    def test_without_matplotlib(self):
        self.file.write_text(json.dumps(results()))
        with mock.patch.dict(
                sys.modules, {
                'matplotlib': None, 'benchmarks.picture': None}):
            status, output = self.run_here(
                '--draw', str(self.file), '--pictures', str(self.folder))
        self.assertEqual(output, TABLE + SUMMARY)
        self.assertRegex(status, '^benchmark: the pictures need matplotlib')


class CompareTest(BenchmarkTest):

    def test_verdicts(self):
        verdict = self.load('compare').verdict
        usual = [1.0, 1.1, 0.9, 1.0, 1.05]
        for verdict_of, now in [
                ('same', usual),
                ('same', [1.1, 1.2, 0.95, 1.0, 1.1]),
                ('slower', [1.3, 1.4, 1.2, 1.3, 1.25]),
                ('faster', [0.8, 0.9, 0.7, 0.8, 0.85]),
                # One round that went astray changes nothing.
                ('same', [1.0, 9.0, 0.9, 1.0, 1.05]),
                ('slower', [1.3, 1.4, 0.1, 1.3, 1.25]),
                # A wide spread hides what a narrow one shows.
                ('same', [0.8, 1.4, 0.9, 1.3, 1.25]),
                ('unknown', [9.0, 9.0]),
                ('unknown', [])]:
            with self.subTest(now):
                self.assertEqual(verdict(usual, now), verdict_of)
                self.assertEqual(verdict(now, usual), {
                    'slower': 'faster', 'faster': 'slower',
                }.get(verdict_of, verdict_of))

    def test_trifles(self):
        """Even if the rounds are all alike."""
        verdict = self.load('compare').verdict
        for now, expected in [
                (1.04, 'same'), (1.06, 'slower'),
                (0.96, 'same'), (0.94, 'faster')]:
            self.assertEqual(verdict([1.0] * 3, [now] * 3), expected)

    def test_another_machine(self):
        """Of which all is three times as slow."""
        now = results()
        for work in now['works'].values():
            for column in work['contenders'].values():
                column['wall'] = [3 * taken for taken in column['wall']]
        compare = self.load('compare')
        rows = compare.compare(now, results())
        self.assertEqual({row.verdict for row in rows}, {'same'})
        self.assertEqual([row.contender for row in rows], ['ultra'] * 3)
        pace = compare.pace(now, results())
        self.assertEqual(pace, 3)
        self.assertIn(
            'x as long as then\nThe machine or its load differs',
            self.load('report').comparison(
                rows, pace, compare.is_alike(now, results()), now, results()))

    def test_alike(self):
        is_alike = self.load('compare').is_alike
        self.assertTrue(is_alike(results(), results()))
        for name in 'cpu', 'cores', 'python', 'memcached':
            now = results()
            now['about'][name] = 'another'
            self.assertFalse(is_alike(now, results()))
        for factor, expected in (1.2, True), (1.3, False), (0.7, False):
            now = results()
            for work in now['works'].values():
                work['contenders']['limit']['wall'] = [
                    factor * taken
                    for taken in work['contenders']['limit']['wall']]
            self.assertIs(is_alike(now, results()), expected)
        self.assertFalse(is_alike(
            {**results(), 'works': {}, 'startup': {}}, results()))

    def test_what_both_have(self):
        compare = self.load('compare')
        now, former = results(), results()
        del now['works']['get']
        del former['works']['busy-8']
        former['startup'] = {}
        self.assertEqual(compare.compare(now, former), [])
        self.assertIsNone(compare.pace(now, former))
        former = results()
        # Without raw sockets there are no ratios.
        del former['works']['busy-8']['contenders']['limit']
        self.assertEqual(
            [row.title for row in compare.compare(now, former)],
            ['import, client, first get'])

    def test_one_round(self):
        now = results()
        for column in now['works']['get']['contenders'].values():
            column['wall'] = column['wall'][:1]
        [row, *_] = self.load('compare').compare(now, results())
        self.assertEqual(row.now, (1.1, 1.1, 1.1))
        self.assertEqual(row.verdict, 'unknown')

    def test_check(self):
        former = self.folder / 'former.json'
        former.write_text(json.dumps(results()))
        now = results()
        self.file.write_text(json.dumps(now))
        check = '--draw', str(self.file), '--check', str(former)
        status, output = self.run_here(*check)
        self.assertIsNone(status)
        self.assertIn('\n3 same\n', output)
        works = now['works']
        works['get']['contenders']['ultra'] = columns(22, 48, 120)
        works['busy-8']['contenders']['ultra']['failed'] = 1
        self.file.write_text(json.dumps(now))
        status, output = self.run_here(*check)
        self.assertEqual(status, 1)
        self.assertEqual(output.partition('\n\nCompared')[2],
                         COMPARISON.partition('\nCompared')[2])

    def test_what_seems_slower(self):
        """It is measured again, alone and longer."""
        self.file.write_text(json.dumps(results()))
        slower = results()
        slower['works']['get']['contenders']['ultra'] = columns(22, 48, 120)
        slower['startup']['ultra']['ms'] = [200, 180, 300]
        again = {**results(), 'startup': {}}
        again['works'].pop('busy-8')
        for second, verdicts, ended in [
                ({**again, 'startup': results()['startup']}, '3 same', None),
                ({**slower, 'startup': {}}, '1 same, 2 slower', 1),
                (again, '2 same, 1 slower', 1)]:
            run = mock.Mock(side_effect=[slower, second])
            with (self.subTest(verdicts),
                    mock.patch.object(self.load('benchmark'), 'run', run)):
                status, output = self.run_here('--check', str(self.file))
                self.assertIn(f'\n{verdicts}\n', output)
                self.assertEqual(status, ended)
                self.assertIn('once more, as slower: get, startup', output)
                (only, who, rounds, _), _ = run.call_args
                self.assertEqual(list(only), ['get', 'startup'])
                self.assertEqual(who, ('limit', 'ultra', 'classic'))
                self.assertEqual(rounds, 14)

    def test_what_seems_slower_elsewhere(self):
        """It would be so again."""
        self.file.write_text(json.dumps(results()))
        now = results()
        now['about']['cpu'] = 'another CPU'
        now['startup']['ultra']['ms'] = [200, 180, 300]
        with mock.patch.object(
                self.load('benchmark'), 'run', return_value=now) as run:
            status, output = self.run_here('--check', str(self.file))
        run.assert_called_once()
        self.assertEqual(status, 1)
        self.assertIn('The machine or its load differs', output)

    def test_results_of_a_former_version(self):
        former = results()
        del former['startup']
        self.file.write_text(json.dumps(former))
        status, output = self.run_here(
            '--draw', str(self.file), '--check', str(self.file))
        self.assertIsNone(status)
        self.assertIn('\n2 same\n', output)


@unittest.skipUnless(importlib.util.find_spec('matplotlib'),
                     'there is no matplotlib')
class PictureTest(BenchmarkTest):

    def test_pictures(self):
        self.file.write_text(json.dumps(results()))
        status, output = self.run_here(
            '--draw', str(self.file), '--pictures', str(self.folder))
        self.assertIsNone(status)
        drawn = [self.folder / name
                 for name in ('performance.png', 'growth.png')]
        self.assertEqual(output, TABLE + SUMMARY + ''.join(
            f'Drawn: {path}\n' for path in drawn))
        for path in drawn:
            data = path.read_bytes()
            self.assertEqual(data[:8], b'\x89PNG\r\n\x1a\n')
            self.assertLess(len(data), 150_000)

    def test_nothing_to_draw(self):
        self.file.write_text(json.dumps(
            {**results(), 'works': {}, 'startup': {}, 'footprint': {},
             'curves': {}}))
        status, output = self.run_here(
            '--draw', str(self.file), '--pictures', str(self.folder))
        self.assertIsNone(status)
        self.assertNotIn('Drawn', output)


class Contender(FakeMemcacheClient):

    def setMany(self, mapping):
        return not super().setMany(mapping)

    def invalidateMany(self, keys):
        return not super().invalidateMany(keys)


class MeasureTest(BenchmarkTest):

    def turn(self, name, client, **changes):
        works = self.load('works')
        work = works.WORKS[name]._replace(**changes)
        return works.turn(work, client, 0.01, 1)

    def test_some_threads(self):
        client = FakeMemcacheClient()
        measure = self.turn('write-8', client)
        self.assertEqual(measure.failed, 0)
        self.assertIsNone(measure.computed)
        self.assertGreater(measure.wall, 0)
        # Each thread did one before the measurement.
        self.assertGreater(client.sets, 8)

    def test_a_long_operation(self):
        """It is still running when the time is over, and is waited for."""
        now, begun, over = [0.0], threading.Event(), threading.Event()

        def perf_counter():
            if begun.is_set():
                over.set()
            return now[0]

        def operate(count):
            if count:  # without the one before
                begun.set()
                over.wait(PATIENCE)
                now[0] += 0.25
            return True

        clock = mock.Mock(
            perf_counter=perf_counter,
            sleep=lambda seconds: begun.wait(PATIENCE))
        with mock.patch.object(self.load('works'), 'time', clock):
            measure = self.turn(
                'set', None, make=lambda client, number: operate)
        self.assertEqual(measure.wall, 250_000)

    def test_beside_a_computing_thread(self):
        client = mock.Mock()
        client.set = lambda key, value: time.sleep(0.001) or True
        measure = self.turn('busy-8', client)
        self.assertEqual(measure.failed, 0)
        self.assertGreater(measure.computed, 0)
        self.assertIsNone(measure.cpu)

    def test_an_operation_that_fails(self):
        client = mock.Mock()
        client.set.return_value = None
        self.assertGreater(self.turn('set', client).failed, 0)
        client.query.side_effect = OSError
        self.assertGreater(self.turn('get', client).failed, 0)
        client.queryMany.return_value = {}
        self.assertGreater(self.turn('queryMany', client).failed, 0)

    def test_a_client_that_returns_wrong_values(self):
        check = self.load('contenders').check
        for method, problem in [
                ('setMany', 'does not find'), ('invalidateMany', 'removed')]:
            client = Contender()
            check(client)
            setattr(client, method, mock.Mock(return_value=True))
            with self.assertRaisesRegex(ValueError, problem):
                check(client)


class CommandTest(BenchmarkTest):
    """A process of its own, as it starts others."""

    level = 2

    def run_there(self, *arguments):
        done = subprocess.run(
            (sys.executable, '-m', 'benchmarks.benchmark', '--rounds', '2',
             '--seconds', '0.02', *arguments), timeout=300, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_results(self):
        output = self.run_there(
            '--only', 'get', 'getOrCreate', 'three-many', 'away-0.3',
            'busy-get', 'busy-8', 'startup', 'connections', 'memory',
            'grow-pool',
            '--results', str(self.file))
        written = json.loads(self.file.read_text())
        self.assertEqual(written['about']['rounds'], 2)
        known = set(written['contenders'])
        self.assertLess({'limit', 'ultra', 'classic'}, known)
        self.assertEqual(
            set(written['works']),
            {'get', 'getOrCreate', 'three-many', 'away-0.3', 'busy-get',
             'busy-8'})
        for name, work in written['works'].items():
            self.assertEqual(
                set(work['contenders']),
                {'limit', 'ultra', 'classic'} if name == 'getOrCreate'
                else known)
            for contender, column in work['contenders'].items():
                with self.subTest(work=name, contender=contender):
                    self.assertEqual(len(column['wall']), 2)
                    self.assertGreater(min(column['wall']), 0)
                    self.assertEqual(column['failed'], 0)
        self.assertEqual(set(written['startup']), known)
        for name, column in written['startup'].items():
            with self.subTest(contender=name):
                self.assertEqual(len(column['ms']), 2)
                self.assertGreater(min(column['ms'] + column['MB']), 0)
        self.assertEqual(
            {what: set(numbers)
             for what, numbers in written['footprint'].items()},
            {'connections': known, 'memory': known})
        self.assertLessEqual(written['footprint']['connections']['ultra'], 50)
        [curve] = written['curves'].values()
        self.assertEqual([point['number'] for point in curve['points']],
                         [1, 2, 4, 8, 16, 32, 64])
        self.assertIn('ultra', curve['points'][0]['contenders'])
        self.assertNotIn('classic', curve['points'][0]['contenders'])
        table = self.load('report').table(written)
        self.assertEqual(output[:len(table)], table)
        self.assertIn('\nRatios to raw sockets ', output)

    def test_a_partial_run_writes_nothing(self):
        kept = {path: path.stat().st_mtime_ns for path in FOLDER.glob('*.*')}
        self.assertIn('UltraMemcacheClient', self.run_there('--only', 'miss'))
        self.assertEqual(kept, {path: path.stat().st_mtime_ns
                                for path in FOLDER.glob('*.*')})
