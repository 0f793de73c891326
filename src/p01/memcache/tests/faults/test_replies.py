# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Replies that are late, in pieces, or wrong."""

import contextlib
import os
import random
import threading
import tracemalloc

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.faults.case import READS
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import KeptLock
from p01.memcache.tests.faults.case import OffsetCase
from p01.memcache.tests.faults.case import OnMemcached
from p01.memcache.tests.faults.case import PlainStream
from p01.memcache.tests.faults.case import ScriptedCase
from p01.memcache.tests.faults.case import on_each_stream
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import hit
from p01.memcache.tests.support.scripted import honest
from p01.memcache.tests.support.scripted import wire_key
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.wire.limits import MAX_LINE


load_tests = run_in(Replies)


@variant('OnMemcached', OnMemcached, most=90)
@on_each_stream
class StalledReplyTest(OffsetCase):
    """Fault 1: a reply stalls at any byte, the rest comes late."""

    level = 2

    def test_the_rest_comes_after_the_operation(self):
        self.stall_all(self.proxy.release, then='stall')

    def test_the_rest_comes_during_the_next_operation(self):
        # Long enough for a thread that is not scheduled meanwhile.
        self.stall_all(lambda: None, pause=self.timeout * 4)

    def stall_all(self, release, **fault):
        for operation in self.operations:
            faults = [Fault(after=after, **fault)
                      for after in self.offsets(self.sizes(operation)[1])]
            # As many at once as take no longer than one.
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
        # On a busy machine, the request may never have been sent.
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
    """Fault 2: a late reply to a get, while the key is set again."""

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
                # After failures of fresh connections, one thread tries first.
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
        # No two of them have the same reply.
        return [
            (lambda: client.set('new', 'value'), client.buildKey('new')),
            (lambda: client.query(0, raw=True), self.value(0)),
            (lambda: client.query('nothing', default=0), 0),
            (lambda: client.invalidate(1), True),
            (lambda: client.getStatistics()[0][1]['pointer_size'], '64'),
        ]

    def test_each_pair_of_operations(self):
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
            # After a failure, one at a time connects until one succeeds.
            self.assertEqual(client.query(0, raw=True), self.value(0))

        barrier = threading.Barrier(len(pairs), no_more_time)
        self.proxy.once(*[Fault(pause=self.timeout * 2)] * len(pairs))
        for result, expected in at_once(one_then_the_other, pairs):
            self.assertEqual(result, expected)


@variant('OnMemcached', OnMemcached, most=90, reads=READS)
@variant('PlainStream', PlainStream, most=24)
@variant('KeptLock', KeptLock, most=24)
class CutReplyTest(OffsetCase):
    """Fault 4: FIN or RST at any byte, in both directions."""

    most = 8
    reads = 1

    def test_reply(self):
        for operation in self.operations:
            self.cut(operation, 'reply', self.sizes(operation)[1])

    def test_request(self):
        for operation in self.operations:
            # After its last byte, the whole request has passed.
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
        # A cut on a used connection is no failure yet: a harmless request is
        # repeated on a fresh one.
        self.proxy.once(fault, fault)
        self.timed(operation, self, client, fault.after)
        self.proxy.clear()
        if operation is OffsetCase.flush:
            self.settle(client)
        self.assertRight(client, self.reads)

    def test_right_behind_the_reply(self):
        # This reply is good, and the next read finds the end.
        client = self.client()
        for then in 'fin', 'rst':
            self.proxy.once(Fault(len(hit(bytes(32))) + 32, then))
            self.assertIn(
                client.query(0, raw=True),
                # An RST discards what has not been read.
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
        # More than a connection's buffers can hold, to a slow reader.
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
    """Fault 6: a byte now and then does not extend the operation's time."""

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

    def test_an_endless_reply(self):
        # There is always something to read, so no wait ever times out.
        lines = b'STAT name value\r\n' * 10_000
        server = self.enterContext(
            ScriptedServer(default=[(lines, 0)] * 100))
        client = self.client(server.address)
        self.assertInTime(lambda: self.assertEqual(
            list(self.timed(client.getStatistics)[0][1]), ['error']))


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
                # STORED is a good reply to a set. Without the end of a line it
                # would wait.
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
        # After a request that it did not understand, memcached takes the data
        # block for another request, and answers that, too.
        self.check(
            lambda client: client.set('key', 1), b'ERROR\r\nERROR\r\n',
            opened=2)

    def test_server_error_twice(self):
        # The first reply keeps the connection, the second one ends it.
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

    def test_malformed_flags(self):
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
        # With the wrong length, only the end of the data is out of place.
        self.check_read(
            lambda request: b'VALUE %b 0 3\r\nhelloEND\r\n' % (
                wire_key(request)), opened=2)

    def test_a_value_of_two_replies(self):
        # Only what follows the value shows that it is not this short.
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
        # The test's server, in this process, has a buffer of 64 kB, too.
        self.assertLess(peak - before, (1 << 20) + (1 << 17))
        self.assertRight(client)


@on_each_stream
class EndlessLineTest(ScriptedCase):
    """Fault 17: a line without an end."""

    timeout = 1

    def test_8_kB_are_enough(self):
        # No more comes. Waiting for more would take until the time-out.
        operations = (
            lambda client: client.query(0),
            lambda client: client.set('key', 1),
            lambda client: client.invalidate('key'),
            lambda client: client.getStatistics()[0][1].get('pid'),
        )
        for operation in operations:
            for start in (b'', b'VALUE ', b'STAT ', b'SERVER_ERROR ',
                          b'STAT '.ljust(MAX_LINE, b'x') * 4):
                with self.subTest(start[:20], size=len(start)):
                    self.check(
                        operation, start.ljust(8192, b'x'), opened=2)
                    self.assertLess(self.spent[-1], self.timeout / 2)

    def test_the_end_comes_late(self):
        # It would be read as the beginning of the next reply.
        for size in MAX_LINE, 8192:
            with self.subTest(size=size):
                self.check_read(
                    b'SERVER_ERROR '.ljust(size, b'x'), opened=2)

    def test_a_flood(self):
        self.check_read(bytes(20 << 20), opened=2)
        self.assertLess(self.spent[-1], self.timeout / 2)


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
        """The values found are those complete within that many bytes."""
        self.assertLessEqual(found.items(), self.whole.items())
        self.assertEqual(len(found), min(after // self.length, self.number))

    def test_cut(self):
        # The client waits only for bytes that do come, or for the end.
        client = self.client(timeout=PATIENCE)
        for then in 'fin', 'rst':
            for after in range(0, self.size, self.step):
                with self.subTest(then=then, after=after):
                    self.proxy.once(Fault(after, then))
                    found = self.read(client)
                    if then == 'fin':
                        self.assertWhole(found, after)
                    else:
                        # An RST discards what has not been read.
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
        # No operation gets the late part.
        for client in clients:
            self.assertRight(client, self.number)

    def test_other_servers_are_not_affected(self):
        other = self.start_server()
        client = self.client(timeout=PATIENCE)
        client.servers = [self.proxy.address, other.address]
        mapping = {key: self.value(key) for key in range(50)}
        self.assertEqual(client.setMany(mapping, raw=True), [])
        ring = client._state.store.cluster.router.ring
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
        [server] = client._state.store.servers
        self.assertEqual(server.undelivered.keys, {})
