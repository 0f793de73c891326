# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The requests and replies of all commands but get, set and delete."""

import io
import unittest
from functools import partial
from time import monotonic
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ClientError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.commands import NUMBERED
from p01.memcache.transport.address import parse
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire.batch import Batch
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Append
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Decrement
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Discard
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import GetAndTouch
from p01.memcache.wire.command import Gets
from p01.memcache.wire.command import Increment
from p01.memcache.wire.command import Prepend
from p01.memcache.wire.command import Replace
from p01.memcache.wire.command import Set
from p01.memcache.wire.command import Touch
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_LINE
from p01.memcache.wire.limits import MAX_VALUE
from p01.memcache.wire.meta import AddNumbered
from p01.memcache.wire.meta import GetOrRenew
from p01.memcache.wire.meta import IsLeased
from p01.memcache.wire.meta import Leased
from p01.memcache.wire.meta import MakeStale
from p01.memcache.wire.meta import NoOperation
from p01.memcache.wire.meta import Right
from p01.memcache.wire.reader import Reader
from p01.memcache.wire.replies import NOT_A_NUMBER


KEY = b'key'
MOST = 2 ** 64 - 1

#: Data that contains everything that could be taken for a reply.
WILD = b'END\r\nHD\r\nVA 1 f0\r\n\r\nSERVER_ERROR \x00\xff\r\n'

#: What follows the reply on the wire, and must not be read with it.
BEHIND = b'VALUE key 0 1\r\nx\r\nEND\r\n'

_ITEM, _UNIQUE, _LEASED = (
    Get(KEY).read, Gets(KEY).read, GetOrRenew(KEY, 0).read)

#: The result of each reader for the replies that it knows.
READERS = {
    'item': (_ITEM, {
        b'END\r\n': None,
        b'VALUE key 0 0\r\n\r\nEND\r\n': Item(b'', 0),
        b'VALUE key 0 1\r\nx\r\nEND\r\n': Item(b'x', 0),
        b'VALUE key 4294967295 %d\r\n%b\r\nEND\r\n' % (len(WILD), WILD):
            Item(WILD, 2 ** 32 - 1),
    }),
    'unique': (_UNIQUE, {
        b'END\r\n': None,
        b'VALUE key 0 0 1\r\n\r\nEND\r\n': Item(b'', 0, 1),
        b'VALUE key 7 3 12\r\nabc\r\nEND\r\n': Item(b'abc', 7, 12),
        b'VALUE key 4294967295 %d %d\r\n%b\r\nEND\r\n' % (
            len(WILD), MOST, WILD): Item(WILD, 2 ** 32 - 1, MOST),
    }),
    'number': (Increment(KEY, 1).read, {
        b'0\r\n': 0,
        b'17\r\n': 17,
        # As memcached stores it after a decrement.
        b'9 \r\n': 9,
        b'9    \r\n': 9,
        b'%d\r\n' % MOST: MOST,
        b'NOT_FOUND\r\n': None,
        b'CLIENT_ERROR cannot increment or decrement non-numeric value\r\n':
            NOT_A_NUMBER,
    }),
    'stored': (Set(KEY, b'', 0, 0).read, {b'STORED\r\n': True}),
    'stored or not': (Add(KEY, b'', 0, 0).read, {
        b'STORED\r\n': True, b'NOT_STORED\r\n': False}),
    'compared': (Cas(KEY, b'', 0, 1, 0).read, {
        b'STORED\r\n': True, b'EXISTS\r\n': False, b'NOT_FOUND\r\n': None}),
    'discarded': (Discard(KEY, b'', 0, 1, 0).read, {
        b'STORED\r\n': True, b'EXISTS\r\n': False, b'NOT_FOUND\r\n': True}),
    'touched': (Touch(KEY, 0).read, {
        b'TOUCHED\r\n': True, b'NOT_FOUND\r\n': False}),
    'deleted': (Delete(KEY).read, {
        b'DELETED\r\n': True, b'NOT_FOUND\r\n': False}),
    'no operation': (NoOperation().read, {b'MN\r\n': True}),
    'leased': (_LEASED, {
        b'EN\r\n': None,
        b'EN kkey\r\n': None,
        b'VA 0 f0 c1 kkey W\r\n\r\n': Leased(Item(b'', 0, 1), Right.OURS),
        b'VA 0 f0 c1 kkey Z\r\n\r\n': Leased(Item(b'', 0, 1), Right.THEIRS),
        b'VA 3 f64 c12 kkey\r\nabc\r\n':
            Leased(Item(b'abc', 64, 12), Right.NOBODYS),
        b'VA 3 f0 c12 kkey W X\r\nabc\r\n':
            Leased(Item(b'abc', 0, 12), Right.OURS),
        b'VA 3 f0 c12 kkey X Z\r\nabc\r\n':
            Leased(Item(b'abc', 0, 12), Right.THEIRS),
        b'VA 3 f0 c12 kkey X\r\nabc\r\n':
            Leased(Item(b'abc', 0, 12), Right.NOBODYS),
        b'VA %d f4294967295 c%d kkey\r\n%b\r\n' % (len(WILD), MOST, WILD):
            Leased(
                Item(WILD, 2 ** 32 - 1, MOST), Right.NOBODYS),
    }),
    'added': (AddNumbered(KEY, b'', 0, 0).read, {
        b'HD c12 kkey\r\n': 12,
        b'HD c%d kkey\r\n' % MOST: MOST,
        b'HD kkey\r\n': 0,
        b'NS c0 kkey\r\n': None,
        b'NS kkey\r\n': None,
    }),
    'is leased': (IsLeased(KEY).read, {
        b'EN\r\n': True,
        b'HD s0\r\n': False,
        b'HD s3\r\n': True,
        b'HD s0 Z\r\n': True,
        b'HD s0 W\r\n': True,
        b'HD s3 X Z\r\n': True,
    }),
    'made stale': (MakeStale(KEY, 1).read, {
        b'HD\r\n': True, b'EX\r\n': False, b'NF\r\n': None}),
}

#: Lines that are a reply to nothing.
GARBAGE = (
    b'\r\n', b'\n', b'END\n', b' END\r\n', b'END \r\n', b'end\r\n',
    b'STORED\n', b'STORED STORED\r\n', b'MN \r\n', b'HTTP/1.1 200 OK\r\n',
    b'-1\r\n', b'+1\r\n', b' 1\r\n', b'1.0\r\n', b'0x1\r\n', b'1 2\r\n',
    '\u0661\r\n'.encode(), b'%d\r\n' % (MOST + 1), b'1' * 21 + b'\r\n',
    b'\x80\x00\xff\r\n', b'\0' * 24 + b'\r\n',
    b'VALUE key 0 1\r\nx\r\nEND\r\n', b'VALUE key 0 1 \r\nx\r\nEND\r\n',
    b'VALUE key 0 -1 1\r\n\r\nEND\r\n', b'VALUE key -1 1 1\r\nx\r\nEND\r\n',
    b'VALUE key 0 +1 1\r\nx\r\nEND\r\n', b'VALUE key 0 1 x\r\nx\r\nEND\r\n',
    b'VALUE key 0 1 1 1\r\nx\r\nEND\r\n', b'VALUE  0 1 1\r\nx\r\nEND\r\n',
    b'VALUE key  0 1 1\r\nx\r\nEND\r\n', b'VALUE key 0 1 1\nx\r\nEND\r\n',
    b'VALUE key 0 11111111111 1\r\nx\r\nEND\r\n',
    b'VALUE key 0 1 111111111111111111111\r\nx\r\nEND\r\n',
    b'VA\r\n', b'VA 1\r\nx\r\n', b'VA 1 f0 c1\r\nx\r\n',
    b'VA 1 f0 c1 k\r\nx\r\n', b'VA -1 f0 c1 kkey\r\n\r\n',
    b'VA 1 f0 c1 kkey Q\r\nx\r\n', b'VA 1 f0 c1 kkey WZ\r\nx\r\n',
    b'VA 1 f0 c1 kkey W \r\nx\r\n', b'VA 1 c1 f0 kkey\r\nx\r\n',
    b'VA 1 f0 c1 kkey\nx\r\n', b'VA 11111111111 f0 c1 kkey\r\nx\r\n',
    b'VA 1 f0 c111111111111111111111 kkey\r\nx\r\n',
    b'HD Q\r\n', b'HD  Z\r\n', b'HD ZZ\r\n', b'EN Z\r\n', b'NS\r\n',
)


class Source:
    """Gives a reply byte by byte, and then ends the connection."""

    def __init__(self, data):
        self.rest = data

    def receive(self, size):
        if not self.rest:
            raise ReceiveError('closed')
        data, self.rest = self.rest[:1], self.rest[1:]
        return data


class ReaderTest(unittest.TestCase):

    def each(self, *but):
        """Yield each reader, in a subtest, with its replies."""
        for name, (read, replies) in READERS.items():
            if name not in but:
                with self.subTest(name):
                    yield read, replies

    def assertRaisesExactly(self, kind, read, data):
        reader = io.BytesIO(data)
        with self.assertRaises(kind) as caught:
            read(reader)
        self.assertIs(type(caught.exception), kind, (data, caught.exception))
        return reader, caught.exception

    def test_whole(self):
        for read, replies in self.each():
            for reply, expected in replies.items():
                reader = io.BytesIO(reply + BEHIND)
                found = read(reader)
                self.assertEqual(found, expected, reply)
                self.assertIs(type(found), type(expected))
                self.assertEqual(reader.read(), BEHIND, reply)

    def test_byte_by_byte(self):
        for read, replies in self.each():
            for reply, expected in replies.items():
                source = Source(reply + BEHIND)
                reader = Reader(source.receive)
                self.assertEqual(read(reader), expected, reply)
                self.assertTrue(reader.is_empty())
                self.assertEqual(source.rest, BEHIND, reply)

    def test_cut_at_every_offset(self):
        for read, replies in self.each():
            for reply in replies:
                for end in range(len(reply)):
                    self.assertRaisesExactly(ReceiveError, read, reply[:end])
                    with self.assertRaises(ReceiveError):
                        read(Reader(Source(reply[:end]).receive))

    def test_errors_of_the_server(self):
        for read, _ in self.each():
            for reply, kind in (
                    (b'SERVER_ERROR out of memory\r\n', ServerError),
                    (b'SERVER_ERROR \r\n', ServerError),
                    (b'ERROR\r\n', ClientError),
                    (b'CLIENT_ERROR bad command line format\r\n',
                     ClientError),
                    (b'ERROR Too many open connections\r\n', ServerBusy)):
                reader, error = self.assertRaisesExactly(
                    kind, read, reply + BEHIND)
                self.assertEqual(reader.read(), BEHIND, reply)
                self.assertEqual(str(error), reply.strip().decode())

    def test_garbage(self):
        others = {reply for _, replies in READERS.values()
                  for reply in replies}
        for read, replies in self.each():
            for reply in {*GARBAGE, *others} - {*replies}:
                if read in (_ITEM, _UNIQUE) and reply.startswith(b'END'):
                    continue  # the end of the reply, and something behind it
                with self.assertRaises(ProtocolError, msg=reply):
                    read(io.BytesIO(reply))

    def test_endless_lines(self):
        for read, _ in self.each():
            reader, _ = self.assertRaisesExactly(
                ProtocolError, read, b'1' * MAX_LINE * 3)
            self.assertEqual(reader.tell(), MAX_LINE)

    def test_a_busy_server_is_not_quoted(self):
        # It may repeat the password that it was sent.
        for read, _ in self.each():
            _, error = self.assertRaisesExactly(
                ServerBusy, read,
                b'ERROR Too many open connections bob hunter2\r\n')
            self.assertEqual(str(error), 'ERROR Too many open connections')

    def test_how_garbage_is_shown(self):
        for read, _ in self.each():
            for garbage in (
                    b'\x1b[2J\xff' * 300 + b'\r\n', b'\0' * 2047 + b'\n'):
                _, error = self.assertRaisesExactly(
                    ProtocolError, read, garbage)
                self.assertTrue(str(error).isprintable())
                self.assertLess(len(str(error)), 1100)


class ValueTest(unittest.TestCase):
    """Which values `Gets` and `GetOrRenew` accept."""

    def replies(self, key=KEY, size=3, unique=1, data=b'abc'):
        yield _UNIQUE, (
            b'VALUE %b 0 %d %d\r\n%b\r\nEND\r\n' % (key, size, unique, data))
        yield _LEASED, (
            b'VA %d f0 c%d k%b\r\n%b\r\n' % (size, unique, key, data))

    def assertRefused(self, words, **reply):
        for read, data in self.replies(**reply):
            reader = io.BytesIO(data)
            with (self.subTest(read),
                  self.assertRaisesRegex(ProtocolError, words)):
                read(reader)
            yield reader.tell()

    def test_another_key(self):
        for key in (b'kez', b'ke', b'keyy', b'KEY', b'key\r', b'key\0',
                    b'a' * 250, b'k' * 1000):
            for end in self.assertRefused('not asked for', key=key):
                # Its data is not even read.
                self.assertLess(end, 1100)

    def test_wrong_lengths(self):
        for size in 0, 1, 2, 4, 5:
            # The shortest reply has five bytes after the data.
            for read, data in self.replies(size=size):
                with self.assertRaises((ProtocolError, ReceiveError)):
                    read(io.BytesIO(data))

    def test_too_long(self):
        for size in MAX_VALUE + 1, 2 ** 31, 2 ** 32, 9_999_999_999:
            for end in self.assertRefused(f'of {size} bytes', size=size):
                self.assertLess(end, 100)

    def test_the_longest(self):
        for read, data in self.replies(size=MAX_VALUE):
            source = Source(data)
            with self.assertRaises(ReceiveError):
                read(Reader(source.receive))
            self.assertEqual(source.rest, b'')

    def test_no_unique_number(self):
        # It would not make a valid token.
        for unique in MOST + 1, 10 ** 20 - 1:
            list(self.assertRefused('', unique=unique))

    def test_a_second_value(self):
        value = b'VALUE key 0 1 1\r\nx\r\n'
        for more in value, b'VALUE other 0 1 1\r\nx\r\n', b'x', b'STORED\r\n':
            with self.assertRaises((ProtocolError, ReceiveError)):
                _UNIQUE(io.BytesIO(value + more + b'END\r\n'))


_store = partial(Set, data=b'', flags=0, expires=0)


class BatchTest(unittest.TestCase):

    keys = [b'a', b'b', b'c']

    def read(self, data, command=_store):
        """Return what was found, what is left, and the error."""
        reader, replies = io.BytesIO(data), {}
        error = None
        try:
            Batch.of(map(command, self.keys), replies).read(reader)
        except Exception as raised:
            error = type(raised)
        for key, reply in replies.items():
            if isinstance(reply, Exception):
                replies[key] = type(reply)
        return replies, reader.read(), error

    def test_whole(self):
        self.assertEqual(
            self.read(b'STORED\r\n' * 3 + BEHIND),
            (dict.fromkeys(self.keys, True), BEHIND, None))
        self.assertEqual(
            self.read(b'NOT_FOUND\r\nDELETED\r\nNOT_FOUND\r\n',
                      Delete),
            ({b'a': False, b'b': True, b'c': False}, b'', None))

    def test_refusals_are_replies(self):
        refusal = b'SERVER_ERROR out of memory\r\n'
        self.assertEqual(
            self.read(refusal + b'STORED\r\n' + refusal + BEHIND),
            ({b'a': ServerError, b'b': True, b'c': ServerError},
             BEHIND, None))

    def test_any_other_reply_ends_the_connection(self):
        for reply, kind in (
                (b'ERROR\r\n', ClientError),
                (b'CLIENT_ERROR bad data chunk\r\n', ClientError),
                (b'ERROR Too many open connections\r\n', ServerBusy),
                (b'DELETED\r\n', ProtocolError),
                (b'x\r\n', ProtocolError)):
            self.assertEqual(
                self.read(b'STORED\r\n' + reply + b'STORED\r\n'),
                ({b'a': True}, b'STORED\r\n', kind))

    def test_cut_at_every_offset(self):
        lines = [b'STORED\r\n', b'SERVER_ERROR no\r\n', b'STORED\r\n']
        outcomes = True, ServerError, True
        whole = b''.join(lines)
        for end in range(len(whole)):
            count = sum(len(b''.join(lines[:number])) <= end
                        for number in (1, 2, 3))
            self.assertEqual(
                self.read(whole[:end]),
                (dict(zip(self.keys[:count], outcomes, strict=False)), b'',
                 ReceiveError))


class RequestTest(unittest.TestCase):

    #: Commands by key, and their requests for b'key'.
    requests = {
        Gets: b'gets key\r\n',
        lambda key: GetAndTouch(key, 7): b'gat 7 key\r\n',
        lambda key: Add(key, b'data', 1, 7):
            b'add key 1 7 4\r\ndata\r\n',
        lambda key: Replace(key, b'data', 1, 7):
            b'replace key 1 7 4\r\ndata\r\n',
        lambda key: Append(key, b'data', 1, 7):
            b'append key 1 7 4\r\ndata\r\n',
        lambda key: Prepend(key, b'data', 1, 7):
            b'prepend key 1 7 4\r\ndata\r\n',
        lambda key: Cas(key, b'data', 1, MOST, -1):
            b'cas key 1 -1 4 18446744073709551615\r\ndata\r\n',
        lambda key: Touch(key, 7): b'touch key 7\r\n',
        lambda key: Increment(key, MOST):
            b'incr key 18446744073709551615\r\n',
        lambda key: Decrement(key, 1): b'decr key 1\r\n',
        lambda key: GetOrRenew(key, 0): b'mg key v f c k\r\n',
        lambda key: GetOrRenew(key, 30): b'mg key v f c k R30\r\n',
        lambda key: AddNumbered(key, b'data', 1, 7):
            b'ms key 4 F1 T7 c k ME\r\ndata\r\n',
        IsLeased: b'mg key s\r\n',
        lambda key: MakeStale(key, 12): b'md key I C12\r\n',
    }

    def test_bytes(self):
        for request, expected in self.requests.items():
            self.assertEqual(request(KEY).encode(), expected)
        self.assertEqual(NoOperation().encode(), b'mn\r\n')

    def test_the_longest_key(self):
        for request, expected in self.requests.items():
            key = b'\xff' * 250
            self.assertEqual(
                request(key).encode(), expected.replace(b'key', key))

    def test_hostile_keys(self):
        for key in (b'', b' ', b'a b', b'a\r\nflush_all\r\n', b'a\n', b'\na',
                    b'a\r', b'a\t', b'\0', b'\x1f', b'\x7f', b'a' * 251):
            for request, expected in self.requests.items():
                with (self.subTest(expected, key=key),
                      self.assertRaisesRegex(ValueError, 'key b')):
                    request(key)

    def test_keys_that_are_not_bytes(self):
        for key in 'key', None, 1, [b'key']:
            for request, expected in self.requests.items():
                with (self.subTest(expected, key=key),
                      self.assertRaises(TypeError)):
                    request(key)

    def test_hostile_numbers(self):
        for number in '1', b'1', b'1\r\nflush_all', None, [], object():
            for place, request in enumerate(NUMBERED):
                with (self.subTest(place, number=number),
                      self.assertRaises(TypeError)):
                    request(number).encode()

    def test_a_value_that_is_too_long(self):
        self.enterContext(
            mock.patch('p01.memcache.wire.command.MAX_VALUE', 3))
        for request in Add, Replace, Append, Prepend, Set, AddNumbered:
            request(KEY, b'abc', 0, 0)
            with self.assertRaisesRegex(ValueError, 'of 4 bytes'):
                request(KEY, b'abcd', 0, 0)
        Cas(KEY, b'abc', 0, 1, 0)
        with self.assertRaisesRegex(ValueError, 'of 4 bytes'):
            Cas(KEY, b'abcd', 0, 1, 0)


class EmbeddedTest(unittest.TestCase):
    """The requests to a server and its replies, on one connection."""

    def setUp(self):
        server = self.start_server()
        self.connection = Connection(
            Dialer(parse(server.address)), LockKeeping(), 300)
        self.addCleanup(self.connection.close)
        self.connection.connect(monotonic() + 5)

    def start_server(self):
        return self.enterContext(EmbeddedServer())

    def ask(self, command):
        self.connection.send(command.encode(), monotonic() + 5)
        reply = self.connection.receive(command.read, monotonic() + 5)
        # Nothing is left to be read.
        self.assertTrue(self.connection.is_usable(monotonic()))
        return reply

    def gets(self):
        return self.ask(Gets(KEY))

    def store(self, command, data=b'data', expires=0):
        return self.ask(command(KEY, data, 3, expires))

    def lend(self, grace=0):
        return self.ask(GetOrRenew(KEY, grace))

    def add(self):
        return self.ask(AddNumbered(KEY, b'claim', CLAIM, 60))

    def is_leased(self):
        return self.ask(IsLeased(KEY))

    def make_stale(self, unique):
        return self.ask(MakeStale(KEY, unique))

    def test_stored_or_not(self):
        for command in Replace, Append, Prepend:
            self.assertIs(self.store(command), False)
        self.assertIs(self.store(Add), True)
        self.assertIs(self.store(Add), False)
        for command in Append, Prepend:
            self.assertIs(self.store(command, b'-'), True)
        data, flags, _ = self.gets()
        self.assertEqual((data, flags), (b'-data-', 3))
        self.assertIs(self.store(Replace, WILD), True)
        self.assertEqual(self.gets()[0], WILD)

    def test_compared(self):
        def compare(unique):
            return self.ask(Cas(KEY, b'new', 0, unique, 0))

        self.assertIsNone(self.gets())
        self.assertIsNone(compare(1))
        self.store(Add)
        unique = self.gets()[2]
        self.assertIs(compare(unique + 1), False)
        self.assertIs(compare(unique), True)
        self.assertIs(compare(unique), False)
        self.assertEqual(self.gets()[0], b'new')
        self.assertGreater(self.gets()[2], unique)

    def test_touched(self):
        def touch(expires):
            return self.ask(Touch(KEY, expires))

        def get_and_touch(expires):
            return self.ask(GetAndTouch(KEY, expires))

        self.assertIs(touch(0), False)
        self.assertIsNone(get_and_touch(0))
        self.store(Add)
        self.assertIs(touch(60), True)
        self.assertEqual(get_and_touch(60), Item(b'data', 3))
        self.assertIs(touch(-1), True)
        self.assertIs(touch(60), False)

    def test_number(self):
        def count(command, delta=1):
            return self.ask(command(KEY, delta))

        self.assertIsNone(count(Increment))
        self.store(Add)
        self.assertIs(count(Increment), NOT_A_NUMBER)
        self.assertIs(count(Decrement), NOT_A_NUMBER)
        self.store(Replace, b'9')
        self.assertEqual(count(Increment), 10)
        self.assertEqual(count(Decrement), 9)
        # As it is stored, padded with a blank.
        self.assertEqual(count(Decrement, 0), 9)
        self.assertEqual(count(Decrement, 100), 0)
        self.assertEqual(count(Increment, MOST), MOST)
        self.assertEqual(count(Increment, 3), 2)

    def test_no_operation(self):
        self.assertIs(self.ask(NoOperation()), True)

    def test_lease_of_nothing(self):
        # The claim seen a moment ago is gone.
        self.assertIs(self.is_leased(), True)
        self.assertIsNone(self.lend())
        self.assertIsNone(self.lend(30))
        unique = self.add()
        self.assertIsNone(self.add())
        self.assertEqual(
            self.lend(), Leased(Item(b'claim', CLAIM, unique), Right.NOBODYS))
        self.assertIs(self.ask(Cas(KEY, b'new', 3, unique, 0)), True)
        self.assertIs(self.lend(30).right, Right.NOBODYS)
        # The key has changed since it was seen empty.
        self.assertIs(self.is_leased(), True)
        self.assertEqual(self.lend().item[:2], (b'new', 3))
        self.ask(Set(KEY, b'', 3, 0))
        self.assertIs(self.is_leased(), False)

    def test_lease_of_another_client(self):
        # It may let memcached make the claim, which is an empty value.
        claim = GetOrRenew(KEY, 0)
        claim.encode = lambda: b'mg key v f c k N60\r\n'
        self.ask(claim)
        (data, flags, _), right = self.lend()
        self.assertEqual((data, flags, right), (b'', PLAIN, Right.THEIRS))
        # A look does not take the right away.
        self.assertIs(self.is_leased(), True)

    def test_lease_of_a_value(self):
        self.store(Add, expires=20)
        self.assertIs(self.lend(10).right, Right.NOBODYS)
        (data, flags, unique), right = self.lend(30)
        self.assertEqual((data, flags, right), (b'data', 3, Right.OURS))
        self.assertEqual(
            self.lend(30), Leased(Item(b'data', 3, unique), Right.THEIRS))
        self.assertIs(self.is_leased(), True)

    def test_stale(self):
        self.assertIsNone(self.make_stale(1))
        self.store(Add)
        unique = self.gets()[2]
        self.assertIs(self.make_stale(unique + 1), False)
        self.assertIs(self.make_stale(unique), True)
        # It has a new number: a value computed earlier is no longer stored.
        (data, flags, newer), right = self.lend()
        self.assertEqual((data, flags, right), (b'data', 3, Right.OURS))
        self.assertNotEqual(newer, unique)
        self.assertIs(self.lend().right, Right.THEIRS)


class MemcachedTest(EmbeddedTest):

    level = 2

    def start_server(self):
        return self.enterContext(Memcached())
