# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Forks that Python does not notice, as by uWSGI's prefork.

Each test runs in a process of its own, in which no other thread wants the
interpreter lock at the fork: if it were taken, a child could do nothing.
"""

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import unittest
from time import monotonic

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.testing import free_ports
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)


TIMEOUT = 4  # seconds for an operation; nothing here should need them


class PatientClient(MemcacheClient):

    _timeout = TIMEOUT


def make_client(kind, servers, **settings):
    if kind == 'pooled':
        return UltraMemcacheClient(
            servers, timeout=TIMEOUT, delay=0, **settings)
    return PatientClient(servers)


def fork_silently():
    """Fork without Python noticing it."""
    return ctypes.PyDLL(None).fork()


def fork(work, *args, by=fork_silently):
    """Return the pid of a child that does the work."""
    pid = by()
    if pid:
        return pid
    status = 1
    try:
        work(*args)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(*pids):
    """Wait until all children have ended without an error."""
    end = monotonic() + 4 * PATIENCE
    for pid in pids:
        done = 0
        while not done:
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done and monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise AssertionError('a child hangs')
            time.sleep(0.005)
        assert status == 0, 'a child failed'


@contextlib.contextmanager
def another_thread(context=None, call=None):
    """Run a thread that stops within the context, or within the call."""
    ready, stopping = threading.Event(), threading.Event()

    def work():
        if call is not None:
            call(ready, stopping)
            return
        with context:
            ready.set()
            stopping.wait(4 * PATIENCE)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(4 * PATIENCE)
    time.sleep(0.05)  # until it waits, and does not want the interpreter lock
    yield stopping
    stopping.set()
    thread.join(4 * PATIENCE)
    assert not thread.is_alive()


def check(got, expected):
    assert got == expected, f'{got!r} is not {expected!r}'


def check_works(client):
    """Operations take moments, not their whole time-out."""
    start = monotonic()
    for number in range(10):
        key = f'{os.getpid()} {number}'
        assert client.set(key, key), 'not stored'
        check(client.query(key), key)
    check_time(start)


def check_time(start):
    took = monotonic() - start
    assert took < TIMEOUT / 2, f'it took {took:.1f} s'


def use(client, operations):
    """Use this process's keys: values have their key, counts are exact."""
    me = os.getpid()
    for number in range(operations):
        key = f'{me} {number % 50}'
        assert client.set(key, (key, number)), 'not stored'
        check(client.query(key), (key, number))
        shared = f'shared {number % 50}'
        check(client.query(shared), shared)
        check(client.increment(f'{me} count', 1, 0), number)
        found = client.queryMany([key, shared])
        check(found, {key: (key, number), shared: shared})


# The scenarios


def in_step(kind, address, operations):
    client = make_client(kind, [address], maxPoolSize=3)
    for number in range(50):
        client.set(f'shared {number}', f'shared {number}')
    # Some more connections, of threads that have ended.
    threads = [threading.Thread(target=check_works, args=(client,))
               for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    children = [fork(use, client, operations) for _ in range(4)]
    use(client, operations)
    wait(*children)
    # The parent's connection is still usable.
    if kind == 'pooled':
        check(client.getPools()[0][1]['active'], 0)
    check_works(client)


def grandchildren(kind, address, operations):
    client = make_client(kind, [address])
    check_works(client)

    def work():
        children = [fork(check_works, client) for _ in range(2)]
        check_works(client)
        wait(*children)
        # At once, and also after Python has noticed the fork.
        pid = os.fork()
        if not pid:
            fork(check_works, client)
            os._exit(0)
        wait(pid, fork(check_works, client))

    wait(fork(work))
    check_works(client)


def within_a_lock(kind, address, operations):
    client = make_client(kind, [address])
    check_works(client)
    broken = client.buildKey('broken')
    client.set('broken', b'no pickle', raw=True)

    def read():
        check(client.query('broken'), None)
        check(client.getUnreadable(), {'UnreadableValue': 1})
        check_works(client)

    def change():
        client.lifetime = 60
        client.servers = [address]
        check_works(client)

    def close():
        client.close()
        check_works(client)

    for work in read, change, close:
        with another_thread(client._setting):
            wait(fork(work))
    if kind == 'classic':
        return
    [server] = client._state.store.servers

    def deliver():
        server.undelivered.add(broken.encode())
        check_works(client)
        start = monotonic()
        check(client.query('broken'), None)
        assert client.set('broken', 1), 'not stored'
        check(client.query('broken'), 1)
        check_time(start)

    def fail():
        # The server is left alone from now on.
        port = free_ports(1)[0]
        client.servers = [f'127.0.0.1:{port}']
        for _ in range(9):
            check(client.query('key'), None)
        check(client._state.store.servers[0].health.state, 'down')

    for context in (
            server.health._turn.by(0), server.health._connecting._turn.by(0),
            server.health._asking._turn.by(0),
            server.undelivered._changing.by(0)):
        with another_thread(context):
            wait(fork(check_works, client), fork(deliver), fork(fail))
    for context in (server.health._connecting._turn.by(0), ):
        server.health.hindered(OSError())
        with another_thread(context):
            wait(fork(client.close), fork(check_works, client))
        check_works(client)


def within_a_backlog(kind, address, operations):
    # Each process owes the changes to the server.
    dead = f'127.0.0.1:{free_ports(1)[0]}'
    client = make_client(
        kind, [address, dead], failover=True, retries=1, blacktime=60)
    lost = client._state.store.servers[1]
    keys = [f'key {number}' for number in range(50)]
    store = client._state.store
    keys = [key for key in keys if store.router.find(
        client.buildKey(key).encode(), TIMEOUT)[0] is lost]
    check(client.query(keys[0]), None)
    assert lost.health.is_down

    def store():
        start = monotonic()
        for key in keys:
            assert client.set(key, key), 'not stored'
            check(client.query(key), key)
        check_time(start)

    with another_thread(lost.undelivered._changing.by(0)):
        wait(fork(store))

    def deliver():
        start = monotonic()
        check(client.query('owed'), None)
        assert client.set('owed', 2), 'not stored'
        check(client.query('owed'), 2)
        check_time(start)

    client.servers = [address]
    client.set('owed', 1)
    [server] = client._state.store.servers
    server.undelivered.add(client.buildKey('owed').encode())

    def told(ready, stopping):
        turn = server.undelivered._turn.take(monotonic() + TIMEOUT)
        ready.set()
        stopping.wait(4 * PATIENCE)
        server.undelivered._turn.give(turn)

    with another_thread(call=told):
        wait(fork(deliver))


def within_a_lookup(kind, address, operations):
    # The name service answers only the children.
    name = address.replace('127.0.0.1', 'localhost')
    client = make_client(kind, [name])
    look_up = socket.getaddrinfo
    stopped = threading.Event()

    def read(ready, stopping):
        def asked(*args, **kw):
            ready.set()
            stopping.wait(4 * PATIENCE)
            stopped.set()
            return look_up(*args, **kw)

        socket.getaddrinfo = asked
        check_works(client)

    def work():
        socket.getaddrinfo = look_up
        check_works(client)

    with another_thread(call=read) as stopping:
        children = [fork(work) for _ in range(3)]
        wait(*children)
        stopping.set()
        assert stopped.wait(4 * PATIENCE)
    check_works(client)


def within_a_factory(kind, address, operations):
    # The thread that computes it does not exist in the child.
    client = make_client(kind, [address])

    def create(ready, stopping):
        def factory():
            ready.set()
            stopping.wait(4 * PATIENCE)
            return 'value'

        check(client.getOrCreate('key', factory), 'value')

    def wait_for_it():
        start = monotonic()
        # The parent's thread stores it.
        check(client.getOrCreate('key', lambda: 'too early'), 'value')
        check_time(start)
        check(client.getOrCreate('other', lambda: 'other'), 'other')
        check_time(start)

    with another_thread(call=create) as stopping:
        children = [fork(wait_for_it) for _ in range(3)]
        time.sleep(0.2)
        stopping.set()
        wait(*children)


def main():
    scenario, kind, address, operations = sys.argv[1:]
    logging.getLogger('p01.memcache').addHandler(logging.NullHandler())
    globals()[scenario](kind, address, int(operations))
    print('right')


class Scenarios:
    """Nothing fails, and no process hangs, in the parent or its children."""

    server = EmbeddedServer
    kind = 'pooled'
    operations = 100

    def check(self, scenario):
        if sys.platform != 'linux':
            self.skipTest('needs the fork of the C library')
        with self.server() as server:
            done = subprocess.run(
                [sys.executable, '-c', f'import {__name__} as test;'
                 ' test.main()', scenario.__name__, self.kind, server.address,
                 str(self.operations)],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=2 * 4 * PATIENCE)
        self.assertEqual((done.stdout, done.stderr), ('right\n', ''))

    def test_parent_and_children_at_the_same_time(self):
        self.check(in_step)

    def test_grandchildren(self):
        self.check(grandchildren)

    def test_within_a_lock(self):
        self.check(within_a_lock)

    def test_within_a_lookup(self):
        self.check(within_a_lookup)

    def test_within_a_factory(self):
        self.check(within_a_factory)


class PooledTest(Scenarios, unittest.TestCase):

    def test_within_a_backlog(self):
        self.check(within_a_backlog)


class ClassicTest(Scenarios, unittest.TestCase):

    kind = 'classic'


class RealPooledTest(PooledTest):

    level = 2
    server = Memcached
    operations = 1000
