# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Floods: bytes without end, in each state of a connection."""

import contextlib
import functools
import os
import socket
import ssl
import tempfile
import threading
import tracemalloc
import unittest
from time import monotonic

from p01.memcache.client import MemcacheClient
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.layers import Interruptions
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Interruptions)


TIMEOUT = 0.15
SLACK = 0.1
CHUNK = 1 << 16
# What the client may need, with the buffers of this process's server.
MEMORY = (1 << 20) + (1 << 17)

# Data that is never a whole reply, but may look like a part of one.
JUNK = (
    b'\0', b'x', b'\n', b'\r\n', b'x\r\n', b'ERROR\r\n', b'END\r\n', b'VALUE ',
    b'VALUE x 0 5\r\nhello\r\n', b'VALUE x 0 5 1\r\nhello\r\n',
    b'STAT ' + b'x' * 1000 + b'\r\n', b'STORED\r\n', b'1\r\n', b'VA ',
    b'HD c1\r\n', b'EN\r\n', b'MN\r\n', b'SERVER_ERROR x\r\n')

# Data that TLS may take for a part of a handshake, or skips.
RECORDS = (
    b'\x16\x03\x03\x3f\xff', b'\x16\x03\x03\0\x04\0\0\0\0',
    b'\x14\x03\x03\0\x01\x01', b'\x15\x03\x03\0\x02\x01\x5a',
    b'\x17\x03\x03\0\x01\0', b'\x16\x03\x03\0\0')


def repeat(data):
    return data * (CHUNK // len(data))


class Flood:
    """A server that pours `data`, a context manager.

    ``when`` is the state of the connection: ``connected``, in a ``handshake``,
    ``asked``, or ``idle`` after an honest answer. Once there is TLS the data
    is encrypted, unless it is ``raw``.
    """

    def __init__(self, context=None, path=None):
        self.head = self.data = b''
        self.when = 'connected'
        self.raw = False
        self._context = context
        self._threads = []
        self._socket = socket.socket(
            socket.AF_INET if path is None else socket.AF_UNIX)
        if path is None:
            self._socket.bind(('127.0.0.1', 0))
            self.address = '127.0.0.1:{1}'.format(*self._socket.getsockname())
            if context is not None:
                self.address = f'tls://{self.address}'
        else:
            self._socket.bind(path)
            self.address = f'unix:{path}'
        self._socket.listen()

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._socket.accept()[0])

    def _serve(self, sock):
        with contextlib.suppress(OSError), sock, sock.dup() as plain:
            sock.settimeout(5)
            if self.when == 'handshake':
                sock.recv(CHUNK)
            if self.when in ('connected', 'handshake'):
                self._pour(plain)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with sock:
                while request := sock.recv(CHUNK):
                    if self.when == 'asked':
                        break
                    sock.sendall(answer(request))
                self._pour(plain if self.raw else sock)

    def _pour(self, sock):
        with sock:
            sock.sendall(self.head)
            while True:
                sock.sendall(self.data)


def answer(request):
    command = request.split()[0]
    return {b'set': b'STORED\r\n', b'get': b'END\r\n'}.get(
        command, b'ERROR\r\n')


class FloodCase:
    """Each operation ends in time, and takes hardly any memory.
    """

    def setUp(self):
        keep_quiet(self)
        self.flood = self.enterContext(self.make())

    def make(self):
        return Flood()

    def operations(self, client):
        many = [f'key {number}' for number in range(100)]
        yield 1, client.query, 'key'
        yield 1, client.set, 'key', 'value'
        yield 1, client.add, 'key', 'value'
        yield 1, client.invalidate, 'key'
        yield 1, client.increment, 'key'
        yield 1, client.gets, 'key'
        yield 1, client.touch, 'key'
        yield 1, client.queryMany, many
        yield 1, client.setMany, dict.fromkeys(many, 'value')
        # Once to look for the value, and once to store it.
        yield 2, client.getOrCreate, 'key', lambda: 'value'
        yield 1, client.getStatistics

    def check(self, when, data, raw=False):
        self.flood.when, self.flood.raw = when, raw
        self.flood.data = repeat(data)
        client = self.client()
        for times, call, *args in self.operations(client):
            with self.subTest(call.__name__, when=when, data=data[:30]):
                self.check_operation(client, times, call, *args)

    def check_operation(self, client, times, call, *args, memory=MEMORY):
        tracemalloc.start()
        try:
            for _ in range(3):
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                start = monotonic()
                call(*args)
                took = monotonic() - start
                used = tracemalloc.get_traced_memory()[1] - before
                self.assertLess(used, memory)
                if took <= times * TIMEOUT + SLACK:
                    return
        finally:
            tracemalloc.stop()
        self.fail(f'took {took:.3f} s')

    def test_when_connected(self):
        for data in JUNK:
            self.check('connected', data)

    def test_when_asked(self):
        for data in JUNK:
            self.check('asked', data)

    def test_when_idle(self):
        for data in JUNK[:3]:
            self.check('idle', data)

    def test_endless_statistics(self):
        # With different names: no server has that many.
        client = self.client()
        for length in 0, 1000:
            self.flood.when = 'asked'
            self.flood.data = b''.join(
                b'STAT %d %b\r\n' % (number, b'x' * length)
                for number in range(20_000))
            self.check_operation(client, 1, client.getStatistics)

    def test_an_endless_value(self):
        # It takes the memory of what has arrived.
        client = self.client()
        self.flood.when = 'asked'
        self.flood.data = bytes(1 << 20)
        for unique in b'', b' 1':
            self.flood.head = b'VALUE %b 0 %d%b\r\n' % (
                client.buildKey('key').encode(), 1 << 30, unique)
            for times, call, *args in self.operations(client):
                with self.subTest(call.__name__):
                    self.check_operation(
                        client, times, call, *args, memory=1 << 30)


class PooledCase(FloodCase):

    def client(self, **settings):
        client = UltraMemcacheClient(
            [self.flood.address], timeout=TIMEOUT, retries=10 ** 6, delay=0,
            blacktime=0, **settings)
        self.addCleanup(client.close)
        return client


class PooledTest(PooledCase, unittest.TestCase):
    pass


class UnixTest(PooledCase, unittest.TestCase):

    level = 2

    def make(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        return Flood(path=os.path.join(folder, 'socket'))


class ClassicTest(FloodCase, unittest.TestCase):

    level = 2

    def client(self):
        class Client(MemcacheClient):
            _timeout = TIMEOUT
            _retry = 0

        client = Client([self.flood.address])
        self.addCleanup(client.close)
        return client


class TLSTest(PooledCase, unittest.TestCase):

    level = 2
    version = ssl.TLSVersion.TLSv1_3

    @functools.cached_property
    def files(self):
        return self.enterContext(Certificates())

    def make(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files.server_chain, self.files.server_key)
        context.minimum_version = context.maximum_version = self.version
        return Flood(context)

    def client(self):
        return super().client(caFile=self.files.ca)

    def test_when_connected(self):
        for data in (*JUNK[:4], *RECORDS):
            self.check('connected', data)

    def test_within_the_handshake(self):
        for data in (*JUNK[:4], *RECORDS):
            self.check('handshake', data)

    def test_raw_within_the_connection(self):
        for data in (*JUNK[:2], *RECORDS):
            self.check('asked', data, raw=True)
        self.check('idle', JUNK[0], raw=True)


class TLS12Test(TLSTest):

    version = ssl.TLSVersion.TLSv1_2

    test_endless_statistics = test_an_endless_value = None
    test_when_asked = test_when_idle = None
