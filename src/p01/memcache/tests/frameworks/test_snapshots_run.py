# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command bin/snapshots: processes that are killed, on each storage."""

import os
import re
import subprocess
import sys
import unittest

from p01.memcache.tests.support.checkout import TOOLS


SCRIPT = TOOLS / 'snapshots.py'


@unittest.skipUnless(SCRIPT.exists(), 'bin/snapshots is for a checkout')
class SnapshotsTest(unittest.TestCase):

    level = 2

    def run_it(self, *options):
        """Return the status, and what was counted."""
        process = subprocess.run(
            [sys.executable, SCRIPT, *options], capture_output=True,
            text=True, timeout=200,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
        self.assertRegex(process.stdout, ' wrong', process.stderr)
        return process.returncode, {
            name: int(number) for number, name in re.findall(
                r'(\d+) (\w+)', process.stdout.splitlines()[0])}

    def test_each_storage(self):
        for storage in 'file', 'zeo', 'relstorage':
            with self.subTest(storage):
                status, counts = self.run_it(
                    '--storage', storage, '--seconds', '8')
                self.assertEqual(counts['wrong'], 0)
                self.assertEqual(status, 0)
                for name in 'hits', 'commits', 'aborts', 'conflicts', 'kills':
                    self.assertGreater(counts[name], 0, name)

    def test_a_rule_that_is_left_out(self):
        for rule in 'mark', 'date':
            with self.subTest(rule):
                status, counts = self.run_it(
                    '--storage', 'zeo', '--seconds', '8', '--without', rule)
                self.assertGreater(counts['wrong'], 0)
                self.assertEqual(status, 1)


if __name__ == '__main__':
    unittest.main()
