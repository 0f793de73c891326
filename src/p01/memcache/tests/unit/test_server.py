# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The health of a server: which thread may ask it, when, and for how long.

And how it is asked, on connections with scripted answers.
"""

import collections
import contextlib
import math
import sys
import threading
import unittest
from time import monotonic
from unittest import mock

from p01.memcache import log
from p01.memcache.cluster import server
from p01.memcache.cluster.server import Server
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import LocalError
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.health import gate
from p01.memcache.health import health
from p01.memcache.health.health import Health
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.threads.pool import Pool
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Increment


NAME = '127.0.0.1:1'


class Connection:
    """Gives scripted answers; an exception is raised.

    First come the ``answers``, then always ``answer``.
    """

    dirty = True
    heard = False
    since = 0.0
    answer = 'answer'
    answers = collections.deque()
    requests = []
    deadline = None

    def is_usable(self, now):
        return True

    def is_quiet(self):
        return True

    def connect(self, deadline):
        self.dirty = False

    def send(self, data, deadline):
        self.dirty = True
        Connection.requests.append(data)
        Connection.deadline = deadline

    def receive(self, read, deadline):
        Connection.deadline = deadline
        answer = self.answers.popleft() if self.answers else self.answer
        if isinstance(answer, Exception):
            raise answer
        self.dirty = False
        return answer

    def close(self):
        pass

    abort = close


class Ask(Command):
    """Any request."""

    def __init__(self, data=b'', **attributes):
        self.data = data
        vars(self).update(attributes)

    def encode(self):
        return self.data

    def read(self, reader):
        raise AssertionError('the connection does not read')


@contextlib.contextmanager
def clocks(monotonic):
    """Replace the clock of a server's health, gates and log."""
    with contextlib.ExitStack() as stack:
        for module in gate, health, log:
            stack.enter_context(
                mock.patch.object(module, 'monotonic', monotonic))
        yield


class HealthCase(unittest.TestCase):

    def setUp(self):
        self.log = self.enterContext(self.assertLogs('p01.memcache'))
        health.logger.warning('at least one line')
        self.told = []
        self.health = Health(NAME, 2, 0, 0.05, self.tell)

    def tell(self, *change):
        self.told.append(change)

    def wait(self):
        pause = threading.Event()
        while self.health.absence:
            pause.wait(0.005)


class ServerCase(HealthCase):

    def setUp(self):
        super().setUp()
        self.server = Server(
            NAME, Pool(Connection, 2, 60), LockKeeping(), self.health,
            Undelivered(NAME))
        self.addCleanup(setattr, Connection, 'answer', 'answer')
        self.addCleanup(Connection.answers.clear)
        self.addCleanup(Connection.requests.clear)

    def answer(self, *answers):
        Connection.answers.extend(answers)

    def assertPool(self, active, idle):
        self.assertEqual(
            self.server.pool.statistics(), {'active': active, 'idle': idle})

    def assertSent(self, *requests):
        """These requests were sent since the last call."""
        self.assertEqual(Connection.requests, list(requests))
        Connection.requests.clear()


class TestServer(ServerCase):

    def request(self, answer='answer', timeout=1):
        Connection.answer = answer
        return self.server.run(Ask(), monotonic() + timeout)

    def fail(self, error, times=1):
        for _ in range(times):
            with self.assertRaises(type(error)):
                self.request(error)

    def test_states(self):
        self.assertEqual(self.health.state, 'up')
        self.fail(ReceiveTimeout('late'))
        self.assertEqual(self.health.state, 'failing')
        self.request()
        self.assertEqual(self.health.state, 'up')
        # The used connection may be at fault, not the server.
        self.fail(ReceiveTimeout('late'))
        self.assertEqual(self.health.state, 'up')
        self.fail(ReceiveTimeout('late'), 2)
        self.assertEqual(self.health.state, 'down')
        with self.assertRaises(ServerDown):
            self.request()
        self.wait()
        self.assertEqual(self.request(), 'answer')
        self.assertEqual(self.health.state, 'up')

    def test_every_change_is_one_line_and_one_event(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.fail(ReceiveTimeout('late'))
        self.wait()
        self.request()
        self.request()
        lines = [record.getMessage() for record in self.log.records[1:]]
        self.assertEqual(lines[:2], [
            'memcached 127.0.0.1:1 is failing: late',
            'memcached 127.0.0.1:1 is down: late'])
        self.assertRegex(
            lines[2],
            r'^memcached 127\.0\.0\.1:1 is up again, after 3 failures in'
            r' \d+\.\d seconds, the last one \d+\.\d seconds ago$')
        self.assertEqual(len(lines), 3)
        self.assertEqual(self.told[:2], [
            (NAME, 'up', 'failing', 'late'),
            (NAME, 'failing', 'down', 'late')])
        self.assertEqual(self.told[2][:3], (NAME, 'down', 'up'))
        self.assertEqual(len(self.told), 3)

    def test_how_long_the_failures_lasted(self):
        self.fail(ReceiveTimeout('late'))
        self.request()
        self.assertRegex(
            self.log.records[-1].getMessage(),
            r'is up again, after 1 failure 0\.\d seconds ago$')
        Connection.answers.clear()
        self.server.pool.close()
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.request()
        self.assertRegex(
            self.log.records[-1].getMessage(),
            r'is up again, after 2 failures in [0-9]\.\d seconds, the last')

    def test_a_broken_conversation_aborts_its_connection(self):
        # The kernel must not send the rest of the request later.
        with mock.patch.object(Connection, 'abort') as abort:
            self.fail(ReceiveTimeout('late'))
        abort.assert_called_once_with()

    def test_a_doubt_ends_a_probe(self):
        # The next request may decide, at once.
        self.request()
        self.fail(ReceiveTimeout('late'))
        for _ in range(2):
            self.health.failed(ReceiveTimeout('late'), math.inf)
        self.wait()
        self.assertTrue(self.health.admit(monotonic() + 60))
        self.health.doubted(ReceiveTimeout('late'), monotonic())
        self.wait()
        self.health.admit(monotonic() + 60)

    def test_a_probe_that_fails(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.fail(ReceiveTimeout('late'))
        with self.assertRaises(ServerDown):
            self.request()

    def test_refusals_are_answers(self):
        for error in (ServerError('no'), ClientError('no'), ServerBusy('no')):
            self.fail(error, 5)
            self.assertEqual(self.health.state, 'up')

    def test_a_probe_that_is_refused(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.fail(ServerError('no'))
        self.assertEqual(self.health.state, 'up')

    def test_a_failing_server_is_given_less_time(self):
        # So it is marked down within twice the time-out.
        self.health._retries = 10
        start = monotonic()
        for part in (1, 2, 8, 8):
            self.fail(ReceiveTimeout('late'))
            self.assertAlmostEqual(
                Connection.deadline, start + 1 / part, delta=0.1)

    def test_a_probe_is_given_the_whole_time(self):
        self.fail(ReceiveTimeout('late'), 2)
        self.wait()
        self.fail(ReceiveTimeout('late'))
        self.assertAlmostEqual(
            Connection.deadline, monotonic() + 1, delta=0.1)

    def late(self, *times):
        """Make a request with the deadline 1.0; the clock shows these times.

        They are when it waits for a connection, when it begins to make one,
        and when it has sent. Returns whether the server was blamed.
        """
        clock = iter(times)
        Connection.answer = ReceiveTimeout('late')
        with (mock.patch.object(server, 'monotonic', lambda: next(clock)),
              mock.patch.object(self.health, 'failed') as failed,
              self.assertRaises(ReceiveTimeout)):
            self.server.run(Ask(), 1.0)
        return failed.called

    def test_the_server_had_its_time(self):
        self.assertTrue(self.late(0.0, 0.5, 0.5))
        self.assertTrue(self.late(0.0, 0.1, 0.9))

    def test_a_thread_that_waited_for_others_does_not_blame_it(self):
        self.assertFalse(self.late(0.0, 0.6, 0.6))

    def test_a_suspended_process_does_not_blame_it(self):
        self.assertFalse(self.late(0.0, 1.2, 1.2))
        self.assertFalse(self.late(0.0, 0.0, 1.2))

    def test_a_used_connection_that_fails_drops_the_idle_ones(self):
        self.health._retries = 1
        first = self.server.pool.take(1)
        self.request()
        first.connect(None)
        self.server.pool.give(first)
        self.assertPool(0, 2)
        self.fail(ReceiveTimeout('late'))
        self.assertPool(0, 0)
        self.assertEqual((self.health.state, self.health.doubts), ('up', 1))
        # A fresh connection decides.
        self.fail(ReceiveTimeout('late'))
        self.assertEqual(self.health.state, 'down')

    def test_a_closed_connection_is_no_failure(self):
        self.request()
        Connection.answer = 'answer'
        self.answer(ReceiveError('closed'))
        # A read is repeated.
        self.assertEqual(
            self.server.run(Get(b'key'), monotonic() + 1), 'answer')
        self.answer(ReceiveError('closed'))
        with self.assertRaises(ReceiveError):
            self.server.run(Increment(b'key', 1), monotonic() + 1)
        self.assertEqual((self.health.state, self.health.failures), ('up', 0))

    def test_a_retry_has_the_same_deadline(self):
        self.request()
        Connection.answer = 'answer'
        deadline = monotonic() + 1
        self.answer(ReceiveError('closed'))
        self.server.run(Get(b'key'), deadline)
        self.assertEqual(Connection.deadline, deadline)

    def test_an_interrupted_request_keeps_no_connection(self):
        self.request()
        kept, code = [], Server.run.__code__
        for number in range(2, 16):
            def trace(frame, event, arg, number=number):
                if (event, frame.f_lineno - code.co_firstlineno) == (
                        'line', number):
                    raise KeyboardInterrupt
                return trace if frame.f_code is code else None

            former = sys.gettrace()
            sys.settrace(trace)
            try:
                self.request()
            except KeyboardInterrupt as error:
                kept.append(error)
            finally:
                sys.settrace(former)
            self.assertEqual(self.server.pool.statistics()['active'], 0)
        self.assertGreater(len(kept), 5)

    def test_a_connection_closed_within_a_reply_is_not_retried(self):
        self.request()
        self.answer(ReceiveError('closed'))
        with (mock.patch.object(Connection, 'heard', True),
              self.assertRaises(ReceiveError)):
            self.server.run(Get(b'key'), monotonic() + 1)

    def test_a_fresh_connection_is_not_retried(self):
        self.answer(ReceiveError('closed'))
        with self.assertRaises(ReceiveError):
            self.server.run(Get(b'key'), monotonic() + 1)
        self.assertEqual(self.health.failures, 1)

    def test_failures_of_this_process_are_not_the_servers(self):
        for error in LocalError('no descriptor'), MemoryError():
            Connection.answer = error
            for _ in range(5):
                with self.assertRaises(LocalError):
                    self.server.run(Ask(), monotonic() + 1)
            self.assertEqual(self.health.state, 'up')
            # At once, and for all threads.
            self.request()
            self.health.admit_connect(monotonic() + 1)
            self.health.admit_connect(monotonic() + 1)

    def test_a_connection_that_is_too_young_for_a_lease(self):
        with mock.patch.object(Connection, 'since', 5.0):
            self.assertEqual(self.server.run(
                Ask(since=5.0), monotonic() + 1), 'answer')
            with self.assertRaises(LeaseLost):
                self.server.run(Ask(since=4.9), monotonic() + 1)
        self.assertPool(0, 1)
        self.assertSent(b'')


class TestConversation(ServerCase):
    """Several requests, while other servers are being asked."""

    def converse(self, *requests, step=1, timeout=1, **kw):
        now = monotonic()
        return self.server.converse(
            map(Ask, requests), now + step, now + timeout, **kw)

    def end(self, conversation, step=None):
        """Return the conversation's replies or error, after judging it."""
        with self.assertRaises(StopIteration) as caught:
            conversation.send(step)
        replies, failure, _ = caught.exception.value
        if failure is None:
            self.server.answered()
            return replies
        self.server.judge(failure)
        return failure.error

    def test_one_after_the_other(self):
        self.answer(1, 2)
        conversation = self.converse(b'a', b'b')
        connection, _ = next(conversation)
        self.assertSent(b'a')
        self.assertPool(1, 0)
        self.assertIs(conversation.send(monotonic() + 1)[0], connection)
        self.assertSent(b'b')
        self.assertEqual(self.end(conversation, monotonic() + 1), [1, 2])
        self.assertPool(0, 1)

    def test_nothing_to_ask(self):
        self.assertEqual(self.end(self.converse()), [])
        self.assertPool(0, 1)

    def test_deadlines(self):
        # For each step, and for the whole.
        now = monotonic()
        conversation = self.server.converse(
            [Ask(b'a'), Ask(b'b')], now + 1, now + 2)
        self.assertEqual(next(conversation)[1], now + 2)
        self.assertEqual(Connection.deadline, now + 1)
        conversation.send(now + 1.5)
        self.assertEqual(Connection.deadline, now + 1.5)
        self.end(conversation, now + 3)
        self.assertEqual(Connection.deadline, now + 2)

    def test_a_failing_server_is_given_less_time(self):
        self.health._retries = 10
        self.health.failed(ReceiveTimeout('late'), math.inf)
        _, limit = next(self.converse(b'a', step=9, timeout=9))
        self.assertAlmostEqual(limit, monotonic() + 4.5, delta=0.1)
        self.assertAlmostEqual(Connection.deadline, limit)

    def test_no_connection_by_the_first_step(self):
        held = [self.server.pool.take(monotonic()) for _ in range(2)]
        start = monotonic()
        with self.assertRaises(PoolTimeout):
            next(self.converse(b'a', step=0.02, timeout=9))
        self.assertLess(monotonic() - start, 5)
        self.assertEqual(self.health.state, 'up')
        self.assertEqual(len(held), 2)

    def test_a_failure_in_the_middle(self):
        self.answer(1, ReceiveTimeout('late'))
        conversation = self.converse(b'a', b'b', b'c')
        next(conversation)
        conversation.send(monotonic() + 1)
        error = self.end(conversation, monotonic() + 1)
        self.assertIsInstance(error, ReceiveTimeout)
        self.assertEqual(error.server, NAME)
        self.assertSent(b'a', b'b')
        self.assertEqual(self.health.state, 'failing')
        self.assertPool(0, 0)

    def test_others_took_most_of_the_time(self):
        for spent, state in (9, 'up'), (1, 'failing'):
            self.answer(ReceiveTimeout('late'))
            conversation = self.converse(b'a', since=monotonic() - spent)
            next(conversation)
            error = self.end(conversation, monotonic() + 1)
            self.assertIsInstance(error, ReceiveTimeout)
            self.assertEqual(self.health.state, state)

    def test_a_refusal_ends_it(self):
        self.health._retries = 10
        self.health.failed(ReceiveTimeout('late'), math.inf)
        self.answer(ServerError('no'))
        conversation = self.converse(b'a', b'b')
        next(conversation)
        error = self.end(conversation, monotonic() + 1)
        self.assertIsInstance(error, ServerError)
        self.assertSent(b'a')
        self.assertEqual(self.health.state, 'up')

    def test_no_wait_for_a_server_that_is_down(self):
        for _ in range(2):
            self.health.failed(ReceiveTimeout('late'), math.inf)
        with self.assertRaises(ServerDown):
            next(self.converse(b'a'))
        self.assertSent()

    def test_an_abandoned_conversation(self):
        # Its reply is still to come, and must not go to another request.
        conversation = self.converse(b'a')
        next(conversation)
        conversation.close()
        self.assertPool(0, 0)


class TestUncommon(ServerCase):
    """Commands that proxies do not know: they close the connection."""

    look = b'get p01.memcache\r\n'

    def request(self):
        return self.server.run_uncommon(
            Ask(b'a', everywhere=False, repeats=True), monotonic() + 1)

    def test_answered(self):
        self.assertEqual(self.request(), 'answer')
        self.assertSent(b'a')

    def test_closing_once_is_no_refusal(self):
        # An idle connection may have been closed, or a server restarted.
        self.answer(ReceiveError('closed'))
        self.assertEqual(self.request(), 'answer')
        self.assertSent(b'a', self.look, b'a')
        self.assertEqual(self.health.state, 'up')

    def test_closing_twice_is_a_refusal(self):
        # The second time on a used connection, and then also on a fresh one.
        self.answer(ReceiveError('closed'), {}, ReceiveError('closed'),
                    ReceiveError('closed'), {})
        with self.assertRaisesRegex(ClientError, 'closed'):
            self.request()
        self.assertSent(b'a', self.look, b'a', b'a', self.look)
        self.assertEqual(self.health.state, 'up')

    def test_a_server_that_does_not_answer_anything(self):
        for error in ReceiveTimeout('late'), ReceiveError('closed'):
            self.answer(ReceiveError('closed'), error)
            with self.assertRaises(type(error)):
                self.request()
            self.assertSent(b'a', self.look)

    def test_a_timeout_is_no_refusal(self):
        self.answer(ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.request()
        self.assertSent(b'a')

    def test_it_is_not_the_first_request_to_a_server_that_is_down(self):
        for _ in range(2):
            self.health.failed(ReceiveTimeout('late'), math.inf)
        self.wait()
        self.request()
        self.assertSent(self.look, b'a')


class TestMeta(ServerCase):
    """The server is asked once whether it knows the meta commands."""

    def knows(self):
        return self.server.lends(monotonic() + 1)

    def test_a_server_that_knows_them(self):
        self.answer(True)
        for _ in range(3):
            self.assertIs(self.knows(), True)
        self.assertSent(b'mn\r\n')

    def test_a_server_that_does_not(self):
        self.answer(ClientError('ERROR'))
        for _ in range(3):
            self.assertIs(self.knows(), False)
        self.assertSent(b'mn\r\n')

    def test_a_proxy_that_does_not(self):
        self.answer(ReceiveError('closed'), {}, ReceiveError('closed'), {})
        for _ in range(3):
            self.assertIs(self.knows(), False)
        self.assertEqual(len(Connection.requests), 4)
        self.assertEqual(self.health.state, 'up')

    def test_a_failure_is_no_answer(self):
        self.answer(ReceiveTimeout('late'))
        with self.assertRaises(ReceiveTimeout):
            self.knows()
        self.answer(True)
        self.assertIs(self.knows(), True)

    def test_it_is_asked_anew_after_a_change(self):
        for answer, known in (True, True), (ClientError('ERROR'), False):
            self.answer(answer)
            self.assertIs(self.knows(), known)
            self.server.forget_meta()


class TestHealth(HealthCase):

    def fail(self):
        for _ in range(2):
            self.health.failed(ReceiveTimeout('late'), math.inf)

    def test_an_incident_is_counted_once(self):
        """However many threads see it."""
        self.health = Health(NAME, 10, 0, 60, self.tell)
        began = monotonic()
        for _ in range(5):
            self.health.doubted(ReceiveTimeout('late'), began)
            self.health.failed(ReceiveTimeout('late'), began)
        self.assertEqual((self.health.failures, self.health.doubts), (1, 2))
        self.health.failed(ReceiveTimeout('late'), monotonic())
        self.assertEqual((self.health.failures, self.health.doubts), (2, 3))
        self.health.doubted(ReceiveTimeout('late'), monotonic())
        self.health.doubted(ReceiveTimeout('late'), began)
        self.assertEqual((self.health.failures, self.health.doubts), (2, 4))

    def test_a_thread_that_stops_within_a_change_blocks_no_other(self):
        self.health.failed(ReceiveTimeout('late'), math.inf)
        with self.health._turn.by(0):
            start = monotonic()
            self.health.failed(ReceiveTimeout('late'), math.inf)
            self.health.doubted(ReceiveTimeout('late'), math.inf)
            self.health.answered()
            self.assertLess(monotonic() - start, 1)
        self.assertEqual((self.health.failures, self.health.doubts), (1, 1))

    def test_a_server_that_flaps_does_not_fill_the_log(self):
        now = 1000.0
        with clocks(lambda: now):
            for _ in range(2):
                for _ in range(1000):
                    self.health.failed(ReceiveTimeout('late'), math.inf)
                    self.health.answered()
                now += 60
        lines = [record.getMessage() for record in self.log.records[1:]]
        self.assertEqual(len(lines), 40)
        self.assertTrue(lines[19].endswith(
            ' (more changes are not logged for 60 seconds)'), lines[19])
        self.assertTrue(lines[20].endswith(
            ' (1980 more changes were not logged)'), lines[20])

    def test_one_probe(self):
        self.fail()
        self.wait()
        self.health.admit(monotonic() + 1)
        with self.assertRaises(ServerDown):
            self.health.admit(monotonic() + 1)

    def test_the_probe_succeeded_meanwhile(self):
        # A thread that is about to probe must not mark it down again.
        self.fail()
        self.wait()

        returns = iter([self.health.answered])  # once is enough

        def clock():
            for answered in returns:
                answered()
            return monotonic()

        with clocks(clock):
            self.health.admit(monotonic() + 1)
        self.assertEqual(self.health.state, 'up')
        self.health.admit(monotonic() + 1)

    def test_one_thread_tries_to_connect(self):
        self.health = Health(NAME, 10, 0.05, 60, self.tell)
        self.health.failed(ConnectError('refused'), math.inf)
        with self.assertRaises(ServerDown):
            self.health.admit_connect(monotonic() + 1)
        pause = threading.Event()
        while self.health._connecting.remaining:
            pause.wait(0.005)
        self.health.admit_connect(monotonic() + 1)
        with self.assertRaises(ServerDown):
            self.health.admit_connect(monotonic() + 1)
        # A connection alone proves little.
        self.health.connected()
        with self.assertRaises(ServerDown):
            self.health.admit_connect(monotonic() + 1)
        self.health.answered()
        self.health.admit_connect(monotonic() + 1)
        self.health.admit_connect(monotonic() + 1)

    def test_a_rejected_thread_changes_no_gate(self):
        self.health = Health(NAME, 1, 60, 60, self.tell)
        self.health.failed(ConnectError('refused'), math.inf)
        for door in self.health._asking, self.health._connecting:
            door._until = monotonic()
            self.assertTrue(door.let_in(monotonic() + 90))
            until = door._until
            thread = threading.Thread(target=self.health.undecided)
            thread.start()
            thread.join()
            self.assertEqual(door._until, until)
        self.health.undecided()
        self.assertLess(self.health.pause, 61)

    def test_settled(self):
        self.assertTrue(self.health.is_settled(monotonic() + 1))
        self.fail()
        self.assertTrue(self.health.is_settled(monotonic() + 1))
        self.health.answered()
        self.assertFalse(self.health.is_settled(monotonic() + 1))
        later = Health(NAME, 2, 0, 60, self.tell)
        later.inherit(self.health)
        for ahead, settled in (-0.01, False), (0.01, True):
            now = monotonic() + 0.05 + health._GRAIN + 2 * 1 + ahead
            with clocks(lambda now=now: now):
                self.assertIs(self.health.is_settled(now + 1), settled)
                self.assertIs(later.is_settled(now + 1), settled)

    def test_not_settled_if_it_was_down_when_another_began(self):
        self.fail()
        later = Health(NAME, 2, 0, 60, self.tell)
        later.inherit(self.health)
        self.assertFalse(later.is_settled(monotonic()))

    def test_not_settled_after_a_probe_that_took_long(self):
        # Longer than the blacktime: stand-ins were used meanwhile.
        now = 1000.0
        with clocks(lambda: now):
            self.fail()
            now += 0.05
            self.health.admit(now + 10)
            lifetime = self.health.absence
            self.health.answered()
            now += lifetime - 1
            self.assertFalse(self.health.is_settled(now + 10))

    def test_a_subscriber_that_fails(self):
        self.tell = mock.Mock(side_effect=ZeroDivisionError)
        self.health = Health(NAME, 1, 0, 60, self.tell)
        self.health.failed(ReceiveTimeout('late'), math.inf)
        self.tell.assert_called_once()
        self.assertEqual(self.health.state, 'down')
        self.assertIn('a subscriber of this event failed', self.log.output[-1])

    def test_a_subscriber_that_asks_again(self):
        def tell(*change):
            self.told.append(change)
            with self.assertRaises(ServerDown):
                self.health.admit(monotonic() + 1)
            self.health.failed(ReceiveTimeout('again'), math.inf)

        self.health = Health(NAME, 1, 0, 60, tell)
        self.health.failed(ReceiveTimeout('late'), math.inf)
        self.assertEqual(self.told, [(NAME, 'up', 'down', 'late')])
