# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The index of the documents, and its picture, if there is a checkout."""

import importlib.util
import pathlib
import re
import tempfile
import unittest

from zope.interface.interface import InterfaceClass

from p01.memcache import interfaces


DOCS = pathlib.Path(__file__).parents[4] / 'docs'


def load(name):
    spec = importlib.util.spec_from_file_location(
        f'docs.{name}', DOCS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@unittest.skipUnless(DOCS.exists(), 'this is no checkout')
class IndexTest(unittest.TestCase):

    def setUp(self):
        text = (DOCS / 'index.txt').read_text(encoding='utf-8')
        # The promises below the lists name pages, too.
        self.lists = text.partition('\nWhat it promises\n')[0]

    def test_each_page_is_listed(self):
        pages = {name.removesuffix('.txt') for name in load('build').sources()
                 if name.endswith('.txt') and name != 'index.txt'}
        trees = re.findall(r'^   ([\w/-]+)$', self.lists, re.M)
        self.assertEqual(sorted(trees), sorted(pages))
        named = re.findall(r'``([\w/-]+?)(?:\.txt)?``', self.lists)
        self.assertLessEqual(
            {name.removesuffix('/README') for name in pages},
            {name.removesuffix('/README') for name in named})

    def test_each_interface_is_in_the_api(self):
        text = (DOCS / 'api.txt').read_text(encoding='utf-8')
        self.assertEqual(
            sorted(re.findall(r'^\.\. interface:: (\w+)$', text, re.M)),
            sorted(name for name in interfaces.__all__
                   if isinstance(getattr(interfaces, name), InterfaceClass)))

    def test_the_picture_shows_what_was_measured(self):
        picture = load('picture')
        values = picture.figures()
        self.assertEqual(
            (DOCS / 'site.svg').read_text(encoding='utf-8'),
            picture.draw(values))
        for text in (self.lists, (DOCS.parent / 'README.txt').read_text()):
            described = re.search(r':alt: ((?:.*\n)+?)\n', text)[1]
            self.assertEqual(
                [int(number) for number in re.findall(
                    r'\d+', described.partition('browsers')[2])], values)


class CopyTest(unittest.TestCase):

    @unittest.skipUnless(DOCS.exists(), 'this is no checkout')
    def test_what_is_gone_goes(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            source = folder / 'source.txt'
            source.write_text('one')
            target = folder / 'pages'
            target.mkdir()
            copy = load('build').copy
            copy({'a.txt': source, 'sub/b.txt': source}, target)
            before = (target / 'a.txt').stat().st_mtime_ns
            copy({'a.txt': source}, target)
            self.assertEqual((target / 'a.txt').stat().st_mtime_ns, before)
            self.assertFalse((target / 'sub' / 'b.txt').exists())
            source.write_text('two')
            copy({'a.txt': source}, target)
            self.assertEqual((target / 'a.txt').read_text(), 'two')
