# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Regions: clients within a client."""

import copy
import gc
import threading
import unittest
import weakref

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from zope.interface.verify import verifyObject

from p01.memcache.decorator import cached
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.facade.deriving import derive
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import getFakeBackend
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
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Contract)


@cached()
def called(argument):
    return argument


@matrix(CLASSIC_FAKE, POOLED_FAKE, POOLED_EMBEDDED,
        slow=[CLASSIC_EMBEDDED, *MEMCACHED])
class RegionsScenario:

    def setUp(self):
        super().setUp()
        self.client.namespace = 'shop'
        self.region = self.client.region('pages')

    def assertMiss(self, client, key='key'):
        self.assertIs(client.query(key, default=MISSING), MISSING)

    def family(self):
        yield self.client
        yield from (self.client.region(name) for name in (
            'a', 'ab', 'b', 'a/b', '1', 'p', '\xfc'))
        for names in ('a', 'b'), ('a', 'bc'), ('ab', 'c'), ('a', 'b', 'c'):
            client = self.client
            for name in names:
                client = client.region(name)
            yield client

    def test_the_interface(self):
        self.assertTrue(verifyObject(self.interface, self.region))
        self.assertIs(type(self.region), type(self.client))
        self.assertRegex(repr(self.region.region('a')),
                         "^<.*, region 'pages', region 'a'>$")

    def test_values_of_its_own(self):
        clients = list(self.family())
        for number, client in enumerate(clients):
            client.set('key', number)
        for number, client in enumerate(clients):
            self.assertEqual(client.query('key'), number)
        self.assertEqual(self.client.region('ab').query('key'), 2)
        self.client.region('ab').invalidate('key')
        self.assertEqual(
            [client.query('key', default=MISSING) for client in clients],
            [0, 1, MISSING, *range(3, len(clients))])

    def test_keys_that_never_collide(self):
        keys = ['key', b'key', 1, ('key',), None, called.key(1)]
        for scheme in 'compatible', 'strict':
            self.client.keyScheme = scheme
            for key in keys:
                built = [client.buildKey(key) for client in self.family()]
                self.assertEqual(len(set(built)), len(built))
                for name in built[1:]:
                    self.assertRegex(name, '^[0-9a-f]{64}$')

    def test_no_text_is_a_key_of_a_region(self):
        # Not even what is hashed.
        built = self.region.buildKey('key')
        for head in (
                b'2:4:shop5:pages', b'shop2:4:shop5:pages', b'pages', b'shop'):
            for scheme in 'compatible', 'strict':
                self.client.keyScheme = scheme
                self.assertNotEqual(self.client.buildKey(head + b'key'), built)

    def test_what_is_hashed_may_be_the_same(self):
        # But not by the same function.
        self.client.namespace = 's11:'
        region = self.client.region('pages')
        built = region.buildKey('keyx')
        other = self.makeClient(namespace='4:', keyScheme='strict')
        self.assertNotEqual(other.buildKey('5:pageskeyx'), built)

    def test_its_scheme(self):
        one, other = (self.client.region('a', keyScheme=scheme)
                      for scheme in ('compatible', 'strict'))
        self.assertEqual(one.buildKey(1), one.buildKey('1'))
        self.assertNotEqual(other.buildKey(1), other.buildKey('1'))
        self.assertNotEqual(one.buildKey('1'), other.buildKey('1'))
        with self.assertRaises(TypeError):
            other.buildKey(object())
        # A function's call has the same key in both.
        self.assertEqual(
            one.buildKey(called.key(1)), other.buildKey(called.key(1)))

    def test_all_at_once(self):
        self.assertEqual(
            self.region.setMany({'a': 1, ('b', 2): 2, b'c': 3}), [])
        self.assertEqual(self.region.queryMany(['a', ('b', 2), b'c', 'd']),
                         {'a': 1, ('b', 2): 2, b'c': 3})
        self.assertEqual(self.client.queryMany(['a', ('b', 2), b'c']), {})

    # Settings

    def test_settings_of_its_own(self):
        region = self.client.region(
            'a', lifetime=7, keyScheme='strict', generations=True)
        self.assertEqual(
            (region.lifetime, region.keyScheme, region.generations),
            (7, 'strict', True))
        self.client.lifetime = 9
        self.assertEqual((region.lifetime, self.region.lifetime), (7, 9))
        region.lifetime = 8
        self.region.lifetime = 6
        self.client.lifetime = 5
        self.assertEqual(
            (region.lifetime, self.region.lifetime, self.client.lifetime),
            (8, 6, 5))
        region.generations = False
        region.set('key', 1)
        self.assertIsNotNone(self.stored(region.buildKey('key')))
        self.assertRaises(ValueError, region.invalidateNamespace)

    def test_the_clients_settings(self):
        inner = self.region.region('inner')
        for name, value in (
                ('debug', 1), ('pickleProtocol', 2), ('maxValueSize', 50),
                ('compress', 10), ('namespace', 'other'),
                ('serializer', 'json')):
            with self.subTest(name):
                setattr(self.client, name, value)
                self.assertEqual(getattr(self.region, name), value)
                self.assertEqual(getattr(inner, name), value)
        self.assertIsNone(inner.set('key', 'x' * 100))
        built = inner.set('key', [1])
        self.assertEqual(self.stored(built)[0], b'[1]')

    def test_setting_one_of_the_clients(self):
        inner = self.region.region('inner')
        inner.serializer = 'json'
        inner.debug = 1
        for client in self.client, self.region, inner:
            self.assertEqual((client.serializer, client.debug), ('json', 1))

    def test_wrong_settings(self):
        for error, arguments in (
                (TypeError, (None,)), (TypeError, (b'a',)), (TypeError, (1,)),
                (ValueError, ('',)), (ValueError, ('\ud800',)),
                (ValueError, ('a', -1)), (TypeError, ('a', 'x')),
                (ValueError, ('a', 1, 'x')), (ValueError, ('a', 1, 7)),
                (TypeError, ('a', 1, 'strict', 'yes'))):
            with self.subTest(arguments), self.assertRaises(error):
                self.client.region(*arguments)
        for name, value in ('lifetime', -1), ('keyScheme', 'x'):
            with self.assertRaisesRegex(ValueError, name):
                setattr(self.region, name, value)
        with self.assertRaisesRegex(ValueError, 'debug'):
            self.region.debug = -1
        self.assertEqual(
            (self.region.lifetime, self.region.keyScheme, self.region.debug),
            (3600, 'compatible', 0))
        self.assertIsNotNone(self.region.set('key', 1))

    def test_a_namespace_changes(self):
        self.region.set('key', 1)
        self.client.namespace = 'other'
        self.assertMiss(self.region)
        self.client.namespace = 'shop'
        self.assertEqual(self.region.query('key'), 1)

    def test_copies(self):
        for client in self.client, self.region:
            client.set('key', 1)
            other = copy.copy(client)
            self.assertEqual(other.query('key'), 1)
        self.client.lifetime = 5
        self.assertEqual(other.lifetime, 5)

    def test_it_is_not_kept(self):
        region = self.client.region('gone')
        inner = region.region('inner')
        reference = weakref.ref(region)
        del region
        gc.collect()
        self.assertIsNotNone(reference())  # the inner one follows it
        self.client.lifetime = 5
        self.assertEqual(inner.lifetime, 5)
        del inner
        gc.collect()
        self.assertIsNone(reference())
        self.client.lifetime = 6

    def test_settings_change_while_regions_are_made(self):
        stop, wrong = threading.Event(), []

        def make():
            regions = []
            while not stop.is_set():
                regions = [*regions[-20:], self.client.region('a')]
            regions.append(self.client.region('a'))
            wrong.extend(
                region for region in regions if region.lifetime != 50)

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for lifetime in range(1, 51):
            self.client.lifetime = lifetime
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    # What is invalidated

    def test_generations(self):
        clients = self.client, self.region, self.client.region('a')
        self.client.generations = True
        for client in clients:
            for each in clients:
                each.set('key', 1)
            client.invalidateNamespace()
            self.assertMiss(client)
            self.assertEqual(
                [each.query('key') for each in clients if each is not client],
                [1, 1])

    def test_dependencies(self):
        inner = self.client.region('a', keyScheme='strict').region('b')
        clients = self.client, self.region, inner
        for client in clients:
            for number, each in enumerate(clients):
                each.set('key', number, dependencies=['user'])
                self.assertEqual(each.query('key'), number)
            client.invalidateDependencies('user')
            for each in clients:
                self.assertMiss(each)

    def test_a_dependency_while_it_is_computed(self):
        for client in self.client, self.region:
            def factory(client=client):
                client.invalidateDependencies('user')
                return 'old'

            self.region.getOrCreate('key', factory, dependencies=['user'])
            self.assertMiss(self.region)

    def test_everything(self):
        self.region.set('key', 1)
        self.client.invalidateAll()
        self.assertMiss(self.region)

    def test_computed_once_for_each(self):
        for client in self.client, self.region:
            calls = []
            for _ in range(2):
                client.getOrCreate('key', lambda calls=calls: calls.append(1))
            self.assertEqual(calls, [1])

        def factory():
            return self.region.getOrCreate('other', lambda: 'inner')

        self.assertEqual(self.client.getOrCreate('other', factory), 'inner')


# Few characters, so that some of the cases are alike.
LETTERS = 'a1:\xe9'
names = strategies.text(LETTERS, min_size=1, max_size=3)
keys = strategies.text(LETTERS, max_size=4).flatmap(
    lambda text: strategies.sampled_from((text, text.encode(), len(text))))


class CollisionsTest(unittest.TestCase):
    """Namespace, names and key, each different, make different keys."""

    @settings(deadline=None, max_examples=300)
    @given(strategies.lists(strategies.tuples(
        strategies.none() | names, strategies.lists(names, max_size=3),
        strategies.sampled_from(('compatible', 'strict')), keys),
        min_size=2, max_size=6))
    def test_no_collisions(self, cases):
        built = {}
        for namespace, path, scheme, key in cases:
            client = FakeMemcacheClient(
                namespace=namespace, keyScheme=scheme)
            for name in path:
                client = client.region(name)
            base = key
            if scheme == 'compatible':
                base = (key.encode() if isinstance(key, str)
                        else b'%d' % key if isinstance(key, int) else key)
            if not path and scheme == 'compatible':
                what = (namespace or '').encode() + base
            else:
                what = namespace or '', *path, scheme, type(base), base
            name = client.buildKey(key)
            self.assertEqual(built.setdefault(name, what), what)
        self.assertEqual(len(set(built.values())), len(built))


class SharingTest(unittest.TestCase):
    """Connections, health, and what is owed."""

    def test_connections(self):
        with EmbeddedServer() as server:
            client = UltraMemcacheClient([server.address])
            regions = [client.region(str(number)) for number in range(9)]
            for region in regions:
                self.assertIsNotNone(region.set('key', 1))
            self.assertEqual(
                client.getPools()[0][1], {'active': 0, 'idle': 1, 'opened': 1})
            for region in regions:
                self.assertEqual(region.getPools(), client.getPools())
            regions[0].close()
            self.assertEqual(client.getPools()[0][1]['idle'], 0)

    def test_servers(self):
        with EmbeddedServer() as one, EmbeddedServer() as two:
            client = UltraMemcacheClient([one.address])
            region = client.region('a')
            region.set('key', 1)
            client.servers = [two.address]
            self.assertIsNone(region.query('key'))
            self.assertIsNotNone(region.set('key', 2))
            region.servers = [one.address]
            self.assertEqual(client.servers, [one.address])
            self.assertIsNone(region.query('key'))  # it was changed meanwhile
            self.assertIs(client._state.store, region._state.store)
            client.close()

    def test_what_is_owed(self):
        with refusing() as address:
            client = UltraMemcacheClient([address])
            region = client.region('a')
            region.invalidate('key')
            [server] = client._state.store.servers
            self.assertEqual(
                list(server.undelivered.keys),
                [region.buildKey('key').encode()])
            client.close()

    def test_fakes(self):
        client = FakeUltraMemcacheClient()
        region = client.region('a')
        region.set('key', 1)
        self.assertIs(getFakeBackend(region), getFakeBackend(client))
        self.assertIn(region.buildKey('key'), getFakeBackend(client).cache)
        self.assertEqual((client.sets, region.sets), (1, 1))


class DeriveTest(unittest.TestCase):
    """Other clients that are derived from one: with a wrapped store."""

    def test_settings_that_are_its_own(self):
        client = FakeMemcacheClient()
        other = derive(client, {'debug': 1})
        client.debug = 2
        self.assertEqual((client.debug, other.debug), (2, 1))
        with self.assertRaises(ValueError):
            derive(client, {'debug': -1})
