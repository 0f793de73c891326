# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The gate in front of a server: which thread may pass, and when."""

import threading
import unittest
from unittest import mock

from p01.memcache.health import gate
from p01.memcache.health.gate import Gate


class GateTest(unittest.TestCase):

    def setUp(self):
        self.now = 1000.0
        self.enterContext(mock.patch.object(
            gate, 'monotonic', lambda: self.now))
        self.gate = Gate()

    def let_in(self):
        return self.gate.let_in(self.now + 1)

    def let_another_in(self):
        """Like `let_in`, in another thread."""
        found = []
        thread = threading.Thread(target=lambda: found.append(self.let_in()))
        thread.start()
        thread.join(5)
        return found[0]

    def test_open_and_shut(self):
        for _ in range(2):
            self.assertTrue(self.let_in())
        self.gate.shut(10)
        self.assertFalse(self.let_in())
        self.gate.open()
        self.assertTrue(self.let_in())
        self.assertTrue(self.let_another_in())

    def test_shut_for_a_while(self):
        self.gate.shut(10)
        self.now += 9.5
        self.assertEqual(self.gate.remaining, 0.5)
        self.assertFalse(self.let_in())
        self.now += 0.5
        self.assertEqual(self.gate.remaining, 0)
        self.assertTrue(self.let_in())

    def test_one_at_a_time(self):
        self.gate.shut(10)
        self.now += 10
        self.assertTrue(self.let_in())
        self.assertFalse(self.let_another_in())
        # It has not reported back: after the pause, another one is let in.
        self.now += 9.5
        self.assertFalse(self.let_another_in())
        self.now += 0.5
        self.assertTrue(self.let_another_in())

    def test_a_thread_has_until_its_deadline(self):
        self.gate.shut(0)
        self.assertTrue(self.gate.let_in(self.now + 30))
        self.now += 29.5
        self.assertFalse(self.let_another_in())
        self.now += 0.5
        self.assertTrue(self.let_another_in())

    def test_a_thread_that_leaves_without_a_verdict(self):
        # The next one has to wait for the pause, not for the deadline.
        self.gate.shut(10)
        self.now += 10
        self.assertTrue(self.gate.let_in(self.now + 100))
        self.now += 1
        self.gate.leave()
        self.assertEqual(self.gate.remaining, 10)
        self.now += 10
        self.assertTrue(self.let_another_in())

    def test_the_thread_that_was_let_in_decides(self):
        # It may also shorten the time, but only once.
        self.gate.shut(10)
        self.now += 10
        self.assertTrue(self.gate.let_in(self.now + 100))
        self.gate.shut(5)
        self.assertEqual(self.gate.remaining, 5)
        self.gate.shut(1)
        self.assertEqual(self.gate.remaining, 5)

    def test_a_thread_that_has_left_decides_nothing(self):
        self.gate.shut(10)
        self.now += 10
        self.assertTrue(self.let_in())
        self.gate.leave()
        self.gate.shut(1)
        self.assertEqual(self.gate.remaining, 10)

    def test_a_thread_that_was_not_let_in_decides_nothing(self):
        self.gate.shut(10)
        self.now += 10
        self.assertTrue(self.gate.let_in(self.now + 100))
        for decide in self.gate.leave, lambda: self.gate.shut(1):
            thread = threading.Thread(target=decide)
            thread.start()
            thread.join(5)
            self.assertEqual(self.gate.remaining, 100)

    def test_another_thread_is_about_to_pass(self):
        # It has the turn. No thread waits for it, and none passes either.
        self.gate.shut(10)
        self.now += 10
        with self.gate._turn.by(0):
            self.assertFalse(self.let_in())
        self.assertTrue(self.let_in())
