# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A watch over sources: when it looks, and who waits for it."""

import os
import threading
import time
import unittest
from time import monotonic
from unittest import mock

from p01.memcache.discovery import watch
from p01.memcache.discovery.source import parse
from p01.memcache.discovery.watch import PATIENCE
from p01.memcache.discovery.watch import Watch
from p01.memcache.errors import ConnectError
from p01.memcache.tests.support.waits import until
from p01.memcache.transport.address import parse as address


ONE, TWO = map(parse, ('dns://one', 'dns://two'))


class Clock:
    """The time on which a watch looks."""

    def __init__(self):
        self.ahead = 0

    def __call__(self):
        return monotonic() + self.ahead


class Follower:
    """Notes what has been found."""

    def __init__(self):
        self.found = []
        self.watch = None

    def follow(self):
        self.found.append(self.watch.found)


class WatchTest(unittest.TestCase):

    def setUp(self):
        self.clock = Clock()
        self.enterContext(mock.patch.object(watch, 'monotonic', self.clock))
        self.lists = {ONE: [address('a')], TWO: [address('b')]}
        self.asked = []
        self.follower = Follower()
        self.watch = self.make(ONE)
        self.watch.wait()

    def make(self, *sources, refresh=30):
        made = Watch(sources, refresh, self.find)
        self.follower.watch = made
        made.add(self.follower)
        return made

    def find(self, source, deadline):
        self.asked.append(source)
        answer = self.lists[source]
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def hold(self):
        """Let looks of this process wait for the event that is returned."""
        release, parent = threading.Event(), os.getpid()

        def find():
            if os.getpid() == parent:
                release.wait(10)
            return [address('c')]

        self.lists[ONE] = find
        self.addCleanup(until, lambda: self.watch._running() is None)
        self.addCleanup(release.set)
        return release

    def tick(self, seconds=0, timeout=1):
        """Have an operation ask so many seconds later."""
        self.clock.ahead += seconds
        self.watch.tick(self.clock() + timeout)

    def looked(self, count):
        until(lambda: len(self.asked) == count)

    def test_the_first_look(self):
        self.assertEqual(self.watch.found, {ONE: [address('a')]})
        self.assertEqual(self.follower.found, [self.watch.found])
        self.assertEqual(self.asked, [ONE])

    def test_a_look_when_it_is_due(self):
        self.tick(29)
        self.assertEqual(self.asked, [ONE])
        self.lists[ONE] = [address('a'), address('c')]
        self.tick(1.5)
        until(lambda: self.follower.found[1:] == [{ONE: self.lists[ONE]}])

    def test_nobody_waits_for_it(self):
        release = self.hold()
        start = monotonic()
        self.tick(30.5, timeout=60)
        self.tick()
        self.assertLess(monotonic() - start, 1)
        self.assertEqual(self.watch.found, {ONE: [address('a')]})
        release.set()
        until(lambda: self.watch.found == {ONE: [address('c')]})
        self.assertEqual(len(self.asked), 2)

    def test_after_idleness_it_is_waited_for(self):
        self.lists[ONE] = [address('c')]
        self.tick(30 + PATIENCE + 1)
        self.assertEqual(self.watch.found, {ONE: [address('c')]})

    def test_for_half_of_the_time(self):
        self.hold()
        start = monotonic()
        self.tick(3600, timeout=0.2)
        self.assertGreater(monotonic() - start, 0.05)
        self.assertLess(monotonic() - start, 1)

    def test_one_look_for_all_threads(self):
        release = self.hold()
        self.clock.ahead += 3600
        threads = [
            threading.Thread(target=self.tick, kwargs={'timeout': 20})
            for _ in range(64)]
        for thread in threads:
            thread.start()
        self.looked(2)
        release.set()
        for thread in threads:
            thread.join(10)
        self.assertEqual(len(self.asked), 2)

    def test_none_of_them_goes_on_without_it(self):
        self.lists[ONE] = [address('c')]
        found, make = {}, watch._Look

        def ask():
            self.watch.tick(self.clock() + 5)
            found.update(self.watch.found)

        def make_slowly(*args):
            other.start()
            time.sleep(0.02)
            return make(*args)

        other = threading.Thread(target=ask)
        with mock.patch.object(watch, '_Look', make_slowly):
            self.tick(3600, timeout=5)
        other.join(10)
        self.assertEqual(found, {ONE: [address('c')]})

    def test_a_server_fails_while_a_look_is_under_way(self):
        release = self.hold()
        self.tick(31)
        self.looked(2)
        self.watch.hurry()
        release.set()
        until(lambda: self.watch._running() is None)
        self.tick(1.5)
        self.looked(3)

    def test_a_server_has_failed(self):
        self.clock.ahead += 10
        self.watch.hurry()
        self.tick()
        self.looked(2)

    def test_many_servers_fail_many_times(self):
        for _ in range(100):
            self.watch.hurry()
            self.tick()
        self.assertEqual(self.asked, [ONE])

    def test_a_list_that_cannot_be_had(self):
        lists, self.lists[ONE] = self.lists[ONE], ConnectError('no')
        with self.assertLogs('p01.memcache') as logs:
            for count in range(2, 6):
                self.tick(40)
                self.looked(count)
            self.lists[ONE] = lists
            self.tick(40)
        self.assertEqual([record.getMessage() for record in logs.records], [
            'memcached servers: no list from dns://one: no',
            'memcached servers: dns://one lists them again'])
        self.assertEqual(self.watch.found, {ONE: lists})

    def test_it_is_looked_for_again_soon(self):
        self.lists[ONE] = ConnectError('no')
        with self.assertLogs('p01.memcache'):
            self.tick(31)
            self.looked(2)
            until(lambda: self.watch._running() is None)
            self.tick(6)
            self.looked(3)

    def test_one_of_two(self):
        self.watch = self.make(ONE, TWO)
        self.lists[ONE] = ConnectError('no')
        with self.assertLogs('p01.memcache'):
            self.watch.wait()
        self.assertEqual(self.watch.found, {TWO: [address('b')]})

    def test_a_bug(self):
        self.lists[ONE] = ZeroDivisionError('boom')
        with self.assertLogs('p01.memcache', 'ERROR'):
            self.tick(3600)
        self.assertEqual(self.watch.found, {ONE: [address('a')]})
        self.lists[ONE] = [address('c')]
        self.tick(3600)
        self.assertEqual(self.watch.found, {ONE: [address('c')]})

    def test_no_thread(self):
        with (mock.patch.object(watch._thread, 'start_new_thread',
                                side_effect=RuntimeError('no thread')),
              self.assertLogs('p01.memcache')):
            self.tick(3600)
        self.lists[ONE] = [address('c')]
        self.tick(3600)
        self.assertEqual(self.watch.found, {ONE: [address('c')]})

    def test_it_is_overdue_until_it_has_begun(self):
        def interrupt(*args):
            raise KeyboardInterrupt

        with (mock.patch.object(watch._thread, 'start_new_thread', interrupt),
              self.assertRaises(KeyboardInterrupt)):
            self.tick(3600)
        self.lists[ONE] = lambda: (time.sleep(0.05), [address('c')])[1]
        self.tick()
        self.assertEqual(self.watch.found, {ONE: [address('c')]})

    def test_a_fork_in_the_middle(self):
        self.hold()
        self.tick(31)
        self.looked(2)
        child = os.fork()
        if not child:
            self.tick(3600, timeout=5)
            os._exit(self.watch.found == {ONE: [address('c')]})
        _, status = os.waitpid(child, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 1)

    def test_a_follower_that_asks(self):
        self.follower.follow = lambda: self.tick(timeout=60)
        self.lists[ONE] = [address('c')]
        start = monotonic()
        self.tick(3600)
        self.assertLess(monotonic() - start, 1)
        self.assertEqual(self.watch.found, {ONE: [address('c')]})

    def test_a_follower_that_is_gone(self):
        self.follower = None
        self.lists[ONE] = [address('c')]
        self.tick(3600)
        self.assertEqual(self.watch.found, {ONE: [address('c')]})
