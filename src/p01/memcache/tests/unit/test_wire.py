# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What is sent, whatever the arguments, and how replies are read.

Hypothesis makes the arguments and replies, always the same ones. Nothing is
sent, or only what harmless arguments would send: every request is parsed again
here, and memcached counts the commands it receives.
"""

import collections
import decimal
import fractions
import itertools
import math
import random
import re
import time
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer

from p01.memcache.classic.host import Host
from p01.memcache.client import MemcacheClient
from p01.memcache.interfaces import ISerializer
from p01.memcache.testing import EmbeddedLayer
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.support.checkout import load_tool
from p01.memcache.tests.support.commands import COMMANDS
from p01.memcache.tests.support.commands import NUMBERED
from p01.memcache.tests.support.commands import find_commands
from p01.memcache.tests.support.examples import settings
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.servers import ask
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.servers import plant
from p01.memcache.tests.support.values import INJECTIONS
from p01.memcache.transport.address import parse
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.flags import FREE
from p01.memcache.wire import command
from p01.memcache.wire import meta
from p01.memcache.wire.batch import Batch
from p01.memcache.wire.batch import get_all
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE


fuzz = load_tool('fuzz')
in_checkout = unittest.skipUnless(fuzz, 'bin/fuzz is for a checkout')

CLIENTS = UltraMemcacheClient, MemcacheClient

# The limits of memcached's unix times, and of relative seconds.
LAST = 2 ** 31 - 1
MONTH = 60 * 60 * 24 * 30

# A key that no test requests, with its value.
SENTINEL, SAFE = b'sentinel', b'is safe'

ATTACKS = (
    '\r\nflush_all\r\n', '\r\nset sentinel 0 0 1\r\nx\r\n',
    '\ndelete sentinel\n', ' sentinel', ' 0 0 0\r\n\r\nflush_all\r\n',
    ' noreply', ' noreply\r\nflush_all\r\n', '\r\nquit\r\n', 'x' * 250,
    'x' * 251, 'sentinel')

CHARACTERS = (
    *map(chr, range(0x21)), '\x7f', '\x80', '\x85', '\xa0', '\xb9', '\xff',
    '\u0661', '\u2028', '\ud800', '\udc80', '\udcff', '\uff11', '\U0001f600',
    *'09azAZ:@.-+_\'"\\')

TEXTS = st.lists(
    st.sampled_from(ATTACKS + CHARACTERS), max_size=6).map(''.join)
BYTES = st.lists(
    st.sampled_from([
        *(attack.encode() for attack in ATTACKS),
        *(bytes((byte,)) for byte in range(256))]), max_size=6).map(b''.join)
SOME_INTEGERS = (
    -2, -1, 0, 1, 2, MONTH, MONTH + 1, LAST, LAST + 1, 2 ** 16 - 1, 2 ** 16,
    2 ** 32, 2 ** 63, 2 ** 64 - 1, 2 ** 64, 10 ** 400, -MONTH, -2 ** 31,
    -2 ** 64)
SOME_FLOATS = (
    0.0, -0.0, 0.5, 1.5, 1e-300, 5e-324, -1e-9, -1.0, 2.5e6, 3e6, 1e10, 1e300,
    math.nan, math.inf, -math.inf)
INTEGERS = st.sampled_from(SOME_INTEGERS)
FLOATS = st.sampled_from(SOME_FLOATS)
KEYS = st.one_of(
    TEXTS, BYTES, INTEGERS, st.none(), st.booleans(),
    st.tuples(TEXTS, INTEGERS), st.tuples(BYTES, st.tuples(TEXTS)),
    st.frozensets(TEXTS, max_size=3))

LIE = '1\r\nflush_all\r\n'


class LyingInt(int):
    """An int that lies about its value, whatever it is asked."""

    def __int__(self):
        return 2 ** 70

    __index__ = __trunc__ = __int__

    def __ceil__(self):
        return self

    __floor__ = __pos__ = __ceil__

    def __bool__(self):
        return True

    def __le__(self, other):
        return True

    __ge__ = __gt__ = __lt__ = __le__

    def __str__(self):
        return LIE

    def __repr__(self):
        return LIE

    def __format__(self, how):
        return LIE

    def __bytes__(self):
        return LIE.encode()

    def bit_length(self):
        return 1


class LyingFloat(float):
    """A float that lies about its value."""

    __int__ = __trunc__ = LyingInt.__int__
    __ceil__ = __floor__ = __pos__ = LyingInt.__ceil__
    __ge__ = __gt__ = __le__ = __lt__ = LyingInt.__le__
    __str__ = LyingInt.__str__
    __repr__ = LyingInt.__repr__
    __format__ = LyingInt.__format__


class LyingBytes(bytes):
    """Bytes that lie about their content."""

    def __len__(self):
        return 0

    def __bytes__(self):
        return LIE.encode()

    def __iter__(self):
        return iter(LIE.encode())

    def __getitem__(self, place):
        return LIE.encode()[place]

    def __contains__(self, other):
        return False

    def __str__(self):
        return LIE

    __repr__ = __str__


class LyingStr(str):
    """A str that lies about its content."""

    def __len__(self):
        return 1

    def __str__(self):
        return LIE

    def __format__(self, how):
        return LIE

    def __int__(self):
        return -1

    def encode(self, *args):
        return LIE.encode()

    def partition(self, separator):
        return LyingStr('x'), separator, LIE

    def isdigit(self):
        return True

    isascii = isdigit


LIARS = LyingInt, LyingFloat, LyingBytes, LyingStr

TOKENS = (
    '1@a', '0@', '18446744073709551615@a', '18446744073709551616@a', '\xb9@a',
    '\u0661@a', '1\r\n@a', '-1@a', '+1@a', '@a', '1@a\r\nflush_all\r\n',
    '9' * 20 + '@a', '0' * 21 + '@a')

# Anything that may be given as an argument: some examples, and many more.
CORNERS = (
    None, False, True, *SOME_INTEGERS, *SOME_FLOATS, *TOKENS, '', 'text', b'',
    b'data', b'7', '7', [], ['text'], ['text', '\udc80'], ['text', 7], (7,),
    {}, bytearray(b'data'), memoryview(b'data'), decimal.Decimal(1),
    fractions.Fraction(1), 1j, object(), len, *ATTACKS, *INJECTIONS,
    *(attack.encode() for attack in ATTACKS), *map(LyingInt, SOME_INTEGERS),
    *map(LyingFloat, SOME_FLOATS), *map(LyingStr, ATTACKS + TOKENS),
    *(LyingBytes(attack.encode()) for attack in ATTACKS),
    [LyingStr('text')])
ODD = st.one_of(
    st.sampled_from(CORNERS), TEXTS, BYTES, TEXTS.map(LyingStr),
    BYTES.map(LyingBytes), st.lists(TEXTS, max_size=3),
    st.lists(TEXTS.map(LyingStr), max_size=2), st.tuples(INTEGERS))


# What is valid, according to the interfaces


def plain(value):
    """Return the true value of a number, whatever its class says."""
    if isinstance(value, float):
        return float.__add__(value, 0.0)
    return int.__add__(value, 0)


def is_seconds(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    value = plain(value)
    if not 0 <= value < math.inf:
        return False
    return value <= MONTH or int(time.time()) + math.ceil(value) <= LAST


def is_lifetime(value):
    return value is None or is_seconds(value)


def is_count(value):
    return (isinstance(value, int) and not isinstance(value, bool)
            and 0 <= plain(value) < 2 ** 64)


def is_initial(value):
    return value is None or is_count(value)


def is_token(value):
    if not isinstance(value, str):
        return False
    found = re.match('([0-9]{1,20})@', value)
    return found is not None and int(found[1]) < 2 ** 64


def is_text(value):
    if not isinstance(value, str):
        return False
    try:
        str.encode(value)
    except UnicodeEncodeError:
        return False
    return True


def is_several_texts(value):
    try:
        return (not isinstance(value, (str, bytes))
                and all(map(is_text, list(value))))
    except TypeError:
        return False


def is_bytes(value):
    return isinstance(value, bytes)


# Each argument that is sent, except keys, and whether a value is valid.
ARGUMENTS = {
    'set, lifetime': (
        lambda client, value: client.set('key', 1, value), is_lifetime),
    'set, data': (
        lambda client, value: client.set('key', value, raw=True), is_bytes),
    'set, dependencies': (
        lambda client, value: client.set('key', 1, dependencies=value),
        is_several_texts),
    'setMany, lifetime': (
        lambda client, value: client.setMany({'key': 1}, value), is_lifetime),
    'setMany, data': (
        lambda client, value: client.setMany({'key': value}, raw=True),
        is_bytes),
    'add, lifetime': (
        lambda client, value: client.add('key', 1, value), is_lifetime),
    'add, data': (
        lambda client, value: client.add('key', value, raw=True), is_bytes),
    'replace, lifetime': (
        lambda client, value: client.replace('key', 1, value), is_lifetime),
    'replace, data': (
        lambda client, value: client.replace('key', value, raw=True),
        is_bytes),
    # Before a stamp it would become part of the stamp's first key.
    'append': (lambda client, value: client.append('raw', value), is_bytes),
    'prepend': (lambda client, value: client.prepend('raw', value), is_bytes),
    'touch': (lambda client, value: client.touch('key', value), is_lifetime),
    'queryAndTouch': (
        lambda client, value: client.queryAndTouch('key', value), is_lifetime),
    'cas, token': (
        lambda client, value: client.cas('key', 1, value), is_token),
    'cas, lifetime': (
        lambda client, value: client.cas('key', 1, '1@a', value), is_lifetime),
    'cas, data': (
        lambda client, value: client.cas('key', value, '1@a', raw=True),
        is_bytes),
    'increment, delta': (
        lambda client, value: client.increment('number', value), is_count),
    'increment, initial': (
        lambda client, value: client.increment('other', 1, value), is_initial),
    'increment, lifetime': (
        lambda client, value: client.increment('other', 1, 1, value),
        is_lifetime),
    'decrement, delta': (
        lambda client, value: client.decrement('number', value), is_count),
    'decrement, initial': (
        lambda client, value: client.decrement('other', 1, value), is_initial),
    'decrement, lifetime': (
        lambda client, value: client.decrement('other', 1, 1, value),
        is_lifetime),
    'getOrCreate, lifetime': (
        lambda client, value: client.getOrCreate('made', dict, value),
        is_lifetime),
    'getOrCreate, grace': (
        lambda client, value: client.getOrCreate('made', dict, 1, value),
        is_lifetime),
    'getOrCreate, dependencies': (
        lambda client, value: client.getOrCreate(
            'made', dict, dependencies=value), is_several_texts),
    'invalidateDependencies': (
        lambda client, value: client.invalidateDependencies(value), is_text),
}


@implementer(ISerializer)
class Serializer:
    """An application's serializer, with scripted results."""

    made = None

    def dumps(self, key, obj):
        return self.made

    def loads(self, key, data, flags):
        return data


def is_flags(value):
    return type(value) is int and not value & ~FREE


# What was sent

_key = rb'(?:claim:|tag:|generation:)?(?:[0-9a-f]{32}){1,2}(?:\.[0-9a-f]{16})?'
is_built = re.compile(
    _key + rb'|fresh:[0-9a-f]{16}(?:\.[0-9a-f]{16})?').fullmatch


def below(limit):
    return lambda word: (
        word.isdigit() and word == b'%d' % int(word) and int(word) < limit)


SHAPES = {
    b'get': 'key', b'gets': 'key', b'gat': 'expires key', b'delete': 'key',
    **dict.fromkeys((b'set', b'add', b'replace', b'append', b'prepend'),
                    'key flags expires size'),
    b'cas': 'key flags expires size number', b'touch': 'key expires',
    b'incr': 'key number', b'decr': 'key number', b'mn': '',
    b'mg': 'key', b'ms': 'key size F T', b'md': 'key stale unique',
}
WORDS = {
    'key': is_built,
    'flags': below(2 ** 16),
    'expires': below(LAST + 1),
    'size': below(2 ** 20 + 1),
    'number': below(2 ** 64),
    'stale': b'I'.__eq__,
    'unique': lambda word: word[:1] == b'C' and below(2 ** 64)(word[1:]),
    'F': lambda word: word[:1] == b'F' and below(2 ** 16)(word[1:]),
    'T': lambda word: word[:1] == b'T' and below(LAST + 1)(word[1:]),
}
is_lease = re.compile(rb' v f c k(?: R[0-9]{1,10})?$| c k ME$').sub


def parse_requests(data):
    """Return the names of the commands in what was sent.

    It parses as memcached would, and raises an `AssertionError` for malformed
    requests.
    """
    names = []
    while data:
        line, end, data = data.partition(b'\r\n')
        name, *words = is_lease(b'', line).split(b' ')
        kinds = SHAPES[name].split()
        if name == b'get':
            kinds *= len(words)
        named = dict(zip(kinds, words, strict=False))
        if (not end or len(kinds) != len(words) or not words and name != b'mn'
                or not all(map(lambda kind, word: WORDS[kind](word),
                               kinds, words))):
            raise AssertionError(line)
        if 'size' in named:
            size = int(named['size'])
            if data[size:size + 2] != b'\r\n':
                raise AssertionError(line, data)
            data = data[size + 2:]
        names.append(name)
    return names


def record(test):
    """Return a list that collects all that clients send."""
    sent = []
    send, host_send = Connection.send, Host.send_cmd

    def recording_send(connection, data, deadline):
        sent.append(data)
        send(connection, data, deadline)

    def recording_host_send(host, data):
        host_send(host, data)
        # python-memcached sends a blank in place of "noreply".
        line, end, rest = sent[-1].partition(b'\r\n')
        sent[-1] = line.rstrip(b' ') + end + rest

    test.enterContext(mock.patch.object(Connection, 'send', recording_send))
    test.enterContext(
        mock.patch.object(Host, 'send_cmd', recording_host_send))
    return sent


# Functions that make requests from a key, and the request for b'key'.
REQUESTS = {
    'Get': (lambda key: command.Get(key).encode(), b'get key\r\n'),
    'GetMany': (
        lambda key: command.GetMany((b'a', key, b'b'), {}).encode(),
        b'get a key b\r\n'),
    'get_all': (
        lambda key: next(get_all((b'a', key), {}, 1)).encode(),
        b'get a key\r\n'),
    'Gets': (lambda key: command.Gets(key).encode(), b'gets key\r\n'),
    'GetAndTouch': (
        lambda key: command.GetAndTouch(key, 7).encode(), b'gat 7 key\r\n'),
    **{store.__name__: (
        lambda key, store=store: store(key, b'a\r\nb', 64, 7).encode(),
        b'%b key 64 7 4\r\na\r\nb\r\n' % store.__name__.lower().encode())
        for store in (command.Set, command.Add, command.Replace,
                      command.Append, command.Prepend)},
    'Cas': (
        lambda key: command.Cas(key, b'a\r\nb', 64, 5, 7).encode(),
        b'cas key 64 7 4 5\r\na\r\nb\r\n'),
    'Discard': (
        lambda key: command.Discard(key, b'', 128, 5, 7).encode(),
        b'cas key 128 7 0 5\r\n\r\n'),
    'Touch': (
        lambda key: command.Touch(key, 7).encode(), b'touch key 7\r\n'),
    'Increment': (
        lambda key: command.Increment(key, 5).encode(), b'incr key 5\r\n'),
    'Decrement': (
        lambda key: command.Decrement(key, 5).encode(), b'decr key 5\r\n'),
    'Delete': (lambda key: command.Delete(key).encode(), b'delete key\r\n'),
    'GetOrRenew': (
        lambda key: meta.GetOrRenew(key, 30).encode(),
        b'mg key v f c k R30\r\n'),
    'AddNumbered': (
        lambda key: meta.AddNumbered(key, b'a\r\nb', 64, 7).encode(),
        b'ms key 4 F64 T7 c k ME\r\na\r\nb\r\n'),
    'IsLeased': (lambda key: meta.IsLeased(key).encode(), b'mg key s\r\n'),
    'MakeStale': (
        lambda key: meta.MakeStale(key, 5).encode(), b'md key I C5\r\n'),
}

# Commands without a key, some that are already encoded, and a base class.
KEYLESS = {'Keyed', 'FlushAll', 'Stats', 'Authenticate', 'NoOperation',
           'Batch'}


def is_one_key(key):
    return 0 < len(key) <= 250 and not set(key) & {*range(0x21), 0x7f}


@st.composite
def replies(draw):
    """Mutated replies, like those of `fuzz.mutate`, made by hypothesis."""
    target = draw(st.integers(0, len(fuzz.SEEDS) - 1))
    data = draw(st.sampled_from(fuzz.SEEDS[target]))
    for edit in draw(st.lists(st.sampled_from(fuzz.EDITS), max_size=4)):
        start = draw(st.integers(0, min(len(data), 100)))
        end = start + draw(st.integers(0, 30))
        data = edit(data, start, end, draw(st.sampled_from(fuzz.WORDS)))
    return bytes((target, draw(st.integers(0, 64)))) + data


@in_checkout
class MutatedReplyTest(unittest.TestCase):
    """Fault 32: mutated replies. The command ``bin/fuzz`` tries more.
    """

    @settings(150)
    @given(replies())
    def test_mutations(self, data):
        fuzz.examine(data)


@in_checkout
class ManyMutatedRepliesTest(unittest.TestCase):

    level = 2

    @settings(2000)
    @given(replies())
    def test_mutations(self, data):
        fuzz.examine(data)


class RequestTest(unittest.TestCase):
    """Keys and numbers, in the functions that make requests."""

    @settings(100)
    @given(BYTES)
    def test_key(self, key):
        for name, (make, expected) in REQUESTS.items():
            if is_one_key(key):
                self.assertEqual(make(key), expected.replace(b'key', key, 1))
            else:
                with self.assertRaises(ValueError, msg=name):
                    make(key)

    def test_keys_of_one_byte(self):
        for byte, (make, expected) in itertools.product(
                range(256), REQUESTS.values()):
            key = bytes((byte,))
            if is_one_key(key):
                self.assertEqual(make(key), expected.replace(b'key', key, 1))
            else:
                with self.assertRaises(ValueError):
                    make(key)

    def test_every_request_is_covered(self):
        self.assertEqual(
            {class_.__name__ for class_ in find_commands()} | {'get_all'},
            {*REQUESTS, *KEYLESS})

    def test_keys_that_lie_about_themselves(self):
        for make, expected in REQUESTS.values():
            self.assertEqual(make(LyingBytes(b'key')), expected)
            for key in '', 'x' * 251, *ATTACKS[:5]:
                with self.assertRaises(ValueError):
                    make(LyingBytes(key.encode()))

    def test_numbers_that_lie_about_themselves(self):
        for number in NUMBERED:
            self.assertEqual(
                number(LyingInt(7)).encode(), number(7).encode())

    def test_there_is_always_a_number(self):
        number_of = re.compile(rb'.*?-?[0-9]+\D*', re.DOTALL).fullmatch
        for request, odd in itertools.product(
                NUMBERED, (
                    LIE, LIE.encode(), LyingStr('7'), LyingBytes(b'7'),
                    [7], 1j, math.nan, math.inf, True, False, 7.5,
                    decimal.Decimal('7.5'))):
            try:
                made = request(odd).encode()
            except (TypeError, ValueError, OverflowError):
                continue
            self.assertTrue(number_of(made), made)
            self.assertEqual(made, request(int(odd)).encode())


class WireCase(unittest.TestCase):
    """Clients of a layer's server, whose requests are recorded."""

    layer = EmbeddedLayer

    def setUp(self):
        keep_quiet(self)
        self.sent = record(self)

    def client(self, factory, **settings):
        client = factory([self.layer.address], **settings)
        self.addCleanup(client.close)
        return client

    def assertRight(self, is_right, function, *args):
        """A call works, or is refused without having sent anything.

        The last argument is the one that is valid or not.
        """
        self.sent.clear()
        try:
            function(*args)
        except (TypeError, ValueError) as error:
            # A liar that happens to tell the truth may be refused.
            self.assertFalse(is_right and type(args[-1]) not in LIARS, error)
            self.assertEqual(self.sent, [])
        else:
            self.assertTrue(is_right)
            for data in self.sent:
                parse_requests(data)


class ArgumentTest(WireCase):
    """All arguments that are sent, except keys."""

    def setUp(self):
        super().setUp()
        self.clients = [self.client(factory) for factory in CLIENTS]

    def check(self, name, value):
        use, is_right = ARGUMENTS[name]
        for client in self.clients:
            self.assertRight(is_right(value), use, client, value)

    def check_attributes(self, value):
        is_namespace = value is None
        if isinstance(value, str) and not set('\r\n') & set(value):
            try:
                is_namespace = value.encode() is not None
            except UnicodeEncodeError:
                is_namespace = False
        is_default = isinstance(value, int) and is_seconds(value)
        for client in self.clients:
            for name, is_right in (
                    ('namespace', is_namespace), ('lifetime', is_default)):
                former = getattr(client, name)
                self.assertRight(is_right, setattr, client, name, value)
                self.assertRight(True, client.set, 'key', 'value')
                self.assertNotEqual(self.sent, [])
                setattr(client, name, former)

    def check_serializer(self, value):
        for client in self.clients:
            client.serializer = serializer = Serializer()
            for made, is_right in (
                    ((value, 0), type(value) is bytes),
                    ((b'data', value), is_flags(value)),
                    (value, False)):
                serializer.made = made
                for use in client.set, client.add, client.replace:
                    self.assertRight(is_right, use, 'key', value)

    def test_valid_arguments(self):
        # This shows that all of them do send something.
        for name, (use, is_right) in ARGUMENTS.items():
            [value] = [value for value in (7, b'data', 'text', ('text',))
                       if is_right(value)] or ['1@a']
            for client in self.clients:
                with self.subTest(name, client=client):
                    if value == '1@a' or name.startswith('cas'):
                        client.set('key', 1)
                        token = client.gets('key')[1]
                        value = token if value == '1@a' else value
                    self.assertRight(True, use, client, value)
                    self.assertTrue(self.sent or name.startswith('cas'))

    def test_corners(self):
        for name, value in itertools.product(ARGUMENTS, CORNERS):
            with self.subTest(name, value=value):
                self.check(name, value)

    def test_corners_of_attributes(self):
        for value in CORNERS:
            with self.subTest(value=value):
                self.check_attributes(value)

    def test_corners_of_serializers(self):
        for value in *CORNERS, FREE, *(
                1 << bit for bit in range(17)):
            with self.subTest(value=value):
                self.check_serializer(value)

    @settings(30)
    @given(st.sampled_from(sorted(ARGUMENTS)), ODD)
    def test_odd(self, name, value):
        self.check(name, value)


class ArgumentMemcachedTest(ArgumentTest):
    """More of them, on memcached."""

    layer = MemcachedLayer
    level = 2

    @settings(3000)
    @given(st.sampled_from(sorted(ARGUMENTS)), ODD)
    def test_odd(self, name, value):
        self.check(name, value)

    @settings(500)
    @given(ODD)
    def test_odd_attributes(self, value):
        self.check_attributes(value)


    @settings(500)
    @given(ODD)
    def test_odd_serializers(self, value):
        self.check_serializer(value)


class ParserOfRequestsTest(unittest.TestCase):
    """The parser notices malformed requests."""

    built = b'0a42907b589a309ad94f8874eacbc63f'

    def parse(self, *templates):
        return parse_requests(b''.join(
            template.replace(b'KEY', self.built) for template in templates))

    def test_valid_arguments(self):
        for template in (
                b'get KEY\r\n', b'get KEY tag:KEY claim:KEY\r\n',
                b'get KEY.0123456789abcdef fresh:0123456789abcdef\r\n',
                b'set KEY 64 7 13\r\n\r\nflush_all\r\n\r\n',
                b'cas KEY 0 0 0 18446744073709551615\r\n\r\n',
                b'mg KEY v f c k R2592000\r\n', b'mn\r\n',
                b'ms KEY 13 F128 T600 c k ME\r\n\r\nflush_all\r\n\r\n',
                b'md KEY I C1\r\n'):
            self.assertEqual(
                self.parse(template, b'delete KEY\r\n'),
                [template[:3].strip(), b'delete'])

    def test_wrong(self):
        for template in (
                b'flush_all\r\n', b'get\r\n', b'get KEY', b'get sentinel\r\n',
                b'get KEY\r\nflush_all\r\n', b'get  KEY\r\n', b'mn KEY\r\n',
                b'set KEY 0 0 1\r\n\r\n', b'set KEY 0 0 0 noreply\r\n\r\n',
                b'set KEY 0 0 1\r\nxx\r\n', b'set KEY 0 -1 0\r\n\r\n',
                b'set KEY 65536 0 0\r\n\r\n',
                b'set KEY 0 2147483648 0\r\n\r\n',
                b'set KEY 0 0 01\r\nx\r\n', b'incr KEY +1\r\n',
                b'incr KEY 18446744073709551616\r\n', b'incr KEY 1.0\r\n',
                b'md KEY C1\r\n', b'mg KEY v f c k R-1\r\n',
                b'ms KEY 1 F128 T600 c k ME\r\n\r\n',
                b'ms KEY 1 F128 T-1 c k ME\r\nx\r\n'):
            with self.subTest(template), self.assertRaises(
                    (AssertionError, KeyError, ValueError)):
                self.parse(template)


# Keys in the clients' methods


# Methods that are not in `COMMANDS`.
MORE_COMMANDS = {
    'set': lambda client, key: client.set(key, 1),
    'query': lambda client, key: client.query(key),
    'invalidate': lambda client, key: client.invalidate(key),
    'getOrCreate': lambda client, key: client.getOrCreate(key, dict),
}
USES = [*MORE_COMMANDS.values(),
        *(use for use, _ in COMMANDS.values())]


def use_all(client, key):
    """Use each method that takes a key, and yield the expected commands."""
    tag = key if isinstance(key, str) else repr(key)
    yield client.query(key, default='none')
    yield client.set(key, 'value') == client.buildKey(key)
    yield client.query(key)
    yield client.queryAndTouch(key)
    yield client.touch(key)
    yield client.add(key, 'another')
    yield client.replace(key, 'new')
    value, token = client.gets(key)
    yield value
    yield client.cas(key, 'compared', token)
    yield client.cas(key, 'late', token)
    yield client.queryMany([key]) == {key: 'compared'}
    yield client.setMany({key: b'5'}, raw=True)
    yield client.increment(key, 3)
    yield client.decrement(key)
    yield client.append(key, b'0')
    yield client.prepend(key, b'1')
    yield client.query(key, raw=True)
    yield client.invalidateMany([key])
    yield client.getOrCreate(key, lambda: 'made')
    yield client.getOrCreate(key, lambda: 'made anew')
    yield client.invalidate(key)
    yield client.getOrCreate(key, lambda: 'kept', 60, 60)
    yield client.set(key, 'value', dependencies=[tag]) is not None
    yield client.query(key)
    yield client.invalidateDependencies(tag)
    yield client.query(key, default='none')
    yield client.invalidate(key)
    yield client.increment(key, 1, 5)
    yield client.invalidate(key)


USED = ['none', True, 'value', 'value', True, False, True, 'new', True, False,
        True, [], 8, 7, True, True, b'170', [], 'made', 'made', True, 'kept',
        True, 'value', True, 'none', True, 5, True]


class KeyTest(WireCase):
    """Hostile keys, and odd ones."""

    kinds = [(UltraMemcacheClient, {'keyScheme': 'compatible'}),
             (MemcacheClient, {'keyScheme': 'strict'})]

    def setUp(self):
        super().setUp()
        self.clients = [
            self.client(factory, **settings)
            for factory, settings in self.kinds]
        # Other tests of the layer may have used the same keys.
        self.clients[0].invalidateAll()
        self.sent.clear()

    def check(self, client, key):
        """Use the key everywhere, if it is valid; return whether it is."""
        try:
            client.buildKey(key)
        except (TypeError, ValueError):
            self.sent.clear()
            for use in USES:
                with self.assertRaises((TypeError, ValueError)):
                    use(client, key)
            self.assertEqual(self.sent, [])
            return False
        self.assertEqual(list(use_all(client, key)), USED)
        for data in self.sent:
            parse_requests(data)
        self.sent.clear()
        return True

    def test_attacks(self):
        for client, key in itertools.product(self.clients, ATTACKS):
            with self.subTest(key, client=client):
                self.assertTrue(self.check(client, key))

    @settings(10)
    @given(KEYS)
    def test_keys(self, key):
        for client in self.clients:
            self.check(client, key)


class KeyMemcachedTest(KeyTest):
    """memcached counts the commands, and keeps a value no test requests."""

    layer = MemcachedLayer
    level = 2
    kinds = [*((factory, {'keyScheme': scheme})
               for factory in CLIENTS
               for scheme in ('compatible', 'strict')),
             (UltraMemcacheClient, {'generations': True, 'namespace': 'x'})]

    def setUp(self):
        super().setUp()
        plant(self.layer.address, 'sentinel', SAFE)
        self.usual = {}
        for client in self.clients:
            for _ in range(2):
                # At first it connects, and asks what the server knows.
                before = self.counts()
                super().check(client, 'harmless')
            self.usual[client] = self.counts() - before

    def counts(self):
        """Return how often memcached has received each command so far."""
        reply = ask(
            self.layer.address, b'stats\r\n', b'END\r\n')
        return collections.Counter({
            name: int(number) for name, number in re.findall(
                r'STAT (cmd_\w+|\w+_(?:hits|misses|badval|touched)) (\d+)\r\n',
                reply.decode())})

    def assertSafe(self):
        self.assertEqual(
            look(self.layer.address, 'sentinel'), (SAFE, 0))

    def check(self, client, key):
        before = self.counts()
        is_key = super().check(client, key)
        self.assertEqual(
            self.counts() - before,
            self.usual[client] if is_key else collections.Counter())
        self.assertSafe()
        return is_key

    @settings(200)
    @given(KEYS)
    def test_keys(self, key):
        for client in self.clients:
            self.check(client, key)

    def test_attacks_would_be_noticed(self):
        # Real attacks, to show that the assertions above would fail.
        before = self.counts()
        ask(
            self.layer.address,
            b'get x\r\nset sentinel 0 0 1\r\nx\r\nflush_all\r\n', b'OK\r\n')
        seen = self.counts() - before
        self.assertEqual((seen['cmd_set'], seen['cmd_flush']), (1, 1))
        with self.assertRaises(AssertionError):
            self.assertSafe()


class ManyKeysTest(KeyMemcachedTest):
    """A hundred thousand keys in the functions that make requests."""

    kinds = KeyTest.kinds
    test_attacks = test_keys = test_attacks_would_be_noticed = None

    pieces = [attack.encode() for attack in ATTACKS] + [
        b'\r\n', b'\n', b' ', b'\0', b'\x7f', b'\xff', b'x' * 124, b'key:']

    def keys(self, count):
        chance = random.Random(count)
        for number in range(count):
            pieces = [b'%d' % number]
            for _ in range(chance.randrange(4)):
                pieces.append(chance.choice(self.pieces)
                              if chance.random() < 0.4
                              else chance.randbytes(chance.randrange(5)))
            chance.shuffle(pieces)
            yield b''.join(pieces)

    def test_engine(self):
        good = []
        for key in dict.fromkeys(self.keys(101_000)):
            if is_one_key(key):
                good.append(key)
                continue
            for name, (make, _) in REQUESTS.items():
                try:
                    make(key)
                except ValueError:
                    continue
                self.fail(f'{name}({key!r})')
        # Neither kind is rare.
        self.assertTrue(30_000 < len(good) < 70_000, len(good))

        connection = Connection(
            Dialer(parse(self.layer.address)), LockKeeping(), 300)
        self.addCleanup(connection.close)
        deadline = time.monotonic() + 60
        connection.connect(deadline)
        before, replies, found = self.counts(), {}, {}
        for start in range(0, len(good), 500):
            keys = good[start:start + 500]
            batch = Batch.of([
                command.Set(key, b'%d' % (start + place), 0, 0)
                for place, key in enumerate(keys)], replies)
            connection.send(batch.encode(), deadline)
            connection.receive(batch.read, deadline)
        self.assertEqual(replies, dict.fromkeys(good, True))
        for many in get_all(good, found, MAX_VALUE):
            connection.send(many.encode(), deadline)
            connection.receive(many.read, deadline)
            self.assertTrue(connection.is_usable(time.monotonic()))
        self.assertEqual(found, {
            key: Item(b'%d' % place, 0) for place, key in enumerate(good)})
        self.assertEqual(
            self.counts() - before, collections.Counter({
                'cmd_set': len(good), 'cmd_get': len(good),
                'get_hits': len(good)}))
        self.assertSafe()

    def test_clients(self):
        keys = list(dict.fromkeys(self.keys(20_000)))
        for client in self.clients:
            before, count = self.counts(), len(keys)
            for start in range(0, count, 1000):
                # The same text as bytes would be the same key in one scheme.
                values = {key.decode('latin-1') if place % 2 else key: place
                          for place, key in enumerate(
                              keys[start:start + 1000], start)}
                self.assertEqual(client.setMany(values), [])
                self.assertEqual(client.queryMany(values), values)
                for data in self.sent:
                    parse_requests(data)
                self.sent.clear()
            self.assertEqual(
                self.counts() - before, collections.Counter({
                    'cmd_set': count, 'cmd_get': count, 'get_hits': count}))
            self.assertSafe()
