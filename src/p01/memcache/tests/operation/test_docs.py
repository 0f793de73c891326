# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What bin/docs makes of the documents, if there is a checkout."""

import contextlib
import io
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

from docutils.core import publish_string


ROOT = pathlib.Path(__file__).parents[5]

CONF = '''
extensions = ['docs.contract', 'docs.links']
source_suffix = {'.txt': 'restructuredtext'}
exclude_patterns = ['pages']
html_theme = 'basic'
'''


@unittest.skipUnless((ROOT / 'docs').exists(), 'this is no checkout')
class DocsTest(unittest.TestCase):

    def setUp(self):
        sys.path.insert(0, str(ROOT))
        self.addCleanup(sys.path.remove, str(ROOT))
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))

    def build(self, **pages):
        """Make pages of these texts; return what it said, and the index."""
        from sphinx.cmd.build import main
        (self.folder / 'conf.py').write_text(CONF)
        for name, text in pages.items():
            path = self.folder / (name.replace('__', '/') + '.txt')
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            main(['-q', '-n', '-N', str(self.folder),
                  str(self.folder / 'pages')])
        return said.getvalue(), (
            self.folder / 'pages' / 'index.html').read_text()

    def test_names_become_links(self):
        said, html = self.build(
            index='Index\n=====\n\nSee ``session/README.txt``, ``a.txt``,'
                  ' ``none.txt`` and ``index.txt``.\n\n'
                  '.. toctree::\n\n   a\n   session/README\n',
            a='The servers\n===========\n\n::\n\n  <p01:memcache\n    ...\n',
            session__README='Sessions\n========\n\nSee ``../a.txt``.\n')
        self.assertEqual(said, '')
        for href, title in (
                ('session/README.html', 'Sessions'),
                ('a.html', 'The servers')):
            self.assertRegex(
                html, rf'See.*href="{href}"><span class="doc">{title}<')
        for name in 'none.txt', 'index.txt':
            self.assertIn(f'<span class="pre">{name}</span>', html)
        text = (self.folder / 'pages/session/README.html').read_text()
        self.assertIn('href="../a.html"><span class="doc">', text)
        # ZCML that is not complete is coloured all the same.
        self.assertIn('class="highlight-xml', (
            self.folder / 'pages' / 'a.html').read_text())

    def test_a_page_has_the_titles_of_now(self):
        from docs import build
        found = {}
        for title in 'Before', 'After!':
            for name, text in (
                    ('index', 'Index\n=====\n\n.. toctree::\n\n   a\n   b\n'),
                    ('a', f'{title}\n======\n'),
                    ('b', 'Other\n=====\n\nSee ``a.txt``.\n')):
                found[f'{name}.txt'] = self.folder / f'{name}.txt'
                found[f'{name}.txt'].write_text(text)
            with (mock.patch.object(build, 'PARTS', self.folder / 'html'),
                  mock.patch.object(build, 'sources', lambda: found),
                  mock.patch.object(sys, 'argv', ['docs']),
                  contextlib.redirect_stdout(io.StringIO())):
                self.assertEqual(build.main(), 0)
        html = (self.folder / 'html/pages/b.html').read_text()
        self.assertIn('After!', html)
        self.assertNotIn('Before', html)

    def test_interfaces(self):
        said, html = self.build(
            index='API\n===\n\n' + '\n'.join(
                f'.. interface:: {name}\n' for name in (
                    'IMemcacheSettings', 'IMemcacheFlusher',
                    'IUltraMemcacheSettings')))
        text = re.sub(r'<[^>]*>', '', html)
        for line in (
                'interface p01.memcache.interfaces.IMemcacheFlusher',
                'invalidateAll(delay=0)',
                'one of “compatible”, “strict”; by default \'compatible\'',
                'Seconds, at least 0.001, at most 86,400; by default 3',
                'Servers, not empty; by default'):
            self.assertIn(line, text)
        # It is in another interface that the page shows, and in none.
        self.assertRegex(
            html, 'href="#p01.memcache.interfaces.IMemcacheSettings.servers"')
        self.assertRegex(
            said, r'IMemcacheFlusher:\d+: WARNING: py:obj reference target '
            r'not found: p01\.memcache\.errors\.NotInvalidated ')

    def test_readme(self):
        # Where a package is published, any warning shows the source instead.
        for name in 'README.txt', 'CHANGES.txt':
            with self.subTest(name=name):
                publish_string(
                    (ROOT / name).read_text(encoding='utf-8'),
                    writer='html5',
                    settings_overrides={
                        'halt_level': 2, 'file_insertion_enabled': False,
                        'raw_enabled': False})

    def test_nothing_from_another_host(self):
        pages = ROOT / 'parts' / 'html' / 'pages'
        if not pages.exists():
            self.skipTest('bin/docs was not run')
        for path in pages.rglob('*.html'):
            loaded = re.findall(
                r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(?:https?:)?//'
                r'[^"]*"', path.read_text(encoding='utf-8'))
            self.assertEqual(loaded, [], path)
