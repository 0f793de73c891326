# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How several servers share the time of an exchange.

Only the servers advance the clock: nothing here depends on the speed of the
machine.
"""

import selectors
import types
import unittest
from unittest import mock

from p01.memcache.cluster import fanout
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout


TIME = 10.0  # the time of an exchange that begins at 0


class Server:
    """Takes `connecting` seconds to connect, and answers at the time `at`.

    The end of the answer comes `rest` seconds later. It is waited for until
    `limit`; ``ended`` is when the wait was over. It is its own connection,
    too.
    """

    def __init__(self, test, at, rest=0.0, connecting=0.0, limit=TIME):
        self.test = test
        self.at = at
        self.rest = rest
        self.connecting = connecting
        self.limit = limit
        self.judged = 0

    def converse(self, commands, step, deadline, since):
        failure, deadline = None, min(deadline, self.limit)
        self.since = since
        try:
            self.spend(self.connecting, step)
            step = yield self, deadline
            self.spend(self.at - self.test.now, min(step, deadline))
            self.spend(self.rest, min(step, deadline))
        except ReceiveTimeout as error:
            failure = types.SimpleNamespace(error=error)
        self.ended = self.test.now
        return commands, failure, None

    def spend(self, seconds, limit):
        """Wait; raise an error at the limit."""
        end = self.test.now + max(seconds, 0)
        self.test.now = max(self.test.now, min(end, limit))
        if end > limit:
            raise ReceiveTimeout(f'not by {limit}')

    def has_input(self):
        return False

    def answered(self):
        self.judged += 1

    def judge(self, failure):
        assert failure.error
        self.judged += 1


class Selector:
    """Waits for the servers, on the test's clock."""

    def __init__(self, test):
        self.test = test
        self.keys = []

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def register(self, connection, events, data):
        self.keys.append(types.SimpleNamespace(
            fileobj=connection, events=events, data=data))

    def select(self, timeout):
        self.test.waits += 1
        assert self.test.waits < 100, 'it waits again and again'
        end = self.test.now + timeout
        first = min(key.fileobj.at for key in self.keys)
        self.test.now = max(self.test.now, min(first, end))
        return [(key, selectors.EVENT_READ) for key in self.keys
                if key.fileobj.at <= self.test.now]


class ShareTest(unittest.TestCase):

    def setUp(self):
        self.waits = 0
        self.enterContext(mock.patch.object(
            fanout, 'monotonic', lambda: self.now))
        self.enterContext(mock.patch.object(
            selectors, 'PollSelector', lambda: Selector(self)))

    def exchange(self, *servers):
        """Return for each server whether it answered, within the time."""
        self.now = 0.0
        results = fanout.exchange(
            {server: f'replies {number}'
             for number, server in enumerate(servers)}, TIME)
        self.assertLessEqual(self.now, TIME)
        self.assertEqual([*results], [*servers])
        self.assertEqual([server.judged for server in servers],
                         [1] * len(servers))
        answered = []
        for number, (_, result) in enumerate(results.items()):
            answered.append(result == f'replies {number}')
            if not answered[-1]:
                self.assertIsInstance(result, ReceiveTimeout)
        return answered

    def servers(self, *times, **kw):
        return [Server(self, at, **kw) for at in times]

    def test_all_take_most_of_the_time(self):
        # As long as all are late, none is limited to a share of the time.
        for count in 1, 2, 3, 8:
            with self.subTest(count):
                self.assertEqual(
                    self.exchange(*self.servers(*[0.7 * TIME] * count)),
                    [True] * count)
                self.assertEqual(self.now, 0.7 * TIME)

    def test_one_after_the_other(self):
        times = [0.9 * TIME, 0.7 * TIME, 0.8 * TIME]
        self.assertEqual(self.exchange(*self.servers(*times)), [True] * 3)
        self.assertEqual(self.now, 0.9 * TIME)

    def test_at_the_last_moment(self):
        self.assertEqual(
            self.exchange(*self.servers(TIME, TIME, TIME)), [True] * 3)

    def test_some_do_not_answer(self):
        never = 2 * TIME
        self.assertEqual(
            self.exchange(*self.servers(never, 0.9 * TIME, never)),
            [False, True, False])
        self.assertEqual(self.now, TIME)
        self.assertEqual(self.exchange(*self.servers(never)), [False])
        self.assertEqual(self.now, TIME)

    def test_one_is_given_less_time(self):
        # It has failed before. It does not delay the others, nor they it.
        never = Server(self, 2 * TIME, limit=0.25 * TIME)
        late = self.servers(0.7 * TIME, 0.7 * TIME)
        self.assertEqual(self.exchange(never, *late), [False, True, True])
        self.assertEqual(never.ended, 0.25 * TIME)
        self.assertEqual(self.now, 0.7 * TIME)

    def test_one_stops_within_its_reply(self):
        # It has its share of the time left, and leaves the rest to the others.
        stopped = Server(self, 0.1 * TIME, rest=2 * TIME)
        late = self.servers(0.2 * TIME, 0.2 * TIME)
        self.assertEqual(self.exchange(stopped, *late), [False, True, True])
        self.assertAlmostEqual(self.now, (0.1 + 0.9 / 3) * TIME)

    def test_slow_connects(self):
        # Each has its share of the time left by those before it.
        slow = [Server(self, 0, connecting=seconds * TIME)
                for seconds in (0.3, 0.2, 0.1)]
        self.assertEqual(self.exchange(*slow), [True] * 3)
        never = Server(self, 0, connecting=2 * TIME)
        self.assertEqual(
            self.exchange(never, *self.servers(0, 0)), [False, True, True])
        self.assertAlmostEqual(self.now, TIME / 3)

    def test_slow_connects_of_hundreds(self):
        # An equal share would be too short for each of them.
        self.assertEqual(self.exchange(*[
            Server(self, 0, connecting=TIME / 400) for _ in range(300)]),
            [True] * 300)
        self.assertAlmostEqual(self.now, 0.75 * TIME)

    def test_hundreds_and_some_that_cannot_be_reached(self):
        never = [Server(self, 0, connecting=2 * TIME) for _ in range(4)]
        answered = self.exchange(*never, *self.servers(*[0] * 300))
        self.assertEqual(answered, [False] * 4 + [True] * 300)
        # What is left is 7/8 of it, after each of them.
        self.assertAlmostEqual(self.now, (1 - (7 / 8) ** 4) * TIME)

    def test_when_it_began(self):
        slow = Server(self, 0, connecting=0.1 * TIME)
        self.exchange(slow, *self.servers(0, 0))
        self.assertEqual(slow.since, 0.0)

    def test_a_connect_leaves_time_for_answers(self):
        # The last server's connect does not use up the time of the others.
        asked = self.servers(0.6 * TIME, 0.6 * TIME)
        never = Server(self, 0, connecting=2 * TIME)
        self.assertEqual(
            self.exchange(*asked, never), [True, True, False])
        self.assertAlmostEqual(self.now, 0.6 * TIME)


class AgainTest(unittest.TestCase):
    """Requests to a server whose used connection turned out to be closed."""

    def exchange(self, *results, **kw):
        """Let a single server end with these results, one per try.

        Returns the last of them, and how many tries there were.
        """
        class Lost:
            count = 0

            def converse(self, commands, step, deadline, since):
                self.count += 1
                reply = results[min(self.count, len(results)) - 1]
                if isinstance(reply, Exception):
                    return [], types.SimpleNamespace(error=reply), None
                return reply, None, None
                yield

            def answered(self, *args):
                pass

            judge = answered

        lost = Lost()
        [(server, reply)] = fanout.exchange_with(
            [lost], lambda server: [], 0.0, **kw).items()
        self.assertIs(server, lost)
        return reply, lost.count

    def lost(self):
        error = ReceiveError('closed')
        error.again = True
        return error

    def test_it_is_repeated_once(self):
        self.assertEqual(self.exchange(self.lost(), ['right']), (['right'], 2))

    def test_it_is_not_repeated_twice(self):
        first, second = self.lost(), self.lost()
        self.assertEqual(self.exchange(first, second, ['late']), (second, 2))

    def test_other_failures_are_not_repeated(self):
        error = ReceiveError('in the middle')
        self.assertEqual(self.exchange(error, ['late']), (error, 1))

    def test_a_change_is_not_repeated(self):
        error = self.lost()
        self.assertEqual(
            self.exchange(error, ['late'], again=False), (error, 1))
