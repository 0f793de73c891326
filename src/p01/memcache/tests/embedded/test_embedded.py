# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One scenario, spoken in raw bytes to the embedded and to a real server.

The real one is the judge: what is written here is what it answered, and in
`releases` what another release of it answers.
"""

import contextlib
import os
import re
import resource
import socket
import threading
import time
import unittest
from unittest import mock

from p01.memcache import embedded
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.tests.support import releases
from p01.memcache.tests.support.releases import Release
from p01.memcache.tests.support.releases import UniqueNumbers


TIMEOUT = 5

K250 = b'k' * 250
K251 = b'k' * 251

BAD_FORMAT = b'CLIENT_ERROR bad command line format\r\n'
BAD_EXPTIME = b'CLIENT_ERROR invalid exptime argument\r\n'
BAD_DELTA = b'CLIENT_ERROR invalid numeric delta argument\r\n'
BAD_NUMBER = (b'CLIENT_ERROR cannot increment or decrement '
              b'non-numeric value\r\n')
TOO_LARGE = b'SERVER_ERROR object too large for cache\r\n'
BAD_CHUNK = b'CLIENT_ERROR bad data chunk\r\n'
BAD_TOKEN = b'CLIENT_ERROR bad token in command line format\r\n'
BAD_FLAG = b'CLIENT_ERROR invalid or duplicate flag\r\n'
BAD_MODE = b'CLIENT_ERROR incorrect length for M token\r\n'
BAD_KEY = b'CLIENT_ERROR error decoding key\r\n'
INVALID_FLAG = b'CLIENT_ERROR invalid flag\r\n'
DUPLICATE_FLAG = b'CLIENT_ERROR duplicate flag\r\n'
LONG_OPAQUE = b'CLIENT_ERROR opaque token too long\r\n'


def setCommand(key, value, flags=0, exptime=0, command=b'set', more=b''):
    return b'%b %b %d %d %d%b\r\n%b\r\n' % (
        command, key, flags, exptime, len(value), more, value)


def metaSet(key, value, flags=b''):
    return b'ms %b %d %b\r\n%b\r\n' % (key, len(value), flags, value)


def valueReply(key, value, flags=0):
    return b'VALUE %b %d %d\r\n%b\r\n' % (key, flags, len(value), value)


class Client:
    """A socket, and what came out of it."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size):
        """That many bytes, or those which came before the time-out."""
        data = bytearray()
        try:
            while len(data) < size:
                piece = self.socket.recv(size - len(data))
                if not piece:
                    break
                data += piece
        except TimeoutError:
            pass
        return bytes(data)

    def readTo(self, end):
        data = bytearray()
        while not data.endswith(end):
            piece = self.socket.recv(65536)
            if not piece:
                break
            data += piece
        return bytes(data)

    def ask(self, request, end=b'END\r\n'):
        self.send(request)
        return self.readTo(end)

    def statistics(self):
        reply = self.ask(b'stats\r\n').decode()
        return dict(re.findall('STAT (.+?) (.+?)\r\n', reply))

    def isClosed(self):
        """Whether the server hangs up, with nothing more to say."""
        try:
            return self.socket.recv(1) == b''
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


class ServerCase:
    """A server, and a client that speaks its language."""

    def startServer(self):
        """The port of a server of the test's own."""
        raise NotImplementedError

    def setUp(self):
        self.port = self.startServer()
        self.client = self.connect()
        version = self.client.ask(b'version\r\n', b'\r\n').decode()
        self.release = Release(version)
        self.numbers = UniqueNumbers(self.release)

    def connect(self):
        client = Client(self.port)
        self.addCleanup(client.close)
        return client

    def check(self, *exchanges, client=None):
        """Each request must be answered so, and with not a byte more."""
        client = client or self.client
        version = b'VERSION '
        for request, reply in exchanges:
            with self.subTest(request=request[:100]):
                client.send(request + b'version\r\n')
                answer = client.read(len(reply + version))
                rest = client.readTo(b'\r\n')
                self.assertEqual(answer, reply + version, rest)
                self.assertRegex(rest, rb'\A\d+\.\d+\.\d+\S*\r\n\Z')

    def cas(self, key):
        reply = self.client.ask(b'gets %b\r\n' % key)
        return int(re.match(rb'VALUE \S+ \d+ \d+ (\d+)\r\n', reply)[1])

    def waitFor(self, request, reply):
        """Ask until the answer is the expected one."""
        end = time.monotonic() + TIMEOUT
        while (answer := self.client.ask(request)) != reply:
            self.assertLess(time.monotonic(), end, answer)
            time.sleep(0.02)


class Scenario(ServerCase):
    """What every memcached answers."""

    # lines

    def test_lines(self):
        short = self.release['less than four bytes']
        self.check(
            (b'\r\n', short),
            (b'\n', short),
            (b'  \r\n', b'ERROR\r\n'),
            (b'\0\r\n', short),
            (b'\0\0\r\n', b'ERROR\r\n'),
            (b'x\r\n', short),
            (b'xx\r\n', b'ERROR\r\n'),
            (b'bogus\r\n', b'ERROR\r\n'),
            (b'bogus noreply\r\n', self.release['unknown, with noreply']),
            (b'\xff\xfe\r\n', b'ERROR\r\n'),
            (b'GET a\r\n', b'ERROR\r\n'),
            (b'getx a\r\n', b'ERROR\r\n'),
            (b'get\ta\r\n', b'ERROR\r\n'),
            (b' get  a   b \r\n', self.release['a space before get']),
            (b' flush_all  0 \r\n', b'OK\r\n'),
            (b' verbosity 0\r\n', b'OK\r\n'),
            (b'get  a   b \r\n', b'END\r\n'),
            (b'get a\n', b'END\r\n'),
            (b'get a\r\r\n', b'END\r\n'),
            (b'get a\0b\r\n', b'END\r\n'),
            (b'set a 0 0 1\nx\r\n', b'STORED\r\n'),
            (b'get a\0b\r\n',
             valueReply(b'a', b'x') + b'END\r\n'
             if self.release['a NUL ends a line'] else b'END\r\n'),
            (b'get a\r\r\n', b'END\r\n'),
        )

    def test_a_browser_is_sent_away(self):
        self.client.send(b'GET / HTTP/1.1\r\nHost: localhost\r\n')
        self.assertTrue(self.client.isClosed())

    def test_words(self):
        # How few and how many words a command takes.
        few_of_cas = self.release['words of cas']
        few_of_gat = self.release['words of gat']
        for command, few, many in (
                (b'get', 1, 40), (b'gets', 1, 40), (b'set', 4, 5),
                (b'add', 4, 5), (b'replace', 4, 5), (b'append', 4, 5),
                (b'prepend', 4, 5), (b'cas', few_of_cas, 6), (b'delete', 1, 3),
                (b'touch', 2, 3), (b'incr', 2, 3), (b'decr', 2, 3),
                (b'gat', few_of_gat, 40), (b'gats', few_of_gat, 40),
                (b'verbosity', 1, 2), (b'flush_all', 0, 2),
                (b'version', 0, 40)):
            if few > 0:
                self.check((command + b' 0' * (few - 1) + b'\r\n',
                            self.release['too few words']))
            taken = [few, min(many, 30)]
            if many < 40:
                refusal = self.release['too many words']
                if refusal is None:
                    taken.append(many + 1)
                else:
                    self.check((command + b' 0' * (many + 1) + b'\r\n',
                                refusal))
            for count in taken:
                client = self.connect()
                # The empty line is the value for those which store one.
                client.send(command + b' 0' * count + b'\r\n\r\n')
                self.assertNotEqual(client.read(7), b'ERROR\r\n')

    def test_too_long_lines(self):
        for line in (b'delete ' + b'a' * 2042, b'x' * 2049,
                     b'gat ' + b'a' * 2045, b' ' * 101 + b'get ' + b'a' * 2000,
                     b'x' * 20000 + b'\r\n'):
            with self.subTest(line=line[:10], length=len(line)):
                client = self.connect()
                client.send(line)
                self.assertTrue(client.isClosed())
        # What fits into one read buffer is a line like others.
        self.check((b'delete ' + b'a' * 3000 + b'\r\n', BAD_FORMAT),
                   (b'bogus ' + b'a' * 3000 + b'\r\n', b'ERROR\r\n'))

    def test_a_line_of_2048_bytes_may_go_on(self):
        self.client.send(b'delete ' + b'a' * 2041)
        # Another client's round trip: the server has seen the first part.
        self.check((b'get a\r\n', b'END\r\n'), client=self.connect())
        self.check((b'\r\n', BAD_FORMAT))

    def test_a_get_of_many_keys(self):
        keys = [b'key:%d' % i for i in range(5000)]
        for key in keys:
            self.client.send(setCommand(key, key, more=b' noreply'))
        expected = b''.join(valueReply(key, key) for key in keys) + b'END\r\n'
        self.check((b'get ' + b' '.join(keys) + b'\r\n', expected))
        # A space before it is no reason to read less of it.
        spaced = self.release['a space before get']
        self.check((b' ' * 100 + b'get ' + b' '.join(keys) + b'\r\n',
                    spaced if spaced == b'ERROR\r\n' else expected))
        self.check((b'gets ' + b'x ' * 20000 + b'\r\n', b'END\r\n'),
                   (b'get ' + b'x ' * 524000 + b'\r\n', b'END\r\n'))

    # storing

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
        # The value of a refused set may be taken for a command.
        value = self.release['a refused value']
        of_get = self.release['a long key of get']
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
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'get a %b\r\n' % K251, of_get),
            (b'get %b%b\r\n' % (b'a ' * 40, K251), of_get),
            (b'gat 0 a %b\r\n' % K251, of_get),
            (b'get a\r\n', valueReply(b'a', b'x') + b'END\r\n'),
            # What comes before it is touched nevertheless.
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
                # What was not stored has no number.
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
        # Nobody knows where a value without a length ends.
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
        # The limit counts what memcached's own bookkeeping adds.
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
            # Nothing but its length tells where it ends.
            (b'set a 0 0 1048600\r\n%b' % (b'\r\n' * 524301), TOO_LARGE),
        )

    # changing

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
        # It is padded, since its place does not shrink. (The real one gives
        # it a new place if it is busy with an earlier get: none here.)
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

    # the meta commands

    def test_meta_noop(self):
        self.check((b'mn\r\n', b'MN\r\n'),
                   (b'mn x y\r\n', b'MN\r\n'),
                   (b'mg a q\r\nmg b v q\r\nmn\r\n', b'MN\r\n'))

    def test_meta_lines(self):
        for command, refusal in (
                (b'mg', BAD_FORMAT), (b'md', BAD_FORMAT), (b'ms', BAD_FORMAT),
                (b'ma', self.release['a long key of ma'])):
            # One that stores has a value, which is a command to some.
            length, value, rest = (
                (b' 2', b'xx\r\n', self.release['a refused value'])
                if command == b'ms' else (b'', b'', b''))
            self.check((command + b'\r\n', self.release['too few words']))
            for flag in b'k', b'q':
                self.check((b'%b %b%b %b\r\n%b' % (
                    command, K251, length, flag, value), refusal + rest))
        # After these the value is taken for a command, after others not.
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
        for command, reply in (
                (b'mg', b''), (b'md', b'NF kYQ== b O3\r\n'),
                (b'ma', b'NF kYQ== b O3\r\n')):
            request = command + b' YQ== '
            self.check(
                (request + b' '.join(flags[:most]) + b'\r\n', reply),
                (request + b' '.join(flags[:most + 1]) + b'\r\n',
                 self.release[f'too many flags of {command.decode()}']))
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
            # A command overlooks the flags of others.
            (b'mg a v MX I C5 J6 D7 F8 Lx P\r\n', b'VA 1\r\nx\r\n'),
            (b'md a v s f t c h l u N1 R1 F1\r\n', b'HD\r\n'))

    def refusalOfDelete(self, refusal):
        return refusal if self.release['md names its mistake'] else BAD_FLAG

    def test_a_flag_of_no_letter(self):
        refusal = self.release['a flag of no letter']
        vague = refusal if refusal == BAD_FORMAT else BAD_FLAG
        # Some find it before they know that there will be a value.
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
            # Who names its number has the value already.
            (b'mg a v C%d\r\n' % unique,
             b'HD\r\n' if self.release['mg compares with C']
             else b'VA 3\r\nabc\r\n'),
            # Each sees what those before it did.
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
            # Whoever has won comes and stores.
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
            # The next one who asks wins again.
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
                # A number that fits into its place does not renew the item.
                (b'incr a 1\r\n', b'6\r\n', b'VA 1 X W\r\n6\r\n'),
                (b'incr a 10\r\n', b'15\r\n', b'VA 2\r\n15\r\n'),
                (b'ma a\r\n', b'HD\r\n', b'VA 1 X W\r\n6\r\n'),
                (b'ma a D10\r\n', b'HD\r\n', b'VA 2\r\n15\r\n')):
            self.check((a, b'STORED\r\n'),
                       (b'md a I\r\n', b'HD\r\n'),
                       (request, reply),
                       (b'mg a v\r\n', after))

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
        # The number that it had is the next one's.
        self.check((b'ms a 1\r\nxyz\r\n',
                    BAD_CHUNK + self.release['less than four bytes']),
                   (setCommand(b'a', b'x'), b'STORED\r\n'))
        self.assertEqual(self.cas(b'a'), self.numbers.store())

    def test_meta_set_tells_the_size(self):
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
        # A longer number does not keep it.
        self.check((b'ma a E10 c\r\n', b'HD c10\r\n'))
        self.assertNotEqual(self.cas(b'a'), 10)

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

    def test_meta_set_that_comes_late(self):
        # With I an older C stores what nobody else takes for fresh.
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
            # The lifetime is the one that it had.
            (metaSet(b'a', b'2', old + b' I T50 F6 c') + b'mg a t\r\n',
             b'HD c%d\r\nHD t100 X W\r\n' % third),
            (metaSet(b'a', b'3', old + b' I MR'), b'HD\r\n'),
            (b'mg a v f c\r\n', b'VA 1 f0 c%d Z X\r\n3\r\n' % fourth),
            (metaSet(b'a', b'4', b'C%d I' % fourth), b'HD\r\n'),
            (b'mg a v\r\n', b'VA 1\r\n4\r\n'),
            (metaSet(b'b', b'2', old + b' I'), b'NF\r\n'),
        )

    def test_meta_set_of_too_much(self):
        large = b'v' * 1048516
        for mode in b'SERAP':
            self.check(
                (metaSet(b'a', b'old'), b'HD\r\n'),
                (metaSet(b'a', large + b'v', b'q M%c' % mode), TOO_LARGE),
                # In every mode, other than with the older commands.
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
            # Some are quiet only if they find a number.
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

    def test_binary_keys(self):
        self.check(
            (b'mg YWI= b k v\r\n', b'EN kYWI= b\r\n'),
            (metaSet(b'YWI=', b'x', b'k b O1'), b'HD kYWI= b O1\r\n'),
            (b'mg YWI= k b v\r\n', b'VA 1 kYWI= b\r\nx\r\n'),
            # It is the item that remembers.
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

    # time

    def test_times(self):
        # More than 30 days are a moment in unix time, here one of 1970.
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
        # What has expired is not there for any command.
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
            # Before it, since the real one takes 1 for the whole second.
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
            # A flush to come is replaced by another one.
            (b'flush_all 100\r\n', b'OK\r\n'),
            (b'get a\r\n', there),
            (b'flush_all\r\n', b'OK\r\n'),
            (b'get a\r\n', b'END\r\n'),
            (a, b'STORED\r\n'),
            (b'get a\r\n', there),
        )

    # the server

    def test_statistics(self):
        version = self.client.ask(b'version\r\n', b'\r\n')
        before = self.client.statistics()
        for name in ('pid', 'uptime', 'time', 'pointer_size',
                     'curr_connections', 'total_connections', 'curr_items',
                     'total_items', 'bytes', 'limit_maxbytes', 'threads',
                     'evictions', 'bytes_read', 'bytes_written'):
            self.assertRegex(before[name], r'\A\d+\Z', name)
        self.assertRegex(before['version'], r'\A\d+\.\d+\.\d+')
        self.check((setCommand(b'u', b'x'), b'STORED\r\n'))
        unique = self.cas(b'u')
        for request, changes in (
                (setCommand(b'a', b'x'), 'cmd_set total_items'),
                (setCommand(b'a', b'x', command=b'add'), 'cmd_set'),
                (setCommand(b'b', b'x', command=b'append'), 'cmd_set'),
                (setCommand(b'a', b'x', command=b'append'),
                 'cmd_set total_items'),
                (b'set a 0 0 1\r\nxyz\r\n', 'cmd_set'),
                (b'set a x 0 1\r\nxyz\r\n', ''),
                (b'get a b c\r\n',
                 'cmd_get cmd_get cmd_get get_hits get_misses get_misses'),
                (b'gets a\r\n', 'cmd_get get_hits'),
                (b'gat 0 a b\r\n',
                 'cmd_touch cmd_touch touch_hits touch_misses'),
                (b'touch a 0\r\n', 'cmd_touch touch_hits'),
                (b'touch b 0\r\n', 'cmd_touch touch_misses'),
                (b'incr a 1\r\n', ''),
                (b'delete a\r\n', 'delete_hits'),
                (b'delete a\r\n', 'delete_misses'),
                (b'get %b\r\n' % K251, ''),
                (setCommand(b'n', b'9'), 'cmd_set total_items'),
                (b'incr n 1\r\n', 'incr_hits total_items'),
                (b'decr n 1\r\n', 'decr_hits'),
                (b'incr b 1\r\n', 'incr_misses'),
                (b'decr b 1\r\n', 'decr_misses'),
                (setCommand(b'n', b'x', 0, 0, b'cas', b' 0'),
                 'cmd_set cas_badval'),
                (setCommand(b'b', b'x', 0, 0, b'cas', b' 0'),
                 'cmd_set cas_misses'),
                (setCommand(b'u', b'x', 0, 0, b'cas', b' %d' % unique),
                 'cmd_set cas_hits total_items'),
                (setCommand(b'a', b'v' * 1048576), 'store_too_large'),
                (b'mg m v\r\n', 'cmd_get get_misses'),
                (b'mg m T5\r\n', 'cmd_get get_misses'),
                (b'mg m N5\r\n', 'cmd_get get_hits total_items'),
                (b'mg m\r\n', 'cmd_get get_hits'),
                (b'mg m T5 N5\r\n', 'cmd_touch touch_hits'),
                (b'mg m Z\r\n', ''),
                (metaSet(b'm', b'5'), 'cmd_set total_items'),
                (metaSet(b'm', b'5', b'C0'), 'cmd_set cas_badval'),
                (metaSet(b'm', b'5', b'C1 I'),
                 'cmd_set cas_hits total_items'),
                (metaSet(b'm', b'5', b'Z'), ''),
                (b'ma m\r\n', 'incr_hits'),
                (b'ma m MD\r\n', 'decr_hits'),
                (b'ma m C1\r\n', ''),
                (b'md m I\r\n', ''),
                (b'md m C0\r\n', 'delete_misses'),
                (b'md m\r\n', 'delete_hits'),
                (b'md m I\r\n', 'delete_misses'),
                (b'ma m MD\r\n', 'decr_misses'),
                (b'ma m N5\r\n', 'total_items'),
                (b'mn\r\n', ''),
                (b'flush_all 0\r\n', 'cmd_flush'),
                (b'flush_all x\r\n', 'cmd_flush'),
                (b'bogus\r\n', ''),
                (b'version\r\n', '')):
            with self.subTest(request=request[:50]):
                before = self.client.statistics()
                self.client.ask(request + b'version\r\n', version)
                after = self.client.statistics()
                counters = {
                    name: int(after[name]) - int(value)
                    for name, value in before.items()
                    if name in after and re.match(
                        'cmd_|total_items|store_|.*_(hits|misses|badval)$',
                        name)}
                expected = dict.fromkeys(counters, 0)
                for name in changes.split():
                    expected[name] += 1
                self.assertEqual(counters, expected)

    def test_stats_reset(self):
        self.check((b'get a\r\n', b'END\r\n'),
                   (setCommand(b'a', b'x'), b'STORED\r\n'),
                   (b'stats reset\r\n', b'RESET\r\n'))
        statistics = self.client.statistics()
        for name in 'cmd_get', 'get_misses', 'cmd_set', 'total_items':
            self.assertEqual(statistics[name], '0', name)
        self.assertNotEqual(statistics['curr_items'], '0')

    def test_other_stats(self):
        for topic in b'settings', b'items', b'slabs', b'sizes', b'conns':
            reply = self.client.ask(b'stats %b\r\n' % topic)
            self.assertRegex(reply, rb'\A(STAT \S+ .*\r\n)*END\r\n\Z')
        settings = self.client.ask(b'stats settings\r\n')
        self.assertIn(b'STAT item_size_max 1048576\r\n', settings)
        self.check((b'stats bogus\r\n', b'ERROR\r\n'),
                   (b'stats sizes\r\n',
                    b'STAT sizes_status disabled\r\nEND\r\n'))

    def test_verbosity(self):
        self.check((b'verbosity 0\r\n', b'OK\r\n'),
                   (b'verbosity 0 bogus\r\n', b'OK\r\n'),
                   (b'verbosity 0 noreply\r\n', b''),
                   (b'verbosity x\r\n', BAD_FORMAT),
                   (b'verbosity x noreply\r\n', b''),
                   (b'verbosity noreply\r\n', b''))

    def test_quit(self):
        for request in b'quit\r\n', b'quit now\r\n', b'quit\r\nget a\r\n':
            client = self.connect()
            client.send(request)
            self.assertTrue(client.isClosed(), request)
        self.client.send(setCommand(b'a', b'x') + b'quit\r\n')
        self.assertEqual(self.client.read(8), b'STORED\r\n')
        self.assertTrue(self.client.isClosed())

    def test_a_client_that_hangs_up(self):
        # In the middle of a line, of a value and of one that is too large.
        self.check((setCommand(b'a', b'old'), b'STORED\r\n'))
        for request in (b'get', b'set a 0 0 10\r\nabc',
                        b'add a 0 0 9999999\r\nabc'):
            client = self.connect()
            client.send(request)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.isClosed(), request)
        self.check((b'get a\r\n', valueReply(b'a', b'old') + b'END\r\n'))

    # segments, order and crowds

    CONVERSATION = (
        (setCommand(b'a', b'one\r\n', 1), b'STORED\r\n'),
        (b'get a b\r\n', valueReply(b'a', b'one\r\n', 1) + b'END\r\n'),
        (b'bogus\r\n', b'ERROR\r\n'),
        (b'set a 0 0 1\r\nxy\nbogus\r\n', BAD_CHUNK + b'ERROR\r\n'),
        (setCommand(b'a', b'2', more=b' noreply'), b''),
        (b'incr a 40\r\n', b'42\r\n'),
        (b'get a\r\n', valueReply(b'a', b'42') + b'END\r\n'),
        (b'delete a\r\n', b'DELETED\r\n'),
        (b'get a\n', b'END\r\n'),
    )

    def test_segments_of_one_byte(self):
        for request, reply in self.CONVERSATION:
            for byte in request:
                self.client.send(bytes([byte]))
            self.assertEqual(self.client.read(len(reply)), reply)
        self.check((b'get a\r\n', b'END\r\n'))

    def test_segments_of_meta_commands(self):
        for request, reply in (
                (metaSet(b'a', b'\r\n', b'c'),
                 b'HD c%d\r\n' % self.numbers.store()),
                (metaSet(b'a', b'mn\r\n', b'Z'), INVALID_FLAG),
                (b'mg a v k q\r\n', b'VA 2 ka\r\n\r\n\r\n'),
                (b'md a q\r\nmn\r\n', b'MN\r\n')):
            for byte in request:
                self.client.send(bytes([byte]))
            self.assertEqual(self.client.read(len(reply)), reply)

    def test_segments_of_every_size(self):
        requests = b''.join(request for request, _ in self.CONVERSATION)
        replies = b''.join(reply for _, reply in self.CONVERSATION)
        for size in range(2, len(requests)):
            for start in range(0, len(requests), size):
                self.client.send(requests[start:start + size])
            self.assertEqual(self.client.read(len(replies)), replies, size)

    def test_pipelining(self):
        requests = b''.join(request for request, _ in self.CONVERSATION)
        replies = b''.join(reply for _, reply in self.CONVERSATION)
        count = 500
        sender = threading.Thread(target=self.client.send,
                                  args=(requests * count,))
        sender.start()
        self.addCleanup(sender.join)
        self.assertEqual(self.client.read(len(replies) * count),
                         replies * count)

    def test_many_connections(self):
        clients = [self.connect() for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(b'set key:%d 0 0 3\r\n' % number)
        for client in clients:
            client.send(b'abc\r\n')
        for number, client in reversed(list(enumerate(clients))):
            client.send(b'get key:%d\r\n' % number)
            expected = (b'STORED\r\n'
                        + valueReply(b'key:%d' % number, b'abc') + b'END\r\n')
            self.assertEqual(client.read(len(expected)), expected)

    def test_parallel_connections(self):
        failures = []

        def work(number):
            client = Client(self.port)
            try:
                for turn in range(20):
                    value = b'%d:%d' % (number, turn)
                    client.send(setCommand(b'key:%d' % number, value)
                                + b'get key:%d\r\n' % number)
                    expected = (
                        b'STORED\r\n'
                        + valueReply(b'key:%d' % number, value) + b'END\r\n')
                    if client.read(len(expected)) != expected:
                        failures.append((number, turn))
            finally:
                client.close()

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class LifetimeScenario(ServerCase):
    """What takes a second or two, which memcached's clock counts."""

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
        # Once only.
        self.waitFor(setCommand(b'a', b'x', more=b' noreply') + b'get a\r\n',
                     valueReply(b'a', b'x') + b'END\r\n')


class Embedded(unittest.TestCase):

    def start(self, **options):
        """A server that is stopped, and did not stumble, at the end."""
        self.enterContext(self.assertNoLogs('asyncio', 'ERROR'))
        server = EmbeddedServer(**options)
        server.start()
        self.addCleanup(server.stop)
        return server


class TestEmbedded(Scenario, Embedded):

    def startServer(self):
        return self.start().port

    def test_a_get_without_an_end(self):
        # memcached keeps it, whatever comes.
        for start in b'get ', b'gets ', b' ' * 100 + b'get ':
            for end in b'', b'\r\n':
                client = self.connect()
                with contextlib.suppress(ConnectionError):
                    client.send(start + b'x' * (1 << 22) + end)
                self.assertTrue(client.isClosed())


class TestReleases(unittest.TestCase):

    def test_every_line_has_all_columns(self):
        for difference, columns in releases.DIFFERENCES.items():
            self.assertEqual(len(columns), len(releases.RELEASES), difference)

    def test_the_column_of_a_release(self):
        for version, name in (
                ('1.4.0', '1.6.18'), ('1.6.18', '1.6.18'),
                ('1.6.19', '1.6.18'), ('1.6.9', '1.6.18'),
                ('1.6.38', '1.6.38'), ('1.6.44', '1.6.38'),
                ('1.6.45-beta', '1.6.45'), ('1.6.100', '1.6.45'),
                ('VERSION 1.10.0\r\n', '1.6.45')):
            self.assertEqual(Release(version).name, name, version)
        self.assertEqual(Release('1.6.38')['first number'], 2)

    def test_the_embedded_server_is_the_newest(self):
        self.assertEqual(embedded.VERSION, releases.RELEASES[-1])


class TestEmbeddedLifetimes(LifetimeScenario, Embedded):

    level = 2  # it takes its time

    startServer = TestEmbedded.startServer


class TestRealMemcached(Scenario, unittest.TestCase):

    level = 2

    def startServer(self):
        return self.enterContext(Memcached()).port


class TestRealLifetimes(LifetimeScenario, unittest.TestCase):

    level = 2

    startServer = TestRealMemcached.startServer


class TestEmbeddedServer(Embedded):
    """What only the embedded server has."""

    def connect(self, server):
        client = Client(server.port)
        self.addCleanup(client.close)
        return client

    def test_attributes(self):
        server = EmbeddedServer()
        self.assertEqual((server.host, server.port), ('127.0.0.1', 0))
        with server as entered:
            self.assertIs(entered, server)
            self.assertGreater(server.port, 0)
            self.assertEqual(server.address, f'127.0.0.1:{server.port}')

    def test_stop_closes_everything(self):
        threads = threading.enumerate()
        server = self.start()
        started, = set(threading.enumerate()) - set(threads)
        self.assertTrue(started.daemon)
        self.assertIn(server.address, started.name)
        clients = [self.connect(server) for _ in range(5)]
        clients[0].ask(b'get a\r\n')
        clients[1].send(b'set a 0 0 100\r\nabc')
        server.stop()
        self.assertEqual(threading.enumerate(), threads)
        for client in clients:
            self.assertTrue(client.isClosed())
        with self.assertRaises(ConnectionRefusedError):
            Client(server.port)
        server.stop()

    def test_stop_without_start(self):
        EmbeddedServer().stop()

    def test_stop_at_once(self):
        # The thread may not even have begun to serve, or just be accepting.
        for count in list(range(4)) * 60:
            with EmbeddedServer() as server:
                clients = [self.connect(server) for _ in range(count)]
            for client in clients:
                self.assertTrue(client.isClosed())

    @unittest.skipUnless(os.path.isdir('/proc/self/fd'), 'needs Linux')
    def test_sockets_are_closed(self):
        files = len(os.listdir('/proc/self/fd'))
        for _ in range(3):
            with EmbeddedServer() as server:
                for _ in range(3):
                    Client(server.port).close()
        self.assertEqual(len(os.listdir('/proc/self/fd')), files)

    def test_restart(self):
        server = self.start()
        address = server.address
        client = self.connect(server)
        client.ask(setCommand(b'a', b'x'), b'STORED\r\n')
        for _ in range(3):
            server.stop()
            server.start()
            self.assertEqual(server.address, address)
            client = self.connect(server)
            self.assertEqual(client.ask(b'get a\r\n'), b'END\r\n')
            client.ask(setCommand(b'a', b'x'), b'STORED\r\n')

    def test_port_in_use(self):
        server = self.start()
        threads = threading.enumerate()
        other = EmbeddedServer(port=server.port)
        for second in other, server:
            with self.assertRaises(OSError):
                second.start()
        self.assertEqual(threading.enumerate(), threads)
        # The first one is not impressed.
        client = self.connect(server)
        self.assertEqual(client.ask(b'get a\r\n'), b'END\r\n')
        server.stop()
        with other:
            client = self.connect(other)
            self.assertEqual(client.ask(b'get a\r\n'), b'END\r\n')

    def test_servers_share_nothing(self):
        one, two = self.connect(self.start()), self.connect(self.start())
        one.ask(setCommand(b'a', b'x'), b'STORED\r\n')
        self.assertEqual(two.ask(b'get a\r\n'), b'END\r\n')
        self.assertEqual(two.statistics()['cmd_set'], '0')

    def test_max_item_size(self):
        client = self.connect(self.start(maxItemSize=1024))
        most = 1024 - 60
        self.assertEqual(
            client.ask(setCommand(b'a', b'v' * most), b'\r\n'),
            b'STORED\r\n')
        self.assertEqual(
            client.ask(setCommand(b'a', b'v' * (most + 1)), b'\r\n'),
            TOO_LARGE)
        self.assertIn(b'STAT item_size_max 1024\r\n',
                      client.ask(b'stats settings\r\n'))

    def test_items_are_counted(self):
        # The real server counts so too, but also what has expired.
        client = self.connect(self.start())
        client.ask(setCommand(b'a', b'x')
                   + setCommand(b'b', b'xyz', 5)
                   + setCommand(b'c', b'x', 0, -1), b'STORED\r\n' * 3)
        statistics = client.statistics()
        self.assertEqual(statistics['curr_items'], '2')
        self.assertEqual(statistics['total_items'], '3')
        self.assertEqual(statistics['bytes'], str(61 + 67))
        self.assertEqual(statistics['curr_connections'], '1')
        self.assertEqual(statistics['total_connections'], '1')
        self.assertEqual(statistics['pid'], str(os.getpid()))

    def test_bytes_are_counted(self):
        client = self.connect(self.start())
        client.ask(b'get a\r\n')
        statistics = client.statistics()
        self.assertEqual(statistics['bytes_read'], '14')
        self.assertEqual(statistics['bytes_written'], '5')

    def test_lifetimes_follow_the_monotonic_clock(self):
        client = self.connect(self.start())
        there = valueReply(b'a', b'x') + b'END\r\n'
        now = time.monotonic()
        client.ask(setCommand(b'a', b'x', 0, 100)
                   + setCommand(b'b', b'x', 0, int(time.time()) + 100),
                   b'STORED\r\n' * 2)
        with mock.patch.object(embedded.clock.time, 'time', lambda: 2 ** 31):
            self.assertEqual(client.ask(b'get a\r\n'), there)
            self.assertNotEqual(client.ask(b'get b\r\n'), b'END\r\n')
        with mock.patch.object(embedded.clock, 'now', lambda: now + 98):
            self.assertEqual(client.ask(b'get a\r\n'), there)
            self.assertNotEqual(client.ask(b'get b\r\n'), b'END\r\n')
            self.assertEqual(client.statistics()['curr_items'], '2')
        with mock.patch.object(embedded.clock, 'now', lambda: now + 102):
            self.assertEqual(client.statistics()['curr_items'], '0')
            self.assertEqual(client.ask(b'get a b\r\n'), b'END\r\n')

    def test_meta_times_follow_the_monotonic_clock(self):
        client = self.connect(self.start())
        now = time.monotonic()
        client.ask(metaSet(b'a', b'x', b'T100') + metaSet(b'b', b'x'),
                   b'HD\r\n' * 2)
        for later, request, reply in (
                (68.5, b'mg a t l u R30\r\n', b'HD t32 l68\r\n'),
                (69.5, b'mg a t R30\r\n', b'HD t31\r\n'),
                (75.6, b'mg a l t R30\r\n', b'HD l6 t25 W\r\n'),
                (76.8, b'mg a l t R30\r\n', b'HD l1 t24 Z\r\n'),
                (99.5, b'mg a l t\r\n', b'HD l22 t1 Z\r\n'),
                (102, b'mg a\r\n', b'EN\r\n'),
                (102, b'mg b t\r\n', b'HD t-1\r\n')):
            with mock.patch.object(embedded.clock, 'now',
                                   lambda later=later: now + later):
                self.assertEqual(client.ask(request, b'\r\n'), reply)

    def test_delays_follow_the_monotonic_clock(self):
        client = self.connect(self.start())
        client.ask(setCommand(b'a', b'x'), b'STORED\r\n')
        client.ask(b'flush_all 100\r\n', b'OK\r\n')
        now = time.monotonic()
        with mock.patch.object(embedded.clock, 'now', lambda: now + 98):
            self.assertNotEqual(client.ask(b'get a\r\n'), b'END\r\n')
        # As with the real one: all but a second later.
        with mock.patch.object(embedded.clock, 'now', lambda: now + 99):
            self.assertEqual(client.ask(b'get a\r\n'), b'END\r\n')

    def test_expired_items_do_not_stay(self):
        storages = []
        original = embedded.Storage.sweep
        twice = threading.Event()

        def sweep(storage):
            original(storage)
            storages.append(storage)
            if not storage.items and len(storages) > 1:
                twice.set()

        with (mock.patch.object(embedded.server, 'SWEEP_INTERVAL', 0.01),
              mock.patch.object(embedded.Storage, 'sweep', sweep)):
            client = self.connect(self.start())
            client.ask(setCommand(b'a', b'x', 0, -1), b'STORED\r\n')
            storages.clear()
            self.assertTrue(twice.wait(TIMEOUT))

    def test_a_client_that_reads_late(self):
        # Each of these gets wants 200 MB.
        server = self.start()
        other = self.connect(server)
        value = b'v' * 1024 * 1000
        other.ask(setCommand(b'a', value), b'STORED\r\n')
        for request in b'get a\r\n' * 200, b'get' + b' a' * 200 + b'\r\n':
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            slow = self.connect(server)
            slow.send(request)
            for _ in range(50):
                self.assertEqual(other.ask(b'get b\r\n'), b'END\r\n')
            missing = (200 * len(valueReply(b'a', value))
                       + request.count(b'\r\n') * len(b'END\r\n'))
            while missing:
                missing -= len(slow.socket.recv(min(missing, 65536)))
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.assertLess(after - before, 50 * 1024)
            # It is heard again.
            self.assertEqual(slow.ask(b'get b\r\n'), b'END\r\n')

    def test_a_client_that_quits_and_reads(self):
        server = self.start()
        client = self.connect(server)
        value = b'v' * 1024 * 1000
        client.ask(setCommand(b'a', value), b'STORED\r\n')
        expected = (valueReply(b'a', value) + b'END\r\n') * 10
        for _ in range(10):
            client = self.connect(server)
            client.send(b'get a\r\n' * 10 + b'quit\r\nget a\r\n')
            self.assertTrue(client.read(len(expected)) == expected)
            self.assertTrue(client.isClosed())

    def test_a_client_that_leaves_without_reading(self):
        server = self.start()
        other = self.connect(server)
        other.ask(setCommand(b'a', b'v' * 1024 * 1000), b'STORED\r\n')
        client = self.connect(server)
        client.send(b'get a\r\n' * 200)
        client.socket.recv(1)
        client.close()
        while other.statistics()['curr_connections'] != '1':
            pass
        written = int(other.statistics()['bytes_written'])
        self.assertLess(written, 50 * 1024 * 1024)

    def test_a_client_that_never_reads(self):
        # The server stops to read from it, and stop() does not wait for it.
        server = self.start()
        client = self.connect(server)
        client.ask(setCommand(b'a', b'v' * 1000), b'STORED\r\n')
        client.socket.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            for _ in range(1000):
                client.send(b'get a\r\n' * 10000)
        server.stop()
        self.assertEqual(
            [thread for thread in threading.enumerate()
             if thread.name.startswith('EmbeddedServer '
                                       f'{server.address}')], [])
