# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values that cannot be stored, or cannot be read."""

import contextlib
import pickle
import random
import sys
import threading
import time
import types
from unittest import mock

from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import OnMemcached
from p01.memcache.tests.faults.case import ScriptedCase
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.values import Thrower
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import DAY
from p01.memcache.tests.support.waits import PATIENCE


load_tests = run_in(Replies)


class ServerErrorTest(ScriptedCase):
    """Fault 18: SERVER_ERROR: nothing is stored, the connection is kept."""

    def test_refused(self):
        for reason in (b'out of memory storing object',
                       b'object too large for cache', b'',
                       b'out of memory writing get response'):
            with self.subTest(reason):
                answer = b'SERVER_ERROR ' + reason + b'\r\n'
                self.check_read(answer, opened=1)
                self.check(
                    lambda client: client.set('key', 1), answer, opened=1)

    def test_no_failure_of_the_server(self):
        self.server.answers.extend([b'SERVER_ERROR out of memory\r\n'] * 9)
        client = self.client(self.server.address, retries=1, blacktime=60)
        for _ in range(3):
            self.assertIsNone(client.query('key'))
            self.assertIsNone(client.set('key', 1))
        self.assertRight(client)

    def test_the_old_value_is_removed(self):
        self.server.answers.append(b'SERVER_ERROR out of memory\r\n')
        key = self.direct.buildKey('key').encode()
        self.assertIsNone(self.direct.set('key', 1))
        self.assertEqual(
            self.server.requests[-1], b'delete %b\r\n' % key)


class ServerErrorOnMemcachedTest(OnMemcached, FaultCase):
    """Fault 18: out of memory."""

    # Answer with an error instead of evicting.
    options = '-M', '-m', '8'

    def test_out_of_memory(self):
        client = self.client(timeout=PATIENCE, retries=1, blacktime=60)
        self.fill()
        keys = [f'large {number}' for number in range(100)]
        self.fill(*keys)
        stored = {}
        for key in keys:
            value = self.value(key) * 4000
            if not client.set(key, value, raw=True):
                break
            stored[key] = value
        else:
            self.fail('It has stored more than it has memory for.')
        self.assertTrue(stored)
        # Values that could not be replaced are gone, all others remain.
        self.assertIsNone(client.query(key, raw=True))
        for key, value in stored.items():
            self.assertEqual(client.query(key, raw=True), value)
        self.assertRight(client)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)


@variant('OnMemcached', OnMemcached)
class TooLargeTest(FaultCase):
    """Fault 19: a value above the item limit."""

    def test_too_large(self):
        client = self.client(timeout=PATIENCE, retries=1, blacktime=60)
        self.fill()
        self.assertTrue(client.set('key', b'old', raw=True))
        for size in 1 << 20, 5_000_000:
            with self.subTest(size=size):
                self.fill('key')
                # Such a failure is logged only once in a while.
                client._trouble._logged.clear()
                with self.assertLogs('p01.memcache', 'WARNING') as logs:
                    self.assertIsNone(
                        client.set('key', bytes(size), raw=True))
                self.assertIn(str(size), logs.output[0])
                self.assertIsNone(client.query('key', raw=True))
                self.assertRight(client)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)


class Hidden(BaseException):
    """Not an `Exception`, as a greenlet's time-out is not one."""


class BadPickleTest(FaultCase):
    """Fault 25: unpicklable data, and pickles that cannot be read."""

    def setUp(self):
        super().setUp()
        self.fill()
        self.user = self.client(timeout=PATIENCE)

    def assertIntact(self):
        self.assertRight(self.user)
        self.assertEqual(self.user.getPools()[0][1], {
            'active': 0, 'idle': 1, 'opened': 1})

    def test_not_picklable(self):
        class Local:
            pass

        class Broken:
            def __reduce__(self):
                raise RuntimeError('not today')

        deep = []
        for _ in range(100_000):
            deep = [deep]
        for data in (lambda: None, threading.Lock(), Local(), Broken(),
                     deep, (i for i in ())):
            with self.subTest(type(data)), self.assertRaises(ValueError):
                self.user.set('key', data)
        self.assertRight(self.user)
        self.assertIntact()

    def test_broken_pickles(self):
        good = pickle.dumps([{'a': 1.5}, ('b', b'c', {2, 3}), 'd' * 50])
        rng = random.Random(25)
        for number in range(1000):
            broken = bytearray(good)
            if number % 2:
                broken[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            else:
                del broken[rng.randrange(len(good)):]
            if pickle.BYTEARRAY8 in broken:
                # The interpreter prints a SystemError when one is broken.
                continue
            self.direct.set('key', bytes(broken), raw=True)
            miss = object()
            result = self.user.query('key', default=miss)
            try:
                expected = pickle.loads(bytes(broken))
            except Exception:
                self.assertIs(result, miss)
            else:
                # With a flipped bit in a text it is still a pickle.
                self.assertEqual(repr(result), repr(expected))
        self.assertIntact()

    def test_missing_class(self):
        module = types.ModuleType('p01_memcache_gone')
        gone = type('Gone', (), {'__module__': module.__name__})
        module.Gone = gone
        with mock.patch.dict(sys.modules, {module.__name__: module}):
            self.assertTrue(self.user.set('module', gone()))
            self.assertTrue(self.user.set('class', gone()))
            self.assertIsInstance(self.user.query('class'), gone)
            del module.Gone
            self.assertIsNone(self.user.query('class'))
        self.assertEqual(self.user.query('module', default=0), 0)
        self.assertIntact()

    def test_raises_while_unpickling(self):
        for error in (Exception(), RecursionError(), MemoryError(),
                      SystemError(), StopIteration(), OSError(),
                      UnicodeDecodeError('utf-8', b'', 0, 0, '')):
            with self.subTest(error):
                self.assertTrue(self.user.set('key', Thrower(error)))
                self.assertEqual(self.user.query('key', default=0), 0)
        self.assertIntact()

    def test_a_base_exception_while_unpickling(self):
        # A miss, or it propagates: an exception raised by the pickle cannot be
        # told from a greenlet's time-out.
        for error in Hidden, KeyboardInterrupt, SystemExit, GeneratorExit:
            with self.subTest(error):
                self.assertTrue(self.user.set('key', Thrower(error())))
                with contextlib.suppress(error):
                    self.assertEqual(self.user.query('key', default=0), 0)
        self.assertIntact()


class LifetimeTest(FaultCase):
    """Fault 27: lifetimes."""

    def test_valid_lifetimes(self):
        # A fraction is rounded up: 0 would be for ever.
        for lifetime in (0, 0.0, 1.5, 0.999, 0.25, 30 * DAY, 30 * DAY + 1,
                         31 * DAY, 365 * DAY, None):
            with self.subTest(lifetime=lifetime):
                self.assertTrue(self.direct.set('key', lifetime, lifetime))
                self.assertEqual(
                    self.direct.query('key', default=self), lifetime)
                self.direct.invalidate('key')

    def test_wrong_lifetimes(self):
        for lifetime in (-1, -0.5, float('nan'), float('inf'),
                         float('-inf'), True, False, 2 ** 40, 10 ** 400,
                         '60', b'60', '0\r\nflush_all', 1j, object(), []):
            with self.subTest(lifetime=lifetime):
                self.fill('key')
                exchanges = self.proxy.exchanges
                client = self.client()
                with self.assertRaises((ValueError, TypeError)):
                    client.set('key', 'new', lifetime)
                self.assertEqual(self.proxy.exchanges, exchanges)
                self.assertEqual(
                    self.direct.query('key', raw=True), self.value('key'))


class LifetimeOnMemcachedTest(OnMemcached, LifetimeTest):

    def test_lifetimes_end(self):
        for lifetime in 0.25, 1.5:
            self.assertTrue(self.direct.set(lifetime, 'value', lifetime))
        self.assertTrue(self.direct.set(0, 'value', lifetime=0))
        # memcached's clock ticks once a second.
        time.sleep(3.5)
        for lifetime in 0.25, 1.5:
            self.assertIsNone(self.direct.query(lifetime))
        self.assertEqual(self.direct.query(0), 'value')


class LifetimeWireTest(ScriptedCase):

    def test_what_is_sent(self):
        for lifetime, exptime in [
                (0, 0), (0.25, 1), (1.5, 2), (60, 60),
                (30 * DAY, 30 * DAY)]:
            self.direct.set('key', 1, lifetime)
            self.assertEqual(self.sent(), exptime)
        # More than 30 days is sent as a unix time; else it would be in 1970.
        before = int(time.time())
        for lifetime in 30 * DAY + 1, 31 * DAY:
            self.direct.set('key', 1, lifetime)
            self.assertLessEqual(before + lifetime, self.sent())
            self.assertLess(self.sent(), before + lifetime + 60)

    def sent(self):
        return int(self.server.requests[-1].split()[3])
