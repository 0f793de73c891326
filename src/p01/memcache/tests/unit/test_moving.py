# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The list of servers changes: keys that move, and what they leave behind."""

import gc
import threading
import unittest
import weakref
from time import monotonic
from unittest import mock

import zope.component
from zope.component.eventtesting import getEvents
from zope.component.eventtesting import setUp as setUpEvents
from zope.component.testing import tearDown as tearDownEvents

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import NotInvalidated
from p01.memcache.interfaces import IServersChangedEvent
from p01.memcache.membership import moving
from p01.memcache.membership.moving import Moving
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Delete


KEYS = range(60)


class MovingCase(unittest.TestCase):
    """A client of two servers, and a third one that comes and goes."""

    handover = 0.0

    def setUp(self):
        keep_quiet(self)
        self.one, self.two, self.three = self.servers = [
            self.enterContext(EmbeddedServer()) for _ in range(3)]
        self.client = self.connect(self.one, self.two)
        self.client.setMany(dict.fromkeys(KEYS, 'old'))
        # The time of a hand-over passes only if a test says so.
        self.ahead = 0
        clock = moving.monotonic
        self.enterContext(mock.patch.object(
            moving, 'monotonic', lambda: clock() + self.ahead))

    def connect(self, *servers, **settings):
        client = UltraMemcacheClient(
            [server.address for server in servers], timeout=5,
            handover=self.handover, **settings)
        self.addCleanup(client.close)
        return client

    def use(self, *servers):
        self.client.servers = [server.address for server in servers]

    def on(self, server, key):
        """Return what the server has under the key."""
        return UltraMemcacheClient([server.address]).query(
            key, default=MISSING)

    def homes(self, *servers):
        """Return a dict of the keys, and the server of each."""
        cluster = self.connect(*servers)._state.base
        servers = {server.address: server for server in servers}
        return {key: servers[cluster.server(
            self.client.buildKey(key).encode(), 0).address] for key in KEYS}

    def moved(self):
        """Return the keys that move when the third server comes."""
        return [key for key, home in self.homes(*self.servers).items()
                if home is self.three]

    def found(self):
        return self.client.queryMany(KEYS)


class AssignedTest(MovingCase):
    """Without a hand-over, as for a list that is assigned."""

    def test_keys_move_only_to_the_one_that_came(self):
        moved = set(self.moved())
        self.assertTrue(0 < len(moved) < 45, moved)
        self.use(*self.servers)
        self.assertEqual(set(KEYS) - set(self.found()), moved)

    def test_keys_move_only_from_the_one_that_went(self):
        homes = self.homes(self.one, self.two)
        self.use(self.one)
        self.assertEqual(
            set(self.found()),
            {key for key, home in homes.items() if home is self.one})

    def test_connections_are_kept(self):
        self.use(*self.servers)
        self.found()
        self.assertEqual(
            [pool['opened'] for _, pool in self.client.getPools()], [1] * 3)

    def test_other_settings_do_not_move_keys(self):
        for name, value in (
                ('retries', 7), ('maxPoolSize', 3), ('timeout', 4),
                ('failover', True), ('refresh', 5), ('handover', 50)):
            setattr(self.client, name, value)
            self.assertNotIsInstance(self.client._state.base, Moving)
        self.assertEqual(len(self.found()), len(KEYS))

    def test_another_distribution_moves_keys(self):
        self.client.distribution = 'modulo'
        self.client.setMany(dict.fromkeys(KEYS, 'new'))
        self.client.distribution = 'ketama'
        self.assertNotIn('old', self.found().values())

    def test_there_and_back(self):
        """A server stays, and its keys go to another one for a while."""
        moved = self.moved()
        self.use(*self.servers)
        self.client.setMany(dict.fromkeys(moved, 'new'))
        self.use(self.one, self.two)
        self.assertEqual(
            [self.client.query(key, default=MISSING) for key in moved],
            [MISSING] * len(moved))

    def test_every_change_is_noted(self):
        moved = iter(self.moved())
        keys = {}
        self.use(*self.servers)

        def change(name, *args):
            key = keys[name] = next(moved)
            getattr(self.client, name)(key, *args)

        change('set', 'new')
        change('add', 'new')
        change('getOrCreate', lambda: 'new')
        change('invalidate')
        keys['setMany'] = next(moved)
        self.client.setMany({keys['setMany']: 'new'})
        keys['invalidateMany'] = next(moved)
        self.client.invalidateMany([keys['invalidateMany']])
        self.use(self.one, self.two)
        for name, key in keys.items():
            with self.subTest(name):
                self.assertIs(
                    self.client.query(key, default=MISSING), MISSING)

    def test_through_several_lists(self):
        self.use(self.one, self.three)
        self.use(self.three)
        self.client.setMany(dict.fromkeys(KEYS, 'new'))
        self.use(self.one, self.three)
        self.assertNotIn('old', self.found().values())
        self.use(self.one, self.two)
        self.assertNotIn('old', self.found().values())

    def test_one_that_went_is_flushed_when_it_returns(self):
        self.use(self.one)
        self.client.invalidateAll()
        self.use(self.one, self.two)
        self.assertEqual(self.found(), {})

    def test_what_is_owed_is_delivered_at_once(self):
        """Other processes may read there at any time."""
        homes = self.homes(self.one, self.two)
        [key, *_] = [
            key for key, home in homes.items() if home is self.two]
        self.use(self.one)
        self.client.set(key, 'new')
        self.assertEqual(self.on(self.two, key), 'old')
        self.use(self.one, self.two)
        until(lambda: self.on(self.two, key) is MISSING)

    def test_an_operation_that_began_before(self):
        """Its change is owed to the server that has the key now."""
        key, *_ = self.moved()
        wire = self.client.buildKey(key).encode()
        former = self.client._state.store
        self.use(*self.servers)
        for change in (
                lambda: former.run(Delete(wire), monotonic() + 5),
                lambda: former.run_many([Delete(wire)], monotonic() + 5),
                lambda: former.owe(wire)):
            self.client.set(key, 'outdated')
            change()
            self.assertIsNone(self.client.query(key))
            self.client.set(key, 'new')
            self.assertEqual(self.client.query(key), 'new')

    def test_a_read_that_began_before(self):
        key, *_ = self.moved()
        wire = self.client.buildKey(key).encode()
        former = self.client._state.store
        self.use(*self.servers)
        self.client.set(key, 'new')
        # It has been removed there.
        self.assertIsNone(former.get(wire, monotonic() + 5))
        self.assertEqual(self.client.query(key), 'new')

    def test_it_is_forgotten_after_a_day(self):
        moved = self.moved()
        self.use(*self.servers)
        self.ahead += 86401
        self.client.setMany(dict.fromkeys(moved, 'new'))
        self.use(self.one, self.two)
        # Nothing that is stored for so long is safe; so it is documented.
        self.assertEqual(
            self.client.queryMany(moved), dict.fromkeys(moved, 'old'))

    def test_drained(self):
        homes = self.homes(self.one, self.two)
        theirs = [key for key, home in homes.items() if home is self.two]
        self.client.drained = [self.two.address]
        self.assertEqual(len(self.client.getPools()), 1)
        self.client.setMany(dict.fromkeys(theirs[:3], 'new'))
        self.client.drained = []
        self.assertEqual(
            [self.client.query(key) for key in theirs[:4]],
            [None] * 3 + ['old'])

    def test_none_is_left(self):
        both = [self.one.address, self.two.address]
        with self.assertRaisesRegex(ValueError, 'drained'):
            self.client.drained = both
        self.assertEqual(self.client.drained, [])
        with self.assertRaisesRegex(ValueError, 'drained'):
            UltraMemcacheClient(both, drained=both)

    def test_threads(self):
        """Eight of them use the client while the list changes."""
        truth, locks = {}, [threading.Lock() for _ in KEYS]
        wrong, stop = [], threading.Event()

        def use(start):
            number = start
            while not stop.is_set():
                number += 7
                key = number % len(KEYS)
                with locks[key]:
                    if number % 3:
                        value = self.client.query(key)
                        if value not in (None, 'old', truth.get(key)) or (
                                value == 'old' and key in truth):
                            wrong.append((key, value, truth.get(key)))
                    elif self.client.set(key, number) is not None:
                        truth[key] = number
                    else:
                        truth[key] = None

        threads = [threading.Thread(target=use, args=[number])
                   for number in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(15):
            self.use(*self.servers)
            self.use(self.one, self.three)
            self.use(self.two)
            self.use(self.one, self.two)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class HandOverTest(MovingCase):
    """Another process may still use the former list."""

    handover = 100.0

    def setUp(self):
        super().setUp()
        self.other = self.connect(self.one, self.two)
        self.key, self.second, *_ = self.all_moved = self.moved()
        [self.stays, *_] = set(KEYS) - set(self.all_moved)
        self.use(*self.servers)

    def test_keys_that_moved_are_misses(self):
        self.assertEqual(
            set(self.found()), set(KEYS) - set(self.all_moved))
        self.assertIsNone(self.client.query(self.key))
        self.assertEqual(self.client.gets(self.key), (None, None))
        self.assertIsNone(self.client.queryAndTouch(self.key))
        self.assertEqual(self.client.query(self.stays), 'old')
        # Nothing is changed by that.
        self.assertEqual(self.other.query(self.key), 'old')

    def test_they_are_not_stored_but_removed(self):
        for change in (
                lambda: self.client.set(self.key, 'new'),
                lambda: self.client.add(self.key, 'new'),
                lambda: self.client.append(self.key, b'new')):
            self.other.set(self.key, 'old')
            self.assertIsNone(change())
            for server in self.servers:
                self.assertIs(self.on(server, self.key), MISSING)

    def test_invalidated_on_both(self):
        UltraMemcacheClient([self.three.address]).set(self.key, 'former')
        self.assertTrue(self.client.invalidate(self.key))
        for server in self.servers:
            self.assertIs(self.on(server, self.key), MISSING)

    def test_many(self):
        keys = [self.key, self.stays, self.second]
        self.assertEqual(
            self.client.setMany(dict.fromkeys(keys, 'new')),
            [self.key, self.second])
        self.assertEqual(self.other.queryMany(keys), {self.stays: 'new'})
        self.other.setMany(dict.fromkeys(keys, 'old'))
        self.assertEqual(self.client.invalidateMany(keys), [])
        self.assertEqual(self.other.queryMany(keys), {})

    def test_computed_each_time(self):
        values = iter(range(2))
        for number in range(2):
            self.assertEqual(self.client.getOrCreate(
                self.key, lambda: next(values)), number)

    def test_when_it_is_over(self):
        self.ahead += 101
        self.assertIsNone(self.client.query(self.key))
        self.client.set(self.key, 'new')
        self.assertEqual(self.client.query(self.key), 'new')

    def test_two_changes_in_a_row(self):
        self.ahead += 60
        self.use(self.one, self.two)
        self.assertIsNone(self.client.query(self.key))
        self.ahead += 60  # the hand-over of the first list is over
        self.assertIsNone(self.client.query(self.key))
        self.ahead += 60
        self.assertEqual(self.client.query(self.key), 'old')

    def test_the_former_server_is_down(self):
        homes = self.homes(self.one, self.two)
        former = homes[self.key]
        former.stop()
        self.assertIsNone(self.client.invalidate(self.key))

    def test_a_former_one_that_is_gone_for_good(self):
        self.ahead = 3600
        self.use(self.one, self.two)
        self.ahead = 7200
        self.three.stop()
        # Keys move, but no process uses the third server any more.
        self.use(self.one)
        self.assertEqual(self.client.invalidateMany(KEYS), [])

    def test_a_client_that_is_dropped_is_gone_at_once(self):
        gc.disable()
        self.addCleanup(gc.enable)
        client = UltraMemcacheClient(self.other.servers, handover=100)
        client.servers = self.client.servers
        self.assertIsNone(client.set(self.key, 'new'))
        store = weakref.ref(client._state.base)
        del client
        self.assertIsNone(store())

    def test_all(self):
        self.use(self.three)
        self.client.invalidateAll()
        self.assertEqual(self.other.queryMany(KEYS), {})
        self.two.stop()
        with self.assertRaises(NotInvalidated) as caught:
            self.client.invalidateAll()
        self.assertEqual([*caught.exception.errors], [self.two.address])

    def test_proxies_have_all_keys(self):
        client = self.connect(self.one, distribution='roundrobin')
        client.set('key', 'value')
        client.servers = [self.two.address]
        self.assertNotIsInstance(client._state.base, Moving)
        self.assertIsNotNone(client.set('key', 'value'))


class EventTest(MovingCase):

    def setUp(self):
        super().setUp()
        setUpEvents()
        self.addCleanup(tearDownEvents)

    def events(self):
        return [(event.came, event.went, event.servers)
                for event in getEvents(IServersChangedEvent)]

    def test_one_for_each_change(self):
        one, two, three = [server.address for server in self.servers]
        self.client.servers = [one, two]  # it is none
        self.client.servers = [three, one]
        self.client.drained = [one]
        self.client.drained = []
        self.client.retries = 7
        self.assertEqual(self.events(), [
            ([three], [two], [three, one]),
            ([], [one], [three]),
            ([one], [], [three, one])])

    def test_regions(self):
        region = self.client.region('a')
        self.use(self.one)
        region.servers = [self.two.address]
        self.assertEqual(len(self.events()), 2)

    def test_a_subscriber_that_uses_the_client(self):
        seen = []
        zope.component.provideHandler(
            lambda event: seen.append(self.client.set('key', 'value')),
            [IServersChangedEvent])
        self.use(self.three)
        self.assertEqual(seen, [self.client.buildKey('key')])

    def test_a_subscriber_that_fails(self):
        def fail(event):
            raise ZeroDivisionError('boom')

        zope.component.provideHandler(fail, [IServersChangedEvent])
        with self.assertLogs('p01.memcache', 'ERROR'):
            self.use(self.three)
        self.assertIsNotNone(self.client.set('key', 'value'))
