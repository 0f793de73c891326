# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Without its extra a room cannot be imported; the error names the extra."""

import os
import subprocess
import sys
import unittest
from importlib import metadata


# A module of ours, its extra, and a package that the extra installs.
NEEDS = (
    ('transactional', 'transaction', 'transaction'),
    ('session', 'session', 'zope.session'),
    ('session.zcml', 'session', 'zope.session'),
    ('ramcache', 'ramcache', 'zope.ramcache'),
    ('dogpile.backend', 'dogpile', 'dogpile'),
    ('plone', 'plone', 'zope.ramcache'),
    ('mcdutils.zcml', 'mcdutils', 'Products'),
    ('browser.page', 'browser', 'zope.publisher'),
    ('browser.zcml', 'browser', 'zope.browserpage'),
    ('metrics.view', 'browser', 'zope.publisher'),
    ('metrics.scrape', 'prometheus', 'prometheus_client'),
    ('metrics.prometheus', 'prometheus', 'prometheus_client'),
    ('metrics.opentelemetry', 'opentelemetry', 'opentelemetry'),
)

IMPORT = """
import importlib
import sys

class Finder:

    def find_spec(self, name, path=None, target=None):
        if (name + '.').startswith(sys.argv[2] + '.'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Finder())
importlib.import_module('p01.memcache.' + sys.argv[1])
"""


class Extras(unittest.TestCase):

    def test_error(self):
        for module, extra, package in NEEDS:
            with self.subTest(module):
                done = subprocess.run(
                    [sys.executable, '-c', IMPORT, module, package],
                    env={**os.environ,
                         'PYTHONPATH': os.pathsep.join(sys.path)},
                    capture_output=True, text=True, timeout=60)
                self.assertIn(
                    f'; the extra "{extra}" of p01.memcache installs it\n',
                    done.stderr)

    def test_the_extra_is_declared(self):
        declared = metadata.metadata('p01.memcache').get_all('Provides-Extra')
        self.assertLessEqual({extra for _, extra, _ in NEEDS}, {*declared})
