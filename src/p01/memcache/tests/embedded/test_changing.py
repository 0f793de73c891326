# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands that change or remove items, and expiry."""

import time

from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import BAD_DELTA
from p01.memcache.tests.embedded.replies import BAD_EXPTIME
from p01.memcache.tests.embedded.replies import BAD_NUMBER


class Changing(ServerCase):
    """Commands on an existing item."""

    def test_delete(self):
        self.check(
            (b'delete a\r\n', b'NOT_FOUND\r\n'),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'delete a\r\n', b'DELETED\r\n'),
            (b'get a\r\n', b'END\r\n'),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'delete a 0\r\n', b'DELETED\r\n'),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'delete a noreply\r\n', b''),
            (b'get a\r\n', b'END\r\n'),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'delete a 0 noreply\r\n', b''),
            (b'get a\r\n', b'END\r\n'),
        )
        refusal = self.release['delete with a word']
        left = (b'' if refusal == b'DELETED\r\n'
                else valueReply(b'a', b'x')) + b'END\r\n'
        for words, reply in (
                (b'10', refusal), (b'x y', refusal), (b'noreply x', refusal),
                (b'5 noreply', b'')):
            self.check((setCommand(b'a', b'x'), b'STORED\r\n'),
                       (b'delete a %b\r\n' % words, reply),
                       (b'get a\r\n', left))

    def test_touch_and_gat(self):
        value = valueReply(b'a', b'x', 5)
        self.check(
            (b'touch a 0\r\n', b'NOT_FOUND\r\n'),
            (b'gat 0 a\r\n', b'END\r\n'),
            (b'gat 10\r\n', self.release['gat without a key']),
            (setCommand(b'a', b'x', 5), b'STORED\r\n'),
            (b'touch a x\r\n', BAD_EXPTIME),
            (b'touch a x noreply\r\n', b''),
            (b'touch a 100\r\n', b'TOUCHED\r\n'),
            (b'touch a 0 bogus\r\n', b'TOUCHED\r\n'),
            (b'touch a 0 noreply\r\n', b''),
            (b'gat x a\r\n', BAD_EXPTIME),
            (b'gat 100 a b a\r\n', value + value + b'END\r\n'),
            (b'gat -1 a\r\n', value + b'END\r\n'),
            (b'get a\r\n', b'END\r\n'),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'touch a -1\r\n', b'TOUCHED\r\n'),
            (b'get a\r\n', b'END\r\n'),
        )

    def test_incr_and_decr(self):
        most = b'18446744073709551615'
        self.check((b'incr n 1\r\n', b'NOT_FOUND\r\n'),
                   (b'decr n 1\r\n', b'NOT_FOUND\r\n'),
                   (b'incr n x\r\n', BAD_DELTA))
        # A shorter number is padded, as it is changed in place. (memcached
        # copies it while an earlier get still needs it: there is none here.)
        for old, command, reply, new in (
                (b'10', b'incr n 5', b'15', b'15'),
                (b'10', b'incr n 90', b'100', b'100'),
                (b'10', b'decr n 1', b'9', b'9 '),
                (b'10', b'decr n 11', b'0', b'0 '),
                (b'10', b'incr n ' + most, b'9', b'9 '),
                (most, b'incr n 1', b'0', b'0'.ljust(20)),
                (most, b'incr n 2', b'1', b'1'.ljust(20)),
                (most, b'decr n ' + most, b'0', b'0'.ljust(20)),
                (b'0', b'incr n ' + most, most, most),
                (b'10', b'incr n 0', b'10', b'10'),
                (b'0010', b'incr n 0', b'10', b'10  '),
                (b'10', b'incr n 1 bogus', b'11', b'11')):
            self.check(
                (setCommand(b'n', old, 7), b'STORED\r\n'),
                (command + b'\r\n', reply + b'\r\n'),
                (b'get n\r\n', valueReply(b'n', new, 7) + b'END\r\n'))
        self.check(
            (setCommand(b'n', b'41'), b'STORED\r\n'),
            (b'incr n 2 noreply\r\n', b''),
            (b'decr n 1 noreply\r\n', b''),
            (setCommand(b'n', b'!', 0, 0, b'append'), b'STORED\r\n'),
            (b'incr n 1\r\n', BAD_NUMBER),
            (setCommand(b'n', b'42'), b'STORED\r\n'),
        )
        for delta in (b'x', b'-1', b'1.5', b'0x5', b'1x', b'+',
                      b'18446744073709551616', b'9' * 30):
            self.check((b'incr n %b\r\n' % delta, BAD_DELTA),
                       (b'decr n %b\r\n' % delta, BAD_DELTA))
        self.check((b'incr n noreply\r\n', b''),
                   (b'incr n 01\r\n', b'43\r\n'),
                   (b'incr n +1\r\n', b'44\r\n'
                    if self.release['loose numbers'] else BAD_DELTA))

    def test_numbers_of_incr(self):
        for value, result in (
                (b' 5', b'6'), (b'5 ', b'6'), (b'+5', b'6'), (b'5 a', b'6'),
                (b'5\ta', b'6'), (b'\t\n5', b'6'), (b'5\0a', b'6'),
                (b'5\r\n', b'6'), (b'0' * 30 + b'5', b'6'), (b'9', b'10'),
                (b'5' + b' ' * 30, b'6'),
                (b'18446744073709551615', b'0')):
            self.check(
                (setCommand(b'n', value), b'STORED\r\n'),
                (b'incr n 1\r\n', result + b'\r\n'),
                (b'get n\r\n',
                 valueReply(b'n', result.ljust(len(value))) + b'END\r\n'))
        for value in (b'', b' ', b'x', b'5x', b'-5', b'1.5', b'+', b'0x5',
                      b'18446744073709551616', b'9' * 30, b'9' * 5000):
            self.check(
                (setCommand(b'n', value), b'STORED\r\n'),
                (b'incr n 1\r\n', BAD_NUMBER),
                (b'decr n 1\r\n', BAD_NUMBER),
                (b'incr n 1 noreply\r\n', b''),
                (b'get n\r\n', valueReply(b'n', value) + b'END\r\n'))

    def test_times(self):
        # More than 30 days are unix time, here a moment in 1970.
        month = 60 * 60 * 24 * 30
        for exptime, lives in (
                (0, True), (100, True), (month, True), (month + 1, False),
                (time.time() + 100, True), (time.time() - 100, False),
                (-1, False), (-2 ** 31, False), (2 ** 31, False),
                (99999999999, False), (2 ** 63 - 1, False),
                (-2 ** 63, True)):
            value = valueReply(b'a', b'x') if lives else b''
            self.check((setCommand(b'a', b'x', 0, exptime), b'STORED\r\n'),
                       (b'get a\r\n', value + b'END\r\n'))
        # No command finds an expired item.
        self.check(
            (setCommand(b'a', b'1', 0, -1), b'STORED\r\n'),
            (setCommand(b'a', b'2', 0, 0, b'append'), b'NOT_STORED\r\n'),
            (setCommand(b'a', b'2', 0, 0, b'replace'), b'NOT_STORED\r\n'),
            (setCommand(b'a', b'2', 0, 0, b'cas', b' 1'), b'NOT_FOUND\r\n'),
            (b'incr a 1\r\n', b'NOT_FOUND\r\n'),
            (b'touch a 0\r\n', b'NOT_FOUND\r\n'),
            (b'gat 0 a\r\n', b'END\r\n'),
            (b'delete a\r\n', b'NOT_FOUND\r\n'),
            (setCommand(b'a', b'2', command=b'add'), b'STORED\r\n'),
        )

    def test_flush_all(self):
        a = setCommand(b'a', b'x')
        there = valueReply(b'a', b'x') + b'END\r\n'
        for request, reply in (
                (b'flush_all\r\n', b'OK\r\n'),
                (b'flush_all 0\r\n', b'OK\r\n'),
                (b'flush_all -1\r\n', b'OK\r\n'),
                (b'flush_all 1\r\n', b'OK\r\n'),
                (b'flush_all 0 bogus\r\n', b'OK\r\n'),
                (b'flush_all noreply\r\n', b''),
                (b'flush_all 0 noreply\r\n', b'')):
            # Flush first: to memcached, 1 means the whole second.
            self.check((b'flush_all\r\n', b'OK\r\n'),
                       (a, b'STORED\r\n'),
                       (b'get a\r\n', there),
                       (request, reply),
                       (b'get a\r\n', b'END\r\n'))
        self.check(
            (b'flush_all\r\n', b'OK\r\n'),
            (a, b'STORED\r\n'),
            (b'flush_all x\r\n', BAD_EXPTIME),
            (b'flush_all x noreply\r\n', b''),
            (b'get a\r\n', there),
            # A later flush replaces one that is pending.
            (b'flush_all 100\r\n', b'OK\r\n'),
            (b'get a\r\n', there),
            (b'flush_all\r\n', b'OK\r\n'),
            (b'get a\r\n', b'END\r\n'),
            (a, b'STORED\r\n'),
            (b'get a\r\n', there),
        )


class Lifetimes(ServerCase):
    """What takes a second or two, as memcached's clock ticks in seconds."""

    def test_expiry(self):
        moment = int(time.time()) + 1
        for request in (
                setCommand(b'set', b'1', 0, 1),
                setCommand(b'moment', b'1', 0, moment),
                setCommand(b'append', b'1', 0, 1),
                setCommand(b'append', b'1', 0, 0, b'append'),
                setCommand(b'incr', b'1', 0, 1) + b'incr incr 100 noreply\r\n',
                setCommand(b'touch', b'1') + b'touch touch 1 noreply\r\n',
                setCommand(b'gat', b'1') + b'gat 1 gat\r\n',
                setCommand(b'stays', b'1', 0, 100),
                setCommand(b'saved', b'1', 0, 100) + b'touch saved 0\r\n',
                setCommand(b'again', b'1', 0, 1) + setCommand(b'again', b'1')):
            self.client.send(request)
        self.client.readTo(b'TOUCHED\r\nSTORED\r\nSTORED\r\n')
        self.waitFor(b'get set moment append incr touch gat\r\n', b'END\r\n')
        self.check((b'get stays saved again\r\n',
                    valueReply(b'stays', b'1') + valueReply(b'saved', b'1')
                    + valueReply(b'again', b'1') + b'END\r\n'))

    def test_delayed_flush_all(self):
        self.check((setCommand(b'a', b'x'), b'STORED\r\n'),
                   (b'flush_all 2\r\n', b'OK\r\n'))
        self.waitFor(b'get a\r\n', b'END\r\n')
        # It happens only once.
        self.waitFor(setCommand(b'a', b'x', more=b' noreply') + b'get a\r\n',
                     valueReply(b'a', b'x') + b'END\r\n')


class EmbeddedChanging(Changing, OnEmbedded):
    pass


class MemcachedChanging(Changing, OnMemcached):
    pass


class EmbeddedLifetimes(Lifetimes, OnEmbedded):

    level = 2  # it takes seconds


class MemcachedLifetimes(Lifetimes, OnMemcached):
    pass
