# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`p01.memcache.testing`: the fakes, the servers and the layers.

The fakes as clients are tested in `test_contract`.
"""

import contextlib
import os
import pickle
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from time import monotonic
from unittest import mock

import zope.component
from zope.component import testing as placeless

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import MemcacheError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.testing import ClusterLayer
from p01.memcache.testing import EmbeddedLayer
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeMemcached
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.testing import MemcachedLayer
from p01.memcache.testing import Pickable
from p01.memcache.testing import StandardPortLayer
from p01.memcache.testing import getFakeBackend
from p01.memcache.testing import setUpFakeMemcached
from p01.memcache.testing import setUpFakeUltraMemcached
from p01.memcache.testing import storage
from p01.memcache.testing import tearDownFakeMemcached
from p01.memcache.testing import tearDownFakeUltraMemcached
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.uclient import UltraMemcacheClient


def ask(sock, request):
    """Send a line; return the reply, which is a line."""
    sock.sendall(request + b'\r\n')
    with sock.makefile('rb') as replies:
        return replies.readline()


class FakeTest(unittest.TestCase):

    factory = FakeMemcacheClient

    def setUp(self):
        self.client = self.factory()

    def counts(self):
        client = self.client
        return client.gets, client.hits, client.misses, client.sets

    def test_counts(self):
        self.assertEqual(self.counts(), (0, 0, 0, 0))
        self.client.query('key')
        self.assertEqual(self.counts(), (1, 0, 1, 0))
        self.client.set('key', None)
        self.assertEqual(self.counts(), (1, 0, 1, 1))
        self.client.query('key')
        self.client.query('key')
        self.assertEqual(self.counts(), (3, 2, 1, 1))
        self.client.set('key', b'', raw=True)
        self.client.query('key', raw=True)
        self.assertEqual(self.counts(), (4, 3, 1, 2))
        self.client.resetCounts()
        self.assertEqual(self.counts(), (0, 0, 0, 0))

    def test_gets_is_a_method_too(self):
        self.client.set('key', 'value')
        value, token = self.client.gets('key')
        self.assertEqual(value, 'value')
        self.assertIs(self.client.cas('key', 'new', token), True)
        self.assertEqual(self.client.gets('gone', default=1), (1, None))
        self.assertEqual(self.counts(), (2, 1, 1, 1))
        self.client.gets('key')
        self.assertEqual(self.client.gets, 3)
        self.assertEqual(str(self.client.gets), '3')

    def test_counts_of_many_keys(self):
        self.client.setMany({'a': 1, 'b': 2})
        self.assertEqual(self.counts(), (0, 0, 0, 2))
        self.client.queryMany(['a', 'b', 'c'])
        self.assertEqual(self.counts(), (3, 2, 1, 2))

    def test_a_counter(self):
        self.assertEqual(self.client.increment('key', initial=3), 3)
        self.assertEqual(self.client.increment('key', 2), 5)
        self.assertEqual(self.client.decrement('key', 9), 0)

    def test_cache(self):
        backend = getFakeBackend(self.client)
        self.assertIsInstance(backend, FakeMemcached)
        self.assertIs(backend, storage[self.client])
        built = self.client.set('key', 'value')
        item = (pickle.dumps('value', -1), 0)
        self.assertEqual(backend.cache, {built.encode(): item})
        self.assertIsInstance(backend.cache, dict)
        for key in built, built.encode():
            self.assertEqual(backend.cache[key], item)
            self.assertEqual(backend.cache.get(key), item)
            self.assertIn(key, backend.cache)
        for key in 'missing', b'missing':
            self.assertNotIn(key, backend.cache)
            self.assertIsNone(backend.cache.get(key))
            self.assertEqual(backend.cache.get(key, 1), 1)
            self.assertEqual(backend.cache.pop(key, 2), 2)
            with self.assertRaises(KeyError):
                backend.cache[key]

    def test_the_cache_can_be_changed(self):
        cache = getFakeBackend(self.client).cache
        built = self.client.buildKey('key')
        for key in built, built.encode():
            cache[key] = (pickle.dumps('planted'), 0)
            self.assertEqual(list(cache), [built.encode()])
            self.assertEqual(self.client.query('key'), 'planted')
            del cache[key]
            self.assertIsNone(self.client.query('key'))

    def test_the_cache_of_all_commands(self):
        # They see what a test has put there, and store their results there.
        cache = getFakeBackend(self.client).cache
        built = self.client.buildKey('key')
        cache[built] = (b'1', 0)
        self.assertIs(self.client.append('key', b'2'), True)
        self.assertEqual(cache[built], (b'12', 0))
        cache[built] = (b'7', 0)
        self.assertEqual(self.client.increment('key'), 8)
        self.assertEqual(cache[built], (b'8', 0))
        del cache[built]
        self.assertIs(self.client.replace('key', 'new'), False)
        self.assertIs(self.client.add('key', b'new', raw=True), True)
        self.assertEqual(cache, {built.encode(): (b'new', 0)})
        self.assertEqual(self.client.invalidateMany(['key']), [])
        self.assertEqual(cache, {})

    def test_a_change_of_the_cache_invalidates_tokens(self):
        self.client.set('key', 'value')
        _, token = self.client.gets('key')
        cache = getFakeBackend(self.client).cache
        cache[self.client.buildKey('key')] = (pickle.dumps('other'), 0)
        self.assertIs(self.client.cas('key', 'new', token), False)
        self.assertEqual(self.client.query('key'), 'other')

    def test_each_has_a_cache_of_its_own(self):
        self.client.set('key', 'value')
        other = self.factory()
        self.assertIsNone(other.query('key'))
        before = len(storage)
        del other
        self.assertEqual(len(storage), before - 1)

    def test_lifetimes_end(self):
        with (mock.patch('p01.memcache.testing.processes.monotonic') as now,
              mock.patch('p01.memcache.embedded.clock.now', now)):
            now.return_value = 1000
            self.client.set('short', 'value', 1)
            self.client.set('default', 'value')
            self.client.set('month', 'value', 31 * 24 * 3600)
            self.client.set('ever', 'value', 0)
            for moment, keys in [
                    (1000.9, ['short', 'default', 'month', 'ever']),
                    (1001, ['default', 'month', 'ever']),
                    (4599, ['default', 'month', 'ever']),
                    (4600, ['month', 'ever']),
                    (1000 + 30 * 24 * 3600, ['month', 'ever']),
                    (1010 + 31 * 24 * 3600, ['ever']),
                    (10 ** 12, ['ever'])]:
                now.return_value = moment
                self.assertEqual(
                    [key for key in ('short', 'default', 'month', 'ever')
                     if self.client.query(key)], keys)
            self.assertEqual(
                list(getFakeBackend(self.client).cache),
                [self.client.buildKey('ever').encode()])

    def test_getStatistics(self):
        self.assertEqual(self.client.getStatistics(), 'Testing Stats')
        self.assertEqual(self.client.getStatistics('items'), 'Testing Stats')
        with self.assertRaisesRegex(ValueError, "'bogus'"):
            self.client.getStatistics('bogus')

    def test_no_socket(self):
        with mock.patch('socket.socket', side_effect=AssertionError):
            self.client.servers = ['no.such.server']
            self.client.set('key', 'value')
            self.client.query('key')
            self.client.invalidate('key')
            self.client.invalidateAll()
            self.client.getStatistics()
            self.client.close()


class FakeUltraTest(FakeTest):

    factory = FakeUltraMemcacheClient

    def test_getPools(self):
        self.assertEqual(self.client.getPools(), [
            ('127.0.0.1:11211', {'active': 0, 'idle': 0, 'opened': 0})])


class BackendTest(unittest.TestCase):
    """The methods of a fake server."""

    def setUp(self):
        self.client = FakeMemcacheClient()
        self.backend = getFakeBackend(self.client)

    def counts(self):
        backend = self.backend
        return backend.gets, backend.hits, backend.misses, backend.sets

    def test_set_and_get(self):
        for key in 'key', b'key':
            for data in 'data', b'data':
                self.assertIs(self.backend.set(key, data), True)
                self.assertEqual(self.backend.cache, {b'key': (b'data', 0)})
                self.assertEqual(self.backend.get('key'), b'data')
                self.assertEqual(self.backend.get(b'key'), b'data')
        self.assertIsNone(self.backend.get('other'))
        self.backend.set('key', b'', flags=16)
        self.assertEqual(self.backend.cache, {b'key': (b'', 16)})
        self.assertEqual(self.backend.get('key'), b'')

    def test_it_finds_what_a_client_has_stored(self):
        built = self.client.set('key', [1])
        self.assertEqual(pickle.loads(self.backend.get(built)), [1])
        self.backend.set(built, pickle.dumps([2]))
        self.assertEqual(self.client.query('key'), [2])

    def test_only_ascii(self):
        for use in (lambda: self.backend.set('\xfckey', 'value'),
                    lambda: self.backend.set('key', '\xfcvalue'),
                    lambda: self.backend.get('\xfckey')):
            with self.assertRaises(UnicodeEncodeError):
                use()
        for wrong in 'a key', 'a' * 251, '':
            with self.assertRaises(ValueError):
                self.backend.set(wrong, 'value')
            with self.assertRaises(ValueError):
                self.backend.get(wrong)
        self.assertEqual(self.backend.cache, {})

    def test_lifetime(self):
        with mock.patch('p01.memcache.embedded.clock.now') as now:
            now.return_value = 1000
            self.backend.set('short', 'value', 1)
            self.backend.set('ever', 'value')
            now.return_value = 1000.9
            self.assertEqual(self.backend.get('short'), b'value')
            now.return_value = 1001
            self.assertIsNone(self.backend.get('short'))
            self.assertEqual(self.backend.get('ever'), b'value')

    def test_counts(self):
        self.assertEqual(self.counts(), (0, 0, 0, 0))
        self.backend.set('key', 'value')
        self.backend.get('key')
        self.backend.get('other')
        self.assertEqual(self.counts(), (2, 1, 1, 1))
        # The client has counts of its own.
        self.client.set('key', 'value')
        self.client.query('key')
        self.client.queryMany(['key', 'other'])
        self.client.gets('key')
        self.assertEqual(self.counts(), (6, 4, 2, 2))
        self.assertEqual(
            (self.client.gets, self.client.hits, self.client.misses,
             self.client.sets), (4, 3, 1, 1))
        self.backend.resetCounts()
        self.assertEqual(self.counts(), (0, 0, 0, 0))


class UtilityTest(unittest.TestCase):

    def setUp(self):
        placeless.setUp()
        self.addCleanup(placeless.tearDown)
        for _ in range(3):
            self.addCleanup(tearDownFakeMemcached)

    def utility(self):
        return zope.component.queryUtility(IMemcacheClient)

    def test_set_up_and_tear_down(self):
        for factory, setUp, tearDown in [
                (FakeMemcacheClient, setUpFakeMemcached,
                 tearDownFakeMemcached),
                (FakeUltraMemcacheClient, setUpFakeUltraMemcached,
                 tearDownFakeUltraMemcached)]:
            for args in (), (self,):
                setUp(*args)
                first = self.utility()
                self.assertIs(type(first), factory)
                setUp(*args)
                second = self.utility()
                self.assertIsNot(first, second)
                tearDown(*args)
                self.assertIs(self.utility(), first)
                tearDown(*args)
                self.assertIsNone(self.utility())
                tearDown(*args)

    def test_the_one_before_is_restored(self):
        before = FakeMemcacheClient()
        zope.component.provideUtility(before, IMemcacheClient)
        setUpFakeMemcached()
        self.assertIsNot(self.utility(), before)
        zope.component.provideUtility(MemcacheClient(), IMemcacheClient)
        tearDownFakeMemcached()
        self.assertIs(self.utility(), before)

    def test_tear_down_without_set_up(self):
        before = FakeMemcacheClient()
        zope.component.provideUtility(before, IMemcacheClient)
        tearDownFakeMemcached()
        self.assertIs(self.utility(), before)

    def test_a_registry_that_was_emptied(self):
        zope.component.provideUtility(FakeMemcacheClient(), IMemcacheClient)
        setUpFakeMemcached()
        placeless.tearDown()
        tearDownFakeMemcached()
        self.assertIsNone(self.utility())

    def test_named_ones_stay(self):
        named = FakeMemcacheClient()
        zope.component.provideUtility(named, IMemcacheClient, 'named')
        setUpFakeMemcached()
        tearDownFakeMemcached()
        self.assertIs(
            zope.component.getUtility(IMemcacheClient, 'named'), named)


class Overriding(UltraMemcacheClient):
    """An application's subclass that overrides methods."""

    asked = 0

    def query(self, key, raw=False, default=None):
        self.asked += 1
        return super().query(key, raw, default)


def useAll(client):
    """Call each method of a client."""
    client.set('key', 'value', dependencies=['one'])
    client.setMany({'a': 1, 'b': 2})
    for read in client.query, client.queryAndTouch, client.gets:
        read('key')
    client.queryMany(['key', 'a'])
    value, token = client.gets('a')
    client.cas('a', 3, token)
    client.add('c', 1)
    client.replace('c', 2)
    client.set('raw', b'1', raw=True)
    client.append('raw', b'2')
    client.prepend('raw', b'3')
    client.touch('raw', 5)
    client.increment('count', initial=1)
    client.decrement('count')
    client.getOrCreate('made', lambda: 1, grace=5, dependencies=['one'])
    client.getOrCreate('made', lambda: 2, grace=5)
    client.invalidate('key')
    client.invalidateMany(['a', 'b'])
    client.invalidateDependencies('one')
    client.invalidateAll()
    client.getUnreadable()
    if client.generations:
        client.invalidateNamespace()
    if isinstance(client, UltraMemcacheClient):
        client.getPools()
    client.close()


class FakedTest(unittest.TestCase):
    """No client of either class uses the network."""

    def setUp(self):
        placeless.setUp()
        self.addCleanup(placeless.tearDown)
        # The fakes end with the test, whatever it has done.
        for _ in range(3):
            self.addCleanup(tearDownFakeMemcached)

    setUps = setUpFakeMemcached, setUpFakeUltraMemcached

    def factories(self):
        class Classic(MemcacheClient):
            pass

        return [
            MemcacheClient, UltraMemcacheClient, FakeMemcacheClient,
            FakeUltraMemcacheClient, Classic, Overriding,
            lambda **kw: UltraMemcacheClient(failover=True, **kw),
            lambda **kw: UltraMemcacheClient(
                distribution='roundrobin', **kw)]

    def test_no_socket(self):
        before = [factory() for factory in self.factories()]
        calls = {'socket.socket', 'socket.create_connection',
                 'socket.getaddrinfo'}
        for setUp in self.setUps:
            setUp()
            with contextlib.ExitStack() as stack:
                for call in calls:
                    stack.enter_context(
                        mock.patch(call, side_effect=AssertionError(call)))
                after = [
                    factory(generations=generations, servers=servers)
                    for factory in self.factories()
                    for generations in (False, True)
                    for servers in (['no.such.server'], ['one', 'two:1'])]
                with self.assertNoLogs('p01.memcache'):
                    for client in before + after:
                        useAll(client)
                        client.servers = ['no.such.server:7']
                        useAll(client)
            tearDownFakeMemcached()

    def test_nothing_reaches_a_server(self):
        with EmbeddedServer() as server:
            for factory in self.factories():
                client = factory(servers=[server.address])
                self.addCleanup(client.close)
                client.set('key', 'real')
                setUpFakeMemcached()
                self.assertIsNone(client.query('key'))
                client.set('key', 'fake')
                client.invalidateAll()
                self.assertIsNone(client.query('key'))
                tearDownFakeMemcached()
                # The real server's value is unchanged.
                self.assertEqual(client.query('key'), 'real')
                client.invalidate('key')
                self.assertIsNone(client.query('key'))

    def test_clients_of_the_same_servers_share_data(self):
        for setUp in self.setUps:
            setUp()
            clients = [
                zope.component.getUtility(IMemcacheClient),
                *[factory() for factory in self.factories()],
                MemcacheClient(['127.0.0.1']),
                MemcacheClient(['127.0.0.1:11211/?2'])]
            for number, client in enumerate(clients):
                client.set('key', number)
                client.increment('count', initial=1)
                self.assertEqual(
                    [each.query('key') for each in clients],
                    [number] * len(clients))
            self.assertEqual(
                {each.query('count', raw=True) for each in clients},
                {b'%d' % len(clients)})
            self.assertEqual(len({*map(id, map(getFakeBackend, clients))}), 1)
            backend = getFakeBackend(clients[0])
            self.assertEqual(len(backend.cache), 2)
            self.assertIs(storage[clients[1]], backend)
            tearDownFakeMemcached()

    def test_clients_of_other_servers_do_not(self):
        setUpFakeMemcached()
        first = MemcacheClient(['one', 'two'])
        first.set('key', 'value')
        for servers in ['one'], ['two', 'one'], ['one', 'two:1'], [
                'one', 'two', 'three'], ['unix:/one', 'two']:
            for factory in self.factories():
                client = factory(servers=servers)
                self.assertIsNone(client.query('key'))
                client.invalidateAll()
        self.assertEqual(first.query('key'), 'value')
        # It follows a change of the attribute.
        first.servers = ['one']
        self.assertIsNone(first.query('key'))
        first.servers = ['one', 'two']
        self.assertEqual(first.query('key'), 'value')

    def test_namespaces(self):
        setUpFakeMemcached()
        one, two = MemcacheClient(namespace='1'), MemcacheClient(namespace='2')
        one.set('key', 'value')
        self.assertIsNone(two.query('key'))
        self.assertIs(getFakeBackend(one), getFakeBackend(two))

    def test_each_set_up_begins_empty(self):
        client = MemcacheClient()
        for _ in range(2):
            setUpFakeMemcached()
            self.assertIsNone(client.query('key'))
            client.set('key', 'value')
            tearDownFakeMemcached()

    def test_fakes_have_their_own_again(self):
        before = FakeMemcacheClient()
        before.set('key', 'own')
        setUpFakeMemcached()
        self.assertIsNone(before.query('key'))
        made = FakeMemcacheClient()
        made.set('key', 'shared')
        self.assertEqual(before.query('key'), 'shared')
        tearDownFakeMemcached()
        self.assertEqual(before.query('key'), 'own')
        self.assertIsNone(made.query('key'))

    def test_nested_set_ups(self):
        client = MemcacheClient(['no.such.server'])
        setUpFakeMemcached()
        client.set('key', 'outer')
        setUpFakeUltraMemcached()
        self.assertIsNone(client.query('key'))
        client.set('key', 'inner')
        tearDownFakeUltraMemcached()
        with mock.patch('socket.getaddrinfo', side_effect=AssertionError):
            self.assertEqual(client.query('key'), 'outer')

    def test_the_classes_are_as_before(self):
        def methods():
            return [dict(vars(class_)) for class_ in (
                MemcacheClient, UltraMemcacheClient)]

        before = methods()
        for setUp in self.setUps:
            setUp()
            setUp()
            self.assertNotEqual(methods(), before)
            tearDownFakeMemcached()
            self.assertNotEqual(methods(), before)
            tearDownFakeUltraMemcached()
            self.assertEqual(methods(), before)
            tearDownFakeMemcached()
            self.assertEqual(methods(), before)

    def test_a_subclass_that_overrides(self):
        setUpFakeMemcached()
        client = Overriding()
        client.set('key', 'value')
        self.assertEqual(client.query('key'), 'value')
        self.assertEqual(client.asked, 1)

    def test_gets_is_the_method(self):
        setUpFakeMemcached()
        for client in MemcacheClient(), UltraMemcacheClient():
            client.set('key', 'value')
            value, token = client.gets('key')
            self.assertIs(client.cas('key', 'new', token), True)
            self.assertEqual(client.getStatistics(), 'Testing Stats')

    def test_a_real_client_has_no_backend(self):
        client = MemcacheClient()
        with self.assertRaises(KeyError):
            getFakeBackend(client)
        setUpFakeMemcached()
        self.assertIsInstance(getFakeBackend(client), FakeMemcached)
        tearDownFakeMemcached()
        with self.assertRaises(KeyError):
            getFakeBackend(client)

    def test_a_thread_in_the_middle_of_an_operation(self):
        # Its operation with the fake ends as with a server that is down.
        client = UltraMemcacheClient(['no.such.server'])
        setUpFakeMemcached()
        store = client._state.store
        get_many = store.get_many
        tearDownFakeMemcached()
        with (mock.patch.object(store, 'get_many', get_many),
              mock.patch('socket.getaddrinfo', side_effect=AssertionError)):
            self.assertEqual(client.queryMany(['key']), {})

    def test_a_real_operation_in_the_middle_of_which_they_are_set_up(self):
        for client in UltraMemcacheClient, MemcacheClient:
            store = client(['127.0.0.1:1'])._state.store
            for method in store.get, store.gets:
                setUpFakeMemcached()
                try:
                    with self.assertRaises(MemcacheError):
                        method(b'key', monotonic() + 1)
                finally:
                    tearDownFakeMemcached()

    def test_a_setting_makes_no_other_store(self):
        # It would read files again, as real clients do not.
        for factory in FakeMemcacheClient, FakeUltraMemcacheClient:
            client = factory()
            store = client._state.store
            client.lifetime = 5
            self.assertIs(client._state.store, store)
            client.servers = ['other:1']
            self.assertIsNot(client._state.store, store)
            self.assertEqual(client.getPools()[0][0] if hasattr(
                client, 'getPools') else 'other:1', 'other:1')

    def test_many_threads(self):
        setUpFakeMemcached()
        clients = [MemcacheClient(), UltraMemcacheClient()] * 4

        def count(client):
            for _ in range(200):
                client.increment('count')

        clients[0].set('count', b'0', raw=True)
        threads = [threading.Thread(target=count, args=(client,))
                   for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(clients[0].query('count', raw=True), b'1600')

    @unittest.skipUnless(hasattr(os, 'fork'), 'there is no fork')
    def test_a_forked_child(self):
        setUpFakeMemcached()
        client = UltraMemcacheClient(['no.such.server'])
        client.set('key', 'value')
        # As another thread might hold it.
        with getFakeBackend(client)._turn.by(0):
            pid = os.fork()
            if not pid:
                try:
                    signal.alarm(10)
                    os._exit(client.query('key') != 'value')
                finally:
                    os._exit(2)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)


class PickableTest(unittest.TestCase):

    def test_it_can_be_pickled(self):
        for obj in Pickable(), Pickable('a title'), Pickable('a', [1, 2]):
            copy = pickle.loads(pickle.dumps(obj))
            self.assertEqual((copy.title, copy.value), (obj.title, obj.value))
        self.assertEqual(repr(Pickable('a title')), "<Pickable 'a title'>")


class MemcachedTest(unittest.TestCase):

    level = 2

    def version(self, server):
        client = MemcacheClient([server.address])
        self.addCleanup(client.close)
        [(address, values)] = client.getStatistics()
        self.assertEqual(address, server.address)
        return values

    def test_start_and_stop(self):
        server = Memcached()
        server.stop()
        self.addCleanup(server.stop)
        server.start()
        address, first = server.address, server.process
        self.assertEqual(self.version(server)['pid'], str(first.pid))
        server.stop()
        self.assertEqual(list(self.version(server)), ['error'])
        self.assertIsNotNone(first.returncode)
        server.start()
        self.assertEqual(server.address, address)
        self.assertEqual(
            self.version(server)['pid'], str(server.process.pid))
        server.stop()
        server.stop()

    def test_context_manager(self):
        with Memcached() as one, Memcached() as two:
            self.assertNotEqual(one.address, two.address)
            for server in one, two:
                self.assertIn('version', self.version(server))
        for server in one, two:
            self.assertIsNotNone(server.process.returncode)

    def test_options(self):
        with Memcached('-m', '7') as server:
            self.assertEqual(
                self.version(server)['limit_maxbytes'], str(7 * 2 ** 20))

    def connect(self, server):
        host, port = server.address.split(':')
        return self.enterContext(
            socket.create_connection((host, int(port)), 5))

    def test_start_leaves_one_that_runs_as_it_is(self):
        with Memcached() as server:
            process = server.process
            server.start()
            self.assertIs(server.process, process)
            server.freeze()
            server.start()
            self.assertIs(server.process, process)
            self.assertTrue(server.frozen)

    def test_start_one_that_ended_by_itself(self):
        with Memcached() as server:
            server.process.kill()
            server.process.wait()
            server.start()
            self.assertIn('version', self.version(server))

    def test_freeze_and_thaw(self):
        with Memcached() as server:
            sock = self.connect(server)
            self.assertEqual(ask(sock, b'mn'), b'MN\r\n')
            for _ in range(2):
                server.thaw()
                server.freeze()
                server.freeze()
                # It is frozen when `freeze` returns, not later.
                with self.connect(server) as late:
                    for each in sock, late:
                        each.settimeout(0.05)
                        with self.assertRaises(TimeoutError):
                            ask(each, b'mn')
                sock.settimeout(5)
                server.thaw()
                server.thaw()
                self.assertEqual(sock.recv(4), b'MN\r\n')

    def test_only_one_that_runs_can_be_frozen(self):
        server = Memcached()
        for _ in range(2):
            with self.assertRaisesRegex(RuntimeError, 'does not run'):
                server.freeze()
            server.thaw()
            with server:
                pass

    def test_a_frozen_one_can_be_stopped(self):
        server = Memcached()
        with server:
            server.freeze()
        self.assertEqual(server.process.returncode, -signal.SIGKILL)
        with server:
            self.assertFalse(server.frozen)
            self.assertIn('version', self.version(server))

    def test_unix_socket(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)
        path = os.path.join(folder, 'socket')
        server = Memcached(path=path)
        self.assertEqual(server.address, f'unix:{path}')
        for _ in range(2):
            with server, socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                self.assertEqual(ask(sock, b'mn'), b'MN\r\n')
                # Other users cannot connect.
                mode = stat.S_IMODE(os.stat(path).st_mode)
                self.assertEqual(mode, 0o700)
            self.assertEqual(os.listdir(folder), [])
        # Even if a server ended and left its socket.
        with server:
            server.process.kill()
            server.process.wait()
            self.assertEqual(os.listdir(folder), ['socket'])
            server.start()
        self.assertEqual(os.listdir(folder), [])

    def test_what_is_no_socket_is_not_removed(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)
        path = os.path.join(folder, 'file')
        with open(path, 'w'):
            pass
        with self.assertRaisesRegex(RuntimeError, 'ended with status'):
            Memcached(path=path).start()
        self.assertEqual(os.listdir(folder), ['file'])

    def test_tls(self):
        files = self.enterContext(Certificates())
        options = (f'ssl_chain_cert={files.server_chain},'
                   f'ssl_key={files.server_key}')
        context = ssl.create_default_context(cafile=files.ca)
        with Memcached('-Z', '-o', options) as server:
            sock = self.enterContext(context.wrap_socket(
                self.connect(server), server_hostname='127.0.0.1'))
            self.assertEqual(ask(sock, b'mn'), b'MN\r\n')

    def test_tls_with_a_certificate_of_the_client(self):
        files = self.enterContext(Certificates())
        options = (f'ssl_chain_cert={files.server_chain},'
                   f'ssl_key={files.server_key},ssl_ca_cert={files.ca},'
                   'ssl_verify_mode=2')
        context = ssl.create_default_context(cafile=files.ca)
        with Memcached('-Z', '-o', options) as server:
            with (self.assertRaises((ssl.SSLError, ConnectionError)),
                  context.wrap_socket(
                      self.connect(server),
                      server_hostname='localhost') as sock):
                ask(sock, b'mn')
            context.load_cert_chain(files.client, files.client_key)
            sock = self.enterContext(context.wrap_socket(
                self.connect(server), server_hostname='localhost'))
            self.assertEqual(ask(sock, b'mn'), b'MN\r\n')

    def test_output(self):
        server = Memcached('-vv')
        with server:
            ask(self.connect(server), b'mn')
            self.assertEqual(server.output, '')
        self.assertRegex(server.output, r'<\d+ mn\n')
        with server:
            pass
        self.assertNotRegex(server.output, r'<\d+ mn\n')

    def test_one_that_does_not_start(self):
        server = Memcached('--no-such-option')
        with self.assertRaisesRegex(
                RuntimeError, 'ended with status .*no-such-option'):
            server.start()
        self.assertIsNotNone(server.process.returncode)


class LayersTest(unittest.TestCase):

    def test_what_zope_testrunner_needs(self):
        for name, layer in [
                ('ClusterLayer', ClusterLayer),
                ('EmbeddedLayer', EmbeddedLayer),
                ('MemcachedLayer', MemcachedLayer),
                ('StandardPortLayer', StandardPortLayer)]:
            self.assertEqual(layer.__name__, name)
            self.assertEqual(layer.__module__, 'p01.memcache.testing')
            self.assertEqual(layer.__bases__, ())

    def test_embedded(self):
        layer = type(EmbeddedLayer)('Mine', EmbeddedLayer._factory)
        layer.setUp()
        self.addCleanup(layer.tearDown)
        client = MemcacheClient([layer.address])
        self.addCleanup(client.close)
        client.set('key', 'value')
        self.assertEqual(client.query('key'), 'value')

    def test_without_memcached(self):
        # The tests fail, with a message that says what is missing.
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, 'test_it.py'), 'w') as file:
                file.write(textwrap.dedent('''\
                    import unittest

                    from p01.memcache.testing import MemcachedLayer

                    class Test(unittest.TestCase):
                        layer = MemcachedLayer
                        def test(self):
                            pass
                    '''))
            done = subprocess.run(
                [sys.executable, '-m', 'zope.testrunner', '--path', folder,
                 '--tests-pattern', 'test_it'],
                env={**os.environ, 'PATH': folder,
                     'PYTHONPATH': os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertIn('apt-get install memcached', done.stdout)
        self.assertEqual(done.returncode, 1, done.stdout)


class ClusterTest(unittest.TestCase):
    """Without the layer's restore, each test would see the other's effects."""

    layer = ClusterLayer
    level = 2

    def setUp(self):
        self.clients = []
        for address in self.layer.addresses:
            host, port = address.split(':')
            self.clients.append(self.enterContext(
                socket.create_connection((host, int(port)), 5)))

    def check(self):
        self.assertEqual(len(set(self.layer.addresses)), 3)
        for sock in self.clients:
            self.assertEqual(ask(sock, b'get key'), b'END\r\n')
            self.assertEqual(
                ask(sock, b'set key 0 0 1\r\n1'), b'STORED\r\n')
            self.assertEqual(ask(sock, b'get key'), b'VALUE key 0 1\r\n')
        self.layer.servers[0].freeze()
        self.clients[0].sendall(b'set key 0 0 1\r\n2\r\n')
        self.layer.servers[1].stop()

    test_one = test_two = check

    def test_restore(self):
        before = self.layer.addresses
        self.check()
        self.layer.restore()
        self.assertEqual(self.layer.addresses, before)
        self.setUp()
        self.check()


class ClusterSetUpTest(unittest.TestCase):

    level = 2

    def test_nothing_is_left_of_a_layer_that_cannot_be_set_up(self):
        layer = type(ClusterLayer)('Mine', 2)
        layer.servers[1].options = ('--no-such-option',)
        with self.assertRaises(RuntimeError):
            layer.setUp()
        for server in layer.servers:
            self.assertIsNotNone(server.process.returncode)


class StandardPortTest(unittest.TestCase):
    """The layer works whether or not memcached runs already."""

    layer = StandardPortLayer
    level = 2

    def test_it_listens(self):
        self.assertEqual(self.layer.address, '127.0.0.1:11211')
        client = MemcacheClient()
        self.addCleanup(client.close)
        key = f'p01.memcache test {os.getpid()}'
        self.assertEqual(client.set(key, key, 10), client.buildKey(key))
        self.assertEqual(client.query(key), key)
        self.assertIs(client.invalidate(key), True)


class StandardPortAbsentTest(unittest.TestCase):
    """The same, with another port in place of the standard one."""

    level = 2

    def layer_on(self, port):
        class Server(StandardPortLayer._factory):
            def __init__(self):
                super().__init__()
                self.port = port
        layer = type(StandardPortLayer)('Mine', Server)
        layer.setUp()
        self.addCleanup(layer.tearDown)
        return layer

    def test_used_or_started_and_stopped(self):
        with Memcached() as server:
            layer = self.layer_on(server.port)
            self.assertIsNone(layer._server.process)
            layer.tearDown()
            self.assertIsNone(server.process.poll())
        layer = self.layer_on(server.port)
        process = layer._server.process
        self.assertIsNone(process.poll())
        layer.tearDown()
        self.assertIsNotNone(process.poll())
