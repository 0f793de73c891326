# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The compatible key scheme: keys of older releases, and equal keys.

Proxied, wrapped and persistent objects are in `test_proxied`.
"""

import collections
import functools
import hashlib
import io
import os
import pickle
import random
import sys
import unittest
from dataclasses import dataclass
from datetime import UTC
from datetime import date
from datetime import datetime
from datetime import time
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from enum import Flag
from enum import IntEnum
from http import HTTPStatus
from unittest import mock
from uuid import UUID

from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.keys import canonical
from p01.memcache.keys.compatible import build
from p01.memcache.tests.support.processes import run_thrice


PROTOCOLS = range(-1, pickle.HIGHEST_PROTOCOL + 1)


class Colour(Enum):
    RED = 'colour'
    BLUE = 'blue'


class Shape(Enum):
    RED = 'colour'


class Number(IntEnum):
    ONE = 1


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    title: str
    size: object = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    title: str
    size: object = 0


class Item:
    """An object that equals only itself."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def method(self):
        pass


class WithKeywords:

    def __new__(cls, **kw):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        return (), {'name': 1}


class OnlyOne:
    """A class with equality, but only one instance."""

    def __eq__(self, other):
        return isinstance(other, OnlyOne)

    __hash__ = None

    def __reduce__(self):
        return get_only_one, ()


def get_only_one(one=OnlyOne()):  # noqa: B008
    return one


class Text(str):
    pass


class Words(list):
    pass


class Table(dict):
    pass


class Tagged:
    """Equal by its tags; pickled as what it was made from."""

    def __init__(self, *tags):
        self.tags = tags

    def __eq__(self, other):
        return self.tags == other.tags

    def __hash__(self):
        return hash(self.tags)

    def __reduce__(self):
        return Tagged, self.tags


Pair = collections.namedtuple('Pair', 'first second')

NIGHT = datetime(2026, 10, 25, 2, 30)


def other(text):
    """Return an equal str or bytes that is a different object."""
    return text[:1] + text[1:]


def makeCycles():
    inner = []
    inner.append(inner)
    row = ([],)
    row[0].append(row)
    item = Item(title='item')
    item.me = item
    item.all = [item]
    member = Item()
    member.family = {member}
    frozen = Item()
    frozen.family = frozenset({frozen})
    table = {}
    table['self'] = table
    return [inner, row, ('a', row), item, (item, item), member,
            [member.family], frozen, [frozen.family], table]


ITEM = Item(title='item')

# Keys with the same pickle in every process, however they were built.
STABLE = [
    (), [], {}, set(), frozenset(), None, 1.5, 1j, ..., NotImplemented,
    ('view', 17, 'de'), ['view', 17, 'de'], ('view',), (('view', 17), 'de'),
    ('view', None, True, 1.5, b'bytes', 10 ** 30), ('\xe9', '\U0001f511'),
    # Objects that pickles never refer back to, or that exist only once.
    (1, 1), (None, None), (True, True), (10 ** 30, 10 ** 30), (1.5, 1.5),
    ('', ''), (b'', b'', ('',)), ((), ((), ())),
    (Item, Item, [Item]), (len, len), (type(None), int, str, int),
    (Colour.RED, Colour.RED), (Colour.RED, Shape.RED, Colour.BLUE),
    (Number.ONE, Number.ONE), (HTTPStatus.OK, 200, HTTPStatus.OK),
    (Right.READ | Right.WRITE, Right.WRITE, Right.READ | Right.WRITE),
    (UTC, UTC), (OnlyOne.__eq__, OnlyOne.__eq__), (IMemcacheClient,) * 2,
    [get_only_one(), get_only_one()], (datetime.now, datetime.now),
    # Containers whose parts are all different.
    {'one': 1}, {'b': 1, 'a': {'c': [2]}}, {'one': [], 'two': []}, [[], []],
    ({}, {}), ['abc', ['abcd']], bytearray(b'abc'), (bytearray(b'a'), b'a'),
    {3}, {'one'}, frozenset({'one'}), {('one', 2)},
    # Small numbers are in the order of their slots in the hash table.
    {1, 2, 3}, {10, 3}, {-1, 1.5, 10 ** 20}, {(1, 2), (3, 4)},
    # The names of classes and attributes are the same objects.
    (Point('one'), Point('two')), Point('one', Point('two')),
    (Slotted('one'), Slotted('two', 1)), (Item(title='one'), ITEM),
    (ITEM, ITEM, [ITEM]), (ITEM.method, ITEM.method), [Text('text')],
    (Text('one'), Text('two')), (Pair('one', 1), Pair('two', 2)),
    (WithKeywords(), WithKeywords()), functools.partial(len, 'one'),
    Words(['one', 2]), Table(one=1, two=2), collections.Counter('abcab'),
    collections.OrderedDict(b=1, a=2), collections.deque(['one', 2], 5),
    collections.defaultdict(list, one=[1]), ValueError('text', 1),
    (NIGHT, NIGHT.replace(year=2027)), (date(2026, 1, 2), time(2, 30)),
    (NIGHT.replace(tzinfo=UTC), NIGHT.replace(year=2027, tzinfo=UTC)),
    (NIGHT, NIGHT.replace(tzinfo=UTC)), (timedelta(1), timedelta(2)),
    (Decimal('1.5'), Decimal('1.50')), (UUID(int=7), UUID(int=8)),
    range(3), slice(1, 2), (Tagged('one'), Tagged('two')),
    # Large keys: opcodes come in batches of 1,000, and frames of 64 KiB.
    [*range(2500)], [str(n) for n in range(1001)], ('x' * 70000, 'y' * 70000),
    {str(n): n for n in range(1001)}, {*range(1001)}, (b'x' * 70000, 'y'),
    tuple(str(n) for n in range(20000)), [(n, str(n)) for n in range(8000)],
    *makeCycles(),
]

# The keys of older releases, with their default protocol, which is 5 on every
# Python that this release supports; and with protocol 2.
GOLDEN = [
    (('view', 17, 'de'), -1,
     '1daa77da3bf6cb5514deea5685ed2a45'),
    (('view', 17, 'de'), 2,
     '771bbc3a17520c6b5a628451ac20d1aa'),
    (['view', None, True, 1.5, b'bytes'], -1,
     'ab746c66b1dc87954eda6e2febed2a5e'),
    ({'path': '/shop', 'lang': ('de', 'en')}, -1,
     '4c9854910609499dc6df89681c80178b'),
    (('', '', 'view'), -1,
     '99cb4f3be4158ae0cec56340a7ab5b22'),
    (frozenset({'one'}), -1,
     '30ca832bdd2af1d0246f6eda40544542'),
    ({10, 3}, -1,
     '47c69973fa268b4c7b2b0f65b13da633'),
    ((date(2026, 1, 2), time(2, 30), NIGHT), -1,
     '3201c1a86891c3cec03ed07771014cd0'),
    (1.5, 2,
     '70c0981f778bfeb18e571e4cdaa3c8f0'),
]

ONE = 'one'
ROW = 'one', 2
LIST = ['one']
DAY = date(2026, 1, 2)
TAGS = 'first', 'second', 'third', 'fourth'

# Each row has equal keys that are built in different ways.
EQUAL = [
    ((ONE, ONE), (ONE, other(ONE)), (other(ONE), other(ONE))),
    ([ONE, ONE], [ONE, other(ONE)]),
    (('user', ('user', 1)), ('user', (other('user'), 1))),
    ({ONE: ONE}, {ONE: other(ONE)}, {other(ONE): ONE}),
    (('a', 'a'), ('a', b'a'.decode()), (chr(97), 'A'.lower())),
    (('\u0436', '\u0436'), ('\u0436', chr(0x436))),
    ((b'one', b'one'), (b'one', other(b'one'))),
    ((b'a', b'a'), (b'a', pickle.loads(pickle.dumps(b'a')))),
    ((ROW, ROW), (ROW, (other(ONE), 2)), (ROW, (*ROW,))),
    ((LIST, LIST), (LIST, ['one'])),
    ([{'one': 1}] * 2, [{'one': 1}, {other(ONE): 1}]),
    ([{1, 2}] * 2, [{1, 2}, {2, 1}]),
    ([bytearray(b'one')] * 2, [bytearray(b'one'), bytearray(b'one')]),
    ((DAY, DAY), (DAY, date(2026, 1, 2))),
    ([Point(ONE, ONE)] * 2, [Point(ONE, ONE), Point(other(ONE), other(ONE))]),
    ([Slotted(ONE)] * 2, [Slotted(ONE), Slotted(other(ONE))]),
    # The name of an attribute, of a class, of a module.
    (Point('title'), Point(other('title'))),
    ((ONE, Item(one=1)), (other(ONE), Item(one=1))),
    (('datetime', DAY), (other('datetime'), DAY)),
    (('Point', Point('one')), (other('Point'), Point('one'))),
    (Item(first=ONE, second=ONE), Item(first=ONE, second=other(ONE))),
    ((Pair(ONE, ONE),) * 2, (Pair(ONE, other(ONE)), Pair(ONE, ONE))),
    ((Text(ONE), ONE), (Text(ONE), other(ONE))),
    ([Text(ONE)] * 2, [Text(ONE), Text(ONE)]),
    (Words([ONE, ONE]), Words([ONE, other(ONE)])),
    (Table({ONE: ONE}), Table({ONE: other(ONE)})),
    ([Tagged(ONE, ONE)] * 2, [Tagged(ONE, other(ONE)), Tagged(ONE, ONE)]),
    # Sets: the order of insertion, and the hash seed of the process.
    ({8, 0}, {0, 8}),
    ({1, 2}, {*range(100)} - {*range(3, 100)} - {0}),
    ({*TAGS}, {*reversed(TAGS)}, {*map(other, TAGS)}),
    (frozenset(TAGS), frozenset(reversed(TAGS))),
    ({DAY, ONE, None, ROW}, {ROW, None, other(ONE), date(2026, 1, 2)}),
    ([{Colour.RED, Colour.BLUE}], [{Colour.BLUE, Colour.RED}]),
    ({frozenset(TAGS), frozenset(TAGS[1:])},
     {frozenset(TAGS[:0:-1]), frozenset(TAGS[::-1])}),
]

# Different keys, as always, though Python may take them for equal.
APART = [
    ('one',), ['one'], ('one', 'one'), ('one', ('one',)), ('one', b'one'),
    (1,), (1.0,), (True,), ('1',), (0.0,), (-0.0,), (Text('one'),), {'one'},
    frozenset({'one'}), {'one': 1, 'two': 2}, {'two': 2, 'one': 1},
    (1, 1), (1, True), (Point('one'),), (Slotted('one'),), (Pair('one', 2),),
    {'one', 'two'}, frozenset({'one', 'two'}), ['one', 'two'], {1, 2},
    {1, 2.0}, {(1, 2)}, {(1, 2), 1}, [ITEM, ITEM], [ITEM, Item(title='item')],
]

SCRIPT = '''
from datetime import date

from p01.memcache.tests.unit import test_key as our
from p01.memcache.keys.compatible import build

names = [*map(str, range(90, 110))]
for key in (
        ('view', 17, 'de'), ['view', our.Colour.RED, our.Point('one', 'one')],
        {*names}, frozenset(names), ({*names}, [{*names[:5]}, {'one', None}]),
        our.Item(names={*names}, days={date(2026, 1, 2), date(2026, 1, 3)}),
        {frozenset(names), our.Colour.RED, our.Colour.BLUE, our.Point},
        {(1, 2), 7, 8 ** 20, 1.5}, our.Tagged('one', 'one')):
    print(build(key, 'a namespace', -1))
'''


def older(key, protocol):
    """Return the key that an older release built by pickling."""
    return hashlib.md5(pickle.dumps(key, protocol)).hexdigest()


class CompatibleTest(unittest.TestCase):

    def test_golden_keys(self):
        for key, protocol, digest in GOLDEN:
            with self.subTest(key=key):
                self.assertEqual(build(key, None, protocol), digest)

    def test_stable_keys_stay(self):
        for key in STABLE:
            for protocol in PROTOCOLS:
                with self.subTest(key=key, protocol=protocol):
                    self.assertEqual(
                        build(key, None, protocol), older(key, protocol))

    def test_equal_keys(self):
        for row in EQUAL:
            for protocol in PROTOCOLS:
                with self.subTest(row=row, protocol=protocol):
                    self.assertEqual(
                        len({build(key, 'ns', protocol) for key in row}), 1)
                    self.assertEqual(
                        len({build(('a', [key]), None, protocol)
                             for key in row}), 1)

    def test_different_keys(self):
        for wrap in (lambda key: key, lambda key: ('a', key)):
            built = {}
            for key in APART:
                same = built.setdefault(build(wrap(key), None, -1), key)
                self.assertIs(same, key)

    def test_keys_that_are_not_pickled(self):
        for key, data in [
                ('view', b'view'), (b'view', b'view'), (17, b'17'),
                (True, b'1'), (Number.ONE, b'1'), (Text('view'), b'view')]:
            self.assertEqual(
                build(key, 'ns', -1), hashlib.md5(b'ns' + data).hexdigest())

    def test_three_processes(self):
        done = run_thrice(SCRIPT)
        self.assertEqual(done[0][1], '')
        self.assertEqual(len(done[0][0].split()), 9)
        self.assertEqual(done, [done[0]] * 3)

    def test_the_key_is_not_changed(self):
        names = ['one', other('one')]
        key = names, {'one': names}, Point('one', names)
        build(key, None, -1)
        self.assertIs(key[1]['one'], names)
        self.assertEqual(key, (['one', 'one'], {'one': names},
                               Point('one', names)))

    # many parts

    def test_tuples_with_a_part_that_occurs_often(self):
        # Written out in full it would not end.
        key, same = (ROW, LIST, DAY), ((other(ONE), 2), ['one'], DAY)
        for _ in range(50):
            key, same = (key, key), (same, same)
        self.assertEqual(build(key, None, -1), build(same, None, -1))
        self.assertNotEqual(build(key, None, -1), build((key,), None, -1))

    def test_on_both_sides_of_the_bound(self):
        parts = (
            ROW, LIST, DAY, {'one': ONE}, {8, 0}, frozenset(TAGS), b'one',
            Point(ONE, [ONE]), Slotted(ONE), Tagged(ONE, ONE), Pair(ONE, 0.0),
            Words([ONE]), Table(one=-0.0), bytearray(b'one'), Colour.RED)
        # Many parts are handled differently; 10,000 take a while.
        self.enterContext(mock.patch.object(canonical, 'MOST', 1000))
        for count in 1, 10, 1200:
            for part in parts:
                data = pickle.dumps(part)
                others = [pickle.loads(data) for _ in range(count)]
                with self.subTest(part=part, count=count):
                    self.assertEqual(
                        build([[part] * count], None, -1),
                        build([others], None, -1))

    def test_nesting(self):
        key = 'a'
        for number in range(100):
            key = [{number: (key,)}]
        self.assertEqual(build(key, None, -1), older(key, -1))
        for _ in range(10 ** 5):
            key = [key]
        with self.assertRaisesRegex(SerializationError, 'RecursionError'):
            build(key, None, -1)

    # what is no key

    def test_unpicklable_keys(self):
        class Local:
            pass

        class Wrong:
            def __reduce__(self):
                return Item, ['not a tuple']

        for key in (lambda: None, Local(), Wrong(), sys, io.StringIO().write,
                    iter(()), open(os.devnull)):  # noqa: SIM115
            if hasattr(key, 'close'):
                self.addCleanup(key.close)
            for wrong in key, ('a', key), {'a': [key]}, Item(part=key):
                with self.subTest(wrong=wrong):
                    try:
                        digest = older(wrong, -1)
                    except Exception:
                        with self.assertRaises(SerializationError):
                            build(wrong, None, -1)
                    else:
                        self.assertEqual(build(wrong, None, -1), digest)

    def test_a_set_with_other_members_that_contains_itself(self):
        member = Item()
        member.family = {member, 'other'}
        with self.assertRaisesRegex(SerializationError, 'contains itself'):
            build(member, None, -1)

    # at random

    def make(self, chance, depth, hashable=False):
        kind = chance.choice(
            [None] * 3 + [tuple, Pair, frozenset] * (depth > 0)
            + [list, set, dict, Point] * (depth > 0 and not hashable))
        if kind is None:
            return chance.choice([
                None, True, 7, 1.5, '', 'a', 'one', 'two', 'title', b'',
                b'a', b'one', DAY, NIGHT, Colour.RED, Decimal('1.5'), Item])
        if kind in (Pair, Point):
            return kind(*(self.make(chance, depth - 1, hashable)
                          for _ in range(2)))
        parts = [self.make(chance, depth - 1, hashable or kind not in (
            tuple, list)) for _ in range(chance.choice([0, 1, 2, 2, 3]))]
        if kind is dict:
            return {part: self.make(chance, depth - 1) for part in parts}
        return kind(parts)

    def remake(self, chance, key, seen):
        """Return an equal key, from other objects or from the same ones."""
        kind = type(key)
        if kind is Point:
            copy = Point(self.remake(chance, key.title, seen),
                         self.remake(chance, key.size, seen))
        elif kind is Pair:
            copy = Pair(*(self.remake(chance, part, seen) for part in key))
        elif kind in (tuple, list):
            copy = kind([self.remake(chance, part, seen) for part in key])
        elif kind in (set, frozenset):
            parts = chance.sample([*key], len(key))
            copy = kind([self.remake(chance, part, seen) for part in parts])
        elif kind is dict:
            copy = {self.remake(chance, part, seen):
                    self.remake(chance, value, seen)
                    for part, value in key.items()}
        elif kind in (str, bytes):
            copy = other(key)
        elif kind in (date, datetime, Decimal):
            copy = pickle.loads(pickle.dumps(key))
        else:
            return key
        # Often, choose a part that was already used.
        return chance.choice(seen.setdefault((repr(key), kind), [copy])
                             + [copy])

    def test_random_keys(self):
        chance = random.Random(12)
        for _ in range(3000):
            key = self.make(chance, 4)
            protocol = chance.choice(PROTOCOLS)
            built = build(key, None, protocol)
            for _ in range(3):
                same = self.remake(chance, key, {})
                self.assertEqual(same, key)
                self.assertEqual(build(same, None, protocol), built, key)
