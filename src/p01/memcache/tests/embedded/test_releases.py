# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The table of the releases itself."""

import unittest

from p01.memcache import embedded
from p01.memcache.tests.embedded import releases
from p01.memcache.tests.embedded.releases import Release


class TestReleases(unittest.TestCase):

    def test_every_line_names_tested_releases(self):
        for difference, answers in releases.DIFFERENCES.items():
            with self.subTest(difference):
                self.assertGreater(len(answers), 1)
                self.assertEqual(
                    list(answers),
                    [name for name in releases.RELEASES if name in answers])
                self.assertEqual(list(answers)[0], releases.RELEASES[0])

    def test_the_answers_of_a_release(self):
        for version, name in (
                ('1.4.0', '1.6.18'), ('1.6.18', '1.6.18'),
                ('1.6.19', '1.6.18'), ('1.6.9', '1.6.18'),
                ('1.6.38', '1.6.38'), ('1.6.44', '1.6.38'),
                ('1.6.45-beta', '1.6.45'), ('1.6.100', '1.6.45'),
                ('VERSION 1.10.0\r\n', '1.6.45')):
            self.assertEqual(Release(version).name, name, version)
        for version, number in (
                ('1.4.0', 1), ('1.6.37', 1), ('1.6.38', 2), ('1.6.100', 2)):
            self.assertEqual(Release(version)['first number'], number)

    def test_the_embedded_server_is_the_newest(self):
        self.assertEqual(embedded.VERSION, releases.RELEASES[-1])
