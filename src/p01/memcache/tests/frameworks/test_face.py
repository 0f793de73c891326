# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The look-alike of python-memcached, compared to the original."""

import datetime
import functools
import inspect
import pickle
import threading
import time
import unittest
from unittest import mock

import memcache
import zope.component
import zope.component.testing
from plone.memoize.ram import MemcacheAdapter
from zope.interface.verify import verifyObject

from p01.memcache.errors import SerializationError
from p01.memcache.face import Client
from p01.memcache.face.interfaces import IFace
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.frameworks.utility import UtilityTestCase
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.servers import refusing
from p01.memcache.uclient import UltraMemcacheClient


class Point:

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is Point and other.x == self.x

    __hash__ = None


VALUES = [
    'text', 'ü', '', b'bytes', b'', 0, 5, -5, 2 ** 70, True, False, None, 1.5,
    ['a', 1], {'a': (1, 2)}, {1, 2}, Point(3), datetime.date(2026, 1, 2),
    '12', b'12', 'x' * 10000]


def outcome(function, *args, **kw):
    """Return what a function returns, or the name of its error."""
    try:
        return function(*args, **kw)
    except Exception as error:
        return type(error).__name__


class CompareTest(unittest.TestCase):
    """One scenario, on both clients and a real memcached."""

    layer = MemcachedLayer
    level = 2

    def setUp(self):
        keep_quiet(self)
        address = self.layer.address
        self.original = memcache.Client([address], cache_cas=True)
        self.addCleanup(self.original.disconnect_all)
        self.ours = Client(
            UltraMemcacheClient([address], namespace='ours'), cache_cas=True)
        self.addCleanup(self.ours.disconnect_all)
        self.original.flush_all()

    def same(self, name, *args, **kw):
        """Call both; compare the results and their truth."""
        expected = outcome(getattr(self.original, name), *args, **kw)
        found = outcome(getattr(self.ours, name), *args, **kw)
        self.assertEqual(found, expected, (name, args, kw))
        # 0, False and None may be told apart by their users.
        self.assertEqual(found is None, expected is None, (name, args, kw))
        return expected

    def test_values(self):
        for value in VALUES:
            with self.subTest(value):
                self.assertTrue(self.same('set', 'key', value))
                self.assertEqual(self.same('get', 'key'), value)
                self.assertIs(type(self.ours.get('key')), type(value))
                self.same('get_multi', ['key', 'other'])
                self.assertEqual(self.same('gets', 'key'), value)
                self.same('set', 'key', value, 60)
                self.assertEqual(self.same('get', 'key'), value)

    def test_missing(self):
        self.same('get', 'key')
        self.same('get', 'key', 'default')
        self.same('gets', 'key')
        self.same('get_multi', ['key', 'other'])
        self.same('get_multi', [])
        self.same('delete', 'key')
        self.same('delete_multi', ['key'])
        self.same('delete_multi', [])
        self.same('touch', 'key', 60)
        self.same('incr', 'key')
        self.same('decr', 'key')
        self.same('replace', 'key', 'value')
        self.same('set_multi', {})

    def test_conditions(self):
        self.same('add', 'key', 'one')
        self.same('add', 'key', 'two')
        self.same('replace', 'key', 'three')
        self.same('get', 'key')
        self.same('touch', 'key', 60)
        self.same('touch', 'key')
        self.same('delete', 'key')
        self.same('delete', 'key')
        self.same('get', 'key')

    def test_cas(self):
        self.same('cas', 'key', 'without a token')
        self.same('get', 'key')
        self.same('gets', 'key')
        self.same('cas', 'key', 'first')
        self.same('cas', 'key', 'second')
        self.same('get', 'key')
        self.same('gets', 'key')
        self.same('set', 'key', 'another')
        self.same('cas', 'key', 'third')
        self.same('gets', 'key')
        self.same('delete', 'key')
        self.same('cas', 'key', 'gone')
        self.same('reset_cas')
        self.same('cas', 'key', 'last')
        self.same('get', 'key')

    def test_without_cache_cas(self):
        self.original.cache_cas = self.ours.cache_cas = False
        self.same('set', 'key', 'one')
        self.same('gets', 'key')
        self.same('set', 'key', 'two')
        self.same('cas', 'key', 'three')
        self.same('get', 'key')

    def test_counting(self):
        for value in 5, '5', b'5', 0, '07', 99:
            for seconds in 0, 60:
                with self.subTest(value, seconds=seconds):
                    self.same('set', 'key', value, seconds)
                    self.same('incr', 'key')
                    self.same('incr', 'key', 10)
                    self.same('get', 'key')
                    self.same('decr', 'key', 2)
                    self.same('decr', 'key', 1000)
                    # memcached pads text that becomes shorter with blanks.
                    self.assertEqual(int(self.original.get('key')), 0)
                    self.assertEqual(int(self.ours.get('key')), 0)
                    self.same('incr', 'key', delta=3)
        self.same('set', 'key', 2 ** 64 - 1)
        self.same('incr', 'key', 2)
        for value in 'text', '', -5, 2 ** 64, '5x', [5], None, 1.5:
            with self.subTest(value):
                self.same('set', 'key', value)
                self.same('incr', 'key')
                self.same('decr', 'key')
        self.same('set', 'key', 5)
        self.same('incr', 'key', -1)
        self.same('incr', 'key', 'x')
        self.same('get', 'key')

    def test_many(self):
        values = {'a': 1, 'b': 'two', 'c': [3]}
        self.same('set_multi', values)
        self.same('get_multi', ['a', 'b', 'c', 'd'])
        self.same('set_multi', values, 60, 'prefix-')
        self.same('get_multi', ['a', 'd'], 'prefix-')
        self.same('get', 'prefix-a')
        self.same('set_multi', {1: 'x', 2: 'y'}, key_prefix='n')
        self.same('get_multi', [1, 2, 3], 'n')
        self.same('get', 'n1')
        self.same('get_multi', ['1', '2'], key_prefix='n')
        self.same('delete_multi', ['a', 'd'], key_prefix='prefix-')
        self.same('get_multi', ['a', 'b'], 'prefix-')
        self.same('delete_multi', [1], key_prefix='n')
        self.same('get_multi', [1, 2], 'n')
        self.same('get_multi', ('a', 'b'))
        self.same('get_multi', {'a': 0})
        for client in self.original, self.ours:
            self.assertEqual(
                client.get_multi(iter(['a', 'd'])), {'a': 1})

    def test_keys(self):
        for key in (
                'ü', b'bytes', 'x' * 250, 'x' * 251, 'ü' * 126, '', b'', ' ',
                'a b', 'a\x00', '\x7f', 'a\x7fb', None, 5, 1.5, ['a'],
                (7, 'key'), (7, b'key'), (7, 'a b'), (7, None), (7, ''),
                (7, 5), 'clé'):
            with self.subTest(key):
                for name, args in (
                        ('set', ('value',)), ('get', ()), ('gets', ()),
                        ('add', ('value',)), ('replace', ('value',)),
                        ('touch', (60,)), ('cas', ('value',)),
                        ('incr', ()), ('delete', ())):
                    self.same(name, key, *args)
                if not isinstance(key, list):
                    self.same('set_multi', {key: 'value'})
                    self.same('get_multi', [key])
                    self.same('get_multi', [key], 'prefix')
                    self.same('delete_multi', [key])

    def test_a_line_break(self):
        # The original sends it, and two commands to the server.
        for client in self.original, self.ours:
            client.set('other', 'value')
        with self.assertRaises(self.ours.MemcachedKeyCharacterError):
            self.ours.get('a\n')
        self.assertEqual(self.ours.get('other'), 'value')

    def test_text_and_bytes_are_one_key(self):
        self.same('set', 'ü', 'value')
        self.same('get', 'ü'.encode())
        self.same('get', (5, 'ü'))
        self.same('get_multi', ['ü'.encode(), 'ü'])

    def test_prefix(self):
        for prefix in 'a b', 'x' * 250, 'ü', b'b', '':
            with self.subTest(prefix):
                self.same('set_multi', {'key': 'value'}, key_prefix=prefix)
                self.same('get_multi', ['key'], key_prefix=prefix)

    def test_errors_of_keys(self):
        for key, name in (
                (None, 'MemcachedKeyNoneError'), (5, 'MemcachedKeyTypeError'),
                ('x' * 251, 'MemcachedKeyLengthError'),
                ('a b', 'MemcachedKeyCharacterError')):
            for client in self.original, self.ours:
                with self.subTest(key, client=client):
                    with self.assertRaises(getattr(client, name)):
                        client.get(key)
                    with self.assertRaises(client.MemcachedKeyError):
                        client.set(key, 'value')

    def test_times(self):
        now = int(time.time())
        for seconds in (
                -1, now - 5, now + 60, 60, 0, 2592000, 2592001,
                datetime.timedelta(minutes=1)):
            with self.subTest(seconds):
                self.same('set', 'key', 5, seconds)
                self.same('get', 'key')
                if isinstance(seconds, int):
                    self.same('set', 'key', 'text')
                    self.same('touch', 'key', seconds)
                    self.same('get', 'key')
                    self.same('set_multi', {'key': 'value'}, seconds)
                    self.same('get', 'key')
                    self.same('delete', 'key')
                    self.same('add', 'key', 'value', seconds)
                    self.same('get', 'key')

    def test_a_number_keeps_its_end(self):
        self.same('set', 'key', 5, 3)
        self.same('incr', 'key')
        time.sleep(1.1)
        self.same('incr', 'key')
        self.same('get', 'key')
        time.sleep(3.1)
        self.same('get', 'key')
        self.same('incr', 'key')

    def test_the_rest(self):
        self.same('set', 'key', 'value')
        self.same('disconnect_all')
        self.same('forget_dead_hosts')
        self.same('get', 'key')
        [(name, values)] = self.original.get_stats()
        [(our_name, our_values)] = self.ours.get_stats()
        self.assertEqual(our_name, name)
        self.assertEqual(set(our_values), set(values))
        self.assertEqual(our_values['pid'], values['pid'])
        for name in 'settings', 'sizes':
            [(_, values)] = self.original.get_stats(name)
            [(_, our_values)] = self.ours.get_stats(name)
            self.assertEqual(our_values, values)
        self.assertEqual(self.ours.get_stats('reset'), [])
        self.same('flush_all')
        self.same('get', 'key')

    def test_noreply_and_compression(self):
        self.same('set', 'key', 'value', 60, 0, True)
        self.same('set', 'key', 'value' * 1000, min_compress_len=10)
        self.same('get', 'key')
        self.same('delete', 'key', True)
        self.same('get', 'key')


class DownTest(unittest.TestCase):
    """Both without a server."""

    def test_down(self):
        keep_quiet(self)
        with refusing() as address:
            original = memcache.Client([address])
            ours = Client(UltraMemcacheClient([address]))
            for name, args in (
                    ('get', ('key',)), ('gets', ('key',)),
                    ('get_multi', (['key'],)), ('set', ('key', 1)),
                    ('add', ('key', 1)), ('replace', ('key', 1)),
                    ('cas', ('key', 1)), ('set_multi', ({'key': 1},)),
                    ('delete', ('key',)),
                    ('touch', ('key',)), ('incr', ('key',)),
                    ('decr', ('key',)), ('get_stats', ()),
                    ('flush_all', ()), ('disconnect_all', ())):
                with self.subTest(name):
                    self.assertEqual(
                        getattr(ours, name)(*args),
                        getattr(original, name)(*args))
            # It sends nothing, as it knows no server, and calls that success.
            self.assertEqual(original.delete_multi(['key']), 1)
            self.assertEqual(ours.delete_multi(['key']), 0)


class FaceTest(UtilityTestCase):

    def test_interface(self):
        verifyObject(IFace, Client())
        verifyObject(IFace, Client(self.client))

    def test_the_same_arguments(self):
        for name in IFace.names():
            original = getattr(memcache.Client, name, None)
            if inspect.isfunction(original):
                with self.subTest(name):
                    self.assertEqual(
                        inspect.signature(getattr(Client, name)),
                        inspect.signature(original).replace(
                            return_annotation=inspect.Signature.empty))
        arguments = list(inspect.signature(memcache.Client).parameters)
        ours = list(inspect.signature(Client).parameters)
        self.assertEqual(ours[:3], arguments[:3])
        self.assertEqual(set(ours) - set(arguments), {'name'})

    def test_the_utility(self):
        face = Client()
        self.assertIs(face.client, self.client)
        face.set('key', 'value')
        self.assertEqual(self.client.query('key'), 'value')
        with self.assertRaises(zope.component.ComponentLookupError):
            Client(name='other').get('key')

    def test_servers(self):
        self.assertIs(Client([self.server.address]).client, self.client)
        with refusing() as address:
            one, two = Client([address], debug=1), Client((address,))
            self.assertIs(one.client, two.client)
            self.assertEqual(list(one.client.servers), [address])
            weighted = Client([(address, 3)])
            self.assertEqual(
                list(weighted.client.servers), [f'{address}/?3'])
            self.assertIs(weighted.client, Client([f'{address}/?3']).client)

    def test_wrong_arguments(self):
        with self.assertRaises(TypeError):
            Client(pload=len)
        with self.assertRaises(TypeError):
            Client(key_encoder=len)
        with self.assertRaises(SerializationError):
            Client().set('key', lambda: None)

    def test_subclass(self):
        # As Products.MemcachedManager makes one.
        class Logging(Client):

            def debuglog(self, msg):
                lines.append(msg)

        lines = []
        face = Logging(['127.0.0.1:11211'], debug=1, pickleProtocol=-1)
        face.debuglog('line')
        self.assertEqual(lines, ['line'])
        with self.assertLogs('p01.memcache', 'DEBUG'):
            Client().debuglog('line')

    def test_tokens_belong_to_a_thread(self):
        face = Client(cache_cas=True)
        face.set('key', 'one')
        face.gets('key')
        results = []
        thread = threading.Thread(
            target=lambda: results.append(face.cas('key', 'two')))
        thread.start()
        thread.join()
        self.assertEqual(results, [True])  # as it had none
        self.assertIs(face.cas('key', 'three'), False)

    def test_threads_count(self):
        face = Client()
        face.set('key', 0, 60)
        threads = [
            threading.Thread(target=lambda: [
                face.incr('key') for _ in range(20)]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(face.get('key'), 320)

    def test_a_counter_that_nobody_can_change(self):
        face = Client()
        face.set('key', 1)
        with mock.patch.object(self.client, 'cas', return_value=False):
            self.assertIsNone(face.incr('key'))
        with mock.patch.object(self.client, 'cas', return_value=None):
            self.assertIsNone(face.incr('key'))

    def test_plone_memoize(self):
        calls = []
        cache = MemcacheAdapter(Client(), 'shop.price')
        with self.assertRaises(KeyError):
            cache['item']
        cache['item'] = {'price': 5}
        calls.append(cache['item'])
        self.assertEqual(calls, [{'price': 5}])
        self.assertEqual(cache.get('item'), {'price': 5})
        self.assertIsNone(cache.get('other'))

    def test_pickled(self):
        # Not a client's business, but a face may be in a partial.
        face = functools.partial(Client, name='')
        self.assertEqual(pickle.loads(pickle.dumps(face))().get('key'), None)
