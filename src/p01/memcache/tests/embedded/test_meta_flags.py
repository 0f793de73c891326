# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The lines of the meta commands: their words, flags and keys."""

from p01.memcache.tests.embedded.conversation import K251
from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import metaSet
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import BAD_CHUNK
from p01.memcache.tests.embedded.replies import BAD_FLAG
from p01.memcache.tests.embedded.replies import BAD_FORMAT
from p01.memcache.tests.embedded.replies import BAD_KEY
from p01.memcache.tests.embedded.replies import BAD_MODE
from p01.memcache.tests.embedded.replies import BAD_TOKEN
from p01.memcache.tests.embedded.replies import DUPLICATE_FLAG
from p01.memcache.tests.embedded.replies import INVALID_FLAG
from p01.memcache.tests.embedded.replies import LONG_OPAQUE
from p01.memcache.tests.embedded.replies import TOO_MANY_FLAGS


class MetaFlags(ServerCase):
    """How the flags are read."""

    def test_meta_noop(self):
        self.check((b'mn\r\n', b'MN\r\n'),
                   (b'mn x y\r\n', b'MN\r\n'),
                   (b'mg a q\r\nmg b v q\r\nmn\r\n', b'MN\r\n'))

    def test_meta_lines(self):
        for command, refusal in (
                (b'mg', BAD_FORMAT), (b'md', BAD_FORMAT), (b'ms', BAD_FORMAT),
                (b'ma', self.release['a long key of ma'])):
            # Some releases take the value of ms for a command.
            length, value, rest = (
                (b' 2', b'xx\r\n', self.release['a refused value'])
                if command == b'ms' else (b'', b'', b''))
            self.check((command + b'\r\n', self.release['too few words']))
            for flag in b'k', b'q':
                self.check((b'%b %b%b %b\r\n%b' % (
                    command, K251, length, flag, value), refusal + rest))
        # Without a valid length, the value is taken for a command.
        for length in (b'x', b'1x', b'-1', b'S1', b'c', b'2147483646',
                       b'9' * 30):
            self.check((b'ms a %b c\r\nxx\r\n' % length,
                        BAD_FORMAT + b'ERROR\r\n'))
        for length in b'+2', b'4294967298':
            self.check((b'ms a %b\r\nxx\r\n' % length,
                        b'HD\r\n' if self.release['loose numbers']
                        else BAD_FORMAT + b'ERROR\r\n'))
        rest = self.release['less than four bytes']
        self.check(
            (b'ms a\r\n', BAD_FORMAT),
            (b'ms a  02  k \r\nxx\r\n', b'HD ka\r\n'),
            (b'ms a 1\r\nxy\r\n', BAD_CHUNK + rest),
            (b'ms a 1 q k\r\nxyz\r\n', BAD_CHUNK + rest),
            (b'ms a 3\r\nx\r\nmn\r\n', BAD_CHUNK + rest),
        )

    def test_meta_lines_of_many_flags(self):
        flags = b'c f h k l s t u v q b I L1 P2 O3 F4 C5 D6 T0'.split()
        most = self.release['flags of mg']
        size = self.release['ms tells the size']
        for command, reply, refusal in (
                (b'mg', b'', TOO_MANY_FLAGS),
                (b'md', b'NF kYQ== b O3\r\n',
                 self.release['too many flags of md']),
                (b'ma', b'NF kYQ== b O3\r\n',
                 self.release['too many flags of ma'])):
            request = command + b' YQ== '
            self.check(
                (request + b' '.join(flags[:most]) + b'\r\n', reply),
                (request + b' '.join(flags[:most + 1]) + b'\r\n', refusal))
        self.check(
            (b'ms YQ== 1 %b\r\nx\r\n' % b' '.join(flags[1:17]),
             b'NF kYQ== b%b O3\r\n' % size),
            (b'ms YQ== 2 %b\r\nxx\r\n' % b' '.join(flags[:18]),
             self.release['too many flags of ms']
             + self.release['a refused value']))

    def test_meta_flags(self):
        for flags, refusal in (
                (b'v v', DUPLICATE_FLAG), (b'O1 O2', DUPLICATE_FLAG),
                (b'Z', INVALID_FLAG), (b'1', INVALID_FLAG),
                (b'S1', INVALID_FLAG), (b'Tx Z', INVALID_FLAG),
                (b'noreply', INVALID_FLAG), (b'T', BAD_TOKEN),
                (b'Tx', BAD_TOKEN), (b'N1.5', BAD_TOKEN),
                (b'R', BAD_TOKEN), (b'C-1', BAD_TOKEN), (b'Cx', BAD_TOKEN),
                (b'C18446744073709551616', BAD_TOKEN), (b'Fx', BAD_FORMAT),
                (b'F-1', BAD_FORMAT), (b'F', BAD_FORMAT), (b'b', BAD_KEY),
                (b'Jx', b'CLIENT_ERROR invalid numeric initial value\r\n'),
                (b'D-1', b'CLIENT_ERROR invalid numeric delta value\r\n')):
            self.check((b'mg a %b\r\n' % flags, refusal),
                       (b'mg a q %b\r\n' % flags, refusal),
                       (b'ms a 1 %b\r\nx\r\n' % flags, refusal),
                       (b'ms a 1 q %b\r\nx\r\n' % flags, refusal),
                       (b'md a %b\r\n' % flags, self.refusalOfDelete(refusal)),
                       (b'ma a q %b\r\n' % flags, BAD_FLAG))
        opaque = b'O' + b'o' * 31
        for request, code in ((b'mg a %b\r\n', b'EN'),
                              (b'md a %b\r\n', b'NF'),
                              (b'ma a %b\r\n', b'NF'),
                              (b'ms a 1 %b\r\nx\r\n', b'HD')):
            self.check((request % (opaque + b'o'), LONG_OPAQUE),
                       (request % opaque, b'%b %b\r\n' % (code, opaque)))
        self.check(
            # A command ignores the flags of others.
            (b'mg a v MX I C5 J6 D7 F8 Lx P\r\n', b'VA 1\r\nx\r\n'),
            (b'md a v s f t c h l u N1 R1 F1\r\n', b'HD\r\n'))

    def refusalOfDelete(self, refusal):
        return refusal if self.release['md names its mistake'] else BAD_FLAG

    def test_a_flag_that_is_no_letter(self):
        refusal = self.release['a flag of no letter']
        vague = refusal if refusal == BAD_FORMAT else BAD_FLAG
        # Some releases refuse it before they know that a value follows.
        rest = b'ERROR\r\n' if refusal == BAD_FORMAT else b''
        self.check((b'mg a \xff\r\n', refusal),
                   (b'mg a q \xff\r\n', refusal),
                   (b'ms a 2 \xff\r\nxx\r\n', refusal + rest),
                   (b'ms a 2 q \xff\r\nxx\r\n', refusal + rest),
                   (b'md a \xff\r\n', vague),
                   (b'ma a q \xff\r\n', vague))

    def test_meta_modes(self):
        of_ms = b'CLIENT_ERROR invalid mode for ms M token\r\n'
        of_ma = b'CLIENT_ERROR invalid mode for ma M token\r\n'
        self.check((b'ms a 1 MX q\r\ny\r\n', of_ms),
                   (b'ma a Mi\r\n', of_ma))
        one = self.release['one letter behind M']
        for flag in b'M', b'Mxx':
            self.check(
                (b'mg a %b\r\n' % flag, BAD_MODE if one else b'EN\r\n'),
                (b'mg a q %b\r\n' % flag, BAD_MODE if one else b''),
                (b'md a %b\r\n' % flag, BAD_FLAG if one else b'NF\r\n'),
                (b'ma a q %b\r\n' % flag, BAD_FLAG if one else of_ma),
                (b'ms a 1 %b\r\nx\r\n' % flag, BAD_MODE if one else of_ms),
                (b'ms a 1 q %b\r\nx\r\n' % flag,
                 BAD_MODE if one else of_ms))
        self.check((b'ms a 1 MSet\r\nx\r\n',
                    BAD_MODE if one else b'HD\r\n'))

    def test_binary_keys(self):
        self.check(
            (b'mg YWI= b k v\r\n', b'EN kYWI= b\r\n'),
            (metaSet(b'YWI=', b'x', b'k b O1'), b'HD kYWI= b O1\r\n'),
            (b'mg YWI= k b v\r\n', b'VA 1 kYWI= b\r\nx\r\n'),
            # The item remembers it.
            (b'mg ab k v\r\n', b'VA 1 kYWI= b\r\nx\r\n'),
            (b'get ab\r\n', valueReply(b'ab', b'x') + b'END\r\n'),
            (metaSet(b'YWI=', b'y', b'k b MA'), b'HD kYWI= b\r\n'),
            (b'mg YWI= k b v\r\n', b'VA 2 kab\r\nxy\r\n'),
            (b'md YWI= b k I\r\n', b'HD kYWI= b\r\n'),
            (b'md ab\r\n', b'HD\r\n'),
            (b'mg YWI= b k N30\r\n', b'HD kab W\r\n'),
            (b'ma //8= b N0 k v\r\n', b'VA 1 k//8= b\r\n0\r\n'),
            (b'mg //8= b k\r\n', b'HD k\xff\xff\r\n'),
            (metaSet(b'AA0KIA==', b'x', b'b'), b'HD\r\n'),
            (b'mg AA0KIA== b v k\r\n', b'VA 1 kAA0KIA== b\r\nx\r\n'))
        for key in b'YWI', b'YW', b'====', b'Y===', b'-_-_', b'!!!!':
            self.check((b'mg %b b k\r\n' % key, BAD_KEY),
                       (metaSet(key, b'x', b'b'), BAD_KEY),
                       (b'md %b b\r\n' % key,
                        self.refusalOfDelete(BAD_KEY)))


class EmbeddedMetaFlags(MetaFlags, OnEmbedded):
    pass


class MemcachedMetaFlags(MetaFlags, OnMemcached):
    pass
