# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Connections that cannot be made, are closed, or are too few."""

import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from p01.memcache.counts import counts
from p01.memcache.errors import ConnectError
from p01.memcache.facade import reading
from p01.memcache.tests.faults.case import READS
from p01.memcache.tests.faults.case import SLACK
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import OnMemcached
from p01.memcache.tests.faults.case import on_each_stream
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.servers import connect
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.transport import dial
from p01.memcache.transport import lockkeeping
from p01.memcache.transport.address import parse
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer


load_tests = run_in(Replies)


@on_each_stream
class DeafServerTest(FaultCase):
    """Fault 7: the server stops reading while a large value is being set."""

    def check(self, size):
        self.fill()
        client = self.client()

        def store():
            self.proxy.once(Fault(after=4096, then='stall', side='request'))
            data = bytes(size)
            self.assertIsNone(
                self.timed(client.set, 'large', data, raw=True))
            self.assertIsNone(self.direct.query('large'))
            self.assertRight(client)

        self.assertInTime(store)

    def test_a_value_of_900_kB(self):
        self.check(900_000)

    def test_more_than_the_buffers_of_a_connection_hold(self):
        self.check(16 << 20)

    def test_not_a_byte_is_read(self):
        self.fill()
        client = self.client()
        self.proxy.once(DEAF)
        self.assertIsNone(client.query(0))
        self.assertRight(client)


@on_each_stream
class ClosedWhileIdleTest(FaultCase):
    """Fault 8: the server closes idle connections, any number of them."""

    def test_no_read_fails(self):
        self.fill()
        for how in 'fin', 'rst':
            for number in 1, 8, 40:
                with self.subTest(how=how, number=number):
                    self.check(how, number)

    def check(self, how, number):
        client = self.client(timeout=PATIENCE)
        self.proxy.fault = HOLD
        with ThreadPoolExecutor(number) as executor:
            results = executor.map(
                lambda i: client.query(0, raw=True), range(number))
            self.assertTrue(
                self.proxy.wait(lambda: self.proxy.stalled == number))
            self.proxy.fault = None
            self.proxy.release()
            self.assertEqual(set(results), {self.value(0)})
        [(_, pool)] = client.getPools()
        self.assertEqual(pool, {
            'active': 0, 'idle': number, 'opened': number})
        self.proxy.cut(how)
        self.assertRight(client, 1, threads=number)
        self.assertRight(client)


@variant('OnMemcached', OnMemcached)
class RestartTest(FaultCase):
    """Fault 9: the server is restarted."""

    def test_restart(self):
        client = self.client(
            self.server.address, timeout=PATIENCE, retries=3, delay=0.02,
            blacktime=0.05)

        def restart():
            self.fill()
            self.assertRight(client)
            self.server.stop()
            for _ in range(READS):
                self.assertIsNone(client.query(0))
            self.server.start()
            self.timed(self.wait_for, client)
            self.fill()
            self.assertRight(client)

        self.assertInTime(restart, 0.1)

    def wait_for(self, client):
        end = soon()
        while not client.set('key', b'value', raw=True):
            self.assertLess(time.monotonic(), end)
        self.assertEqual(client.query('key', raw=True), b'value')


@on_each_stream
class NoConnectionTest(FaultCase):
    """Fault 10: connections are refused; SYNs are dropped."""

    level = 2

    def operations(self, client):
        return [
            lambda: self.assertIsNone(client.query('key')),
            lambda: self.assertIsNone(client.set('key', 1)),
            lambda: self.assertIsNone(client.invalidate('key')),
        ]

    def check(self, address, limit, **settings):
        marked = False

        def fail():
            nonlocal marked
            client = self.client(address, **settings)
            for operation in self.operations(client):
                self.timed(operation)
            marked = client

        self.assertInTime(fail, limit)

        def be_left_alone():
            for operation in self.operations(marked) * READS:
                self.timed(operation)

        self.assertInTime(be_left_alone, 0.001)

    def test_refused(self):
        self.proxy.refuse()
        self.check(self.proxy.address, 0.005, retries=3, blacktime=60)

    def test_syn_dropped(self):
        address = self.enterContext(full_backlog())
        self.check(
            address, self.timeout + SLACK, retries=3, blacktime=60)

    def test_connecting_pauses_for_the_delay(self):
        # Long before there are enough failures to mark it down.
        address = self.enterContext(full_backlog())
        client = self.client(address, delay=60)
        self.assertInTime(lambda: self.timed(client.query, 0))

        def wait_for_nothing():
            for operation in self.operations(client) * READS:
                self.timed(operation)

        self.assertInTime(wait_for_nothing, 0.001)

    def test_nothing_is_tried_while_marked_down(self):
        self.fill()
        client = self.client(retries=3, blacktime=60)
        self.proxy.refuse()
        for _ in range(3):
            self.assertIsNone(client.query(0))
        self.proxy.accept()
        for _ in range(READS):
            self.assertIsNone(client.query(0))
        self.assertEqual(self.proxy.opened, 0)

    def test_back_after_the_blacktime(self):
        self.fill()
        self.proxy.refuse()
        client = self.client(
            retries=1, delay=0.01, blacktime=0.05, timeout=PATIENCE)
        self.assertIsNone(client.query(0))
        self.proxy.accept()
        time.sleep(0.06)
        self.assertRight(client)

    def test_accepted_by_the_kernel_only(self):
        self.fill()
        self.proxy.ignore()
        client = self.client()
        self.assertInTime(lambda: self.assertIsNone(
            self.timed(client.query, 0)))
        self.proxy.accept()
        self.assertRight(client)

    def test_connected_to_itself(self):
        # It happens once in many tries: nothing listens on the port, and the
        # kernel chooses the same port for the other end.
        class Selfish(socket.socket):

            def connect(self, place):
                self.bind(place)
                super().connect(place)

        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            place = parse('{}:{}'.format(*free.getsockname()))
        narcissus = Connection(Dialer(place), lockkeeping.LockKeeping(), 300)
        with (mock.patch.object(dial.socket, 'socket', Selfish),
              self.assertRaisesRegex(ConnectError, 'to itself')):
            narcissus.connect(soon())


class ConnectionLimitTest(FaultCase):
    """Fault 20: the server is at its connection limit."""

    busy = b'ERROR Too many open connections\r\n'

    def test_busy_is_not_down(self):
        self.fill()
        client = self.client(retries=1, delay=60, blacktime=60)

        def come_back():
            self.proxy.once(
                Fault(len(self.busy), 'fin', swap=lambda data: self.busy))
            self.assertIsNone(self.timed(client.query, 0))
            # There is room again.
            with self.patience(client):
                self.assertEqual(
                    self.timed(client.query, 0, raw=True), self.value(0))

        self.assertInTime(come_back, 0.1)
        self.assertRight(client)

    def test_the_error_comes_before_any_request(self):
        # As from memcached: the error and the end arrive at once.
        self.fill()
        proxy = self.enterContext(GreetingProxy(self.server.address))
        client = self.client(
            proxy.address, retries=1, delay=60, blacktime=60)
        for _ in range(READS):
            proxy.greeting = self.busy
            self.assertIsNone(client.query(0))
            proxy.greeting = None
            self.assertRight(client, 1)
            proxy.cut()


class GreetingProxy(FaultProxy):
    """Sends a greeting, if there is one, and closes the connection."""

    greeting = None

    async def serve(self, client):
        if self.greeting is None:
            return await super().serve(client)
        await self._loop.sock_sendall(client, self.greeting)


class ConnectionLimitOnMemcachedTest(OnMemcached, FaultCase):

    options = '-c', '20', '-t', '1'  # a thread needs descriptors, too

    def test_connection_limit(self):
        client = self.client(
            self.server.address, timeout=PATIENCE, retries=1, delay=60,
            blacktime=60)

        def come_back():
            self.fill()
            client.close()
            with contextlib.ExitStack() as stack:
                taken = self.take_all(stack)
                for _ in range(READS):
                    self.assertIsNone(client.query(0))
                self.direct.close()
                for sock in taken:
                    sock.close()
                self.timed(self.wait_for, client)
            self.assertRight(client)

        self.assertInTime(come_back, 0.1)

    def take_all(self, stack):
        taken = []
        while True:
            sock = stack.enter_context(connect(self.server.address))
            # If refused, the error comes at once, and is the first line.
            with contextlib.suppress(OSError):
                sock.sendall(b'version\r\n')
            if not sock.recv(100).startswith(b'VERSION'):
                return taken
            taken.append(sock)
            self.assertLess(len(taken), 25)

    def wait_for(self, client):
        end = soon()
        while client.query(0, raw=True) != self.value(0):
            self.assertLess(time.monotonic(), end)


@on_each_stream
class ExhaustedPoolTest(FaultCase):
    """Fault 24: the pool is exhausted."""

    def test_a_wait_has_an_end(self):
        self.fill()
        client = self.client(maxPoolSize=2)
        holder = self.client(maxPoolSize=2, timeout=PATIENCE)

        def wait_for_a_slot():
            # The slots stay taken for longer than a caller can wait.
            client.timeout = PATIENCE
            self.proxy.once(HOLD, HOLD)
            with ThreadPoolExecutor(2) as executor:
                results = executor.map(
                    lambda i: client.query(0, raw=True), range(2))
                self.assertTrue(
                    self.proxy.wait(lambda: self.proxy.stalled == 2))
                client.timeout = self.timeout
                self.assertIsNone(self.timed(client.query, 1, raw=True))
                self.assertGreaterEqual(self.spent[-1], self.timeout)
                self.assertEqual(at_once(
                    lambda i: self.timed(client.query, i, raw=True),
                    range(16)), [None] * 16)
                self.proxy.release()
                self.assertEqual(list(results), [self.value(0)] * 2)
            self.assertRight(client)

        self.assertInTime(wait_for_a_slot)
        self.assertEqual(client.getPools()[0][1], {
            'active': 0, 'idle': 2, 'opened': 2})
        self.assertRight(holder)

    def test_all_slots_stall(self):
        self.fill()
        client = self.client(maxPoolSize=2)

        def stall():
            most = self.proxy.most
            self.proxy.fault = HOLD
            self.assertEqual(at_once(
                lambda i: self.timed(client.query, i, raw=True),
                range(16)), [None] * 16)
            self.proxy.fault = None
            self.proxy.release()
            self.assertLessEqual(most, 3)  # one of them is just closing
            self.assertRight(client)

        self.assertInTime(stall)

    @contextlib.contextmanager
    def late(self):
        def begin():
            return time.monotonic() - 60

        with (mock.patch.object(counts, 'monotonic', begin),
              mock.patch.object(reading, 'monotonic', begin)):
            yield

    def test_a_late_caller_does_not_blame_the_server(self):
        # Its time was spent waiting, for a slot or for the interpreter,
        # before it could ask.
        self.fill()
        client = self.client(retries=1, delay=60, blacktime=60)
        with self.late():
            for _ in range(3):
                client.query(0)
                client.queryMany([0])
        self.assertRight(client)

    def test_a_late_caller_holds_up_no_other_thread(self):
        # All threads need a connection, and may try to make one.
        self.fill()
        client = self.client(retries=1, delay=60, blacktime=60)
        with self.late():
            client.query(0)
        self.assertRight(client, threads=16)

    def test_never_more_connections_than_slots(self):
        self.fill()
        client = self.client(maxPoolSize=3, timeout=PATIENCE)
        self.assertRight(client, threads=16)
        self.assertLessEqual(self.proxy.most, 3)
