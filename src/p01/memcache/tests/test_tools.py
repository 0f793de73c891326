# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The tools that other tests rely on."""
import os
import socket
import ssl
import stat
import threading
import time
import unittest
from unittest import mock

from p01.memcache.testing import Memcached
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import request_size


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

    def test_once_is_for_the_next_exchange_and_fault_for_all_others(self):
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


class CertificatesTest(unittest.TestCase):

    def setUp(self):
        self.files = self.enterContext(Certificates())

    def handshake(self, host='127.0.0.1', name='server', ca=None,
                  client=False):
        """Do a handshake of a client and a server, without a network."""
        files = self.files
        contexts = [
            ssl.create_default_context(cafile=ca or files.ca),
            ssl.create_default_context(
                ssl.Purpose.CLIENT_AUTH, cafile=files.ca)]
        contexts[1].load_cert_chain(
            getattr(files, f'{name}_chain'), getattr(files, f'{name}_key'))
        contexts[1].verify_mode = ssl.CERT_REQUIRED
        if client:
            contexts[0].load_cert_chain(files.client, files.client_key)
        one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [contexts[0].wrap_bio(one, two, server_hostname=host),
                contexts[1].wrap_bio(two, one, server_side=True)]
        while ends:
            for end in ends[:]:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                ends.remove(end)

    def test_they_are_valid(self):
        for host in '127.0.0.1', 'localhost':
            self.handshake(host, client=True)
        self.handshake('cache.example.com', 'other_host', client=True)

    def test_another_host(self):
        for host, name in [('127.0.0.1', 'other_host'),
                           ('cache.example.com', 'server')]:
            with self.assertRaisesRegex(ssl.SSLError, 'not valid for'):
                self.handshake(host, name, client=True)

    def test_another_authority(self):
        with self.assertRaisesRegex(ssl.SSLError, 'verify failed'):
            self.handshake(ca=self.files.other_ca, client=True)

    def test_no_certificate_of_the_client(self):
        with self.assertRaisesRegex(ssl.SSLError, 'return a certificate'):
            self.handshake()

    def test_every_user_can_read_them_until_they_are_gone(self):
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        with Certificates() as files:
            folder = os.path.dirname(files.ca)
            self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o755)
            for name in os.listdir(folder):
                mode = os.stat(os.path.join(folder, name)).st_mode
                self.assertEqual(stat.S_IMODE(mode), 0o644)
        self.assertFalse(os.path.exists(folder))


class NutcrackerTest(unittest.TestCase):

    level = 2

    def setUp(self):
        self.servers = [self.enterContext(Memcached()) for _ in range(3)]
        self.addresses = [server.address for server in self.servers]

    def ask(self, address, *requests):
        with connect(address) as sock, sock.makefile('rb') as replies:
            for request in requests:
                sock.sendall(request)
                yield replies.readline()

    def keys(self, address):
        """Return the keys on this server."""
        requests = [b'mg key%d\r\n' % number for number in range(100)]
        return {number for number, reply in enumerate(
            self.ask(address, *requests)) if reply == b'HD\r\n'}

    def test_two_proxies_of_the_same_cluster(self):
        with (Nutcracker(self.addresses) as one,
              Nutcracker(self.addresses) as two):
            self.assertNotEqual(one.address, two.address)
            requests = [b'set key%d 0 0 0\r\n\r\n' % number
                        for number in range(100)]
            self.assertEqual(
                set(self.ask(one.address, *requests)), {b'STORED\r\n'})
            requests = [b'delete key%d\r\n' % number
                        for number in range(50)]
            self.assertEqual(
                set(self.ask(two.address, *requests)), {b'DELETED\r\n'})
        found = [self.keys(address) for address in self.addresses]
        self.assertTrue(all(found))
        self.assertEqual(sum(map(len, found)), 50)
        self.assertEqual(set.union(*found), set(range(50, 100)))

    def test_unix_socket(self):
        with Nutcracker(['unix:/nobody/listens']) as proxy:
            [reply] = self.ask(proxy.address, b'get key\r\n')
        self.assertIn(b'SERVER_ERROR No such file', reply)

    def test_a_server_that_is_down_or_hangs_is_not_ejected(self):
        proxy = self.enterContext(Nutcracker(self.addresses[:1]))
        [server, *_] = self.servers
        server.stop()
        for _ in range(5):
            [reply] = self.ask(proxy.address, b'delete key\r\n')
            self.assertEqual(reply, b'SERVER_ERROR Connection refused\r\n')
        server.start()
        server.freeze()
        [reply] = self.ask(proxy.address, b'delete key\r\n')
        self.assertEqual(reply, b'SERVER_ERROR Connection timed out\r\n')
        server.thaw()
        [reply] = self.ask(proxy.address, b'delete key\r\n')
        self.assertEqual(reply, b'NOT_FOUND\r\n')

    def test_start_and_stop(self):
        proxy = Nutcracker(self.addresses)
        proxy.stop()
        with proxy:
            address, folder = proxy.address, proxy._folder.name
        self.assertIn('nutcracker', proxy.output)
        self.assertFalse(os.path.exists(folder))
        with self.assertRaises(ConnectionRefusedError):
            connect(address)
        with proxy:
            self.assertEqual(proxy.address, address)
            connect(address).close()

    def test_one_that_does_not_start(self):
        with self.assertRaisesRegex(RuntimeError, 'syntax is invalid'):
            Nutcracker(['no address']).start()


class NutcrackerAbsentTest(unittest.TestCase):

    def test_it_tells_what_to_install(self):
        with (mock.patch('shutil.which', return_value=None),
              self.assertRaisesRegex(
                  RuntimeError, 'apt-get install nutcracker')):
            Nutcracker([]).start()
