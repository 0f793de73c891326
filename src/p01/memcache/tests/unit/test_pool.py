# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pool: its bound, its order, and that nothing is ever lost."""

import gc
import threading
import unittest
import weakref
from time import monotonic

from p01.memcache.errors import PoolTimeout
from p01.memcache.tests.support.storm import Storm
from p01.memcache.tests.support.storm import Struck
from p01.memcache.tests.support.waits import soon
from p01.memcache.tests.support.waits import until
from p01.memcache.threads.pool import Pool


class Item:
    closed = False

    def close(self):
        self.closed = True


def at_once():
    return monotonic()


class PoolCase(unittest.TestCase):

    def setUp(self):
        self.made = weakref.WeakSet()
        self.pool = Pool(self.make, 3, 60)

    def make(self):
        item = Item()
        self.made.add(item)
        return item

    def in_thread(self, function, *args):
        thread = threading.Thread(target=function, args=args)
        thread.start()
        self.addCleanup(thread.join, 5)
        return thread

    def waiting(self, number):
        until(lambda: len(self.pool._waiting) == number)


class TestPool(PoolCase):

    def test_last_used_is_next(self):
        first, second = self.pool.take(soon()), self.pool.take(soon())
        self.pool.give(first)
        self.pool.give(second)
        self.assertIs(self.pool.take(soon()), second)
        self.assertIs(self.pool.take(soon()), first)

    def test_bound(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        self.assertEqual(len({*map(id, items)}), 3)
        start = monotonic()
        with self.assertRaises(PoolTimeout):
            self.pool.take(monotonic() + 0.1)
        self.assertGreaterEqual(monotonic() - start, 0.1)
        self.assertEqual(repr(self.pool), '<Pool 3 active, 0 idle>')
        self.pool.give(items.pop())
        self.pool.take(at_once())

    def test_the_deadline_has_passed(self):
        # If an item is there, the deadline does not matter.
        self.pool.take(monotonic() - 1)
        self.pool.take(monotonic() - 1)
        self.pool.take(monotonic() - 1)

    def test_order(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        served = []

        def wait(number):
            item = self.pool.take(soon())
            served.append(number)
            self.pool.drop(item)

        for number in range(10):
            self.in_thread(wait, number)
            self.waiting(number + 1)
        # One slot is passed on from thread to thread.
        self.pool.give(items.pop())
        until(lambda: len(served) == 10)
        self.assertEqual(served, list(range(10)))

    def test_a_dropped_item_makes_room_for_a_waiting_thread(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        got = []
        self.in_thread(lambda: got.append(self.pool.take(soon())))
        self.waiting(1)
        self.pool.drop(items[0])
        until(lambda: got)
        self.assertTrue(items[0].closed)
        self.assertIsNot(got[0], items[0])

    def test_a_lost_item_makes_room_for_a_waiting_thread(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        got = []
        self.in_thread(lambda: got.append(self.pool.take(soon())))
        self.waiting(1)
        del items[0]
        until(lambda: got)
        self.assertEqual(repr(self.pool), '<Pool 3 active, 0 idle>')

    def test_time_out_leaves_no_trace(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        with self.assertRaises(PoolTimeout):
            self.pool.take(monotonic() + 0.01)
        self.pool.give(items.pop())
        self.assertEqual(repr(self.pool), '<Pool 2 active, 1 idle>')

    def test_the_factory_fails(self):
        def fail():
            raise ZeroDivisionError
        self.pool = Pool(fail, 1, 60)
        for _ in range(3):
            with self.assertRaises(ZeroDivisionError):
                self.pool.take(soon())
        self.pool._factory = Item
        self.pool.take(at_once())

    def test_interrupted_before_it_is_a_member(self):
        # The item is gone by then, and so is its weak reference's hash.
        class Interrupted(set):
            def add(self, member):
                raise Struck

        self.pool._members = Interrupted()
        for _ in range(2):
            with self.assertRaises(Struck):
                self.pool.take(soon())
        self.pool._members = set()
        items = [self.pool.take(at_once()) for _ in range(3)]
        self.assertEqual(repr(self.pool), '<Pool 3 active, 0 idle>')
        del items

    def test_idle_time(self):
        self.pool = Pool(self.make, 3, 0.05)
        old = [self.pool.take(soon()) for _ in range(3)]
        for item in old:
            self.pool.give(item)
        self.assertIs(self.pool.take(soon()), old[2])
        until(lambda: monotonic() - self.pool._idle[-1][1] > 0.05)
        item = self.pool.take(soon())
        self.assertNotIn(item, old)
        self.assertEqual([item.closed for item in old], [True, True, False])
        self.assertEqual(repr(self.pool), '<Pool 2 active, 0 idle>')

    def test_close(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        self.pool.give(items[0])
        self.pool.give(items[1])
        self.pool.close()
        self.assertEqual([item.closed for item in items], [True, True, False])
        self.assertEqual(repr(self.pool), '<Pool 1 active, 0 idle>')
        self.pool.give(items[2])
        self.assertIs(self.pool.take(soon()), items[2])

    def test_after_fork(self):
        lent, idle = self.pool.take(soon()), self.pool.take(soon())
        self.pool.give(idle)
        self.pool.after_fork()
        self.assertTrue(lent.closed)
        self.assertTrue(idle.closed)
        for _ in range(3):
            self.assertFalse(self.pool.take(at_once()).closed)

    def test_an_item_counts_until_it_is_closed(self):
        # A connection counts as long as it is open.
        seen = []

        class Slow(Item):
            def close(item):
                seen.append(self.pool.statistics()['active'])

        self.pool = Pool(Slow, 1, 60)
        self.pool.drop(self.pool.take(soon()))
        self.assertEqual(seen, [1])

    def test_the_factory_uses_the_pool(self):
        # As a finalizer or a signal handler may do.
        again = [True]

        def make():
            if again:
                again.clear()
                inner.append(self.pool.take(soon()))
            return Item()

        inner = []
        self.pool = Pool(make, 2, 60)
        outer = self.pool.take(soon())
        self.assertIsNot(outer, inner[0])
        self.assertEqual(repr(self.pool), '<Pool 2 active, 0 idle>')

    def test_many_threads(self):
        lent = set()
        most = []

        def work():
            for _ in range(200):
                item = self.pool.take(soon())
                self.assertNotIn(id(item), lent)
                lent.add(id(item))
                most.append(len(lent))
                lent.remove(id(item))
                self.pool.give(item)

        for thread in [self.in_thread(work) for _ in range(16)]:
            thread.join(20)
        self.assertEqual(len(most), 16 * 200)
        self.assertLessEqual(max(most), 3)
        self.assertLessEqual(len(self.made), 3)


class TestStorms(PoolCase):
    """Exceptions that strike anywhere."""

    level = 2

    def test_storm(self):
        # Exceptions strike anywhere in here, between any two steps.
        lent = weakref.WeakSet()

        def operation():
            item = self.pool.take(soon())
            try:
                lent.add(item)
                if len(lent) > 3:
                    raise AssertionError(f'{len(lent)} are lent')
            finally:
                lent.discard(item)
                self.pool.give(item)

        with Storm(operation, threads=6) as storm:
            storm.strike(1000)
        self.assertEqual(storm.errors, [])
        gc.collect()
        self.assertEqual(len(self.pool._waiting), 0)
        items = [self.pool.take(monotonic() + 1) for _ in range(3)]
        self.assertEqual(repr(self.pool), '<Pool 3 active, 0 idle>')
        del items

    def test_struck_while_waiting(self):
        items = [self.pool.take(soon()) for _ in range(3)]
        with Storm(lambda: self.pool.take(soon()), threads=4) as storm:
            storm.strike(100)
            self.waiting(4)
            storm.stopping = True
            for item in items:
                self.pool.drop(item)
        self.assertEqual(storm.errors, [])
        self.assertTrue(issubclass(Struck, BaseException))
        self.pool.take(at_once())
