# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreateMany`: many values, and one call for those that miss.

What it has in common with `getOrCreate` is tested by `test_split`.
"""

import collections
import itertools
import threading
import unittest
from time import monotonic
from types import MappingProxyType
from unittest import mock

from p01.memcache.errors import SerializationError
from p01.memcache.features.dependencies import Versions
from p01.memcache.testing import ClusterLayer
from p01.memcache.testing import EmbeddedLayer
from p01.memcache.tests.contract.callers import SHORT
from p01.memcache.tests.contract.callers import Callers
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
from p01.memcache.tests.support.waits import soon
from p01.memcache.transport.connection import Connection
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Touch


load_tests = run_in(Contract)


class Counting:
    """A factory for many keys, which keeps what it was asked for."""

    def __init__(self, make=lambda key: f'value of {key}', before=None):
        self.asked = []
        self._make = make
        self._before = before

    def __call__(self, keys):
        self.asked.append(keys)
        if self._before is not None:
            self._before()
        return {key: self._make(key) for key in keys}


def values(*keys):
    return {key: f'value of {key}' for key in keys}


@matrix(CLASSIC_FAKE, POOLED_FAKE, POOLED_EMBEDDED,
        slow=[CLASSIC_EMBEDDED, *MEMCACHED])
class ManyScenario(Callers):

    def setUp(self):
        super().setUp()
        self.other = self.makeClient()

    def assertFree(self, *keys):
        """The next caller, in whichever process, computes them at once."""
        for client in self.client, self.other:
            start = monotonic()
            for key in keys:
                with client.lookUp(key) as found:
                    self.assertFalse(found.isHit)
            self.assertLess(monotonic() - start, 2)

    def test_one_call(self):
        factory = Counting()
        for client in self.client, self.other:
            self.assertEqual(client.getOrCreateMany('a b c'.split(), factory),
                             values('a', 'b', 'c'))
        self.assertEqual(factory.asked, [['a', 'b', 'c']])
        self.assertEqual(
            self.other.queryMany(['a', 'b', 'c']), values('a', 'b', 'c'))

    def test_hits_and_misses(self):
        self.client.setMany({'b': 1, 'd': None})
        factory = Counting()
        found = self.client.getOrCreateMany(
            ['a', 'b', ('c', 1), 'd', 'e'], factory)
        self.assertEqual(found, {
            **values('a', ('c', 1), 'e'), 'b': 1, 'd': None})
        self.assertEqual(list(found), ['a', 'b', ('c', 1), 'd', 'e'])
        self.assertEqual(factory.asked, [['a', ('c', 1), 'e']])

    def test_hits_alone(self):
        self.client.setMany(values('a', 'b'))
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b'], self.fail),
            values('a', 'b'))

    def test_no_keys(self):
        self.assertEqual(self.client.getOrCreateMany([], self.fail), {})

    def test_keys_given_twice(self):
        factory = Counting()
        self.assertEqual(
            self.client.getOrCreateMany(iter('aba'), factory),
            values('a', 'b'))
        self.assertEqual(factory.asked, [['a', 'b']])

    def test_a_thousand(self):
        factory = Counting()
        keys = [f'key {number}' for number in range(1000)]
        for _ in range(2):
            self.assertEqual(
                self.client.getOrCreateMany(keys, factory), values(*keys))
        self.assertEqual(factory.asked, [keys])

    def test_wrong_arguments(self):
        for error, named, arguments in [
                (TypeError, 'factory', (['a'], None)),
                (TypeError, 'keys', ('ab', self.fail)),
                (TypeError, 'cannot be in a dict', ([[]], self.fail)),
                (ValueError, 'the same', ([1, '1'], self.fail)),
                (ValueError, 'lifetime', (['a'], self.fail, -1)),
                (ValueError, 'grace', (['a'], self.fail, 60, -1)),
                (TypeError, 'dependencies', (['a'], self.fail, 60, 1, 'a'))]:
            with (self.subTest(arguments=arguments),
                  self.assertRaisesRegex(error, named)):
                self.client.getOrCreateMany(*arguments)

    # What the factory returns

    def test_what_it_leaves_out(self):
        factory = Counting()
        self.assertEqual(
            self.client.getOrCreateMany(
                ['a', 'b', 'c'],
                lambda keys: {'b': 1, **dict.fromkeys(keys[2:])}),
            {'b': 1, 'c': None})
        self.assertFree('a')
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b'], factory),
            {**values('a'), 'b': 1})
        self.assertEqual(self.client.getOrCreateMany(
            ['x', 'y'], lambda keys: {}), {})

    def test_other_mappings(self):
        for kind in (MappingProxyType, collections.OrderedDict,
                     collections.UserDict):
            self.assertEqual(
                self.client.getOrCreateMany(
                    ['a', 'b'], lambda keys, kind=kind: kind(values(*keys))),
                values('a', 'b'))
            self.client.invalidateMany(['a', 'b'])

    def test_wrong_results(self):
        for error, named, result in (
                (TypeError, 'mapping, not a list', [1, 2]),
                (TypeError, 'mapping, not a NoneType', None),
                (ValueError, "asked for 'c'", {'a': 1, 'c': 1}),
                (ValueError, 'asked for 1', {1: 1}),
                (SerializationError, "'b': a function cannot be", {
                    'b': lambda: 1})):
            with (self.subTest(result=result),
                  self.assertRaisesRegex(error, named)):
                self.client.getOrCreateMany(
                    ['a', 'b'], lambda keys, result=result: result)
            self.assertFree('a', 'b')
        self.assertEqual(self.client._flights, {})

    def test_it_raises(self):
        for error in ValueError, KeyboardInterrupt, GeneratorExit:
            def fail(keys, error=error):
                raise error

            with self.assertRaises(error):
                self.client.getOrCreateMany(['a', 'b'], fail)
            self.assertFree('a', 'b')
        self.assertEqual(self.client._flights, {})

    def test_it_is_interrupted_before_it_computes(self):
        for error in KeyboardInterrupt, GeneratorExit:
            with (mock.patch.object(Versions, 'current', side_effect=error),
                  self.assertRaises(error)):
                self.client.getOrCreateMany(
                    ['a', 'b', 'c'], dict.fromkeys, dependencies=['tag'])
            self.assertFree('a', 'b', 'c')
        self.assertEqual(self.client._flights, {})

    def test_some_are_too_large(self):
        self.client.maxValueSize = 50
        for _ in range(2):
            factory = Counting(lambda key: 'x' * 100 if key == 'b' else key)
            self.assertEqual(
                self.client.getOrCreateMany(['a', 'b'], factory),
                {'a': 'a', 'b': 'x' * 100})
        self.assertEqual(factory.asked, [['b']])

    def test_some_are_unreadable(self):
        self.client.setMany({'a': b'garbage', 'c': b'more'}, raw=True)
        factory = Counting()
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b', 'c'], factory),
            values('a', 'b', 'c'))
        self.assertEqual(factory.asked, [['a', 'b', 'c']])
        self.assertEqual(sum(self.client.getUnreadable().values()), 2)

    # What changes meanwhile

    def test_invalidated_meanwhile(self):
        for client in self.client, self.other:
            factory = Counting(before=lambda client=client: client.invalidate(
                'b'))
            self.assertEqual(
                self.client.getOrCreateMany(['a', 'b'], factory),
                values('a', 'b'))
            self.assertEqual(self.other.queryMany(['a', 'b']), values('a'))
            self.client.invalidateMany(['a', 'b'])

    def test_dependencies(self):
        kw = {'dependencies': ('x', 'y')}
        factory = Counting()
        for _ in range(2):
            self.client.getOrCreateMany(['a', 'b'], factory, **kw)
        self.assertEqual(factory.asked, [['a', 'b']])
        self.other.invalidateDependencies('y')
        self.assertEqual(self.client.queryMany(['a', 'b']), {})
        self.client.getOrCreateMany(['a', 'b'], factory, **kw)
        self.assertEqual(len(factory.asked), 2)
        self.other.invalidateDependencies('x')
        factory = Counting(
            before=lambda: self.other.invalidateDependencies('x'))
        self.client.getOrCreateMany(['a', 'b'], factory, **kw)
        self.assertEqual(self.client.queryMany(['a', 'b']), {})

    def test_generations(self):
        self.client.generations = self.other.generations = True
        factory = Counting()
        for client in self.client, self.other:
            client.getOrCreateMany(['a', 'b'], factory)
        self.client.invalidateNamespace()
        self.other.getOrCreateMany(['a', 'b'], factory)
        self.assertEqual(len(factory.asked), 2)

    def test_grace(self):
        # Those that are stale are computed by the same call.
        self.client.getOrCreateMany(['a', 'b'], Counting(), 100, 60)
        store = self.client._state.store
        for key in 'a', 'b':
            wire = self.client.buildKey(key).encode()
            versions, _ = self.client._state.codec.unstamp(
                *store.get(wire, soon())[:2])
            [fresh] = versions
            store.run(Delete(fresh), soon())
            store.run(Touch(wire, 30), soon())
        factory = Counting(before=lambda: self.assertEqual(
            self.other.getOrCreateMany(['a', 'b'], self.fail, 100, 60),
            values('a', 'b')))
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b', 'c'], factory, 100, 60),
            values('a', 'b', 'c'))
        self.assertEqual(
            [sorted(asked) for asked in factory.asked], [['a', 'b', 'c']])

    # What others compute

    def test_others_compute_some(self):
        theirs = self.other.lookUp('b')
        factory = Counting(before=lambda: theirs.store('theirs'))
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b', 'c'], factory),
            {**values('a', 'c'), 'b': 'theirs'})
        self.assertEqual(factory.asked, [['a', 'c']])

    def test_another_thread_computes_some(self):
        theirs = self.executed(lambda: self.client.lookUp('b'))
        factory = Counting(before=lambda: theirs.store('theirs'))
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b', 'c'], factory),
            {**values('a', 'c'), 'b': 'theirs'})
        self.assertEqual(factory.asked, [['a', 'c']])

    def executed(self, function):
        return self._executor.submit(function).result(PATIENCE)

    def test_others_give_up(self):
        theirs = [self.other.lookUp(key) for key in ('b', 'c')]
        factory = Counting(
            before=lambda: [theirs.pop().release() for _ in theirs[:]])
        self.assertEqual(
            self.client.getOrCreateMany(['a', 'b', 'c'], factory),
            values('a', 'b', 'c'))
        self.assertEqual(factory.asked, [['a'], ['b', 'c']])
        self.assertEqual(
            self.other.queryMany(['a', 'b', 'c']), values('a', 'b', 'c'))

    def test_others_take_too_long(self):
        keys = [f'key {number}' for number in range(20)]
        theirs = [self.other.lookUp(key) for key in keys]
        kind, factory = type(self.client), Counting()
        former = vars(kind).get('_timeout', MISSING)
        kind._timeout = SHORT
        try:
            start = monotonic()
            found = self.client.getOrCreateMany(['a', *keys], factory)
            took = monotonic() - start
        finally:
            if former is MISSING:
                del kind._timeout
            else:
                kind._timeout = former
        self.assertEqual(found, values('a', *keys))
        # One time-out in all, not for each; and one call for all of them.
        self.assertGreater(took, SHORT / 2)
        self.assertLess(took, 10 * SHORT)
        self.assertEqual(factory.asked, [['a'], keys])
        self.assertEqual(
            [found.store('late') for found in theirs], [None] * 20)
        self.assertEqual(self.client.query('key 0'), 'value of key 0')

    def test_two_that_need_each_others(self):
        # Neither waits for the other before it has computed its own.
        barrier = threading.Barrier(2)

        def factory(keys):
            barrier.wait(PATIENCE)
            return values(*keys)

        def call(client, keys):
            return client.getOrCreateMany(keys, factory)

        start = monotonic()
        one = self._executor.submit(call, self.client, ['a', 'b', 'x'])
        other = self._executor.submit(call, self.other, ['y', 'b', 'a'])
        self.assertEqual(one.result(PATIENCE), values('a', 'b', 'x'))
        self.assertEqual(other.result(PATIENCE), values('y', 'b', 'a'))
        self.assertLess(monotonic() - start, 2)

    def test_many_threads(self):
        # Each key is computed once, whatever the order.
        keys, counts = 'abcdefgh', collections.Counter()
        lock, barrier = threading.Lock(), threading.Barrier(16)

        def factory(asked):
            with lock:
                counts.update(asked)
            return values(*asked)

        def call(number):
            wanted = [*itertools.islice(
                itertools.cycle(keys), number % 8, number % 8 + 5)]
            barrier.wait(PATIENCE)
            client = self.client if number % 2 else self.other
            return client.getOrCreateMany(
                wanted, factory) == values(*wanted)

        self.assertEqual(
            list(self._executor.map(call, range(16))), [True] * 16)
        self.assertEqual(counts, dict.fromkeys(keys, 1))
        self.assertEqual(
            (self.client._flights, self.other._flights), ({}, {}))


class RoundTripsTest(Callers, unittest.TestCase):

    layer = EmbeddedLayer

    def count(self, function):
        with mock.patch.object(
                Connection, 'send', autospec=True,
                side_effect=Connection.send) as send:
            function()
        return send.call_count

    def test_round_trips(self):
        client = UltraMemcacheClient([self.layer.address])
        self.addCleanup(client.close)
        client.invalidateAll()
        client.getOrCreate('another', int)
        keys = [f'key {number}' for number in range(200)]
        # One to look, one for the rights, and one to store the values.
        self.assertEqual(self.count(
            lambda: client.getOrCreateMany(keys, Counting())), 3)
        self.assertEqual(self.count(
            lambda: client.getOrCreateMany(keys, self.fail)), 1)
        pages = UltraMemcacheClient(
            [self.layer.address], namespace='pages', generations=True)
        self.addCleanup(pages.close)
        tags = {'dependencies': ['b']}
        for each in client, pages:
            each.getOrCreate('a tagged one', int, **tags)
        # As getOrCreate for one of them, see invalidation.txt.
        for each, kw, costs in (
                (client, {}, [3, 1]), (pages, {}, [4, 1]),
                (client, tags, [4, 2])):
            keys = [f'{number} {kw}' for number in range(50)]
            self.assertEqual(
                [self.count(lambda each=each, keys=keys, kw=kw:
                            each.getOrCreateMany(keys, Counting(), **kw))
                 for _ in range(2)], costs)
        # The versions are read, and made, once for all.
        self.assertEqual(self.count(
            lambda: client.getOrCreateMany(
                [f'tagged {number}' for number in range(9)], Counting(),
                dependencies=['a'])), 5)


class ServersTest(Callers, unittest.TestCase):
    """Several servers, of which some are down."""

    layer = ClusterLayer
    level = 2

    def test_three(self):
        client = UltraMemcacheClient(self.layer.addresses)
        self.addCleanup(client.close)
        client.invalidateAll()
        keys = [f'key {number}' for number in range(100)]
        factory = Counting()
        for _ in range(2):
            self.assertEqual(
                client.getOrCreateMany(keys, factory), values(*keys))
        self.assertEqual(factory.asked, [keys])

    def test_one_is_down(self):
        with refusing() as address:
            client = UltraMemcacheClient(
                [*self.layer.addresses, address], timeout=1)
            self.addCleanup(client.close)
            keys = [f'key {number}' for number in range(100)]
            client.invalidateMany(keys)
            for _ in range(3):
                factory = Counting()
                self.assertEqual(
                    client.getOrCreateMany(keys, factory), values(*keys))
            # Those of the server that is down are computed each time.
            [asked] = factory.asked
            self.assertLess(len(asked), 60)
            self.assertGreater(len(asked), 5)


class DownTest(Callers, unittest.TestCase):

    def test_without_a_server(self):
        with refusing() as address:
            client = UltraMemcacheClient([address], timeout=PATIENCE)
            factory = Counting()
            for _ in range(2):
                self.assertEqual(
                    client.getOrCreateMany(['a', 'b'], factory),
                    values('a', 'b'))
            self.assertEqual(factory.asked, [['a', 'b']] * 2)
            theirs = self._executor.submit(
                client.lookUp, 'a').result(PATIENCE)
            ends = [lambda: theirs.store('theirs')]
            factory = Counting(before=lambda: ends and ends.pop()())
            self.assertEqual(
                client.getOrCreateMany(['a', 'b'], factory), values('a', 'b'))
            self.assertEqual(factory.asked, [['b'], ['a']])
            client.close()
