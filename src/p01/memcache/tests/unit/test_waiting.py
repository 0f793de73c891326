# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A thread that waits for an item of a pool, while no other thread wakes it.

It has to look for itself. Otherwise it would wait far longer than this test,
so the speed of the machine makes no difference.
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

    def test_a_lost_item(self):
        # It is not given back, as after an interrupt.
        self.item = None
        self.assertServed()

    def test_the_thread_that_gives_the_item_is_interrupted(self):
        # It has taken the waiting thread off the list, but not woken it.
        self.pool._waiting.popleft()
        self.pool.give(self.item)
        self.assertServed()
        self.assertIs(self.got[0], self.item)

    def test_that_thread_is_interrupted_and_the_item_lost(self):
        self.pool._waiting.popleft()
        self.item = None
        self.assertServed()
