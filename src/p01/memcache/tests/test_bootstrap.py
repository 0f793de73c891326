# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""bootstrap.py, if there is a checkout: it fetches only known hashes."""

import contextlib
import hashlib
import importlib.util
import io
import os
import pathlib
import re
import sys
import tempfile
import unittest
import zipfile
from unittest import mock

from p01.memcache.tests.support.layers import Commands
from p01.memcache.tests.support.layers import run_in


load_tests = run_in(Commands)


ROOT = pathlib.Path(__file__).parents[4]
SCRIPT = ROOT / 'bootstrap.py'
FILES = ('versions.cfg', 'benchmark.cfg', 'zope.cfg', 'operation.cfg',
         '.ci/tools.cfg', 'examples/deployment/buildout.cfg')


@unittest.skipUnless(SCRIPT.exists(), 'this is no checkout')
class BootstrapCase(unittest.TestCase):

    def setUp(self):
        spec = importlib.util.spec_from_file_location('bootstrap', SCRIPT)
        self.bootstrap = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.bootstrap)
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))

    def assertFails(self, reason, call, *args):
        with (self.assertRaisesRegex(SystemExit, reason),
              contextlib.redirect_stdout(io.StringIO())):
            call(*args)


class HashesTest(BootstrapCase):

    def test_each_pin_has_hashes(self):
        for requirement in self.bootstrap.hashed(FILES):
            self.assertRegex(
                requirement, r'^[\w.-]+==[\w.]+(; [^\\]+?)?'
                r'( --hash=sha256:[0-9a-f]{64})+$')

    def test_tools_are_pinned(self):
        names = {requirement.partition('==')[0]
                 for requirement in self.bootstrap.hashed(['versions.cfg'])}
        self.assertLessEqual(set(self.bootstrap.TOOLS), names)

    def test_what_ci_installs(self):
        # Each with hashes, or from files that bootstrap.py has fetched.
        text = (ROOT / '.ci' / 'run').read_text()
        calls = re.findall(r'make_venv "(?:[^\n]*\\\n)*[^\n]*', text)
        self.assertEqual(len(calls), 2)
        for call in calls:
            self.assertRegex(call, r'--require-hashes|--no-index')

    def test_another_version(self):
        for name, pins in (('a', 'x = 1'), ('b', 'x = 2\ny = 1'), ('c', '')):
            path = self.folder / f'{name}.cfg'
            path.write_text(f'[versions]\n{pins}\n')
            path.with_suffix('.txt').write_text(
                '# Of it.\nx==2 \\\n    --hash=sha256:00\n')
            self.assertFails(
                'does not have the hashes', self.bootstrap.hashed, [path])
        path.write_text('[versions]\nx = 2\n')
        self.assertEqual(
            self.bootstrap.hashed([path]), ['x==2 --hash=sha256:00'])


class ChainTest(BootstrapCase):

    def test_what_a_file_extends(self):
        for name, lines in (
                ('a.cfg', 'extends = b.cfg sub/c.cfg'), ('b.cfg', ''),
                ('sub/c.cfg', 'extends = ../b.cfg')):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'[buildout]\n{lines}\n')
        with mock.patch.object(self.bootstrap, 'HERE', str(self.folder)):
            self.assertEqual(
                self.bootstrap.chain('a.cfg'),
                ['b.cfg', 'b.cfg', os.path.join('sub', 'c.cfg'), 'a.cfg'])

    def test_ours(self):
        for name, expected in (
                ('buildout.cfg', {'versions.cfg'}),
                ('benchmark.cfg', {'versions.cfg', 'buildout.cfg'}),
                ('zope.cfg', {'versions.cfg', 'buildout.cfg'})):
            self.assertEqual(
                set(self.bootstrap.chain(name)), {name, *expected})


class FetchTest(BootstrapCase):

    def setUp(self):
        super().setUp()
        wheel = self.folder / 'p01_dummy-1.0-py3-none-any.whl'
        info = 'p01_dummy-1.0.dist-info/'
        with zipfile.ZipFile(wheel, 'w') as file:
            file.writestr(info + 'METADATA', (
                'Metadata-Version: 2.1\nName: p01.dummy\nVersion: 1.0\n'))
            file.writestr(info + 'WHEEL', (
                'Wheel-Version: 1.0\nGenerator: test\n'
                'Root-Is-Purelib: true\nTag: py3-none-any\n'))
            file.writestr(info + 'RECORD', '')
        self.hash = hashlib.sha256(wheel.read_bytes()).hexdigest()
        self.wheels = self.folder / 'wheels'
        for name, value in [
                ('PYTHON', sys.executable), ('WHEELS', str(self.wheels)),
                ('REQUIREMENTS', str(self.folder / 'requirements'))]:
            self.enterContext(
                mock.patch.object(self.bootstrap, name, value))
        self.enterContext(mock.patch.dict(os.environ, {
            'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': str(self.folder),
            'PIP_CONFIG_FILE': os.devnull, 'PIP_NO_CACHE_DIR': '1'}))

    def fetch(self, requirement):
        self.bootstrap.fetch([requirement], '--only-binary=:all:')

    def test_the_hash(self):
        self.fetch(f'p01.dummy==1.0 --hash=sha256:{self.hash}')
        self.assertEqual(len(list(self.wheels.iterdir())), 1)

    def test_another_hash(self):
        for wrong in f' --hash=sha256:{"0" * 64}', '':
            self.assertFails(
                'HASH|hash', self.fetch, 'p01.dummy==1.0' + wrong)
            self.assertFalse(
                self.wheels.exists() and list(self.wheels.iterdir()))
