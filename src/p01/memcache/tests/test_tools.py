# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The tools the other tests trust: do they do what they say?"""
import socket
import threading
import time
import unittest

from p01.memcache.tests.listener import full_backlog
from p01.memcache.tests.proxy import DEAF
from p01.memcache.tests.proxy import HOLD
from p01.memcache.tests.proxy import TWICE
from p01.memcache.tests.proxy import Fault
from p01.memcache.tests.proxy import FaultProxy
from p01.memcache.tests.scripted import ScriptedServer
from p01.memcache.tests.scripted import request_size


def connect(address, timeout=5):
    host, port = address.split(':')
    return socket.create_connection((host, int(port)), timeout)


class ScriptedServerTest(unittest.TestCase):

    def server(self, *answers, **kw):
        return self.enterContext(ScriptedServer(*answers, **kw))

    def client(self, server):
        return self.enterContext(connect(server.address))

    def test_answers_in_turn_then_the_default(self):
        server = self.server(b'1', lambda r: r.upper(), default=b'end')
        client = self.client(server)
        for request, answer in [
                (b'a\r\n', b'1'), (b'b\r\n', b'B\r\n'), (b'c\r\n', b'end')]:
            client.sendall(request)
            self.assertEqual(client.recv(100), answer)
        self.assertEqual(server.requests, [b'a\r\n', b'b\r\n', b'c\r\n'])

    def test_a_chunk_and_a_pause(self):
        client = self.client(self.server([(b'one', 0.05), (b'two', 0)]))
        start = time.monotonic()
        client.sendall(b'get k\r\n')
        self.assertEqual(client.recv(3), b'one')
        self.assertEqual(client.recv(3), b'two')
        self.assertGreaterEqual(time.monotonic() - start, 0.05)

    def test_none_closes(self):
        client = self.client(self.server(None))
        client.sendall(b'get k\r\n')
        self.assertEqual(client.recv(100), b'')

    def test_a_request_ends_where_its_data_ends(self):
        server = self.server(default=b'.')
        client = self.client(server)
        requests = [b'set k 0 0 4\r\n\r\n\r\n\r\n', b'ms k 2 T0\r\nhi\r\n',
                    b'get k\r\n']
        for byte in b''.join(requests):
            client.sendall(bytes([byte]))
        self.assertTrue(server.wait(lambda: len(server.requests) == 3))
        self.assertEqual(server.requests, requests)

    def test_request_size(self):
        for data, size in [
                (b'', 0), (b'get', 0), (b'get k\r\n', 7), (b'\r\n', 2),
                (b'set k 0 0 2\r\nhi', 0), (b'set k 0 0 2\r\nhi\r\nget', 17),
                (b'set k 0 0 x\r\n', 13), (b'mg k v\r\n', 8)]:
            with self.subTest(data):
                self.assertEqual(request_size(data), size)

    def test_raw(self):
        server = self.server(default=b'.', raw=True)
        client = self.client(server)
        client.sendall(b'\x80no line')
        self.assertEqual(client.recv(100), b'.')
        self.assertEqual(server.requests, [b'\x80no line'])


class FaultProxyTest(unittest.TestCase):

    def setUp(self):
        self.server = self.enterContext(
            ScriptedServer(default=lambda request: b'<%s>\r\n' % request[:3]))
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        self.client = self.connect()

    def connect(self):
        return self.enterContext(connect(self.proxy.address))

    def ask(self, request, size=7):
        self.client.sendall(request + b'\r\n')
        return self.read(size)

    def read(self, size):
        data = b''
        while len(data) < size:
            more = self.client.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def assertQuiet(self):
        self.client.settimeout(0.02)
        with self.assertRaises(TimeoutError):
            self.client.recv(1)
        self.client.settimeout(5)

    def test_no_fault(self):
        self.assertEqual(self.ask(b'one'), b'<one>\r\n')
        self.assertEqual(self.proxy.exchanges, 1)

    def test_once_befalls_the_next_exchange_and_fault_all_the_others(self):
        self.proxy.once(Fault(swap=lambda reply: b'odd'))
        self.proxy.fault = Fault(swap=lambda reply: b'all')
        self.assertEqual(self.ask(b'one', 3), b'odd')
        self.assertEqual(self.ask(b'two', 3), b'all')
        self.assertEqual(self.ask(b'six', 3), b'all')
        self.proxy.once(HOLD)
        self.proxy.clear()
        self.assertEqual(self.ask(b'ten'), b'<ten>\r\n')

    def test_stall_and_release(self):
        self.proxy.once(Fault(after=2, then='stall'))
        self.assertEqual(self.ask(b'one', 2), b'<o')
        self.assertTrue(self.proxy.wait(lambda: self.proxy.stalled == 1))
        self.assertQuiet()
        # The next reply waits behind the one that is held.
        self.client.sendall(b'two\r\n')
        self.proxy.release()
        self.assertEqual(self.read(12), b'ne>\r\n<two>\r\n')
        self.assertEqual(self.proxy.stalled, 0)

    def test_stall_and_drop(self):
        self.proxy.once(HOLD)
        self.client.sendall(b'one\r\n')
        self.assertTrue(self.proxy.wait(lambda: self.proxy.stalled))
        self.proxy.release(drop=True)
        self.assertEqual(self.ask(b'two'), b'<two>\r\n')

    def test_deaf(self):
        self.proxy.once(DEAF)
        self.client.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            for _ in range(10000):
                self.client.sendall(bytes(10000))
        self.assertEqual(self.server.requests, [])

    def test_segments(self):
        self.proxy.fault = Fault(size=1, pause=0.01)
        start = time.monotonic()
        self.client.sendall(b'one\r\n')
        first = self.client.recv(100)
        self.assertLess(len(first), 7)
        self.assertEqual(first + self.read(7 - len(first)), b'<one>\r\n')
        self.assertGreaterEqual(time.monotonic() - start, 0.07)

    def test_segments_of_a_request(self):
        self.proxy.fault = Fault(size=2, pause=0.001, side='request')
        self.assertEqual(self.ask(b'one'), b'<one>\r\n')

    def test_twice(self):
        self.proxy.once(TWICE)
        self.assertEqual(self.ask(b'one', 14), b'<one>\r\n<one>\r\n')

    def test_cut_the_reply(self):
        for after in range(8):
            with self.subTest(after=after, how='fin'):
                self.proxy.once(Fault(after=after, then='fin'))
                self.assertEqual(self.ask(b'one'), b'<one>\r\n'[:after])
                self.assertEqual(self.read(1), b'')
            self.client = self.connect()
            with self.subTest(after=after, how='rst'):
                self.proxy.once(Fault(after=after, then='rst'))
                with self.assertRaises(ConnectionResetError):
                    while self.ask(b'one', 1):
                        pass
            self.client = self.connect()

    def test_cut_the_request(self):
        self.proxy.once(Fault(after=3, then='fin', side='request'))
        self.assertEqual(self.ask(b'one'), b'')
        self.assertEqual(self.server.requests, [])
        self.client = self.connect()
        self.proxy.once(Fault(after=5, then='rst', side='request'))
        with self.assertRaises(ConnectionResetError):
            self.ask(b'two')
        self.assertTrue(self.server.wait(lambda: self.server.requests))
        self.assertEqual(self.server.requests, [b'two\r\n'])

    def test_cut_what_is_idle(self):
        for how in 'fin', 'rst':
            self.client = self.connect()
            self.assertEqual(self.ask(b'one'), b'<one>\r\n')
            self.proxy.cut(how)
            self.assertEqual(self.proxy.current, 0)
            if how == 'fin':
                self.assertEqual(self.client.recv(1), b'')
            else:
                with self.assertRaises(ConnectionResetError):
                    self.client.recv(1)

    def test_refuse_and_accept_again(self):
        self.assertEqual(self.ask(b'one'), b'<one>\r\n')
        self.proxy.refuse()
        with self.assertRaises(ConnectionRefusedError):
            connect(self.proxy.address)
        self.assertEqual(self.ask(b'two'), b'<two>\r\n')
        self.proxy.accept()
        self.client = self.connect()
        self.assertEqual(self.ask(b'six'), b'<six>\r\n')

    def test_ignore_and_accept_again(self):
        self.proxy.wait(lambda: self.proxy.opened == 1)
        self.proxy.ignore()
        self.client = self.connect()
        self.client.sendall(b'one\r\n')
        self.assertQuiet()
        self.assertEqual(self.proxy.opened, 1)
        self.proxy.accept()
        self.assertEqual(self.read(7), b'<one>\r\n')

    def test_counts(self):
        self.ask(b'one')
        with connect(self.proxy.address):
            self.proxy.wait(lambda: self.proxy.current == 2)
        self.assertTrue(self.proxy.wait(lambda: self.proxy.current == 1))
        proxy = self.proxy
        self.assertEqual((proxy.opened, proxy.current, proxy.most), (2, 1, 2))

    def test_a_server_that_is_not_there(self):
        self.server.refuse()
        with self.assertRaises(ConnectionResetError):
            self.connect().recv(1)

    def test_nothing_is_left_over(self):
        before = threading.active_count()
        with FaultProxy(self.server.address) as proxy:
            proxy.fault = HOLD
            with connect(proxy.address) as client:
                client.sendall(b'one\r\n')
                proxy.wait(lambda: proxy.stalled)
        self.assertEqual(threading.active_count(), before)
        self.assertEqual(proxy.current, 0)


class FullBacklogTest(unittest.TestCase):

    def test_no_answer_to_a_connect(self):
        address = self.enterContext(full_backlog())
        with self.assertRaises(TimeoutError):
            connect(address, 0.05)
