# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What only the embedded server has: start, stop, and a clock."""

import contextlib
import os
import resource
import threading
import time
import unittest
from unittest import mock

from p01.memcache import embedded
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.embedded.conversation import TIMEOUT
from p01.memcache.tests.embedded.conversation import Client
from p01.memcache.tests.embedded.conversation import Embedded
from p01.memcache.tests.embedded.conversation import metaSet
from p01.memcache.tests.embedded.conversation import setCommand
from p01.memcache.tests.embedded.conversation import valueReply
from p01.memcache.tests.embedded.replies import TOO_LARGE


class EmbeddedServerTest(Embedded):

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

    def test_configuration_endpoint(self):
        server = self.start(cluster=('a.example|10.0.0.1|11211', 'b||1'))
        client = self.connect(server)
        request = b'config get cluster\r\n'
        self.assertEqual(
            client.ask(request),
            b'CONFIG cluster 0 32\r\n1\na.example|10.0.0.1|11211 b||1\n\r\n'
            b'END\r\n')
        for other in b'config get other\r\n', b'config set cluster\r\n':
            self.assertEqual(client.ask(other, b'\r\n'), b'ERROR\r\n')
        server.cluster[:] = ['b||1']
        for _ in range(2):
            self.assertEqual(
                client.ask(request),
                b'CONFIG cluster 0 7\r\n1\nb||1\n\r\nEND\r\n')
            # It keeps the list, unlike the values.
            server.stop()
            server.start()
            client = self.connect(server)
        server.cluster.clear()
        self.assertEqual(client.ask(request, b'\r\n'), b'ERROR\r\n')

    def test_stop_without_start(self):
        EmbeddedServer().stop()

    def test_stop_at_once(self):
        # The thread may not serve yet, or may be accepting.
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
        # The first one goes on.
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
        # Like memcached, it also counts expired items.
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
        with mock.patch.object(embedded.clock.time, 'time', lambda: 2 ** 31):
            self.assertEqual(client.ask(b'get a\r\n'), there)
            self.assertNotEqual(client.ask(b'get b\r\n'), b'END\r\n')
        with mock.patch.object(embedded.clock, 'now', lambda: now + 98):
            self.assertEqual(client.ask(b'get a\r\n'), there)
            self.assertNotEqual(client.ask(b'get b\r\n'), b'END\r\n')
            self.assertEqual(client.statistics()['curr_items'], '2')
        with mock.patch.object(embedded.clock, 'now', lambda: now + 102):
            self.assertEqual(client.statistics()['curr_items'], '0')
            self.assertEqual(client.ask(b'get a b\r\n'), b'END\r\n')

    def test_meta_times_follow_the_monotonic_clock(self):
        client = self.connect(self.start())
        now = time.monotonic()
        client.ask(metaSet(b'a', b'x', b'T100') + metaSet(b'b', b'x'),
                   b'HD\r\n' * 2)
        for later, request, reply in (
                (68.5, b'mg a t l u R30\r\n', b'HD t32 l68\r\n'),
                (69.5, b'mg a t R30\r\n', b'HD t31\r\n'),
                (75.6, b'mg a l t R30\r\n', b'HD l6 t25 W\r\n'),
                (76.8, b'mg a l t R30\r\n', b'HD l1 t24 Z\r\n'),
                (99.5, b'mg a l t\r\n', b'HD l22 t1 Z\r\n'),
                (102, b'mg a\r\n', b'EN\r\n'),
                (102, b'mg b t\r\n', b'HD t-1\r\n')):
            with mock.patch.object(embedded.clock, 'now',
                                   lambda later=later: now + later):
                self.assertEqual(client.ask(request, b'\r\n'), reply)

    def test_delays_follow_the_monotonic_clock(self):
        client = self.connect(self.start())
        client.ask(setCommand(b'a', b'x'), b'STORED\r\n')
        client.ask(b'flush_all 100\r\n', b'OK\r\n')
        now = time.monotonic()
        with mock.patch.object(embedded.clock, 'now', lambda: now + 98):
            self.assertNotEqual(client.ask(b'get a\r\n'), b'END\r\n')
        # A second early, like memcached.
        with mock.patch.object(embedded.clock, 'now', lambda: now + 99):
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

        with (mock.patch.object(embedded.server, 'SWEEP_INTERVAL', 0.01),
              mock.patch.object(embedded.Storage, 'sweep', sweep)):
            client = self.connect(self.start())
            client.ask(setCommand(b'a', b'x', 0, -1), b'STORED\r\n')
            storages.clear()
            self.assertTrue(twice.wait(TIMEOUT))

    def test_a_client_that_reads_late(self):
        # Each of these requests asks for 200 MB.
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
            # The server reads from it again.
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
        # The server stops reading from it, and stop() does not wait for it.
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

    def test_an_endless_get(self):
        server = self.start()
        # memcached buffers whatever arrives.
        for start in b'get ', b'gets ', b' ' * 100 + b'get ':
            for end in b'', b'\r\n':
                client = self.connect(server)
                with contextlib.suppress(ConnectionError):
                    client.send(start + b'x' * (1 << 22) + end)
                self.assertTrue(client.isClosed())
