# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Many keys at once, on all servers at the same time, one of which is faulty.

Every value contains its key and a version, so a wrong or an old one is
detected. Level 1 runs on embedded and scripted servers, level 2 on memcached.
"""

import contextlib
import functools
import gc
import importlib.util
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import weakref
from unittest import mock

from p01.memcache.cluster import fanout
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.interfaces import IServerEvent
from p01.memcache.testing import ClusterLayer
from p01.memcache.testing import Memcached
from p01.memcache.tests.faults.outage import LOST
from p01.memcache.tests.faults.outage import DirectMixin
from p01.memcache.tests.faults.outage import OnMemcached
from p01.memcache.tests.faults.outage import OutageCase
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.tests.support.proxy import DEAF
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.storm import Storm
from p01.memcache.tests.support.storm import Struck
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire import batch
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Set


load_tests = run_in(Replies)


REFUSED = b'SERVER_ERROR out of memory storing object\r\n'


class ManyCase(OutageCase):
    """Three servers, and some keys on each of them."""

    level = 1
    count = 5  # the number of keys on each server

    def setUp(self):
        super().setUp()
        # Making them takes a while, so they are made once.
        self.ring = functools.cache(self.ring)
        self.wire_key = functools.cache(self.wire_key)
        self.all = self.keys(count=self.count)
        self.lost = self.keys(LOST, self.count)
        self.others = [key for key in self.all if key not in self.lost]

    def client(self, addresses=None, **settings):
        # A failure has no effect on the next operation.
        return super().client(
            addresses,
            **{'retries': 10 ** 6, 'blacktime': 0, **settings})

    def wires(self, keys):
        return [self.wire_key(key) for key in keys]

    def values(self, version, keys=None):
        return {key: (key, version)
                for key in (self.all if keys is None else keys)}

    def fill(self, version='old', keys=None):
        """Store the values on the servers, without a proxy."""
        for place in range(3):
            values = self.values(version, [
                key for key in (self.all if keys is None else keys)
                if key in self.keys(place, self.count)])
            direct = self.directs[place]
            with self.patience(direct):
                self.assertEqual(direct.setMany(values), [])

    def stored(self):
        """Return the versions that are on the servers."""
        found = {}
        for place in range(3):
            there = self.directs[place].queryMany(
                self.keys(place, self.count))
            for key, (named, version) in there.items():
                self.assertEqual(named, key)
                found[key] = version
        return found

    def assertIntact(self, client, connections=None):
        """No connection is in use, and all of them give right answers."""
        for _, numbers in client.getPools():
            self.assertEqual(numbers['active'], 0, numbers)
            if connections is not None:
                self.assertLessEqual(
                    numbers['idle'], connections, numbers)
        with self.patience(client):
            for version in 'intact', 'again':
                values = self.values(version)
                # This delivers the backlog, and ends all suspicion.
                client.setMany(values)
                self.assertEqual(client.setMany(values), [])
                self.assertEqual(client.queryMany(self.all), values)
                for key in self.all:
                    self.assertEqual(client.query(key), (key, version))


@variant('OnMemcached', OnMemcached)
class UseTest(ManyCase):
    """Operations without faults."""

    def test_each_server_is_asked_once(self):
        client = self.client()
        values = self.values('new')
        for operation, expected in (
                (lambda: client.setMany(values), []),
                (lambda: client.queryMany(self.all), values),
                (lambda: client.invalidateMany(self.all), []),
                (lambda: client.queryMany(self.all), {})):
            before = [proxy.exchanges for proxy in self.proxies]
            self.assertEqual(operation(), expected)
            self.assertEqual(
                [proxy.exchanges for proxy in self.proxies],
                [number + 1 for number in before])
        self.assertEqual(
            [numbers for _, numbers in client.getPools()],
            [{'active': 0, 'idle': 1, 'opened': 1}] * 3)
        self.assertIntact(client)

    def test_what_is_too_large(self):
        client = self.client()
        client.setMany(self.values('old'))
        client.maxValueSize = 100
        large = dict.fromkeys(self.all, 'x' * 200)
        before = [proxy.exchanges for proxy in self.proxies]
        with self.assertLogs('p01.memcache'):
            self.assertEqual(client.setMany(large), self.all)
        self.assertEqual(
            [proxy.exchanges for proxy in self.proxies],
            [number + 1 for number in before])
        self.assertEqual(client.queryMany(self.all), {})

    def test_only_the_servers_of_the_keys_are_asked(self):
        client = self.client()
        self.assertEqual(client.setMany(self.values('new', self.lost)), [])
        self.assertEqual(
            client.queryMany(self.lost), self.values('new', self.lost))
        self.assertEqual(client.invalidateMany(self.lost), [])
        self.assertEqual(
            [proxy.exchanges for proxy in self.proxies], [0, 3, 0])

    def test_no_keys(self):
        client = self.client()
        self.assertEqual(client.queryMany([]), {})
        self.assertEqual(client.setMany({}), [])
        self.assertEqual(client.invalidateMany(iter(())), [])
        self.assertEqual(
            [proxy.exchanges for proxy in self.proxies], [0, 0, 0])

    def test_duplicates(self):
        self.fill()
        client = self.client()
        self.assertEqual(
            client.queryMany(self.all * 3), self.values('old'))
        self.assertEqual(
            client.invalidateMany(self.all + self.all), [])
        self.assertEqual(self.stored(), {})

    def test_keys_that_are_the_same_to_memcached(self):
        client = self.client()
        self.assertEqual(client.setMany({1: 'one'}), [])
        self.assertEqual(
            client.queryMany([1, '1', b'1', 2]),
            {1: 'one', '1': 'one', b'1': 'one'})
        self.assertEqual(client.invalidateMany(['1', 1]), [])
        self.assertEqual(client.queryMany([1, '1']), {})

    def test_any_iterable_in_its_order(self):
        self.fill()
        client = self.client()
        chance = random.Random(0)
        for _ in range(3):
            chance.shuffle(self.all)
            self.assertEqual(
                list(client.queryMany(iter(self.all))), self.all)

    def test_raw(self):
        client = self.client()
        values = {key: f'{key}\r\nEND\r\n'.encode() for key in self.all}
        self.assertEqual(client.setMany(values, raw=True), [])
        self.assertEqual(client.queryMany(self.all, raw=True), values)
        self.assertEqual(
            client.setMany(dict.fromkeys(self.all, b''), raw=True), [])

    def test_no_time_to_ask_about_empty_values(self):
        # Each might be a claim. If there is no time to ask about them, the
        # full value is not affected.
        proxy = self.proxies[LOST]
        client = self.client([proxy.address])
        client.setMany(dict.fromkeys(self.all, b''), raw=True)
        client.set('full', b'full', raw=True)
        client.query(self.all[0], raw=True)  # finds out the server's commands
        client.timeout = 0.1
        before = proxy.exchanges
        proxy.once(Fault())
        proxy.fault = HOLD
        self.assertEqual(
            client.queryMany([*self.all, 'full'], raw=True),
            {'full': b'full'})
        # No request was made for which there was no time.
        self.assertEqual(proxy.exchanges, before + 2)
        proxy.clear()
        proxy.release()

    def test_lifetime(self):
        client = self.client()
        sent = bytearray()

        def record(request):
            sent.extend(request)
            return request

        self.proxies[0].once(Fault(side='request', swap=record))
        client.setMany(self.values('new'), lifetime=17)
        lines = [line.split() for line in sent.split(b'\r\n')
                 if line.startswith(b'set ')]
        self.assertEqual(
            [words[3] for words in lines], [b'17'] * self.count)

    def test_all_at_the_same_time(self):
        self.fill()
        client = self.client()
        for operation, args, expected in (
                (client.queryMany, [self.all], self.values('old')),
                (client.setMany, [self.values('new')], []),
                (client.queryMany, [self.all], self.values('new')),
                (client.invalidateMany, [self.all], []),
                (lambda: len(client.getStatistics()), [], 3),
                (client.invalidateAll, [], None)):
            results = []
            for proxy in self.proxies:
                proxy.once(HOLD)
            thread = threading.Thread(
                target=lambda results=results, operation=operation, args=args:
                results.append(operation(*args)))
            thread.start()
            # Each server has answered, though no answer got through.
            for proxy in self.proxies:
                self.assertTrue(proxy.wait(lambda proxy=proxy: proxy.stalled))
            for proxy in reversed(self.proxies):
                proxy.release()
            thread.join(PATIENCE)
            self.assertEqual(results, [expected])
        self.assertIntact(client, 1)

    def test_batches(self):
        # They prevent both sides from waiting for each other to read.
        self.enterContext(mock.patch.object(batch, 'MOST_KEYS', 2))
        self.enterContext(mock.patch.object(batch, 'MOST_CHANGES', 2))
        client = self.client()
        for operation, expected in (
                (lambda: client.setMany(self.values('new')), []),
                (lambda: client.queryMany(self.all), self.values('new')),
                (lambda: client.invalidateMany(self.all), [])):
            before = [proxy.exchanges for proxy in self.proxies]
            self.assertEqual(operation(), expected)
            self.assertEqual(
                [proxy.exchanges for proxy in self.proxies],
                [number + 3 for number in before])
        self.assertIntact(client, 1)

    def test_sizes_of_batches(self):
        most = batch.MOST_BYTES

        def sizes(*lengths):
            commands = [mock.Mock(
                key=number, encode=lambda length=length: b'x' * length,
                read=id, since=0) for number, length in enumerate(lengths)]
            batches, keys = [], []
            for each in batch.change_all(commands, {}, most):
                replies = {}
                each._replies = replies
                each.read(None)
                keys += replies
                batches.append([lengths[key] for key in replies])
            self.assertEqual(keys, list(range(len(lengths))))
            return batches

        self.assertEqual(sizes(), [])
        self.assertEqual(sizes(most), [[most]])
        self.assertEqual(sizes(most - 1, 1), [[most - 1, 1]])
        self.assertEqual(sizes(most, 1), [[most], [1]])
        self.assertEqual(
            sizes(1, most + 1, 1, 2), [[1], [most + 1], [1, 2]])
        count = batch.MOST_CHANGES
        self.assertEqual(
            [len(keys) for keys in sizes(*[1] * (2 * count + 1))],
            [count, count, 1])

    def test_errors_of_use(self):
        client = self.client()

        class Pair(dict):
            pass

        for operation, *args in (
                (client.queryMany, 'key'),
                (client.queryMany, b'key'),
                (client.queryMany, 17),
                (client.queryMany, None),
                (client.queryMany, [1, []]),
                (client.queryMany, [1, 1.0]),
                (client.queryMany, [1, '\ud800']),
                (client.setMany, [('key', 'value')]),
                (client.setMany, 'key'),
                (client.setMany, {1: 1, '\ud800': 1}),
                (client.setMany, {1: 1, 2: lambda: None}),
                (client.setMany, {1: 1}, -1),
                (client.setMany, {1: 1}, '1'),
                (client.setMany, {1: b'1', 2: '2'}, 1, True),
                (client.invalidateMany, 'key'),
                (client.invalidateMany, 17),
                (client.invalidateMany, [1, '\ud800'])):
            with (self.subTest(operation=operation, args=args),
                  self.assertRaises((TypeError, ValueError))):
                operation(*args)
        self.assertEqual([proxy.opened for proxy in self.proxies], [0] * 3)

    def test_statistics_in_the_configured_order(self):
        client = self.client()
        self.assertEqual(
            [address for address, _ in client.getStatistics()],
            self.addresses)
        client.servers = client.servers[::-1]
        self.assertEqual(
            [address for address, _ in client.getStatistics()],
            self.addresses[::-1])

    def test_statistics_and_flush_without_one(self):
        for place in range(3):
            client = self.client()
            self.fill()
            self.proxies[place].once(Fault(then='rst'), Fault(then='rst'))
            statistics = client.getStatistics()
            self.assertEqual(
                [address for address, _ in statistics], self.addresses)
            self.assertEqual(
                ['error' in names for _, names in statistics],
                [number == place for number in range(3)])
            with self.assertRaises(NotInvalidated) as caught:
                client.invalidateAll()
            self.assertEqual(
                list(caught.exception.errors), [self.addresses[place]])
            # That server is flushed before it is asked for anything.
            self.assertEqual(client.queryMany(self.all), {})
            self.assertEqual(self.stored(), {})
            self.assertIntact(client, 1)


def another_word(reply):
    """Return the reply with an unknown first word."""
    return b'X' + reply[1:]


def garbage(reply):
    return b'\x00\xffgarbage\r\n' * 3


class OneCase(ManyCase):
    """One of the servers is faulty."""

    timeout = 0.3
    places = LOST,
    names = 'reset within',

    #: What is done to a request to that server, or to its reply.
    faults = {
        'stall': HOLD,
        'deaf': DEAF,
        'stall within': Fault(after=20, then='stall'),
        'end': Fault(then='fin'),
        'reset': Fault(then='rst'),
        'end within': Fault(after=20, then='fin'),
        'reset within': Fault(after=20, then='rst'),
        'another word': Fault(swap=another_word),
        'garbage': Fault(swap=garbage),
    }

    def check(self, place, begin, end=None):
        """The other servers' keys are right; afterwards all are."""
        bad = self.keys(place, self.count)
        good = [key for key in self.all if key not in bad]
        clients = []

        def read():
            client = self.begin()
            clients.append(client)
            self.fill()
            begin()
            found = self.timed(client.queryMany, self.all)
            whole = self.values('old')
            self.assertLessEqual(found.items(), whole.items())
            self.assertEqual([key for key in good if key in found], good)
            self.finish(place, end)
            self.assertEqual(client.queryMany(self.all), whole)

        def change(operation, *args):
            client = self.begin()
            clients.append(client)
            self.fill()
            begin()
            failed = self.timed(operation, client, *args)
            self.assertLessEqual(set(failed), set(bad))
            self.assertTrue(failed)
            self.finish(place, end)
            found = client.queryMany(self.all)
            # Unacknowledged changes are gone, unless the server makes them
            # late, as one does that was frozen.
            new = self.values('new') if args[0] else {}
            self.assertLessEqual(found.items(), new.items())
            self.assertLessEqual(new.keys() - failed, found.keys())

        def ask():
            client = self.begin()
            clients.append(client)
            begin()
            self.assertEqual(
                ['error' in names for _, names in
                 self.timed(client.getStatistics)],
                [number == place for number in range(3)])
            self.finish(place, end)

        self.assertInTime(read)
        self.assertInTime(
            lambda: change(
                lambda client, values: client.setMany(values),
                self.values('new')))
        self.assertInTime(
            lambda: change(
                lambda client, _: client.invalidateMany(self.all), None))
        self.assertInTime(ask)
        for client in clients:
            self.assertIntact(client, 1)

    def begin(self):
        """Return a client that is already connected to all servers."""
        client = self.client()
        with self.patience(client):
            client.queryMany(self.all)
        return client

    def finish(self, place, end):
        self.proxies[place].clear()
        self.proxies[place].release()
        if end is not None:
            end()


class OneTest(OneCase):

    def test_faults(self):
        for place in self.places:
            for name in self.names:
                fault = self.faults[name]
                with self.subTest(name, place=place):
                    # A harmless request is repeated if a used connection
                    # was closed.
                    self.check(place, lambda place=place, fault=fault:
                               self.proxies[place].once(fault, fault))

    def test_refused(self):
        for place in self.places:
            def begin(place=place):
                self.proxies[place].refuse()
                self.proxies[place].cut()

            with self.subTest(place=place):
                self.check(place, begin, self.proxies[place].accept)


class OneOnMemcachedTest(OnMemcached, OneTest):

    places = range(3)
    names = OneTest.faults

    def test_frozen(self):
        for place in self.places:
            server = self.servers[place]
            with self.subTest(place=place):
                self.check(place, server.freeze, server.thaw)


class TwiceTest(ManyCase):
    """A server answers twice, or gives the value of another key."""

    def test_twice(self):
        client = self.client()
        for place in range(3):
            for operation, expected in (
                    (lambda: client.setMany(self.values('new')), []),
                    (lambda: client.queryMany(self.all), self.values('new')),
                    (lambda: client.invalidateMany(self.all), []),
                    (lambda: client.queryMany(self.all), {})):
                self.proxies[place].once(TWICE)
                self.assertEqual(operation(), expected)
        self.assertIntact(client, 1)

    def test_twice_between_two_batches(self):
        # The refusal of the second batch must not go unnoticed.
        self.enterContext(mock.patch.object(batch, 'MOST_CHANGES', 500))
        seen = 0

        def answer(request):
            nonlocal seen
            seen += request.count(b'set ')
            if seen < 500 or request.startswith(b'delete'):
                return b''
            if seen == 500:
                return b'STORED\r\n' * 1000
            return REFUSED * request.count(b'set ')

        server = self.enterContext(ScriptedServer(default=answer, raw=True))
        client = self.client([server.address], timeout=0.5)
        client._state.store.servers[0].batch = 1 << 20
        # Answer deletes as usual.
        with mock.patch.object(
                client._state.store.servers[0].undelivered, 'deliver'):
            failed = client.setMany(
                dict.fromkeys(range(1000), b''), raw=True)
        self.assertLessEqual(set(range(500, 1000)), set(failed))

    def test_another_keys_value(self):
        ours, theirs = self.lost[0], self.others[0]
        for other in theirs, 'unheard of':
            self.fill()
            client = self.client()
            swap = Fault(swap=lambda reply, other=other: reply.replace(
                self.wire_key(ours), self.wire_key(other)))
            self.proxies[LOST].once(swap)
            found = client.queryMany(self.all)
            self.assertLessEqual(
                self.values('old', self.others).items(), found.items())
            self.assertLessEqual(found.items(), self.values('old').items())
            self.assertNotIn(ours, found)
            self.assertEqual(
                client.queryMany(self.all), self.values('old'))
            self.assertIntact(client, 1)

    def test_a_value_twice(self):
        self.fill()
        client = self.client()
        self.proxies[LOST].once(Fault(
            swap=lambda reply: reply.removesuffix(b'END\r\n') + reply))
        self.assertEqual(client.queryMany(self.all), self.values('old'))
        # It was one more than requested.
        self.assertEqual(self.state(client), 'failing')
        self.assertIntact(client, 1)


@variant('OnMemcached', OnMemcached, step=1, stalls=40)
class CutManyReplyTest(ManyCase):
    """Fault 26: one of three servers cuts its part of a multi-key read."""

    count = 3
    step = 23
    timeout = 0.1
    stalls = 1

    def setUp(self):
        super().setUp()
        self.fill()
        self.client_ = self.client()
        self.passed = passed = bytearray()

        def record(reply):
            passed.extend(reply)
            return reply

        self.proxies[LOST].once(Fault(swap=record))
        with self.patience(self.client_):
            self.assertEqual(
                self.client_.queryMany(self.all), self.values('old'))

    def expected(self, after):
        """Return the values that are complete within that many bytes."""
        expected = self.values('old', self.others)
        for part in range(1, self.count + 1):
            end = -1
            for _ in range(part):
                end = self.passed.index(b'VALUE ', end + 1)
            rest = self.passed.find(b'VALUE ', end + 1)
            if rest < 0:
                rest = self.passed.index(b'END\r\n', end)
            wire = bytes(self.passed[end:].split()[1])
            if rest <= after:
                [key] = [key for key in self.lost
                         if self.wire_key(key) == wire]
                expected[key] = key, 'old'
        return expected

    def test_cut_at_every_offset(self):
        for then in 'fin', 'rst':
            for after in range(0, len(self.passed), self.step):
                with self.subTest(then=then, after=after):
                    # Before the first byte, the request is repeated.
                    fault = Fault(after, then)
                    self.proxies[LOST].once(*[fault] * (1 if after else 2))
                    with self.patience(self.client_):
                        found = self.client_.queryMany(self.all)
                    self.proxies[LOST].clear()
                    expected = self.expected(after)
                    if then == 'fin':
                        self.assertEqual(found, expected)
                    else:
                        # An RST discards what has not been read.
                        self.assertLessEqual(found.items(), expected.items())
                        self.assertLessEqual(
                            self.values('old', self.others).items(),
                            found.items())
        self.assertIntact(self.client_, 1)

    def test_stall(self):
        size = len(self.passed)
        for after in range(0, size, -(-size // self.stalls)):
            with self.subTest(after=after):
                self.proxies[LOST].once(Fault(after, 'stall'))
                found = self.client_.queryMany(self.all)
                self.assertEqual(found, self.expected(after))
                self.proxies[LOST].release()
                # While it is under suspicion, it is given less time.
                with self.patience(self.client_):
                    self.client_.queryMany(self.all)
        self.assertIntact(self.client_, 1)

    def test_what_the_test_expects(self):
        self.assertEqual(self.expected(0), self.values('old', self.others))
        self.assertEqual(
            self.expected(len(self.passed)), self.values('old'))

    def test_byte_by_byte(self):
        for proxy in self.proxies:
            proxy.fault = Fault(size=1)
        self.assertIntact(self.client_, 1)


class DeadTest(ManyCase):
    """The time lost on one server is not taken from the others."""

    timeout = 0.12
    count = 3
    places = 2,  # the last one to be asked

    def test_all_connections_to_one_are_in_use(self):
        self.fill()
        client = self.client(maxPoolSize=1)
        for place in self.places:
            with self.patience(client):
                client.queryMany(self.all)
            good = [key for key in self.all
                    if key not in self.keys(place, self.count)]
            pool = client._state.store.servers[place].pool
            item = pool.take(soon())
            with self.subTest(place=place):
                def use(good=good):
                    self.assertEqual(
                        self.timed(client.queryMany, self.all),
                        self.values('old', good))
                self.assertInTime(use)
                self.assertEqual(
                    [self.state(client, place) for place in range(3)],
                    ['up'] * 3)
            pool.give(item)
        self.assertIntact(client, 1)

    def test_a_silent_server_with_a_backlog(self):
        for place in self.places:
            bad = self.keys(place, self.count)
            good = [key for key in self.all if key not in bad]
            with self.subTest(place=place):
                def use(place=place, bad=bad, good=good):
                    client = self.client(retries=3)
                    with self.patience(client):
                        client.queryMany(self.all)
                    self.fill()
                    for wire in self.wires(bad[:2]):
                        client._state.store.owe(wire)
                    self.proxies[place].fault = HOLD
                    try:
                        found = self.timed(client.queryMany, self.all)
                        self.assertEqual(found, self.values('old', good))
                        failed = self.timed(
                            client.setMany, self.values('new'))
                        self.assertEqual(sorted(failed), sorted(bad))
                    finally:
                        self.proxies[place].clear()
                        self.proxies[place].release(drop=True)
                        self.proxies[place].cut()
                    # At most one failure per call.
                    self.assertLessEqual(
                        client._state.store.servers[place].health.failures, 2)
                    with self.patience(client):
                        self.assertEqual(
                            client.queryMany(self.all),
                            self.values('new', good))
                    self.assertIntact(client, 1)
                self.assertInTime(use)

    def test_a_subscriber_uses_the_client(self):
        # While another server has not answered yet.
        self.fill()
        client = self.client(retries=1, maxPoolSize=1, timeout=1)
        client.queryMany(self.all)
        slow, broken = self.proxies[0], self.proxies[LOST]
        seen = []

        def listen(event):
            if IServerEvent.providedBy(event):
                seen.append(client.query(self.keys(0, 1)[0]))

        slow.once(Fault(pause=0.05))
        broken.once(*[Fault(then='rst')] * 2)
        with self.subscribed(listen):
            found = client.queryMany(self.all)
        self.assertEqual(found, self.values('old', self.others))
        [key] = self.keys(0, 1)
        self.assertEqual(seen, [(key, 'old')])
        self.assertEqual(self.state(client, 0), 'up')
        self.assertEqual(self.state(client, LOST), 'down')


class DeadOnMemcachedTest(OnMemcached, DeadTest):

    timeout = 0.3
    places = range(3)

    def connections(self):
        """A server that answers no SYN, at each place in turn."""
        for place in self.places:
            bad = []
            while not 0 < len(bad) < len(self.all):  # depends on its port
                addresses = self.addresses[:2]
                addresses.insert(place, self.enterContext(full_backlog()))
                client = self.client(addresses)
                ring = client._state.store.router.ring
                bad = [key for key in self.all
                       if ring.find(self.wire_key(key)) == place]
            yield place, client, bad

    def test_syn_dropped(self):
        for place, client, bad in self.connections():
            values = self.values('new')
            good = [key for key in self.all if key not in bad]

            def use(client=client, values=values, bad=bad, good=good):
                for key in good:
                    client.query(key)
                failed = self.timed(client.setMany, values)
                self.assertEqual(sorted(failed), sorted(bad))
                self.assertEqual(
                    self.timed(client.queryMany, self.all),
                    self.values('new', good))
                statistics = self.timed(client.getStatistics)
                self.assertEqual(
                    sum('error' in names for _, names in statistics), 1)

            with self.subTest(place=place):
                self.assertInTime(use)
                # The others are not blamed.
                self.assertEqual(
                    [self.state(client, other) for other in range(3)
                     if other != place], ['up'] * 2)


@variant('OnMemcached', OnMemcached, rounds=300)
class ThreadTest(ManyCase):
    """Threads that need the same connections do not block each other."""

    rounds = 8

    def test_always_in_the_same_order(self):
        client = self.client(maxPoolSize=1)
        taken = []
        for place, server in enumerate(client._state.store.servers):
            self.enterContext(mock.patch.object(
                server.pool, 'take', lambda deadline, place=place,
                take=server.pool.take: taken.append(place) or take(deadline)))
        chance = random.Random(0)
        for _ in range(8):
            chance.shuffle(self.all)
            client.setMany(self.values('new'))
            client.queryMany(self.all)
            client.invalidateMany(self.all)
        client.getStatistics()
        self.assertEqual(taken, [0, 1, 2] * (len(taken) // 3))

    def test_threads(self):
        client = self.client(maxPoolSize=1)
        failed = []

        def work(number):
            chance = random.Random(number)
            keys = self.all[:]
            for version in range(self.rounds):
                chance.shuffle(keys)
                values = self.values(version, keys)
                failed.extend(client.setMany(values))
                found = client.queryMany(keys)
                failed.extend(set(keys) - set(found))
                for key, (named, _) in found.items():
                    if named != key:
                        failed.append((key, named))

        at_once(work, range(4))
        self.assertEqual(failed, [])
        self.assertEqual(
            [numbers['opened'] for _, numbers in client.getPools()], [1] * 3)
        self.assertIntact(client, 1)


@variant('OnMemcached', OnMemcached, strikes=1000)
class InterruptedTest(ManyCase):
    """An interrupted operation leaves nothing behind."""

    strikes = 10
    timeout = 5
    count = 2

    def start_proxies(self):
        return []

    def use(self, client):
        """Do one operation; a value that is read belongs to its key."""
        number = random.randrange(3)
        if number == 0:
            client.setMany(self.values(random.random()))
        elif number == 1:
            client.invalidateMany(self.lost)
        for key, value in client.queryMany(self.all).items():
            if value[0] != key:
                raise AssertionError((key, value))

    def strike(self, kind, threads):
        client = self.client(maxPoolSize=3)
        with Storm(lambda: self.use(client), threads, kind) as storm:
            storm.strike(self.strikes)
        self.assertEqual(storm.errors, [])
        self.assertGreater(storm.operations, 0)
        self.assertIntact(client, 3)

    def test_struck(self):
        self.strike(Struck, 3)

    def test_interrupted(self):
        self.strike(KeyboardInterrupt, 2)

    def test_while_it_waits(self):
        # The requests are sent, one server after the other; then it waits.
        for name in 'queryMany', 'setMany', 'invalidateMany':
            client = self.client(maxPoolSize=1)
            self.fill()
            client.queryMany(self.all)
            argument = (
                self.values('new') if name == 'setMany' else self.all)
            with (mock.patch.object(fanout, '_ready',
                                    side_effect=KeyboardInterrupt),
                  self.assertRaises(KeyboardInterrupt)):
                getattr(client, name)(argument)
            self.assertEqual(
                [numbers['active'] for _, numbers in client.getPools()],
                [0] * 3)
            owed = [len(server.undelivered.keys)
                    for server in client._state.store.servers]
            if name == 'queryMany':
                self.assertEqual(owed, [0] * 3)
            else:
                # Their outcome is unknown.
                self.assertEqual(owed, [self.count] * 3)
                # A server may carry out the old request after this one.
                self.assertLessEqual(
                    client.queryMany(self.all).items(),
                    self.values('new').items())
            self.assertIntact(client, 1)

    def test_after_some_replies(self):
        client = self.client(maxPoolSize=1)
        self.fill()
        client.queryMany(self.all)
        read, count = Set.read, 0

        def interrupted(reader):
            nonlocal count
            count += 1
            if count > self.count + 1:
                raise KeyboardInterrupt
            return read(reader)

        # Without a usual reply each of them is read.
        with (mock.patch.multiple(
                  Set, usual=b'', read=staticmethod(interrupted)),
              self.assertRaises(KeyboardInterrupt)):
            client.setMany(self.values('new'))
        found = client.queryMany(self.all)
        # Those that were acknowledged, and no older ones. The server may carry
        # out the rest late, after it was asked to delete the keys.
        self.assertLessEqual(found.items(), self.values('new').items())
        self.assertGreaterEqual(len(found), self.count + 1)
        self.assertIntact(client, 1)


    def test_an_error_holds_no_frames(self):
        # An error that is kept may form a cycle with its traceback: then all
        # that the frames refer to, such as the values, lives for a while. And
        # dropping a connection must be enough to close it.
        gc.disable()
        self.addCleanup(gc.enable)

        class Marker:
            pass

        def use(client, name, *args):
            marker = Marker()
            getattr(client, name)(*args)
            return weakref.ref(marker)

        for answer in REFUSED, b'garbage\r\n', None:
            scripted = self.enterContext(ScriptedServer(default=answer))
            for name, *args in (
                    ('queryMany', ['key']), ('setMany', {'key': 1}),
                    ('invalidateMany', ['key']), ('getStatistics',)):
                client = self.client([scripted.address], maxPoolSize=1)
                [server] = client._state.store.servers
                with self.subTest(name, answer=answer):
                    self.assertIsNone(use(client, name, *args)())
                    # Once more, as there may be a backlog now.
                    self.assertIsNone(use(client, name, *args)())
                    for pool in server.pool, server.undelivered._turn:
                        pool.take(soon())
                        self.assertEqual(
                            pool.statistics(), {'active': 0, 'idle': 0})


@variant('OnMemcached', OnMemcached, large=2000000)
class RefusedTest(ManyCase):
    """The server refuses some of the changes, and is not blamed for it."""

    count = 4
    large = 20_000

    def start_servers(self):
        return [self.enterContext(EmbeddedServer(maxItemSize=10_000))
                for _ in range(3)]

    def test_too_large(self):
        for failover in False, True:
            self.fill()
            client = self.client(maxPoolSize=1, failover=failover)
            large = [self.keys(place, self.count)[1] for place in (0, LOST)]
            values = self.values('new')
            for key in large:
                values[key] = key, 'x' * self.large
            self.assertEqual(
                sorted(client.setMany(values)), sorted(large))
            found = client.queryMany(self.all)
            # The old values are gone, also on the servers.
            small = [key for key in self.all if key not in large]
            self.assertEqual(found, self.values('new', small))
            self.assertEqual(
                self.stored(), dict.fromkeys(small, 'new'))
            for place in range(3):
                self.assertEqual(self.state(client, place), 'up')
                self.assertEqual(
                    client._state.store.servers[place].undelivered.keys, {})
            self.assertEqual(
                [numbers['opened'] for _, numbers in client.getPools()],
                [1] * 3)

    def scripted(self, answer):
        """Return a server that gives this answer, and a client of it."""
        server = self.enterContext(ScriptedServer(default=answer))
        client = self.client([server.address], maxPoolSize=1)
        return server, client

    def commands(self, server):
        """Return the commands since the last call, and their keys."""
        words = [request.split() for request in server.requests]
        server.requests.clear()
        return [(line[0].decode(), *line[1:2]) for line in words]

    def test_out_of_memory(self):
        refused = self.wires(self.all[1::2])

        def answer(request):
            command, key = request.split()[:2]
            if command == b'delete':
                return b'DELETED\r\n'
            return REFUSED if key in refused else b'STORED\r\n'

        server, client = self.scripted(answer)
        self.assertEqual(
            client.setMany(self.values('new')), self.all[1::2])
        sent = self.commands(server)
        # All sets, and then the deletes of those that failed.
        self.assertEqual(
            sent[:len(self.all)],
            [('set', key) for key in self.wires(self.all)])
        self.assertEqual(
            sorted(sent[len(self.all):]),
            sorted(('delete', key) for key in refused))
        self.assertEqual(client._state.store.servers[0].undelivered.keys, {})
        self.assertEqual(server.opened, 1)

    def test_deletes_are_refused_as_well(self):
        refused = self.wires(self.all[:2])

        def answer(request):
            command, key = request.split()[:2]
            if command == b'get':
                return b'END\r\n'
            if key in refused:
                return REFUSED
            return {b'set': b'STORED\r\n',
                    b'delete': b'DELETED\r\n'}[command]

        server, client = self.scripted(answer)
        self.assertEqual(client.setMany(self.values('new')), self.all[:2])
        self.assertEqual(
            set(client._state.store.servers[0].undelivered.keys), set(refused))
        self.assertEqual(client.invalidateMany(self.all), self.all[:2])
        # They are not even requested.
        self.commands(server)
        self.assertEqual(client.queryMany(self.all), {})
        self.assertEqual(server.requests[-1].split()[1:], [
            wire for wire in server.requests[-1].split()[1:]
            if wire not in refused])
        self.assertEqual(
            len(server.requests[-1].split()), len(self.all) - 2 + 1)
        # The next call still changes the others.
        self.commands(server)
        self.assertEqual(client.setMany(self.values('new')), self.all[:2])
        sets = [key for command, *key in self.commands(server)
                if command == 'set']
        self.assertEqual(len(sets), len(self.all) - 2)
        self.assertEqual(server.opened, 1)

    def test_invalidations_are_refused(self):
        refused = self.wires(self.all[:1])
        server, client = self.scripted(
            lambda request: REFUSED if request.split()[1] in refused
            else b'NOT_FOUND\r\n')
        self.assertEqual(client.invalidateMany(self.all), self.all[:1])
        self.assertEqual(
            list(client._state.store.servers[0].undelivered.keys), refused)
        self.assertEqual(server.opened, 1)

    def test_a_read_is_refused(self):
        server, client = self.scripted(
            b'SERVER_ERROR out of memory writing get response\r\n')
        self.assertEqual(client.queryMany(self.all), {})
        self.assertEqual(server.opened, 1)
        self.assertEqual(self.state(client, 0), 'up')


@variant('OnMemcached', OnMemcached)
class OwedTest(ManyCase):
    """After a failed change, no operation reads the old value again."""

    level = 2

    count = 4

    def fail(self, operation, failover=False, **settings):
        """Return a client whose operation has failed on the lost server."""
        self.fill()
        client = self.client(
            retries=1, blacktime=60, failover=failover, **settings)
        client.queryMany(self.all)
        self.lose()
        if operation == 'setMany':
            failed = client.setMany(self.values('new'))
        else:
            failed = client.invalidateMany(self.all)
        self.assertEqual(sorted(failed), sorted(self.lost))
        self.assertEqual(self.state(client), 'down')
        return client

    def check(self, client, expected, one_by_one):
        self.bring_back()
        self.let_probe(client)
        self.assertLessEqual(
            set(self.lost), set(self.stored()))
        if one_by_one:
            found = {key: client.query(key) for key in self.all}
            found = {key: value for key, value in found.items()
                     if value is not None}
        else:
            found = client.queryMany(self.all)
        self.assertEqual(found, expected)
        self.assertEqual(self.state(client), 'up')
        self.assertEqual(set(self.stored()) & set(self.lost), set())
        self.assertEqual(client.setMany(self.values('newer')), [])
        self.assertEqual(client.queryMany(self.all), self.values('newer'))
        self.assertIntact(client)

    def test_changes(self):
        for operation in 'setMany', 'invalidateMany':
            for one_by_one in False, True:
                with self.subTest(operation, one_by_one=one_by_one):
                    client = self.fail(operation)
                    self.assertEqual(
                        client.queryMany(self.lost), {})
                    expected = {} if operation == 'invalidateMany' else (
                        self.values('new', self.others))
                    self.check(client, expected, one_by_one)

    def test_changes_while_it_is_down(self):
        client = self.fail('setMany')
        self.assertEqual(
            sorted(client.setMany(self.values('new'))), sorted(self.lost))
        self.assertEqual(
            sorted(client.invalidateMany(self.all)), sorted(self.lost))
        self.check(client, {}, False)

    def test_failover(self):
        for one_by_one in False, True:
            with self.subTest(one_by_one=one_by_one):
                client = self.fail('setMany', failover=True)
                # Now they go to the stand-ins, with a short lifetime.
                sent = bytearray()

                def record(request, sent=sent):
                    sent.extend(request)
                    return request

                record = Fault(side='request', swap=record)
                for proxy in self.proxies:
                    proxy.fault = record
                newer = self.values('newer')
                self.assertEqual(client.setMany(newer, lifetime=0), [])
                for proxy in self.proxies:
                    proxy.clear()
                lifetimes = {
                    line.split()[1]: int(line.split()[3])
                    for line in bytes(sent).split(b'\r\n')
                    if line.startswith(b'set ')}
                for wire in self.wires(self.lost):
                    self.assertTrue(0 < lifetimes.pop(wire) <= 60)
                self.assertEqual(
                    lifetimes, dict.fromkeys(self.wires(self.others), 0))
                self.assertEqual(client.queryMany(self.all), newer)
                for key in self.all:
                    self.assertEqual(client.query(key), newer[key])
                # Their own server still has the old ones.
                self.check(
                    client, self.values('newer', self.others), one_by_one)
                # Nor does another client see those of the stand-ins.
                for direct, place in zip(self.directs, range(3), strict=True):
                    if place != LOST:
                        direct.invalidateMany(self.lost)

    def test_failover_of_invalidations(self):
        client = self.fail('invalidateMany', failover=True)
        self.assertEqual(client.setMany(self.values('new', self.lost)), [])
        # They are removed from the stand-ins, not from their own server.
        failed = client.invalidateMany(self.all)
        self.assertEqual(sorted(failed), sorted(self.lost))
        self.assertEqual(client.queryMany(self.all), {})
        self.check(client, {}, False)

    def test_within_the_replies(self):
        # Some are acknowledged, and the rest is owed.
        self.fill()
        client = self.client()
        self.proxies[LOST].once(Fault(len(b'STORED\r\n') * 2 + 3, 'fin'))
        failed = client.setMany(self.values('new'))
        self.assertEqual(failed, self.lost[2:])
        self.assertEqual(
            client.queryMany(self.all),
            self.values('new', [key for key in self.all
                                if key not in failed]))
        self.assertIntact(client, 1)

    def test_the_delivery_fails_again(self):
        client = self.fail('setMany', timeout=0.1)
        client.blacktime = 0
        client.retries = 10
        self.bring_back()
        for fault in (HOLD, Fault(then='rst'), Fault(9, 'fin'),
                      Fault(swap=garbage)):
            self.proxies[LOST].once(fault)
            found = client.queryMany(self.all)
            self.assertEqual(
                found, self.values('new', self.others), fault)
            self.proxies[LOST].clear()
            self.proxies[LOST].release(drop=True)
        with self.patience(client):
            self.assertEqual(
                client.queryMany(self.all), self.values('new', self.others))
        self.assertIntact(client, 1)

    def test_a_refused_delivery_is_no_success(self):
        # A server that connects, but refuses the delivery, is not marked up.
        server = self.enterContext(ScriptedServer(default=garbage))
        client = self.client([server.address], retries=3, blacktime=60)
        self.assertEqual(client.invalidateMany(['key']), ['key'])
        for failures in 2, 3, 3:
            self.assertEqual(client.queryMany(['key']), {})
            self.assertEqual(
                client._state.store.servers[0].health.failures, failures)

    def test_a_failure_is_counted_once(self):
        for change in False, True:
            client = self.client()
            keys = self.keys(0, self.count)
            for wire in self.wires(keys):
                client._state.store.owe(wire)
            self.proxies[0].fault = Fault(then='rst')
            if change:
                self.assertEqual(client.invalidateMany(keys), keys)
            else:
                self.assertEqual(client.queryMany(keys), {})
            self.assertEqual(client._state.store.servers[0].health.failures, 1)
            self.proxies[0].clear()
            self.assertIntact(client, 1)

    def test_the_delivery_comes_before_the_request(self):
        def answer(request):
            return {b'get': b'END\r\n', b'set': b'STORED\r\n',
                    b'delete': b'NOT_FOUND\r\n'}[request.split()[0]]

        server = self.enterContext(ScriptedServer(default=answer))
        client = self.client([server.address])
        for operation, last in (
                (lambda: client.queryMany(self.all), [b'get']),
                (lambda: client.setMany(self.values('new')),
                 [b'set'] * len(self.all)),
                (lambda: client.invalidateMany(self.all),
                 [b'delete'] * len(self.all))):
            owed = self.wires(self.all[:3]) + [b'another']
            for wire in owed:
                client._state.store.owe(wire)
            server.requests.clear()
            operation()
            first = server.requests[:len(owed)]
            self.assertEqual(
                sorted(first), sorted(
                    Delete(wire).encode() for wire in owed))
            self.assertEqual(
                [request.split()[0] for request in server.requests[4:]], last)
            self.assertEqual(
                client._state.store.servers[0].undelivered.keys, {})

    def test_a_key_that_it_refuses_to_delete(self):
        refused = self.wires(self.all[:1])

        def answer(request):
            if request.startswith(b'delete'):
                return (REFUSED if request.split()[1] in refused
                        else b'DELETED\r\n')
            return b''.join(
                b'VALUE %b 0 1\r\nx\r\n' % wire
                for wire in request.split()[1:]) + b'END\r\n'

        server = self.enterContext(ScriptedServer(default=answer))
        client = self.client([server.address])
        for wire in self.wires(self.all[:3]):
            client._state.store.owe(wire)
        self.assertEqual(
            client.queryMany(self.all, raw=True),
            dict.fromkeys(self.all[1:], b'x'))


class OwedTimeTest(DirectMixin, ManyCase):
    """A long backlog, and a server that does not answer."""

    timeout = 0.5
    number = 9000

    def test_frozen(self):
        keys = [f'many {number}' for number in range(self.number)]
        values = dict.fromkeys(keys, 1)
        for servers in self.addresses[:1], self.addresses:
            for name, argument in (
                    ('queryMany', keys), ('setMany', values),
                    ('invalidateMany', keys)):
                def use(servers=servers, name=name, argument=argument):
                    client = self.client(servers, retries=3)
                    with self.patience(client):
                        client.queryMany(keys)
                    for wire in self.wires(keys):
                        client._state.store.owe(wire)
                    self.servers[0].freeze()
                    try:
                        self.timed(getattr(client, name), argument)
                    finally:
                        self.servers[0].thaw()

                with self.subTest(name, servers=len(servers)):
                    # Handling that many keys takes a moment.
                    self.assertInTime(use, self.timeout + 0.15)


class ProxiesTest(ManyCase):
    """Each proxy has all keys: each call goes to the next proxy."""

    def start_servers(self):
        return [self.enterContext(EmbeddedServer())]

    def start_proxies(self):
        [server] = self.servers
        return [self.enterContext(FaultProxy(server.address))
                for _ in range(3)]

    def round(self, **settings):
        return self.client(distribution='roundrobin', **settings)

    def test_each_call_goes_to_the_next_one(self):
        client = self.round()
        values = self.values('new')
        for _ in range(3):
            self.assertEqual(client.setMany(values), [])
            self.assertEqual(client.queryMany(self.all), values)
            self.assertEqual(client.invalidateMany(self.all), [])
            self.assertEqual(client.queryMany(self.all), {})
        self.assertEqual(
            [proxy.exchanges for proxy in self.proxies], [4] * 3)

    def test_one_fails(self):
        client = self.round()
        self.directs[0].setMany(self.values('old'))
        self.proxies[0].once(Fault(then='rst'))
        self.assertEqual(client.setMany(self.values('new')), self.all)
        # The next one delivers the backlog before it is asked.
        for _ in range(3):
            self.assertEqual(client.queryMany(self.all), {})
        self.assertEqual(self.directs[0].queryMany(self.all), {})
        self.assertEqual(client.setMany(self.values('new')), [])
        self.assertEqual(client.queryMany(self.all), self.values('new'))

    def test_one_is_down(self):
        client = self.round(retries=1, blacktime=60)
        self.proxies[0].refuse()
        client.setMany(self.values('old'))
        for version in range(6):
            values = self.values(version)
            self.assertEqual(client.setMany(values), [])
            self.assertEqual(client.queryMany(self.all), values)
            self.assertEqual(client.invalidateMany(self.all[:1]), [])
        self.assertEqual(self.state(client, 0), 'down')


class MetaTest(ManyCase):
    """Whether a server knows the meta commands."""

    def server(self, answer, **settings):
        scripted = self.enterContext(ScriptedServer(default=answer))
        client = self.client([scripted.address], **settings)
        return scripted, client._state.store.servers[0]

    def test_a_server_that_knows_them(self):
        server = self.client()._state.store.servers[0]
        for _ in range(3):
            self.assertIs(server.lends(soon()), True)
        self.assertEqual(self.proxies[0].exchanges, 1)
        server.forget_meta()
        self.assertIs(server.lends(soon()), True)
        self.assertEqual(self.proxies[0].exchanges, 2)

    def test_a_server_that_refuses_them(self):
        for answer in (b'ERROR\r\n', b'CLIENT_ERROR no\r\n',
                       b'SERVER_ERROR no\r\n'):
            scripted, server = self.server(answer)
            for _ in range(3):
                self.assertIs(server.lends(soon()), False)
            self.assertEqual(scripted.requests, [b'mn\r\n'])
            self.assertEqual(server.health.state, 'up')

    def closing(self, request):
        """Close the connection on an unknown command, as a proxy does."""
        return None if request.startswith((b'mn', b'flush')) else b'END\r\n'

    def test_a_proxy_that_closes_the_connection(self):
        scripted, server = self.server(self.closing, retries=1)
        for _ in range(3):
            self.assertIs(server.lends(soon()), False)
        self.assertEqual(
            [request[:3] for request in scripted.requests],
            [b'mn\r', b'get', b'mn\r', b'get'])
        self.assertEqual(server.health.state, 'up')

    def test_a_server_that_is_down(self):
        scripted, server = self.server(b'MN\r\n')
        scripted.refuse()
        for _ in range(2):
            with self.assertRaises(MemcacheError):
                server.lends(soon())
        # That was no answer, so the server is asked again.
        scripted.accept()
        for _ in range(2):
            self.assertIs(server.lends(soon()), True)
        self.assertEqual(len(scripted.requests), 1)

    def test_a_server_that_does_not_answer(self):
        scripted, server = self.server(b'')
        with self.assertRaises(ReceiveTimeout):
            server.lends(time.monotonic() + 0.02)
        scripted.default = b'MN\r\n'
        self.assertIs(server.lends(soon()), True)

    def test_a_server_that_answers_nonsense(self):
        scripted, server = self.server(b'nonsense\r\n')
        for _ in range(2):
            with self.assertRaises(MemcacheError):
                server.lends(soon())
        scripted.default = b'MN\r\n'
        self.assertIs(server.lends(soon()), True)

    def test_uncommon_commands(self):
        def ask(server, seconds=PATIENCE):
            return server.run_uncommon(
                FlushAll(), time.monotonic() + seconds)

        # Closing twice, with an answer in between, counts as a refusal.
        scripted, server = self.server(self.closing, retries=1)
        with self.assertRaises(ClientError):
            ask(server)
        self.assertEqual(server.health.state, 'up')
        # Closing once does not.
        scripted, server = self.server(b'OK\r\n')
        scripted.answers.extend([None, b'END\r\n'])
        self.assertIs(ask(server), True)
        # Nor does closing twice without an answer in between.
        scripted, server = self.server(None)
        with self.assertRaises(MemcacheError) as caught:
            ask(server)
        self.assertNotIsInstance(caught.exception, ClientError)
        self.assertEqual(
            [request[:3] for request in scripted.requests], [b'flu', b'get'])
        # Nor does a time-out.
        scripted, server = self.server(b'')
        with self.assertRaises(ReceiveTimeout):
            ask(server, 0.02)
        self.assertEqual(len(scripted.requests), 1)

    def test_an_uncommon_command_to_a_server_that_is_down(self):
        scripted, server = self.server(self.closing, retries=1, blacktime=0)
        scripted.refuse()
        with self.assertRaises(MemcacheError):
            server.run(Get(b'key'), soon())
        self.assertEqual(server.health.state, 'down')
        scripted.accept()
        with self.assertRaises(ClientError):
            server.run_uncommon(FlushAll(), soon())
        self.assertEqual(server.health.state, 'up')


class NutcrackerTest(OnMemcached, ManyCase):
    """The same behind a proxy."""

    def setUp(self):
        super().setUp()
        self.crackers = [
            self.enterContext(Nutcracker(ClusterLayer.addresses))
            for _ in range(2)]
        self.both = [cracker.address for cracker in self.crackers]

    def test_it_does_not_know_the_meta_commands(self):
        client = self.client(self.both, retries=1, distribution='roundrobin')
        for server in client._state.store.servers:
            for _ in range(3):
                self.assertIs(server.lends(soon()), False)
            self.assertEqual(server.health.state, 'up')

    def test_many(self):
        client = self.client(self.both, distribution='roundrobin')
        keys = [f'many {number}' for number in range(3000)]
        values = self.values('new', keys)
        self.assertEqual(client.setMany(values), [])
        self.assertEqual(client.queryMany(keys), values)
        self.assertEqual(client.invalidateMany(keys), [])
        self.assertEqual(client.queryMany(keys), {})
        self.assertEqual(
            [numbers['opened'] for _, numbers in client.getPools()], [1, 1])


class NarrowProxy(FaultProxy):
    """A proxy with small buffers, which soon makes each side wait."""

    async def _accept(self):
        await super()._accept()
        for option in socket.SO_RCVBUF, socket.SO_SNDBUF:
            self._socket.setsockopt(socket.SOL_SOCKET, option, 4096)


class SizesTest(OnMemcached, OutageCase):
    """More data than the buffers on the way can hold."""

    timeout = 30

    def start_proxies(self):
        return [self.enterContext(NarrowProxy(server.address))
                for server in self.servers]

    def check(self, client, number, size):
        filling = b'x' * size
        values = {f'key {key}': b'%d %b' % (key, filling)
                  for key in range(number)}
        self.assertEqual(client.setMany(values, raw=True), [])
        found = client.queryMany(values, raw=True)
        self.assertEqual(len(found), number)
        self.assertTrue(found == values)
        self.assertEqual(client.invalidateMany(values), [])
        self.assertEqual(client.queryMany(values), {})
        for _, numbers in client.getPools():
            self.assertEqual(numbers['active'], 0)
            self.assertEqual(numbers['opened'], 1)

    def addresses_of(self, servers):
        return [server.address for server in servers]

    def test_10000_keys(self):
        for servers in self.servers, self.servers[:1]:
            self.check(
                self.client(self.addresses_of(servers)), 10_000, 1000)

    def test_200_large_values(self):
        for _ in range(2):
            self.check(
                self.client(self.addresses_of(self.servers)), 200, 500_000)

    def test_200_large_values_on_one(self):
        with Memcached('-m', '256') as server:
            self.check(self.client([server.address]), 200, 500_000)

    def test_through_small_buffers(self):
        for servers in self.proxies, self.proxies[:1]:
            client = self.client(self.addresses_of(servers))
            self.check(client, 10_000, 1000)
            self.check(client, 20, 500_000)

    def test_in_small_pieces(self):
        for size, number, length in (1, 300, 30), (500, 3000, 1000):
            for proxy in self.proxies:
                proxy.fault = Fault(size=size)
            self.check(
                self.client(self.addresses_of(self.proxies)), number, length)

    def test_requests_byte_by_byte(self):
        for proxy in self.proxies:
            proxy.fault = Fault(side='request', size=1)
        self.check(
            self.client(self.addresses_of(self.proxies)), 300, 30)


class TransportTest(unittest.TestCase):
    """The same with TLS, a password, and on unix sockets."""

    level = 2

    def check(self, servers, **settings):
        client = UltraMemcacheClient(servers, **{'timeout': 10, **settings})
        self.addCleanup(client.close)
        for number, size in (10, 10), (3000, 100), (20, 500_000):
            values = {key: b'%d' % key + b'x' * size
                      for key in range(number)}
            for _ in range(3):
                self.assertEqual(client.setMany(values, raw=True), [])
                self.assertTrue(
                    client.queryMany(values, raw=True) == values)
                self.assertEqual(client.invalidateMany(values), [])
                self.assertEqual(client.queryMany(values), {})
        for address, names in client.getStatistics():
            self.assertIn(address, servers)
            self.assertIn('version', names)
        client.invalidateAll()
        self.assertEqual(
            [numbers for _, numbers in client.getPools()],
            [{'active': 0, 'idle': 1, 'opened': 1}] * len(servers))

    def test_tls(self):
        files = self.enterContext(Certificates())
        options = ('-Z', '-o', f'ssl_chain_cert={files.server_chain},'
                   f'ssl_key={files.server_key}')
        self.check(
            [f'tls://{self.enterContext(Memcached(*options)).address}'
             for _ in range(3)], caFile=files.ca)

    def folder(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)
        return folder

    def test_unix(self):
        folder = self.folder()
        self.check([
            self.enterContext(
                Memcached(path=os.path.join(folder, f'{number}'))).address
            for number in range(3)])

    def test_password(self):
        path = os.path.join(self.folder(), 'auth')
        with open(path, 'w') as file:
            file.write('shop:secret\n')
        os.chmod(path, 0o644)
        self.check(
            [self.enterContext(Memcached('-Y', path)).address
             for _ in range(2)], username='shop', password='secret')


# A process of its own, as gevent replaces half of the standard library.
GREENLETS = '''
from gevent import monkey
monkey.patch_all()
import logging
import random
import sys
import gevent
from p01.memcache.uclient import UltraMemcacheClient

strikes, *servers = sys.argv[1:]
client = UltraMemcacheClient(
    servers, timeout=5, delay=0, blacktime=0, maxPoolSize=2)
# What another greenlet was about to change may not be set.
logging.getLogger('p01.memcache').addHandler(logging.NullHandler())
struck = right = ticks = 0
keys = [f'key {number}' for number in range(30)]

def tick():
    global ticks
    while True:
        gevent.sleep(0.001)
        ticks += 1

def work(number):
    global struck, right
    while min(struck, right) < int(strikes):
        version = random.random()
        try:
            with gevent.Timeout(random.random() * random.choice((0.004, 0.2))):
                random.shuffle(keys)
                client.setMany({key: (key, version) for key in keys})
                found = client.queryMany(keys)
                client.invalidateMany(keys[:3])
        except gevent.Timeout:
            struck += 1
        else:
            for key, value in found.items():
                assert value[0] == key, (key, value)
            right += 1

gevent.spawn(tick)
gevent.joinall([gevent.spawn(work, number) for number in range(6)],
               timeout=60, raise_error=True)
assert min(struck, right) >= int(strikes), (struck, right)
# Others run while a greenlet waits.
assert ticks > 10, ticks
values = {key: key for key in keys}
client.setMany(values)
assert client.setMany(values) == []
assert client.queryMany(keys) == values
for _, numbers in client.getPools():
    assert numbers['active'] == 0, numbers
# No one holds up the others while it waits for several servers.
ticks = 0
with gevent.Timeout(10):
    gevent.joinall([gevent.spawn(client.queryMany, keys) for _ in range(30)],
                   raise_error=True)
print('right')
'''


@unittest.skipUnless(importlib.util.find_spec('gevent'), 'without gevent')
class GreenletsTest(unittest.TestCase):

    level = 2
    strikes = 200

    def test_time_outs(self):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(Memcached()) for _ in range(3)]
            done = subprocess.run(
                [sys.executable, '-c', GREENLETS, str(self.strikes),
                 *(server.address for server in servers)],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=90)
        self.assertEqual((done.stdout, done.stderr), ('right\n', ''))
