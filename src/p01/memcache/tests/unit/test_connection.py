# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connection whose request cannot be sent: what the server said before."""

import ssl
import unittest

from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.transport.connection import Connection


BUSY = b'ERROR Too many open connections\r\n'
CLOSED = ReceiveError('closed')
LATE = ReceiveTimeout('late')


class Stream:
    """Takes no request. What was received before is read piece by piece.

    An exception among the pieces is raised.
    """

    deadline = 0.0
    trouble = SendError('cannot send')

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def send(self, data):
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
    """Has the stream already."""

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

    def test_nothing_was_said(self):
        for end in CLOSED, LATE:
            self.assertIs(self.send(end), Stream.trouble)

    def test_half_a_line(self):
        # What it was to be, nobody knows: it explains nothing.
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
        # It is about an earlier request, or none.
        for line in b'ERROR\r\n', b'SERVER_ERROR no\r\n', b'\x00\r\n', b'\n':
            self.assertIs(self.send(line, CLOSED), Stream.trouble)

    def test_without_an_end(self):
        # It is not read for longer than any line is.
        self.assertIs(
            self.send(*[b'.' * 1000] * 100, CLOSED), Stream.trouble)
        self.assertGreater(len(self.stream.pieces), 50)

    def test_an_alert(self):
        # It tells what the server wants, as a certificate.
        alert = ReceiveError('cannot receive: an alert')
        alert.__cause__ = ssl.SSLError('alert')
        self.assertIs(self.send(alert), alert)

    def test_no_time_to_send(self):
        late = SendTimeout('late')
        self.assertIs(self.send(LATE, trouble=late), late)
        self.assertIs(self.send(BUSY, trouble=late).__cause__, late)
