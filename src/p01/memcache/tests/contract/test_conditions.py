# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Dependencies of values that are stored under a condition, or many at once;
and removing a value if it is unchanged.
"""

import threading
import unittest
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import ReceiveError
from p01.memcache.tests.contract.matrix import CLASSIC_EMBEDDED
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.matrix import POOLED_FAKE
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.flags import STAMPED


load_tests = run_in(Contract)

WRONG_TOKENS = None, '', 'token', b'1@fake', 1, '@fake', '-1@fake', '1'


class Generations:

    def makeClient(self, **settings):
        return super().makeClient(
            generations=True, namespace='shop', **settings)


class Signed:

    def makeClient(self, **settings):
        with mock.patch.dict('os.environ', SECRETS='abcdefgh' * 8):
            return super().makeClient(
                serializer='signed-pickle', secretsVariable='SECRETS',
                **settings)


CELLS = {'slow': [CLASSIC_EMBEDDED, *MEMCACHED]}


@matrix(CLASSIC_FAKE, POOLED_FAKE, POOLED_EMBEDDED, **CELLS)
@matrix(POOLED_EMBEDDED, mixins=[Generations])
@matrix(POOLED_FAKE, mixins=[Signed])
class DependenciesScenario:

    def stores(self):
        """Yield functions that store a value in another way."""
        client = self.client

        def add(key, value, **kw):
            client.invalidate(key)
            return client.add(key, value, **kw)

        def cas(key, value, **kw):
            client.set(key, 'former')
            return client.cas(key, value, client.gets(key)[1], **kw)

        def replace(key, value, **kw):
            client.set(key, 'former')
            return client.replace(key, value, **kw)

        def many(key, value, **kw):
            return client.setMany({key: value, 'beside': value}, **kw) == []

        return add, cas, replace, many

    def assertMiss(self, key):
        self.assertIs(self.client.query(key, default=MISSING), MISSING)

    def test_invalidated(self):
        other = self.makeClient()
        for store in self.stores():
            for tag in 'a', 'b':
                with self.subTest(store.__name__, tag=tag):
                    self.assertIs(
                        store('key', [1], dependencies=('a', 'b')), True)
                    self.assertEqual(self.client.query('key'), [1])
                    self.assertEqual(other.queryMany(['key']), {'key': [1]})
                    other.invalidateDependencies('c')
                    self.assertEqual(other.query('key'), [1])
                    other.invalidateDependencies(tag)
                    self.assertMiss('key')
                    self.assertEqual(other.queryMany(['key', 'beside']), {})

    def test_none(self):
        for store in self.stores():
            for tags in (), [], set():
                self.assertIs(store('key', [1], dependencies=tags), True)
                self.client.invalidateDependencies('a')
                self.assertEqual(self.client.query('key'), [1])
                if not self.client.generations:
                    self.assertFalse(
                        self.stored(self.client.buildKey('key'))[1] & STAMPED)

    def test_raw(self):
        for store in self.stores():
            self.assertIs(
                store('key', b'raw', raw=True, dependencies=['a']), True)
            self.assertEqual(self.client.query('key', raw=True), b'raw')
            self.client.invalidateDependencies('a')
            self.assertEqual(self.client.query('key', raw=True), None)

    def test_without_effect(self):
        self.client.set('key', 'former')
        token = self.client.gets('key')[1]
        self.assertIs(self.client.add('key', 1, dependencies=['a']), False)
        self.client.set('key', 'newer')
        self.assertIs(
            self.client.cas('key', 1, token, dependencies=['a']), False)
        self.assertIs(
            self.client.replace('none', 1, dependencies=['a']), False)
        self.client.invalidateDependencies('a')
        self.assertEqual(self.client.query('key'), 'newer')

    def test_versions_that_cannot_be_read(self):
        # What would have been replaced must go; what stays may stay.
        for store, left in zip(
                self.stores(), (MISSING, 'former', MISSING, MISSING),
                strict=True):
            with (self.subTest(store.__name__),
                  mock.patch.object(
                      self.client._state.versions, 'current',
                      side_effect=ReceiveError('no'))):
                self.assertFalse(store('key', [1], dependencies=['a']))
            if self.remembers:
                self.assertEqual(
                    self.client.query('key', default=MISSING), left)
            self.assertNotEqual(self.client.query('key'), [1])
            self.client.invalidate('key')

    @property
    def remembers(self):
        """Whether the client remembers what it could not change."""
        return type(self.client) is UltraMemcacheClient

    def test_versions_are_read_once_for_many(self):
        store = self.client._state.store
        with mock.patch.object(
                store, 'get_many', side_effect=store.get_many) as read:
            for _ in range(2):
                self.client.setMany(
                    {number: number for number in range(50)},
                    dependencies=['a', 'b'])
        self.assertLess(read.call_count, 8)
        self.assertEqual(
            self.client.queryMany(range(50)),
            {number: number for number in range(50)})

    def test_too_many(self):
        tags = [f'tag {number}' for number in range(101)]
        for store in self.stores():
            with self.assertRaisesRegex(ValueError, '101 are more than 100'):
                store('key', 1, dependencies=tags)


@matrix(CLASSIC_FAKE, POOLED_FAKE, POOLED_EMBEDDED, **CELLS)
@matrix(POOLED_EMBEDDED, mixins=[Generations])
class UnchangedScenario:

    def test_unchanged(self):
        for raw, value in (False, ['value']), (True, b'value'), (True, b''):
            self.client.set('key', value, raw=raw)
            _, token = self.client.gets('key', raw=raw)
            self.assertIs(self.client.invalidateUnchanged('key', token), True)
            # Nothing is left.
            self.assertEqual(self.client.gets('key'), (None, None))
            self.assertEqual(self.client.queryMany(['key'], raw=True), {})
            self.assertIs(self.client.replace('key', 1), False)
            self.assertIs(self.client.touch('key'), False)
            self.assertIs(self.client.add('key', 1), True)
            self.assertEqual(self.client.query('key'), 1)

    def test_changed(self):
        for change in (
                lambda: self.client.set('key', 2),
                lambda: self.client.replace('key', 1),
                lambda: self.client.append('key', b''),
                lambda: (self.client.invalidate('key'),
                         self.client.add('key', 2))):
            self.client.set('key', 1)
            _, token = self.client.gets('key')
            change()
            former = self.client.query('key')
            self.assertIs(self.client.invalidateUnchanged('key', token), False)
            self.assertEqual(self.client.query('key'), former)

    def test_gone(self):
        self.client.set('key', 1)
        _, token = self.client.gets('key')
        self.client.invalidate('key')
        for _ in range(2):
            self.assertIs(self.client.invalidateUnchanged('key', token), True)

    def test_twice(self):
        self.client.set('key', 1)
        _, token = self.client.gets('key')
        self.client.invalidateUnchanged('key', token)
        self.client.set('key', 2)
        self.assertIs(self.client.invalidateUnchanged('key', token), False)
        self.assertEqual(self.client.query('key'), 2)

    def test_one_of_many(self):
        self.client.set('key', 'value')
        _, token = self.client.gets('key')
        barrier = threading.Barrier(8)

        def work(number):
            barrier.wait(PATIENCE)
            if number % 2:
                return self.client.invalidateUnchanged('key', token)
            return self.client.cas('key', number, token)

        results = at_once(work, range(8))
        stored = [number for number in range(0, 8, 2) if results[number]]
        if stored:
            self.assertEqual(self.client.query('key'), *stored)
            self.assertEqual(results[1::2], [False] * 4)
        else:
            self.assertIsNone(self.client.query('key'))
            self.assertEqual(results[1::2], [True] * 4)

    def test_what_is_being_computed(self):
        self.client.set('key', 1)
        _, token = self.client.gets('key')
        self.client.invalidate('key')
        with self.client.lookUp('key') as found:
            self.assertIs(self.client.invalidateUnchanged('key', token), False)
            self.assertIsNotNone(found.store(2))
        self.assertEqual(self.client.query('key'), 2)

    def test_computed_meanwhile(self):
        # The value that is renewed is removed: what is computed is obsolete.
        def factory():
            self.client.set('key', 'set')
            self.client.invalidateUnchanged('key', self.client.gets('key')[1])
            return 'old'

        self.assertEqual(self.client.getOrCreate('key', factory), 'old')
        self.assertIsNone(self.client.query('key'))

    def test_wrong_tokens(self):
        self.client.set('key', 1)
        for token in WRONG_TOKENS:
            with (self.subTest(token=token),
                  self.assertRaisesRegex(ValueError, 'token')):
                self.client.invalidateUnchanged('key', token)
        _, token = self.client.gets('key')
        number, _, server = token.partition('@')
        self.assertIsNone(
            self.client.invalidateUnchanged('key', f'{number}@elsewhere'))
        with self.assertLogs('p01.memcache') as log:
            self.assertIsNone(
                self.client.invalidateUnchanged('key', f'0@{server}'))
        self.assertIn('has no compare-and-swap', log.output[0])
        self.assertEqual(self.client.query('key'), 1)

    def test_a_lock(self):
        def work(number):
            while not self.client.add('lock', number, 60):
                pass
            within.append(number)
            alone = within == [number]
            within.remove(number)
            holder, token = self.client.gets('lock')
            self.client.invalidateUnchanged('lock', token)
            return alone and holder == number

        within = []
        self.assertEqual(at_once(work, range(8)), [True] * 8)


class DownTest(unittest.TestCase):

    def test_down(self):
        with refusing() as address, self.assertLogs('p01.memcache'):
            for factory in MemcacheClient, UltraMemcacheClient:
                client = factory([address])
                name = address.replace('localhost', '127.0.0.1')
                self.assertIsNone(
                    client.invalidateUnchanged('key', f'1@{name}'))
                client.close()
