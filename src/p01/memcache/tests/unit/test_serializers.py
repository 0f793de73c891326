# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A client's serializers: JSON, and an application's own.

The scenario is run for the fakes and the real clients, on the embedded server
and (level 2) on memcached. Signed pickles have tests of their own.
"""

import json
import math
import os
import pickle
import sys
import threading
import tracemalloc
import unittest
from unittest import mock

import zope.component
import zope.component.testing
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from zope.interface import implementer
from zope.interface.verify import verifyObject

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import ISerializer
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import all_but
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.tests.support.values import MISSING
from p01.memcache.values.jsons import JSONSerializer
from p01.memcache.values.pickles import PickleSerializer


JSON = 1 << 11
OWN = 1 << 12

# The flags that an application's serializer may use.
FREE = [0, 1, 1 << 1, 1 << 5, 63, OWN, 1 << 15, 0b1111_0000_0011_1111]

# Values that JSON can hold, and how they are stored.
HELD = [
    (None, b'null'), (True, b'true'), (False, b'false'), (0, b'0'),
    (-17, b'-17'), (2 ** 70, b'1180591620717411303424'), (1.5, b'1.5'),
    (-0.0, b'-0.0'), (1e300, b'1e+300'), (5e-324, b'5e-324'), (1.0, b'1.0'),
    ('', b'""'), ('\u00fc', b'"\xc3\xbc"'),
    ('a"\\\n\0', b'"a\\"\\\\\\n\\u0000"'),
    ('\U0001f600', b'"\xf0\x9f\x98\x80"'), ('\ud800', b'"\xed\xa0\x80"'),
    ('\ud83d\ude00', b'"\xed\xa0\xbd\xed\xb8\x80"'),
    ('\u2028\x7f\x85', b'"\xe2\x80\xa8\x7f\xc2\x85"'),
    ([], b'[]'), ({}, b'{}'), ([1, [2, []]], b'[1,[2,[]]]'),
    ({'b': 1, 'a': {'': None}}, b'{"b":1,"a":{"":null}}'),
    ('x' * 5000, b'"' + b'x' * 5000 + b'"'), (10 ** 4000, b'1' + b'0' * 4000),
]


class Text(str):
    pass


class Number(int):
    pass


class Dict(dict):
    pass


class List(list):
    pass


class BadName:

    def __repr__(self):
        raise ZeroDivisionError


def itself():
    value = {'a': []}
    value['a'].append(value)
    return value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


# Values that it cannot hold, and the errors.
REFUSED = [
    ((1, 2), r'value: a tuple would'),
    ([1, (2,)], r'value\[1\]: a tuple'),
    ({'a': [{'b': {1}}]}, r"value\['a'\]\[0\]\['b'\]: a set"),
    (b'x', 'value: a bytes'),
    ([bytearray()], r'value\[0\]: a bytearray'),
    ({1: 2}, 'value: its key 1 is not a str'),
    ({'a': {None: 2}}, r"value\['a'\]: its key None"),
    ([{True: 2}], r'value\[0\]: its key True'),
    ({Text('a'): 2}, "value: its key 'a' is not a str"),
    ({(1, 2): 3}, r'value: its key \(1, 2\)'),
    ({BadName(): 3}, 'value: its key <BadName'),
    (math.nan, 'value: nan is not in JSON'),
    ([math.inf], r'value\[0\]: inf is not'),
    ({'x': -math.inf}, r"value\['x'\]: -inf is not"),
    (Text('a'), 'value: a Text'), ([Number(1)], r'value\[0\]: a Number'),
    ({'a': Dict()}, r"value\['a'\]: a Dict"), (List(), 'value: a List'),
    (1j, 'value: a complex'), (object(), 'value: a object'),
    ([lambda: 1], r'value\[0\]: a function'), (BadName(), 'value: a BadName'),
    ([1, {'a': 10 ** 5000}], r"value\[1\]\['a'\]: ValueError: Exceeds"),
    (-10 ** 5000, 'value: ValueError: Exceeds'),
    (itself(), 'value: it contains itself, or is nested too deeply'),
    (nested(100_000), 'value: it contains itself, or is nested too deeply'),
]

# Data in place of JSON that is not read.
BAD_JSON = [
    b'', b' ', b'x', b'nul', b'{', b'[1', b'"', b'[1,]', b'{"a"}', b"'a'",
    b'[1] 2', b'[1]\0', b'null null', b'NaN', b'[Infinity]',
    b'{"a":-Infinity}', b'1e999', b'[-1e999]', b'1' * 400 + b'.0', b'1E+309',
    b'\xff', b'"\xff"', b'"\xc3"', b'\xef\xbb\xbf[]', b'\xff\xfe[\0]\0',
    b'[' * 100_000, b'{"a":' * 100_000, b'[' * 100_000 + b']' * 100_000,
    b'1' * 10_000, b'-' + b'1' * 10_000, b'[' + b'9' * 10_000 + b']',
    b'"\n"', b'0x10', b'01', b'+1', b'1_000', b'.5',
    b'\x80\x04N.', b'N.', b'{"a": undefined}', b'// x\n1', b'"\\ud"',
]


@implementer(ISerializer)
class Serializer:
    """Stores the repr, and remembers its keys."""

    flags = OWN
    error = None

    def __init__(self, **attributes):
        self.keys = []
        vars(self).update(attributes)

    def dumps(self, key, obj):
        self.keys.append(key)
        if self.error is not None:
            raise self.error
        return self.result(obj)

    def result(self, obj):
        return repr(obj).encode(), self.flags

    def loads(self, key, data, flags):
        self.keys.append(key)
        if self.error is not None:
            raise self.error
        if flags != self.flags:
            raise ValueError(f'flags {flags}')
        return json.loads(data)


@matrix(CLASSIC_FAKE, slow=all_but(CLASSIC_FAKE))
class SerializerScenario(Scenario):

    # JSON

    def test_json_on_the_wire(self):
        client = self.makeClient(serializer='json')
        for value, data in HELD:
            with self.subTest(value=repr(value)[:20]):
                built = client.set('key', value)
                self.assertEqual(self.stored(built), (data, JSON))
                self.assertFound(client, 'key', value)
                self.assertIs(type(client.query('key')), type(value))
                self.assertFoundRaw(client, 'key', data)
        client.set('key', -0.0)
        self.assertEqual(math.copysign(1, client.query('key')), -1)

    def test_json_by_every_way_to_store(self):
        client = self.makeClient(serializer='json')
        self.assertIs(client.add('key', [1]), True)
        self.assertFound(client, 'key', [1])
        self.assertIs(client.replace('key', [2]), True)
        self.assertIs(client.cas('key', [3], client.gets('key')[1]), True)
        self.assertFound(client, 'key', [3])
        self.assertEqual(client.setMany({'key': [4], 'other': None}), [])
        self.assertEqual(
            client.queryMany(['key', 'other']), {'key': [4], 'other': None})
        self.assertEqual(client.getOrCreate('made', lambda: [5]), [5])
        self.assertFound(client, 'made', [5])
        client.set('key', [6], dependencies=['one'])
        self.assertFound(client, 'key', [6])
        client.set('key', b'1', raw=True)
        self.assertEqual(client.increment('key'), 2)
        self.assertUnreadable(client, 'key', 'UnreadableValue',
                              'unknown flags 0', raw=False)

    def test_json_that_is_refused(self):
        client = self.makeClient(serializer='json')
        client.set('key', 'former')
        token = client.gets('key')[1]
        for value, reason in REFUSED:
            for store in (
                    lambda value: client.set('key', value),
                    lambda value: client.add('key', value),
                    lambda value: client.replace('key', value),
                    lambda value: client.cas('key', value, token),
                    lambda value: client.getOrCreate('new', lambda: value)):
                with self.assertRaisesRegex(SerializationError, reason):
                    store(value)
            with self.assertRaisesRegex(
                    SerializationError, "mapping: 'key': " + reason):
                client.setMany({'other': 1, 'key': value})
        self.assertFound(client, 'key', 'former')
        self.assertMiss(client, 'other')
        self.assertMiss(client, 'new')
        self.assertEqual(client.getOrCreate('new', lambda: 1), 1)

    def test_hostile_json(self):
        client = self.makeClient(serializer='json', debug=0)
        built = client.buildKey('key')
        for count, data in enumerate(BAD_JSON, 1):
            with self.subTest(data=data[:20]):
                self.plant(built, data, JSON)
                self.assertEqual(client.query('key', default=MISSING), MISSING)
                self.assertEqual(
                    client.getUnreadable(), {'UnreadableValue': count})
        self.assertEqual(client.queryMany(['key']), {})
        self.assertEqual(client.getOrCreate('key', lambda: 'new'), 'new')
        self.assertFound(client, 'key', 'new')

    def test_json_and_pickles(self):
        # Neither is ever taken for the other.
        loads = self.spy(pickle, 'loads')
        json_loads = self.spy(json, 'loads')
        pickles = self.makeClient()
        jsons = self.makeClient(serializer='json')
        for data in pickle.dumps('value'), b'["value"]', b'1':
            built = pickles.buildKey('key')
            self.plant(built, data, 0)
            self.assertUnreadable(
                jsons, 'key', 'UnreadableValue', 'unknown flags 0', raw=False)
            self.assertFoundRaw(jsons, 'key', data)
            self.plant(built, data, JSON)
            self.assertUnreadable(
                pickles, 'key', 'UnreadableValue', 'unknown flags 2048',
                raw=False)
        json_loads.assert_not_called()
        loads.assert_not_called()
        jsons.set('key', 1)
        self.assertFound(jsons, 'key', 1)
        pickles.set('key', 1)
        self.assertFound(pickles, 'key', 1)
        self.assertGreater(min(loads.call_count, json_loads.call_count), 0)

    # An application's own

    def test_an_object(self):
        serializer = Serializer()
        verifyObject(ISerializer, serializer)
        for scheme in 'compatible', 'strict':
            client = self.makeClient(
                serializer=serializer, keyScheme=scheme, namespace='space')
            serializer.keys.clear()
            built = client.set('key', [1])
            self.assertEqual(self.stored(built), (b'[1]', OWN))
            self.assertFound(client, 'key', [1])
            self.assertEqual(client.getOrCreate('key', self.fail), [1])
            self.assertEqual(client.setMany({'key': [2]}), [])
            self.assertFound(client, 'key', [2])
            self.assertEqual(set(serializer.keys), {built.encode()})
            self.assertIs(client.serializer, serializer)

    def test_generations_and_dependencies(self):
        serializer = Serializer(flags=FREE[-1])
        client = self.makeClient(
            serializer=serializer, generations=True, compress=10)
        self.assertEqual(client.getOrCreate(
            'made', lambda: [1] * 100, grace=60, dependencies=['one']),
            [1] * 100)
        self.assertFound(client, 'made', [1] * 100)
        # It gets the key without the generation.
        self.assertEqual(
            set(serializer.keys), {client.buildKey('made').encode()})
        client.invalidateDependencies('one')
        self.assertMiss(client, 'made')

    def test_flags(self):
        for flags in FREE:
            client = self.makeClient(serializer=Serializer(flags=flags))
            built = client.set('key', [1])
            self.assertEqual(self.stored(built), (b'[1]', flags))
            self.assertFound(client, 'key', [1])
            self.assertFoundRaw(client, 'key', b'[1]')

    def test_flags_of_others(self):
        serializer = Serializer()
        client = self.makeClient(serializer=serializer)
        built = client.buildKey('key')
        for flags in 0, 1, OWN | 1, 1 << 16, 1 << 31:
            self.plant(built, b'[1]', flags)
            self.assertUnreadable(
                client, 'key', 'UnreadableValue', 'flags', flags > 0xffff)
        # It does not see our flags.
        serializer.keys.clear()
        for flags in 1 << 8, 1 << 11, OWN | 1 << 8, OWN | 1 << 11, 1 << 7 | 1:
            self.plant(built, b'[1]', flags)
            self.assertUnreadable(
                client, 'key', 'UnreadableValue', 'unknown flags')
        self.assertEqual(serializer.keys, [])

    def test_invalid_results_of_a_serializer(self):
        client = self.makeClient()
        client.set('key', 'former')
        results = [
            None, b'x', 'x', (), (b'x',), (b'x', 0, 0), 1,
            ('x', 0), (bytearray(b'x'), 0), (memoryview(b'x'), 0), (None, 0),
            (type('Bytes', (bytes,), {})(b'x'), 0),
            (b'x', -1), (b'x', 1 << 16), (b'x', True), (b'x', None),
            (b'x', '0'), (b'x', 0.0), (b'x', Number(0)),
            *[(b'x', 1 << bit) for bit in range(6, 12)], (b'x', OWN | 1 << 8)]
        for result in results:
            client.serializer = Serializer(result=lambda obj, r=result: r)
            for store in (
                    lambda: client.set('key', 1), lambda: client.add('k', 1),
                    lambda: client.setMany({'key': 1}),
                    lambda: client.getOrCreate('k', lambda: 1)):
                with (self.subTest(result=result),
                      self.assertRaises(SerializationError)):
                    store()
        client.serializer = 'pickle'
        self.assertFound(client, 'key', 'former')
        self.assertMiss(client, 'k')

    def test_exceptions_of_a_serializer(self):
        class Odd(Exception):
            def __str__(self):
                raise ZeroDivisionError

        serializer = Serializer()
        client = self.makeClient(serializer=serializer)
        client.set('key', [1])
        for error in (ValueError('no\nline'), OSError(), Odd(),
                      RecursionError(), UnreadableValue('own'), MemoryError(),
                      SerializationError('own'), StopIteration()):
            serializer.error = error
            with self.assertRaisesRegex(
                    SerializationError,
                    'a list cannot be serialized: .*' + type(error).__name__
                    ) as caught:
                client.set('key', [2])
            self.assertNotIn('\n', str(caught.exception))
            self.assertUnreadable(
                client, 'key', 'UnreadableValue', 'own' if isinstance(
                    error, UnreadableValue) else type(error).__name__,
                raw=False)
        serializer.error = None
        self.assertFound(client, 'key', [1])

    def test_interrupts(self):
        serializer = Serializer()
        client = self.makeClient(serializer=serializer)
        client.set('key', [1])
        for error in KeyboardInterrupt(), SystemExit(), GeneratorExit():
            serializer.error = error
            for use in (
                    lambda: client.set('key', [2]),
                    lambda: client.setMany({'key': [2]}),
                    lambda: client.getOrCreate('new', lambda: [2]),
                    lambda: client.query('key'), lambda: client.gets('key'),
                    lambda: client.queryMany(['key']),
                    lambda: client.queryAndTouch('key')):
                with self.assertRaises(type(error)):
                    use()
            serializer.error = None
            self.assertFound(client, 'key', [1])
            self.assertMiss(client, 'new')
        self.assertEqual(client.getUnreadable(), {})
        self.assertEqual(client.getOrCreate('new', lambda: [3]), [3])

    def test_objects_that_are_no_serializer(self):
        class Alike:
            dumps = loads = None

        self.client.set('key', 'value')
        for wrong in Alike(), Serializer, None, 1, b'json', True, ['json']:
            with self.assertRaisesRegex(TypeError, 'serializer'):
                self.makeClient(serializer=wrong)
            with self.assertRaisesRegex(TypeError, 'serializer'):
                self.client.serializer = wrong
        for wrong in '', 'unknown', 'JSON', ' json', 'pickle\n':
            with self.assertRaisesRegex(ValueError, 'serializer'):
                self.makeClient(serializer=wrong)
            with self.assertRaisesRegex(ValueError, 'serializer'):
                self.client.serializer = wrong
        self.assertEqual(self.client.serializer, 'pickle')
        self.assertFound(self.client, 'key', 'value')

    def test_a_utility(self):
        zope.component.testing.setUp()
        self.addCleanup(zope.component.testing.tearDown)
        serializer = Serializer()
        with self.assertRaisesRegex(ValueError, "'shop'.*registered before"):
            self.makeClient(serializer='shop')
        zope.component.provideUtility(serializer, ISerializer, 'shop')
        zope.component.provideUtility(Serializer(), ISerializer, 'json')
        client = self.makeClient(serializer='shop')
        self.assertEqual(client.serializer, 'shop')
        client.set('key', [1])
        self.assertFound(client, 'key', [1])
        self.assertEqual(len(serializer.keys), 5)
        # The names of our serializers are reserved.
        client.serializer = 'json'
        built = client.set('key', [1])
        self.assertEqual(self.stored(built), (b'[1]', JSON))
        self.client.serializer = 'shop'
        built = self.client.set('key', [1])
        self.assertEqual(self.stored(built), (b'[1]', OWN))

    def test_our_serializers_as_objects(self):
        for serializer, flags in [
                (JSONSerializer(), JSON), (PickleSerializer(), 0),
                (PickleSerializer(2, ['datetime']), 0)]:
            client = self.makeClient(serializer=serializer)
            built = client.set('key', [1])
            self.assertEqual(self.stored(built)[1], flags)
            self.assertFound(client, 'key', [1])

    # Assigning attributes

    def test_a_serializer_derived_from_ours(self):
        class Shouting(PickleSerializer):

            def dumps(self, key, obj):
                return super().dumps(key, obj.upper())

            def loads(self, key, data, flags):
                return super().loads(key, data, flags) + '!'

        client = self.makeClient(serializer=Shouting())
        client.set('a', 'one')
        client.setMany({'b': 'two'})
        for key, value in {'a': 'ONE!', 'b': 'TWO!'}.items():
            self.assertEqual(client.query(key), value)
            self.assertEqual(client.queryMany([key]), {key: value})

    def test_one_after_the_other(self):
        client = self.client
        for serializer, flags in [
                ('json', JSON), ('pickle', 0), (Serializer(), OWN),
                ('json', JSON)]:
            client.serializer = serializer
            built = client.set('key', [1])
            self.assertEqual(self.stored(built)[1], flags)
            self.assertFound(client, 'key', [1])


@matrix(slow=all_but(CLASSIC_FAKE))
class SwitchScenario(Scenario):
    """These tests take time: many threads run."""

    def test_switched_while_it_is_used(self):
        serializers = ['pickle', 'json', Serializer()]
        client = self.makeClient(debug=0, compress=1)
        done, errors = threading.Event(), []

        def work(number):
            count = 0
            try:
                while not done.is_set() or not count:
                    key = f'{number % 4} {count % 5}'
                    value = [ord(char) for char in key]
                    client.set(key, value)
                    found = [
                        client.query(key, default=value),
                        client.getOrCreate(key, lambda value=value: value),
                        client.gets(key, default=value)[0],
                        client.queryMany([key]).get(key, value)]
                    if found != [value] * 4:
                        errors.append((key, found))
                    count += 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(8)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(60):
                client.serializer = serializers[turn % 3]
                client.compress = turn % 5 or None
                os.sched_yield()
        finally:
            done.set()
            for thread in threads:
                thread.join()
        self.assertEqual(errors, [])


held = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.text(strategies.characters(codec=None)),
    lambda parts: strategies.lists(parts) | strategies.dictionaries(
        strategies.text(), parts))


def types(value):
    """Return the types of all parts."""
    if type(value) is list:
        return [types(part) for part in value]
    if type(value) is dict:
        return {name: types(part) for name, part in value.items()}
    return type(value), math.copysign(1, value) if value == 0 else 1


class GeneratedTest(unittest.TestCase):
    """Without a client, on generated values."""

    level = 2
    serializer = JSONSerializer()

    @settings(deadline=None, derandomize=True, database=None)
    @given(held)
    def test_json(self, value):
        data, flags = self.serializer.dumps(b'key', value)
        found = self.serializer.loads(b'key', data, flags)
        self.assertEqual(found, value)
        self.assertEqual(types(found), types(value))
        self.assertEqual(repr(found), repr(value))

    @settings(deadline=None, derandomize=True, database=None)
    @given(strategies.binary() | strategies.text('[]{}",:0123456789aeE+-\\ ')
           .map(str.encode))
    def test_hostile_json(self, data):
        # Whatever can be read can be stored again.
        try:
            found = self.serializer.loads(b'key', data, JSON)
        except (ValueError, UnreadableValue):
            return
        again, flags = self.serializer.dumps(b'key', found)
        self.assertEqual(self.serializer.loads(b'key', again, flags), found)


class SizeTest(unittest.TestCase):
    """The factors that security.txt gives: up to 48, and up to 244."""

    def times(self, data, loads):
        tracemalloc.start()
        try:
            loads(data)
            return tracemalloc.get_traced_memory()[1] / len(data)
        finally:
            tracemalloc.stop()

    def test_json(self):
        data = b'[%b]' % b','.join([b'[' * 500 + b']' * 500] * 100)
        times = self.times(data, lambda data: JSONSerializer().loads(
            b'key', data, JSON))
        self.assertTrue(35 < times < 50, times)

    def test_pickles(self):
        data = b'\x80\x04(%bl.' % (pickle.EMPTY_SET * 100_000)
        for allow in None, []:
            times = self.times(data, lambda data, allow=allow: (
                PickleSerializer(allow=allow).loads(b'key', data, 0)))
            self.assertTrue(200 < times < 260, times)


class DigitsTest(unittest.TestCase):

    def test_longer_numbers(self):
        # The interpreter has a limit.
        limit = sys.get_int_max_str_digits()
        self.addCleanup(sys.set_int_max_str_digits, limit)
        serializer = JSONSerializer()
        sys.set_int_max_str_digits(0)
        data, flags = serializer.dumps(b'key', [10 ** 5000])
        self.assertEqual(serializer.loads(b'key', data, flags), [10 ** 5000])
        sys.set_int_max_str_digits(limit)
        with self.assertRaises(ValueError):
            serializer.loads(b'key', data, flags)

    def test_nothing_is_checked_twice(self):
        # The slow way is only for long numbers.
        with mock.patch('p01.memcache.values.jsons.check') as check:
            JSONSerializer().dumps(b'key', [1])
        check.assert_called_once_with([1])
