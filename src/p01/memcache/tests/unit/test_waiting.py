# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A thread that waits for an item of a pool, and that nobody serves.

It has to look for itself. It would wait far longer than this test, and it
makes no difference how fast the machine is.
"""

import threading
import unittest
from time import monotonic

from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.threads.pool import Pool


LONG = 20 * PATIENCE


class Item:

    def close(self):
        pass


class WaitingTest(unittest.TestCase):

    def setUp(self):
        self.pool = Pool(Item, 1, LONG)
        self.item = self.pool.take(0)
        self.got = []
        self.thread = threading.Thread(
            target=lambda: self.got.append(
                self.pool.take(monotonic() + LONG)), daemon=True)
        self.thread.start()
        until(lambda: self.pool._waiting)

    def assertServed(self):
        self.thread.join(PATIENCE)
        self.assertEqual(len(self.got), 1)
        self.assertEqual(
            self.pool.statistics(), {'active': 1, 'idle': 0})
        self.assertFalse(self.pool._waiting)

    def test_an_item_that_is_dropped(self):
        # Without a word, as an interrupt leaves it.
        self.item = None
        self.assertServed()

    def test_the_thread_that_would_have_served_it_is_interrupted(self):
        # It has taken note of who waits, and that was all.
        self.pool._waiting.popleft()
        self.pool.give(self.item)
        self.assertServed()
        self.assertIs(self.got[0], self.item)

    def test_and_the_item_is_lost_with_it(self):
        self.pool._waiting.popleft()
        self.item = None
        self.assertServed()
