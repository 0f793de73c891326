# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Segments: requests in pieces, pipelined, and from many clients."""

import threading

from p01.memcache.tests.embedded.conversation import Client
from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import metaSet
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import BAD_CHUNK
from p01.memcache.tests.embedded.replies import INVALID_FLAG


class Segments(ServerCase):
    """The replies are the same, however the requests arrive."""

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


class EmbeddedSegments(Segments, OnEmbedded):
    pass


class MemcachedSegments(Segments, OnMemcached):
    pass
