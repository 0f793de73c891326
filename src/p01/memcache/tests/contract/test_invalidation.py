# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values that become misses together: generations and dependencies.

One scenario is run for every client: the real ones on the embedded server
(level 1) and on memcached (level 2), and the fakes. It is followed by what is
sent on the wire, what is lost with a server, and races.
"""

import contextlib
import itertools
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import ClusterLayer
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.testing import getFakeBackend
from p01.memcache.tests.contract.matrix import CLASSIC_EMBEDDED
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.faults.case import SLACK
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.stamp import put
from p01.memcache.values.stamp import take
from p01.memcache.wire.reader import Reader


load_tests = run_in(Contract)


# The flags of a value with dependencies.
STAMPED = 64


# Items that may be stored in place of a generation, or of a dependency's
# version, but are no version.
NO_VERSIONS = [
    (b'', 0),
    (b' ', 0),
    (b'               ', 0),
    (b'no version', 0),
    (b'0123456789abcde', 0),
    (b'0123456789abcdef0', 0),
    (b'0123456789ABCDEF', 0),
    (b'0123456789abcdeg', 0),
    (b'0123456789abcdef\n', 0),
    (b'01234567 9abcdef', 0),
    (b'\0' * 16, 0),
    (b'a\r\nflush_all\r\n', 0),
    (b'x' * 300, 0),
    (b'x' * 100_000, 0),
    (b'0123456789abcdef', 1),
    (b'0123456789abcdef', STAMPED),
    (pickle.dumps('0123456789abcdef', -1), 0),
]

# Data in place of a value with dependencies, whose stamp is malformed.
NO_STAMPS = [
    b'',
    b'\n',
    b'no end of a line',
    b' \nvalue',
    b'  \nvalue',
    b'a\nvalue',
    b'a \nvalue',
    b' a\nvalue',
    b'a b c\nvalue',
    b'a b \nvalue',
    b'a  b c\nvalue',
    b'a b\nvalue',
    b'a\tb c\nvalue',
    b'a\0 b\nvalue',
    b'a\x7f b\nvalue',
    b'a b\r\nvalue',
    b'a\r b\nvalue',
    b'\xc3\xbc \xff\nvalue',
    b'noreply 1\nvalue',
    b'k' * 250 + b' v\nvalue',
    b'k' * 251 + b' v\nvalue',
    b'x v ' * 1000,
    b'x v ' * 1000 + b'x v\nvalue',
    b' '.join(b'%d v' % number for number in range(1200)) + b'\nvalue',
    *(key + b' 0123456789abcdef\nvalue' for key in (
        b'0' * 32, b'0' * 64, b'claim:' + b'0' * 32, b'claim:' + b'0' * 64,
        b'generation:' + b'0' * 32, b'generation:' + b'0' * 64,
        b'tag:', b'tag:' + b'0' * 31, b'tag:' + b'0' * 33, b'tag:' + b'0' * 65,
        b'tag:' + b'A' * 32, b'tag:' + b'0' * 31 + b'\xff', b'tag:tag:',
        b'tag:%b.%b' % (b'0' * 32, b'0' * 16),
        b'fresh:', b'fresh:' + b'0' * 32, b'fresh:' + b'0' * 15,
        b'TAG:' + b'0' * 32)),
    *(b'tag:' + b'0' * 32 + b' %b\nvalue' % version for version in (
        b'', b'0', b'0' * 15, b'0' * 17, b'A' * 16, b'0' * 16 + b' ',
        b'0' * 16 + b'\r', b' ' + b'0' * 16, b'0' * 16 + b' tag:')),
    b'\r\nflush_all\r\n',
    b'a b\nflush_all\r\n',
    b'a\rflush_all\r b\nvalue',
]


class Scenario(ClientCase):
    """A client with generations, and other clients of the same servers."""

    def makeClient(self, **settings):
        return super().makeClient(
            **{'namespace': 'one', 'generations': True, **settings})

    def other(self, **settings):
        """Return a client that has used its namespace and dependencies."""
        client = self.makeClient(**settings)
        client.set('another key', 1, dependencies=('a', 'b'))
        self.assertEqual(client.query('another key'), 1)
        return client

    def generation_key(self, client=None):
        return 'generation:' + (client or self.client).buildKey('')

    def tag_key(self, tag):
        return 'tag:' + self.client.buildKey(tag)

    def wire_key(self, key):
        data, flags = self.stored(self.generation_key())
        return f'{self.client.buildKey(key)}.{data.decode()}'

    def assertFound(self, client, **values):
        for key, value in values.items():
            self.assertEqual(client.query(key, default=MISSING), value, key)
        self.assertEqual(client.queryMany(values), values)

    def assertMisses(self, client, *keys):
        for key in keys:
            self.assertEqual(client.query(key, default=MISSING), MISSING, key)
            self.assertEqual(
                client.query(key, raw=True, default=MISSING), MISSING, key)
            self.assertEqual(client.gets(key, default=MISSING),
                             (MISSING, None), key)
            self.assertEqual(
                client.queryAndTouch(key, default=MISSING), MISSING, key)
        self.assertEqual(client.queryMany(keys), {})


@matrix(*FAKES, POOLED_EMBEDDED, slow=[CLASSIC_EMBEDDED, *MEMCACHED])
class GenerationScenario(Scenario):

    def test_only_with_generations(self):
        client = self.makeClient(generations=False)
        client.set('key', 1)
        with self.assertRaisesRegex(ValueError, 'generations'):
            client.invalidateNamespace()
        self.assertFound(client, key=1)

    def test_invalidateNamespace(self):
        for value in 1, 2, 3:
            self.assertMisses(self.client, 'key', 'other')
            self.client.set('key', value)
            self.client.set('other', value)
            self.assertFound(self.client, key=value, other=value)
            self.assertIs(self.client.invalidateNamespace(), True)
        self.assertIs(self.client.invalidateNamespace(), True)
        self.assertMisses(self.client, 'key', 'other')

    def test_without_values(self):
        self.assertIs(self.makeClient().invalidateNamespace(), True)

    def test_what_is_on_the_wire(self):
        # All processes must agree, also those of the next release.
        self.client.set('key', 'value')
        generation, flags = self.stored(self.generation_key())
        self.assertRegex(generation, rb'\A[0-9a-f]{16}\Z')
        self.assertEqual(flags, 0)
        self.assertEqual(
            self.stored(self.wire_key('key')),
            (pickle.dumps('value', -1), 0))
        self.assertIsNone(self.stored(self.client.buildKey('key')))

    def test_another_client_of_the_namespace(self):
        other = self.other()
        self.client.set('key', 1)
        self.assertFound(other, key=1)
        for invalidates, sees in [(self.client, other), (other, self.client)]:
            self.assertIs(invalidates.invalidateNamespace(), True)
            self.assertMisses(sees, 'key')
            self.assertMisses(self.makeClient(), 'key')
            self.assertIsNotNone(sees.set('key', 2))
            self.assertFound(invalidates, key=2)

    def test_other_namespaces(self):
        others = [self.other(namespace=namespace)
                  for namespace in (None, 'on', 'ones', 'two', '')]
        strict = self.other(keyScheme='strict')
        plain = self.other(generations=False)
        for client in (*others, strict, plain):
            client.set('key', 1)
        self.client.set('key', 2)
        self.assertFound(plain, key=1)
        self.client.invalidateNamespace()
        self.assertMisses(self.client, 'key')
        for client in (*others, strict, plain):
            with self.subTest(client=client.namespace):
                self.assertFound(client, key=1)

    def test_values_without_a_generation_are_kept_apart(self):
        plain = self.makeClient(generations=False)
        plain.set('key', 'of another')
        self.assertMisses(self.client, 'key')
        self.client.invalidate('key')
        self.assertFound(plain, key='of another')

    def test_every_command(self):
        client = self.client
        for start in b'5', b'6':
            # The key does not exist.
            self.assertIs(client.append('key', b'1'), False)
            self.assertIs(client.replace('key', b'1', raw=True), False)
            self.assertIs(client.touch('key'), False)
            self.assertIsNone(client.increment('key'))
            self.assertIsNone(client.decrement('key'))
            # The key exists.
            self.assertIs(client.add('key', start, raw=True), True)
            self.assertIs(client.add('key', b'1', raw=True), False)
            self.assertEqual(client.increment('key', 2), int(start) + 2)
            self.assertEqual(client.decrement('key'), int(start) + 1)
            self.assertIs(client.append('key', b'0'), True)
            self.assertIs(client.prepend('key', b'1'), True)
            expected = b'1%d0' % (int(start) + 1)
            self.assertEqual(client.query('key', raw=True), expected)
            self.assertIs(client.touch('key', 60), True)
            self.assertEqual(
                client.queryAndTouch('key', 60, raw=True), expected)
            value, token = client.gets('key', raw=True)
            self.assertEqual(value, expected)
            self.assertIs(client.cas('key', 'new', token), True)
            self.assertIs(client.cas('key', 'newer', token), False)
            self.assertIs(client.replace('key', 'newest'), True)
            self.assertEqual(client.setMany({'one': 1, 'two': 2}), [])
            self.assertFound(client, key='newest', one=1, two=2)
            self.assertEqual(client.invalidateMany(['one', 'three']), [])
            self.assertMisses(client, 'one')
            self.assertEqual(client.increment('count', initial=7), 7)
            made = client.getOrCreate('made', lambda start=start: start)
            self.assertEqual(made, start)
            self.assertEqual(client.getOrCreate('made', self.fail), start)
            client.set('gone', 1)
            self.assertIs(client.invalidate('gone'), True)
            self.assertMisses(client, 'gone')
            client.invalidateNamespace()
            self.assertMisses(client, 'key', 'two', 'count', 'made')

    def test_raw_values(self):
        for value in b'', b'\r\n', b'bytes', bytes(range(256)):
            self.client.set('key', value, raw=True)
            self.assertEqual(
                self.client.query('key', raw=True, default=MISSING), value)
            self.assertEqual(
                self.client.queryMany(['key'], raw=True), {'key': value})
            self.client.invalidateNamespace()
            self.assertMisses(self.client, 'key')

    def test_a_token_of_a_former_generation(self):
        self.client.set('key', 'old')
        _, token = self.client.gets('key')
        self.client.invalidateNamespace()
        self.assertIsNone(self.client.cas('key', 'newer', token))
        self.client.set('key', 'new')
        self.assertIs(self.client.cas('key', 'newer', token), False)
        self.assertFound(self.client, key='new')

    def test_getOrCreate(self):
        other = self.other()
        counter = itertools.count()
        for number in range(3):
            for client in self.client, other:
                self.assertEqual(
                    client.getOrCreate('key', counter.__next__), number)
            other.invalidateNamespace()

    def test_getOrCreate_with_grace(self):
        for number in range(3):
            self.assertEqual(self.client.getOrCreate(
                'key', lambda number=number: number, grace=60), number)
            self.client.invalidateNamespace()

    # A lost generation

    def test_an_evicted_generation(self):
        clients = [self.client, self.other(), self.makeClient()]
        generations = set()
        for number in range(4):
            for client in clients:
                client.set('key', number)
                generations.add(self.stored(self.generation_key()))
                self.lose(self.generation_key())
                for reader in clients:
                    self.assertMisses(reader, 'key')
        # No generation came twice.
        self.assertEqual(len(generations), 4 * len(clients))

    def test_all_is_flushed(self):
        other = self.other()
        self.client.set('key', 1)
        other.invalidateAll()
        self.assertMisses(self.client, 'key')
        self.client.set('key', 2)
        self.assertFound(other, key=2)

    def assertHeals(self, client, **settings):
        """The client repairs what is wrong on the server."""
        # The first one detects the fault, and repairs it.
        client.set('key', 'first', **settings)
        self.assertIsNotNone(client.set('key', 'healed', **settings))
        for reader in client, self.makeClient():
            self.assertFound(reader, key='healed')

    def test_a_generation_that_is_no_version(self):
        plain = self.makeClient(generations=False)
        plain.set('key', 'of another')
        for data, flags in NO_VERSIONS:
            with self.subTest(data=data[:20], flags=flags):
                self.client.set('key', 'old')
                self.client.set('raw', b'old', raw=True)
                for read in (
                        lambda client: self.assertMisses(
                            client, 'key', 'raw'),
                        lambda client: self.assertEqual(
                            client.queryMany(['key', 'raw']), {}),
                        lambda client: self.assertEqual(
                            client.getOrCreate('key', lambda: 'new'), 'new'),
                        ):
                    for client in self.client, self.makeClient():
                        self.plant(self.generation_key(), data, flags)
                        read(client)
                self.plant(self.generation_key(), data, flags)
                self.assertHeals(self.client)
        self.assertFound(plain, key='of another')

    def test_changes_do_not_raise_on_a_broken_generation(self):
        def commands(client):
            yield lambda: client.set('key', 1)
            yield lambda: client.set('key', 1, dependencies=('a',))
            yield lambda: client.add('key', 1)
            yield lambda: client.replace('key', 1)
            yield lambda: client.append('key', b'1')
            yield lambda: client.touch('key')
            yield lambda: client.increment('key', initial=1)
            yield lambda: client.invalidate('key')
            yield lambda: client.setMany({'key': 1, 'other': 2})
            yield lambda: client.invalidateMany(['key', 'other'])
            yield client.invalidateNamespace
            yield lambda: client.invalidateDependencies('a')

        for client in self.client, self.other():
            for command in commands(client):
                client.set('key', 'old')
                self.plant(self.generation_key(), b'no version')
                command()
                self.assertNotEqual(client.query('key'), 'old')
            self.assertHeals(client)

    def test_a_former_generation_returns(self):
        # memcached never restores one, but a person could.
        self.client.set('key', 'old')
        former = self.stored(self.generation_key())
        self.client.invalidateNamespace()
        self.client.set('key', 'new')
        latter = self.stored(self.generation_key())
        self.plant(self.generation_key(), *former)
        self.assertFound(self.client, key='old')
        self.plant(self.generation_key(), *latter)
        self.assertFound(self.client, key='new')

    # Concurrent clients

    def test_two_make_a_version(self):
        # After this client has found none, the other one is a little faster.
        other = self.makeClient()
        store = self.client._state.store
        change = store.run_many

        def late(*args):
            self.assertIsNotNone(other.set('of the other', 2))
            return change(*args)

        with mock.patch.object(store, 'run_many', late):
            self.assertIsNotNone(self.client.set('key', 1))
        for client in self.client, other, self.makeClient():
            self.assertFound(client, key=1, **{'of the other': 2})

    def test_many_make_a_generation(self):
        clients = [self.makeClient() for _ in range(4)]
        barrier = threading.Barrier(len(clients), timeout=PATIENCE)

        def work(client):
            barrier.wait()
            return client.set(id(client), 'value')

        with ThreadPoolExecutor(len(clients)) as executor:
            for _ in range(5):
                self.assertNotIn(None, executor.map(work, clients))
                for client in clients:
                    for other in clients:
                        self.assertEqual(other.query(id(client)), 'value')
                clients[0].invalidateNamespace()

    def test_invalidated_during_a_set(self):
        other = self.other()
        self.client.set('key', 'old')
        store = self.client._state.store
        run = store.run

        def late(*args):
            other.invalidateNamespace()
            return run(*args)

        with mock.patch.object(store, 'run', late):
            self.client.set('key', 'too late')
        for client in self.client, other:
            self.assertMisses(client, 'key')
        self.assertIsNotNone(self.client.set('key', 'new'))
        self.assertFound(other, key='new')

    def test_invalidated_while_others_set(self):
        stopping = threading.Event()

        def set_always(client):
            while not stopping.is_set():
                client.set('of another', 1)
                client.query('of another')

        with ThreadPoolExecutor(2) as executor:
            jobs = [executor.submit(set_always, self.makeClient())
                    for _ in range(2)]
            try:
                for number in range(20):
                    self.assertIsNotNone(self.client.set('key', number))
                    self.assertIs(self.client.invalidateNamespace(), True)
                    self.assertMisses(self.client, 'key')
                    self.assertIsNotNone(self.client.set('key', number))
                    self.assertFound(self.client, key=number)
            finally:
                stopping.set()
        for job in jobs:
            job.result()

    # Assigning attributes

    def test_another_namespace(self):
        namespaces = 'one', 'two', None, 'three'
        for namespace in namespaces:
            self.client.namespace = namespace
            self.client.set('key', namespace)
        for namespace in namespaces:
            self.client.namespace = namespace
            self.assertFound(self.client, key=namespace)
        self.client.namespace = 'two'
        self.client.invalidateNamespace()
        for namespace in namespaces:
            self.client.namespace = namespace
            if namespace == 'two':
                self.assertMisses(self.client, 'key')
            else:
                self.assertFound(self.client, key=namespace)
                self.assertIs(self.client.touch('key'), True)

    def test_generations_on_and_off(self):
        self.client.set('key', 'with')
        self.client.generations = False
        self.assertMisses(self.client, 'key')
        self.client.set('key', 'without')
        with self.assertRaises(ValueError):
            self.client.invalidateNamespace()
        self.client.generations = True
        self.assertFound(self.client, key='with')
        self.client.invalidateNamespace()
        self.assertMisses(self.client, 'key')
        self.client.generations = False
        self.assertFound(self.client, key='without')

    def test_another_key_scheme(self):
        for scheme in 'strict', 'compatible':
            self.client.keyScheme = scheme
            self.client.set('key', scheme)
        for scheme in 'strict', 'compatible':
            self.client.keyScheme = scheme
            self.assertFound(self.client, key=scheme)
        self.client.keyScheme = 'strict'
        self.client.invalidateNamespace()
        self.assertMisses(self.client, 'key')
        self.client.keyScheme = 'compatible'
        self.assertFound(self.client, key='compatible')


@matrix(*FAKES)
class DependencyScenario(Scenario):

    def setUp(self):
        super().setUp()
        # Dependencies do not need generations.
        self.client.generations = False

    def makeClient(self, **settings):
        return super().makeClient(**{'generations': False, **settings})

    def test_invalidateDependencies(self):
        for number in range(3):
            for key, tags in [('a', ['a']), ('b', ['b']), ('ab', ['a', 'b']),
                              ('c', ['c']), ('none', [])]:
                self.assertEqual(
                    self.client.set(key, number, dependencies=tags),
                    self.client.buildKey(key))
            self.assertFound(self.client, a=number, b=number, ab=number,
                             c=number, none=number)
            self.assertIs(self.client.invalidateDependencies('a'), True)
            self.assertMisses(self.client, 'a', 'ab')
            self.assertFound(self.client, b=number, c=number, none=number)
            self.assertIs(
                self.client.invalidateDependencies('b', 'c', 'd'), True)
            self.assertMisses(self.client, 'a', 'ab', 'b', 'c')
            self.assertFound(self.client, none=number)

    def test_nothing_to_invalidate(self):
        self.assertIs(self.client.invalidateDependencies(), True)
        self.assertIs(self.client.invalidateDependencies('a', 'b'), True)
        self.assertIs(self.client.invalidateDependencies('a', 'a'), True)

    def test_what_is_on_the_wire(self):
        # All processes must agree, also those of the next release.
        built = self.client.set('key', 'value', dependencies=('a', 'b'))
        versions = [self.stored(self.tag_key(tag)) for tag in 'ab']
        for data, flags in versions:
            self.assertRegex(data, rb'\A[0-9a-f]{16}\Z')
            self.assertEqual(flags, 0)
        (a, _), (b, _) = versions
        self.assertEqual(self.stored(built), (b'%b %b %b %b\n%b' % (
            self.tag_key('a').encode(), a, self.tag_key('b').encode(), b,
            pickle.dumps('value', -1)), STAMPED))

    def test_no_dependencies(self):
        for dependencies in (), [], set(), {}:
            built = self.client.set('key', 1, dependencies=dependencies)
            self.assertEqual(
                self.stored(built), (pickle.dumps(1, -1), 0))

    def test_several_of_any_kind(self):
        for dependencies in (
                ['a', 'b'], ('a', 'b'), {'a', 'b'}, {'a': 1, 'b': 2},
                iter('ab'), (tag for tag in 'ab')):
            self.client.set('key', 1, dependencies=dependencies)
            self.assertFound(self.client, key=1)
            self.client.invalidateDependencies('b')
            self.assertMisses(self.client, 'key')

    def test_the_same_dependency_twice(self):
        for _ in range(2):
            for number in 1, 2:
                self.assertIsNotNone(self.client.set(
                    'key', number, dependencies=('a', 'b', 'a')))
                self.assertFound(self.client, key=number)
            self.assertEqual(self.client.getOrCreate(
                'made', lambda: 1, dependencies=('a', 'a')), 1)
            self.assertFound(self.client, made=1)
            self.client.invalidateDependencies('a', 'a')
            self.assertMisses(self.client, 'key', 'made')

    def test_wrong_types(self):
        self.client.set('key', 'former', dependencies=('a',))
        for wrong in ('a', b'a', None, 5, True, 1.5, object()):
            for use in self.uses(wrong):
                with (self.subTest(wrong=wrong),
                      self.assertRaisesRegex(TypeError, 'dependencies')):
                    use()
        for wrong in (b'a', None, 1, ('a',), object()):
            for use in self.uses(('a', wrong)):
                with (self.subTest(wrong=wrong),
                      self.assertRaisesRegex(TypeError, 'dependency')):
                    use()
            with (self.subTest(wrong=wrong),
                  self.assertRaisesRegex(TypeError, 'dependency')):
                self.client.invalidateDependencies('a', wrong)
        for use in (*self.uses(('\udc80',)), lambda:
                    self.client.invalidateDependencies('a', '\udc80')):
            with self.assertRaises(ValueError):
                use()
        # Nothing was sent.
        self.assertFound(self.client, key='former')

    def uses(self, dependencies):
        token = self.client.gets('key')[1]
        yield lambda: self.client.set('key', 1, dependencies=dependencies)
        yield lambda: self.client.setMany(
            {'key': 1}, dependencies=dependencies)
        yield lambda: self.client.add('other', 1, dependencies=dependencies)
        yield lambda: self.client.replace('key', 1, dependencies=dependencies)
        yield lambda: self.client.cas(
            'key', 1, token, dependencies=dependencies)
        yield lambda: self.client.lookUp('key', dependencies=dependencies)
        yield lambda: self.client.getOrCreateMany(
            ['key'], self.fail, dependencies=dependencies)
        yield lambda: self.client.getOrCreate(
            'key', self.fail, dependencies=dependencies)
        yield lambda: self.client.getOrCreate(
            'other', self.fail, dependencies=dependencies)

    def test_a_dependency_is_any_str(self):
        tags = [
            '', ' ', 'a b', '\r\nflush_all\r\n', '\0', '\xfc', '\u4e2d\u6587',
            '\U0001f600', 'path:/shop', 'user:7', 'x' * 100_000,
            '\u4e2d' * 1000]
        self.client.set('other', 1, dependencies=('another',))
        for tag in tags:
            with self.subTest(tag=tag[:20]):
                self.client.set('key', 1, dependencies=(tag,))
                self.client.set('all', 1, dependencies=tags)
                self.assertFound(self.client, key=1, all=1)
                self.assertIs(self.client.invalidateDependencies(tag), True)
                self.assertMisses(self.client, 'key', 'all')
        self.assertFound(self.client, other=1)

    def test_many(self):
        tags = [f'tag {number}' for number in range(100)]
        for tag in tags[::33]:
            self.assertIsNotNone(
                self.client.set('key', [1], dependencies=tags))
            self.assertFound(self.client, key=[1])
            self.client.invalidateDependencies(tag)
            self.assertMisses(self.client, 'key')
        self.client.set('key', [1], dependencies=tags)
        self.assertIs(self.client.invalidateDependencies(*tags), True)
        self.assertMisses(self.client, 'key')

    def test_a_tag_is_no_key(self):
        client = self.makeClient(generations=True)
        for name in 'key', '':
            client.set(name, 'value', dependencies=(name,))
            client.set('other', 'value')
            self.assertEqual(client.query(name), 'value')
            client.invalidateDependencies(name)
            self.assertMisses(client, name)
            self.assertFound(client, other='value')
            client.set(name, 'value', dependencies=(name,))
            client.invalidate(name)
            client.set(name, 'another', dependencies=(name,))
            self.assertEqual(client.query(name), 'another')

    def test_namespaces(self):
        clients = [self.makeClient(namespace=namespace)
                   for namespace in (None, 'on', 'two')]
        clients.append(self.makeClient(keyScheme='strict'))
        for client in clients:
            client.set('key', 1, dependencies=('a',))
        self.client.set('key', 1, dependencies=('a',))
        self.client.invalidateDependencies('a')
        self.assertMisses(self.client, 'key')
        for client in clients:
            self.assertFound(client, key=1)
            client.invalidateDependencies('a')
            self.assertMisses(client, 'key')

    def test_another_client(self):
        other = self.other()
        for one, two in (self.client, other), (other, self.client):
            one.set('key', 1, dependencies=('a',))
            self.assertFound(two, key=1)
            two.invalidateDependencies('a')
            self.assertMisses(one, 'key')
            self.assertMisses(self.makeClient(), 'key')

    def test_with_generations(self):
        client = self.makeClient(generations=True)
        for invalidate in (
                client.invalidateNamespace,
                lambda: client.invalidateDependencies('a'),
                lambda: client.invalidate('key')):
            self.assertIsNotNone(client.set('key', 1, dependencies=('a',)))
            client.set('other', 2, dependencies=('b',))
            self.assertFound(client, key=1, other=2)
            self.assertIs(invalidate(), True)
            self.assertMisses(client, 'key')

    def test_another_namespace(self):
        self.client.set('key', 1, dependencies=('a',))
        self.client.namespace = 'two'
        self.client.set('key', 2, dependencies=('a',))
        self.client.namespace = 'one'
        self.client.invalidateDependencies('a')
        self.assertMisses(self.client, 'key')
        self.client.namespace = 'two'
        self.assertFound(self.client, key=2)

    def test_values(self):
        for value in None, '', 'text', [1, {'a': (2, None)}], b'a b\nc', 0:
            self.client.set('key', value, dependencies=('a',))
            self.assertFound(self.client, key=value)
            found, token = self.client.gets('key')
            self.assertEqual(found, value)
            self.assertIsNotNone(token)
            self.client.invalidateDependencies('a')
            self.assertMisses(self.client, 'key')

    def test_raw_values(self):
        for value in b'', b'\n', b'a b\nc', b'END\r\n', bytes(range(256)):
            with self.subTest(value=value):
                self.client.set('key', value, raw=True, dependencies=('a',))
                self.assertEqual(
                    self.client.query('key', raw=True, default=MISSING),
                    value)
                self.assertEqual(
                    self.client.queryMany(['key'], raw=True), {'key': value})
                self.assertEqual(
                    self.client.queryAndTouch('key', raw=True), value)
                self.client.invalidateDependencies('a')
                self.assertMisses(self.client, 'key')

    def test_raw_reads_the_pickle(self):
        self.client.set('key', [1], dependencies=('a',))
        self.assertEqual(
            self.client.query('key', raw=True), pickle.dumps([1], -1))

    def test_touch(self):
        self.client.set('key', 1, dependencies=('a',))
        self.assertIs(self.client.touch('key', 60), True)
        self.assertEqual(self.client.queryAndTouch('key', 60), 1)
        self.assertFound(self.client, key=1)
        self.client.invalidateDependencies('a')
        self.assertMisses(self.client, 'key')

    def test_a_later_value_has_other_dependencies(self):
        for store in (
                lambda: self.client.set('key', 2, dependencies=('b',)),
                lambda: self.client.set('key', 2),
                lambda: self.client.setMany({'key': 2})):
            self.client.set('key', 1, dependencies=('a',))
            store()
            self.client.invalidateDependencies('a')
            self.assertFound(self.client, key=2)

    def test_queryMany(self):
        for number in range(30):
            self.client.set(number, number, dependencies=(
                f'tens {number // 10}', f'ones {number % 10}'))
        self.client.set('plain', 'plain')
        self.client.invalidateDependencies('tens 1', 'ones 7')
        self.assertEqual(
            self.client.queryMany([*range(40), 'plain']),
            {**{number: number for number in range(30)
                if number // 10 != 1 and number % 10 != 7},
             'plain': 'plain'})

    # Lost versions

    def test_an_evicted_version(self):
        for tag in 'a', 'b':
            self.client.set('key', 1, dependencies=('a', 'b'))
            self.lose(self.tag_key(tag))
            self.assertMisses(self.client, 'key')
            # Nor does it return with the next version.
            self.client.set('other', 1, dependencies=('a', 'b'))
            self.assertMisses(self.client, 'key')
            self.assertFound(self.client, other=1)

    def test_all_is_flushed(self):
        self.client.set('key', 1, dependencies=('a',))
        self.client.invalidateAll()
        self.assertMisses(self.client, 'key')
        self.client.set('key', 2, dependencies=('a',))
        self.assertFound(self.client, key=2)

    def test_a_broken_version(self):
        for data, flags in NO_VERSIONS:
            with self.subTest(data=data[:20], flags=flags):
                self.client.set('key', 'old', dependencies=('a', 'b'))
                self.client.set('other', 'other', dependencies=('b',))
                self.plant(self.tag_key('a'), data, flags)
                self.assertMisses(self.client, 'key')
                self.assertEqual(self.client.queryMany(['key', 'other']),
                                 {'other': 'other'})
                self.assertEqual(self.client.getOrCreate(
                    'key', lambda: 'new', dependencies=('a',)), 'new')
                self.plant(self.tag_key('a'), data, flags)
                # The first one detects the fault, and repairs it.
                self.client.set('key', 'new', dependencies=('a',))
                self.assertNotEqual(self.client.query('key'), 'old')
                self.assertIsNotNone(
                    self.client.set('key', 'newer', dependencies=('a',)))
                self.assertFound(self.client, key='newer', other='other')

    def test_malformed_stamps(self):
        self.client.set('other', 'other', dependencies=('a',))
        self.client.set('plain', 'plain')
        for stamp in NO_STAMPS:
            with self.subTest(stamp=stamp[:40], size=len(stamp)):
                built = self.client.buildKey('key')
                self.plant(built, stamp, STAMPED)
                self.assertMisses(self.client, 'key')
                self.assertEqual(
                    self.client.queryMany(['key', 'other', 'plain']),
                    {'other': 'other', 'plain': 'plain'})
                self.assertEqual(self.client.getOrCreate(
                    'key', lambda: 'new'), 'new')
                self.assertFound(self.client, key='new')
                self.plant(built, stamp, STAMPED)
                self.assertEqual(self.client.getOrCreate(
                    'key', lambda: 'new', grace=9, dependencies=('a',)),
                    'new')
                self.assertFound(self.client, key='new')
        self.assertFound(self.client, other='other', plain='plain')

    def test_a_stamp_makes_no_other_keys_be_read(self):
        secret = self.client.set('other', 'x' * 1000)
        stamps = [
            stamp for stamp in NO_STAMPS if b' ' in stamp] + [
            f'{secret} 0123456789abcdef\nvalue'.encode()]
        asked = set()

        store = self.client._state.store

        def note(keys, *args, ask=store.get_many):
            asked.update(keys)
            return ask(keys, *args)

        with mock.patch.object(store, 'get_many', note):
            for stamp in stamps:
                self.plant(self.client.buildKey('key'), stamp, STAMPED)
                self.assertMisses(self.client, 'key')
                self.client.getOrCreate('key', lambda: 1, grace=9)
        self.assertLessEqual({
            key for key in asked if not key.startswith(b'fresh:')},
            {self.client.buildKey('key').encode()})

    def test_stamps_with_keys_of_other_values(self):
        # Their keys exist, but are not those of versions.
        self.client.set('other', b'value', raw=True)
        self.client.set('key', 1, dependencies=('a',))
        data, flags = self.stored(self.tag_key('a'))
        other = self.client.buildKey('other').encode()
        pickled = pickle.dumps(1, -1)
        for stamp in (
                b'%b value' % other,
                b'%b %b' % (other, data),
                b'%b %b value' % (self.tag_key('a').encode(), other),
                b'%b %b %b value' % (
                    self.tag_key('a').encode(), data, other)):
            self.plant(self.client.buildKey('key'),
                       stamp + b'\n' + pickled, STAMPED)
            self.assertMisses(self.client, 'key')
        # A well-formed stamp would have been accepted.
        self.plant(self.client.buildKey('key'), b'%b %b\n%b' % (
            self.tag_key('a').encode(), data, pickled), STAMPED)
        self.assertFound(self.client, key=1)

    def test_a_good_stamp_in_front_of_garbage(self):
        self.client.set('key', 1, dependencies=('a',))
        stored, flags = self.stored(self.client.buildKey('key'))
        stamp = stored.partition(b'\n')[0]
        for data in b'', b'garbage', pickle.dumps([1], -1)[:-1]:
            self.plant(self.client.buildKey('key'), stamp + b'\n' + data,
                       STAMPED)
            self.assertEqual(self.client.query('key', default=MISSING),
                             MISSING)
            self.assertEqual(self.client.queryMany(['key']), {})
            self.assertEqual(self.client.query('key', raw=True), data)

    # Concurrent clients

    def test_two_make_a_version(self):
        # After this client has found none, the other one is a little faster.
        other = self.makeClient()
        store = self.client._state.store
        change = store.run_many

        def late(*args):
            self.assertIsNotNone(other.set('other', 2, dependencies=('a',)))
            return change(*args)

        with mock.patch.object(store, 'run_many', late):
            self.assertIsNotNone(
                self.client.set('key', 1, dependencies=('a', 'b')))
        for client in self.client, other:
            self.assertFound(client, key=1, other=2)
        other.invalidateDependencies('a')
        for client in self.client, other:
            self.assertMisses(client, 'key', 'other')

    def test_invalidated_during_a_set(self):
        other = self.other()
        store = self.client._state.store
        run = store.run

        def late(*args):
            other.invalidateDependencies('a')
            return run(*args)

        with mock.patch.object(store, 'run', late):
            self.client.set('key', 'too late', dependencies=('a',))
        for client in self.client, other:
            self.assertMisses(client, 'key')

    # Values that are computed

    def test_getOrCreate(self):
        counter = itertools.count()
        other = self.other()

        def get(client):
            return client.getOrCreate(
                'key', counter.__next__, dependencies=('a', 'b'))

        for number in range(3):
            self.assertEqual(
                [get(self.client), get(other), get(self.client)],
                [number] * 3)
            self.assertFound(other, key=number)
            other.invalidateDependencies('b', 'c')
            self.assertMisses(self.client, 'key')

    def test_invalidated_while_it_is_computed(self):
        other = self.other()
        for who in self.client, other:
            for grace in None, 60:
                def factory(who=who):
                    who.invalidateDependencies('a')
                    return 'too late'

                self.assertEqual(self.client.getOrCreate(
                    'key', factory, grace=grace, dependencies=('a',)),
                    'too late')
                for client in self.client, other:
                    self.assertMisses(client, 'key')
                self.assertEqual(self.client.getOrCreate(
                    'key', lambda: 'new', grace=grace, dependencies=('a',)),
                    'new')
                self.assertFound(other, key='new')
                self.client.invalidate('key')

    def late_caller(self, client, invalidate, told=True):
        """Return what a caller gets that comes after the invalidation, while
        another one of the same process is still computing.
        """
        computing, over = threading.Event(), threading.Event()

        def slow():
            computing.set()
            over.wait(PATIENCE)
            return 'old'

        def is_waiting():
            return any(flight._waiting
                       for flight in list(client._flights.values()))

        with ThreadPoolExecutor(2) as executor:
            try:
                first = executor.submit(
                    client.getOrCreate, 'key', slow, dependencies=('a',))
                self.assertTrue(computing.wait(PATIENCE))
                self.assertIs(invalidate(), told)
                second = executor.submit(
                    client.getOrCreate, 'key', lambda: 'new',
                    dependencies=('a',))
                end = soon()
                pause = threading.Event()
                while not (second.done() or is_waiting()):
                    self.assertLess(time.monotonic(), end)
                    pause.wait(0.001)
            finally:
                over.set()
            self.assertEqual(first.result(), 'old')
            return second.result()

    def test_a_caller_after_the_invalidation(self):
        other = self.other()
        for who in self.client, other:
            self.assertEqual(self.late_caller(
                self.client, lambda who=who: who.invalidateDependencies('a')),
                'new', who)
            self.assertFound(other, key='new')
            who.invalidate('key')

    def test_a_caller_after_the_invalidation_of_the_namespace(self):
        client = self.makeClient(generations=True)
        other = self.other(generations=True)
        for who in client, other:
            self.assertEqual(
                self.late_caller(client, who.invalidateNamespace), 'new', who)
            self.assertFound(other, key='new')
            who.invalidate('key')

    def race(self, clients, rounds):
        """No call returns a value older than an earlier invalidation."""
        source = invalidated = 0
        wrong = []
        stopping = threading.Event()

        def compute():
            value = source
            time.sleep(0)  # let another thread run
            return value

        def work(client, key, grace):
            while not stopping.is_set():
                known = invalidated
                value = client.getOrCreate(
                    key, compute, grace=grace, dependencies=('a', key))
                if value < known:
                    wrong.append((key, value, known))
                known = invalidated
                value = client.query(key, default=known)
                if value < known:
                    wrong.append((key, value, known))

        with ThreadPoolExecutor(6) as executor:
            jobs = [
                executor.submit(work, client, key, grace)
                for client, key, grace in zip(
                    itertools.cycle(clients), 'xxyyzz',
                    (None, None, 9, 9, None, 9), strict=False)]
            try:
                for number in range(1, rounds + 1):
                    source = number
                    self.assertIs(
                        random.choice(clients).invalidateDependencies('a'),
                        True)
                    invalidated = number
            finally:
                stopping.set()
        for job in jobs:
            job.result()
        self.assertEqual(wrong, [])
        # Once no caller is computing, all get the same value.
        for client in clients:
            for key in 'xyz':
                self.assertIn(client.query(key), (None, rounds))
                self.assertEqual(client.getOrCreate(
                    key, compute, dependencies=('a', key)), rounds)
                self.assertFound(client, **{key: rounds})

    rounds = 40

    def test_race(self):
        self.race([self.client], self.rounds)

    def test_race_of_two_clients(self):
        self.race([self.client, self.other()], self.rounds)


class VersionsTest(unittest.TestCase):
    """Large values that are stored in place of versions."""

    block = bytes(1 << 20)

    def answer(self, request):
        command, *keys = request.split()
        if command in (b'delete', b'mn'):
            return b'DELETED\r\n' if command == b'delete' else b'ERROR\r\n'
        if command == b'add':
            return b'NOT_STORED\r\n'
        if keys[0].startswith(b'tag:'):
            return [(piece, 0) for key in keys for piece in (
                b'VALUE %b 0 %d\r\n' % (key, len(self.block)), self.block,
                b'\r\n')] + [(b'END\r\n', 0)]
        words = (b'tag:%032x %016x' % (number, number)
                 for number in range(100))
        data = b' '.join(words) + b'\n' + pickle.dumps(1)
        return b'VALUE %b 64 %d%b\r\n%b\r\nEND\r\n' % (
            keys[0], len(data), b' 7' if command == b'gets' else b'', data)

    def test_large_versions_are_not_received(self):
        keep_quiet(self)
        received = []

        def count(reader, receive, make=Reader.__init__):
            def receive_and_count(size):
                data = receive(size)
                received.append(len(data))
                return data

            make(reader, receive_and_count)

        self.enterContext(mock.patch.object(Reader, '__init__', count))
        for factory in MemcacheClient, UltraMemcacheClient:
            with ScriptedServer(default=self.answer) as server:
                client = factory([server.address])
                self.addCleanup(client.close)
                for read in (
                        client.query, client.gets,
                        lambda key, client=client: client.set(
                            key, 1, dependencies=('a', 'b'))):
                    with self.subTest(factory, read=read):
                        received.clear()
                        self.assertIn(read('key'), (None, (None, None)))
                        self.assertLess(sum(received), 1 << 20)


class RaceTest(unittest.TestCase):
    """A version is made and invalidated while another client makes one."""

    def test_a_version_made_meanwhile_is_not_removed(self):
        keep_quiet(self)
        server = self.enterContext(EmbeddedServer())
        one, other = (
            UltraMemcacheClient([server.address], generations=True)
            for _ in range(2))
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        store = other._state.store
        change = store.run_many

        def late(*args):
            one.set('key', 1)          # makes the generation first
            replies = change(*args)    # so it is not added here
            one.invalidateNamespace()  # and is removed before it is read
            return replies

        with (mock.patch.object(store, 'run_many', late),
              mock.patch.object(store, 'run') as run):
            self.assertIsNone(other.set('another', 1))
        run.assert_not_called()


class TooManyTest(unittest.TestCase):

    def test_too_many(self):
        client = FakeMemcacheClient()
        many = [f'tag {number}' for number in range(101)]
        self.assertIsNotNone(client.set('key', 1, dependencies=many[:100]))
        self.assertEqual(client.query('key'), 1)
        self.assertEqual(client.getOrCreate(
            'other', lambda: 2, grace=60, dependencies=many[:100]), 2)
        self.assertEqual(client.query('other'), 2)
        for call in (
                lambda: client.set('key', 1, dependencies=many),
                lambda: client.getOrCreate('key', list, dependencies=many)):
            with self.assertRaisesRegex(ValueError, '101 are more than 100'):
                call()
        self.assertIs(client.invalidateDependencies(*many), True)
        self.assertIsNotNone(client.set('key', 1, dependencies=many[:100]))
        data, flags = getFakeBackend(client).cache[client.buildKey('key')]
        versions, value = take(data)
        versions.update(
            (b'tag:%032x' % number, b'0' * 16) for number in range(2))
        getFakeBackend(client).cache[client.buildKey('key')] = (
            put(versions, value), flags)
        with self.assertLogs('p01.memcache'):
            self.assertIsNone(client.query('key'))


@matrix(POOLED_EMBEDDED, slow=[CLASSIC_EMBEDDED])
@matrix(slow=MEMCACHED, rounds=1000)
class ServedDependencyScenario(DependencyScenario):

    def test_a_caller_after_the_invalidation_without_a_server(self):
        with refusing() as down:
            for generations in False, True:
                client = self.makeClient(
                    servers=[down], generations=generations)
                self.assertEqual(self.late_caller(
                    client, lambda client=client:
                    client.invalidateDependencies('a'), None), 'new')
            self.assertEqual(self.late_caller(
                client, client.invalidateNamespace, None), 'new')


# What is sent


@matrix(*EMBEDDED, slow=MEMCACHED)
class RoundTripScenario:
    """How often the server is asked, as seen by a proxy in front of it."""

    def setUp(self):
        keep_quiet(self)
        self.proxy = self.enterContext(FaultProxy(self.layer.address))
        self.client = self.makeClient([self.proxy.address])
        self.other = self.makeClient([self.layer.address])
        self.client.invalidateAll()

    def makeClient(self, servers):
        client = self.factory(
            servers=servers, namespace='one', generations=True)
        self.addCleanup(client.close)
        return client

    def assertTrips(self, expected, operation, *args, **kw):
        """The operation takes that many round trips. Return its result."""
        before = self.proxy.exchanges
        result = operation(*args, **kw)
        self.assertEqual(self.proxy.exchanges - before, expected)
        return result

    def test_reading_knows_the_generation(self):
        self.client.set('key', 'value')
        for _ in range(3):
            self.assertEqual(
                self.assertTrips(1, self.client.query, 'key'), 'value')
            self.assertTrips(1, self.client.query, 'no key')
            self.assertEqual(
                self.assertTrips(
                    1, self.client.queryMany, ['key', *range(900)]),
                {'key': 'value'})

    def test_reading_without_knowing_the_generation(self):
        self.other.set('key', 'value')
        self.assertEqual(
            self.assertTrips(2, self.client.query, 'key'), 'value')
        self.assertTrips(1, self.client.query, 'key')

    def test_reading_with_a_former_generation(self):
        self.client.set('key', 'value')
        for read, expected in [
                (lambda: self.client.query('key'), 'new'),
                (lambda: self.client.queryMany(['key']), {'key': 'new'})]:
            self.other.invalidateNamespace()
            self.other.set('key', 'new')
            self.assertEqual(self.assertTrips(2, read), expected)
            self.assertEqual(self.assertTrips(1, read), expected)

    def test_all_other_operations(self):
        client = self.client
        # Whether the server knows the meta commands is asked once.
        client.getOrCreate('some key', str)
        for operation in (
                lambda: client.set('key', b'5', raw=True),
                lambda: client.add('key', b'5', raw=True),
                lambda: client.replace('key', b'5', raw=True),
                lambda: client.append('key', b'5'),
                lambda: client.prepend('key', b'5'),
                lambda: client.touch('key'),
                lambda: client.queryAndTouch('key', raw=True),
                lambda: client.gets('key', raw=True),
                lambda: client.increment('key'),
                lambda: client.decrement('key'),
                lambda: client.setMany({key: key for key in range(100)}),
                lambda: client.invalidateMany(range(100)),
                lambda: client.invalidate('key')):
            # Nor do they take more after another client has changed it.
            if client.query('key', raw=True) is None:
                client.set('key', b'5', raw=True)
            self.assertTrips(2, operation)
        client.set('key', 'value')
        self.assertTrips(1, client.getOrCreate, 'key', self.fail)
        self.assertTrips(1, client.invalidateNamespace)

    def test_dependencies(self):
        client = self.client
        for generations, more in (True, 1), (False, 0):
            client.generations = generations
            tags = [f'tag {number}' for number in range(100)]
            client.set('key', 1, dependencies=tags)
            for number in range(50):
                client.set(number, number, dependencies=tags[:number])
            self.assertTrips(
                2 + more, client.set, 'key', 1, dependencies=tags)
            self.assertEqual(self.assertTrips(2, client.query, 'key'), 1)
            self.assertEqual(len(self.assertTrips(
                2, client.queryMany, ['key', *range(50)])), 51)
            # Values without dependencies do not take more.
            client.setMany(dict.fromkeys(range(100, 200), 'plain'))
            self.assertEqual(len(self.assertTrips(
                2, client.queryMany, ['key', *range(100, 200)])), 101)
            # Without dependencies, there is no request.
            self.assertTrips(1, client.query, 0)
            self.assertTrips(1 + more, client.set, 'key', 1)
            self.assertTrips(1, client.query, 'key')
            self.assertTrips(1, client.invalidateDependencies, 'tag 1')
            self.assertEqual(self.assertTrips(2, client.query, 2), None)
            self.assertTrips(0, client.invalidateDependencies)

    def test_many_dependencies(self):
        tags = [f'tag {number}' for number in range(100)]
        # For the generation, the versions, new ones, and the value.
        self.client.query('key')
        self.assertTrips(4, self.client.set, 'key', 1, dependencies=tags)
        self.assertTrips(1, self.client.invalidateDependencies, *tags)


# Several servers


class ServersCase(unittest.TestCase):
    """Three servers, each behind a proxy.

    A server is lost when its proxy cuts and refuses connections; it keeps
    its data.
    """

    level = 2

    factory = UltraMemcacheClient
    attributes = {'delay': 0, 'retries': 1, 'blacktime': 60}

    def setUp(self):
        keep_quiet(self)
        self.proxies = [self.enterContext(FaultProxy(server.address))
                        for server in self.makeServers()]
        self.client = self.makeClient()

    def makeServers(self):
        return [self.enterContext(EmbeddedServer()) for _ in range(3)]

    def makeClient(self, **settings):
        client = self.factory(
            servers=[proxy.address for proxy in self.proxies],
            **{'namespace': 'one', 'generations': True, **self.attributes,
               **settings})
        self.addCleanup(client.close)
        return client

    def place(self, wire):
        """Return the place of the server that has a key on the wire."""
        return self.client._state.store.router.ring.find(wire)

    def generation_place(self):
        return self.place(b'generation:' + self.client.buildKey('').encode())

    def value_place(self, key):
        return self.place(self.client.buildKey(key).encode() + (
            b'.' + self.client._state.namespace.seen if self.client.generations
            else b''))

    def tag(self, place):
        """Return a dependency whose version is on that server."""
        return next(
            tag for tag in map('tag {}'.format, itertools.count())
            if self.place(
                b'tag:' + self.client.buildKey(tag).encode()) == place)

    def keys(self, but, count=5):
        """Return keys whose values are on the other servers."""
        return list(itertools.islice((
            key for key in map('key {}'.format, itertools.count())
            if self.value_place(key) != but), count))

    def lose(self, place):
        self.proxies[place].refuse()
        self.proxies[place].cut()

    def bring_back(self, place, *clients):
        """Bring a server back; the clients may ask it at once."""
        self.proxies[place].clear()
        self.proxies[place].accept()
        for client in clients or [self.client]:
            self.let_probe(client, place)

    def let_probe(self, client, place):
        health = client._state.store.servers[place].health
        health._asking._until = time.monotonic()

    def hold(self, place):
        self.proxies[place].fault = DEAF

    def release(self, place):
        self.proxies[place].clear()
        self.proxies[place].release(drop=True)
        self.proxies[place].cut()
        self.bring_back(place)

    def assertInTime(self, operation, expected):
        """It ends in time, unless the machine was busy each time."""
        for _ in range(3):
            start = time.monotonic()
            self.assertEqual(operation(), expected)
            took = time.monotonic() - start
            # The next operation must not benefit from what is known now.
            self.let_probe(self.client, self.home)
            if took < self.client._timeout + SLACK:
                return
        self.fail(f'took {took:.3f} s')


class OnMemcached:
    """The same on memcached."""

    layer = ClusterLayer
    level = 2

    def makeServers(self):
        return ClusterLayer.servers


@variant('OnMemcached', OnMemcached)
class SpreadTest(ServersCase):
    """All is well, with each part on a different server."""

    def test_generations(self):
        other = self.makeClient()
        keys = list(range(30))
        for number in range(3):
            self.assertEqual(
                self.client.setMany(dict.fromkeys(keys, number)), [])
            for key in keys:
                self.assertEqual(other.query(key), number)
            self.assertEqual(
                other.queryMany(keys), dict.fromkeys(keys, number))
            other.invalidateNamespace()
            self.assertEqual(self.client.queryMany(keys), {})
            for key in keys:
                self.assertIsNone(self.client.query(key))
        places = {self.value_place(key) for key in keys}
        self.assertEqual(places, {0, 1, 2})

    def test_dependencies(self):
        tags = [self.tag(place) for place in range(3)]
        for key in range(30):
            self.client.set(key, key, dependencies=tags[key % 3:])
        keys = set(range(30))
        self.assertEqual(
            self.client.queryMany(keys), {key: key for key in keys})
        for place in range(3):
            self.client.invalidateDependencies(tags[place])
            keys -= {key for key in keys if key % 3 <= place}
            self.assertEqual(
                self.client.queryMany(range(30)), {key: key for key in keys})

    def test_round_trips(self):
        # The servers are asked at the same time.
        keys = list(range(100))
        tags = [self.tag(place) for place in range(3)]
        for key in keys:
            self.client.set(key, key, dependencies=tags)
        before = [proxy.exchanges for proxy in self.proxies]
        self.assertEqual(len(self.client.queryMany(keys)), 100)
        self.assertEqual([proxy.exchanges for proxy in self.proxies],
                         [number + 2 for number in before])


@variant('OnMemcached', OnMemcached)
class ClassicSpreadTest(SpreadTest):

    level = 2
    factory = MemcacheClient
    attributes = {}

    def place(self, wire):
        store = self.client._state.store
        return store.servers.index(store.server(wire, None))


class GenerationOutageTest(ServersCase):
    """The generation's server is down; the others are not."""

    timeout = 0.15

    def setUp(self):
        super().setUp()
        self.set_timeout(self.timeout)
        self.client.query('some key')
        self.home = self.generation_place()
        self.others = self.keys(self.home)
        for key in self.others:
            self.assertIsNotNone(self.client.set(key, 'old'))

    def set_timeout(self, timeout):
        self.client.timeout = timeout

    def operations(self, key):
        client, keys = self.client, self.others
        return [
            (lambda: client.query(key, default=MISSING), MISSING),
            (lambda: client.gets(key, default=MISSING), (MISSING, None)),
            (lambda: client.queryAndTouch(key, default=MISSING), MISSING),
            (lambda: client.queryMany(keys), {}),
            (lambda: client.set(key, 1), None),
            (lambda: client.set(key, 1, dependencies=('a', 'b')), None),
            (lambda: client.add(key, 1), None),
            (lambda: client.replace(key, 1), None),
            (lambda: client.append(key, b'1'), None),
            (lambda: client.touch(key), None),
            (lambda: client.increment(key, initial=1), None),
            (lambda: client.cas(key, 1, '1@' + client.servers[0]), None),
            (lambda: client.setMany(dict.fromkeys(keys, 1)), keys),
            (lambda: client.invalidate(key), None),
            (lambda: client.invalidateMany(keys), keys),
            (lambda: client.getOrCreate(key, lambda: 'made'), 'made'),
            (client.invalidateNamespace, None),
        ]

    def check(self, lose):
        operations = self.operations(self.others[0])
        lose(self.home)
        for number, (operation, expected) in enumerate(operations):
            with self.subTest(number=number):
                self.assertInTime(operation, expected)

    def assertNothingOld(self):
        for _ in range(2):
            for key in self.others:
                self.assertNotEqual(self.client.query(key), 'old')
                self.assertNotIn(
                    'old', self.client.queryMany(self.others).values())
        key = self.others[0]
        self.assertIsNotNone(self.client.set(key, 'new'))
        self.assertEqual(self.client.query(key), 'new')

    def test_it_is_down(self):
        self.check(self.lose)
        self.bring_back(self.home)
        self.assertNothingOld()

    def test_it_is_down_and_not_known_to_be(self):
        self.client = self.makeClient()
        self.set_timeout(self.timeout)
        self.check(self.lose)

    def test_each_change_is_owed(self):
        changes = [
            lambda key: self.client.set(key, 'lost'),
            lambda key: self.client.invalidate(key),
            lambda key: self.client.add(key, 'lost'),
            lambda key: self.client.increment(key),
            lambda key: self.client.setMany({key: 'lost'}),
            lambda key: self.client.invalidateMany([key]),
            lambda key: self.client.invalidateNamespace(),
        ]
        for number, change in enumerate(changes):
            with self.subTest(number=number):
                key = self.keys(self.home)[0]
                self.assertIsNotNone(self.client.set(key, 'old'))
                self.lose(self.home)
                change(key)
                self.bring_back(self.home)
                self.assertIsNone(self.client.query(key))

    def test_interrupted_changes_are_owed(self):
        # As by a greenlet's time-out, or by ^C.
        for change in (
                lambda: self.client.set(self.others[0], 'lost'),
                lambda: self.client.invalidate(self.others[0]),
                lambda: self.client.setMany({self.others[0]: 'lost'}),
                lambda: self.client.invalidateMany(self.others[:1])):
            self.assertIsNotNone(self.client.set(self.others[0], 'old'))
            with (mock.patch.object(self.client._state.store, 'get_many',
                                    side_effect=KeyboardInterrupt),
                  self.assertRaises(KeyboardInterrupt)):
                change()
            self.assertIsNone(self.client.query(self.others[0]))

    def test_a_values_server_is_lost(self):
        # The server of some values is down, not that of the generation.
        place = self.value_place(self.others[0])
        self.client.setMany(dict.fromkeys(range(30), 'value'))
        there = [key for key in range(30) if self.value_place(key) == place]
        self.lose(place)
        self.assertEqual(
            self.client.queryMany(range(30)),
            {key: 'value' for key in range(30) if key not in there})
        self.assertIsNone(self.client.query(self.others[0]))
        self.assertIs(self.client.invalidateNamespace(), True)
        self.bring_back(place)
        self.assertEqual(self.client.queryMany(range(30)), {})


class ClassicGenerationOutageTest(GenerationOutageTest):

    level = 2
    factory = MemcacheClient
    attributes = {}

    place = ClassicSpreadTest.place

    def set_timeout(self, timeout):
        self.client._timeout = self.client._retry = timeout
        self.client.close()

    def let_probe(self, client, place):
        client._state.store.servers[place].deaduntil = 0

    # It keeps no record of failed changes.

    def assertNothingOld(self):
        key = self.others[0]
        self.assertIs(self.client.invalidateNamespace(), True)
        self.assertIsNotNone(self.client.set(key, 'new'))
        self.assertEqual(self.client.query(key), 'new')

    test_each_change_is_owed = None
    test_interrupted_changes_are_owed = None


class DependencyOutageTest(ServersCase):
    """A version's server is down; that of the value is not."""

    timeout = 0.15

    def setUp(self):
        super().setUp()
        self.client.generations = False
        self.client.timeout = self.timeout
        self.home = 0
        self.lost, self.live = self.tag(0), self.tag(1)
        self.key, self.other = self.keys(self.home, 2)
        self.client.set(self.key, 'old', dependencies=(self.lost, self.live))
        self.client.set(self.other, 'other', dependencies=(self.live,))

    def check(self, lose):
        lose(self.home)
        tags = self.lost, self.live
        for operation, expected in [
                (lambda: self.client.query(self.key), None),
                (lambda: self.client.queryMany([self.key, self.other]),
                 {self.other: 'other'}),
                (lambda: self.client.gets(self.key), (None, None)),
                (lambda: self.client.getOrCreate(
                    self.key, lambda: 'made', dependencies=tags), 'made'),
                (lambda: self.client.set(
                    self.key, 'lost', dependencies=tags), None),
                (lambda: self.client.invalidateDependencies(*tags), None),
                (lambda: self.client.invalidateDependencies(self.lost), None),
                ]:
            self.assertInTime(operation, expected)

    def test_it_is_down(self):
        self.check(self.lose)
        self.bring_back(self.home)
        self.assertIsNone(self.client.query(self.key))

    def test_a_former_generation_returns(self):
        # Nothing was changed meanwhile.
        self.lose(self.home)
        self.assertIsNone(self.client.query(self.key))
        self.bring_back(self.home)
        self.assertEqual(self.client.query(self.key), 'old')

    def test_an_invalidation_is_owed(self):
        self.lose(self.home)
        self.assertIsNone(
            self.client.invalidateDependencies(self.live, self.lost))
        # The version whose server is up was removed.
        self.assertIsNone(self.client.query(self.other))
        self.bring_back(self.home)
        self.assertEqual(self.client.queryMany([self.key, self.other]), {})
        self.assertIsNone(self.client.query(self.key))

    def test_a_set_is_owed(self):
        # The old value does not have the dependency that is lost.
        for stop in self.lose, lambda place: None:
            self.client.set(self.key, 'old', dependencies=(self.live,))
            stop(self.home)
            with contextlib.ExitStack() as stack:
                if stop != self.lose:
                    # As by a greenlet's time-out, or by ^C.
                    stack.enter_context(mock.patch.object(
                        self.client._state.store, 'get_many',
                        side_effect=KeyboardInterrupt))
                    stack.enter_context(
                        self.assertRaises(KeyboardInterrupt))
                self.assertIsNone(self.client.set(
                    self.key, 'lost', dependencies=(self.lost,)))
            self.assertIsNone(self.client.query(self.key))
            self.bring_back(self.home)
            self.assertIsNone(self.client.query(self.key))

    def test_the_server_of_the_value_is_down(self):
        tag = self.tag(self.value_place(self.key))
        place = self.value_place(self.key)
        self.client.set(self.key, 'old', dependencies=(self.lost,))
        self.lose(place)
        self.assertIs(self.client.invalidateDependencies(self.lost), True)
        self.assertIsNone(self.client.invalidateDependencies(tag))
        self.assertIsNone(self.client.query(self.key))
        self.bring_back(place)
        self.assertIsNone(self.client.query(self.key))


@variant('OnMemcached', OnMemcached)
class FailoverTest(ServersCase):
    """Another server has the generation while its own is down."""

    attributes = {'delay': 0, 'retries': 1, 'blacktime': 60, 'failover': True}

    def setUp(self):
        super().setUp()
        self.other = self.makeClient()
        self.client.query('some key')
        self.home = self.generation_place()
        self.some = list(range(20))
        self.client.setMany(dict.fromkeys(self.some, 'old'))
        self.assertEqual(self.other.query(1), 'old')
        self.lose(self.home)

    def find_out(self, *clients):
        for client in clients:
            # The first client that finds no generation makes one.
            client.query('some key')
            client.query('some key')
            self.assertEqual(
                client._state.store.servers[self.home].health.state, 'down')

    def check_home_returns(self, *clients):
        self.find_out(*clients)
        self.assertNotIn('old', self.client.queryMany(self.some).values())
        self.assertEqual(
            self.client.setMany(dict.fromkeys(self.some, 'new')), [])
        self.assertEqual(self.other.query(1), 'new')
        self.bring_back(self.home)
        # The client never again finds a value that it has replaced.
        for key in self.some:
            self.assertIn(self.client.query(key), (None, 'new'))
        self.assertNotIn('old', self.client.queryMany(self.some).values())
        self.assertIsNotNone(self.client.set(1, 'newer'))
        self.assertEqual(self.client.query(1), 'newer')

    def test_its_server_returns_with_the_old_generation(self):
        self.check_home_returns(self.client, self.other)

    def test_another_client_made_the_generation_meanwhile(self):
        self.check_home_returns(self.other, self.client)

    def test_invalidated_meanwhile(self):
        self.find_out(self.client)
        self.client.setMany(dict.fromkeys(self.some, 'meanwhile'))
        # Not on its own server.
        self.assertIsNone(self.client.invalidateNamespace())
        self.assertEqual(self.client.queryMany(self.some), {})
        self.bring_back(self.home)
        self.assertEqual(self.client.queryMany(self.some), {})
        for key in self.some:
            self.assertIsNone(self.client.query(key))

    def test_a_dependencys_server_returns_with_the_old_version(self):
        self.client.generations = self.other.generations = False
        tag = self.tag(self.home)
        keys = self.keys(self.home)
        self.bring_back(self.home, self.client, self.other)
        for key in keys:
            self.assertIsNotNone(
                self.client.set(key, 'old', dependencies=(tag,)))
        self.lose(self.home)
        # The other client makes the version on the stand-in.
        for client in self.other, self.client:
            client.query(keys[0])
            client.set('some key', 1, dependencies=(tag,))
        for key in keys[:2]:
            self.assertIsNotNone(
                self.client.set(key, 'new', dependencies=(tag,)))
            self.assertEqual(self.client.query(key), 'new')
        self.assertIsNone(self.client.invalidateDependencies(tag))
        self.assertIsNone(self.client.query(keys[0]))
        self.bring_back(self.home)
        for key in keys:
            self.assertIsNone(self.client.query(key))


class RealGenerationOutageTest(OnMemcached, GenerationOutageTest):

    def test_it_hangs(self):
        self.check(self.hold)
        self.release(self.home)
        self.assertNothingOld()


class RealClassicGenerationOutageTest(
        OnMemcached, ClassicGenerationOutageTest):

    test_it_hangs = RealGenerationOutageTest.test_it_hangs


class RealDependencyOutageTest(OnMemcached, DependencyOutageTest):

    def test_it_hangs(self):
        self.check(self.hold)
        self.release(self.home)
        self.assertIsNone(self.client.query(self.key))


# Several processes

PROCESS = '''
import sys
from p01.memcache.uclient import UltraMemcacheClient

client = UltraMemcacheClient([sys.argv[1]], namespace='one', generations=True)
print('ready', flush=True)
for line in sys.stdin:
    number = line.strip()
    client.set(sys.argv[2], number, dependencies=('a',))
    print(client._state.namespace.seen.decode(), flush=True)
'''


@variant('OnMemcached', server=Memcached, rounds=200)
class ProcessTest(unittest.TestCase):

    level = 2
    server = EmbeddedServer
    rounds = 50

    def test_they_agree(self):
        with self.server() as server, contextlib.ExitStack() as stack:
            names = ['x', 'y', 'z']
            processes = [
                stack.enter_context(subprocess.Popen(
                    [sys.executable, '-c', PROCESS, server.address, name],
                    env={**os.environ,
                         'PYTHONPATH': os.pathsep.join(sys.path)},
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
                for name in names]
            client = UltraMemcacheClient(
                [server.address], namespace='one', generations=True)
            stack.callback(client.close)
            # The process ends when its input is closed.
            for process in processes:
                stack.callback(process.stdin.close)
                self.assertEqual(process.stdout.readline(), 'ready\n')
            seen = set()
            for number in map(str, range(self.rounds)):
                # All at the same time, so that all of them try to make one.
                for process in processes:
                    process.stdin.write(number + '\n')
                    process.stdin.flush()
                generations = {
                    process.stdout.readline() for process in processes}
                self.assertEqual(len(generations), 1, generations)
                self.assertFalse(generations & seen)
                seen |= generations
                self.assertEqual(
                    client.queryMany(names), dict.fromkeys(names, number))
                client.invalidateDependencies('a')
                self.assertEqual(client.queryMany(names), {})
                client.invalidateNamespace()


