# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Locks that are released even if an exception strikes after any step.

A profile function raises the exception: deterministically, and in the same
places as asynchronous exceptions and those of signal handlers.
"""

import itertools
import socket
import sys
import threading
import unittest
import weakref
from unittest import mock

from p01.memcache.threads import fork
from p01.memcache.threads.lock import run_locked
from p01.memcache.transport import dial
from p01.memcache.uclient import UltraMemcacheClient


PATIENCE = 10  # seconds


class Struck(BaseException):
    """The exception that strikes."""


def is_step(event, what):
    return event in ('call', 'return', 'c_return')


def struck(function, step, counts=is_step):
    """Call the function; return whether an exception struck after the step.

    Steps are counted from 0.
    """
    steps = itertools.count()

    def strike(frame, event, what):
        if counts(event, what) and next(steps) == step:
            sys.setprofile(None)
            raise Struck

    sys.setprofile(strike)
    try:
        function()
    except Struck:
        return True
    finally:
        sys.setprofile(None)
    return False


def ends(function):
    """Return whether a call of the function ends in another thread."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return not thread.is_alive()


class LockTests(unittest.TestCase):

    def assertGoesOn(self, function, least):
        """After an exception at any step, others can call the function."""
        step = 0
        while struck(function, step):
            self.assertTrue(ends(function), f'not behind step {step}')
            step += 1
        self.assertGreaterEqual(step, least)

    def test_every_step(self):
        lock = threading.Lock()
        self.assertGoesOn(lambda: run_locked(lock, len, ()), 4)

    def test_result(self):
        lock = threading.Lock()
        self.assertTrue(run_locked(lock, lock.locked))
        self.assertEqual(run_locked(lock, max, 1, 2), 2)
        self.assertFalse(lock.locked())

    def test_error(self):
        lock = threading.Lock()
        with self.assertRaises(ZeroDivisionError):
            run_locked(lock, divmod, 1, 0)
        self.assertFalse(lock.locked())

    def test_again_in_the_same_thread(self):
        lock = threading.RLock()
        run_locked(lock, run_locked, lock, len, ())
        self.assertTrue(ends(lambda: run_locked(lock, len, ())))

    def test_settings(self):
        client = UltraMemcacheClient()
        lifetimes = itertools.count(1)

        def change():
            client.lifetime = next(lifetimes)

        self.assertGoesOn(change, 20)

    def test_fork(self):
        class Object:

            def after_fork(self):
                pass

        known = Object()
        here = fork.getpid()
        with mock.patch.multiple(
                fork, process=here, _starting={},
                _known=weakref.WeakSet([known])):

            def notice():
                fork.process = None  # as in a child
                fork.notice()

            self.assertGoesOn(notice, 8)
            self.assertEqual(fork.process, here)

    def test_lookup(self):
        """Strike the thread that has waited longest for the name."""
        go_on, waiting = threading.Event(), threading.Barrier(3)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, '', ('::', 1))]

        def look_up(*args, **kw):
            go_on.wait(PATIENCE)
            return found

        with mock.patch.object(socket, 'getaddrinfo', look_up):
            lookup = dial.Lookup('example.com', 11211)
            answers = []

            def has_waited(event, what):
                return go_on.is_set() and event == 'c_return'

            def wait():
                waiting.wait(PATIENCE)
                answers.append(lookup.wait(PATIENCE))

            threads = [threading.Thread(target=wait) for _ in range(2)]
            for thread in threads:
                thread.start()
            threading.Timer(0.1, waiting.wait).start()
            threading.Timer(0.2, go_on.set).start()
            self.assertTrue(
                struck(lambda: lookup.wait(PATIENCE), 0, has_waited))
            for thread in threads:
                thread.join(PATIENCE / 4)
        self.assertEqual(answers, [found, found])
