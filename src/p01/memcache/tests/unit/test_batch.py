# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The replies to many commands, and many values, read in less time."""

import io
import itertools
import types
import unittest

from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import ServerError
from p01.memcache.wire import command
from p01.memcache.wire.batch import Batch
from p01.memcache.wire.item import Item
from p01.memcache.wire.reader import SIZE
from p01.memcache.wire.reader import Reader


class UsualRepliesTest(unittest.TestCase):
    """Those that say True are read all at once."""

    def test_a_command_without_a_usual_reply(self):
        # Its reply is read, also where all others are the usual ones.
        replies = {}
        reader = Reader(lambda size: self.fail('all has been received'))
        reader.data = b'DELETED\r\nDELETED\r\n5\r\n'
        Batch.of([command.Delete(b'a'), command.Delete(b'b'),
                  command.Increment(b'c', 1)], replies).read(reader)
        self.assertEqual(replies, {b'a': True, b'b': True, b'c': 5})
        self.assertTrue(reader.is_empty())

    def arriving(self, *pieces):
        """Return a reader for which these arrive, and then an error."""
        pieces = [*pieces]

        def receive(size):
            if not pieces:
                raise ReceiveTimeout('late')
            return pieces.pop(0)

        reader = Reader(receive)
        reader.data = receive(0)
        return reader

    def batch(self, replies):
        return Batch.of([
            command.Set(key, b'', 0, 0) for key in (b'a', b'b', b'c')],
            replies)

    def test_usual_replies_arrive_in_pieces(self):
        whole = b'STORED\r\n' * 3
        for cut in range(1, len(whole)):
            replies = {}
            reader = self.arriving(
                whole[:cut], *map(bytes, zip(whole[cut:])))
            self.batch(replies).read(reader)
            self.assertEqual(replies, dict.fromkeys((b'a', b'b', b'c'), True))
            self.assertTrue(reader.is_empty())

    def test_another_reply_among_them(self):
        refused = b'SERVER_ERROR out of memory\r\n'
        whole = b'STORED\r\n' + refused + b'STORED\r\n'
        for cut in range(1, len(whole)):
            replies = {}
            reader = self.arriving(whole[:cut], whole[cut:])
            self.batch(replies).read(reader)
            self.assertEqual(
                [type(reply) for reply in replies.values()],
                [bool, ServerError, bool])
            self.assertTrue(reader.is_empty())

    def test_those_that_arrived_before_an_error(self):
        whole = b'STORED\r\n' * 3
        for cut in range(1, len(whole)):
            replies = {}
            with self.assertRaises(ReceiveTimeout):
                self.batch(replies).read(self.arriving(whole[:cut]))
            self.assertEqual(len(replies), cut // len(b'STORED\r\n'))

    def test_more_than_the_usual_replies(self):
        reader = self.arriving(b'STORED\r\n' * 4)
        self.batch({}).read(reader)
        self.assertFalse(reader.is_empty())


class ScanTest(unittest.TestCase):
    """What is read of many values is the same, however they arrive."""

    keys = (b'a', b'bb', b'cc', b'd', b'e' * 250)
    reply = (
        b'VALUE bb 0 1\r\nx\r\n'
        b'VALUE a 12 12\r\n\r\nVALUE cc \n\r\n'
        b'VALUE %b 4294967295 0\r\n\r\nVALUE cc 0 1\r\ny\r\nEND\r\n' % (
            b'e' * 250))
    found = types.MappingProxyType({
        b'bb': Item(b'x', 0), b'a': Item(b'\r\nVALUE cc \n', 12),
        b'e' * 250: Item(b'', 4294967295), b'cc': Item(b'y', 0)})

    def read(self, data, keys):
        receive = io.BytesIO(data).read
        reader = Reader(receive)
        reader.data = receive(SIZE)
        return command.GetMany(keys, {}).read(reader), reader

    def test_values(self):
        for keys in itertools.permutations(self.keys):
            found, reader = self.read(self.reply, keys)
            self.assertEqual(found, self.found)
            self.assertTrue(reader.is_empty())

    def test_what_was_not_asked_for(self):
        for wrong in (
                self.reply.replace(b'VALUE cc 0', b'VALUE xx 0'),
                self.reply.replace(b'VALUE cc 0', b'VALUE bb 0'),
                self.reply.replace(b'VALUE bb 0', b'value bb 0'),
                self.reply.replace(b'VALUE bb 0', b'VALUE bb +0'),
                self.reply.replace(b'VALUE bb 0 1', b'VALUE bb 0 01 '),
                self.reply.replace(b'VALUE bb 0 1', b'VALUE bb 0 2'),
                self.reply.replace(b'VALUE bb 0 1', b'VALUE bb  0 1')):
            self.assertNotEqual(wrong, self.reply)
            for keys in itertools.permutations(self.keys):
                with self.assertRaises(ProtocolError):
                    self.read(wrong, keys)
