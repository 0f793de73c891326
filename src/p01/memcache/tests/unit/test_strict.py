# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The strict key scheme: equal keys are one key, all others differ."""

import math
import random
import sys
import unittest
from collections import OrderedDict
from collections import namedtuple
from datetime import UTC
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from datetime import timezone
from datetime import tzinfo
from decimal import Decimal
from enum import Enum
from enum import Flag
from enum import IntEnum
from enum import IntFlag
from enum import StrEnum
from http import HTTPStatus
from time import process_time
from unittest import mock
from uuid import UUID

from p01.memcache.keys.strict import build
from p01.memcache.tests.support.processes import run_thrice


class Colour(Enum):
    RED = 1
    ROUGE = 1
    BLUE = 2


class Shape(Enum):
    RED = 1


class Outer:

    class Shape(Enum):
        RED = 1


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = 'one'


class Right(Flag):
    READ = 1
    WRITE = 2
    ADMIN = 4


class Bit(IntFlag):
    ONE = 1


def make_colour():
    class Colour(Enum):
        RED = 1
    return Colour


class Open(Enum):
    RED = 1
    BLUE = 2

    @classmethod
    def _missing_(cls, value):
        member = object.__new__(cls)
        member._name_ = 'RED'
        member._value_ = value
        return member


class Database:

    def __init__(self, name):
        self.database_name = name


class Jar:

    def __init__(self, name):
        self._database = Database(name)

    def db(self):
        return self._database


class Persistent:
    """Like a persistent object, as far as a key is concerned."""

    _p_jar = None

    def __init__(self, oid, *name):
        self._p_oid = oid
        if name:
            self._p_jar = Jar(*name)


class PersistentDict(dict):

    _p_jar = None
    _p_oid = b'\0' * 7 + b'\1'


class Text(str):
    pass


class Hostile:
    """An object that cannot be shown."""

    def __repr__(self):
        raise AssertionError('it was shown')

    __str__ = __format__ = __repr__


class Central(tzinfo):
    """Central European time in the hour that occurs twice."""

    def utcoffset(self, moment):
        return timedelta(hours=1 if moment.fold else 2)

    def dst(self, moment):
        return self.utcoffset(moment) - timedelta(hours=1)


Point = namedtuple('Point', 'x y')

OID = b'\0' * 7 + b'\1'
NIGHT = datetime(2026, 10, 25, 2, 30)
EAST = timezone(timedelta(hours=2))
NUMBER = UUID('12345678-1234-5678-1234-567812345678')

# All of them are different keys.
APART = [
    None, False, True, 0, 1, -1, 2, 10, 16, 10 ** 40, 10 ** 5000, 0.0, 1.0,
    -1.0, 1.5, 0.1, 5e-324, math.inf, -math.inf,
    '', '0', '1', 'a', 'A', 'ab', 'N', 'None', 'True', '1.0', '\0', '\0\0',
    '\xe9', 'e\u0301', 's1:a', ':a', '\U0001f511', 'x' * 100000,
    b'', b'0', b'1', b'a', b'ab', b's1:a', b'\xc3\xa9', b'\xe9',
    (), (None,), ((),), ([],), ('',), ('', ''), ('a', 'bc'), ('ab', 'c'),
    # The text contains tags, where one part might end and the next begin.
    ('as', 'b'), ('a', 'sb'), (b'ab', b'b'), (b'a', b'bb'),
    ('abc',), ('a', ('b', 'c')), (('a', 'b'), 'c'), ('a', 's1:b'), (1, 2),
    (2, 1), (1, (2,)), ((1,), 2), ('view', 17, 'de'), ('view', '17', 'de'),
    [], [[]], [[], []], [()], [1, 2], [2, 1], ['a', 'bc'], ['ab', 'c'],
    set(), {1}, {'1'}, {1, 2}, {(1, 2)}, {frozenset()}, {frozenset({1}), 2},
    {}, {1: 2}, {2: 1}, {1: '2'}, {'1': 2}, {1: 2, 3: 4}, {1: 4, 3: 2},
    {1: {2: 3}}, {(1, 2): 3}, {1: (2, 3)}, {'a': None}, {'a': []},
    {('a', 1), ('b', 2)}, {'a': 1, 'b': 2}, [('a', 1), ('b', 2)],
    date(2026, 10, 25), date(1, 1, 1), '2026-10-25', datetime(2026, 10, 25),
    NIGHT, NIGHT.replace(microsecond=1), NIGHT.replace(tzinfo=UTC),
    NIGHT.replace(tzinfo=EAST), NIGHT.replace(tzinfo=Central(), fold=1),
    NIGHT.replace(tzinfo=timezone(timedelta(hours=-2))),
    NIGHT.replace(tzinfo=timezone(timedelta(hours=2, microseconds=1))),
    NIGHT.replace(hour=0, tzinfo=UTC), NIGHT.isoformat(),
    time(2, 30), time(2, 30, tzinfo=UTC), time(2, 30, tzinfo=EAST),
    time(0, 30, tzinfo=UTC), time(2, 30, 0, 1), time(0),
    timedelta(0), timedelta(1), timedelta(0, 1), timedelta(0, 0, 1),
    timedelta(-1), timedelta(11, 1), timedelta(1, 11),
    NUMBER, str(NUMBER), NUMBER.bytes, NUMBER.int, NUMBER.hex,
    Colour.RED, Colour.BLUE, Shape.RED, Outer.Shape.RED,
    Number.ONE, Word.ONE, 'RED', 'one', HTTPStatus.OK, 200, Right.READ,
    Right.READ | Right.WRITE, Right.READ | Right.ADMIN, Right(0), Bit(0),
    Bit(1), Bit(8), Bit(9), Bit(16),
    Persistent(OID), Persistent(OID, 'main'), Persistent(OID, 'mounted'),
    Persistent(OID, ''), Persistent(OID + b'\1'), Persistent(OID, 'a\0'),
    OID, (OID, 'main'), (OID, None), [Persistent(OID)], {Colour.RED: 1},
]

# Each row has equal keys that are made in different ways.
EQUAL = [
    (0.0, -0.0),
    (1e22, float('1' + '0' * 22)),
    ('a key', ' '.join(['a', 'key']), sys.intern('a key')),
    (10 ** 30, int('1' + '0' * 30)),
    (('a', 1), tuple(iter('a')) + (1,)),
    ({1, 2, 'a', 'b'}, {'b', 'a', 2, 1}, frozenset(['a', 2, 'b', 1])),
    # They collide in their hash table: the order is that of insertion.
    ({8, 0}, {0, 8}),
    ({'a': {'b': 1, 'c': 2}, 'd': 3}, {'d': 3, 'a': {'c': 2, 'b': 1}}),
    ({(1, frozenset('xyz')): [1]}, {(1, frozenset('zyx')): [1]}),
    (NIGHT, NIGHT.replace(fold=1), datetime.fromisoformat(NIGHT.isoformat())),
    (NIGHT.replace(tzinfo=EAST), NIGHT.replace(tzinfo=EAST, fold=1),
     NIGHT.replace(tzinfo=timezone(timedelta(minutes=120), 'other')),
     NIGHT.replace(tzinfo=Central())),
    (time(2, 30), time(2, 30, fold=1)),
    (timedelta(1), timedelta(hours=24), timedelta(2, -86400)),
    (NUMBER, UUID(int=NUMBER.int), UUID(bytes=NUMBER.bytes)),
    (Colour.RED, Colour.ROUGE, Colour(1), Colour['RED']),
    (Right.READ | Right.WRITE, Right.WRITE | Right.READ, Right(3)),
    (Persistent(OID, 'main'), Persistent(OID, 'main')),
    (Persistent(OID), PersistentDict(), PersistentDict(a=1)),
]

# Digests of a release. They must never change: an upgrade would lose what is
# cached, and old and new processes would not invalidate each other's values.
GOLDEN = [
    ('some key', None,
     '0c40f7d578804e6065dc898d0a80e2467dda0f05f7ef7805101298ed1ca733c7'),
    ('some key', 'ns',
     'f10756c761d6c7cc70883e6050e4e99ce82eed7cd3ac156882610190ff8edd7d'),
    ('\xfc', '\xfc',
     '5a106bbcf20e4551720e4df73351158879f2f029d1a045469e52dcd4e66486de'),
    (('view', 17, 'de'), 'ns',
     'ac971e253d23699fd6d958222057c797d269f67608d6d24f7934d3a8df664681'),
    ([None, True, False, -255, b'\0'], None,
     '223291c0b66a86a00016a55289837e45182d831a3105021fec8a3f912bce3d7a'),
    ([1.5, -0.0, math.inf], None,
     '577a68daff250ad37fbc3d1e31bfc85b6aa67e3d3134d52293381189d70907a0'),
    ({'b': {2, 1}, 'a': {}}, None,
     '2fc37890c0745cafa251e89f9a19f80f0d84c737713adf54e2beceabd6027500'),
    ([date(2026, 1, 2), NIGHT, NIGHT.replace(tzinfo=EAST)], None,
     'd7e00a0ea539dab07bd4253749c3fde99d7ae53f86f596077942a29701380a67'),
    ([time(2, 30, 0, 1), timedelta(-1, 2), NUMBER], None,
     'b4ac511877d54e47520ec0893149884004298a8ac6abab306e98b1a25b0ce7aa'),
    (HTTPStatus.OK, None,
     '35174c39e044c4cb13b9e71454ed1a947695246e5960ff922a432e8db28baeae'),
    (Right.READ | Right.ADMIN, None,
     'ff3af7f08fcc11f2bded579f5926deadf9448688db939cec3642b714b3a1907d'),
    (Persistent(OID), None,
     'f4a3999fcbc7beb07178740f2b62d5add3cf4d1cbf0a7b8f1344f09f7fb91613'),
    (Persistent(OID, 'main'), None,
     '137d8159cf98ba18c32504bd4d0a599a2053e139ef774b8b616440e17d0f56d4'),
]

# Fault 35: equal keys, built differently.
SCRIPT = '''
from datetime import date
from http import HTTPStatus
from uuid import UUID

from p01.memcache.keys.strict import build

print(build((
    'view', 17, b'de', {name: len(name) for name in {*'ab cd efg h'.split()}},
    {'x', 'y', 'z', None, 1.5, ('a', frozenset('abcdef'))},
    HTTPStatus.OK, UUID(int=7), date(2026, 1, 2)), 'a namespace'))
'''
PRINTED = 'c96822289d399e2c8dcbf362391417e904029e0013921fb4cd02a713ed7d8b18'


class TestStrict(unittest.TestCase):

    def refused(self, kind, key):
        with self.assertRaises(kind) as caught:
            build(key, 'ns')
        self.assertIsNone(caught.exception.__cause__)
        return str(caught.exception)

    def test_form(self):
        for key in APART:
            self.assertRegex(build(key, None), r'\A[0-9a-f]{64}\Z')

    def test_golden_vectors(self):
        # The name of its module is part of an enum's key, and the vectors are
        # older than this module's place.
        module = 'p01.memcache.tests.test_strict'
        self.enterContext(mock.patch.dict(
            sys.modules, {module: sys.modules[__name__]}))
        self.enterContext(mock.patch.object(Right, '__module__', module))
        for key, namespace, digest in GOLDEN:
            with self.subTest(key=key, namespace=namespace):
                self.assertEqual(build(key, namespace), digest)

    def test_different_keys(self):
        for wrap in (lambda key: key, lambda key: (key,), lambda key: [key],
                     lambda key: ('a', key, 'b'), lambda key: {'a': key}):
            built = {}
            for key in APART:
                same = built.setdefault(build(wrap(key), 'ns'), key)
                self.assertIs(same, key)

    def test_equal_keys(self):
        for row in EQUAL:
            with self.subTest(row=row):
                self.assertEqual(len({build(key, 'ns') for key in row}), 1)

    def test_namespaces(self):
        self.assertEqual(build('key', None), build('key', ''))
        pairs = [
            ('key', None), ('key', 'a'), ('key', 'ab'), ('key', '\xfc'),
            ('bc', 'a'), ('c', 'ab'), ('abc', ''), ('1:akey', None),
            ('a', 'key'), (b'bc', 'a'), ('as1:b', None), ('b', 's5:a')]
        self.assertEqual(len({build(*pair) for pair in pairs}), len(pairs))
        with self.assertRaises(ValueError):
            build('key', '\udc80')

    def test_the_same_instant_elsewhere(self):
        here, there = (
            NIGHT.replace(tzinfo=EAST), NIGHT.replace(hour=0, tzinfo=UTC))
        self.assertEqual(here, there)
        self.assertNotEqual(build(here, None), build(there, None))

    def test_fold(self):
        first = NIGHT.replace(tzinfo=Central())
        second = first.replace(fold=1)
        self.assertEqual(first, second)  # though they are an hour apart
        self.assertNotEqual(build(first, None), build(second, None))

    def test_three_processes(self):
        done = run_thrice(SCRIPT)
        self.assertEqual(done, [(PRINTED + '\n', '')] * 3)

    # what is no key

    def test_types_without_identity(self):
        for key, name in [
                (object(), 'builtins.object'),
                (Hostile(), f'{__name__}.Hostile'),
                (lambda: None, 'builtins.function'),
                (str, 'builtins.type'),
                (Colour, 'enum.EnumType'),
                (Persistent, 'builtins.type'),
                (1j, 'builtins.complex'),
                (Decimal(1), 'decimal.Decimal'),
                (bytearray(b'a'), 'builtins.bytearray'),
                (range(3), 'builtins.range'),
                (iter(()), 'builtins.tuple_iterator'),
                (..., 'builtins.ellipsis')]:
            with self.subTest(name):
                self.assertEqual(
                    self.refused(TypeError, key),
                    f'key: {name} has no stable identity: pass a str, bytes, '
                    'int, float, bool, None, tuple, list, set, dict, date, '
                    'datetime, time, timedelta, UUID, member of an enum, or '
                    'persistent object')

    def test_subclasses(self):
        class Moment(datetime):
            pass

        for key, base in [
                (Text('a'), 'str'), (Point(1, 2), 'tuple'),
                (OrderedDict(), 'dict'), (type('B', (bytes,), {})(), 'bytes'),
                (Moment(2026, 1, 2), 'datetime')]:
            with self.subTest(base):
                kind = f'{type(key).__module__}.{type(key).__qualname__}'
                self.assertEqual(
                    self.refused(TypeError, (key,)),
                    f'key[0]: {kind} may be more than the {base} in it: '
                    f'pass {base}(...)')

    def test_places(self):
        bad = Hostile()
        for key, place in [
                (('a', bad), '[1]'),
                ([[], [1, bad, bad]], '[1][1]'),
                ({'a': 1, 'b': [bad]}, '.items()[1][1][0]'),
                ({bad: 1}, '.items()[0][0]'),
                ({bad}, '[0]'),
                ((frozenset({(1, bad)}),), '[0][0][1]')]:
            with self.subTest(place):
                self.assertTrue(self.refused(TypeError, key).startswith(
                    f'key{place}: {__name__}.Hostile has no'))

    def test_members_that_an_enum_makes(self):
        # Whatever their names are.
        apart = [Open.RED, Open.BLUE, Open(3), Open(4), Open(b'RED'),
                 Open('GREEN'), Open(('RED',)), Open(None)]
        self.assertEqual(
            len({build(key, None) for key in apart}), len(apart))
        self.assertEqual(build(Open(3), None), build(Open(3), None))
        self.assertEqual(build(Open(1), None), build(Open.RED, None))
        for name in 'RED', 'BLUE':
            self.assertRegex(
                self.refused(TypeError, (Open(name),)),
                r'\Akey\[0\]: .*Open has another member whose name')

    def test_two_objects_that_are_the_same_in_the_database(self):
        one, other = Persistent(OID), Persistent(OID)
        for key in {one: [2], other: [10]}, {other: [10], one: [2]}:
            self.assertEqual(
                build(key, None), build({other: [2], one: [10]}, None))

    def test_large_parts_are_not_copied_for_each_level(self):
        key = 'x' * (8 << 20)
        for number in range(100):
            key = [{'a': (key,), 'b': number}, {number}]
        began = process_time()
        build(key, None)
        self.assertLess(process_time() - began, 1)

    def test_nothing_large_is_shown(self):
        self.assertLess(
            len(self.refused(TypeError, ('x' * 10 ** 6, {1: Hostile()}))), 300)

    def test_nan(self):
        self.assertEqual(
            self.refused(ValueError, ('a', math.nan)),
            'key[1]: nan is not equal to itself, and would never be found')
        self.refused(ValueError, -math.nan)

    def test_lone_surrogates(self):
        for key, place in [('a\udc80', ''), (['\ud800'], '[0]'),
                           ({'\udfff': 1}, '.items()[0][0]')]:
            with self.subTest(place):
                told = self.refused(ValueError, key)
                self.assertTrue(told.startswith(f"key{place}: 'utf-8' "), told)

    def test_nesting(self):
        key = 'a'
        for _ in range(100):
            key = [{'key': (key,)}]
        self.assertNotEqual(build(key, None), build([key], None))

    def test_a_key_in_itself(self):
        row = [1]
        row.append(row)
        table = {}
        table['a'] = (table,)
        deep = []
        for _ in range(10 ** 5):
            deep = [deep]
        for key in (row, ('a', row), table, deep):
            self.assertEqual(
                self.refused(ValueError, key),
                'key: it contains itself, or is nested too deeply')

    def test_a_new_persistent_object(self):
        self.assertEqual(
            self.refused(TypeError, ('a', Persistent(None))),
            f'key[1]: {__name__}.Persistent must be added to a database '
            'first, it has no _p_oid yet')

    def test_a_malformed_oid(self):
        self.assertIn(
            'no stable identity', self.refused(TypeError, Persistent('1')))

    def test_an_enum_that_cannot_be_imported(self):
        # Otherwise members of two such enums would be one key.
        one, other = make_colour(), Enum('Colour', 'RED')
        for kind in one, other:
            self.assertRegex(
                self.refused(TypeError, (kind.RED,)),
                r'\Akey\[0\]: .*Colour cannot be found by that name')

    # at random

    scalars = [
        None, True, False, 0, 1, 12, -1, 0.0, 1.0, 12.0, '', '1', 'a', 'ab',
        's1:a', 'N', b'', b'1', b'a', b's1:a', date(2026, 1, 2),
        datetime(2026, 1, 2), timedelta(1), Colour.RED, Number.ONE]

    def make(self, chance, depth, hashable=False):
        kind = chance.choice(
            [None] + [tuple, frozenset] * (depth > 0)
            + [list, set, dict] * (depth > 0 and not hashable))
        if kind is None:
            return chance.choice(self.scalars)
        count = chance.choice([0, 1, 1, 2, 2, 3])
        keys = [self.make(chance, depth - 1, hashable or kind not in (
            tuple, list)) for _ in range(count)]
        if kind is dict:
            return {key: self.make(chance, depth - 1) for key in keys}
        return kind(keys)

    def remake(self, chance, key):
        """Return an equal key, with its unordered parts in another order."""
        if isinstance(key, (tuple, list)):
            return type(key)(self.remake(chance, each) for each in key)
        if isinstance(key, (set, frozenset)):
            kind = chance.choice([set, frozenset]) if (
                type(key) is set) else frozenset
            return kind(chance.sample([*key], len(key)))
        if isinstance(key, dict):
            return {each: self.remake(chance, value)
                    for each, value in chance.sample([*key.items()], len(key))}
        return key

    def identity(self, key):
        """Return a value that is equal for equal keys of the same types."""
        if isinstance(key, (tuple, list)):
            return type(key), *map(self.identity, key)
        if isinstance(key, (set, frozenset)):
            return set, frozenset(map(self.identity, key))
        if isinstance(key, dict):
            return dict, frozenset(
                (self.identity(each), self.identity(value))
                for each, value in key.items())
        return type(key), key

    def test_random_keys(self):
        chance = random.Random(35)
        keys, built = {}, {}
        for _ in range(8000):
            key = self.make(chance, 3)
            seen, digest = self.identity(key), build(key, 'ns')
            self.assertEqual(keys.setdefault(seen, digest), digest, key)
            self.assertEqual(built.setdefault(digest, seen), seen, key)
            self.assertEqual(
                build(self.remake(chance, key), 'ns'), digest, key)
        self.assertGreater(len(keys), 3000)
