# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The examples of metrics/README.txt, and the metrics that it names."""

import doctest
import importlib.resources
import re
import unittest

from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest

from p01.memcache.metrics.prometheus import MemcacheCollector
from p01.memcache.testing import free_ports
from p01.memcache.tests.operation import scenes


FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def text_of(**options):
    registry = CollectorRegistry()
    registry.register(MemcacheCollector(
        {'': scenes.outage()['']}, **options))
    return generate_latest(registry).decode()


def scrape(name, only='', **options):
    """Print the lines about a metric, those with a text alone."""
    pattern = re.compile(rf'(# \w+ )?memcache_(client|server)_{name}(_total)?'
                         r'(?=[ {])')
    for line in text_of(**options).splitlines():
        if pattern.match(line) and only in line:
            print(line)


def setUp(test):
    [port] = free_ports(1)
    test.globs.update(
        port=port, scrape=scrape, cache=scenes.outage()[''])


def tearDown(test):
    test.globs['server'].shutdown()
    test.globs['server'].server_close()
    test.globs['thread'].join()


class NamesTest(unittest.TestCase):

    def test_names(self):
        document = importlib.resources.files('p01.memcache').joinpath(
            'metrics', 'README.txt').read_text(encoding='utf-8')
        named = {name for name in re.findall(
            r'\bmemcache_(?:client|server)_\w+', document)
            if not name.endswith('_')}
        self.assertGreater(len(named), 10)
        table = {f'memcache_client_{name}' for name in re.findall(
            r'^``(\w+)``  ', document, re.MULTILINE)}
        described = {
            f'{family.name}_total' if family.type == 'counter' else family.name
            for family in MemcacheCollector(statistics=True).describe()}
        self.assertLessEqual(
            {name.removesuffix('_bucket') for name in named}, described)
        self.assertEqual(table, {name for name in described
                                 if name.startswith('memcache_client_')})


def test_suite():
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(NamesTest)
    suite.addTest(doctest.DocFileSuite(
        'metrics/README.txt', package='p01.memcache', setUp=setUp,
        tearDown=tearDown, optionflags=FLAGS))
    return suite
