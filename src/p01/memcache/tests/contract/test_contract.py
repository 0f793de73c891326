# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of `IMemcacheClient`, run for every client.

The real clients run on the embedded server (level 1) and on memcached (level
2); the fakes have no server. Faults of the network or of a server are tested
elsewhere.
"""

import hashlib
import math
import pickle
import time
import unittest
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from unittest import mock

import zope.event
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject
from zope.schema import getFields

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.interfaces import IUnreadableValueEvent
from p01.memcache.keys import strict
from p01.memcache.testing import Memcached
from p01.memcache.testing import Pickable
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.values import Persistent
from p01.memcache.tests.support.values import Thrower
from p01.memcache.tests.support.values import Unpicklable
from p01.memcache.tests.support.waits import DAY
from p01.memcache.tests.support.waits import soon
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Contract)


# In the order of the constructor, each with a value other than its default.
ARGUMENTS = {
    'servers': ['localhost', '[::1]:11212/?2', '10.0.0.1:1', 'unix:/a'],
    'debug': 1,
    'pickleProtocol': 2,
    'lifetime': 0,
    'namespace': 'a namespace',
    'timeout': 0.5,
    'delay': 0,
    'retries': 1,
    'pooltime': 1.5,
    'blacktime': 0.25,
    'maxPoolSize': 1,
}
KEYWORDS = {
    'keyScheme': 'strict',
    'generations': True,
    'allow': ['shop.model', 'datetime.date'],
    'compress': 1000,
    'slow': 0.5,
    'maxValueSize': 100_000,
    'distribution': 'modulo',
    'failover': True,
    'maxAge': 2.5,
    'connectTimeout': 0.25,
    'refresh': 3.5,
    'handover': 4.5,
    'drained': ['10.0.0.1:1'],
}
VALUES = {**ARGUMENTS, **KEYWORDS}

# TLS, authentication and signatures need files, and have tests of their own.
ELSEWHERE = {'caFile', 'certFile', 'keyFile', 'username', 'password',
             'credentialsFile', 'serializer', 'secretsFile',
             'secretsVariable'}

# Values that are errors of use.
WRONG_TYPE = {
    'servers': [None, 'localhost', {'localhost': 1}],
    'debug': [None, True, '1', 1.0],
    'pickleProtocol': [None, False, '1', 2.0],
    'lifetime': [None, True, '60', 60.5],
    'namespace': [b'bytes', 1, True],
    'keyScheme': [],
    'generations': [None, 1, 'true'],
    'allow': ['datetime', {'datetime': 1}],
    'compress': [True, '1000', 1000.0],
    'slow': [True, '1'],
    'maxValueSize': [None, True, '1000', 1000.0],
    'timeout': [None, True, '3'],
    'delay': [None, True, '3'],
    'retries': [None, True, '3', 3.0],
    'pooltime': [None, True, '3'],
    'maxAge': [None, True, '3'],
    'connectTimeout': [True, '3'],
    'refresh': [None, True, '3'],
    'handover': [True, '3'],
    'drained': [None, 'localhost'],
    'blacktime': [None, True, '3'],
    'maxPoolSize': [None, True, '3', 3.0],
    'distribution': [],
    'failover': [None, 1, 'true'],
}
WRONG_VALUE = {
    'servers': [
        [], [''], [' '], ['a b'], ['a:'], [':1'], ['a:b'], ['a:0'],
        ['a:65536'], ['::1'], ['a:1:2'], ['a\n'], ['a/b'], [1], [b'a'],
        ['a', 'a'], ['a', 'a:11211'], ['a/?x'], ['a', 'a/?2'], ['unix:a']],
    'debug': [-1],
    'pickleProtocol': [-2, pickle.HIGHEST_PROTOCOL + 1],
    'lifetime': [-1],
    'namespace': ['two\nlines'],
    'keyScheme': ['', 'Strict', 'md5', None, 1, True, []],
    'generations': [],
    'allow': [[''], [' '], ['os.'], ['a b'], [b'os'], [1]],
    'compress': [0, -1],
    'slow': [-1, 86401],
    'maxValueSize': [0, -1, 2 ** 30 + 1],
    'timeout': [0, -1, math.inf, math.nan, 10 ** 6],
    'delay': [-1, math.inf, math.nan],
    'retries': [0, -1],
    'pooltime': [-1, math.inf, math.nan],
    'maxAge': [-1, math.inf, math.nan],
    'connectTimeout': [0, -1, math.inf, math.nan, 10 ** 6],
    'refresh': [0, -1, math.inf, math.nan],
    'handover': [-1, math.inf, math.nan],
    'drained': [['a:b'], ['a', 'a'], [1]],
    'blacktime': [-1, math.inf, math.nan],
    'maxPoolSize': [0, -1],
    'distribution': ['', 'consistent', 'Ketama', None, 1, True, []],
    'failover': [],
}


class AnyName(str):
    """A name that goes on after a name that is known."""

    def encode(self, *args):
        return b'items\r\nflush_all'


class Pair(NamedTuple):
    one: object
    two: object


def md5(data):
    return hashlib.md5(data).hexdigest()


@matrix(*FAKES)
class ClientScenario(ClientCase):
    """The contract."""

    def plant(self, key, data, flags=0):
        super().plant(self.client.buildKey(key), data, flags)

    def assertMiss(self, key):
        missing = object()
        self.assertIs(self.client.query(key, default=missing), missing)

    # the interface

    def test_interface(self):
        verifyClass(self.interface, self.factory)
        verifyObject(self.interface, self.client)
        verifyObject(IMemcacheClient, self.client)

    def test_only_the_pooled_client_has_the_pooled_interface(self):
        self.assertEqual(
            IUltraMemcacheClient.providedBy(self.client),
            self.interface is IUltraMemcacheClient)

    # the attributes

    def attributes(self):
        return [name for name in VALUES if name in self.interface]

    def test_a_property_of_a_subclass(self):
        class Client(self.factory):

            @property
            def lifetime(self):
                return self._kept * 2

            @lifetime.setter
            def lifetime(self, value):
                self._kept = value

        client = Client()
        self.addCleanup(client.close)
        client.lifetime = 7
        self.assertEqual(client.lifetime, 14)
        with self.assertRaises(ValueError):
            client.lifetime = -1
        self.assertEqual(client.lifetime, 14)

    def test_a_change_within_a_change(self):
        # As a signal handler may do.
        make, values = self.factory._make_state, [2000]

        def interrupted(client, *args):
            state = make(client, *args)
            if values:
                self.client.maxValueSize = values.pop()
            return state

        with mock.patch.object(self.factory, '_make_state', interrupted):
            self.client.compress = 5
        self.assertEqual(self.client.compress, 5)
        self.assertEqual(self.client.maxValueSize, 2000)
        with self.assertLogs('p01.memcache'):
            self.assertIsNone(self.client.set('key', 'x' * 2001))

    def test_a_change_that_is_interrupted(self):
        make = self.factory._make_state

        def interrupted(client, *args):
            make(client, *args)
            raise KeyboardInterrupt

        with mock.patch.object(self.factory, '_make_state', interrupted):
            for name, value in [
                    ('serializer', 'json'), ('servers', ['127.0.0.1:1'])]:
                former = dict(vars(self.client))
                with self.assertRaises(KeyboardInterrupt):
                    setattr(self.client, name, value)
                self.assertEqual(vars(self.client), former)
        built = self.client.set('key', 'value')
        self.assertEqual(self.stored(built), (pickle.dumps('value', -1), 0))

    def test_every_attribute_is_tested(self):
        self.assertEqual(
            set(getFields(self.interface)) - ELSEWHERE,
            set(self.attributes()))

    def test_defaults(self):
        client = self.factory()
        for name in self.attributes():
            self.assertEqual(
                getattr(client, name), self.interface[name].default, name)

    def test_defaults_are_not_shared(self):
        self.factory().servers.append('elsewhere')
        self.assertEqual(self.factory().servers, ['127.0.0.1:11211'])

    def test_arguments_in_order(self):
        names = [name for name in ARGUMENTS if name in self.interface]
        client = self.factory(*map(ARGUMENTS.get, names))
        for name in names:
            self.assertEqual(getattr(client, name), ARGUMENTS[name], name)
        with self.assertRaises(TypeError):
            self.factory(*map(ARGUMENTS.get, names), 1)

    def test_arguments_by_name(self):
        for name in self.attributes():
            value = VALUES[name]
            client = self.factory(**{name: value})
            self.assertEqual(getattr(client, name), value, name)

    def test_attributes_can_be_set(self):
        client = self.factory()
        for name in self.attributes():
            value = VALUES[name]
            setattr(client, name, value)
            self.assertEqual(getattr(client, name), value, name)

    def test_a_tuple_of_servers(self):
        self.client.servers = ('one', 'two')
        self.assertEqual(self.client.servers, ['one', 'two'])

    def test_wrong_attributes(self):
        for error, wrong in [
                (TypeError, WRONG_TYPE), (ValueError, WRONG_VALUE)]:
            for name in self.attributes():
                former = getattr(self.client, name)
                for value in wrong[name]:
                    with self.subTest(name=name, value=value):
                        with self.assertRaisesRegex(
                                error, f'{name}|^server '):
                            setattr(self.client, name, value)
                        with self.assertRaises(error):
                            self.factory(**{name: value})
                self.assertIs(getattr(self.client, name), former)

    # keys

    def test_buildKey(self):
        for key, base in [
                ('cache_key', b'cache_key'),
                ('\xfc', b'\xc3\xbc'),
                ('', b''),
                (b'\xfc\0', b'\xfc\0'),
                (1, b'1'),
                (-17, b'-17'),
                (10 ** 30, b'1' + b'0' * 30),
                (True, b'1'),
                (Persistent(b'\0' * 8), b'\0' * 8),
                (None, pickle.dumps(None, -1)),
                (1.5, pickle.dumps(1.5, -1)),
                (('a', 1), pickle.dumps(('a', 1), -1)),
                ]:
            with self.subTest(key=key):
                built = self.client.buildKey(key)
                self.assertEqual(built, md5(base))
                self.assertIs(type(built), str)

    def test_buildKey_of_an_object_that_holds_a_persistent_one(self):
        def itself(obj):
            key = [obj]
            key.append(key)
            return key

        for make in (
                lambda obj: ('view', obj), lambda obj: [{'a': {obj}}],
                lambda obj: {obj: 1}, lambda obj: Pair('view', obj),
                lambda obj: (Pair(obj, 1),), lambda obj: OrderedDict(a=obj),
                lambda obj: Pickable(value=obj), itself):
            keys = []
            for state in 1, 2:
                for oid in b'1', b'2', None:
                    obj = Persistent(oid)
                    obj.state = state
                    keys.append(self.client.buildKey(make(obj)))
            # Their state counts only if they have no oid.
            self.assertEqual(keys[:2], keys[3:5])
            self.assertEqual(len(set(keys)), 4)

    def test_buildKey_of_a_part_that_occurs_often(self):
        key = (1.5,)
        for _ in range(50):
            key = key, key
        self.assertEqual(
            self.client.buildKey(key), md5(pickle.dumps(key, -1)))

    def test_buildKey_as_in_older_releases(self):
        self.assertEqual(self.client.buildKey('cache_key'),
                         '0a42907b589a309ad94f8874eacbc63f')

    def test_buildKey_of_an_object_without_an_oid(self):
        # It is pickled: a key must not be an object that gets an oid later.
        built = self.client.buildKey(Persistent(None))
        self.assertEqual(built, md5(pickle.dumps(Persistent(None), -1)))

    def test_buildKey_with_a_namespace(self):
        self.client.namespace = '\xfc:'
        self.assertEqual(self.client.buildKey('key'), md5(b'\xc3\xbc:key'))
        self.assertEqual(self.client.buildKey(1), md5(b'\xc3\xbc:1'))
        self.client.namespace = None
        self.assertEqual(self.client.buildKey('key'), md5(b'key'))

    def test_buildKey_strict(self):
        compatible = self.client.buildKey('key')
        self.client.keyScheme = 'strict'
        self.assertEqual(
            self.client.buildKey('key'), strict.build('key', None))
        self.client.namespace = 'space'
        self.assertEqual(
            self.client.buildKey('key'), strict.build('key', 'space'))
        self.client.keyScheme = 'compatible'
        self.client.namespace = None
        self.assertEqual(self.client.buildKey('key'), compatible)

    def test_buildKey_with_a_pickle_protocol(self):
        self.client.pickleProtocol = 0
        self.assertEqual(
            self.client.buildKey((1, 2)), md5(pickle.dumps((1, 2), 0)))

    def test_keys_that_cannot_be_built(self):
        for key in lambda: None, '\udc80', Unpicklable(OSError('no')):
            for use in (self.client.buildKey, self.client.query,
                        self.client.invalidate,
                        lambda key: self.client.set(key, 'value')):
                with self.subTest(key=key), self.assertRaises(ValueError):
                    use(key)

    # set and query

    def test_set_and_query(self):
        for value in ('a value', '', 'x' * 70000, b'', b'bytes\r\nEND\r\n', 0,
                      1.5, 2 ** 70, True, False, [], {'a': [1, (2, None)]}):
            with self.subTest(value=value):
                self.assertEqual(self.client.set('key', value),
                                 self.client.buildKey('key'))
                found = self.client.query('key')
                self.assertEqual(found, value)
                self.assertIs(type(found), type(value))

    def test_objects(self):
        self.client.set(Pickable('a key'), Pickable('a title', [1]))
        found = self.client.query(Pickable('a key'))
        self.assertEqual((found.title, found.value), ('a title', [1]))

    def test_a_miss(self):
        self.assertIsNone(self.client.query('key'))
        self.assertEqual(self.client.query('key', default=7), 7)
        self.assertEqual(self.client.query('key', True, 8), 8)

    def test_none_is_a_value(self):
        self.client.set('key', None)
        self.assertIsNone(self.client.query('key', default='missing'))

    def test_the_last_value_counts(self):
        self.client.set('key', 'first')
        self.client.set('key', 'second')
        self.assertEqual(self.client.query('key'), 'second')

    def test_values_of_different_keys(self):
        keys = [f'key {i}' for i in range(50)]
        for key in keys:
            self.client.set(key, 'value of ' + key)
        for key in keys:
            self.assertEqual(self.client.query(key), 'value of ' + key)

    def test_what_is_stored(self):
        built = self.client.set('key', [1, 'two'])
        self.assertEqual(
            self.stored(built), (pickle.dumps([1, 'two'], -1), 0))
        self.client.pickleProtocol = 0
        self.client.set('key', [1, 'two'])
        self.assertEqual(
            self.stored(built), (pickle.dumps([1, 'two'], 0), 0))
        self.client.set('key', b'\0raw', raw=True)
        self.assertEqual(self.stored(built), (b'\0raw', 0))

    def test_raw(self):
        class Bytes(bytes):
            pass
        for value in (b'bytes', b'', b'\r\n', b'END\r\n', bytes(range(256)),
                      Bytes(b'more')):
            with self.subTest(value=value):
                self.assertIsNotNone(self.client.set('key', value, raw=True))
                found = self.client.query('key', raw=True, default='missing')
                self.assertEqual(found, value)
                self.assertIs(type(found), bytes)

    def test_raw_reads_the_pickle(self):
        self.client.set('key', {'a': 1})
        self.assertEqual(
            self.client.query('key', raw=True), pickle.dumps({'a': 1}, -1))

    def test_raw_is_bytes(self):
        self.client.set('key', 'the former value')
        for value in 'text', 1, None, bytearray(b'x'), memoryview(b'x'):
            with self.subTest(value=value), self.assertRaises(ValueError):
                self.client.set('key', value, raw=True)
        self.assertEqual(self.client.query('key'), 'the former value')

    def test_unpicklable_data(self):
        self.client.set('key', 'the former value')
        for data in lambda: None, Unpicklable(OSError('no')):
            with self.assertRaises(SerializationError) as caught:
                self.client.set('key', data)
            self.assertIsInstance(caught.exception, ValueError)
        with self.assertRaises(KeyboardInterrupt):
            self.client.set('key', Unpicklable(KeyboardInterrupt()))
        self.assertEqual(self.client.query('key'), 'the former value')

    def test_too_large(self):
        self.client.set('key', 'the former value')
        with self.assertLogs('p01.memcache') as logs:
            self.assertIsNone(
                self.client.set('key', b'x' * 1048577, raw=True))
        self.assertIn('1048577 bytes', logs.output[0])
        self.assertMiss('key')
        self.assertIsNotNone(self.client.set('key', b'x' * 10 ** 6))
        self.assertEqual(self.client.query('key'), b'x' * 10 ** 6)

    def test_threads(self):
        def work(thread):
            for i in range(30):
                key = f'{thread} {i}'
                self.client.set(key, 'value of ' + key)
                if self.client.query(key) != 'value of ' + key:
                    return f'{key}: wrong'
        with ThreadPoolExecutor(8) as executor:
            self.assertEqual(list(executor.map(work, range(8))), [None] * 8)

    # lifetimes

    def lifetimes(self, *lifetimes):
        """Return what the server gets for these lifetimes."""
        with mock.patch.object(self.client._state.store, 'run') as run:
            for lifetime in lifetimes:
                self.client.set('key', 'value', lifetime)
        return [call.args[0].expires for call in run.call_args_list]

    def test_lifetimes(self):
        self.assertEqual(
            self.lifetimes(0, 0.0, 1, 1.5, 2.0, 0.001, 30 * DAY, None),
            [0, 0, 1, 2, 2, 1, 30 * DAY, 3600])
        self.client.lifetime = 0
        self.assertEqual(self.lifetimes(None), [0])

    def test_long_lifetimes_are_unix_times(self):
        before = int(time.time())
        found, other = self.lifetimes(31 * DAY, 30 * DAY + 0.5)
        self.assertIn(found - 31 * DAY, (before, before + 1, before + 2))
        self.assertIn(other - 30 * DAY, (before + 1, before + 2, before + 3))

    def test_lifetimes_that_do_not_end_at_once(self):
        for lifetime in 0, 1.5, 30 * DAY, 31 * DAY, 365 * DAY, None:
            with self.subTest(lifetime=lifetime):
                self.client.set('key', lifetime, lifetime)
                self.assertEqual(
                    self.client.query('key', default='missing'), lifetime)

    def test_wrong_lifetimes(self):
        with mock.patch.object(self.client._state.store, 'run') as run:
            for lifetime in (
                    -1, -0.5, math.nan, math.inf, True, False, 'x', '60',
                    b'60', [60], 2 ** 31, 2 ** 40, 1e300):
                with (self.subTest(lifetime=lifetime),
                      self.assertRaisesRegex(ValueError, 'lifetime')):
                    self.client.set('key', 'value', lifetime)
        run.assert_not_called()

    # removal

    def test_invalidate(self):
        self.client.set('key', 'value')
        self.client.set('other', 'value')
        self.assertIs(self.client.invalidate('key'), True)
        self.assertMiss('key')
        self.assertIs(self.client.invalidate('key'), True)
        self.assertEqual(self.client.query('other'), 'value')

    def test_invalidateAll(self):
        for namespace in None, 'a', 'b':
            self.client.namespace = namespace
            self.client.set('key', 'value')
        self.assertIsNone(self.client.invalidateAll())
        for namespace in None, 'a', 'b':
            self.client.namespace = namespace
            self.assertMiss('key')

    def test_statistics_that_cannot_be_asked_for(self):
        for name in (
                'reset', 'detail', 'detail on', 'cachedump 1 1', 'bogus', '',
                ' items', 'items ', 'items\r\nflush_all', 'ITEMS', b'items',
                1, True, ['items'], AnyName('bogus')):
            with self.subTest(name), self.assertRaises(ValueError) as caught:
                self.client.getStatistics(name)
            self.assertEqual(
                str(caught.exception),
                f"name {name!r}: must be one of ('items', 'slabs',"
                " 'settings', 'sizes', 'conns')")

    def test_namespaces(self):
        for namespace in 'a', 'b', None:
            self.client.namespace = namespace
            self.client.set('key', namespace)
        for namespace in 'a', 'b', None:
            self.client.namespace = namespace
            self.assertEqual(
                self.client.query('key', default='missing'), namespace)
        self.client.namespace = 'a'
        self.client.invalidate('key')
        self.assertMiss('key')
        self.client.namespace = 'b'
        self.assertEqual(self.client.query('key'), 'b')

    # what cannot be read

    def test_a_subscriber_that_fails(self):
        def fail(event):
            raise RuntimeError('listener')

        zope.event.subscribers.append(fail)
        self.addCleanup(zope.event.subscribers.remove, fail)
        self.plant('key', b'no pickle')
        with self.assertLogs('p01.memcache', 'ERROR') as logged:
            self.assertMiss('key')
        self.assertIn('RuntimeError: listener', logged.output[0])
        self.assertEqual(self.client.getOrCreate('key', lambda: 1), 1)
        self.assertEqual(self.client.getUnreadable(), {'UnreadableValue': 2})

    def assertUnreadable(self, key):
        self.events.clear()
        self.assertMiss(key)
        [event] = self.events
        verifyObject(IUnreadableValueEvent, event)
        self.assertIs(event.client, self.client)
        self.assertEqual(event.key, key)
        self.assertIsInstance(event.error, UnreadableValue)

    def test_broken_pickles(self):
        good = pickle.dumps([1, 'two'], -1)
        for data in (b'', b'\0', b'garbage', good[:-1], good[1:],
                     b'cp01.memcache.nowhere\nGone\n.',
                     b'cp01.memcache.testing\nGone\n.'):
            with self.subTest(data=data):
                self.plant('key', data)
                self.assertUnreadable('key')
        self.client.set('key', 'value')
        self.assertEqual(self.client.query('key'), 'value')

    def test_a_broken_pickle_is_readable_as_raw(self):
        self.plant('key', b'garbage')
        self.assertEqual(self.client.query('key', raw=True), b'garbage')
        self.assertEqual(self.events, [])

    def test_flags_of_other_clients(self):
        for flags in 1, 2, 8, 16, 32, 2 ** 16, 2 ** 32 - 1:
            with self.subTest(flags=flags):
                self.plant('key', pickle.dumps('value', -1), flags)
                self.assertUnreadable('key')
                missing = object()
                self.assertIs(
                    self.client.query('key', True, missing), missing)

    def test_an_exception_while_unpickling(self):
        self.client.set('key', Thrower(OSError('no')))
        self.assertUnreadable('key')

    def test_an_interrupt_while_unpickling(self):
        self.client.set('other', 'value')
        for error in KeyboardInterrupt(), SystemExit(), GeneratorExit():
            self.client.set('key', Thrower(error))
            with self.assertRaises(type(error)):
                self.client.query('key')
            self.assertEqual(self.client.query('other'), 'value')
        self.assertEqual(self.events, [])

    def test_an_unreadable_value_is_logged_once(self):
        self.plant('key', b'garbage')
        with self.assertLogs('p01.memcache') as logs:
            self.client.query('key')
            self.client.query('key')
        self.assertEqual(len(logs.output), 1)
        self.assertIn(self.client.buildKey('key'), logs.output[0])
        self.client.debug = 1
        with self.assertLogs('p01.memcache') as logs:
            self.client.query('key')
            self.client.query('key')
        self.assertEqual(len(logs.output), 2)

    # the rest

    def test_close(self):
        self.client.set('key', 'value')
        self.client.close()
        self.client.close()
        self.assertEqual(self.client.query('key'), 'value')

    def test_repr(self):
        self.client.servers = ['one', 'two:2']
        self.client.namespace = 'secret'
        self.assertEqual(
            repr(self.client), f'<{self.factory.__name__} one, two:2>')


@matrix(*EMBEDDED, slow=MEMCACHED)
class ServedScenario(ClientScenario):
    """For the clients that have a server."""

    def test_two_clients_with_namespaces(self):
        one = self.makeClient(namespace='one')
        two = self.makeClient(namespace='two')
        one.set('key', 1)
        two.set('key', 2)
        self.assertEqual((one.query('key'), two.query('key')), (1, 2))
        one.invalidateAll()
        self.assertIsNone(two.query('key'))

    def test_getStatistics(self):
        [(server, values)] = self.client.getStatistics()
        self.assertEqual(server, self.layer.address)
        self.assertGreater(int(values['curr_connections']), 0)
        self.assertRegex(values['version'], r'^\d+\.\d+')
        for name, value in values.items():
            self.assertIs(type(name), str)
            self.assertIs(type(value), str)

    def test_getStatistics_of_a_name(self):
        self.client.set('key', 'value')
        for name in 'items', 'slabs', 'settings', 'sizes', 'conns':
            for client in self.client, self.client.region('region'):
                with self.subTest(name):
                    [(server, values)] = client.getStatistics(name)
                    self.assertEqual(server, self.layer.address)
                    self.assertNotIn('error', values)
                    self.assertEqual(
                        {type(text) for pair in values.items()
                         for text in pair} - {str}, set())
        [(_, values)] = self.client.getStatistics('settings')
        self.assertEqual(values['item_size_max'], '1048576')
        self.assertEqual(
            self.client.getStatistics(name='sizes'),
            [(self.layer.address, {'sizes_status': 'disabled'})])
        self.assertEqual(self.client.query('key'), 'value')

    def test_a_server_that_is_down(self):
        with refusing() as down:
            client = self.makeClient(servers=[down])
            start = time.monotonic()
            self.assertEqual(client.query('key', default='missing'), 'missing')
            self.assertIsNone(client.set('key', 'value'))
            self.assertIsNone(client.invalidate('key'))
            self.assertLess(time.monotonic() - start, 0.5)
            with self.assertRaises(NotInvalidated) as caught:
                client.invalidateAll()
            self.assertEqual(list(caught.exception.errors), [down])
            self.assertIsInstance(
                caught.exception.errors[down], MemcacheError)
            [(server, values)] = client.getStatistics()
            self.assertEqual((server, list(values)), (down, ['error']))
            self.assertIs(type(values['error']), str)

    def test_wrong_arguments_of_a_server_that_is_down(self):
        with refusing() as down:
            client = self.makeClient(servers=[down])
            for wrong in [
                    {'key': '\udc80', 'data': 1},
                    {'key': 'key', 'data': lambda: None},
                    {'key': 'key', 'data': 'text', 'raw': True},
                    {'key': 'key', 'data': 1, 'lifetime': -1}]:
                with self.assertRaises(ValueError):
                    client.set(**wrong)

    def test_one_of_two_servers_is_down(self):
        up = self.layer.address
        with refusing() as down:
            client = self.makeClient(servers=[up, down])
            stored = [key for key in range(40) if client.set(key, str(key))]
            self.assertTrue(0 < len(stored) < 40, stored)
            for key in range(40):
                self.assertEqual(
                    client.query(key), str(key) if key in stored else None)
                self.assertEqual(
                    client.invalidate(key), True if key in stored else None)
            client.set(stored[0], 'value')
            with self.assertRaises(NotInvalidated) as caught:
                client.invalidateAll()
            self.assertEqual(list(caught.exception.errors), [down])
            # The server that is up was flushed.
            self.assertIsNone(client.query(stored[0]))
            (one, values), (two, error) = client.getStatistics()
            self.assertEqual((one, two), (up, down))
            self.assertIn('version', values)
            self.assertEqual(list(error), ['error'])

    def test_assigning_other_servers(self):
        self.client.set('key', 'value')
        with EmbeddedServer() as other:
            self.client.servers = [other.address]
            self.assertMiss('key')
            self.client.set('key', 'another value')
            self.client.servers = [self.layer.address]
            # The pooled client has noted that it was changed meanwhile.
            pooled = IUltraMemcacheClient.providedBy(self.client)
            self.assertEqual(
                self.client.query('key'), None if pooled else 'value')


class CrossContract:
    """One client reads what the other one has written."""

    def makeServer(self):
        raise NotImplementedError

    def setUp(self):
        self.addresses = [
            self.enterContext(self.makeServer()).address for _ in range(3)]

    def clients(self, addresses):
        clients = [
            MemcacheClient(servers=addresses, namespace='shared'),
            UltraMemcacheClient(servers=addresses, namespace='shared',
                                distribution='modulo')]
        for client in clients:
            self.addCleanup(client.close)
        return clients

    def check(self, addresses):
        for writer, reader in [
                self.clients(addresses), self.clients(addresses)[::-1]]:
            for key in range(100):
                self.assertEqual(writer.set(key, [key]), reader.buildKey(key))
            for key in range(100):
                self.assertEqual(reader.query(key), [key])
            for key in range(0, 100, 2):
                self.assertTrue(reader.invalidate(key))
            for key in range(100):
                self.assertEqual(
                    writer.query(key), [key] if key % 2 else None)
            self.assertIsNotNone(writer.set('raw', b'', raw=True))
            self.assertEqual(reader.query('raw', raw=True), b'')
            reader.invalidateAll()
            for key in range(100):
                self.assertIsNone(writer.query(key))

    def test_one_server(self):
        self.check(self.addresses[:1])

    def test_three_servers(self):
        self.check(self.addresses)

    def test_every_server_has_some_keys(self):
        one, two = self.clients(self.addresses)
        for key in range(100):
            one.set(key, key)
        for (server, values), (same, others) in zip(
                one.getStatistics(), two.getStatistics(), strict=True):
            self.assertEqual(server, same)
            self.assertGreater(int(values['curr_items']), 10)
            self.assertEqual(values['curr_items'], others['curr_items'])

    def test_lifetimes_end(self):
        clients = self.clients(self.addresses)
        one, two = clients
        one.set('one', 'value', 1)
        two.set('two', 'value', 1)
        one.set('stays', 'value', 0)
        two.set('stays, too', 'value', 60)
        self.assertEqual(two.query('one'), 'value')
        self.assertEqual(one.query('two'), 'value')
        end = soon()
        while two.query('one') or one.query('two'):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        for client in clients:
            self.assertEqual(client.query('stays'), 'value')
            self.assertEqual(client.query('stays, too'), 'value')


class EmbeddedCrossTest(CrossContract, unittest.TestCase):

    level = 2  # as lifetimes have to end

    def makeServer(self):
        return EmbeddedServer()


class RealCrossTest(CrossContract, unittest.TestCase):

    level = 2

    def makeServer(self):
        return Memcached()
