# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The cluster: missed changes, the choice of a server, and limits of time.

First the backlog and the cluster, on servers that are only a list of answers.
Then the whole client, on servers in this process.
"""

import collections
import contextlib
import functools
import io
import threading
import unittest
from time import monotonic
from types import SimpleNamespace
from unittest import mock

import zope.event

from p01.memcache.cluster import fanout
from p01.memcache.cluster.cluster import Cluster
from p01.memcache.cluster.ring import Ketama
from p01.memcache.cluster.ring import RoundRobin
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import InvalidationsPending
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.event import ServerUpEvent
from p01.memcache.health import undelivered
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.tests.support.waits import until
from p01.memcache.threads.pool import Pool
from p01.memcache.transport.address import parse
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.batch import MOST_BYTES
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll
from p01.memcache.wire.command import GetMany
from p01.memcache.wire.command import Set


REFUSED = b'SERVER_ERROR no\r\n'


class Interrupted(BaseException):
    """An exception that no ``except Exception`` catches."""


def right(data):
    """Return the right reply to requests; every get is a miss."""
    replies = {b'flush_all': b'OK\r\n', b'delete': b'DELETED\r\n',
               b'set': b'STORED\r\n', b'get': b'END\r\n'}
    # The values are empty lines, which get no reply.
    return b''.join(
        replies[line.split()[0]] for line in data.splitlines() if line)


def deletes(*keys):
    return b''.join(Delete(key).encode() for key in keys)


class Health:
    """The health of a server that is up, unless the test changes it."""

    failures = absence = pause = 0
    is_down = False
    settled = True

    def is_settled(self, deadline):
        return self.settled

    def down(self, seconds):
        self.failures = 3
        self.is_down = True
        self.absence = self.pause = seconds


class Server:
    """Gives the answers to its first requests, and then right ones.

    An answer is bytes, an exception, or a function that returns one of them
    for a request. Servers that share a ``log`` write their requests into it.
    """

    batch = MOST_BYTES

    def __init__(self, *answers, address='a:1', flush=True, log=None):
        self.address = self.name = address
        self.answers = collections.deque(answers)
        self.health = Health()
        self.undelivered = Undelivered(address, flush)
        self.requests = []
        self.log = [] if log is None else log

    def run(self, command, deadline):
        data = command.encode()
        self.requests.append(data)
        self.log.append((self.address, data))
        answer = self.answers.popleft() if self.answers else right(data)
        if callable(answer):
            answer = answer(data)
        if isinstance(answer, BaseException):
            raise answer
        replies = io.BytesIO(answer)
        try:
            return command.read(replies)
        finally:
            assert not replies.read(), 'there is more to read'

    run_uncommon = run

    def converse(self, commands, step, deadline, since):
        replies, failure = [], None
        try:
            for command in commands:
                replies.append(self.run(command, deadline))
        except MemcacheError as error:
            failure = SimpleNamespace(error=error)
        return replies, failure, None
        yield  # never reached: the answers are there at once

    def judge(self, failure):
        pass

    def answered(self):
        pass

    def close(self):
        pass


class Clock:
    """`monotonic` of a module, which a test can advance."""

    def __init__(self, test, module):
        self.ahead = 0
        test.enterContext(mock.patch.object(
            module, 'monotonic', lambda: monotonic() + self.ahead))


class ThreadedCase(unittest.TestCase):

    def in_thread(self, function, *args):
        """Start a call in a thread; return a function that waits for it."""
        results = []

        def work():
            try:
                results.append((function(*args), None))
            except Exception as error:
                results.append((None, error))

        def result():
            thread.join(PATIENCE)
            [(value, error)] = results
            if error:
                raise error
            return value

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.addCleanup(thread.join, PATIENCE)
        return result


class Held:
    """An answer that comes only once it is released."""

    def __init__(self, test, answer=right):
        self.answer = answer
        self.asked = threading.Event()
        self.release = threading.Event()
        test.addCleanup(self.release.set)

    def __call__(self, data):
        self.asked.set()
        self.release.wait(2 * PATIENCE)  # longer than any thread waits for it
        return self.answer(data) if callable(self.answer) else self.answer


class BacklogCase(ThreadedCase):

    def setUp(self):
        self.server = Server()
        self.undelivered = self.server.undelivered

    def answer(self, *answers):
        self.server.answers.extend(answers)

    def owe(self, *keys):
        for key in keys:
            self.undelivered.add(key)

    def deliver(self, key=b'other'):
        self.undelivered.deliver(self.server, key, soon())

    def hold(self, *key):
        """Owe a key, and begin to deliver it in a thread.

        Returns the answer that is held, and a function for the result.
        """
        held = Held(self)
        self.owe(b'a')
        self.answer(held)
        first = self.in_thread(self.deliver, *key)
        held.asked.wait(PATIENCE)
        return held, first

    def assertOwed(self, *keys):
        self.assertEqual(sorted(self.undelivered.keys), sorted(keys))

    def assertSent(self, *requests):
        """These requests were made since the last call."""
        self.assertEqual(self.server.requests, list(requests))
        self.server.requests.clear()


class TestBacklog(BacklogCase):

    def test_a_thread_that_stops_within_a_change_blocks_no_other(self):
        with self.undelivered._changing.by(0):
            start = monotonic()
            self.undelivered.add(b'a')
            self.assertTrue(self.undelivered.owes(b'a'))
            self.undelivered.deliver(self.server, b'a', soon())
            self.assertFalse(self.undelivered.owes(b'a'))
            self.assertLess(monotonic() - start, 1)


    def test_empty(self):
        self.assertOwed()
        self.deliver()
        self.assertSent()

    def test_all_in_one_request(self):
        self.owe(b'a', b'b', b'c')
        self.assertOwed(b'a', b'b', b'c')
        self.deliver()
        self.assertSent(deletes(b'a', b'b', b'c'))
        self.assertOwed()
        self.deliver()
        self.assertSent()

    def test_a_key_that_the_server_does_not_have(self):
        self.owe(b'a')
        self.answer(b'NOT_FOUND\r\n')
        self.deliver(b'a')
        self.assertOwed()

    def test_the_requested_key_comes_first(self):
        self.owe(b'a', b'b', b'c')
        self.deliver(b'b')
        self.assertSent(deletes(b'b'), deletes(b'a', b'c'))

    def test_a_key_is_owed_once(self):
        self.owe(b'a', b'a')
        self.deliver()
        self.assertSent(deletes(b'a'))

    def test_batches(self):
        keys = [b'key:%d' % number for number in range(1201)]
        self.owe(*keys)
        self.deliver(keys[-1])
        first, most = undelivered.FIRST_BATCH, undelivered.BATCH
        sizes = [request.count(b'delete') for request in self.server.requests]
        self.assertEqual(sizes[:3], [1, first, 2 * first])
        self.assertEqual(max(sizes), most)
        self.assertEqual(
            b''.join(self.server.requests), deletes(keys[-1], *keys[:-1]))
        self.assertOwed()

    def test_a_delivery_to_a_slow_server_stops_in_time(self):
        # Half of the time is left for the caller's own request.
        clock = Clock(self, undelivered)

        def slow(data):
            clock.ahead += PATIENCE / 3
            return right(data)

        keys = [b'key:%d' % number for number in range(100)]
        self.owe(*keys)
        self.answer(slow, slow)
        self.deliver()
        self.assertSent(deletes(*keys[:16]), deletes(*keys[16:48]))
        self.assertOwed(*keys[48:])

    def test_keys_of_many_threads(self):
        keys = [[b'%d:%d' % (thread, number) for number in range(300)]
                for thread in range(4)]
        for result in [self.in_thread(self.owe, *some) for some in keys]:
            result()
        self.assertOwed(*sum(keys, []))

    # failures

    def test_a_failure_in_the_middle(self):
        self.enterContext(mock.patch.multiple(
            undelivered, FIRST_BATCH=2, BATCH=2))
        self.owe(*b'a b c d e'.split())
        self.answer(right, ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.deliver()
        self.assertSent(deletes(b'a', b'b'), deletes(b'c', b'd'))
        self.assertOwed(b'c', b'd', b'e')
        self.deliver()
        self.assertSent(deletes(b'c', b'd'), deletes(b'e'))
        self.assertOwed()

    def test_too_few_replies(self):
        self.owe(b'a', b'b')
        self.answer(b'DELETED\r\n')
        with self.assertRaises(Exception) as caught:
            self.deliver()
        self.assertOwed(b'a', b'b')
        self.assertIn('within a line', str(caught.exception))

    def test_the_requested_key_fails(self):
        self.owe(b'a', b'b')
        self.answer(ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.deliver(b'b')
        self.assertSent(deletes(b'b'))
        self.assertOwed(b'a', b'b')

    def test_interrupted(self):
        self.owe(b'a')
        self.answer(Interrupted(), Interrupted())
        for _ in range(2):
            with self.assertRaises(Interrupted):
                self.deliver(b'a')
        self.assertOwed(b'a')
        # The next thread gets the turn.
        self.in_thread(self.deliver, b'a')()
        self.assertOwed()

    def test_a_refused_delete_is_still_owed(self):
        self.owe(b'a', b'b', b'c')
        self.answer(b'DELETED\r\n' + REFUSED + b'NOT_FOUND\r\n')
        self.deliver()
        self.assertOwed(b'b')

    def test_a_refused_delete_blocks_only_its_key(self):
        clock = Clock(self, undelivered)
        self.owe(b'a')
        self.answer(REFUSED, REFUSED, REFUSED)
        for sent in [deletes(b'a')], []:
            with self.assertRaises(ServerError):
                self.deliver(b'a')
            self.assertSent(deletes(b'a'))
            self.deliver()
            self.assertSent(*sent)
        # Later keys wait for the end of its pause, or for a request.
        self.owe(b'b', b'c')
        self.deliver()
        self.assertSent()
        self.deliver(b'b')
        self.assertSent(deletes(b'b'))
        self.assertOwed(b'a', b'c')
        clock.ahead += undelivered._PAUSE
        self.deliver()
        self.assertSent(deletes(b'a', b'c'))
        self.assertOwed()

    # concurrent threads

    def test_keys_that_are_added_meanwhile(self):
        def add(data):
            self.owe(b'a', b'd')
            return right(data)

        self.owe(b'a', b'b')
        self.answer(add)
        self.deliver()
        self.assertSent(deletes(b'a', b'b'))
        self.assertOwed(b'a', b'd')

    def test_the_key_is_added_again_meanwhile(self):
        # The value before was removed, a later one was not.
        def add(data):
            self.owe(b'a')
            return right(data)

        self.owe(b'a')
        self.answer(add, REFUSED)
        with self.assertRaises(ServerError):
            self.deliver(b'a')
        self.assertOwed(b'a')
        self.assertSent(deletes(b'a'), deletes(b'a'))

    def test_others_go_on_meanwhile(self):
        held, first = self.hold()
        start = monotonic()
        self.deliver(b'b')
        self.assertLess(monotonic() - start, PATIENCE / 2)
        self.assertSent(deletes(b'a'))
        held.release.set()
        first()
        self.assertOwed()

    def waiting(self):
        return len(self.undelivered._turn._waiting)

    def test_a_thread_that_needs_the_key_waits(self):
        held, first = self.hold()
        others = [self.in_thread(self.deliver, b'a') for _ in range(2)]
        until(lambda: self.waiting() == 2)
        held.release.set()
        for result in (first, *others):
            result()
        # One delivery was enough for all of them.
        self.assertSent(deletes(b'a'))
        self.assertOwed()

    def test_a_thread_delivers_itself_after_anothers_failure(self):
        held = Held(self, ReceiveTimeout('late'))
        self.owe(b'a')
        self.answer(held)
        first = self.in_thread(self.deliver)
        held.asked.wait(PATIENCE)
        other = self.in_thread(self.deliver, b'a')
        until(self.waiting)
        held.release.set()
        other()
        self.assertSent(deletes(b'a'), deletes(b'a'))
        with self.assertRaises(ReceiveTimeout):
            first()

    def test_a_wait_for_a_delivery_ends(self):
        held, first = self.hold()
        with self.assertRaisesRegex(
                InvalidationsPending, 'is still receiving invalidations'):
            self.undelivered.deliver(self.server, b'a', monotonic() + 0.02)
        self.assertEqual(self.waiting(), 0)
        held.release.set()
        first()

    def test_no_thread_waits_for_a_server_that_is_down(self):
        held, first = self.hold(b'a')  # the probe
        self.server.health.down(60)
        start = monotonic()
        with self.assertRaises(ServerDown):
            self.deliver(b'a')
        self.assertLess(monotonic() - start, PATIENCE / 2)
        held.release.set()
        first()

    def test_after_fork(self):
        # At the fork, another thread may be anywhere in this code.
        held, first = self.hold()
        locked, done = threading.Event(), threading.Event()
        self.addCleanup(done.set)

        def lock():
            with self.undelivered._changing.by(0):
                locked.set()
                done.wait(2 * PATIENCE)

        other = self.in_thread(lock)
        locked.wait(PATIENCE)
        self.undelivered.after_fork()
        self.in_thread(self.owe, b'b')()
        self.in_thread(self.deliver, b'a')()
        self.assertOwed()
        for event, result in ((held.release, first), (done, other)):
            event.set()
            result()

    def test_a_server_without_delete(self):
        self.owe(b'a')
        self.answer(*[b'CLIENT_ERROR no\r\n'] * 2)
        self.deliver()


class BoundCase(BacklogCase):

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(undelivered, 'MOST', 4))

    def owe_too_much(self):
        with self.assertLogs('p01.memcache', 'WARNING') as log:
            self.owe(b'0', b'1', b'2', b'3', b'4')
        [record] = log.records
        return record.getMessage()


class TestFlush(BoundCase):

    def test_up_to_the_bound(self):
        with self.assertNoLogs('p01.memcache'):
            self.owe(*b'a b c d d a'.split())
        self.assertOwed(*b'a b c d'.split())

    def test_above_the_bound(self):
        self.assertRegex(
            self.owe_too_much(), 'a:1: more than 4 .* it will be flushed')
        for key in (b'0', b'other'):
            self.assertTrue(self.undelivered.owes(key))
        self.deliver()
        self.assertSent(b'flush_all\r\n')
        self.assertOwed()

    def test_all(self):
        self.owe(b'a')
        self.undelivered.add_all()
        self.deliver()
        self.assertSent(b'flush_all\r\n')
        self.assertOwed()

    def test_a_flush_includes_earlier_keys(self):
        self.undelivered.add_all()
        self.owe(b'a')
        self.deliver(b'a')
        self.assertSent(b'flush_all\r\n')
        self.assertOwed()

    def test_keys_that_are_added_meanwhile(self):
        def add(data):
            self.owe(b'a')
            return right(data)

        self.undelivered.add_all()
        self.answer(add)
        self.deliver()
        self.assertSent(b'flush_all\r\n', deletes(b'a'))
        self.assertOwed()

    def test_above_the_bound_again_meanwhile(self):
        def add(data):
            with self.assertNoLogs('p01.memcache'):  # as it will be anyway
                self.owe(b'0', b'1', b'2', b'3', b'4')
            return right(data)

        self.undelivered.add_all()
        self.answer(add)
        with self.assertRaises(ServerError):
            self.deliver()
        self.assertSent(b'flush_all\r\n', deletes(b'4'))
        self.deliver()
        self.assertSent(b'flush_all\r\n')
        self.assertOwed()

    def test_every_key_waits_for_the_flush(self):
        self.undelivered.add_all()
        self.answer(ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.deliver()
        self.assertTrue(self.undelivered.keys)
        self.deliver()
        self.assertSent(b'flush_all\r\n', b'flush_all\r\n')

    def test_a_refused_flush(self):
        for reply in (REFUSED, b'CLIENT_ERROR no\r\n', b'ERROR\r\n'):
            with self.subTest(reply):
                self.undelivered.add_all()
                self.answer(reply)
                with self.assertLogs('p01.memcache', 'WARNING') as log:
                    self.deliver()
                self.assertRegex(
                    log.output[0], 'a:1 cannot be flushed, .*: '
                    + reply.decode().strip())
                self.assertEqual(len(log.output), 1)
                self.assertOwed()
                self.deliver()
                self.assertSent(b'flush_all\r\n')

    def test_a_refused_flush_and_later_keys(self):
        self.undelivered.add_all()
        self.owe(b'a')
        self.answer(REFUSED)
        with self.assertLogs('p01.memcache', 'WARNING'):
            self.deliver(b'a')
        self.assertSent(b'flush_all\r\n', deletes(b'a'))
        self.assertOwed()


class TestBacklogOfProxies(BoundCase):
    """The backlog of proxies, which cannot be flushed."""

    def setUp(self):
        super().setUp()
        self.server = Server(flush=False)
        self.undelivered = self.server.undelivered

    def test_above_the_bound(self):
        self.assertRegex(
            self.owe_too_much(), 'more than 4 .* old values may be seen')
        self.assertOwed(b'2', b'3', b'4')
        self.deliver()
        self.assertSent(deletes(b'2', b'3', b'4'))

    def test_all(self):
        self.owe(b'a')
        self.undelivered.add_all()
        self.deliver()
        self.assertSent(deletes(b'a'))

    def test_the_oldest_keys_are_dropped(self):
        with mock.patch.object(undelivered, 'MOST', 4), self.assertLogs():
            self.owe(*b'a b c d a e'.split())
        self.assertIn(b'a', self.undelivered.keys)


class Ring:
    """A ring on which all keys belong to the first server, then the second."""

    alike = False

    def __init__(self, servers):
        self._size = len(servers)

    def find(self, key):
        return 0

    def after(self, key, place):
        return range(place + 1, self._size)


class ClusterCase(ThreadedCase):

    ring = Ring
    failover = False

    def setUp(self):
        self.log = []
        self.servers = [Server(address=f'{name}:1', log=self.log)
                        for name in 'abcd']
        self.a, self.b, self.c, self.d = self.servers
        self.cluster = Cluster(
            self.servers, self.ring(self.servers), self.failover)

    def get(self, key=b'k'):
        """Return which server was asked."""
        server = self.cluster.server(key, soon())
        server.run(GetMany([key], {}), soon())
        return server

    def set(self, expires=0, key=b'k'):
        """Return the `expires` that was sent, and to which server."""
        self.cluster.run(Set(key, b'', 0, expires), soon())
        address, data = self.log[-1]
        self.assertTrue(data.startswith(b'set '))
        return int(data.split()[3]), address

    def invalidate(self, key=b'k'):
        return self.cluster.run(Delete(key), soon())

    def owing(self):
        return ''.join(server.address[0] for server in self.servers
                       if server.undelivered.keys)

    def assertLog(self, *lines):
        """These requests were made since the last call."""
        self.assertEqual(self.log, [
            (f'{address}:1', data) for address, data in lines])
        self.log.clear()


class TestCluster(ClusterCase):

    def test_the_keys_server_is_asked(self):
        self.get()
        self.set(7)
        self.assertTrue(self.invalidate())
        self.assertLog(('a', b'get k\r\n'), ('a', b'set k 0 7 0\r\n\r\n'),
                       ('a', b'delete k\r\n'))
        self.assertEqual(self.owing(), '')

    def test_one_server(self):
        # A single server needs no ring.
        self.cluster = Cluster([self.b], None, True)
        self.b.health.down(60)
        self.set()
        self.get()
        self.assertLog(('b', b'set k 0 0 0\r\n\r\n'), ('b', b'get k\r\n'))

    def test_what_is_owed_is_delivered_first(self):
        for ask in (self.get, self.set, self.invalidate):
            with self.subTest(ask.__name__):
                self.a.undelivered.add(b'k')
                ask()
                self.assertEqual(self.log[0], ('a:1', b'delete k\r\n'))
                self.assertEqual(len(self.log), 2)
                self.log.clear()
                self.assertEqual(self.owing(), '')

    def test_a_failed_delivery_ends_the_request(self):
        for ask in (self.get, self.set, self.invalidate):
            for answer, error in ((ReceiveTimeout('late'), ReceiveTimeout),
                                  (REFUSED, ServerError)):
                with self.subTest(ask.__name__, answer=answer):
                    self.a.undelivered.add(b'k')
                    # A server that refused a change is asked once more.
                    times = 1 + (answer is REFUSED and ask != self.get)
                    self.a.answers.extend([answer] * times)
                    with self.assertRaises(error):
                        ask()
                    self.assertLog(*[('a', b'delete k\r\n')] * times)
                    self.assertEqual(self.owing(), 'a')

    def test_what_fails_is_owed(self):
        for change in (self.set, self.invalidate):
            for answer in (ReceiveTimeout('late'), ServerDown('down'),
                           REFUSED, b'garbage\r\n', Interrupted()):
                with self.subTest(change.__name__, answer=answer):
                    self.a.answers.extend([answer, REFUSED])
                    with self.assertRaises((MemcacheError, Interrupted)):
                        change()
                    self.assertEqual(list(self.a.undelivered.keys), [b'k'])
                    self.assertEqual(self.owing(), 'a')
                    self.a.undelivered.keys.clear()
                    self.a.answers.clear()

    def test_what_is_refused_is_removed_at_once(self):
        # Until then other processes see the old value.
        for change in (self.set, self.invalidate):
            with self.subTest(change.__name__):
                self.a.answers.append(REFUSED)
                with self.assertRaises(ServerError):
                    change()
                self.assertEqual(len(self.log), 2)
                self.assertEqual(self.log[1], ('a:1', b'delete k\r\n'))
                self.assertEqual(self.owing(), '')
                self.log.clear()

    def test_a_failed_read_owes_nothing(self):
        self.a.answers.append(ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.get()
        self.assertEqual(self.owing(), '')

    def test_a_wrong_argument_owes_nothing(self):
        with self.assertRaises(ValueError):
            self.set(key=b'a b')
        self.assertEqual(self.owing(), '')
        self.assertLog()

    def test_keys_of_a_server_that_is_down_do_not_move(self):
        self.a.health.down(60)
        self.a.answers.extend([ServerDown('down')] * 3)
        for ask in (self.get, self.set, self.invalidate):
            with self.assertRaises(ServerDown):
                ask()
        self.assertEqual({address for address, _ in self.log}, {'a:1'})

    def test_other_servers_are_not_affected(self):
        addresses = [parse(server.address) for server in self.servers]
        self.cluster = Cluster(self.servers, Ketama(addresses), False)
        keys = [b'key:%d' % number for number in range(50)]
        before = [self.get(key) for key in keys]
        self.assertEqual(len(set(before)), 4)
        self.b.health.down(60)
        self.assertEqual([self.get(key) for key in keys], before)

    def test_close(self):
        with mock.patch.object(Server, 'close', autospec=True) as close:
            self.cluster.close()
        self.assertEqual([call.args[0] for call in close.call_args_list],
                         self.servers)


class TestAskAll(ClusterCase):

    def ask(self):
        return self.cluster.ask_all(FlushAll(), soon())

    def test_all_well(self):
        # In the order of the servers.
        self.assertEqual(
            self.ask(), [(server.address, True) for server in self.servers])
        self.assertLog(*[(name, b'flush_all\r\n') for name in 'abcd'])

    def test_errors_are_replies(self):
        self.a.answers.append(REFUSED)
        self.c.answers.append(ReceiveTimeout('late'))
        replies = [reply for _, reply in self.ask()]
        self.assertIsInstance(replies[0], ServerError)
        self.assertIsInstance(replies[2], ReceiveTimeout)
        self.assertEqual(replies[1::2], [True, True])

    def test_an_interrupt_is_no_reply(self):
        self.b.answers.append(Interrupted())
        with self.assertRaises(Interrupted):
            self.ask()


class TestMany(ClusterCase):

    keys = (b'k', b'l', b'm')

    def read(self, *keys):
        return self.cluster.get_many(list(keys or self.keys), soon())

    def change(self, expires=0):
        return self.cluster.run_many(
            [Set(key, b'', 0, expires) for key in self.keys], soon())

    def test_one_request(self):
        self.assertEqual(self.change(7), dict.fromkeys(self.keys, True))
        self.assertLog(('a', b''.join(
            b'set %b 0 7 0\r\n\r\n' % key for key in self.keys)))
        self.assertEqual(self.read(), ({}, []))
        self.assertLog(('a', b'get k l m\r\n'))

    def test_what_is_owed_is_delivered_first(self):
        for ask, request in (self.read, b'get'), (self.change, b'set'):
            self.a.undelivered.add(b'l')
            ask()
            self.assertEqual(self.log[0], ('a:1', b'delete l\r\n'))
            self.assertTrue(self.log[1][1].startswith(request))
            self.assertEqual(len(self.log), 2)
            self.log.clear()

    def test_a_key_whose_delivery_fails_is_not_requested(self):
        self.a.undelivered.add(b'l')
        # In the batch, and on its own.
        self.a.answers.extend([REFUSED] * 2)
        found, [error] = self.read()
        self.assertIsInstance(error, ServerError)
        self.assertLog(*[('a', b'delete l\r\n')] * 2, ('a', b'get k m\r\n'))
        self.assertEqual(list(self.a.undelivered.keys), [b'l'])

    def test_no_request_if_all_deliveries_fail(self):
        # No connection is taken for it, and its health is not judged.
        self.a.undelivered.add(b'l')
        self.a.answers.extend([REFUSED] * 2)
        with mock.patch.object(self.a, 'converse', side_effect=AssertionError):
            self.assertEqual(self.read(b'l')[0], {})

    def test_a_silent_server_gets_one_delivery(self):
        for key in self.keys:
            self.a.undelivered.add(key)
        for ask in self.read, self.change:
            self.a.answers.extend([ReceiveTimeout('late')] * 3)
            ask()
            self.assertLog(('a', b'delete k\r\n'))
            self.a.answers.clear()
        self.assertEqual(sorted(self.a.undelivered.keys), sorted(self.keys))

    def test_what_fails_is_owed(self):
        for answer in (ReceiveTimeout('late'), ServerDown('down'),
                       b'garbage\r\n'):
            self.a.answers.append(answer)
            replies = self.change()
            self.assertEqual(list(replies), list(self.keys))
            for reply in replies.values():
                self.assertIsInstance(reply, MemcacheError)
            self.assertEqual(list(self.a.undelivered.keys), list(self.keys))
            self.assertEqual(self.owing(), 'a')
            self.a.undelivered.keys.clear()

    def test_what_is_refused_is_removed_at_once(self):
        self.a.answers.append(b'STORED\r\n' + REFUSED + b'STORED\r\n')
        replies = self.change()
        self.assertIsInstance(replies.pop(b'l'), ServerError)
        self.assertEqual(replies, {b'k': True, b'm': True})
        self.assertEqual(self.log[1:], [('a:1', b'delete l\r\n')])
        self.assertEqual(self.owing(), '')

    def test_interrupted(self):
        self.a.answers.append(Interrupted())
        with self.assertRaises(Interrupted):
            self.change()
        self.assertEqual(list(self.a.undelivered.keys), list(self.keys))

    def test_a_failed_read_owes_nothing(self):
        self.a.answers.append(ReceiveTimeout('late'))
        found, [error] = self.read()
        self.assertEqual(found, {})
        self.assertIsInstance(error, ReceiveTimeout)
        self.assertEqual(self.owing(), '')

    def test_another_stands_in(self):
        self.cluster = Cluster(self.servers, Ring(self.servers), True)
        self.a.health.down(20)
        self.assertEqual(self.change(), dict.fromkeys(self.keys, True))
        self.assertLog(('b', b''.join(
            b'set %b 0 20 0\r\n\r\n' % key for key in self.keys)))
        self.assertEqual(list(self.a.undelivered.keys), list(self.keys))
        self.assertEqual(self.owing(), 'a')
        self.read()
        self.assertLog(('b', b'get k l m\r\n'))

    def test_an_invalidation_is_not_acknowledged(self):
        self.cluster = Cluster(self.servers, Ring(self.servers), True)
        self.a.health.down(20)
        replies = self.cluster.run_many([Delete(b'k')], soon())
        self.assertIsInstance(replies[b'k'], ServerDown)
        # But it is done where another process may have stored it.
        self.assertLog(('b', b'delete k\r\n'))
        self.assertEqual(self.owing(), 'a')


class TestFailover(ClusterCase):

    failover = True

    def test_the_next_one(self):
        self.a.health.down(60)
        self.assertEqual(self.get(), self.b)
        self.b.health.down(60)
        self.assertEqual(self.get(), self.c)
        self.a.health = Health()
        self.assertEqual(self.get(), self.a)

    def test_the_next_one_on_the_ring(self):
        addresses = [parse(server.address) for server in self.servers]
        ring = Ketama(addresses)
        self.cluster = Cluster(self.servers, ring, True)
        keys = [b'key:%d' % number for number in range(50)]
        before = [self.get(key) for key in keys]
        self.b.health.down(60)
        for key, server in zip(keys, before, strict=True):
            expected = server
            if server is self.b:
                expected = self.servers[next(ring.after(key, 1))]
            self.assertIs(self.get(key), expected)

    def test_failing_is_not_down(self):
        self.a.health.failures = 2
        self.assertEqual(self.get(), self.a)
        self.assertEqual(self.set(), (0, 'a:1'))
        self.assertTrue(self.invalidate())

    def test_a_server_due_for_a_probe_is_asked(self):
        self.a.health.down(0)
        self.assertEqual(self.get(), self.a)
        self.assertEqual(self.set(), (0, 'a:1'))

    def test_all_are_down(self):
        for server in self.servers:
            server.health.down(60)
        self.assertEqual(self.get(), self.a)
        self.a.answers.append(ServerDown('down'))
        with self.assertRaises(ServerDown):
            self.set()
        self.assertEqual(self.owing(), 'abcd')

    def test_lifetimes_end_with_the_absence(self):
        self.a.health.down(20)
        absolute = 2_000_000_000
        for expires, expected in (
                (0, 20), (1, 1), (19, 19), (20, 20), (21, 20), (2592000, 20),
                (absolute, 20)):
            with self.subTest(expires):
                self.assertEqual(self.set(expires), (expected, 'b:1'))

    def test_lifetimes_are_whole_seconds_and_never_0(self):
        for absence, expected in ((0.01, 1), (1, 1), (1.2, 2), (59.9, 60)):
            with self.subTest(absence):
                self.a.health.down(absence)
                self.assertEqual(self.set(0), (expected, 'b:1'))
                self.assertEqual(self.set(100), (expected, 'b:1'))

    def test_the_server_returns_during_the_choice(self):
        # A lifetime of 0 would be for ever.
        class Returning(Health):
            failures = 3
            absence = property(lambda health: absences.pop())

        absences = [0, 20]
        self.a.health = Returning()
        self.assertEqual(self.set(0), (1, 'b:1'))

    def test_a_lifetime_ends_with_the_shortest_absence(self):
        self.a.health.down(20)
        self.b.health.down(10)
        self.assertEqual(self.set(0), (10, 'c:1'))

    def test_the_absent_ones_owe_the_key(self):
        self.a.health.down(20)
        self.b.health.down(10)
        self.set()
        self.assertEqual(self.owing(), 'ab')
        self.assertEqual(list(self.a.undelivered.keys), [b'k'])
        self.log.clear()
        self.b.health = Health()
        self.get()
        self.assertLog(('b', b'delete k\r\n'), ('b', b'get k\r\n'))
        self.a.health = Health()
        self.get()
        self.assertLog(('a', b'delete k\r\n'), ('a', b'get k\r\n'))

    def test_a_read_owes_nothing(self):
        self.a.health.down(20)
        self.get()
        self.assertEqual(self.owing(), '')

    def test_the_key_is_owed_before_the_stand_in_has_it(self):
        # Otherwise a reader might find the old value on its own server.
        self.a.health.down(20)

        def look(data):
            self.assertEqual(self.owing(), 'a')
            return right(data)

        self.b.answers.append(look)
        self.set()

    def test_a_failed_change_is_owed_by_all(self):
        self.a.health.down(20)
        for change in (self.set, self.invalidate):
            self.b.answers.append(ReceiveTimeout('late'))
            with self.assertRaises(ReceiveTimeout):
                change()
            # Each of them may have been the stand-in a moment ago.
            self.assertEqual(self.owing(), 'abcd')
            for server in self.cluster.servers:
                server.undelivered.keys.clear()

    def test_an_invalidation_is_not_acknowledged(self):
        self.a.health.down(20)
        with self.assertRaisesRegex(ServerDown, 'a:1 is down'):
            self.invalidate()
        # But it is done where another process may have stored it.
        self.assertLog(('b', b'delete k\r\n'))
        self.assertEqual(self.owing(), 'a')

    def test_no_server_stands_in_right_after_the_return(self):
        self.a.health.down(20)
        self.a.health.settled = False
        self.assertEqual(self.get(), self.a)
        self.a.answers.extend([ServerDown('down')] * 2)
        for change in (self.set, self.invalidate):
            with self.assertRaises(ServerDown):
                change()
        self.assertEqual({address for address, _ in self.log}, {'a:1'})

    def test_none_stands_in_while_the_first_stand_in_is_unsettled(self):
        self.a.health.down(20)
        self.b.health.down(20)
        self.b.health.settled = False
        self.assertEqual(self.get(), self.a)

    def test_a_returned_server_may_stand_in(self):
        self.a.health.down(20)
        self.b.health.settled = False
        self.assertEqual(self.get(), self.b)

    def test_a_wrong_key(self):
        self.a.health.down(60)
        with self.assertRaises(ValueError):
            self.set(key=b'a b')
        self.assertEqual(self.owing(), '')


class TestProxies(ClusterCase):
    """Proxies: each of them is as good as another."""

    ring = RoundRobin

    def setUp(self):
        super().setUp()
        shared = Undelivered('proxies', flush=False)
        for server in self.servers:
            server.undelivered = shared

    def asked(self, times):
        return ''.join(self.get().address[0] for _ in range(times))

    def test_proxies_take_turns(self):
        self.assertEqual(self.asked(6), 'abcdab')

    def test_one_that_is_down_is_left_out(self):
        self.b.health.down(60)
        self.assertEqual(self.asked(8), 'accdaccd')

    def test_one_that_refuses_connections_is_left_out(self):
        self.b.health.failures = 1
        self.b.health.pause = 3
        self.assertEqual(self.asked(4), 'accd')

    def test_one_that_fails_is_asked(self):
        self.b.health.failures = 1
        self.assertEqual(self.asked(4), 'abcd')

    def test_a_returned_proxy_is_used_at_once(self):
        for server in (self.a, self.b):
            server.health.down(60)
            server.health.settled = False
        self.assertEqual(self.asked(4), 'cccd')

    def test_all_are_down(self):
        for server, seconds in zip(
                self.servers, (60, 60, 1, 60), strict=True):
            server.health.down(seconds)
        # The one that may be asked soonest.
        self.assertEqual(self.asked(4), 'cccc')

    def test_lifetimes_are_not_limited(self):
        self.a.health.down(20)
        for expires in (0, 100):
            for _ in range(4):
                self.assertEqual(self.set(expires)[0], expires)
        self.assertEqual(self.owing(), '')

    def test_an_invalidation_is_acknowledged(self):
        self.a.health.down(20)
        for _ in range(4):
            self.assertTrue(self.invalidate())

    def test_the_next_proxy_delivers_what_one_failed_to_do(self):
        self.a.answers.append(ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.set()
        self.log.clear()
        self.get()
        self.get()
        self.assertLog(('b', b'delete k\r\n'), ('b', b'get k\r\n'),
                       ('c', b'get k\r\n'))


# The whole client


class Store:
    """The answers of a scripted server that acts like a memcached.

    A test can give it other answers.
    """

    def __init__(self):
        self.values = {}

    def __call__(self, request):
        words = request.split()
        command, key = words[0], words[1] if len(words) > 1 else None
        if command == b'set':
            end = request.index(b'\r\n') + 2
            self.values[key] = request[end:-2]
            return b'STORED\r\n'
        if command == b'get':
            return b''.join(
                b'VALUE %b 0 %d\r\n%b\r\n' % (
                    key, len(self.values[key]), self.values[key])
                for key in words[1:] if key in self.values) + b'END\r\n'
        if command == b'delete':
            found = self.values.pop(key, None) is not None
            return b'DELETED\r\n' if found else b'NOT_FOUND\r\n'
        if command == b'flush_all':
            self.values.clear()
            return b'OK\r\n'
        raise AssertionError(request)


def commands(requests):
    return [request.split()[0].decode() for request in requests]


class ClientCase(ThreadedCase):

    def setUp(self):
        keep_quiet(self)

    def client(self, *servers, **settings):
        # By default, no failure changes what the next operation does.
        client = UltraMemcacheClient(
            [server.address for server in servers], **{
                'timeout': PATIENCE, 'retries': 10 ** 6, 'delay': 0,
                'blacktime': 0, **settings})
        self.addCleanup(client.close)
        return client

    def wire(self, key):
        return self.client_.buildKey(key).encode()


class ScriptedCase(ClientCase):

    def setUp(self):
        super().setUp()
        self.store = Store()
        self.server = self.enterContext(ScriptedServer(default=self.store))
        self.client_ = self.client(self.server)

    def fill(self, *keys):
        for key in keys:
            self.assertTrue(self.client_.set(key, f'old {key}'))
        self.server.requests.clear()

    def answer(self, *answers):
        self.server.answers.extend(answers)

    def assertRequests(self, *expected):
        """These requests were sent since the last call."""
        self.assertEqual(commands(self.server.requests), list(expected))
        self.server.requests.clear()


class TestClient(ScriptedCase):

    def test_the_delete_is_next_after_a_failed_set(self):
        for ask, command in (
                (lambda: self.client_.query('a', default=MISSING), 'get'),
                (lambda: self.client_.set('a', 'new'), 'set'),
                (lambda: self.client_.invalidate('a'), 'delete'),
                (lambda: self.client_.query('b'), 'get')):
            self.fill('a', 'b')
            self.answer(None)
            self.assertIsNone(self.client_.set('a', 'new'))
            self.assertRequests('set')
            self.assertNotEqual(ask(), 'old a')
            self.assertIn(self.wire('a'), self.server.requests[0])
            self.assertRequests('delete', command)

    def test_the_delete_is_next_after_a_failed_invalidate(self):
        for answer in (None, b'garbage\r\n', b'STORED\r\n', b'ERROR\r\n'):
            with self.subTest(answer):
                self.fill('a')
                # It is repeated, as the used connection was closed.
                answers = [answer] * (2 if answer is None else 1)
                self.answer(*answers)
                self.assertIsNone(self.client_.invalidate('a'))
                self.assertRequests(*['delete'] * len(answers))
                self.assertEqual(self.client_.query('a', default=MISSING),
                                 MISSING)
                self.assertRequests('delete', 'get')
                self.assertNotIn(self.wire('a'), self.store.values)

    def test_what_is_refused_is_followed_by_the_delete_at_once(self):
        # Until then other processes see the old value.
        for change, command in (
                (lambda: self.client_.set('a', 'new'), 'set'),
                (lambda: self.client_.invalidate('a'), 'delete')):
            self.fill('a')
            self.answer(REFUSED)
            self.assertIsNone(change())
            self.assertRequests(command, 'delete')
            self.assertEqual(
                self.client_.query('a', default=MISSING), MISSING)
            self.assertRequests('get')

    def test_the_change_and_the_delete_are_refused(self):
        for change, command in (
                (lambda: self.client_.set('a', 'new'), 'set'),
                (lambda: self.client_.invalidate('a'), 'delete')):
            with self.subTest(command):
                self.client_ = self.client(self.server)
                self.check_both_are_refused(change, command)

    def check_both_are_refused(self, change, command):
        self.fill('a', 'b')
        self.answer(*[REFUSED] * 4)
        self.assertIsNone(change())
        self.assertRequests(command, 'delete')
        self.assertIsNone(self.client_.query('a'))
        self.assertRequests('delete')
        for requests in ('delete', 'get'), ('get',):
            self.assertEqual(self.client_.query('b'), 'old b')
            self.assertRequests(*requests)
        self.assertIsNone(self.client_.query('a'))
        self.assertRequests('delete', 'get')

    def test_the_flush_is_next_after_a_failed_one(self):
        for key in 'a', 'b':
            self.fill('a', 'b')
            self.answer(None, None)
            with self.assertRaises(NotInvalidated):
                self.client_.invalidateAll()
            # First a used connection was closed, then a fresh one.
            self.assertRequests('flush_all', 'flush_all')
            self.assertEqual(
                self.client_.query(key, default=MISSING), MISSING)
            self.assertRequests('flush_all', 'get')

    def test_a_server_that_refuses_to_be_flushed(self):
        self.fill('a')
        self.answer(*[b'CLIENT_ERROR flush_all not allowed\r\n'] * 2)
        with self.assertRaises(NotInvalidated):
            self.client_.invalidateAll()
        self.assertEqual(self.client_.query('a'), 'old a')
        self.assertRequests('flush_all', 'flush_all', 'get')
        self.assertEqual(self.client_.query('a'), 'old a')
        self.assertRequests('get')

    def test_assigning_an_attribute_keeps_the_backlog(self):
        for name, value in (
                ('retries', 5), ('delay', 1), ('blacktime', 1),
                ('maxPoolSize', 1), ('pooltime', 1), ('maxAge', 1),
                ('connectTimeout', 2),
                ('failover', True),
                ('timeout', 4), ('lifetime', 1), ('distribution', 'modulo')):
            with self.subTest(name):
                self.fill('a')
                self.answer(None)
                self.client_.set('a', 'new')
                setattr(self.client_, name, value)
                self.assertEqual(
                    self.client_.query('a', default=MISSING), MISSING)
                self.assertRequests('set', 'delete', 'get')

    def test_many_long_keys(self):
        # The requests and their replies fit into the sockets' buffers.
        with EmbeddedServer() as server:
            client = self.client(server)
            client.set('a', 'value')
            for number in range(2 * undelivered.BATCH + 1):
                client._state.store.servers[0].undelivered.add(
                    b'%0250d' % number)
            self.assertEqual(client.query('a'), 'value')
            [(_, statistics)] = client.getStatistics()
            self.assertEqual(
                int(statistics['delete_misses']), 2 * undelivered.BATCH + 1)

    def test_the_server_leaves_the_list_and_returns(self):
        self.fill('a')
        self.answer(None)
        self.client_.invalidate('a')
        servers = self.client_.servers
        with EmbeddedServer() as another:
            self.client_.servers = [another.address]
            self.client_.set('a', 'there')
            self.client_.servers = servers
        self.assertEqual(self.client_.query('a', default=MISSING), MISSING)
        # The last one, as the key was changed elsewhere.
        self.assertRequests('delete', 'delete', 'delete', 'get')

    def test_the_address_is_spelled_differently(self):
        self.fill('a')
        self.answer(None)
        self.client_.invalidate('a')
        self.client_.servers = [self.server.address + '/?2']
        self.assertEqual(self.client_.query('a', default=MISSING), MISSING)

    def test_assigning_an_attribute_during_an_operation(self):
        # It fails on the old connections, and the new ones know the backlog.
        self.fill('a')
        self.answer([(b'', PATIENCE)])
        result = self.in_thread(self.client_.set, 'a', 'new')
        self.server.wait(lambda: self.server.requests)
        self.client_.retries = 7
        self.server.cut()
        self.assertIsNone(result())
        self.assertEqual(self.client_.query('a', default=MISSING), MISSING)
        self.assertRequests('set', 'delete', 'get')

    def test_a_proxy_that_cuts_at_flush_all(self):
        store = self.store
        self.server.default = lambda request: (
            None if request.startswith(b'flush_all') else store(request))
        with self.assertRaises(NotInvalidated):
            self.client_.invalidateAll()
        for _ in range(10):
            stored = self.client_.set('a', 'value')
        self.assertTrue(stored)

    def test_an_interrupted_flush_is_repeated(self):
        self.fill('a')
        with (mock.patch('p01.memcache.cluster.cluster.exchange_with',
                         side_effect=Interrupted),
              self.assertRaises(Interrupted)):
            self.client_.invalidateAll()
        self.assertEqual(
            self.client_.query('a', default=MISSING), MISSING)
        self.assertRequests('flush_all', 'get')

    def test_what_is_owed_survives_another_distribution(self):
        for distribution in 'roundrobin', 'ketama', 'modulo':
            self.fill('a')
            self.answer(None)
            self.assertIsNone(self.client_.set('a', 'new'))
            self.client_.distribution = distribution
            self.assertEqual(
                self.client_.query('a', default=MISSING), MISSING)
            self.assertRequests('set', 'delete', 'get')

    def test_two_threads_assign_attributes(self):
        barrier = threading.Barrier(2)

        def change(name, values):
            barrier.wait(PATIENCE)
            for value in values:
                setattr(self.client_, name, value)

        for result in (
                self.in_thread(change, 'retries', range(1, 200)),
                self.in_thread(change, 'maxPoolSize', range(1, 200))):
            result()
        [server] = self.client_._state.store.servers
        self.assertEqual(server.health._retries, self.client_.retries)
        self.assertEqual(server.pool._size, self.client_.maxPoolSize)

    def test_a_proxy_that_returns_owing_a_flush(self):
        store = self.store
        self.server.default = lambda request: (
            None if request.startswith(b'flush_all') else store(request))
        self.client_ = self.client(self.server, retries=1, blacktime=0.05)
        self.server.refuse()
        with self.assertRaises(NotInvalidated):
            self.client_.invalidateAll()
        self.server.accept()
        until(lambda: self.client_.set('a', 'value'))

    def test_a_subscriber_that_reads_the_key(self):
        took = []

        def listen(event):
            if isinstance(event, ServerUpEvent):
                start = monotonic()
                self.client_.query('a')
                took.append(monotonic() - start)

        zope.event.subscribers.append(listen)
        self.addCleanup(zope.event.subscribers.remove, listen)
        self.client_ = self.client(self.server, retries=1, timeout=1)
        self.answer(None)
        self.client_.invalidate('a')
        self.client_.query('a')
        self.assertLess(took[0], 0.5)


STATISTICS = b'STAT name value\r\nEND\r\n'


class TestAllServers(ClientCase):
    """All are asked at the same time, by one thread."""

    level = 2

    def setUp(self):
        super().setUp()
        self.stores = [Store() for _ in range(4)]
        self.servers = [
            self.enterContext(ScriptedServer(default=store))
            for store in self.stores]
        self.client_ = self.client(*self.servers)
        ring = self.client_._state.store.router.ring
        self.keys = [next(
            key for key in range(1000)
            if ring.find(self.wire(key)) == place) for place in range(4)]

    def statistics(self):
        """Get statistics; return for each server whether it answered."""
        replies = self.client_.getStatistics()
        self.assertEqual([address for address, _ in replies],
                         [server.address for server in self.servers])
        return [values == {'name': 'value'} for _, values in replies]

    def assertFailing(self, *places):
        servers = self.client_._state.store.servers
        self.assertEqual(list(places), [
            place for place in range(4) if servers[place].health.doubts])

    def answer(self, *answers):
        """Set each server's next answer."""
        for server, answer in zip(self.servers, answers, strict=True):
            server.answers.append(answer)

    def assertGivenBack(self):
        self.assertEqual(
            {pool['active'] for _, pool in self.client_.getPools()}, {0})

    def test_at_the_same_time(self):
        # No server answers before all of them are asked.
        together = threading.Barrier(4)

        def meet(request):
            together.wait(PATIENCE)
            return STATISTICS

        for _ in range(3):
            self.answer(*[meet] * 4)
            self.assertEqual(self.statistics(), [True] * 4)
        self.assertGivenBack()
        self.assertEqual([server.opened for server in self.servers], [1] * 4)

    def test_without_threads(self):
        with mock.patch.object(threading.Thread, 'start',
                               side_effect=RuntimeError('no more threads')):
            self.answer(*[STATISTICS] * 4)
            self.assertEqual(self.statistics(), [True] * 4)

    def test_in_any_order(self):
        # Each server waits for the one after it.
        for order in self.servers, self.servers[::-1]:
            for server, after in zip(order, [*order[1:], None], strict=True):
                server.answers.append(
                    functools.partial(self.reply_after, after))
            self.assertEqual(self.statistics(), [True] * 4)
            for server in self.servers:
                server.requests.clear()

    def reply_after(self, server, request):
        if server is not None:
            server.wait(lambda: server.requests and not server.answers)
        return STATISTICS

    def check_one_takes_its_time(self, *replies):
        """Whichever server is late, the others' replies are right."""
        late = [(b'', 0.02), (STATISTICS, 0)]
        in_two = [(STATISTICS[:20], 0.02), (STATISTICS[20:], 0)]
        for place in 0, 2:
            with self.subTest(place=place):
                answers = [STATISTICS, late, in_two]
                answers.insert(place, [*replies, (b'', PATIENCE)])
                self.answer(*answers)
                self.client_.timeout = 0.2
                self.assertEqual(
                    self.statistics(), [other != place for other in range(4)])
                self.client_.timeout = PATIENCE
                self.assertGivenBack()
                self.assertFailing(place)
                # No operation gets the late reply.
                self.answer(*[STATISTICS] * 4)
                self.assertEqual(self.statistics(), [True] * 4)

    def test_a_frozen_server(self):
        self.check_one_takes_its_time()

    def test_a_server_that_stops_within_its_reply(self):
        self.check_one_takes_its_time((STATISTICS[:20], 0))

    def test_all_stop_but_one(self):
        for stop in b'', STATISTICS[:20]:
            self.answer(*[[(stop, PATIENCE)]] * 3, STATISTICS)
            self.client_.timeout = 0.2
            start = monotonic()
            self.assertEqual(
                self.statistics(), [False, False, False, True])
            # It takes the time-out once, not for each.
            self.assertLess(monotonic() - start, 0.5)

    def check_one_is_not_accepted(self, ask):
        """`ask` checks which servers have answered."""
        with full_backlog() as hung:
            for place in 0, 3:
                with self.subTest(place=place):
                    servers = [server.address for server in self.servers]
                    servers[place] = hung
                    self.client_ = UltraMemcacheClient(servers, timeout=0.2)
                    self.addCleanup(self.client_.close)
                    ask(place)
                    self.assertFailing(place)

    def test_a_server_that_does_not_accept(self):
        def ask(place):
            for server in self.servers:
                server.default = STATISTICS
            self.assertEqual(
                [len(values) == 1 and 'name' in values
                 for _, values in self.client_.getStatistics()],
                [other != place for other in range(4)])

        self.check_one_is_not_accepted(ask)

    def test_keys_of_a_server_that_does_not_accept(self):
        def ask(place):
            failed = self.client_.setMany(dict.fromkeys(range(40), 'value'))
            found = self.client_.queryMany(range(40))
            self.assertEqual(len(failed) + len(found), 40)
            self.assertTrue(found)
            self.assertTrue(failed)
            ring = self.client_._state.store.router.ring
            for key in failed:
                self.assertEqual(ring.find(self.wire(key)), place)

        self.check_one_is_not_accepted(ask)

    def test_a_slow_delivery(self):
        # The delivery to one server does not hold up the others.
        for ask, right in (
                (lambda: self.client_.queryMany(self.keys),
                 lambda others: dict.fromkeys(others, 'new')),
                (lambda: self.client_.setMany(dict.fromkeys(self.keys, 1)),
                 lambda others: list(set(self.keys) - set(others)))):
            for place in 0, 3:
                with self.subTest(place=place):
                    self.client_ = self.client(*self.servers)
                    self.assertEqual(self.client_.setMany(
                        dict.fromkeys(self.keys, 'new')), [])
                    key = self.keys[place]
                    server = self.client_._state.store.servers[place]
                    server.undelivered.add(self.wire(key))
                    self.servers[place].answers.append([(b'', PATIENCE)])
                    self.client_.timeout = 0.2
                    self.assertEqual(ask(), right(
                        [other for other in self.keys if other != key]))
                    # The server counts as failing, but is not down.
                    self.assertFailing(place)
                    self.assertGivenBack()

    def test_two_threads_and_one_connection_per_server(self):
        # No thread holds the connection that the other one waits for.
        self.client_ = self.client(*self.servers, maxPoolSize=1)
        self.client_.setMany(dict.fromkeys(range(40), 'value'))
        ring = self.client_._state.store.router.ring
        taken = threading.Barrier(2)
        take, first = Pool.take, threading.local()

        def pause(pool, deadline):
            item = take(pool, deadline)
            if not getattr(first, 'taken', False):
                first.taken = True
                # A thread that has to wait does not get here.
                with contextlib.suppress(threading.BrokenBarrierError):
                    taken.wait(0.05)
            return item

        def read(keys):
            return self.client_._state.store.get_many(
                keys, soon())

        def on(*places):
            return [self.wire(self.keys[place]) for place in places]

        self.assertEqual(ring.find(on(2)[0]), 2)
        with mock.patch.object(Pool, 'take', pause):
            start = monotonic()
            results = [self.in_thread(read, on(0, 1, 2, 3)),
                       self.in_thread(read, on(3, 2, 1, 0))]
            for result in results:
                found, errors = result()
                self.assertEqual(errors, [])
            self.assertLess(monotonic() - start, PATIENCE / 2)

    def test_interrupted(self):
        # No operation gets replies that are under way then.
        self.answer(*[[(b'', 0.02), (STATISTICS, 0)]] * 4)
        with (mock.patch.object(fanout, '_ready', side_effect=Interrupted),
              self.assertRaises(Interrupted)):
            self.client_.getStatistics()
        self.assertGivenBack()
        self.answer(*[STATISTICS] * 4)
        self.assertEqual(self.statistics(), [True] * 4)
        for key, store in zip(self.keys, self.stores, strict=True):
            self.assertTrue(self.client_.set(key, 'value'))
            self.assertEqual(list(store.values), [self.wire(key)])

    def test_too_many_replies(self):
        self.answer(STATISTICS * 2, *[STATISTICS] * 3)
        self.assertEqual(self.statistics(), [True] * 4)
        self.answer(*[STATISTICS] * 4)
        self.assertEqual(self.statistics(), [True] * 4)
        self.assertEqual(self.servers[0].opened, 2)


class TestFaultyDelivery(ScriptedCase):
    """Faults during a delivery, while the server still has the old values."""

    level = 2

    keys = 'abcd'

    def setUp(self):
        super().setUp()
        self.fill(*self.keys, 'x', 'y')

    def owe(self):
        [server] = self.client_._state.store.servers
        for key in self.keys:
            server.undelivered.add(self.wire(key))
        self.server.requests.clear()

    def assertNeverOld(self):
        for _ in range(2):
            for key in self.keys:
                self.assertEqual(
                    self.client_.query(key, default=MISSING), MISSING)
            for key in 'x', 'y':
                self.assertEqual(self.client_.query(key), f'old {key}')
        for key in self.keys:
            self.assertTrue(self.client_.set(key, f'new {key}'))
        for key in self.keys:
            self.assertEqual(self.client_.query(key), f'new {key}')
        self.assertNotIn(
            b'old', b''.join(self.store.values[self.wire(key)]
                             for key in self.keys))

    def suffer(self, *answers, timeout=PATIENCE):
        """Let the delivery of all keys fail, or that of the requested one."""
        for first in ('x', *self.keys[:2]):
            with self.subTest(first=first):
                self.owe()
                self.answer(*answers)
                self.client_.timeout = timeout
                found = self.client_.query(first, default=MISSING)
                self.client_.timeout = PATIENCE
                self.assertIn(found, (MISSING, 'old x'))
                self.assertTrue(self.server.wait(
                    lambda: len(self.server.requests) > 0))
                self.server.answers.clear()
                self.assertNeverOld()
                self.server.cut()
                self.fill(*self.keys)

    def test_stall(self):
        self.suffer([(b'', PATIENCE)], timeout=0.02)

    def test_stall_in_a_line(self):
        self.suffer([(b'DELE', PATIENCE)], timeout=0.02)

    def test_stall_in_the_middle(self):
        self.suffer(self.store, [(b'', PATIENCE)], timeout=0.02)

    def test_late(self):
        # The reply comes on a connection that is no longer used.
        def late(request):
            return [(b'', 0.03), (self.store(request), 0)]

        self.suffer(late, timeout=0.02)

    def test_cut(self):
        self.suffer(None)

    def test_cut_in_the_middle(self):
        self.suffer(self.store, self.store, None)

    def test_garbage(self):
        for line in (b'garbage\r\n', b'\r\n', b'END\r\n', b'STORED\r\n',
                     b'OK\r\n', b'\0' * 100 + b'\r\n', b'DELETED\n'):
            self.suffer(line)

    def test_garbage_in_the_middle(self):
        self.suffer(self.store, b'garbage\r\n')

    def test_too_few_replies_to_a_delivery(self):
        self.suffer(self.store, b'', timeout=0.02)

    def test_surplus_replies_to_a_delivery(self):
        def twice(request):
            return self.store(request) * 2

        self.suffer(twice)
        self.suffer(*[twice] * 4)

    def test_a_surplus_reply_of_another_kind(self):
        def more(request):
            return self.store(request) + b'STORED\r\nEND\r\n'

        self.suffer(*[more] * 4)

    def test_a_refused_flush(self):
        self.suffer(REFUSED)

    def test_refused_as_a_whole(self):
        self.suffer(*[b'CLIENT_ERROR no\r\n'] * 4)


class TestFailoverOfClient(ClientCase):
    """Three servers, each behind a proxy that can refuse."""

    level = 2

    def setUp(self):
        super().setUp()
        self.embedded = [
            self.enterContext(EmbeddedServer()) for _ in range(3)]
        self.servers = [self.enterContext(FaultProxy(server.address))
                        for server in self.embedded]
        self.client_ = self.client(
            *self.servers, failover=True, retries=1, blacktime=60)
        # Each key is on the server at the same place.
        ring = self.client_._state.store.router.ring
        self.keys = [next(
            key for key in range(1000)
            if ring.find(self.wire(key)) == place) for place in range(3)]

    def on(self, place, key):
        direct = self.client(self.embedded[place])
        return direct.query(key, default=MISSING)

    def stop(self, place):
        """Stop a server; return when the client has marked it down."""
        self.servers[place].refuse()
        self.servers[place].cut()
        self.assertIsNone(self.client_.query(self.keys[place]))
        self.assertTrue(self.health(place).is_down)

    def health(self, place):
        return self.client_._state.store.servers[place].health

    def start(self, place):
        """Start a server; the next operation asks it."""
        self.servers[place].accept()
        self.health(place)._asking._until = monotonic()

    def next_of(self, place):
        wire = self.wire(self.keys[place])
        return next(self.client_._state.store.router.ring.after(wire, place))

    def test_no_older_value_is_seen(self):
        key = self.keys[0]
        for change, seen in (
                (lambda: self.client_.set(key, 'new'), 'new'),
                (lambda: self.client_.invalidate(key), MISSING)):
            with self.subTest(seen):
                self.client_ = self.client(
                    *self.servers, failover=True, retries=1, blacktime=60)
                self.client_.set(key, 'old')
                self.stop(0)
                self.assertEqual(
                    self.client_.query(key, default=MISSING), MISSING)
                change()
                self.assertEqual(
                    self.client_.query(key, default=MISSING), seen)
                self.assertEqual(self.on(self.next_of(0), key), seen)
                self.start(0)
                self.assertEqual(
                    self.client_.query(key, default=MISSING), MISSING)
                self.assertFalse(self.health(0).is_down)
                self.assertEqual(self.on(0, key), MISSING)
                # The former stand-in may still have the value.
                self.client(self.embedded[self.next_of(0)]).invalidate(key)

    def test_no_value_of_an_earlier_outage_is_seen(self):
        key = self.keys[0]
        self.stop(0)
        self.client_.set(key, 'of the outage')
        self.start(0)
        self.assertTrue(self.client_.set(key, 'new'))
        self.stop(0)
        self.assertEqual(self.client_.query(key, default=MISSING), MISSING)
        self.assertIsNone(self.client_.set(key, 'newer'))
        self.assertEqual(
            self.on(self.next_of(0), key), 'of the outage')
        self.start(0)
        self.assertEqual(self.client_.query(key, default=MISSING), MISSING)

    def test_the_keys_of_the_others_stay(self):
        for place in 1, 2:
            self.client_.set(self.keys[place], 'value')
        self.stop(0)
        for place in 1, 2:
            self.assertEqual(self.client_.query(self.keys[place]), 'value')
            self.assertTrue(self.client_.invalidate(self.keys[place]))

    def test_an_invalidation_fails_while_the_server_is_down(self):
        self.stop(0)
        self.assertIsNone(self.client_.invalidate(self.keys[0]))
        self.start(0)
        self.assertTrue(self.client_.invalidate(self.keys[0]))

    def test_one_server_is_flushed_later(self):
        for key in self.keys:
            self.client_.set(key, 'old')
        self.stop(0)
        self.client_.set(self.keys[0], 'old')
        with self.assertRaises(NotInvalidated) as caught:
            self.client_.invalidateAll()
        self.assertEqual(
            list(caught.exception.errors), [self.servers[0].address])
        for key in self.keys:
            self.assertEqual(self.client_.query(key, default=MISSING), MISSING)
        self.assertEqual(self.on(0, self.keys[0]), 'old')
        self.start(0)
        self.assertEqual(
            self.client_.query(self.keys[0], default=MISSING), MISSING)
        self.assertEqual(self.on(0, self.keys[0]), MISSING)

    def test_statistics_while_one_is_away(self):
        self.stop(0)
        statistics = self.client_.getStatistics()
        self.assertEqual([address for address, _ in statistics],
                         [server.address for server in self.servers])
        self.assertEqual(list(statistics[0][1]), ['error'])
        for _, values in statistics[1:]:
            self.assertIn('curr_items', values)

    def test_a_probe_that_fails_to_store(self):
        key = self.keys[0]
        self.stop(0)
        self.health(0)._asking._until = monotonic() + 0.5
        self.assertTrue(self.client_.set(key, 'one'))
        until(lambda: not self.health(0).absence)
        self.assertIsNone(self.client_.set(key, 'two'))
        self.assertNotEqual(self.client_.query(key), 'one')

    def test_an_address_is_spelled_differently_after_an_outage(self):
        key = self.keys[0]
        self.stop(0)
        self.client_.set(key, 'one')
        self.client_.servers = [
            f'{server.address}/?1' for server in self.servers]
        self.start(0)
        self.assertTrue(self.client_.set(key, 'two'))
        self.stop(0)
        self.assertNotEqual(self.client_.query(key), 'one')

    def test_assigning_an_attribute_between_two_outages(self):
        key = self.keys[0]
        self.stop(0)
        self.client_.set(key, 'one')
        self.start(0)
        self.assertTrue(self.client_.set(key, 'two'))
        self.client_.maxPoolSize = 40
        self.stop(0)
        self.assertNotEqual(self.client_.query(key), 'one')


class TestProxiesOfClient(ClientCase):

    def setUp(self):
        super().setUp()
        self.server = self.enterContext(EmbeddedServer())
        self.proxies = [
            self.enterContext(FaultProxy(self.server.address))
            for _ in range(2)]
        self.client_ = self.client(
            *self.proxies, distribution='roundrobin', retries=1, delay=60,
            blacktime=60)

    def test_proxies_take_turns(self):
        for number in range(6):
            self.assertTrue(self.client_.set(number, number))
            self.assertEqual(self.client_.query(number), number)
        # One thread takes turns: it sets by one and reads by the other.
        self.assertEqual([proxy.exchanges for proxy in self.proxies], [6, 6])

    def test_one_proxy_is_down(self):
        for number in range(6):
            self.client_.set(number, f'old {number}')
        self.proxies[0].refuse()
        self.proxies[0].cut()
        failed = [number for number in range(6)
                  if not self.client_.set(number, f'new {number}')]
        self.assertEqual(len(failed), 1)
        for number in range(6):
            found = self.client_.query(number, default=MISSING)
            self.assertEqual(
                found, MISSING if number in failed else f'new {number}')

    def test_connect_errors_are_enough_to_avoid_a_proxy(self):
        self.client_.retries = 10
        self.proxies[0].refuse()
        self.proxies[0].cut()
        stored = [self.client_.set(number, number) for number in range(8)]
        self.assertEqual(stored.count(None), 1)
        server = self.client_._state.store.servers[0]
        self.assertEqual(server.health.state, 'failing')


