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
                'ultra': columns(5, 5, 5, computed=0.25)}}},
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
  ours                                5.0      5.0      5.0       -       -      25%

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


@unittest.skipUnless((FOLDER / 'benchmark.py').exists(),
                     'there are no benchmarks without a checkout')
class BenchmarkTest(unittest.TestCase):

    def setUp(self):
        self.enterContext(mock.patch.object(
            sys, 'path', [str(FOLDER), *sys.path]))
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / 'results.json'

    def load(self, name):
        return importlib.import_module(name)

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
            json.loads((FOLDER / 'results.json').read_text()))
        for part in summary.split('\n\n'):
            self.assertIn(textwrap.indent(part, '  '), text)

    def test_without_matplotlib(self):
        self.file.write_text(json.dumps(results()))
        with mock.patch.dict(
                sys.modules, {'matplotlib': None, 'picture': None}):
            status, output = self.run_here(
                '--draw', str(self.file), '--pictures', str(self.folder))
        self.assertEqual(output, TABLE)
        self.assertRegex(status, '^benchmark: the pictures need matplotlib')


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
        self.assertEqual(output, TABLE + ''.join(
            f'Drawn: {path}\n' for path in drawn))
        for path in drawn:
            data = path.read_bytes()
            self.assertEqual(data[:8], b'\x89PNG\r\n\x1a\n')
            self.assertLess(len(data), 150_000)

    def test_nothing_to_draw(self):
        self.file.write_text(json.dumps(
            {**results(), 'works': {}, 'footprint': {}, 'curves': {}}))
        status, output = self.run_here(
            '--draw', str(self.file), '--pictures', str(self.folder))
        self.assertIsNone(status)
        self.assertNotIn('Drawn', output)


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
        client = FakeMemcacheClient()
        client.setMany = mock.Mock(return_value=True)
        with self.assertRaises(ValueError):
            check(client)


class CommandTest(BenchmarkTest):
    """A process of its own, as it starts others."""

    level = 2

    def run_there(self, *arguments):
        done = subprocess.run(
            (sys.executable, FOLDER / 'benchmark.py', '--rounds', '2',
             '--seconds', '0.02', *arguments), timeout=300, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_results(self):
        output = self.run_there(
            '--only', 'get', 'three-many', 'away-0.3', 'busy-8',
            'connections', 'memory', 'grow-pool',
            '--results', str(self.file))
        written = json.loads(self.file.read_text())
        self.assertEqual(written['about']['rounds'], 2)
        known = set(written['contenders'])
        self.assertLess({'limit', 'ultra', 'classic'}, known)
        self.assertEqual(
            set(written['works']),
            {'get', 'three-many', 'away-0.3', 'busy-8'})
        for name, work in written['works'].items():
            self.assertEqual(set(work['contenders']), known)
            for contender, column in work['contenders'].items():
                with self.subTest(work=name, contender=contender):
                    self.assertEqual(len(column['wall']), 2)
                    self.assertGreater(min(column['wall']), 0)
                    self.assertEqual(column['failed'], 0)
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
        self.assertEqual(self.load('report').table(written) + '\n', output)

    def test_a_partial_run_writes_nothing(self):
        kept = {path: path.stat().st_mtime_ns for path in FOLDER.glob('*.*')}
        self.assertIn('UltraMemcacheClient', self.run_there('--only', 'miss'))
        self.assertEqual(kept, {path: path.stat().st_mtime_ns
                                for path in FOLDER.glob('*.*')})
