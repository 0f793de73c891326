# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command bin/soak: it stresses the client, and finds faults."""

import contextlib
import io
import logging
import mmap
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock

from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.checkout import TOOLS
from p01.memcache.tests.support.checkout import load_tool
from p01.memcache.tests.support.checkout import refusal
from p01.memcache.tests.support.layers import Commands
from p01.memcache.tests.support.layers import run_in


load_tests = run_in(Commands)


PATIENCE = 60

soak = load_tool('soak')
in_checkout = unittest.skipUnless(soak, 'bin/soak is for a checkout')


class Client(FakeUltraMemcacheClient):

    evictions = '0'

    def getStatistics(self):
        return [('fake', {'evictions': self.evictions})]


class Wrong(Client):
    """Returns another key's value."""

    def query(self, key):
        return soak.make_value('other', 1)


class Broken(Client):
    """Returns a value that is cut off."""

    def query(self, key):
        value = super().query(key)
        return value and (*value[:2], value[2] + '.')


class Twice(Client):
    """Increments twice."""

    def increment(self, *args):
        super().increment(*args)
        return super().increment(*args)


class Stale(Client):
    """Returns for ever what it has once read."""

    def __init__(self):
        super().__init__()
        self.read = {}

    def query(self, key):
        value = super().query(key)
        return value and self.read.setdefault(key, value)


class NotInvalidated(Client):

    def invalidate(self, key):
        return None


class Restarted(Client):
    """Its counters start over."""

    def increment(self, key, delta, initial):
        return super().increment(key, delta, initial // 10 ** 9 * 10 ** 9)


class Lost(Client):
    """Does not store all that it claims to have stored."""

    def set(self, key, value):
        return super().invalidate(key)


class Slow(Client):

    def query(self, key):
        if self.debug:  # once
            self.debug = 0
            time.sleep(soak.TIMEOUT + 3 * soak.SLACK)
        return super().query(key)


class SlowCreation(Client):

    def getOrCreate(self, key, factory):
        if self.debug:
            self.debug = 0
            time.sleep(2 * soak.TIMEOUT + 3 * soak.SLACK)
        return super().getOrCreate(key, factory)


class Dead(Client):

    def query(self, key):
        raise RuntimeError('no thread expects this')


class Complaining(Client):

    def query(self, key):
        logging.getLogger('p01.memcache').warning('a complaint')
        return super().query(key)


class Evicting(Client):

    evictions = '1'


class Leaking(Client):
    """Leaks something whenever its connections are closed."""

    def __init__(self):
        super().__init__()
        self.left = contextlib.ExitStack()

    def close(self):
        self.leak(self.left)


class LeakingDescriptors(Leaking):

    def leak(self, left):
        left.callback(os.close, os.open(os.devnull, os.O_RDONLY))


class LeakingThreads(Leaking):

    def leak(self, left):
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait, args=(PATIENCE,))
        thread.start()
        left.callback(thread.join)
        left.callback(ended.set)


class LeakingMemory(Leaking):

    def leak(self, left):
        # Whole pages: a small block may come from memory freed before.
        pages = mmap.mmap(-1, 8 << 20)
        for start in range(0, len(pages), mmap.PAGESIZE):
            pages[start] = 1
        left.callback(pages.close)


class FakeServers:
    """Servers without incidents."""

    faults = 0
    restarted = 0.0

    def storm(self):
        return contextlib.nullcontext()


@in_checkout
@unittest.skipUnless(sys.platform == 'linux', 'it is for Linux')
class PromisesTest(unittest.TestCase):
    """A broken promise is named, and shown by the exit status."""

    level = 2

    def setUp(self):
        # It would start a thread that is left over.
        self.enterContext(
            mock.patch.object(soak.tqdm, 'monitor_interval', 0))

    def soak(self, client):
        output = io.StringIO()
        with (contextlib.redirect_stdout(output),
              contextlib.redirect_stderr(io.StringIO())):
            status = soak.soak(
                client, FakeServers(), threads=2, seed=1, seconds=0.5)
        return status, output.getvalue()

    def assertBroken(self, client, what):
        status, output = self.soak(client)
        self.assertEqual(status, 1, output)
        self.assertIn(f'BROKEN: {what}: ', output)

    def test_nothing_is_broken(self):
        status, output = self.soak(Client())
        self.assertEqual(status, 0, output)
        self.assertNotIn('BROKEN', output)

    def test_wrong_values(self):
        for client in Wrong(), Broken(), Twice():
            self.assertBroken(client, 'wrong values')

    def test_stale_values(self):
        for client in Stale(), NotInvalidated(), Restarted():
            self.assertBroken(client, 'stale values')

    def test_lost_values(self):
        self.assertBroken(Lost(), 'lost values')

    def test_evicted_values(self):
        self.assertBroken(Evicting(), 'evicted values')

    def test_too_long(self):
        self.assertBroken(Slow(), 'longest operation (ms)')
        self.assertBroken(SlowCreation(), 'longest getOrCreate (ms)')

    def test_a_client_that_is_dead(self):
        self.assertBroken(Dead(), 'threads dead')

    def test_errors(self):
        self.assertBroken(Complaining(), 'errors while healthy')

    def test_leaks(self):
        for kind, what in (
                (LeakingDescriptors, 'descriptors'),
                (LeakingThreads, 'threads'),
                (LeakingMemory, 'megabytes')):
            client = kind()
            with client.left:
                self.assertBroken(client, f'{what}, at the end')


@in_checkout
class WatchTest(unittest.TestCase):

    def judge(self, start, end, timeouts, *pauses):
        watch = soak.Watch()
        watch._pauses.extend(pauses)
        watch.note(start, end, timeouts)
        with watch:
            pass
        return watch.excused, watch.longest[timeouts]

    def test_in_time(self):
        self.assertEqual(self.judge(0, 0.5, 1), (0, 0.5))
        self.assertEqual(self.judge(0, 1, 2), (0, 1))

    def test_too_long(self):
        self.assertEqual(self.judge(0, 1, 1), (0, 1))
        self.assertEqual(self.judge(0, 2, 2), (0, 2))

    def test_excused(self):
        self.assertEqual(self.judge(0, 1, 1, (0.1, 0.9)), (1, 0))
        self.assertEqual(self.judge(0, 1, 1, (-5, 0.2), (0.5, 5)), (1, 0))

    def test_another_time(self):
        self.assertEqual(self.judge(1, 2, 1, (0, 1.3), (1.7, 5)), (0, 1))


@in_checkout
class ArgumentsTest(unittest.TestCase):

    def test_numbers(self):
        for name, values in (
                ('--minutes', ('0', '-1', 'nan', 'inf', 'ten', '')),
                ('--threads', ('0', '-1', '1.5', 'x')),
                ('--seed', ('0', 'x'))):
            for value in values:
                self.assertIn(
                    f'argument {name}: invalid', refusal(soak, name, value))

    def test_no_server(self):
        with (mock.patch.object(sys, 'platform', 'linux'),
              mock.patch.object(Memcached, 'find', return_value=None)):
            self.assertIn('there is no memcached', refusal(soak))

    def test_another_system(self):
        with mock.patch.object(sys, 'platform', 'darwin'):
            self.assertIn('Linux only', refusal(soak))


@in_checkout
@unittest.skipUnless(sys.platform == 'linux', 'it is for Linux')
class CommandTest(unittest.TestCase):

    level = 2

    def start(self, *arguments):
        process = self.enterContext(subprocess.Popen(
            (sys.executable, TOOLS / 'soak.py', *arguments),
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        self.addCleanup(process.kill)
        return process

    def children(self, pid):
        """Return pidfds of all descendants of the process."""
        with open(f'/proc/{pid}/task/{pid}/children') as file:
            children = file.read().split()
        found = [os.pidfd_open(int(child)) for child in children]
        for descriptor in found:
            self.addCleanup(os.close, descriptor)
        return found + [
            other for child in children for other in self.children(child)]

    def test_a_short_run(self):
        # Its promises have times, which a busy machine may exceed.
        for _ in range(3):
            process = self.start('--minutes', '0.33', '--seed', '1')
            output, errors = process.communicate(timeout=PATIENCE)
            if not process.returncode:
                break
        self.assertEqual(process.returncode, 0, output + errors)
        self.assertIn('--seed 1\n', output)
        self.assertNotIn('Traceback', errors)
        there = {
            name: float(number.replace(',', '')) for name, number in
            re.findall(r'^(\S.*?) {2,}([0-9,.]+)', output, re.MULTILINE)}
        self.assertGreater(there['operations'], 5000)
        self.assertGreater(there['faults'], 20)
        self.assertGreater(there['longest operation (ms)'], 300)
        self.assertEqual(there['threads alive'], 16)
        self.assertGreater(there['megabytes, at the end'], 10)

    def test_the_end(self):
        for number in signal.SIGINT, signal.SIGTERM:
            process = self.start('--minutes', '5', '--threads', '2')
            seen = ''
            while 'warming up' not in seen:
                seen += process.stderr.read(1)
            started = self.children(process.pid)
            self.assertGreater(len(started), soak.SERVERS)
            process.send_signal(number)
            output, errors = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 130, output + errors)
            self.assertIn('Interrupted', output)
            self.assertIn('stale values', output)
            for child in started:
                ended, _, _ = select.select([child], [], [], 5)
                self.assertTrue(ended)
