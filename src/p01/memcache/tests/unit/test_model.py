# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The model of the snapshots: it holds, and none of its rules is spare."""

import contextlib
import io
import unittest

from p01.memcache.tests.support.checkout import load_tool


model = load_tool('model')
in_checkout = unittest.skipUnless(model, 'the model is for a checkout')


@in_checkout
class ModelTest(unittest.TestCase):

    def test_each_order_of_reading(self):
        for order in 'vx', 'xv':
            trouble, _, _, hits = model.Model(order=order).check()
            self.assertIsNone(trouble)
            self.assertGreater(hits, 1000)

    def test_a_restart(self):
        trouble, _, _, hits = model.Model(restarts=1).check()
        self.assertIsNone(trouble)
        self.assertGreater(hits, 2000)


@in_checkout
class RulesTest(unittest.TestCase):

    level = 2

    def test_two_committers(self):
        trouble, _, _, hits = model.Model(committers=2, readers=1).check()
        self.assertIsNone(trouble)
        self.assertGreater(hits, 100)

    def test_no_rule_is_spare(self):
        for rule in model.RULES:
            with self.subTest(rule):
                self.assertRegex(
                    model.Model(broken=rule).check()[0], 'wrong: snapshot')
        for rule in model.RULES_OF_RESTARTS:
            with self.subTest(rule):
                self.assertRegex(model.Model(
                    broken=rule, restarts=1).check()[0], 'wrong: snapshot')

    def test_command(self):
        with contextlib.redirect_stdout(io.StringIO()) as output:
            self.assertEqual(model.main(['--readers', '1']), 0)
            self.assertEqual(model.main(['--break', 'mark']), 0)
        whole, broken, *path = output.getvalue().splitlines()
        self.assertRegex(whole, '^whole: .*: each hit is what')
        self.assertRegex(broken, '^mark: .*: wrong: snapshot 1 was given')
        self.assertEqual(path[0], '  1 add a log')


if __name__ == '__main__':
    unittest.main()
