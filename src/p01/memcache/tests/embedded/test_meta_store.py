# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands ms, md and ma, which change an item."""

from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import metaSet
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.replies import BAD_CHUNK
from p01.memcache.tests.embedded.replies import BAD_FLAG
from p01.memcache.tests.embedded.replies import BAD_FORMAT
from p01.memcache.tests.embedded.replies import BAD_NUMBER
from p01.memcache.tests.embedded.replies import BAD_TOKEN
from p01.memcache.tests.embedded.replies import INVALID_FLAG
from p01.memcache.tests.embedded.replies import TOO_LARGE


class MetaStore(ServerCase):
    """Modes, unique numbers and results."""

    def test_meta_set(self):
        numbers = self.numbers
        self.check(
            (metaSet(b'a', b'x', b'MR c k O1'), b'NS c0 ka O1\r\n'),
            (metaSet(b'a', b'x', b'MA q'), b'NS\r\n'),
            (metaSet(b'a', b'x', b'MP k'), b'NS ka\r\n'),
            (metaSet(b'a', b'x', b'C5 k c'), b'NF ka c0\r\n'),
            (metaSet(b'a', b'x', b'C5 MR q'), b'NF\r\n'),
        )
        numbers.refuse(5)
        self.check(
            (metaSet(b'a', b'x', b'C5 ME O1 c k'),
             b'HD O1 c%d ka\r\n' % numbers.store()),
            (metaSet(b'a', b'x', b'ME O1 c k'), b'NS O1 c0 ka\r\n'),
            (metaSet(b'a', b'x', b'F7 T60 v s f t N1') + b'mg a f t\r\n',
             b'HD%b\r\nHD f7 t60\r\n' % self.release['ms tells the size']),
        )
        numbers.refuse()
        before, unique = numbers.store(), numbers.store()
        self.check(
            (metaSet(b'a', b'y', b'F9 T90 MA c') + b'mg a v f t\r\n',
             b'HD c%d\r\nVA 2 f7 t60\r\nxy\r\n' % unique),
            (metaSet(b'a', b'w', b'MP C%d' % before), b'EX\r\n'),
            (metaSet(b'a', b'w', b'MP C%d' % unique), b'HD\r\n'),
            (metaSet(b'a', b'!', b'MA C0 q k'), b''),
        )
        numbers.refuse()
        before, unique = numbers.store(), numbers.store()
        self.check(
            (b'mg a v c\r\n', b'VA 4 c%d\r\nwxy!\r\n' % unique),
            (metaSet(b'a', b'z', b'C0'), b'EX\r\n'),
            (metaSet(b'a', b'z', b'C%d q c' % before), b'EX c0\r\n'),
        )
        numbers.refuse(2)
        self.check(
            (metaSet(b'a', b'z', b'C%d MR F1 c' % unique),
             b'HD c%d\r\n' % numbers.store()),
            (b'mg a v f t\r\n', b'VA 1 f1 t-1\r\nz\r\n'),
            (metaSet(b'a', b'z', b'F4294967298') + b'mg a v f\r\n',
             b'HD\r\nVA 1 f2\r\nz\r\n' if self.release['loose numbers']
             else BAD_FORMAT + b'VA 1 f1\r\nz\r\n'),
            (metaSet(b'a', b'', b'MS q'), b''),
            (b'mg a v\r\n', b'VA 0\r\n\r\n'),
            (metaSet(b'a', b'\r\nmn\r\n'), b'HD\r\n'),
            (b'mg a v\r\n', b'VA 6\r\n\r\nmn\r\n\r\n'),
            (metaSet(b'a', b'x', b'T-1'), b'HD\r\n'),
            (b'mg a\r\n', b'EN\r\n'),
        )

    def test_meta_set_without_its_value(self):
        # The next value gets the number of the bad one.
        self.check((b'ms a 1\r\nxyz\r\n',
                    BAD_CHUNK + self.release['less than four bytes']),
                   (setCommand(b'a', b'x'), b'STORED\r\n'))
        self.assertEqual(self.cas(b'a'), self.numbers.store())

    def test_meta_set_returns_the_size(self):
        if not self.release['ms tells the size']:
            self.check((metaSet(b'a', b'x', b's'), b'HD\r\n'))
            return
        self.check((metaSet(b'a', b'xy', b's'), b'HD s2\r\n'),
                   (metaSet(b'a', b'abc', b'MA s'), b'HD s5\r\n'),
                   (metaSet(b'a', b'abc', b'ME s'), b'NS s3\r\n'))

    def test_unique_numbers_of_the_client(self):
        if not self.release['flags E and x']:
            for flag in b'E7', b'x':
                self.check((b'mg a %b\r\n' % flag, INVALID_FLAG),
                           (metaSet(b'a', b'x', flag), INVALID_FLAG),
                           (b'md a %b\r\n' % flag, BAD_FLAG),
                           (b'ma a %b\r\n' % flag, BAD_FLAG))
            return
        self.check(
            (b'mg a Ex\r\n', BAD_TOKEN),
            (b'mg a N0 E70 c\r\n', b'HD c70 W\r\n'),
            (metaSet(b'a', b'9', b'E60 c'), b'HD c60\r\n'),
            (metaSet(b'a', b'9', b'C60 E50 c'), b'HD c50\r\n'),
            (b'md a I E40\r\nmg a c\r\n', b'HD\r\nHD c40 X W\r\n'),
            (metaSet(b'a', b'8'), b'HD\r\n'),
            (b'ma a E30 c\r\nmg a c v\r\n',
             b'HD c30\r\nVA 1 c30\r\n9\r\n'),
            (b'ma b N0 J5 E20 c\r\n', b'HD c20\r\n'))
        # A longer number does not keep the unique number.
        self.check((b'ma a E10 c\r\n', b'HD c10\r\n'))
        self.assertNotEqual(self.cas(b'a'), 10)

    def test_meta_append_to_nothing(self):
        if not self.release['flags E and x']:
            self.check((metaSet(b'a', b'x', b'MA N30'), b'NS\r\n'))
            return
        self.check(
            (metaSet(b'a', b'x', b'MA N30 F7'), b'HD\r\n'),
            (metaSet(b'a', b'y', b'MP N60 F8'), b'HD\r\n'),
            (b'mg a v f t\r\n', b'VA 2 f7 t30\r\nyx\r\n'),
            (metaSet(b'YWI=', b'x', b'MP N0 T30 b'), b'HD\r\n'),
            (b'mg ab k t\r\n', b'HD kYWI= b t-1\r\n'))

    def test_meta_set_of_a_stale_value(self):
        # With I, an older number C stores a stale value.
        first, second = self.numbers.store(), self.numbers.store()
        old = b'C%d' % first
        self.check(
            (metaSet(b'a', b'1', b'T100 F5 c'), b'HD c%d\r\n' % first),
            (b'md a I\r\n', b'HD\r\n'),
            (metaSet(b'a', b'2', old), b'EX\r\n'),
            (metaSet(b'a', b'2', b'C0 I'), b'EX\r\n'),
            (metaSet(b'a', b'2', b'C%d I' % (second + 1)), b'EX\r\n'),
            (metaSet(b'a', b'2', old + b' I MA'), b'EX\r\n'),
            (metaSet(b'a', b'2', old + b' I ME'), b'NS\r\n'),
        )
        self.numbers.refuse(5)
        third, fourth = self.numbers.store(), self.numbers.store()
        self.check(
            # It keeps the lifetime it had.
            (metaSet(b'a', b'2', old + b' I T50 F6 c') + b'mg a t\r\n',
             b'HD c%d\r\nHD t100 X W\r\n' % third),
            (metaSet(b'a', b'3', old + b' I MR'), b'HD\r\n'),
            (b'mg a v f c\r\n', b'VA 1 f0 c%d Z X\r\n3\r\n' % fourth),
            (metaSet(b'a', b'4', b'C%d I' % fourth), b'HD\r\n'),
            (b'mg a v\r\n', b'VA 1\r\n4\r\n'),
            (metaSet(b'b', b'2', old + b' I'), b'NF\r\n'),
        )

    def test_meta_set_of_a_value_that_is_too_large(self):
        large = b'v' * 1048516
        for mode in b'SERAP':
            self.check(
                (metaSet(b'a', b'old'), b'HD\r\n'),
                (metaSet(b'a', large + b'v', b'q M%c' % mode), TOO_LARGE),
                # In every mode, unlike with the basic commands.
                (b'mg a\r\n', b'EN\r\n'))
        self.check(
            (metaSet(b'a', large), b'HD\r\n'),
            (metaSet(b'a', b'!', b'MA q'), b'NS\r\n'),
            (metaSet(b'a', b'!', b'MP'), b'NS\r\n'),
            (b'mg a s\r\n', b'HD s1048516\r\n'),
            (metaSet(b'YQ==', large[4:], b'b F1 k'), b'HD kYQ== b\r\n'),
            (metaSet(b'a', large, b'F1'), TOO_LARGE))

    def test_meta_delete(self):
        unique = self.numbers.store()
        self.check(
            (b'md a\r\n', b'NF\r\n'),
            (b'md a q O1 k\r\n', b'NF O1 ka\r\n'),
            (b'md a C5\r\n', b'NF\r\n'),
            (metaSet(b'a', b'x', b'c'), b'HD c%d\r\n' % unique),
            (b'md a C%d q k\r\n' % (unique + 1), b'EX ka\r\n'),
            (b'md a C0\r\n', b'EX\r\n'),
            (b'md a C%d k O1 T30\r\n' % unique, b'HD ka O1\r\n'),
            (b'mg a\r\n', b'EN\r\n'),
            (metaSet(b'a', b'x'), b'HD\r\n'),
            (b'md a q k\r\n', b''),
            (b'mg a\r\n', b'EN\r\n'),
        )

    def test_meta_delete_of_the_value_alone(self):
        if not self.release['flags E and x']:
            self.skipTest(f'memcached {self.release.name} does not know x')
        self.check(
            (b'md a x\r\n', b'NF\r\n'),
            (metaSet(b'a', b'abc', b'F7 T60 E5'), b'HD\r\n'),
            (b'md a x C4\r\n', b'EX\r\n'),
            (b'md a x k\r\n', b'HD ka\r\n'),
            (b'mg a v s f t c\r\n', b'VA 0 s0 f0 t-1 c5\r\n\r\n'),
            (b'md a x I T30 F3 q E4\r\n', b''),
            (b'mg a v f t c\r\n', b'VA 0 f3 t30 c4 X W\r\n\r\n'))

    def test_meta_arithmetic(self):
        most = b'18446744073709551615'
        first, second, *_, seventh, eighth, ninth = [
            self.numbers.store() for _ in range(9)]
        self.check(
            (b'ma a\r\n', b'NF\r\n'),
            (b'ma a q k O1 v J5 D2\r\n', b'NF ka O1\r\n'),
            (b'ma a t N30 J13 k O1 c v D5\r\n',
             b'VA 2 t-1 ka O1 c%d\r\n13\r\n' % first),
            (b'ma a N90 T30 t v c\r\n',
             b'VA 2 t30 c%d\r\n14\r\n' % second),
            (b'ma a\r\n', b'HD\r\n'),
            (b'ma a v D10 M+\r\n', b'VA 2\r\n25\r\n'),
            (b'ma a v D20 MD\r\n', b'VA 1\r\n5\r\n'),
            (b'mg a v\r\n', b'VA 2\r\n5 \r\n'),
            (b'ma a v D20 M-\r\n', b'VA 1\r\n0\r\n'),
            (b'ma a v D0 MI\r\n', b'VA 1\r\n0\r\n'),
            (b'ma a c C1 k\r\n', b'EX ka\r\n'),
            (b'ma a c C%d v\r\n' % seventh, b'VA 1 c%d\r\n1\r\n' % eighth),
            (b'ma a c C0\r\n', b'HD c%d\r\n' % ninth),
            (b'ma a q v k\r\n', b''),
            (b'ma a q C1 O1\r\n', b'EX O1\r\n'),
            (b'ma a v\r\n', b'VA 1\r\n4\r\n'),
            # Some releases are quiet only if there is a number.
            (b'ma b N0 q\r\n', self.release['a new number, with q']),
            (b'ma c N5 T9 J%b t v\r\n' % most,
             b'VA 20 t9\r\n%b\r\n' % most),
            (b'ma c v\r\n', b'VA 1\r\n0\r\n'),
            (b'ma d N-1\r\n', b'HD\r\n'),
            (b'ma d\r\n', b'NF\r\n'),
            (metaSet(b'a', b'abc'), b'HD\r\n'),
            (b'ma a q v\r\n', BAD_NUMBER),
            (b'ma a C1\r\n', b'EX\r\n'),
            (b'mg a v\r\n', b'VA 3\r\nabc\r\n'),
        )

    def test_meta_arithmetic_forgets_the_lifetime_of_a_longer_number(self):
        *_, third = [self.numbers.store() for _ in range(3)]
        self.check((metaSet(b'a', b'8'), b'HD\r\n'),
                   (b'ma a T60 v t\r\nmg a t\r\n',
                    b'VA 1 t60\r\n9\r\nHD t60\r\n'),
                   (b'ma a T90 v t c\r\nmg a t c\r\n',
                    b'VA 2 t90 c%d\r\n10\r\nHD t60 c%d\r\n' % (
                        third, third)))


class EmbeddedMetaStore(MetaStore, OnEmbedded):
    pass


class MemcachedMetaStore(MetaStore, OnMemcached):
    pass
