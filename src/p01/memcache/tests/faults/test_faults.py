# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What the pooled client survives, by the numbers of the list of faults.

*Clean* means: within the time-out and 50 ms an operation is a documented
miss, and the reads after it are right. Every value carries its own key, so a
wrong one shows itself. What concerns several servers, interrupted operations
and forks is tested elsewhere.

Level 1 runs on the embedded and the scripted server, level 2 on memcached.
"""

import contextlib
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import types
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ConnectError
from p01.memcache.facade import base
from p01.memcache.tests.faults.case import READS
from p01.memcache.tests.faults.case import SLACK
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import OffsetCase
from p01.memcache.tests.faults.case import OnMemcached
from p01.memcache.tests.faults.case import ScriptedCase
from p01.memcache.tests.faults.case import jump
from p01.memcache.tests.faults.case import on_each_stream
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import hit
from p01.memcache.tests.support.scripted import honest
from p01.memcache.tests.support.scripted import wire_key
from p01.memcache.tests.support.servers import connect
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.values import Thrower
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import DAY
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.transport import dial
from p01.memcache.transport import lockkeeping
from p01.memcache.transport.address import parse
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.wire import protocol


@variant('OnMemcached', OnMemcached, most=90)
@on_each_stream
class StalledReplyTest(OffsetCase):
    """Fault 1: stall at every byte offset of each reply type, the rest comes late."""

    level = 2

    def test_the_rest_comes_after_the_operation(self):
        self.stall_all(self.proxy.release, then='stall')

    def test_the_rest_comes_during_the_next_operation(self):
        self.stall_all(lambda: None, pause=self.timeout * 2)

    def stall_all(self, release, **fault):
        for operation in self.operations:
            faults = [Fault(after=after, **fault)
                      for after in self.offsets(self.sizes(operation)[1])]
            # So many at the same time that it takes no longer than with one.
            for start in range(0, len(faults), 30):
                part = faults[start:start + 30]
                with self.subTest(operation.__name__, start=start):
                    self.assertInTime(
                        lambda operation=operation, part=part:
                        self.stall(operation, part, release))

    def stall(self, operation, faults, release):
        client = self.client(maxPoolSize=len(faults))
        self.proxy.once(*faults)
        at_once(
            lambda i: self.timed(operation, self, client, i),
            range(len(faults)))
        # A busy machine may have been too slow to even ask.
        self.proxy.clear()
        release()
        if operation is OffsetCase.flush:
            self.settle(client)
        self.assertRight(client, 1)
        self.assertRight(client, 3, threads=8)
        self.assertRight(client)


@variant('OnMemcached', OnMemcached, keys=50, rounds=20)
@on_each_stream
class LateReplyTest(FaultCase):
    """Fault 2: a late reply to a get, while the key is set anew."""

    level = 2

    keys = 20
    rounds = 2

    def test_the_old_reply_comes_before_the_next_read(self):
        client = self.client(maxPoolSize=self.keys)

        def read(key):
            return client.query(key, raw=True)

        for number in range(self.rounds):
            keys = [f'{number}-{i}' for i in range(self.keys)]
            self.fill(*keys)
            self.proxy.fault = HOLD
            self.assertEqual(
                set(at_once(read, keys)), {None})
            self.proxy.fault = None
            for key in keys:
                self.direct.set(key, self.value(key) + b' new', raw=True)
            self.proxy.release()
            with self.patience(client):
                # One tries first, after failures of fresh connections.
                read(keys[0])
                self.assertEqual(
                    at_once(read, keys),
                    [self.value(key) + b' new' for key in keys])

    def test_the_old_reply_comes_during_the_next_read(self):
        client = self.client()
        for number in range(self.rounds + 1):
            self.fill(number)
            self.proxy.once(Fault(pause=self.timeout * 2))
            self.assertIsNone(client.query(number, raw=True))
            self.direct.set(number, b'new', raw=True)
            with self.patience(client):
                self.assertEqual(client.query(number, raw=True), b'new')


@on_each_stream
class CrossedReplyTest(FaultCase):
    """Fault 3: a late reply to one operation, and the next is another."""

    def operations(self, client):
        # Each of them has another reply than all the others.
        return [
            (lambda: client.set('new', 'value'), client.buildKey('new')),
            (lambda: client.query(0, raw=True), self.value(0)),
            (lambda: client.query('nothing', default=0), 0),
            (lambda: client.invalidate(1), True),
            (lambda: client.getStatistics()[0][1]['pointer_size'], '64'),
        ]

    def test_each_after_each(self):
        self.fill()
        client = self.client(maxPoolSize=30)
        pairs = [(late, then) for late in self.operations(client)
                 for then in self.operations(client)]

        def one_then_the_other(pair):
            (late, _), (then, expected) = pair
            # Statistics without an answer have no pointer size.
            with contextlib.suppress(KeyError):
                late()
            barrier.wait(PATIENCE)
            return then(), expected

        def no_more_time():
            client.timeout = PATIENCE
            # After a failure one at a time connects, until one has succeeded.
            self.assertEqual(client.query(0, raw=True), self.value(0))

        barrier = threading.Barrier(len(pairs), no_more_time)
        self.proxy.once(*[Fault(pause=self.timeout * 2)] * len(pairs))
        for result, expected in at_once(one_then_the_other, pairs):
            self.assertEqual(result, expected)


@variant('OnMemcached', OnMemcached, most=90, reads=READS)
@on_each_stream
class CutReplyTest(OffsetCase):
    """Fault 4: FIN and RST at every offset, in both directions."""

    most = 24
    reads = 1

    def test_reply(self):
        for operation in self.operations:
            self.cut(operation, 'reply', self.sizes(operation)[1])

    def test_request(self):
        for operation in self.operations:
            # With the last byte of it, all of the request has passed.
            self.cut(operation, 'request', self.sizes(operation)[0] + 1)

    def cut(self, operation, side, size):
        client = self.client()
        for then in 'fin', 'rst':
            for after in self.offsets(size):
                fault = Fault(after, then, side)
                with self.subTest(operation.__name__, fault=fault):
                    self.assertInTime(
                        lambda fault=fault:
                        self.cut_once(operation, client, fault))

    def cut_once(self, operation, client, fault):
        # A used connection that was cut is no failure yet: what does no harm
        # is asked again, on a fresh one.
        self.proxy.once(fault, fault)
        self.timed(operation, self, client, fault.after)
        self.proxy.clear()
        if operation is OffsetCase.flush:
            self.settle(client)
        self.assertRight(client, self.reads)

    def test_right_behind_the_reply(self):
        # That reply is a good one, and the next read finds the end.
        client = self.client()
        for then in 'fin', 'rst':
            self.proxy.once(Fault(len(hit(bytes(32))) + 32, then))
            self.assertIn(
                client.query(0, raw=True),
                # An RST makes the kernel forget what has not been read.
                [self.value(0)] + [None] * (then == 'rst'))
            self.assertRight(client)


@on_each_stream
class SmallSegmentsTest(FaultCase):
    """Fault 5: segments of one byte, and short writes."""

    def test_segments_of_one_byte(self):
        client = self.client(timeout=PATIENCE)
        for side in 'request', 'reply':
            self.proxy.fault = Fault(side=side, size=1)
            data = os.urandom(3000)
            self.assertTrue(client.set('key', data, raw=True))
            self.assertEqual(client.query('key', raw=True), data)
            self.assertTrue(client.invalidate('key'))
            self.assertIsNone(client.query('key'))
            self.assertIn('pid', client.getStatistics()[0][1])
            client.invalidateAll()

    def test_one_byte_at_a_time(self):
        self.fill()
        client = self.client(timeout=PATIENCE)
        self.proxy.fault = Fault(size=1, pause=0.0005)
        self.assertRight(client, 1)

    def test_short_writes(self):
        # More than the buffers of a connection hold, to a slow reader.
        server = self.enterContext(
            ScriptedServer(default=b'STORED\r\n'))
        data = random.Random(5).randbytes(4 << 20)
        proxy = self.enterContext(FaultProxy(server.address))
        proxy.fault = Fault(side='request', pause=0.0005)
        client = self.client(proxy.address, timeout=20)
        self.assertTrue(client.set('key', data, raw=True))
        self.assertEqual(
            server.requests[0].partition(b'\r\n')[2], data + b'\r\n')


@on_each_stream
class DrippingReplyTest(FaultCase):
    """Fault 6: drip: a byte now and then never makes the operation's time longer."""

    def test_drip(self):
        self.fill()
        client = self.client()

        def operations():
            self.proxy.fault = Fault(size=1, pause=self.timeout / 4)
            self.assertIsNone(self.timed(client.query, 0))
            self.assertIsNone(self.timed(client.set, 'key', 1))
            self.assertEqual(
                list(self.timed(client.getStatistics)[0][1]), ['error'])
            self.proxy.fault = None
            self.assertRight(client)

        self.assertInTime(operations)

    def test_a_reply_without_an_end(self):
        # There is always something to read, so nobody ever waits.
        lines = b'STAT name value\r\n' * 10_000
        server = self.enterContext(
            ScriptedServer(default=[(lines, 0)] * 100))
        client = self.client(server.address)
        self.assertInTime(lambda: self.assertEqual(
            list(self.timed(client.getStatistics)[0][1]), ['error']))


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
    """Fault 8: idle connections are closed by the server, any number of them."""

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
    """Fault 10: connection refused; SYN dropped."""

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
        # Long before there are failures enough for a mark.
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
        # It happens once in so many tries, where nobody listens on a port
        # that the kernel may choose for the other end.
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


class ClockJumpTest(FaultCase):
    """Fault 14: the wall clock jumps an hour either way."""

    def test_idle_connections_stay(self):
        self.fill()
        client = self.client(pooltime=60)
        self.assertRight(client)
        for hours in 1, -1:
            with jump(hours):
                self.assertRight(client)
                self.fill()
                self.assertRight(client)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)

    def test_time_out_in_between(self):
        self.fill()
        client = self.client()
        for hours in 1, -1:
            self.proxy.once(HOLD)
            with ThreadPoolExecutor(1) as executor:
                result = executor.submit(self.timed, client.query, 0)
                self.assertTrue(
                    self.proxy.wait(lambda: self.proxy.stalled))
                with jump(hours):
                    self.assertIsNone(result.result(PATIENCE))
            self.proxy.release()
            self.assertRight(client)
        self.assertGreaterEqual(min(self.spent), self.timeout)
        self.assertLess(max(self.spent), PATIENCE / 2)

    def test_a_mark_stays_and_ends(self):
        self.fill()
        for hours in 1, -1:
            self.proxy.refuse()
            client = self.client(retries=1, blacktime=0.1)
            self.assertIsNone(client.query(0))
            self.proxy.accept()
            opened = self.proxy.opened
            with jump(hours):
                self.assertIsNone(client.query(0))
                self.assertEqual(self.proxy.opened, opened)
                time.sleep(0.11)
                self.assertRight(client)

    def test_lifetime(self):
        for hours in 1, -1:
            with jump(hours):
                self.assertTrue(self.direct.set('key', 1, lifetime=60))
                self.assertEqual(self.direct.query('key'), 1)


@on_each_stream
class GarbageReplyTest(ScriptedCase):
    """Fault 15: garbage, another key's reply, a reply twice, ERROR twice."""

    level = 2

    garbage = (
        b'\r\n', b'\n', b'\0\r\n', b'\xff\xfe\x80\r\n', b'garbage\r\n',
        b'ERROR\r\n', b'STORED\r\n', b'OK\r\n', b'end\r\n', b'END\n',
        b'END \r\n', b'0\r\n', b'HTTP/1.1 400 Bad Request\r\n\r\n',
        b'CLIENT_ERROR line too long\r\n', b'VALUE\r\n', b'VALUE \r\n',
        b'VALUE k\r\nEND\r\n', b'\x81\0\0\0\0\0\0\0', b'garbage')

    def test_garbage_for_a_read(self):
        for answer in self.garbage:
            with self.subTest(answer):
                self.check_read(answer, opened=2)

    def test_garbage_for_the_others(self):
        operations = [
            lambda client: client.set('key', 1),
            lambda client: client.invalidate('key'),
            lambda client: client.getStatistics()[0][1].get('pid'),
        ]
        for operation in operations:
            for answer in (*self.garbage, b'VALUE k 0 1\r\n1\r\nEND\r\n'):
                # The first of them has a good answer, and only lines end.
                if answer.endswith(b'\n') and answer != b'STORED\r\n':
                    with self.subTest(answer):
                        self.check(operation, answer, opened=2)

    def test_another_keys_reply(self):
        key = b'0123456789abcdef' * 2
        self.check_read(hit(key), opened=2)
        self.check_read(
            lambda request: hit(wire_key(request), end=b'') + hit(key),
            opened=2)
        # A key that has the other one in it.
        self.check_read(
            lambda request: hit(wire_key(request) + b'x'), opened=2)
        self.check_read(
            lambda request: hit(wire_key(request)[:-1]), opened=2)
        self.check_read(
            lambda request: hit(wire_key(request).upper() + b' '), opened=2)

    def test_two_values_for_a_key(self):
        self.check_read(
            lambda request: hit(wire_key(request), b'one', b'')
            + hit(wire_key(request), b'two'), opened=2)

    def test_a_reply_twice(self):
        self.check_read(
            lambda request: honest(request) * 2,
            result=self.value(0), opened=2)
        self.check_read(b'END\r\nEND\r\n', opened=2)

    def test_a_reply_twice_and_a_new_value(self):
        server = self.enterContext(EmbeddedServer())
        proxy = self.enterContext(FaultProxy(server.address))
        other, client = self.client(server.address), self.client(
            proxy.address)
        for number in range(READS):
            other.set('key', number)
            proxy.once(TWICE)
            self.assertEqual(client.query('key'), number)
            other.set('key', number + 1)
            self.assertEqual(client.query('key'), number + 1)

    def test_a_reply_twice_to_the_others(self):
        for operation in (
                lambda client: client.set('key', 1) is not None,
                lambda client: client.invalidate('key')):
            self.check(
                operation, lambda request: honest(request) * 2, opened=2,
                result=True)

    def test_error_twice(self):
        self.check_read(b'ERROR\r\nERROR\r\n', opened=2)
        # For a request that it did not understand, memcached also answers
        # the data block, which it took for another request.
        self.check(
            lambda client: client.set('key', 1), b'ERROR\r\nERROR\r\n',
            opened=2)

    def test_server_error_twice(self):
        # The connection is kept after the first, but not with the second.
        self.check_read(
            b'SERVER_ERROR one\r\nSERVER_ERROR two\r\n', opened=2)


@on_each_stream
class LyingLengthTest(ScriptedCase):
    """Fault 16: lengths that cannot be, and lengths that are not true."""

    level = 2

    lengths = (
        b'-1', b'abc', b'', b'+5', b'0x5', b'5.0', b'1e1', b' 5', b'5 ',
        b'\xd9\xa5', b'8589934592', b'9999999999', b'4294967301',
        b'18446744073709551621', b'9' * 500)

    def test_no_length(self):
        for length in self.lengths:
            with self.subTest(length):
                self.check_read(
                    lambda request, length=length: b'VALUE %b 0 %b\r\nhello'
                    b'\r\nEND\r\n' % (wire_key(request), length), opened=2)

    def test_flags_that_are_none(self):
        for flags in b'-1', b'abc', b'', b'9' * 500:
            with self.subTest(flags):
                self.check_read(
                    lambda request, flags=flags: b'VALUE %b %b 5\r\nhello'
                    b'\r\nEND\r\n' % (wire_key(request), flags), opened=2)

    def test_too_short_or_too_long(self):
        data = b'value with\r\nVALUE k 0 1\r\nEND \r\n in it'
        size = len(data)
        for length in (*range(0, size, 5), size - 2, size - 1, size + 1,
                       size + 2, size + 6, size + 7, size + 1000):
            with self.subTest(length=length):
                self.check_read(
                    lambda request, length=length:
                    b'VALUE %b 0 %d\r\n%b\r\nEND\r\n' % (
                        wire_key(request), length, data), opened=2)

    def test_the_end_of_the_data_and_that_of_the_reply(self):
        # With the wrong length, all but the end of the data is in its place.
        self.check_read(
            lambda request: b'VALUE %b 0 3\r\nhelloEND\r\n' % (
                wire_key(request)), opened=2)

    def test_a_value_of_two_replies(self):
        # Nothing tells that it is not this short, but what is behind it.
        self.check_read(
            lambda request: b'VALUE %b 0 3\r\none\r\nEND\r\ntwo\r\nEND\r\n' % (
                wire_key(request)), result=b'one', opened=2)

    def test_memory(self):
        for length in 8 << 30, (1 << 30) - 1, 2 << 20:
            for data in b'', bytes(1000):
                self.check_memory(length, data)

    def check_memory(self, length, data):
        client = self.client(self.server.address)
        self.assertRight(client, 1)
        self.server.answers.append(
            lambda request: b'VALUE %b 0 %d\r\n%b' % (
                wire_key(request), length, data))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        self.assertIsNone(client.query(0))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The server of the test has a buffer of 64 kB in this process too.
        self.assertLess(peak - before, (1 << 20) + (1 << 17))
        self.assertRight(client)


@on_each_stream
class EndlessLineTest(ScriptedCase):
    """Fault 17: a line without an end."""

    timeout = 1

    def test_8_kB_are_enough(self):
        # More does not come. Who waits for it takes until the time-out.
        operations = (
            lambda client: client.query(0),
            lambda client: client.set('key', 1),
            lambda client: client.invalidate('key'),
            lambda client: client.getStatistics()[0][1].get('pid'),
        )
        for operation in operations:
            for start in (b'', b'VALUE ', b'STAT ', b'SERVER_ERROR ',
                          b'STAT '.ljust(protocol.MAX_LINE, b'x') * 4):
                with self.subTest(start[:20], size=len(start)):
                    self.check(
                        operation, start.ljust(8192, b'x'), opened=2)
                    self.assertLess(self.spent[-1], self.timeout / 2)

    def test_the_end_is_still_to_come(self):
        # It would be read as the beginning of the next reply.
        for size in protocol.MAX_LINE, 8192:
            with self.subTest(size=size):
                self.check_read(
                    b'SERVER_ERROR '.ljust(size, b'x'), opened=2)

    def test_a_flood(self):
        self.check_read(bytes(20 << 20), opened=2)
        self.assertLess(self.spent[-1], self.timeout / 2)


class ServerErrorTest(ScriptedCase):
    """Fault 18: SERVER_ERROR: not stored, and the connection is kept."""

    def test_refused(self):
        for reason in (b'out of memory storing object',
                       b'object too large for cache', b'',
                       b'out of memory writing get response'):
            with self.subTest(reason):
                answer = b'SERVER_ERROR ' + reason + b'\r\n'
                self.check_read(answer, opened=1)
                self.check(
                    lambda client: client.set('key', 1), answer, opened=1)

    def test_no_failure_of_the_server(self):
        self.server.answers.extend([b'SERVER_ERROR out of memory\r\n'] * 9)
        client = self.client(self.server.address, retries=1, blacktime=60)
        for _ in range(3):
            self.assertIsNone(client.query('key'))
            self.assertIsNone(client.set('key', 1))
        self.assertRight(client)

    def test_the_old_value_is_removed(self):
        self.server.answers.append(b'SERVER_ERROR out of memory\r\n')
        key = self.direct.buildKey('key').encode()
        self.assertIsNone(self.direct.set('key', 1))
        self.assertEqual(
            self.server.requests[-1], b'delete %b\r\n' % key)


class ServerErrorOnMemcachedTest(OnMemcached, FaultCase):
    """Fault 18: out of memory."""

    # Rather answer an error than evict anything.
    options = '-M', '-m', '8'

    def test_out_of_memory(self):
        client = self.client(timeout=PATIENCE, retries=1, blacktime=60)
        self.fill()
        keys = [f'large {number}' for number in range(100)]
        self.fill(*keys)
        stored = {}
        for key in keys:
            value = self.value(key) * 4000
            if not client.set(key, value, raw=True):
                break
            stored[key] = value
        else:
            self.fail('It has stored more than it has memory for.')
        self.assertTrue(stored)
        # What was replaced in vain is gone, all else is still there.
        self.assertIsNone(client.query(key, raw=True))
        for key, value in stored.items():
            self.assertEqual(client.query(key, raw=True), value)
        self.assertRight(client)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)


@variant('OnMemcached', OnMemcached)
class TooLargeTest(FaultCase):
    """Fault 19: a value above the item limit."""

    def test_too_large(self):
        client = self.client(timeout=PATIENCE, retries=1, blacktime=60)
        self.fill()
        self.assertTrue(client.set('key', b'old', raw=True))
        for size in 1 << 20, 5_000_000:
            with self.subTest(size=size):
                self.fill('key')
                client._logged.clear()  # what is logged once in a while
                with self.assertLogs('p01.memcache', 'WARNING') as logs:
                    self.assertIsNone(
                        client.set('key', bytes(size), raw=True))
                self.assertIn(str(size), logs.output[0])
                self.assertIsNone(client.query('key', raw=True))
                self.assertRight(client)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)


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
            # There is space again.
            with self.patience(client):
                self.assertEqual(
                    self.timed(client.query, 0, raw=True), self.value(0))

        self.assertInTime(come_back, 0.1)
        self.assertRight(client)

    def test_told_before_anything_was_asked(self):
        # As memcached does it: the error and the end are there at once.
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
    """Sends a greeting, if there is one, and closes."""

    greeting = None

    async def serve(self, client):
        if self.greeting is None:
            return await super().serve(client)
        await self._loop.sock_sendall(client, self.greeting)


class ConnectionLimitOnMemcachedTest(OnMemcached, FaultCase):

    options = '-c', '20', '-t', '1'  # a thread needs descriptors too

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
            # An error comes at once, so that this answer is the first line.
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
            # The slots stay taken for longer than who waits has time.
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
            self.assertLessEqual(most, 3)  # one of them is just going
            self.assertRight(client)

        self.assertInTime(stall)

    def test_who_is_late_himself_does_not_blame_the_server(self):
        # His time was over with waiting, for a slot or for the interpreter,
        # before he could ask.
        self.fill()
        client = self.client(retries=1, delay=60, blacktime=60)
        with mock.patch.object(
                base, 'monotonic', lambda: time.monotonic() - 60):
            for _ in range(3):
                client.query(0)
                client.queryMany([0])
        self.assertRight(client)

    def test_who_is_late_himself_holds_up_nobody(self):
        # All need a connection, and may try to make one.
        self.fill()
        client = self.client(retries=1, delay=60, blacktime=60)
        with mock.patch.object(
                base, 'monotonic', lambda: time.monotonic() - 60):
            client.query(0)
        self.assertRight(client, threads=16)

    def test_never_more_connections_than_slots(self):
        self.fill()
        client = self.client(maxPoolSize=3, timeout=PATIENCE)
        self.assertRight(client, threads=16)
        self.assertLessEqual(self.proxy.most, 3)


class Hidden(BaseException):
    """Not an `Exception`, as a greenlet's time-out is not one."""


class BadPickleTest(FaultCase):
    """Fault 25: data that cannot be pickled, and pickles that cannot be read."""

    def setUp(self):
        super().setUp()
        self.fill()
        self.user = self.client(timeout=PATIENCE)

    def assertIntact(self):
        self.assertRight(self.user)
        self.assertEqual(self.user.getPools()[0][1], {
            'active': 0, 'idle': 1, 'opened': 1})

    def test_not_picklable(self):
        class Local:
            pass

        class Broken:
            def __reduce__(self):
                raise RuntimeError('not today')

        deep = []
        for _ in range(100_000):
            deep = [deep]
        for data in (lambda: None, threading.Lock(), Local(), Broken(),
                     deep, (i for i in ())):
            with self.subTest(type(data)), self.assertRaises(ValueError):
                self.user.set('key', data)
        self.assertRight(self.user)
        self.assertIntact()

    def test_broken_pickles(self):
        good = pickle.dumps([{'a': 1.5}, ('b', b'c', {2, 3}), 'd' * 50])
        rng = random.Random(25)
        for number in range(1000):
            broken = bytearray(good)
            if number % 2:
                broken[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            else:
                del broken[rng.randrange(len(good)):]
            if pickle.BYTEARRAY8 in broken:
                # The interpreter prints a SystemError when one is broken.
                continue
            self.direct.set('key', bytes(broken), raw=True)
            miss = object()
            result = self.user.query('key', default=miss)
            try:
                expected = pickle.loads(bytes(broken))
            except Exception:
                self.assertIs(result, miss)
            else:
                # A flipped bit of a text still is a pickle.
                self.assertEqual(repr(result), repr(expected))
        self.assertIntact()

    def test_missing_class(self):
        module = types.ModuleType('p01_memcache_gone')
        gone = type('Gone', (), {'__module__': module.__name__})
        module.Gone = gone
        with mock.patch.dict(sys.modules, {module.__name__: module}):
            self.assertTrue(self.user.set('module', gone()))
            self.assertTrue(self.user.set('class', gone()))
            self.assertIsInstance(self.user.query('class'), gone)
            del module.Gone
            self.assertIsNone(self.user.query('class'))
        self.assertEqual(self.user.query('module', default=0), 0)
        self.assertIntact()

    def test_raises_while_unpickling(self):
        for error in (Exception(), RecursionError(), MemoryError(),
                      SystemError(), StopIteration(), OSError(),
                      UnicodeDecodeError('utf-8', b'', 0, 0, '')):
            with self.subTest(error):
                self.assertTrue(self.user.set('key', Thrower(error)))
                self.assertEqual(self.user.query('key', default=0), 0)
        self.assertIntact()

    def test_a_base_exception_while_unpickling(self):
        # A miss, or it goes on to whom it is meant for: nobody can tell
        # what was raised by the pickle from a greenlet's time-out.
        for error in Hidden, KeyboardInterrupt, SystemExit, GeneratorExit:
            with self.subTest(error):
                self.assertTrue(self.user.set('key', Thrower(error())))
                with contextlib.suppress(error):
                    self.assertEqual(self.user.query('key', default=0), 0)
        self.assertIntact()


@variant('OnMemcached', OnMemcached, step=1)
@on_each_stream
class CutManyReplyTest(FaultCase):
    """Fault 26: a multi-key read is cut in the middle."""

    level = 2

    number = 5
    step = 3

    def setUp(self):
        super().setUp()
        self.fill()
        self.whole = {key: self.value(key) for key in range(self.number)}
        # The replies of all keys have the same length.
        [self.length] = {
            len(hit(self.direct.buildKey(key).encode(), data, b''))
            for key, data in self.whole.items()}
        self.size = self.number * self.length + len(b'END\r\n')

    def read(self, client):
        return client.queryMany(self.whole, raw=True)

    def assertWhole(self, found, after):
        """What arrived whole with so many bytes of the reply."""
        self.assertLessEqual(found.items(), self.whole.items())
        self.assertEqual(len(found), min(after // self.length, self.number))

    def test_cut(self):
        client = self.client()
        for then in 'fin', 'rst':
            for after in range(0, self.size, self.step):
                with self.subTest(then=then, after=after):
                    self.proxy.once(Fault(after, then))
                    found = self.read(client)
                    if then == 'fin':
                        self.assertWhole(found, after)
                    else:
                        # An RST overtakes what has not been read.
                        self.assertLessEqual(
                            found.items(), self.whole.items())
                    self.assertRight(client, self.number)
        self.assertEqual(self.read(client), self.whole)

    def test_stall(self):
        middle = self.size // 2
        clients = [self.client() for _ in range(4)]
        self.proxy.fault = Fault(middle, 'stall')

        def stall():
            for client in clients:
                client.close()
            for found in at_once(
                    lambda client: self.timed(self.read, client), clients):
                self.assertWhole(found, middle)

        self.assertInTime(stall)
        self.proxy.clear()
        self.proxy.release()
        # What comes late is nobody's.
        for client in clients:
            self.assertRight(client, self.number)

    def test_the_other_servers_are_not_concerned(self):
        other = self.start_server()
        client = self.client(timeout=PATIENCE)
        client.servers = [self.proxy.address, other.address]
        mapping = {key: self.value(key) for key in range(50)}
        self.assertEqual(client.setMany(mapping, raw=True), [])
        ring = client._cluster._ring
        theirs = {key: data for key, data in mapping.items()
                  if ring.find(client.buildKey(key).encode())}
        self.assertTrue(0 < len(theirs) < 50)
        client.timeout = self.timeout
        for then in 'fin', 'stall':
            for after in 1, self.length, 3 * self.length - 1:
                with self.subTest(then=then, after=after):
                    self.proxy.once(Fault(after, then))
                    found = client.queryMany(mapping, raw=True)
                    self.assertLessEqual(theirs.items(), found.items())
                    self.assertLessEqual(found.items(), mapping.items())
                    self.assertEqual(
                        len(found), len(theirs) + after // self.length)
                    self.proxy.release(drop=True)

    def test_a_failed_read_owes_nothing(self):
        client = self.client()
        self.proxy.once(Fault(self.length, 'fin'))
        self.assertEqual(len(self.read(client)), 1)
        [server] = client._cluster.servers
        self.assertEqual(server.backlog.keys, {})


class LifetimeTest(FaultCase):
    """Fault 27: lifetimes."""

    def test_those_that_hit(self):
        # A fraction is rounded up: less than a second is not for ever.
        for lifetime in (0, 0.0, 1.5, 0.999, 0.25, 30 * DAY, 30 * DAY + 1,
                         31 * DAY, 365 * DAY, None):
            with self.subTest(lifetime=lifetime):
                self.assertTrue(self.direct.set('key', lifetime, lifetime))
                self.assertEqual(
                    self.direct.query('key', default=self), lifetime)
                self.direct.invalidate('key')

    def test_those_that_are_errors_of_use(self):
        for lifetime in (-1, -0.5, float('nan'), float('inf'),
                         float('-inf'), True, False, 2 ** 40, 10 ** 400,
                         '60', b'60', '0\r\nflush_all', 1j, object(), []):
            with self.subTest(lifetime=lifetime):
                self.fill('key')
                exchanges = self.proxy.exchanges
                client = self.client()
                with self.assertRaises((ValueError, TypeError)):
                    client.set('key', 'new', lifetime)
                self.assertEqual(self.proxy.exchanges, exchanges)
                self.assertEqual(
                    self.direct.query('key', raw=True), self.value('key'))


class LifetimeOnMemcachedTest(OnMemcached, LifetimeTest):

    def test_they_end(self):
        for lifetime in 0.25, 1.5:
            self.assertTrue(self.direct.set(lifetime, 'value', lifetime))
        self.assertTrue(self.direct.set(0, 'value', lifetime=0))
        # Its clock ticks once a second.
        time.sleep(3.5)
        for lifetime in 0.25, 1.5:
            self.assertIsNone(self.direct.query(lifetime))
        self.assertEqual(self.direct.query(0), 'value')


class LifetimeWireTest(ScriptedCase):

    def test_what_is_sent(self):
        for lifetime, exptime in [
                (0, 0), (0.25, 1), (1.5, 2), (60, 60),
                (30 * DAY, 30 * DAY)]:
            self.direct.set('key', 1, lifetime)
            self.assertEqual(self.sent(), exptime)
        # More than 30 days is a moment, or it would be one in 1970.
        before = int(time.time())
        for lifetime in 30 * DAY + 1, 31 * DAY:
            self.direct.set('key', 1, lifetime)
            self.assertLessEqual(before + lifetime, self.sent())
            self.assertLess(self.sent(), before + lifetime + 60)

    def sent(self):
        return int(self.server.requests[-1].split()[3])


class ExitWhileStalledTest(FaultCase):
    """Fault 36: a stalled operation while the interpreter exits."""

    level = 2

    script = '''
import signal
import sys
import threading
from p01.memcache.uclient import UltraMemcacheClient

# A shell's background job inherits that this signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
client = UltraMemcacheClient([sys.argv[1]], timeout=60)
{operation}
'''
    in_threads = '''
for i in range(4):
    threading.Thread(target=client.query, args=('key',), daemon=True).start()
# Until the test says that all of them wait.
sys.stdin.readline()
'''
    statistics_in_a_thread = '''
threading.Thread(target=client.getStatistics, daemon=True).start()
sys.stdin.readline()
'''

    def exit_while(self, operation, stalled, end):
        path = os.pathsep.join(filter(None, sys.path))
        self.proxy.fault = HOLD
        process = subprocess.Popen(
            [sys.executable, '-c', self.script.format(operation=operation),
             self.proxy.address],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': path})
        try:
            self.assertTrue(self.proxy.wait(
                lambda: self.proxy.stalled == stalled, 4 * PATIENCE))
            end(process)
            _, errors = self.timed(process.communicate, timeout=3)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stderr.close()
        self.proxy.release()
        self.proxy.fault = None
        return process.returncode, errors.decode()

    def test_threads_wait(self):
        def scenario():
            code, errors = self.exit_while(
                self.in_threads, 4, lambda process: None)
            self.assertEqual((code, errors), (0, ''))

        self.assertInTime(scenario, 1)

    def test_a_thread_waits_for_statistics(self):
        def scenario():
            code, errors = self.exit_while(
                self.statistics_in_a_thread, 1, lambda process: None)
            self.assertEqual((code, errors), (0, ''))

        self.assertInTime(scenario, 1)

    def test_the_main_thread_waits_and_is_interrupted(self):
        for operation in "client.query('key')", 'client.getStatistics()':
            def scenario(operation=operation):
                code, errors = self.exit_while(
                    operation, 1,
                    lambda process: process.send_signal(signal.SIGINT))
                self.assertIn('KeyboardInterrupt', errors)
                self.assertNotEqual(code, 0)

            with self.subTest(operation):
                self.assertInTime(scenario, 1)
