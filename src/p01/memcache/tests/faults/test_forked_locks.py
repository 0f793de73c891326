# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Forks while another thread holds every lock of the package.

That thread does not exist in the child, and so would never release them. The
locks are found among the attributes of all objects, not named here.
"""

import contextlib
import gc
import logging
import os
import subprocess
import sys
import threading
import unittest
from time import monotonic

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import free_ports
from p01.memcache.tests.faults.test_forks import PATIENCE
from p01.memcache.tests.faults.test_forks import another_thread
from p01.memcache.tests.faults.test_forks import check
from p01.memcache.tests.faults.test_forks import fork
from p01.memcache.tests.faults.test_forks import fork_silently
from p01.memcache.tests.faults.test_forks import make_client
from p01.memcache.tests.faults.test_forks import wait
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.threads.pool import Pool


load_tests = run_in(Incidents)


LOCKS = type(threading.Lock()), type(threading.RLock())


def try_to_take(lock):
    """Return a function that releases the lock, or None if it is taken."""
    if isinstance(lock, Pool):
        with contextlib.suppress(Exception):
            item = lock.take(monotonic())
            return lambda: lock.give(item)
    elif lock.acquire(blocking=False):
        return lock.release


def find_locks():
    """Return the places of all free locks, as (owner, name).

    One that is taken now belongs to a thread that waits for another one.
    """
    places = [
        (owner, name) for owner in gc.get_objects()
        if str(type(owner).__module__).startswith('p01.memcache.')
        for name, value in getattr(owner, '__dict__', {}).items()
        if isinstance(value, (Pool, *LOCKS))]
    free = []
    for owner, name in places:
        give_back = try_to_take(getattr(owner, name))
        if give_back is not None:
            give_back()
            free.append((owner, name))
    return free


@contextlib.contextmanager
def all_of(places):
    """Hold the locks at these places."""
    with contextlib.ExitStack() as stack:
        for owner, name in places:
            give_back = try_to_take(getattr(owner, name))
            assert give_back is not None, (owner, name)
            stack.callback(give_back)
        yield


def check_free(places):
    taken = [
        f'{type(owner).__name__}.{name}' for owner, name in places
        if try_to_take(getattr(owner, name)) is None]
    check(taken, [])


def read(client, places):
    check(client.query('key'), 'value')
    check_free(places)


def fail_to_write(client, places):
    # This is the first thing that the child does.
    check(client.set('key', 1), None)
    [server] = client._state.store.servers
    check(list(server.undelivered.keys), [client.buildKey('key').encode()])
    check((server.health.failures, server.health.state), (1, 'failing'))
    check_free(places)


def main():
    address = sys.argv[1]
    logging.getLogger('p01.memcache').addHandler(logging.NullHandler())
    classic = make_client('classic', [address])
    pooled = make_client('pooled', [address], maxPoolSize=1)
    dead = make_client('pooled', [f'127.0.0.1:{free_ports(1)[0]}'])
    assert classic.set('key', 'value')
    assert pooled.query('key') == 'value'
    places = find_locks()
    with another_thread(all_of(places)):
        wait(*[fork(work, client, places, by=by)
               for by in (fork_silently, os.fork)
               for work, client in (
                   (read, pooled), (read, classic), (fail_to_write, dead))])
    for client in pooled, classic:
        read(client, places)
    print(len(places))


class ForkTest(unittest.TestCase):

    def test_no_lock_is_taken(self):
        if sys.platform != 'linux':
            self.skipTest('needs the fork of the C library')
        with EmbeddedServer() as server:
            done = subprocess.run(
                [sys.executable, '-W', 'ignore', '-c',
                 f'import {__name__} as test; test.main()', server.address],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertEqual(done.stderr, '')
        # At least that many have been held.
        self.assertGreaterEqual(int(done.stdout), 12)
