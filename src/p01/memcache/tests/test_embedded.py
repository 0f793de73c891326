# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One scenario, spoken in raw bytes to the embedded and to a real server.

The real one is the judge: what is written here is what it answered.
"""

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


TIMEOUT = 5

K250 = b'k' * 250
K251 = b'k' * 251

BAD_FORMAT = b'CLIENT_ERROR bad command line format\r\n'
BAD_EXPTIME = b'CLIENT_ERROR invalid exptime argument\r\n'
BAD_DELTA = b'CLIENT_ERROR invalid numeric delta argument\r\n'
BAD_NUMBER = (b'CLIENT_ERROR cannot increment or decrement '
              b'non-numeric value\r\n')
BAD_DELETE = (b'CLIENT_ERROR bad command line format.  '
              b'Usage: delete <key> [noreply]\r\n')
TOO_LARGE = b'SERVER_ERROR object too large for cache\r\n'


def setCommand(key, value, flags=0, exptime=0, command=b'set', more=b''):
    return b'%b %b %d %d %d%b\r\n%b\r\n' % (
        command, key, flags, exptime, len(value), more, value)


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


class Scenario:
    """What every memcached answers."""

    def startServer(self):
        """The port of a server of the test's own."""
        raise NotImplementedError

    def setUp(self):
        self.port = self.startServer()
        self.client = self.connect()

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

    # lines

    def test_lines(self):
        self.check(
            (b'\r\n', b'ERROR\r\n'),
            (b'\n', b'ERROR\r\n'),
            (b'  \r\n', b'ERROR\r\n'),
            (b'\0\r\n', b'ERROR\r\n'),
            (b'x\r\n', b'ERROR\r\n'),
            (b'bogus\r\n', b'ERROR\r\n'),
            (b'bogus noreply\r\n', b'ERROR\r\n'),
            (b'\xff\xfe\r\n', b'ERROR\r\n'),
            (b'GET a\r\n', b'ERROR\r\n'),
            (b'getx a\r\n', b'ERROR\r\n'),
            (b'get\ta\r\n', b'ERROR\r\n'),
            (b' get  a   b \r\n', b'END\r\n'),
            (b'get a\n', b'END\r\n'),
            (b'get a\r\r\n', b'END\r\n'),
            (b'get a\0b\r\n', b'END\r\n'),
            (b'set a 0 0 1\nx\r\n', b'STORED\r\n'),
            (b'get a\0b\r\n', valueReply(b'a', b'x') + b'END\r\n'),
            (b'get a\r\r\n', b'END\r\n'),
        )

    def test_words(self):
        # How few and how many words a command takes.
        for command, few, many in (
                (b'get', 1, 40), (b'gets', 1, 40), (b'set', 4, 5),
                (b'add', 4, 5), (b'replace', 4, 5), (b'append', 4, 5),
                (b'prepend', 4, 5), (b'cas', 5, 6), (b'delete', 1, 3),
                (b'touch', 2, 3), (b'incr', 2, 3), (b'decr', 2, 3),
                (b'gat', 1, 40), (b'gats', 1, 40), (b'verbosity', 1, 2),
                (b'flush_all', 0, 2), (b'version', 0, 40)):
            for count in (few - 1, many + 1):
                if 0 <= count < 40:
                    self.check((command + b' 0' * count + b'\r\n',
                                b'ERROR\r\n'))
            for count in (few, min(many, 30)):
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
        for command in b'get ', b' ' * 100 + b'get ':
            self.check((command + b' '.join(keys) + b'\r\n', expected))
        self.check((b'gets ' + b'x ' * 20000 + b'\r\n', b'END\r\n'))

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
        # The value of a refused set is taken for a command.
        for command in b'set', b'add', b'replace', b'append', b'prepend':
            self.check((setCommand(K251, b'x', command=command),
                        BAD_FORMAT + b'ERROR\r\n'),
                       (setCommand(K251, b'x', 0, 0, command, b' noreply'),
                        b'ERROR\r\n'))
        self.check(
            (setCommand(K251, b'x', 0, 0, b'cas', b' 1'),
             BAD_FORMAT + b'ERROR\r\n'),
            (b'get %b\r\n' % K251, BAD_FORMAT),
            (b'gets %b\r\n' % K251, BAD_FORMAT),
            (setCommand(b'a', b'x'), b'STORED\r\n'),
            (b'get a %b\r\n' % K251, BAD_FORMAT),
            (b'get %b%b\r\n' % (b'a ' * 40, K251), BAD_FORMAT),
            (b'gat 0 a %b\r\n' % K251, BAD_FORMAT),
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

        self.check((cas(b'x', b'1'), b'NOT_FOUND\r\n'),
                   (cas(b'x', b'0 noreply'), b''),
                   (setCommand(b'a', b'one'), b'STORED\r\n'))
        unique = self.cas(b'a')
        self.assertEqual(self.cas(b'a'), unique)
        self.check(
            (b'gets a b\r\n',
             b'VALUE a 0 3 %d\r\none\r\nEND\r\n' % unique),
            (b'gats 0 a\r\n',
             b'VALUE a 0 3 %d\r\none\r\nEND\r\n' % unique),
            (b'touch a 100\r\n', b'TOUCHED\r\n'),
            (cas(b'x', b'%d' % (unique + 1)), b'EXISTS\r\n'),
            (cas(b'x', b'0'), b'EXISTS\r\n'),
            (cas(b'two', b'%d' % unique), b'STORED\r\n'),
            (cas(b'x', b'%d' % unique), b'EXISTS\r\n'),
            (b'gets a\r\n',
             b'VALUE a 3 3 %d\r\ntwo\r\nEND\r\n' % (unique + 1)),
            (cas(b'x', b'x'), BAD_FORMAT + b'ERROR\r\n'),
            (cas(b'x', b'-1'), BAD_FORMAT + b'ERROR\r\n'),
            (cas(b'x', b'18446744073709551616'), BAD_FORMAT + b'ERROR\r\n'),
            (cas(b'x', b'x noreply'), b'ERROR\r\n'),
        )

    def test_every_change_has_a_new_unique_number(self):
        self.check((setCommand(b'a', b'9'), b'STORED\r\n'))
        unique = self.cas(b'a')
        for request, reply, step in (
                (setCommand(b'a', b'9'), b'STORED\r\n', 1),
                (setCommand(b'a', b'', command=b'append'), b'STORED\r\n', 1),
                (setCommand(b'a', b'1', command=b'add'),
                 b'NOT_STORED\r\n', 0),
                (b'touch a 0\r\n', b'TOUCHED\r\n', 0),
                (b'decr a 1\r\n', b'8\r\n', 1),
                (b'incr a 2\r\n', b'10\r\n', 1),
                (b'flush_all\r\n' + setCommand(b'a', b'1'),
                 b'OK\r\nSTORED\r\n', 2)):
            self.check((request, reply))
            unique += step
            self.assertEqual(self.cas(b'a'), unique, request)

    def test_numbers_of_a_set(self):
        def line(flags=b'0', exptime=b'0', length=b'1'):
            return b'set a %b %b %b\r\nx\r\n' % (flags, exptime, length)

        for request in (
                line(b'x'), line(b'-1'), line(b'0x10'), line(b'1.5'),
                line(b'+'), line(b'18446744073709551616'),
                line(exptime=b'x'), line(exptime=b'1.5'),
                line(exptime=b'9' * 19), line(exptime=b'9' * 30),
                line(length=b'x'), line(length=b'1x'), line(length=b'-1'),
                line(length=b'-2'), line(length=b'2147483646'),
                line(length=b'2147483647'), line(length=b'9' * 30)):
            self.check((request, BAD_FORMAT + b'ERROR\r\n'),
                       (b'get a\r\n', b'END\r\n'))
        for given, flags in (
                (b'+5', 5), (b'010', 10), (b'5\tx', 5), (b'\t5', 5),
                (b'-0', 0), (b'4294967295', 2 ** 32 - 1),
                (b'4294967296', 0), (b'18446744073709551615', 2 ** 32 - 1),
                (b'000000000000000000000000000006', 6)):
            self.check((line(given), b'STORED\r\n'),
                       (b'get a\r\n', valueReply(b'a', b'x', flags)
                        + b'END\r\n'))
        self.check((line(length=b'+1'), b'STORED\r\n'),
                   (line(length=b'4294967297'), b'STORED\r\n'),
                   (b'get a\r\n', valueReply(b'a', b'x') + b'END\r\n'))

    def test_bad_data_chunk(self):
        bad = b'CLIENT_ERROR bad data chunk\r\n'
        survivor = valueReply(b'a', b'old', 1) + b'END\r\n'
        self.check(
            (setCommand(b'a', b'old', 1), b'STORED\r\n'),
            (b'set a 0 0 1\r\nxy\r\n', bad + b'ERROR\r\n'),
            (b'get a\r\n', survivor),
            (b'set a 0 0 1\r\nxyz\r\n', bad + b'ERROR\r\n'),
            (b'set a 0 0 1\r\nx\nget a\r\n', bad + b'ERROR\r\n'),
            (b'set a 0 0 1\r\nxy\n', bad),
            (b'set a 0 0 1\r\nx\r\r\n', bad + b'ERROR\r\n'),
            (b'set a 0 0 3\r\nx\r\nget a\r\n', bad + b'ERROR\r\n'),
            (b'set a 0 0 1 noreply\r\nxyz\r\n', b'ERROR\r\n'),
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
            (b'delete a 10\r\n', BAD_DELETE),
            (b'delete a x y\r\n', BAD_DELETE),
            (b'delete a noreply x\r\n', BAD_DELETE),
            (b'delete a 5 noreply\r\n', b''),
            (b'get a\r\n', valueReply(b'a', b'x') + b'END\r\n'),
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

    def test_touch_and_gat(self):
        value = valueReply(b'a', b'x', 5)
        self.check(
            (b'touch a 0\r\n', b'NOT_FOUND\r\n'),
            (b'gat 0 a\r\n', b'END\r\n'),
            (b'gat 10\r\n', b'END\r\n'),
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
                   (b'incr n +1\r\n', b'43\r\n'),
                   (b'incr n 01\r\n', b'44\r\n'))

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

    def test_delayed_flush_all(self):
        self.check((setCommand(b'a', b'x'), b'STORED\r\n'),
                   (b'flush_all 2\r\n', b'OK\r\n'))
        self.waitFor(b'get a\r\n', b'END\r\n')
        # Once only.
        self.waitFor(setCommand(b'a', b'x', more=b' noreply') + b'get a\r\n',
                     valueReply(b'a', b'x') + b'END\r\n')

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
        (b'set a 0 0 1\r\nxyz\r\n',
         b'CLIENT_ERROR bad data chunk\r\nERROR\r\n'),
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


class TestRealMemcached(Scenario, unittest.TestCase):

    level = 2

    def startServer(self):
        return self.enterContext(Memcached()).port


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
        with mock.patch.object(embedded.time, 'time', lambda: 2 ** 31):
            self.assertEqual(client.ask(b'get a\r\n'), there)
            self.assertNotEqual(client.ask(b'get b\r\n'), b'END\r\n')
        with mock.patch.object(embedded, 'monotonic', lambda: now + 98):
            self.assertEqual(client.ask(b'get a\r\n'), there)
            self.assertNotEqual(client.ask(b'get b\r\n'), b'END\r\n')
            self.assertEqual(client.statistics()['curr_items'], '2')
        with mock.patch.object(embedded, 'monotonic', lambda: now + 102):
            self.assertEqual(client.statistics()['curr_items'], '0')
            self.assertEqual(client.ask(b'get a b\r\n'), b'END\r\n')

    def test_delays_follow_the_monotonic_clock(self):
        client = self.connect(self.start())
        client.ask(setCommand(b'a', b'x'), b'STORED\r\n')
        client.ask(b'flush_all 100\r\n', b'OK\r\n')
        now = time.monotonic()
        with mock.patch.object(embedded, 'monotonic', lambda: now + 98):
            self.assertNotEqual(client.ask(b'get a\r\n'), b'END\r\n')
        # As with the real one: all but a second later.
        with mock.patch.object(embedded, 'monotonic', lambda: now + 99):
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

        with (mock.patch.object(embedded, 'SWEEP_INTERVAL', 0.01),
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
