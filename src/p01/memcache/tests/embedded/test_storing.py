# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands that store a value."""

from p01.memcache.tests.embedded.conversation import K250
from p01.memcache.tests.embedded.conversation import K251
from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import BAD_CHUNK
from p01.memcache.tests.embedded.replies import BAD_FORMAT
from p01.memcache.tests.embedded.replies import TOO_LARGE


class Storing(ServerCase):
    """Values, keys, unique numbers and limits."""

    def test_set_and_get(self):
        everything = bytes(range(256))
        self.check(
            (b'get a\r\n', b'END\r\n'),
            (setCommand(b'a', b'one'), b'STORED\r\n'),
            (b'get a\r\n', valueReply(b'a', b'one') + b'END\r\n'),
            (setCommand(b'a', everything, 7), b'STORED\r\n'),
            (b'get a\r\n', valueReply(b'a', everything, 7) + b'END\r\n'),
            (setCommand(b'b', b''), b'STORED\r\n'),
            (b'get b x a b\r\n',
             valueReply(b'b', b'') + valueReply(b'a', everything, 7)
             + valueReply(b'b', b'') + b'END\r\n'),
            (setCommand(b'c', b'\r\nget a\r\n'), b'STORED\r\n'),
            (b'get c\r\n', valueReply(b'c', b'\r\nget a\r\n') + b'END\r\n'),
            (setCommand(b'c', b'x', more=b' noreply'), b''),
            (setCommand(b'c', b'y', more=b' bogus'), b'STORED\r\n'),
            (b'get c noreply\r\n', valueReply(b'c', b'y') + b'END\r\n'),
        )

    def test_keys(self):
        for key in (K250, b'\xc3\xa9', b'a\tb', b'a\rb', b'\x7f', b'noreply'):
            self.check(
                (setCommand(key, b'x'), b'STORED\r\n'),
                (b'get %b\r\n' % key, valueReply(key, b'x') + b'END\r\n'))
        self.check((b'get k %b\r\n' % K250,
                    valueReply(K250, b'x') + b'END\r\n'))

    def test_too_long_keys(self):
        # Some releases take the value of a refused set for a command.
        value = self.release['a refused value']
        of_get = self.release['a long key of get']
        silent = self.release['a long key of get, with noreply']
        for command in b'set', b'add', b'replace', b'append', b'prepend':
            self.check((setCommand(K251, b'xx', command=command),
                        BAD_FORMAT + value),
                       (setCommand(K251, b'xx', 0, 0, command, b' noreply'),
                        value))
        self.check(
            (setCommand(K251, b'xx', 0, 0, b'cas', b' 1'),
             BAD_FORMAT + value),
            (b'get %b\r\n' % K251, of_get),
            (b'gets %b\r\n' % K251, of_get),
            # noreply counts only as the last word; the first key is too long.
            (b'get %b noreply\r\n' % K251, silent),
            (b'gets %b%b noreply%b\r\n' % (K251, b' a' * 20, b' a' * 30),
             silent),
            (b'get %b noreply a\r\n' % K251, of_get),
            (b'get %b%b noreply\r\n' % (K251, b' a' * 21), of_get),
            (b'get a %b noreply\r\n' % K251, of_get),
            (b'gat 0 %b noreply\r\n' % K251, of_get),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'get a %b\r\n' % K251, of_get),
            (b'get %b%b\r\n' % (b'a ' * 40, K251), of_get),
            (b'gat 0 a %b\r\n' % K251, of_get),
            (b'get a\r\n', valueReply(b'a', b'x') + b'END\r\n'),
            # The items before it are touched all the same.
            (b'gat -1 a %b\r\n' % K251, of_get),
            (b'get a\r\n', b'END\r\n'),
            (b'delete %b\r\n' % K251, BAD_FORMAT),
            (b'delete %b noreply\r\n' % K251, b''),
            (b'touch %b 0\r\n' % K251, BAD_FORMAT),
            (b'incr %b 1\r\n' % K251, BAD_FORMAT),
            (b'decr %b 1\r\n' % K251, BAD_FORMAT),
        )

    def test_add_replace_append_prepend(self):
        self.check(
            (setCommand(b'a', b'x', command=b'replace'), b'NOT_STORED\r\n'),
            (setCommand(b'a', b'x', command=b'append'), b'NOT_STORED\r\n'),
            (setCommand(b'a', b'x', command=b'prepend'), b'NOT_STORED\r\n'),
            (b'get a\r\n', b'END\r\n'),
            (setCommand(b'a', b'm', 5, command=b'add'), b'STORED\r\n'),
            (setCommand(b'a', b'n', command=b'add'), b'NOT_STORED\r\n'),
            (setCommand(b'a', b'z', 9, command=b'append'), b'STORED\r\n'),
            (setCommand(b'a', b'a', 8, -1, b'prepend'), b'STORED\r\n'),
            (b'get a\r\n', valueReply(b'a', b'amz', 5) + b'END\r\n'),
            (setCommand(b'a', b'!', 0, 0, b'append', b' noreply'), b''),
            (b'get a\r\n', valueReply(b'a', b'amz!', 5) + b'END\r\n'),
            (setCommand(b'a', b'r', 6, command=b'replace'), b'STORED\r\n'),
            (b'get a\r\n', valueReply(b'a', b'r', 6) + b'END\r\n'),
        )

    def test_cas(self):
        def cas(value, unique, key=b'a'):
            return setCommand(key, value, 3, 0, b'cas', b' %b' % unique)

        value = self.release['a refused value']
        self.check((cas(b'xx', b'1'), b'NOT_FOUND\r\n'),
                   (cas(b'xx', b'0 noreply'), b''),
                   (setCommand(b'a', b'one'), b'STORED\r\n'))
        self.numbers.refuse(2)
        unique = self.cas(b'a')
        self.assertEqual(unique, self.numbers.store())
        self.assertEqual(self.cas(b'a'), unique)
        self.check(
            (b'gets a b\r\n',
             b'VALUE a 0 3 %d\r\none\r\nEND\r\n' % unique),
            (b'gats 0 a\r\n',
             b'VALUE a 0 3 %d\r\none\r\nEND\r\n' % unique),
            (b'touch a 100\r\n', b'TOUCHED\r\n'),
            (cas(b'xx', b'%d' % (unique + 9)), b'EXISTS\r\n'),
            (cas(b'xx', b'0'), b'EXISTS\r\n'),
            (cas(b'two', b'%d' % unique), b'STORED\r\n'),
            (cas(b'xx', b'%d' % unique), b'EXISTS\r\n'),
        )
        self.numbers.refuse(2)
        self.check(
            (b'gets a\r\n',
             b'VALUE a 3 3 %d\r\ntwo\r\nEND\r\n' % self.numbers.store()),
            (cas(b'xx', b'xx'), BAD_FORMAT + value),
            (cas(b'xx', b'-1'), BAD_FORMAT + value),
            (cas(b'xx', b'18446744073709551616'), BAD_FORMAT + value),
            (cas(b'xx', b'xx noreply'), value),
        )

    def test_every_change_has_a_new_unique_number(self):
        count = self.numbers
        last = None
        for request, reply, steps in (
                (setCommand(b'a', b'9'), b'STORED\r\n', [count.store]),
                (setCommand(b'a', b'9'), b'STORED\r\n', [count.store]),
                (setCommand(b'a', b'', command=b'append'), b'STORED\r\n',
                 [count.store]),
                (setCommand(b'a', b'1', command=b'add'), b'NOT_STORED\r\n',
                 [count.refuse]),
                (b'touch a 0\r\n', b'TOUCHED\r\n', []),
                (b'set a 0 0 1\r\nxyz\r\n',
                 BAD_CHUNK + self.release['less than four bytes'], []),
                (b'decr a 1\r\n', b'8\r\n', [count.store]),
                (b'incr a 2\r\n', b'10\r\n', [count.store]),
                (b'flush_all\r\n' + setCommand(b'a', b'1'),
                 b'OK\r\nSTORED\r\n', [count.flush, count.store])):
            self.check((request, reply))
            for step in steps:
                # A value that is not stored gets no number.
                last = step() or last
            self.assertEqual(self.cas(b'a'), last, request)

    def test_numbers_of_a_set(self):
        def line(flags=b'0', exptime=b'0', length=b'2'):
            return b'set a %b %b %b\r\nxx\r\n' % (flags, exptime, length)

        loose = self.release['loose numbers']
        value = self.release['a refused value']
        for request in (
                line(b'x'), line(b'-1'), line(b'0x10'), line(b'1.5'),
                line(b'+'), line(b'18446744073709551616'),
                line(exptime=b'x'), line(exptime=b'1.5'),
                line(exptime=b'9' * 19), line(exptime=b'9' * 30)):
            self.check((request, BAD_FORMAT + value),
                       (b'get a\r\n', b'END\r\n'))
        # Without a length, the end of the value is unknown.
        for length in (b'x', b'1x', b'-1', b'-2', b'2147483646',
                       b'2147483647', b'9' * 30):
            for more in b'', b' noreply':
                self.check((line(length=length + more),
                            b'ERROR\r\n' if more and loose
                            else BAD_FORMAT + b'ERROR\r\n'),
                           (b'get a\r\n', b'END\r\n'))
        for given, flags in (
                (b'+5', 5), (b'010', 10), (b'5\tx', 5), (b'\t5', 5),
                (b'-0', 0), (b'4294967295', 2 ** 32 - 1),
                (b'4294967296', 0), (b'18446744073709551615', 2 ** 32 - 1),
                (b'000000000000000000000000000006', 6)):
            self.check((line(given), b'STORED\r\n'),
                       (b'get a\r\n', valueReply(b'a', b'xx', flags)
                        + b'END\r\n'))
        self.check((line(length=b'02'), b'STORED\r\n'),
                   (b'get a\r\n', valueReply(b'a', b'xx') + b'END\r\n'))
        for length in b'+2', b'4294967298':
            self.check((line(length=length),
                        b'STORED\r\n' if loose
                        else BAD_FORMAT + b'ERROR\r\n'))

    def test_bad_data_chunk(self):
        rest = self.release['less than four bytes']
        survivor = valueReply(b'a', b'old', 1) + b'END\r\n'
        self.check(
            (setCommand(b'a', b'old', 1), b'STORED\r\n'),
            (b'set a 0 0 1\r\nxy\r\n', BAD_CHUNK + rest),
            (b'get a\r\n', survivor),
            (b'set a 0 0 1\r\nxyz\r\n', BAD_CHUNK + rest),
            (b'set a 0 0 1\r\nx\nget a\r\n', BAD_CHUNK + b'ERROR\r\n'),
            (b'set a 0 0 1\r\nxy\n', BAD_CHUNK),
            (b'set a 0 0 1\r\nx\r\r\n', BAD_CHUNK + rest),
            (b'set a 0 0 3\r\nx\r\nget a\r\n', BAD_CHUNK + b'ERROR\r\n'),
            (b'set a 0 0 1 noreply\r\nxyz\r\n', rest),
            (b'get a\r\n', survivor),
        )

    def test_too_large(self):
        # The limit includes memcached's own bookkeeping.
        for key, flags, most in ((b'a', 0, 1048516), (b'a', 1, 1048512),
                                 (b'abcdef', 0, 1048511)):
            value = b'v' * most
            self.check(
                (setCommand(key, value, flags), b'STORED\r\n'),
                (b'get %b\r\n' % key,
                 valueReply(key, value, flags) + b'END\r\n'),
                (setCommand(key, b'!', 0, 0, b'append'), b'NOT_STORED\r\n'),
                (setCommand(key, b'!', 0, 0, b'prepend'), b'NOT_STORED\r\n'),
                (b'get %b\r\n' % key,
                 valueReply(key, value, flags) + b'END\r\n'),
                (setCommand(key, value + b'!', flags), TOO_LARGE),
                # The old value is gone.
                (b'get %b\r\n' % key, b'END\r\n'),
            )
        large = b'v' * 1048517
        old = valueReply(b'a', b'old') + b'END\r\n'
        self.check(
            (setCommand(b'a', b'old'), b'STORED\r\n'),
            (setCommand(b'a', large, command=b'add'), TOO_LARGE),
            (setCommand(b'a', large, command=b'replace'), TOO_LARGE),
            (setCommand(b'a', large, command=b'append'), TOO_LARGE),
            (setCommand(b'a', large, 0, 0, b'cas', b' 1'), TOO_LARGE),
            (b'get a\r\n', old),
            (setCommand(b'a', large, more=b' noreply'), b''),
            (b'get a\r\n', b'END\r\n'),
            # Only its length tells where it ends.
            (b'set a 0 0 1048600\r\n%b' % (b'\r\n' * 524301), TOO_LARGE),
        )


class EmbeddedStoring(Storing, OnEmbedded):
    pass


class MemcachedStoring(Storing, OnMemcached):
    pass
