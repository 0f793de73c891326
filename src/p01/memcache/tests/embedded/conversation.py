# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Conversations in raw bytes, with the embedded server and with a real one.

The real one is the reference: the tests in this folder expect what memcached
answers, and `releases` lists where other releases differ.
"""

import re
import socket
import time
import unittest

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.tests.embedded.releases import Release
from p01.memcache.tests.embedded.releases import UniqueNumbers


#: Seconds; a get of half a million keys takes some on a busy machine.
TIMEOUT = 20

K250 = b'k' * 250
K251 = b'k' * 251


def setCommand(key, value, flags=0, exptime=0, command=b'set', more=b''):
    return b'%b %b %d %d %d%b\r\n%b\r\n' % (
        command, key, flags, exptime, len(value), more, value)


def metaSet(key, value, flags=b''):
    return b'ms %b %d %b\r\n%b\r\n' % (key, len(value), flags, value)


def valueReply(key, value, flags=0):
    return b'VALUE %b %d %d\r\n%b\r\n' % (key, flags, len(value), value)


class Client:
    """A client's socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.socket.sendall(data)

    def read(self, size):
        """Return that many bytes, or those that come before the time-out."""
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
        """Return whether the server closes without another byte."""
        try:
            return self.socket.recv(1) == b''
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()


class ServerCase:
    """A server, and a client that speaks its language.

    Another base class has `startServer`, which returns the server's port.
    """

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
        """Check the reply to each request, to the last byte."""
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
        """Repeat the request until the reply is the expected one."""
        end = time.monotonic() + TIMEOUT
        while (answer := self.client.ask(request)) != reply:
            self.assertLess(time.monotonic(), end, answer)
            time.sleep(0.02)


class Embedded(unittest.TestCase):
    """A case with embedded servers of its own."""

    def start(self, **options):
        """Start a server; in the end, stop it and check for logged errors."""
        self.enterContext(self.assertNoLogs('asyncio', 'ERROR'))
        server = EmbeddedServer(**options)
        server.start()
        self.addCleanup(server.stop)
        return server


class OnEmbedded(Embedded):
    """A conversation with the embedded server."""

    def startServer(self):
        return self.start().port


class OnMemcached(unittest.TestCase):
    """A conversation with the installed memcached."""

    level = 2

    def startServer(self):
        return self.enterContext(Memcached()).port
