# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connection: the server's last words if a request cannot be sent, and what
has been received of a reply.
"""

import ssl
import unittest

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.transport.connection import Connection


BUSY = b'ERROR Too many open connections\r\n'
CLOSED = ReceiveError('closed')
LATE = ReceiveTimeout('late')


class Stream:
    """Takes no request, or all. What is received is read in pieces.

    An exception among the pieces is raised.
    """

    deadline = 0.0
    trouble = SendError('cannot send')

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def send(self, data):
        if self.trouble is not None:
            raise self.trouble

    def receive(self, size):
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def has_input(self):
        return bool(self.pieces)

    def close(self):
        pass


class Dialer:
    """A dialer that returns a given stream."""

    endpoint = 'here'

    def __init__(self, stream):
        self.stream = stream

    def dial(self, deadline, greet):
        return self.stream, self.endpoint


class SendTest(unittest.TestCase):

    def send(self, *pieces, trouble=Stream.trouble):
        """Return the error; the connection must not be used again."""
        stream = Stream(*pieces)
        stream.trouble = trouble
        connection = Connection(Dialer(stream), None, 60)
        connection.connect(1.0)
        self.assertTrue(connection.is_quiet() or pieces)
        with self.assertRaises(Exception) as caught:
            connection.send(b'get key\r\n', 2.0)
        self.assertTrue(connection.dirty)
        self.assertEqual(stream.deadline, 2.0)
        self.stream = stream
        return caught.exception

    def test_nothing_was_received(self):
        for end in CLOSED, LATE:
            self.assertIs(self.send(end), Stream.trouble)

    def test_half_a_line(self):
        # Half a line explains nothing.
        for end in CLOSED, LATE:
            for half in BUSY[:1], BUSY[:20], BUSY[:-1]:
                with self.subTest(half, end=end):
                    self.assertIs(self.send(half, end), Stream.trouble)

    def test_a_line_in_two_pieces(self):
        for place in range(1, len(BUSY)):
            error = self.send(BUSY[:place], BUSY[place:], CLOSED)
            self.assertIs(type(error), ServerBusy)
            self.assertIs(error.__cause__, Stream.trouble)

    def test_another_line(self):
        # It may belong to an earlier request.
        for line in b'ERROR\r\n', b'SERVER_ERROR no\r\n', b'\x00\r\n', b'\n':
            self.assertIs(self.send(line, CLOSED), Stream.trouble)

    def test_an_endless_line(self):
        # It is read no further than any line is.
        self.assertIs(
            self.send(*[b'.' * 1000] * 100, CLOSED), Stream.trouble)
        self.assertGreater(len(self.stream.pieces), 50)

    def test_an_alert(self):
        # It says what the server wants, such as a certificate.
        alert = ReceiveError('cannot receive: an alert')
        alert.__cause__ = ssl.SSLError('alert')
        self.assertIs(self.send(alert), alert)

    def test_no_time_to_send(self):
        late = SendTimeout('late')
        self.assertIs(self.send(LATE, trouble=late), late)
        self.assertIs(self.send(BUSY, trouble=late).__cause__, late)


class ReceiveTest(unittest.TestCase):

    def ask(self, *pieces):
        """Return a connection that has sent a request."""
        self.stream = Stream(*pieces)
        self.stream.trouble = None
        connection = Connection(Dialer(self.stream), None, 60)
        connection.connect(1.0)
        connection.send(b'get key\r\n', 2.0)
        self.assertTrue(connection.dirty)
        self.assertFalse(connection.heard)
        return connection

    def line(self, reader):
        line = reader.readline(100)
        if line.startswith(b'SERVER_ERROR'):
            raise ServerError(line)
        return line

    def test_a_reply(self):
        connection = self.ask(b'EN', b'D\r\n')
        self.assertEqual(connection.receive(self.line, 3.0), b'END\r\n')
        self.assertTrue(connection.heard)
        self.assertFalse(connection.dirty)
        # It has a time of its own, which is not that of the request.
        self.assertEqual(self.stream.deadline, 3.0)

    def test_a_refusal(self):
        connection = self.ask(b'SERVER_ERROR no\r\n')
        with self.assertRaises(ServerError):
            connection.receive(self.line, 3.0)
        self.assertTrue(connection.heard)
        self.assertFalse(connection.dirty)

    def test_nothing_comes(self):
        for end in CLOSED, LATE:
            connection = self.ask(end)
            with self.assertRaises(type(end)):
                connection.receive(self.line, 3.0)
            self.assertFalse(connection.heard)
            self.assertTrue(connection.dirty)

    def test_it_ends_in_the_middle(self):
        # The server has begun to do what it was asked for.
        for end in CLOSED, LATE:
            connection = self.ask(b'EN', end)
            with self.assertRaises(type(end)):
                connection.receive(self.line, 3.0)
            self.assertTrue(connection.heard)
            self.assertTrue(connection.dirty)

    def test_the_next_reply(self):
        connection = self.ask(b'END\r\n', CLOSED)
        connection.receive(self.line, 3.0)
        connection.send(b'get key\r\n', 4.0)
        self.assertFalse(connection.heard)
        self.assertTrue(connection.dirty)
