# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Outages: one of several servers is down, hangs, or comes back.

Every value contains its key and a version, so a wrong or an old one is
detected.

Level 1 runs on embedded servers, level 2 on memcached, whose processes are
killed, frozen and started again.
"""

import itertools
import os
import socket
import statistics
import tempfile
import threading
import time
from unittest import mock

from p01.memcache.errors import NotInvalidated
from p01.memcache.health import undelivered
from p01.memcache.interfaces import IServerDownEvent
from p01.memcache.interfaces import IServerUpEvent
from p01.memcache.testing import ClusterLayer
from p01.memcache.testing import Memcached
from p01.memcache.tests.faults.case import SLACK
from p01.memcache.tests.faults.case import jump
from p01.memcache.tests.faults.outage import LOST
from p01.memcache.tests.faults.outage import DirectMixin
from p01.memcache.tests.faults.outage import FrozenMixin
from p01.memcache.tests.faults.outage import Ledger
from p01.memcache.tests.faults.outage import Load
from p01.memcache.tests.faults.outage import OnMemcached
from p01.memcache.tests.faults.outage import OutageCase
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import DAY
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)


@variant('OnMemcached', OnMemcached, timeout=0.3)
class NoConnectionTest(OutageCase):
    """Fault 10: connections are refused; SYNs are dropped."""

    timeout = 0.05

    def operations(self, client):
        # In some rounds there is a backlog, in others there is none.
        keys = itertools.cycle(self.keys(LOST))
        return [
            lambda: self.assertIsNone(client.query(next(keys))),
            lambda: self.assertIsNone(client.set(next(keys), 1)),
            lambda: self.assertIsNone(client.invalidate(next(keys))),
        ]

    def check(self, limit, rounds, of):
        client = self.client(retries=10 ** 6, blacktime=0)
        operations = self.operations(client) * rounds

        def fail():
            for operation in operations:
                self.timed(operation)

        self.assertInTime(fail, limit, of)
        client = self.client(retries=3)
        ledger = Ledger(client, self.live())
        with self.patience(client):
            for key in self.live():
                self.assertIsNotNone(ledger.set(key))
        operations = self.operations(client) * rounds
        for operation in operations[:3]:
            operation()
        self.assertEqual(self.state(client), 'down')

        def be_left_alone():
            for operation in self.operations(client) * 20:
                self.timed(operation)

        self.assertInTime(be_left_alone, 0.001, of=statistics.median)
        with self.patience(client):
            self.assertVersion(ledger, self.live(), 1)

    def test_refused(self):
        self.proxies[LOST].refuse()
        self.check(0.005, 20, statistics.median)

    def test_syn_dropped(self):
        self.addresses[LOST] = self.enterContext(full_backlog())
        self.check(self.timeout + SLACK, 1, max)


class HangingServerTest(OutageCase):
    """Fault 11: one of three hangs; 180 operations one after the other."""

    level = 2
    timeout = 0.5
    allowed = 1.0

    def lose(self, place=LOST):
        self.proxies[place].fault = DEAF

    def bring_back(self, place=LOST):
        self.proxies[place].clear()
        self.proxies[place].cut()

    def defaults(self):
        client = UltraMemcacheClient(self.addresses, timeout=self.timeout)
        self.addCleanup(client.close)
        return client

    def test_one_thread(self):
        def operations():
            client = self.defaults()
            ledger = Ledger(client, self.keys())
            live = set(self.live())
            # The client is already connected.
            for place in range(3):
                client.query(*self.keys(place, 1))
            self.lose()
            for number, key in enumerate(self.keys(count=30) * 2):
                operation = (ledger.set, ledger.query)[number >= 90]
                result = self.timed(operation, key)
                self.assertEqual(result is not None, key in live)
            self.assertEqual(self.state(client), 'down')
            self.bring_back()

        self.assertInTime(operations, self.allowed, of=sum)
        self.assertEqual(len(self.spent), 180)


class HangingServerOnMemcachedTest(FrozenMixin, HangingServerTest):

    lose = FrozenMixin.lose
    bring_back = FrozenMixin.bring_back

    def test_threads(self):
        def operations():
            client = self.defaults()
            for place in range(3):
                client.query(*self.keys(place, 1))
            with Load(client) as load:
                self.let_work(load, 200)
                self.lose()
                until(lambda: load.errors or self.state(client) == 'down')
                self.let_work(load, 1000)
            self.assertEqual(load.errors, [])
            self.spent.append(load.slowest)
            self.bring_back()

        self.assertInTime(operations)


@variant('OnMemcached', OnMemcached)
@variant('Frozen', FrozenMixin)
class LostServerTest(OutageCase):
    """Fault 12: one of three is down; its keys miss, and do not move."""

    def test_down(self):
        client = self.client()
        ledger = self.ledger(client)
        self.lose_marked(client)
        for key in self.keys(LOST):
            self.assertIsNone(ledger.query(key))
            self.assertIsNone(ledger.set(key))
            self.assertIsNone(ledger.query(key))
            self.assertIsNone(ledger.invalidate(key))
            self.assertIsNone(ledger.set(key))
        self.assertVersion(ledger, self.live(), 1)
        for key in self.live():
            self.assertIsNotNone(ledger.set(key))
        self.assertVersion(ledger, self.live(), 2)
        self.bring_back()
        for place in range(3):
            for key in self.keys(place):
                expected = [None, None, None]
                expected[place] = 1 if place == LOST else 2
                self.assertEqual(self.found(key), expected)


class OldDataReturnsTest(OutageCase):
    """Fault 13: a server returns with old data, none of which is read."""

    failover = False
    count = 6  # the number of keys on each server

    def client(self, addresses=None, **settings):
        return super().client(
            addresses, **{'failover': self.failover, **settings})

    def begin(self, **settings):
        """Return a client and its ledger, after a server was lost."""
        client = self.client(**settings)
        ledger = self.ledger(client, self.count)
        self.lose_marked(client)
        return client, ledger

    def test_replaced_and_invalidated(self):
        client, ledger = self.begin()
        lost = self.keys(LOST, self.count)
        replaced, invalidated, kept = lost[::3], lost[1::3], lost[2::3]
        for key in replaced:
            self.assertEqual(ledger.set(key) is not None, self.failover)
            self.assertEqual(ledger.query(key), 2 if self.failover else None)
        for key in invalidated:
            ledger.set(key)
            self.assertIsNone(ledger.invalidate(key))
            self.assertIsNone(ledger.query(key))
        self.assertVersion(ledger, kept, None)
        self.assertVersion(ledger, self.live(self.count), 1)
        self.bring_back()
        # The old values are there, for other clients to read.
        for key in lost:
            self.assertEqual(self.found(key)[LOST], 1)
        self.return_known(client)
        self.assertVersion(ledger, replaced + invalidated, None)
        self.assertVersion(ledger, kept, 1)
        for key in replaced + invalidated:
            self.assertIsNone(self.found(key)[LOST])
        for key in lost:
            self.assertIsNotNone(ledger.set(key))
        for key in lost:
            self.assertIsNotNone(ledger.query(key))
        self.assertVersion(ledger, self.live(self.count), 1)

    def test_the_write_that_discovers_the_outage(self):
        # Its outcome is unknown.
        for operation in 'set', 'invalidate':
            client = self.client()
            ledger = self.ledger(client, self.count)
            self.lose()
            [key] = self.keys(LOST, 1)
            self.assertIsNone(getattr(ledger, operation)(key))
            self.assertEqual(self.state(client), 'down')
            self.return_known(client)
            self.assertIsNone(ledger.query(key))
            self.assertIsNotNone(ledger.set(key))
            self.assertIsNotNone(ledger.query(key))

    def test_invalidate_all(self):
        client, ledger = self.begin()
        with self.assertRaises(NotInvalidated) as caught:
            ledger.invalidate_all()
        self.assertEqual(
            list(caught.exception.errors), [self.addresses[LOST]])
        self.bring_back()
        for key in self.keys(LOST, self.count):
            self.assertEqual(self.found(key)[LOST], 1)
        self.return_known(client)
        self.assertVersion(ledger, self.keys(count=self.count), None)
        for key in self.keys(count=self.count):
            self.assertIsNotNone(ledger.set(key))
        self.assertVersion(ledger, self.keys(count=self.count), 2)

    def test_a_backlog_above_the_bound(self):
        client, ledger = self.begin()
        lost = self.keys(LOST, self.count)
        self.enterContext(mock.patch.object(
            undelivered, 'MOST', self.count - 2))
        with self.assertLogs('p01.memcache') as log:
            for key in lost[:-1]:
                self.assertIsNone(ledger.invalidate(key))
        [line] = log.output
        self.assertIn('it will be flushed', line)
        self.bring_back()
        for key in lost:
            self.assertEqual(self.found(key)[LOST], 1)
        self.return_known(client)
        # Only this server is flushed, and nothing is left on it.
        self.assertVersion(ledger, lost, None)
        for key in lost:
            self.assertIsNone(self.found(key)[LOST])
        self.assertVersion(ledger, self.live(self.count), 1)
        # It is not flushed again: what was written since stays.
        self.assertIsNotNone(ledger.set(lost[0]))
        self.assertIsNotNone(ledger.set(lost[1]))
        self.assertIsNotNone(ledger.query(lost[0]))

    def test_down_again(self):
        client, ledger = self.begin()
        lost = self.keys(LOST, self.count)
        for key in lost:
            self.assertEqual(ledger.set(key) is not None, self.failover)
        self.return_known(client)
        for key in lost[::2]:
            self.assertIsNotNone(ledger.set(key))
        for key in lost[1::2]:
            self.assertIsNotNone(ledger.invalidate(key))
        self.lose_marked(client)
        if self.failover:
            # They live on, on the stand-ins.
            for key in lost:
                self.assertEqual(self.moved(key), 2)
        self.assertVersion(ledger, lost, None)
        for key in lost[:2]:
            self.assertIsNone(ledger.set(key))
            self.assertIsNone(ledger.query(key))
            self.assertIsNone(ledger.invalidate(key))
        self.return_known(client)
        self.assertVersion(ledger, lost[:2], None)
        self.assertVersion(ledger, lost[2::2], 3)
        self.assertVersion(ledger, lost[3::2], None)


class OldDataReturnsOnMemcachedTest(OnMemcached, OldDataReturnsTest):

    count = 200

    def test_threads(self):
        client = self.client(timeout=self.timeout, blacktime=0.1)
        with Load(client) as load:
            for _ in range(4):
                self.lose()
                until(lambda: load.errors or self.state(client) == 'down')
                self.let_work(load)
                self.bring_back()
                until(lambda: load.errors or self.state(client) == 'up')
                self.let_work(load)
        self.assertEqual(load.errors, [])


class OldDataReturnsFrozenTest(FrozenMixin, OldDataReturnsOnMemcachedTest):

    count = 50

    def test_the_write_that_discovers_the_outage(self):
        # In the end, a frozen server carries out what it was sent.
        client = self.client()
        ledger = self.ledger(client, self.count)
        self.lose()
        [key] = self.keys(LOST, 1)
        self.assertIsNone(ledger.set(key))
        self.bring_back()
        until(lambda: self.found(key)[LOST] == 2)
        self.return_known(client)
        self.assertIsNone(ledger.query(key))
        self.assertIsNotNone(ledger.set(key))
        self.assertEqual(ledger.query(key), 3)


class OldDataReturnsFailoverTest(OldDataReturnsTest):
    """Fault 13: the same, while other servers stand in."""

    failover = True

    def test_lifetimes(self):
        for blacktime, most in (60, 60), (1.5, 2), (0.9, 1):
            with self.subTest(blacktime=blacktime):
                self.check_lifetimes(blacktime, most)

    def check_lifetimes(self, blacktime, most):
        client, ledger = self.begin(blacktime=blacktime)
        [key] = self.keys(LOST, 1)
        requests = []

        def look(data):
            requests.append(data)
            return data

        for place in range(3):
            self.proxies[place].fault = Fault(side='request', swap=look)
        for lifetime in None, 0, 1, 5, 3600, 31 * DAY, 365 * DAY:
            del requests[:]
            self.assertIsNotNone(ledger.set(key, lifetime=lifetime))
            self.assertIsNotNone(ledger.query(key))
            exptime = int(requests[0].split()[3])
            # A moment of the blacktime has already passed.
            self.assertIn(
                exptime, [lifetime] if lifetime in (1, 5) and lifetime <= most
                else [most, max(most - 1, 1)])
        for proxy in self.proxies:
            proxy.clear()
        self.bring_back()

    def test_two_are_down(self):
        client, ledger = self.begin()
        lost = self.keys(LOST, self.count)
        for key in lost:
            self.assertIsNotNone(ledger.set(key))
        self.lose_marked(client, 0)
        for key in lost:
            self.assertIsNotNone(ledger.set(key))
            self.assertIsNotNone(ledger.query(key))
        for key in lost[::2]:
            self.assertIsNone(ledger.invalidate(key))
        self.return_known(client, 0)
        # Values on the first stand-in have been replaced since.
        self.assertVersion(ledger, lost[::2], None)
        for key in lost[1::2]:
            self.assertIn(ledger.query(key), (3, None))
        self.return_known(client)
        self.assertVersion(ledger, lost, None)

    def test_invalidation_reaches_the_stand_in(self):
        client, ledger = self.begin()
        [key] = self.keys(LOST, 1)
        self.assertIsNotNone(ledger.set(key))
        self.assertEqual(self.moved(key), 2)
        self.assertIsNone(ledger.invalidate(key))
        self.assertIsNone(self.moved(key))

    def test_a_write_is_the_probe(self):
        # It fails there, and the stand-in has an older value.
        for operation in 'set', 'invalidate':
            with self.subTest(operation):
                client = self.client(blacktime=0.1)
                key = self.keys(LOST, 2)[1]
                ledger = Ledger(client, [key])
                self.lose_marked(client)
                until(lambda ledger=ledger, key=key: ledger.set(key))
                self.assertIsNotNone(self.moved(key))
                health = client._state.store.servers[LOST].health
                until(lambda health=health: not health.absence)
                self.assertIsNone(getattr(ledger, operation)(key))
                self.assertIsNone(ledger.query(key))
                self.bring_back()

    def test_all_are_down(self):
        client, ledger = self.begin()
        self.lose_marked(client, 0)
        self.lose_marked(client, 2)
        for key in self.keys(count=self.count):
            self.assertIsNone(ledger.query(key))
            self.assertIsNone(ledger.set(key))
            self.assertIsNone(ledger.invalidate(key))
        for place in range(3):
            self.return_known(client, place)
        self.assertVersion(ledger, self.keys(count=self.count), None)


class OldDataReturnsFailoverOnMemcachedTest(
        OldDataReturnsFailoverTest, OldDataReturnsOnMemcachedTest):

    def test_moves_again_when_settled(self):
        client = self.client(blacktime=0.1, timeout=0.5)
        ledger = self.ledger(client, self.count)
        self.lose_marked(client)
        self.return_known(client)
        health = client._state.store.servers[LOST].health

        def settled():
            return health.is_settled(time.monotonic() + client.timeout)

        self.assertFalse(settled())
        until(settled)
        client.blacktime = 60
        self.lose_marked(client)
        [key] = self.keys(LOST, 1)
        self.assertIsNotNone(ledger.set(key))
        self.assertEqual(ledger.query(key), 2)

    def test_a_slow_probe(self):
        # While the probe is under way, others use the stand-in. What they
        # store there must have expired when it may stand in again.
        client = self.client(blacktime=0.2)
        probe, key = self.keys(LOST, 2)
        ledger = Ledger(client, [key])
        self.lose_marked(client)
        health = client._state.store.servers[LOST].health
        until(lambda: not health.absence)
        self.proxies[LOST].once(HOLD)
        self.bring_back()
        prober = threading.Thread(target=client.query, args=(probe,))
        prober.start()
        self.proxies[LOST].wait(lambda: self.proxies[LOST].stalled)
        self.assertIsNotNone(ledger.set(key))
        self.proxies[LOST].release()
        prober.join(PATIENCE)
        self.wait_up(client)
        self.assertIsNotNone(ledger.set(key))
        self.assertEqual(ledger.query(key), 2)
        self.lose_marked(client)
        self.assertIsNone(ledger.query(key))

    def test_a_slow_write(self):
        # It arrives at the stand-in long after the server is back.
        client = self.client(blacktime=0.2)
        key = self.keys(LOST, 2)[1]
        other = self.proxies[self.stand_in(key)]
        ledger = Ledger(client, [key])
        self.lose_marked(client)
        other.once(Fault(then='stall', side='request'))
        writer = threading.Thread(target=ledger.set, args=(key,))
        writer.start()
        self.assertTrue(other.wait(lambda: other.stalled))
        self.return_known(client)
        other.release()
        writer.join(PATIENCE)
        self.assertEqual(self.moved(key), 1)
        self.assertTrue(ledger.invalidate(key))
        self.lose_marked(client)
        self.assertIsNone(ledger.query(key))


class OldDataReturnsFailoverFrozenTest(OldDataReturnsFrozenTest):

    failover = True


class ClockJumpTest(OutageCase):
    """Fault 14: the wall clock jumps an hour either way."""

    def test_an_outage(self):
        for hours in 1, -1:
            for failover in False, True:
                with self.subTest(hours=hours, failover=failover):
                    self.check(hours, failover)

    def check(self, hours, failover):
        client = self.client(failover=failover)
        ledger = self.ledger(client, 5)
        lost = self.keys(LOST, 5)
        self.lose_marked(client)
        for key in lost[::2]:
            self.assertEqual(ledger.set(key) is not None, failover)
        with jump(hours):
            # The server is left alone for as long as without the jump.
            opened = self.proxies[LOST].opened
            self.bring_back()
            for key in lost[::2]:
                self.assertEqual(ledger.query(key), 2 if failover else None)
                ledger.set(key)
            self.assertEqual(self.proxies[LOST].opened, opened)
            self.assertVersion(ledger, self.live(5), 1)
            absence = client._state.store.servers[LOST].health.absence
            self.assertLess(abs(absence - 60), PATIENCE)
            self.return_known(client)
            self.assertVersion(ledger, lost[::2], None)
            self.assertVersion(ledger, lost[1::2], 1)
        self.assertVersion(ledger, self.live(5), 1)

    def test_the_blacktime_ends(self):
        for hours in 1, -1:
            client = self.client(blacktime=0.05)
            self.lose_marked(client)
            with jump(hours):
                self.assertEqual(self.state(client), 'down')
                self.bring_back()
                self.wait_up(client)


class MovedAddressTest(OutageCase):
    """Fault 30: the host's address changes, or it has several."""

    timeout = 0.2
    name = 'cache.example'

    def setUp(self):
        super().setUp()
        self.hosts = []  # the addresses of the name
        real = socket.getaddrinfo

        def resolve(host, *args, flags=0, **kw):
            if host != self.name or flags & socket.AI_NUMERICHOST:
                return real(host, *args, flags=flags, **kw)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, '',
                 (where.split(':')[0], int(where.split(':')[1])))
                for where in self.hosts]

        self.enterContext(mock.patch('socket.getaddrinfo', resolve))

    def named(self, *addresses, **settings):
        self.hosts[:] = addresses
        return self.client([self.name], **settings)

    def test_the_address_changes(self):
        client = self.named(self.addresses[0])
        self.assertIsNotNone(client.set('key', 'zero'))
        self.hosts[:] = [self.addresses[1]]
        # A connection is kept as long as it works.
        self.assertEqual(client.query('key'), 'zero')
        self.proxies[0].cut()
        self.assertIsNone(client.query('key'))
        self.assertIsNotNone(client.set('key', 'one'))
        self.assertEqual(client.query('key'), 'one')
        self.assertEqual(self.directs[1].query('key'), 'one')
        self.assertEqual(self.directs[0].query('key'), 'zero')

    def test_the_address_changes_while_down(self):
        client = self.named(self.addresses[0], blacktime=0.02)
        self.proxies[0].refuse()
        self.assertIsNone(client.query('key'))
        self.hosts[:] = [self.addresses[1]]
        until(lambda: client.set('key', 'one'))
        self.assertEqual(self.directs[1].query('key'), 'one')

    def test_the_first_address_refuses(self):
        client = self.named(*self.addresses[:2])
        self.proxies[0].refuse()
        self.assertIsNotNone(client.set('key', 'one'))
        self.assertEqual(self.directs[1].query('key'), 'one')

    def test_the_first_address_is_silent(self):
        silent = self.enterContext(full_backlog())

        def store():
            client = self.named(silent, self.addresses[1])
            self.assertIsNotNone(self.timed(client.set, 'key', 'one'))
            self.assertEqual(self.directs[1].query('key'), 'one')

        self.assertInTime(store, self.timeout / 2 + SLACK)

    def test_no_address_answers(self):
        silent = self.enterContext(full_backlog())
        self.proxies[0].refuse()

        def fail():
            client = self.named(self.addresses[0], silent, self.addresses[0])
            self.assertIsNone(self.timed(client.set, 'key', 'one'))

        self.assertInTime(fail)

    def test_no_address(self):
        client = self.named(self.addresses[0], blacktime=0.02)
        with mock.patch('socket.getaddrinfo',
                        side_effect=socket.gaierror('unknown')):
            self.assertIsNone(client.query('key'))
        until(lambda: client.set('key', 1))


class HealthTest(OutageCase):
    """Reports about a server's health, and which thread probes it."""

    level = 1

    def setUp(self):
        super().setUp()
        self.events = []
        self.enterContext(self.subscribed(self.events.append))

    def assertTold(self, *kinds):
        for event, kind in itertools.zip_longest(self.events, kinds):
            self.assertTrue(kind.providedBy(event), event)
            self.assertEqual(event.server, self.addresses[LOST])

    def test_one_line_and_one_event(self):
        client = self.client(retries=2)
        keys = self.keys(LOST, 16)
        with self.assertLogs('p01.memcache') as log:
            self.lose()
            at_once(client.query, keys)
            at_once(client.invalidate, keys)
            self.let_probe(client)
            at_once(client.query, keys)  # a probe that fails
            self.return_known(client)
            at_once(client.query, keys)
        name = f'memcached {self.addresses[LOST]} is '
        lines = [record.getMessage() for record in log.records]
        self.assertEqual(len(lines), 3, lines)
        failing, down, up = sorted(
            lines, key=lambda line: (
                'up again' in line, 'is down: ' in line))
        self.assertTrue(failing.startswith(name + 'failing: cannot connect'))
        self.assertTrue(down.startswith(name + 'down: cannot connect'))
        self.assertRegex(up, r'up again, after \d+ failures in \d+\.\d sec')
        self.assertTold(IServerDownEvent, IServerUpEvent)
        for event, line in zip(self.events, (down, up), strict=True):
            self.assertTrue(line.endswith(event.reason))

    def test_one_probe(self):
        client = self.client(blacktime=0.1)
        keys = self.keys(LOST, 16)
        lost = self.proxies[LOST]
        self.lose_marked(client)
        lost.fault = HOLD
        opened = lost.opened
        self.bring_back()
        until(lambda: not client._state.store.servers[LOST].health.absence)
        probe = threading.Thread(
            target=at_once, args=(client.query, keys))
        probe.start()
        self.assertTrue(lost.wait(lambda: lost.stalled))
        # No other thread asks while the probe is under way.
        at_once(client.query, keys)
        self.assertEqual((lost.stalled, lost.opened - opened), (1, 1))
        lost.clear()
        lost.release()
        probe.join(PATIENCE)
        self.assertEqual(self.state(client), 'up')

    def test_probes_that_fail(self):
        # It accepts connections, and closes them without an answer.
        dead = self.enterContext(ScriptedServer(default=None))
        self.addresses[LOST] = dead.address
        blacktime = 0.05
        client = self.client(blacktime=blacktime)
        keys = self.keys(LOST, 16)
        at_once(client.query, keys)
        self.assertEqual(self.state(client), 'down')
        start, opened = time.monotonic(), dead.opened
        stopping = threading.Event()

        def ask(key):
            while not stopping.wait(0.001):
                client.query(key)

        threads = [threading.Thread(target=ask, args=(key,)) for key in keys]
        for thread in threads:
            thread.start()
        self.assertTrue(dead.wait(lambda: dead.opened >= opened + 3))
        stopping.set()
        for thread in threads:
            thread.join(PATIENCE)
        seconds = time.monotonic() - start
        self.assertLessEqual(dead.opened - opened, seconds / blacktime + 1)
        self.assertTold(IServerDownEvent)

    def test_a_subscriber_that_raises(self):
        def fail(event):
            raise ZeroDivisionError(event)

        self.enterContext(self.subscribed(fail))
        client = self.client()
        ledger = self.ledger(client, 5)
        self.lose_marked(client)
        self.assertVersion(ledger, self.live(5), 1)
        self.assertIsNone(ledger.set(*self.keys(LOST, 1)))
        self.return_known(client)
        self.assertVersion(ledger, self.keys(LOST, 5)[1:], 1)
        self.assertTold(IServerDownEvent, IServerUpEvent)

    def check_subscriber(self, occur, use, limit=0.5):
        """`occur` makes two events; the subscriber does `use` at each."""
        def scenario():
            client = self.client(maxPoolSize=1, timeout=2 * limit)
            used = []

            def handle(event):
                self.timed(use, client)
                used.append(event)

            # It must not get the events of the next client.
            with self.subscribed(handle):
                occur(client)
            self.assertEqual(len(used), 2)

        self.assertInTime(scenario, limit)

    def outage(self, client):
        self.lose_marked(client)
        self.return_known(client)

    def test_a_subscriber_that_uses_the_client(self):
        live, lost = self.keys(0, 1) + self.keys(LOST, 2)[1:]
        found = []

        def use(client):
            client.set(live, live)
            found.append(client.query(live))
            client.invalidate(live)
            client.query(lost)

        self.check_subscriber(self.outage, use)
        self.assertEqual(set(found), {live})

    def test_a_subscriber_that_uses_a_key_of_the_backlog(self):
        key = self.keys(LOST, 2)[1]

        def occur(client):
            self.lose_marked(client)
            self.assertIsNone(client.invalidate(key))
            self.return_known(client)

        self.check_subscriber(occur, lambda client: client.query(key))

    def test_a_subscriber_after_a_refusal(self):
        # SERVER_ERROR is an answer, too.
        key = self.keys(LOST, 2)[1]

        def occur(client):
            self.lose_marked(client)
            self.proxies[LOST].once(
                Fault(swap=lambda reply: b'SERVER_ERROR busy\r\n'))
            self.return_known(client)

        self.check_subscriber(occur, lambda client: client.query(key))


class RestartTest(DirectMixin, OutageCase):
    """Servers are killed and restarted under load."""

    def lose(self, place=LOST):
        self.servers[place].stop()

    def bring_back(self, place=LOST):
        self.servers[place].start()

    def check(self, **settings):
        before = set(threading.enumerate())
        client = self.client(
            retries=3, delay=0.1, blacktime=0.3, **settings)
        with Load(client) as load:
            for place in range(3):
                self.lose(place)
                until(lambda place=place: load.errors or (
                    self.state(client, place) == 'down'))
                self.let_work(load)
                self.bring_back(place)
                until(lambda place=place: load.errors or (
                    self.state(client, place) == 'up'))
                ledger = self.ledger(client, 10)
                self.assertVersion(ledger, self.keys(count=10), 1)
        self.assertEqual(load.errors, [])
        self.assertEqual(set(threading.enumerate()) - before, set())
        for _, numbers in client.getPools():
            self.assertEqual(numbers['active'], 0)

    def test_restart(self):
        self.check()

    def test_restart_with_failover(self):
        self.check(failover=True)

    def test_restart_with_few_connections(self):
        self.check(maxPoolSize=2)


class UnixTest(RestartTest):
    """Three servers, one of them on a unix socket."""

    def start_servers(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)
        unix = Memcached(path=os.path.join(folder, 'socket'))
        servers = list(ClusterLayer.servers)
        servers[LOST] = self.enterContext(unix)
        return servers

    def test_each_has_its_keys(self):
        ledger = self.ledger(self.client(), 100)
        self.assertVersion(ledger, self.keys(count=100), 1)
        for place in range(3):
            for key in self.keys(place, 100):
                expected = [None, None, None]
                expected[place] = 1
                self.assertEqual(self.found(key), expected)
        for key in self.keys(count=100):
            self.assertTrue(ledger.invalidate(key))
        self.assertVersion(ledger, self.keys(count=100), None)

    def test_frozen(self):
        client = self.client(timeout=0.5)
        ledger = self.ledger(client)
        self.servers[LOST].freeze()
        for key in self.keys(LOST):
            self.assertIsNone(ledger.invalidate(key))
        self.assertVersion(ledger, self.live(), 1)
        self.servers[LOST].thaw()
        self.let_probe(client)
        self.wait_up(client)
        self.assertVersion(ledger, self.keys(LOST), None)


class TwemproxyTest(OnMemcached, OutageCase):
    """Two proxies in front of three servers."""

    count = 100
    timeout = 2

    def setUp(self):
        super().setUp()
        behind = [proxy.address for proxy in self.proxies]
        self.crackers = [
            self.enterContext(Nutcracker(behind)) for _ in range(2)]
        self.both = [cracker.address for cracker in self.crackers]
        self.each = [self.client([where]) for where in self.both]

    def pair(self, **settings):
        return self.client(
            self.both, distribution='roundrobin',
            **{'retries': 3, 'delay': 0.1, 'blacktime': 0.2, **settings})

    def opened(self, client):
        return [numbers['opened'] for _, numbers in client.getPools()]

    def lost_keys(self):
        """Return the keys that twemproxy has put on the lost server."""
        return [key for key in self.keys(count=self.count)
                if self.found(key)[LOST] is not None]

    def test_either_has_everything(self):
        client = self.pair()
        ledger = self.ledger(client, self.count)
        keys = self.keys(count=self.count)
        self.assertVersion(ledger, keys, 1)
        self.assertEqual(self.opened(client), [1, 1])
        for key in keys:
            for single in self.each:
                self.assertEqual(single.query(key), (key, 1))
            self.assertEqual(sorted(
                filter(None, self.found(key))), [1])
        for key in keys:
            self.assertTrue(ledger.invalidate(key))
            for single in self.each:
                self.assertIsNone(single.query(key))
        self.assertVersion(ledger, keys, None)

    def test_one_is_stopped(self):
        self.check_one_proxy(Nutcracker.stop, Nutcracker.start)

    def test_one_is_frozen(self):
        self.timeout = 0.4
        self.check_one_proxy(Nutcracker.freeze, Nutcracker.thaw)

    def check_one_proxy(self, lose, bring_back):
        client = self.pair(timeout=self.timeout, blacktime=0.5)
        ledger = self.ledger(client, self.count)
        keys = self.keys(count=self.count)
        lose(self.crackers[0])
        failed = [key for key in keys[:40] if not ledger.invalidate(key)]
        # The other proxy delivers it before the key is read.
        self.assertTrue(failed)
        for key in keys[:40]:
            self.assertIsNone(ledger.query(key))
        for key in failed:
            self.assertEqual(self.found(key), [None] * 3)
        client.blacktime = client.delay = 60
        found = [ledger.query(key) for key in keys[40:]]
        self.assertLessEqual(found.count(None), client.retries)
        self.assertEqual(set(found) - {None}, {1})
        self.assertVersion(ledger, keys[40:], 1)
        for key in keys:
            self.assertIsNotNone(ledger.set(key))
        bring_back(self.crackers[0])
        client.blacktime = client.delay = 0.1
        until(lambda: [client.query(key) for key in keys] and all(
            self.opened(client)))
        for key in keys:
            self.assertIsNotNone(ledger.set(key))
            self.assertIsNotNone(ledger.query(key))

    def test_one_is_stopped_under_load(self):
        self.check_load(Nutcracker.stop, Nutcracker.start)

    def test_one_is_frozen_under_load(self):
        self.timeout = 0.5
        # Once thawed, it carries out what it was sent, whatever the other
        # proxy has done in the meantime.
        self.check_load(Nutcracker.freeze, Nutcracker.thaw, late=True)

    def check_load(self, lose, bring_back, late=False):
        client = self.pair(timeout=self.timeout)
        with Load(client, late=late) as load:
            for cracker in self.crackers:
                place = self.crackers.index(cracker)
                lose(cracker)
                until(lambda place=place: load.errors or (
                    self.state(client, place) == 'down'))
                self.let_work(load)
                bring_back(cracker)
                until(lambda place=place: load.errors or (
                    self.state(client, place) == 'up'))
                self.let_work(load)
        self.assertEqual(load.errors, [])

    def test_a_server_is_lost(self):
        client = self.pair()
        ledger = self.ledger(client, self.count)
        lost = self.lost_keys()
        live = [key for key in self.keys(count=self.count)
                if key not in lost]
        self.assertTrue(lost)
        self.lose()

        def use():
            for key in lost[:10]:
                self.assertIsNone(self.timed(ledger.query, key))
                self.assertIsNone(self.timed(ledger.set, key))
                self.assertIsNone(self.timed(ledger.invalidate, key))
                self.assertIsNone(self.timed(ledger.query, key))
            for key in live:
                self.assertEqual(self.timed(ledger.query, key), 1)

        self.assertInTime(use, 0.1)
        for key in lost[10:20]:
            self.assertIsNone(ledger.set(key))
        self.assertVersion(ledger, live, 1)
        # The proxies are not marked down.
        self.assertEqual(self.state(client, 0), 'up')
        self.assertEqual(self.state(client, 1), 'up')
        self.bring_back()
        for key in lost[:20]:
            self.assertEqual(self.found(key)[LOST], 1)
        self.assertVersion(ledger, lost[:20], None)
        self.assertVersion(ledger, lost[20:], 1)
        for key in lost:
            self.assertIsNotNone(ledger.set(key))
            self.assertIsNotNone(ledger.query(key))

    def test_a_server_is_lost_under_load(self):
        client = self.pair()
        with Load(client) as load:
            for _ in range(3):
                self.let_work(load)
                self.lose()
                self.let_work(load)
                self.bring_back()
        self.assertEqual(load.errors, [])

    def check_refusals(self, client, times):
        """Commands unknown to a proxy are reported, and all goes on."""
        keys = self.keys(count=10)
        ledger = self.ledger(client, 10)
        for _ in range(times):
            with self.assertRaises(NotInvalidated) as caught:
                self.timed(client.invalidateAll)
            self.assertEqual(list(caught.exception.errors), client.servers)
        self.assertVersion(ledger, keys, 1)
        for _ in range(times):
            replies = self.timed(client.getStatistics)
            self.assertEqual(
                [server for server, _ in replies], client.servers)
            for _, names in replies:
                self.assertEqual(list(names), ['error'])
        self.assertVersion(ledger, keys, 1)
        for key in keys:
            self.assertIsNotNone(ledger.set(key))

    def test_commands_that_proxies_do_not_know(self):
        for times in 1, 4:
            with self.subTest(times=times):
                self.assertInTime(
                    lambda times=times: self.check_refusals(
                        self.pair(blacktime=60), times), 0.5)

    def test_commands_that_a_single_proxy_does_not_know(self):
        self.assertInTime(
            lambda: self.check_refusals(
                self.client(self.both[:1], retries=3), 1), 0.5)

    def test_a_single_proxy_and_a_backlog_above_the_bound(self):
        client = self.client(self.both[:1], retries=3, blacktime=0.1)
        ledger = self.ledger(client, self.count)
        keys = self.keys(count=self.count)
        lost = self.lost_keys()
        self.enterContext(mock.patch.object(undelivered, 'MOST', 10))
        self.lose()
        for key in lost:
            self.assertIsNone(ledger.invalidate(key))
        self.bring_back()
        until(lambda: all(
            client.set(key, (key, 1)) for key in keys), PATIENCE)
