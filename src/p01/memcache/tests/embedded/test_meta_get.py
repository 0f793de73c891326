# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command mg: what it returns, and which client renews an item."""

import time

from p01.memcache.tests.embedded.conversation import K250
from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import metaSet
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import BAD_NUMBER


class MetaGet(ServerCase):
    """Hits, tokens and stale values."""

    def test_meta_get(self):
        unique = self.numbers.store()
        self.check(
            (b'mg a\r\n', b'EN\r\n'),
            (b'mg a v q\r\n', b''),
            (b'mg a s v k t O7 c\r\n', b'EN ka O7\r\n'),
            (setCommand(b'a', b'abc', 5), b'STORED\r\n'),
            (b'mg a\r\n', b'HD\r\n'),
            (b'mg a q\r\n', b'HD\r\n'),
            (b'mg a v\r\n', b'VA 3\r\nabc\r\n'),
            (b'mg a q k v\r\n', b'VA 3 ka\r\nabc\r\n'),
            (b'mg a s v t Oo k c f\r\n',
             b'VA 3 s3 t-1 Oo ka c%d f5\r\nabc\r\n' % unique),
            (b'mg a f c O t2 sx\r\n', b'HD f5 c%d O t-1 s3\r\n' % unique),
            (b'mg a v C%d\r\n' % (unique + 1), b'VA 3\r\nabc\r\n'),
            # A client that gives the item's number already has the value.
            (b'mg a v C%d\r\n' % unique,
             b'HD\r\n' if self.release['mg compares with C']
             else b'VA 3\r\nabc\r\n'),
            # Each flag sees the effects of those before it.
            (b'mg a t T60\r\n', b'HD t-1\r\n'),
            (b'mg a T70 t\r\n', b'HD t70\r\n'),
            (b'mg a T0 t v\r\n', b'VA 3 t-1\r\nabc\r\n'),
            (b'mg a T-1 v\r\n', b'VA 3\r\nabc\r\n'),
            (b'mg a T60\r\n', b'EN\r\n'),
            (setCommand(b'a', b''), b'STORED\r\n'),
            (b'mg a v\r\n', b'VA 0\r\n\r\n'),
            (b'mg %b k\r\n' % K250, b'EN k%b\r\n' % K250),
        )

    def test_meta_hits(self):
        a = setCommand(b'a', b'5')
        for request, reply, hit in (
                (b'', b'', 0), (b'mg a u\r\n', b'HD\r\n', 0),
                (b'mg a\r\n', b'HD\r\n', 1),
                (b'get a\r\n', valueReply(b'a', b'5') + b'END\r\n', 1),
                (b'gat 0 a\r\n', valueReply(b'a', b'5') + b'END\r\n', 1),
                (b'touch a 0\r\n', b'TOUCHED\r\n', 1),
                (b'incr a 1\r\n', b'6\r\n', 0),
                (setCommand(b'a', b'', command=b'add'), b'NOT_STORED\r\n', 0),
                (b'get a\r\nappend a 0 0 0\r\n\r\n',
                 valueReply(b'a', b'5') + b'END\r\nSTORED\r\n', 0)):
            self.check((a + request + b'mg a h l u\r\nmg a h\r\n',
                        b'STORED\r\n%bHD h%d l0\r\nHD h%d\r\n'
                        % (reply, hit, hit)))

    def test_meta_vivify(self):
        other = self.connect()
        unique = self.numbers.store()
        self.check((b'mg a k v N30 s t c\r\n',
                    b'VA 0 ka s0 t30 c%d W\r\n\r\n' % unique))
        self.check((b'mg a v N30 c\r\n', b'VA 0 c%d Z\r\n\r\n' % unique),
                   client=other)
        empty = valueReply(b'a', b'')
        self.check(
            (b'mg a v\r\n', b'VA 0 Z\r\n\r\n'),
            (b'get a\r\n', empty + b'END\r\n'),
            (b'incr a 1\r\n', BAD_NUMBER),
            (b'ma a C9\r\n', BAD_NUMBER),
            (setCommand(b'a', b'x', command=b'add'), b'NOT_STORED\r\n'),
            (metaSet(b'a', b'x', b'ME'), b'NS\r\n'),
            (metaSet(b'a', b'x', b'C99'), b'EX\r\n'),
            (b'touch a 50\r\n', b'TOUCHED\r\n'),
            (b'gat 50 a\r\n', empty + b'END\r\n'),
            (b'mg a T60 R70 t\r\n', b'HD t60 Z\r\n'),
        )
        self.numbers.refuse(3)
        self.check(
            # The winner stores the value.
            (metaSet(b'a', b'x', b'C%d c' % unique),
             b'HD c%d\r\n' % self.numbers.store()),
            (b'mg a v N30 t\r\n', b'VA 1 t-1\r\nx\r\n'),
            (b'mg b t N30\r\n', b'HD t-1 W\r\n'),
            (b'delete b\r\n', b'DELETED\r\n'),
            (b'mg b N30 T60 t q\r\n', b'HD t60 W\r\n'),
            (b'md b\r\n', b'HD\r\n'),
            (b'mg b T60 N30 t R99\r\n', b'HD t30 W\r\n'),
            (setCommand(b'b', b'x', command=b'append'), b'STORED\r\n'),
            (b'mg b v N30\r\n', b'VA 1\r\nx\r\n'),
            (b'mg c N0 t\r\n', b'HD t-1 W\r\n'),
            (b'mg d N-1\r\n', b'HD W\r\n'),
            (b'mg d N-1\r\n', b'HD W\r\n'),
            (b'mg d\r\n', b'EN\r\n'),
        )

    def test_meta_recache(self):
        for exptime, flags, reply in (
                (100, b'R30', b'HD'), (100, b'R200', b'HD W'),
                (100, b'R0', b'HD'), (100, b'R-1', b'HD'),
                (100, b'R2592001', b'HD'), (0, b'R200', b'HD'),
                (100, b'R%d' % (time.time() + 200), b'HD W'),
                (100, b'T30 R30', b'HD'), (100, b'T29 R30', b'HD W'),
                (100, b'R30 T20', b'HD'), (20, b'R30 T100', b'HD W')):
            self.check((setCommand(b'a', b'x', 0, exptime), b'STORED\r\n'),
                       (b'mg a %b\r\n' % flags, reply + b'\r\n'))
        self.check(
            (b'mg a R200\r\n', b'HD Z\r\n'),
            (b'mg a\r\n', b'HD Z\r\n'),
            (b'get a\r\n', valueReply(b'a', b'x') + b'END\r\n'),
            (b'touch a 500\r\n', b'TOUCHED\r\n'),
            (b'mg a R200 v\r\n', b'VA 1 Z\r\nx\r\n'),
            (setCommand(b'a', b'y'), b'STORED\r\n'),
            (b'mg a R200 v\r\n', b'VA 1\r\ny\r\n'),
        )

    def test_meta_stale(self):
        a = setCommand(b'a', b'5', 7)
        value = valueReply(b'a', b'5', 7) + b'END\r\n'
        self.numbers.store()
        second, third = self.numbers.store(), self.numbers.store()
        self.check(
            (b'md a I\r\n', b'NF\r\n'),
            (a, b'STORED\r\n'),
            (b'md a I T30 k O9\r\nmg a v c t f\r\n',
             b'HD ka O9\r\nVA 1 c%d t30 f7 X W\r\n5\r\n' % second),
            (b'mg a v c\r\n', b'VA 1 c%d Z X\r\n5\r\n' % second),
            (b'get a\r\n', value),
            (b'gat 100 a\r\n', value),
            (b'touch a 100\r\n', b'TOUCHED\r\n'),
            (b'mg a R200\r\n', b'HD Z X\r\n'),
            # The next client that asks wins again.
            (b'md a I q\r\n', b''),
            (b'mg a u c\r\n', b'HD c%d X W\r\n' % third),
            (b'mg a q\r\n', b'HD Z X\r\n'),
            (b'md a I C%d\r\n' % second, b'EX\r\n'),
            (b'md a I C%d T-1\r\n' % third, b'HD\r\n'),
            (b'mg a\r\n', b'EN\r\n'),
        )
        for request, reply, after in (
                (setCommand(b'a', b'x', command=b'add'), b'NOT_STORED\r\n',
                 b'VA 1 X W\r\n5\r\n'),
                (a, b'STORED\r\n', b'VA 1\r\n5\r\n'),
                (setCommand(b'a', b'x', command=b'replace'), b'STORED\r\n',
                 b'VA 1\r\nx\r\n'),
                (setCommand(b'a', b'x', command=b'append'), b'STORED\r\n',
                 b'VA 2\r\n5x\r\n'),
                (metaSet(b'a', b'x'), b'HD\r\n', b'VA 1\r\nx\r\n'),
                (metaSet(b'a', b'x', b'MA'), b'HD\r\n',
                 b'VA 2\r\n5x\r\n'),
                (metaSet(b'a', b'x', b'I'), b'HD\r\n', b'VA 1\r\nx\r\n'),
                # A number that is changed in place does not renew the item.
                (b'incr a 1\r\n', b'6\r\n', b'VA 1 X W\r\n6\r\n'),
                (b'incr a 10\r\n', b'15\r\n', b'VA 2\r\n15\r\n'),
                (b'ma a\r\n', b'HD\r\n', b'VA 1 X W\r\n6\r\n'),
                (b'ma a D10\r\n', b'HD\r\n', b'VA 2\r\n15\r\n')):
            self.check((a, b'STORED\r\n'),
                       (b'md a I\r\n', b'HD\r\n'),
                       (request, reply),
                       (b'mg a v\r\n', after))


class EmbeddedMetaGet(MetaGet, OnEmbedded):
    pass


class MemcachedMetaGet(MetaGet, OnMemcached):
    pass
