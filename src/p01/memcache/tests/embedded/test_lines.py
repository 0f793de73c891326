# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Lines: their words, their length, and how a dialogue ends."""

import socket

from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import BAD_FORMAT


class Lines(ServerCase):
    """What makes a line a command."""

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
            (b'config\r\n', b'ERROR\r\n'),
            (b'config get cluster\r\n', b'ERROR\r\n'),
            (b' config get cluster\r\n', b'ERROR\r\n'),
            (b'config get cluster noreply\r\n',
             self.release['unknown, with noreply']),
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
        # The fewest and the most words of a command.
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
                # The empty line is the value of a command that stores one.
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
        # A line that fits into one read buffer is valid.
        self.check((b'delete ' + b'a' * 3000 + b'\r\n', BAD_FORMAT),
                   (b'bogus ' + b'a' * 3000 + b'\r\n', b'ERROR\r\n'))

    def test_a_line_of_2048_bytes_may_go_on(self):
        self.client.send(b'delete ' + b'a' * 2041)
        # After another client's round trip, the server has seen it.
        self.check((b'get a\r\n', b'END\r\n'), client=self.connect())
        self.check((b'\r\n', BAD_FORMAT))

    def test_a_get_of_many_keys(self):
        keys = [b'key:%d' % i for i in range(5000)]
        for key in keys:
            self.client.send(setCommand(key, key, more=b' noreply'))
        expected = b''.join(valueReply(key, key) for key in keys) + b'END\r\n'
        self.check((b'get ' + b' '.join(keys) + b'\r\n', expected))
        # Spaces before it do not change the limit.
        spaced = self.release['a space before get']
        self.check((b' ' * 100 + b'get ' + b' '.join(keys) + b'\r\n',
                    spaced if spaced == b'ERROR\r\n' else expected))
        self.check((b'gets ' + b'x ' * 20000 + b'\r\n', b'END\r\n'),
                   (b'get ' + b'x ' * 524000 + b'\r\n', b'END\r\n'))

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
        # In the middle of a line, of a value, or of a refused value.
        self.check((setCommand(b'a', b'old'), b'STORED\r\n'))
        for request in (b'get', b'set a 0 0 10\r\nabc',
                        b'add a 0 0 9999999\r\nabc'):
            client = self.connect()
            client.send(request)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.isClosed(), request)
        self.check((b'get a\r\n', valueReply(b'a', b'old') + b'END\r\n'))


class EmbeddedLines(Lines, OnEmbedded):
    pass


class MemcachedLines(Lines, OnMemcached):
    pass
