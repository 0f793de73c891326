# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`lookUp`: a value, or the right to compute it, in the hands of a caller.

What it has in common with `getOrCreate` is tested by `test_split`.
"""

import contextlib
import gc
import os
import threading
import unittest
import warnings
from time import monotonic

import zope.component
from zope.interface.verify import verifyObject
from zope.security.checker import ProxyFactory
from zope.security.interfaces import ForbiddenAttribute

from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import ILookUp
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.tests.contract.callers import SHORT
from p01.memcache.tests.contract.callers import Callers
from p01.memcache.tests.contract.callers import Factory
from p01.memcache.tests.contract.matrix import CLASSIC_EMBEDDED
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.matrix import POOLED_FAKE
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.tests.support.zcml import logIn
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Contract)


@matrix(CLASSIC_FAKE, POOLED_FAKE, POOLED_EMBEDDED,
        slow=[CLASSIC_EMBEDDED, *MEMCACHED])
class LookUpScenario(Callers):

    def setUp(self):
        super().setUp()
        self.other = self.makeClient()

    def assertFree(self, key='key'):
        """The next caller, in whichever process, computes at once."""
        for client in self.client, self.other:
            start = monotonic()
            with client.lookUp(key) as found:
                self.assertFalse(found.isHit)
            self.assertLess(monotonic() - start, 2)

    def assertTaken(self, key='key'):
        """Another caller waits, and then computes as well."""
        with self.impatient(self.other):
            start = monotonic()
            found = self.other.lookUp(key)
            self.assertGreater(monotonic() - start, SHORT / 2)
        self.assertFalse(found.isHit)

    @contextlib.contextmanager
    def impatient(self, client, seconds=SHORT):
        former = type(client).__dict__.get('_timeout', MISSING)
        type(client)._timeout = seconds
        try:
            yield
        finally:
            if former is MISSING:
                del type(client)._timeout
            else:
                type(client)._timeout = former

    def in_thread(self, function):
        result = []
        thread = threading.Thread(target=lambda: result.append(function()))
        thread.start()
        thread.join(PATIENCE)
        return result[0]

    def test_the_interface(self):
        found = self.client.lookUp('key')
        self.assertTrue(verifyObject(ILookUp, found))
        found.store(1)
        self.assertTrue(verifyObject(ILookUp, self.client.lookUp('key')))

    def test_a_miss_and_a_hit(self):
        for value in 'value', None, False, 0, b'':
            found = self.client.lookUp('key')
            self.assertIs(found.isHit, False)
            self.assertIsNone(found.value)
            self.assertEqual(found.store(value), self.client.buildKey('key'))
            for client in self.client, self.other:
                found = client.lookUp('key')
                self.assertIs(found.isHit, True)
                self.assertEqual(found.value, value)
                self.assertEqual(client.query('key', default=MISSING), value)
            self.client.invalidate('key')

    def test_wrong_arguments(self):
        for error, arguments in [
                (ValueError, ('key', -1)), (ValueError, ('key', 60, -1)),
                (ValueError, ('key', True)), (TypeError, ('key', 6, 1, 'a')),
                (TypeError, ('key', 60, 1, [b'a']))]:
            with self.subTest(arguments), self.assertRaises(error):
                self.client.lookUp(*arguments)

    # It ends once

    def test_ended_twice(self):
        for first in 'store', 'release':
            for second in 'store', 'release':
                found = self.client.lookUp('key')
                for end, error in (first, None), (second, RuntimeError):
                    arguments = (1,) if end == 'store' else ()
                    with (self.assertRaisesRegex(error, 'has ended')
                          if error else contextlib.nullcontext()):
                        getattr(found, end)(*arguments)
                self.assertEqual(
                    self.client.query('key'), 1 if first == 'store' else None)
                self.client.invalidate('key')

    def test_a_hit_has_ended(self):
        self.client.set('key', 1)
        with self.client.lookUp('key') as found:
            with self.assertRaisesRegex(RuntimeError, 'store.*is a hit'):
                found.store(2)
            with self.assertRaisesRegex(RuntimeError, 'release.*is a hit'):
                found.release()
        self.assertEqual(self.client.query('key'), 1)

    def test_ended_by_many_threads(self):
        found = self.client.lookUp('key')
        barrier, ended = threading.Barrier(8), []

        def end(number):
            barrier.wait(PATIENCE)
            with contextlib.suppress(RuntimeError):
                ended.append((number, found.store(number)))

        list(self._executor.map(end, range(8)))
        [(number, built)] = ended
        self.assertEqual(built, self.client.buildKey('key'))
        self.assertEqual(self.client.query('key'), number)

    # It is stored, or not

    def test_changed_meanwhile(self):
        for client in self.client, self.other:
            for change in (
                    lambda client=client: client.invalidate('key'),
                    lambda client=client: client.set('key', 'set'),
                    lambda client=client: client.invalidateAll()):
                found = self.client.lookUp('key')
                change()
                self.assertIsNone(found.store('old'))
                self.assertNotEqual(self.client.query('key'), 'old')
                self.client.invalidate('key')

    def test_a_dependency_changed_meanwhile(self):
        found = self.client.lookUp('key', dependencies=['a'])
        self.other.invalidateDependencies('a')
        found.store('old')
        self.assertIs(self.client.query('key', default=MISSING), MISSING)

    def test_another_was_faster(self):
        slow = self.client.lookUp('key')
        with self.impatient(self.other, 1):
            fast = self.other.lookUp('key')
        self.assertIsNotNone(fast.store('fast'))
        self.assertIsNone(slow.store('slow'))
        self.assertEqual(self.client.query('key'), 'fast')

    def test_what_cannot_be_stored(self):
        for value, error in ((lambda: 1), SerializationError), (
                'x' * 100, None):
            self.client.maxValueSize = 50
            found = self.client.lookUp('key')
            if error:
                self.assertRaises(error, found.store, value)
            else:
                self.assertIsNone(found.store(value))
            self.assertRaises(RuntimeError, found.store, 1)
            self.assertFree()

    def test_its_time(self):
        found = self.client.lookUp('key', 100, 60)
        found.store('old')
        self.assertTrue(self.other.lookUp('key', 100, 60).isHit)

    def test_others_get_it(self):
        found = self.client.lookUp('key')
        others = self.waiting(self.client, 8, Factory('never'))
        found.store('value')
        self.assertEqual(self.results(others), ['value'] * 8)

    # It is released

    def test_released(self):
        self.client.lookUp('key').release()
        self.assertFree()

    def test_dropped(self):
        found = self.client.lookUp('key')
        self.assertTaken()
        del found
        self.assertFree()

    def test_never_kept(self):
        self.client.lookUp('key')
        self.assertFree()

    def test_dropped_in_a_cycle(self):
        found = self.client.lookUp('key')
        cycle = [found]
        cycle.append(cycle)
        del found, cycle
        gc.collect()
        self.assertFree()

    def test_its_thread_is_gone(self):
        local = threading.local()

        def look():
            local.found = self.client.lookUp('key')
            return local.found.isHit

        self.assertFalse(self.in_thread(look))
        self.assertFree()

    def test_the_end_of_the_block(self):
        with self.client.lookUp('key') as found:
            pass
        self.assertRaises(RuntimeError, found.release)
        self.assertFree()
        with self.client.lookUp('key') as found:
            found.store(1)
        self.assertEqual(self.client.query('key'), 1)

    def test_an_exception(self):
        for error in ValueError, KeyboardInterrupt, GeneratorExit:
            with self.assertRaises(error), self.client.lookUp('key') as found:
                raise error
            self.assertFree()
            self.assertRaises(RuntimeError, found.store, 1)

    def test_an_exception_without_a_block(self):
        def fail():
            found = self.client.lookUp('key')
            raise ValueError(found.isHit)

        self.assertRaises(ValueError, fail)
        self.assertFree()

    # Threads

    def test_the_same_thread(self):
        found = self.client.lookUp('key')
        for _ in range(2):
            with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                self.client.lookUp('key')
            with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                self.client.getOrCreate('key', int)
            with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                self.client.getOrCreateMany(['a', 'key'], dict.fromkeys)
        found.store(1)
        self.assertTrue(self.client.lookUp('key').isHit)
        self.assertFree('a')

    def test_other_keys(self):
        with self.client.lookUp('a') as one, self.client.lookUp('b') as two:
            self.assertEqual((one.isHit, two.isHit), (False, False))
            one.store(1)
            two.store(2)
        self.assertEqual(
            self.client.queryMany(['a', 'b']), {'a': 1, 'b': 2})

    def test_another_thread_ends_it(self):
        found = self.client.lookUp('key')
        self.assertIsNotNone(self.in_thread(lambda: found.store(1)))
        self.assertEqual(self.client.query('key'), 1)
        self.client.invalidate('key')
        found = self.client.lookUp('key')
        self.in_thread(found.release)
        self.assertFree()

    def test_another_thread_with_the_same_number(self):
        # It must not be taken for the one that looked.
        found = self.in_thread(lambda: self.client.lookUp('key'))
        self.assertFalse(found.isHit)
        with self.impatient(self.client):
            for _ in range(4):
                self.assertFalse(self.in_thread(
                    lambda: self.client.lookUp('key').isHit))
        found.release()

    def test_64_threads(self):
        barrier, computed = threading.Barrier(64), []

        def look(number):
            barrier.wait(PATIENCE)
            with self.client.lookUp('key') as found:
                if found.isHit:
                    return found.value
                computed.append(number)
                if len(computed) == 1:
                    return None  # it gives up
                found.store(['value'])
                return ['value']

        values = list(self._executor.map(look, range(64)))
        self.assertEqual(values.count(['value']), 63)
        self.assertEqual(len(computed), 2)
        self.assertEqual(self.client._flights, {})

    # Forks

    def in_child(self, function):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            pid = os.fork()
        if not pid:
            status = 1
            try:
                with contextlib.suppress(BaseException):
                    function()
                    status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @unittest.skipUnless(hasattr(os, 'fork'), 'without fork')
    def test_a_forked_child_releases_nothing(self):
        found = self.client.lookUp('key')
        kept = [found]

        def drop():
            kept.pop().release()

        del found
        self.assertEqual(self.in_child(kept.clear), 0)
        self.assertEqual(self.in_child(drop), 0)
        self.assertIsNotNone(kept[0].store('value'))
        self.assertEqual(self.client.query('key'), 'value')


class DownTest(Callers, unittest.TestCase):
    """There is no server."""

    def test_one_at_a_time(self):
        with refusing() as address:
            client = UltraMemcacheClient([address], timeout=PATIENCE)
            found = client.lookUp('key')
            self.assertFalse(found.isHit)
            others = self.waiting(client, 4, Factory('never'))
            self.assertIsNone(found.store('value'))
            self.assertEqual(self.results(others), ['value'] * 4)
            client.lookUp('key').release()
            self.assertEqual(client._flights, {})
            client.close()


class SecurityTest(ZCMLTestCase):
    """Those that may look up may use what they get."""

    def test_permissions(self):
        load('''
            <include package="zope.security" />
            <p01:memcache factory="p01.memcache.testing.FakeMemcacheClient"
                writePermission="zope.View" />''')
        logIn('zope.View')
        client = ProxyFactory(zope.component.getUtility(IMemcacheClient))
        found = client.lookUp('key')
        self.assertFalse(found.isHit)
        self.assertIsNotNone(found.store('value'))
        found = client.lookUp('key')
        self.assertEqual((found.isHit, found.value), (True, 'value'))
        for name in '_computation', '_rights':
            with (self.subTest(name),
                  self.assertRaises(ForbiddenAttribute)):
                getattr(found, name)
