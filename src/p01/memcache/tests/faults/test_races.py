# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Threads, forks and greenlets, and interrupts in mid-operation."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
import unittest
import warnings
from time import monotonic

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.storm import Storm
from p01.memcache.tests.support.storm import Struck
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)


class Wrong(AssertionError):
    """Raised for a value that belongs to another key."""


def use(client, key):
    """Do some operations on a key; its values contain it."""
    value = client.query(key)
    if value is not None and value[0] != key:
        raise Wrong(f'{key}: {value!r}')
    client.set(key, (key, random.random()))
    if random.random() < 0.1:
        client.invalidate(key)


class Scenario:
    """Whatever happens, values are right and no connection is lost."""

    timeout = 5

    def setUp(self):
        self.server = self.makeServer()
        self.server.start()
        self.addCleanup(self.server.stop)

    def connect(self, **attributes):
        client = UltraMemcacheClient(
            [self.server.address], delay=0, blacktime=0,
            **{'timeout': self.timeout, **attributes})
        self.addCleanup(client.close)
        return client

    def assertIntact(self, client, size):
        """All of the pool's connections are usable, and give right answers."""
        barrier = threading.Barrier(size, timeout=10)
        answers = []

        def work(number):
            # All at once, so that none is used twice.
            pool = client._state.store.servers[0].pool
            item = pool.take(monotonic() + 5)
            barrier.wait()
            pool.give(item)
            client.set(f'intact {number}', number)
            for _ in range(20):
                answers.append(client.query(f'intact {number}') == number)

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        self.assertEqual(answers, [True] * 20 * size)
        [(address, numbers)] = client.getPools()
        self.assertEqual(numbers['active'], 0)

    # Fault 21

    def strike(self, kind, times):
        client = self.connect(maxPoolSize=3)
        with Storm(lambda: use(client, random.choice('abcdefgh')),
                   threads=4, kind=kind) as storm:
            storm.strike(times)
        self.assertEqual(storm.errors, [])
        self.assertGreater(storm.operations, 0)
        self.assertIntact(client, 3)

    def test_struck_by_an_exception(self):
        class Strike(Exception):
            pass
        self.strike(Strike, self.strikes)

    def test_struck_by_an_interrupt(self):
        self.strike(KeyboardInterrupt, self.strikes)

    def test_struck_by_another_exception(self):
        self.strike(Struck, self.strikes)

    def test_signals(self):
        # They interrupt the main thread, also within C code.
        client = self.connect(maxPoolSize=2)
        struck = 0

        def handler(signum, frame):
            nonlocal ready
            if ready:
                ready = False
                raise Struck

        ready = False
        former = signal.signal(signal.SIGALRM, handler)
        end = monotonic() + 30
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
            while struck < self.strikes and monotonic() < end:
                try:
                    ready = True
                    while True:
                        use(client, random.choice('abcdefgh'))
                except Struck:
                    struck += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, former)
        self.assertEqual(struck, self.strikes)
        self.assertIntact(client, 2)

    # Fault 22

    def fork(self, client, operations):
        """Return the pid of a child that uses the client."""
        with warnings.catch_warnings():
            # Forking with threads is what is tested here.
            warnings.simplefilter('ignore', DeprecationWarning)
            pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            for number in range(operations):
                key = f'child {os.getpid()} {number % 50}'
                if client.set(key, (key, number)) is None:
                    raise AssertionError('not stored')
                if client.query(key) != (key, number):
                    raise AssertionError('another value')
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def wait(self, pid):
        """Wait for a child, and return its exit status."""
        end = monotonic() + 60
        pause = threading.Event()
        while monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            pause.wait(0.01)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return 'it hangs'

    def test_fork(self):
        client = self.connect(maxPoolSize=5)
        with Storm(lambda: use(client, random.choice('abcdefgh')),
                   threads=4) as busy:
            children = [self.fork(client, self.operations)
                        for _ in range(self.children)]
            results = [self.wait(pid) for pid in children]
        self.assertEqual(results, [0] * self.children)
        self.assertEqual(busy.errors, [])
        self.assertGreater(busy.operations, 0)
        self.assertIntact(client, 5)

    def test_fork_within_a_lock(self):
        client = self.connect(maxPoolSize=2)
        client.set('a', 1)
        server = client._state.store.servers[0]
        with server.health._turn.by(0), server.undelivered._changing.by(0):
            pid = self.fork(client, 10)
        self.assertEqual(self.wait(pid), 0)

    def test_fork_within_an_operation(self):
        # A signal handler may fork anywhere.
        client = self.connect(maxPoolSize=1)
        client.set('a', 1)
        server = client._state.store.servers[0]
        connection = server.pool.take(monotonic() + 5)
        pid = self.fork(client, 10)
        server.pool.give(connection)
        self.assertEqual(self.wait(pid), 0)
        self.assertEqual(client.query('a'), 1)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)

    # Fault 23

    def test_many_threads(self):
        client = self.connect(maxPoolSize=8)
        wrong = []
        lost = []

        def work(number):
            for i in range(self.rounds):
                key = f'{number} {i}'
                if client.set(key, key) is None:
                    lost.append(key)
                if client.query(key) != key:
                    wrong.append(key)

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        self.assertEqual((lost, wrong), ([], []))
        [(address, numbers)] = client.getPools()
        self.assertLessEqual(numbers['opened'], 8)
        self.assertEqual(numbers['active'], 0)


class TestEmbedded(Scenario, unittest.TestCase):

    makeServer = EmbeddedServer
    strikes = 100
    children = 2
    operations = 100
    rounds = 5


class TestMemcached(Scenario, unittest.TestCase):

    level = 2
    makeServer = Memcached
    strikes = 1000
    children = 8
    operations = 2000
    rounds = 500


# A process of its own, as gevent replaces half of the standard library.
GREENLETS = '''
from gevent import monkey
monkey.patch_all()
import random
import sys
import gevent
from p01.memcache.uclient import UltraMemcacheClient

client = UltraMemcacheClient(
    [sys.argv[1]], timeout=5, delay=0, blacktime=0, maxPoolSize=3)
struck = right = 0
ticks = 0

def tick():
    global ticks
    while True:
        gevent.sleep(0.001)
        ticks += 1

def work(number):
    global struck, right
    while min(struck, right) < int(sys.argv[2]):
        key = f'{number} {random.randrange(5)}'
        try:
            with gevent.Timeout(random.random() * random.choice((0.002, 0.1))):
                client.set(key, key)
                value = client.query(key)
        except gevent.Timeout:
            struck += 1
        else:
            assert value in (key, None), (key, value)
            right += value == key

clock = gevent.spawn(tick)
gevent.joinall([gevent.spawn(work, number) for number in range(8)],
               timeout=60, raise_error=True)
assert min(struck, right) >= int(sys.argv[2]), (struck, right)
# Others run while a greenlet waits.
assert ticks > 10, ticks
client.set('a', 'after')
assert client.query('a') == 'after'

def take(number):
    client.set(str(number), number)
    return client.query(str(number)) == number

jobs = [gevent.spawn(take, number) for number in range(30)]
gevent.joinall(jobs, timeout=10, raise_error=True)
assert all(job.value for job in jobs)
assert client.getPools()[0][1]['active'] == 0, client.getPools()
print('right')
'''


@unittest.skipUnless(importlib.util.find_spec('gevent'), 'without gevent')
class TestGreenlets(unittest.TestCase):

    server = EmbeddedServer
    strikes = 100

    def test_time_outs(self):
        with self.server() as server:
            done = subprocess.run(
                [sys.executable, '-c', GREENLETS, server.address,
                 str(self.strikes)],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=90)
        self.assertEqual((done.stdout, done.stderr), ('right\n', ''))


class TestGreenletsOnMemcached(TestGreenlets):

    level = 2
    server = Memcached
    strikes = 1000
