# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The frameworks that zope.cfg pins are those that are tested."""

import unittest
from importlib.metadata import version


class VersionsTest(unittest.TestCase):

    def test_zope(self):
        self.assertEqual(version('Zope').split('.')[0], '6')
