# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreate`: one caller computes a value for all.

A second client stands for a second process: the two share nothing but the
server. `test_processes` has real ones.
"""

import contextlib
import itertools
import os
import pickle
import re
import threading
import time
import unittest
import warnings
from functools import partial
from time import monotonic
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.cluster.server import Server
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import SerializationError
from p01.memcache.features import computing
from p01.memcache.features import dependencies as versions
from p01.memcache.leases import lease
from p01.memcache.testing import EmbeddedLayer
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import MemcachedLayer
from p01.memcache.testing import storage
from p01.memcache.tests.contract.callers import SHORT
from p01.memcache.tests.contract.callers import Callers
from p01.memcache.tests.contract.callers import Factory
from p01.memcache.tests.contract.callers import strike
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.storm import Struck
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.values import Thrower
from p01.memcache.tests.support.values import Unpicklable
from p01.memcache.tests.support.waits import DAY
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values import stamp
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import STAMPED
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Set
from p01.memcache.wire.command import Touch


load_tests = run_in(Contract)


class Scenario(Callers):
    """What every client does, however it gets the right to compute."""

    def setUp(self):
        super().setUp()
        self.client = self.makeClient()
        self.other = self.makeOther()
        self.client.invalidateAll()

    def makeClient(self, timeout=PATIENCE, **settings):
        raise NotImplementedError

    def makeOther(self, **settings):
        """Return a client like one in another process."""
        return self.makeClient(**settings)

    def wire(self, key='key'):
        return self.client._state.locate(
            self.client.buildKey(key).encode(), soon())

    def touch(self, wire, seconds):
        self.client._state.store.run(Touch(wire, seconds), soon())

    def age(self, key='key'):
        """Let the lifetime of a value end, with 30 seconds left of its grace.
        """
        wire, deadline = self.wire(key), soon()
        store = self.client._state.store
        data, flags, _ = store.get(wire, deadline)
        self.assertEqual(flags, STAMPED)
        for name in stamp.take(data)[0]:
            if name.startswith(b'fresh:'):
                store.run(Delete(name), deadline)
        self.touch(wire, 30)

    def plant(self, data, flags, key='key'):
        self.client._state.store.run(
            Set(self.wire(key), data, flags, 0), soon())

    def assertMiss(self, client, key='key'):
        self.assertIs(client.query(key, default=MISSING), MISSING)

    def assertFree(self, client=None):
        """No caller has the right to compute; the next one gets it at once."""
        factory, start = Factory('the next one'), monotonic()
        self.assertEqual(
            (client or self.other).getOrCreate('key', factory),
            'the next one')
        self.assertLess(monotonic() - start, PATIENCE / 2)
        self.assertEqual(self.client.query('key'), 'the next one')

    # a value, or none

    def test_computes_once(self):
        factory = Factory()
        for client in self.client, self.client, self.other:
            self.assertEqual(client.getOrCreate('key', factory), 'computed')
        self.assertEqual(factory.calls, 1)
        self.assertEqual(self.other.query('key'), 'computed')

    def test_a_value_that_is_set(self):
        self.client.set('key', 'set')
        factory = Factory()
        self.assertEqual(self.other.getOrCreate('key', factory), 'set')
        self.assertEqual(factory.calls, 0)

    def test_values_that_are_false(self):
        for number, value in enumerate((None, False, 0, '', b'', [], {})):
            with self.subTest(value=value):
                factory = Factory(value)
                for _ in range(2):
                    self.assertEqual(
                        self.client.getOrCreate(number, factory), value)
                self.assertEqual(factory.calls, 1)

    def test_lifetimes(self):
        for lifetime, grace in [
                (None, None), (0, None), (0, 60), (0, 0), (1.5, 0.5), (2, 60),
                (40 * DAY, None), (40 * DAY, 60), (60, 40 * DAY),
                (40 * DAY, 40 * DAY), (29 * DAY, 29 * DAY)]:
            with self.subTest(lifetime=lifetime, grace=grace):
                key = f'{lifetime} {grace}'
                factory = Factory()
                for client in self.client, self.client, self.other:
                    self.assertEqual(client.getOrCreate(
                        key, factory, lifetime, grace), 'computed')
                self.assertEqual(factory.calls, 1)
                self.assertEqual(client.query(key), 'computed')

    def test_the_lifetime_of_the_client(self):
        self.client.lifetime = 7
        with mock.patch(
                'p01.memcache.features.looking.expiry',
                return_value=9) as asked:
            self.client.getOrCreate('key', Factory())
        asked.assert_called_with(7)

    def test_a_value_that_never_expires_never_gets_stale(self):
        self.client.getOrCreate('key', Factory('a'), lifetime=0, grace=60)
        self.assertEqual(
            self.client._state.store.get(self.wire(), soon()),
            (pickle.dumps('a', -1), PLAIN, None))

    def test_wrong_arguments(self):
        looks = self.lookers(self.client)
        factory = Factory()
        for error, named, arguments in [
                (TypeError, 'factory', ('key', None)),
                (TypeError, 'factory', ('key', 'factory')),
                (ValueError, 'lifetime', ('key', factory, -1)),
                (ValueError, 'lifetime', ('key', factory, -1, 60)),
                (ValueError, 'lifetime', ('key', factory, True)),
                (ValueError, 'lifetime', ('key', factory, '60')),
                (ValueError, 'lifetime', ('key', factory, '', 60)),
                (ValueError, 'lifetime', ('key', factory, float('nan'))),
                (ValueError, 'lifetime', ('key', factory, float('inf'), 1)),
                (ValueError, 'lifetime', ('key', factory, 100 * 365 * DAY)),
                (ValueError, 'grace', ('key', factory, 60, -1)),
                (ValueError, 'grace', ('key', factory, 60, True)),
                (ValueError, 'grace', ('key', factory, 60, '60')),
                (ValueError, 'grace', ('key', factory, 60, float('inf'))),
                (ValueError, 'grace', ('key', factory, 0, -1)),
                (TypeError, 'dependencies', ('key', factory, 60, 1, 'path')),
                (TypeError, 'dependency', ('key', factory, 60, 1, [b'a'])),
                (TypeError, 'dependencies', ('key', factory, 60, 1, None)),
                (ValueError, '', (Unpicklable(OSError('no')), factory))]:
            with self.subTest(arguments=arguments[2:]):
                looks.clear()
                factory.calls = 0
                with self.assertRaisesRegex(error, named):
                    self.client.getOrCreate(*arguments)
                self.assertEqual((looks, factory.calls), ([], 0))

    # garbage

    def test_unreadable_values(self):
        for number, (data, flags) in enumerate([
                (b'garbage', 0), (b'', 0), (b'', 1), (b'1', 2), (b'', 64),
                (b'no stamp', 64), (b'a b c\n', 64), (b'\0 x\nx', 64),
                (b'\n' + b'garbage', 64), (pickle.dumps(1, -1), 1),
                (pickle.dumps(Thrower(OSError('no'))), 0)]):
            if not data and not flags and not self.knows_empty:
                continue
            with self.subTest(data=data, flags=flags):
                key = f'key {number}'
                self.plant(data, flags, key)
                factory, start = Factory(), monotonic()
                for _ in range(2):
                    self.assertEqual(
                        self.client.getOrCreate(key, factory), 'computed')
                self.assertEqual(factory.calls, 1)
                self.assertLess(monotonic() - start, PATIENCE / 2)

    # Whether the client can tell an empty value from memcached's own claim.
    knows_empty = False

    def test_a_raw_value(self):
        self.client.set('key', b'raw', raw=True)
        factory = Factory()
        self.assertEqual(self.client.getOrCreate('key', factory), 'computed')
        self.assertEqual(self.client.query('key'), 'computed')

    def test_a_value_that_only_its_maker_can_use(self):
        # It can be pickled, but not unpickled: each caller computes its own.
        factory = Factory(Thrower(OSError('no')), slow=True)
        first = self.computing(self.client, factory)
        others = self.waiting(self.client, 2, factory)
        factory.go_on.set()
        for value in self.results([first, *others]):
            self.assertIsInstance(value, Thrower)

    # the herd

    def herd(self, callers, factory, **kw):
        """Return the results of that many simultaneous callers."""
        barrier = threading.Barrier(len(callers), timeout=PATIENCE)

        def work(client):
            barrier.wait()
            return client.getOrCreate('key', factory, **kw)

        return self.results(
            [self._executor.submit(work, client) for client in callers])

    def test_a_hundred_threads(self):
        self.client.set('key', 'expired')
        self.touch(self.wire(), -1)
        factory = Factory(['a', 'list'])
        values = self.herd([self.client] * 100, factory)
        self.assertEqual(factory.calls, 1)
        self.assertEqual(values, [['a', 'list']] * 100)
        self.assertEqual(len(set(map(id, values))), 100)

    def test_two_herds(self):
        factory = Factory(['a', 'list'])
        values = self.herd([self.client, self.other] * 20, factory)
        self.assertEqual(factory.calls, 1)
        self.assertEqual(values, [['a', 'list']] * 40)
        self.assertEqual(len(set(map(id, values))), 40)

    def test_others_wait(self):
        factory, never = Factory(['a'], slow=True), Factory('never')
        winner = self.computing(self.client, factory)
        others = (self.waiting(self.client, 5, never)
                  + self.waiting(self.other, 5, never))
        factory.go_on.set()
        values = self.results([winner, *others])
        self.assertEqual((factory.calls, never.calls), (1, 0))
        self.assertEqual(values, [['a']] * 11)
        self.assertEqual(len(set(map(id, values))), 11)

    def test_waiting_callers_poll_sparingly(self):
        factory = Factory(slow=True)
        winner = self.computing(self.client, factory)
        looks = self.lookers(self.other)
        others = [self.begin(self.other, Factory('never')) for _ in range(5)]
        until(lambda: len(set(looks)) == 5)
        time.sleep(0.03)
        self.assertLess(len(looks), 5 + 10)
        factory.go_on.set()
        self.results([winner, *others])

    def test_a_caller_that_waited_too_long_computes(self):
        # Of those that compute, the first one to finish stores its value.
        slow = Factory('slow', slow=True)
        winner = self.computing(self.client, slow)
        late = self.makeOther(timeout=SHORT)
        self.assertEqual(late.getOrCreate('key', Factory('first')), 'first')
        # It works as before.
        self.assertEqual(late.query('key'), 'first')
        self.assertEqual(
            late.getOrCreate('key', Factory('never')), 'first')
        slow.go_on.set()
        self.assertEqual(winner.result(PATIENCE), 'slow')
        self.assertEqual(self.other.query('key'), 'first')

    def test_waited_too_long_in_the_same_process(self):
        client = self.makeClient(timeout=SHORT)
        slow = Factory('slow', slow=True)
        winner = self.computing(client, slow)
        self.assertEqual(client.getOrCreate('key', Factory('first')), 'first')
        self.assertEqual(client.query('key'), 'first')
        slow.go_on.set()
        self.assertEqual(winner.result(PATIENCE), 'slow')
        self.assertEqual(client.query('key'), 'first')

    def test_waited_too_long_with_a_grace(self):
        # The loser must not make the winner's value look stale.
        slow = Factory('slow', slow=True)
        winner = self.computing(self.client, slow, lifetime=60, grace=60)
        client = self.makeOther(timeout=SHORT)
        self.assertEqual(
            client.getOrCreate('key', Factory('first'), 60, 60), 'first')
        slow.go_on.set()
        self.assertEqual(winner.result(PATIENCE), 'slow')
        self.assertEqual(self.other.query('key'), 'first')
        self.assertEqual(
            self.client.getOrCreate('key', Factory('never'), 60, 60), 'first')

    def test_a_process_that_died_while_computing(self):
        # Its claim holds up others only once, not until it expires.
        self.client._state.lending.lend(self.wire(), 0, soon())
        client = self.makeOther(timeout=SHORT)
        self.assertEqual(client.getOrCreate('key', Factory()), 'computed')
        self.assertEqual(
            self.client.getOrCreate('key', Factory('never')), 'computed')
        self.assertEqual(client.query('key'), 'computed')

    def test_how_long_a_caller_waits(self):
        self.client._state.lending.lend(self.wire(), 0, soon())
        client = self.makeOther(timeout=SHORT)
        start = monotonic()
        begun = []
        client.getOrCreate('key', lambda: begun.append(monotonic() - start))
        self.assertGreater(begun[0], SHORT / 2)

    def test_dependencies_are_read_within_the_same_deadline(self):
        # Their server, if it is silent, does not add a time-out of its own.
        self.client._state.lending.lend(self.wire(), 0, soon())
        client = self.makeOther(timeout=SHORT)
        lend, deadlines = client._state.lending.lend, []

        def look(wire, grace, deadline, is_missing):
            deadlines.append(deadline)
            return lend(wire, grace, deadline, is_missing)

        def fail(store, keys, deadline):
            deadlines.append(deadline)
            raise ReceiveError('no')

        client._state.lending.lend = look
        with mock.patch.object(versions, 'current', fail):
            self.assertEqual(client.getOrCreate(
                'key', Factory(), dependencies=['a']), 'computed')
        self.assertEqual(set(deadlines), {deadlines[0]})
        self.assertMiss(self.client)

    def test_waited_too_long_with_dependencies(self):
        kw = {'dependencies': ['a']}
        client = self.makeOther(timeout=SHORT)
        for change, expected in (
                (lambda: None, 'computed'),
                (lambda: self.client.invalidateDependencies('a'), MISSING)):
            self.client.invalidate('key')
            self.client._state.lending.lend(self.wire(), 0, soon())

            def factory(change=change):
                change()
                return 'computed'

            self.assertEqual(
                client.getOrCreate('key', factory, **kw), 'computed')
            self.assertEqual(
                self.client.query('key', default=MISSING), expected)
            self.client.invalidateDependencies('a')
            self.assertMiss(self.client)

    # factories that fail

    def test_the_factory_raises(self):
        for error in (ValueError('no'), KeyboardInterrupt(), SystemExit(1),
                      Struck(), GeneratorExit()):
            with self.subTest(error=error):
                factory = Factory(error)
                with self.assertRaises(type(error)) as raised:
                    self.client.getOrCreate('key', factory)
                self.assertIs(raised.exception, error)
                self.assertEqual(factory.calls, 1)
                self.assertFree()
                self.client.invalidate('key')
        self.assertEqual(self.client._flights, {})

    def test_the_factory_is_interrupted(self):
        ident = []

        def factory():
            ident.append(threading.get_ident())
            while True:
                time.sleep(0.0001)

        future = self.begin(self.client, factory)
        until(lambda: ident)
        strike(ident[0], Struck)
        self.assertIsInstance(future.exception(PATIENCE), Struck)
        self.assertFree()

    def test_only_its_caller_gets_the_error(self):
        # The next caller computes, and the others wait for it.
        bad, good = Factory(ValueError('no'), slow=True), Factory(['good'])
        winner = self.computing(self.client, bad)
        others = (self.waiting(self.client, 5, good)
                  + self.waiting(self.other, 5, good))
        bad.go_on.set()
        self.assertIsInstance(winner.exception(PATIENCE), ValueError)
        self.assertEqual(self.results(others), [['good']] * 10)
        self.assertEqual(good.calls, 1)

    def gated(self, client):
        """Hold the client's next thread before it looks a second time."""
        lend = client._state.lending.lend
        gate, held = threading.Event(), threading.Event()
        looked = []

        def looks(*args):
            if not looked:
                looked.append(threading.get_ident())
            elif looked[0] == threading.get_ident() and not gate.is_set():
                held.set()
                gate.wait(PATIENCE)
            return lend(*args)

        client._state.lending.lend = looks
        return gate, held

    def test_no_storm_after_an_error(self):
        # While a caller waits for another process, a thread of its own process
        # may try and fail: then the caller has to go on waiting.
        elsewhere = Factory(ValueError('no'), slow=True)
        winner = self.computing(self.other, elsewhere)
        gate, held = self.gated(self.client)
        first = self.begin(self.client, Factory('never'))
        self.assertTrue(held.wait(PATIENCE))
        elsewhere.go_on.set()
        winner.exception(PATIENCE)
        with self.assertRaises(ValueError):
            self.client.getOrCreate('key', Factory(ValueError('no')))
        slow = Factory(slow=True)
        third = self.computing(self.other, slow)
        looks = self.lookers(self.client)
        gate.set()
        time.sleep(0.03)
        self.assertLess(len(looks), 15)
        slow.go_on.set()
        self.assertEqual(self.results([first, third]), ['computed'] * 2)

    def test_the_value_cannot_be_pickled(self):
        with self.assertRaises(SerializationError):
            self.client.getOrCreate('key', lambda: lambda: None)
        self.assertFree()
        self.client.invalidate('key')
        with self.assertRaises(Struck):
            self.client.getOrCreate(
                'key', Factory(Unpicklable(Struck())))
        self.assertFree()

    def struck(self, error):
        """Interrupt the next computation while its value is stored."""
        effects = itertools.chain([error], itertools.repeat(mock.DEFAULT))
        return mock.patch.object(
            lease, 'Cas', wraps=lease.Cas, side_effect=effects)

    def test_interrupted_while_it_is_stored(self):
        for error in Struck(), KeyboardInterrupt():
            with self.struck(error), self.assertRaises(type(error)):
                self.client.getOrCreate('key', Factory('lost'))
            self.assertFree()
            self.client.invalidate('key')

    # factories that use the cache

    def test_a_factory_that_asks_for_its_own_key(self):
        calls = []

        def factory():
            calls.append(1)
            return self.client.getOrCreate('key', factory)

        for _ in range(2):
            with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                self.client.getOrCreate('key', factory)
        self.assertEqual(len(calls), 2)
        self.assertFree()

    def test_its_own_key_while_another_thread_waits_for_it(self):
        elsewhere = Factory(ValueError('no'), slow=True)
        winner = self.computing(self.other, elsewhere)
        gate, held = self.gated(self.client)
        first = self.begin(self.client, Factory('right'))
        self.assertTrue(held.wait(PATIENCE))
        elsewhere.go_on.set()
        winner.exception(PATIENCE)

        def factory():
            return self.client.getOrCreate('key', factory)

        try:
            with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                self.begin(self.client, factory).result(PATIENCE / 2)
        finally:
            gate.set()
            first.result(PATIENCE)

    def test_a_factory_that_asks_for_other_keys(self):
        def create(number):
            if not number:
                return 0
            return 1 + self.client.getOrCreate(
                number - 1, lambda: create(number - 1))

        self.assertEqual(self.client.getOrCreate(9, lambda: create(9)), 9)
        self.assertEqual(self.client.query(4), 4)

    def test_a_factory_that_uses_its_own_key_otherwise(self):
        # A value that the factory itself has set stays.
        def factory():
            self.assertMiss(self.client)
            self.client.set('key', 'set')
            return 'computed'

        self.assertEqual(self.client.getOrCreate('key', factory), 'computed')
        self.assertEqual(self.client.query('key'), 'set')

    # while it is computed

    def test_no_value_yet(self):
        factory = Factory(slow=True)
        future = self.computing(self.client, factory)
        for client in self.client, self.other:
            for raw in False, True:
                with self.subTest(client=client, raw=raw):
                    self.assertIs(
                        client.query('key', raw, MISSING), MISSING)
                    self.assertEqual(client.gets('key', raw), (None, None))
                    self.assertEqual(client.queryMany(['key'], raw), {})
                    self.assertIs(client.queryAndTouch(
                        'key', raw=raw, default=MISSING), MISSING)
            self.assertIs(client.add('key', 'added'), False)
        factory.go_on.set()
        future.result(PATIENCE)
        self.assertEqual(self.other.query('key'), 'computed')

    def test_a_claim_is_never_a_number(self):
        # Whichever random digits it has.
        factory = Factory(slow=True)
        with mock.patch.object(stamp, 'make', return_value=b'1' * 16):
            future = self.computing(self.client, factory)
        for client in self.client, self.other:
            self.assertIsNone(client.increment('key'))
            self.assertIsNone(client.decrement('key'))
            self.assertIsNone(client.increment('key', initial=5))
        factory.go_on.set()
        self.assertEqual(future.result(PATIENCE), 'computed')
        self.assertEqual(self.other.query('key'), 'computed')

    def test_an_empty_raw_value(self):
        for client in self.client, self.other:
            client.set('empty', b'', raw=True)
            if not self.knows_empty:
                continue
            self.assertEqual(client.query('empty', raw=True), b'')
            self.assertEqual(
                client.queryMany(['empty'], raw=True), {'empty': b''})

    def changes(self):
        """Yield changes that make the value being computed obsolete, and the
        arguments for computing it.
        """
        for client in self.client, self.other:
            yield partial(client.invalidate, 'key'), {}
            yield partial(client.invalidateMany, ['key']), {}
            yield partial(client.invalidateAll), {}
            yield partial(client.invalidateNamespace), {}
            yield (partial(client.invalidateDependencies, 'a'),
                   {'dependencies': ['a', 'b']})

    def test_invalidated_meanwhile(self):
        self.client.generations = self.other.generations = True
        for change, kw in self.changes():
            with self.subTest(change=change):
                self.client.invalidate('key')
                old = Factory('old', slow=True)
                new = Factory('new')
                winner = self.computing(self.client, old, **kw)
                change()
                # One caller comes before it has finished, and one after that.
                later = self.waiting(self.client, 1, new, **kw)
                old.go_on.set()
                self.assertEqual(winner.result(PATIENCE), 'old')
                self.assertEqual(self.results(later), ['new'])
                self.assertEqual(
                    self.other.getOrCreate('key', new, **kw), 'new')
                self.assertEqual(new.calls, 1)

    def check_new_computation(self, owner, early):
        """Callers that come after a change get the value computed since.

        `owner` computes the old value; `early` callers come before the change.
        """
        self.client.generations = self.other.generations = True
        for change, kw in self.changes():
            with self.subTest(change=change):
                self.client.invalidate('key')
                old, new = Factory('old', slow=True), Factory('new', slow=True)
                winner = self.computing(owner, old, **kw)
                before = self.waiting(self.client, early, new, **kw)
                change()
                later = self.waiting(self.client, 3, new, **kw)
                old.go_on.set()
                self.assertEqual(winner.result(PATIENCE), 'old')
                new.go_on.set()
                self.assertEqual(self.results(later), ['new'] * 3)
                for value in self.results(before):
                    self.assertIn(value, ('old', 'new'))
                self.assertEqual(self.other.query('key'), 'new')
                if not early:
                    self.assertEqual(new.calls, 1)

    def test_invalidated_while_two_wait(self):
        self.check_new_computation(self.client, 0)

    def test_invalidated_while_another_process_computes(self):
        self.check_new_computation(self.other, 1)

    def test_set_meanwhile(self):
        for client in self.client, self.other:
            with self.subTest(client=client):
                client.invalidate('key')
                old = Factory('old', slow=True)
                winner = self.computing(self.client, old)
                client.set('key', 'set')
                self.assertEqual(
                    self.client.getOrCreate('key', Factory('never')), 'set')
                old.go_on.set()
                self.assertEqual(winner.result(PATIENCE), 'old')
                self.assertEqual(self.client.query('key'), 'set')

    def test_a_computation_that_outlasts_its_claim(self):
        # An invalidated value is not stored after its claim has expired.
        with mock.patch('p01.memcache.leases.lease.SECONDS', 2):
            for client in self.client, self.other:
                with self.subTest(client=client):
                    old = Factory('old', slow=True)
                    winner = self.computing(self.client, old)
                    client.invalidate('key')
                    old.go_on.set()
                    self.assertEqual(winner.result(PATIENCE), 'old')
                    self.assertMiss(self.client)

    def test_nothing_is_left_behind(self):
        self.herd([self.client, self.other] * 5, Factory(), grace=5)
        for client in self.client, self.other:
            self.assertEqual(client._flights, {})

    # dependencies

    def test_dependencies(self):
        kw = {'dependencies': ('a', 'b')}
        for number in range(3):
            value = [number]
            self.assertEqual(
                self.client.getOrCreate('key', Factory(value), **kw), value)
            self.assertEqual(
                self.other.getOrCreate('key', Factory('never'), **kw), value)
            # It does not matter how it is read.
            self.assertEqual(
                self.other.getOrCreate('key', Factory('never')), value)
            self.assertEqual(self.other.query('key'), value)
            self.client.invalidateDependencies('c')
            self.assertEqual(self.other.query('key'), value)
            self.other.invalidateDependencies('ab'[number % 2])
            self.assertMiss(self.client)

    def test_dependencies_and_a_grace(self):
        # An invalidated value is not served stale.
        kw = {'dependencies': ['a'], 'lifetime': 100, 'grace': 60}
        self.client.getOrCreate('key', Factory('old'), **kw)
        self.age()
        self.other.invalidateDependencies('a')
        self.assertEqual(
            self.client.getOrCreate('key', Factory('new'), **kw), 'new')

    def test_dependencies_and_a_renewal(self):
        # Not even one that could be served stale a moment ago.
        kw = {'dependencies': ['a'], 'lifetime': 100, 'grace': 60}
        self.client.getOrCreate('key', Factory('old'), **kw)
        self.age()
        middle = Factory('middle', slow=True)
        renewer = self.computing(self.client, middle, **kw)
        self.assertEqual(
            self.other.getOrCreate('key', Factory('never'), **kw), 'old')
        self.other.invalidateDependencies('a')
        self.assertEqual(
            self.other.getOrCreate('key', Factory('new'), **kw), 'new')
        middle.go_on.set()
        self.assertEqual(renewer.result(PATIENCE), 'middle')
        self.assertEqual(self.client.query('key'), 'new')

    # grace

    renew = {'lifetime': 100, 'grace': 60}

    def test_grace(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.assertEqual(self.other.getOrCreate(
            'key', Factory('never'), **self.renew), 'old')
        self.assertEqual(self.other.query('key'), 'old')
        self.age()
        new, never = Factory('new', slow=True), Factory('never')
        renewer = self.computing(self.client, new, **self.renew)
        for client in self.client, self.other:
            for _ in range(3):
                self.assertEqual(client.getOrCreate(
                    'key', never, **self.renew), 'old')
            self.assertMiss(client)
            self.assertEqual(client.queryMany(['key']), {})
        new.go_on.set()
        self.assertEqual(renewer.result(PATIENCE), 'new')
        for client in self.client, self.other:
            self.assertEqual(client.getOrCreate(
                'key', never, **self.renew), 'new')
            self.assertEqual(client.query('key'), 'new')
        self.assertEqual((new.calls, never.calls), (1, 0))

    def test_one_grace_after_another(self):
        value = 0
        self.client.getOrCreate('key', Factory(0), **self.renew)
        for value in range(1, 4):
            self.age()
            self.assertEqual(self.other.getOrCreate(
                'key', Factory(value), **self.renew), value)
            self.assertEqual(self.client.query('key'), value)

    def test_grace_for_a_herd(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.age()
        factory = Factory('new')
        values = self.herd([self.client] * 30 + [self.other] * 10, factory,
                           **self.renew)
        self.assertEqual(factory.calls, 1)
        self.assertLessEqual(set(values), {'old', 'new'})
        self.assertEqual(self.client.query('key'), 'new')

    def test_grace_is_over(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.age()
        self.touch(self.wire(), -1)
        new = Factory('new', slow=True)
        winner = self.computing(self.client, new, **self.renew)
        others = self.waiting(self.other, 3, Factory('never'), **self.renew)
        new.go_on.set()
        self.assertEqual(self.results([winner, *others]), ['new'] * 4)

    def test_a_renewal_that_fails(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        for error in ValueError('no'), KeyboardInterrupt():
            self.age()
            with self.assertRaises(type(error)):
                self.client.getOrCreate('key', Factory(error), **self.renew)
            self.assertMiss(self.client)
            new = Factory(['new'], slow=True)
            renewer = self.computing(self.other, new, **self.renew)
            self.assertNotEqual(self.client.getOrCreate(
                'key', Factory('never'), **self.renew), 'never')
            new.go_on.set()
            self.assertEqual(renewer.result(PATIENCE), ['new'])
            self.assertEqual(self.client.query('key'), ['new'])

    def assertRenewable(self):
        new = Factory('new')
        self.assertEqual(
            self.other.getOrCreate('key', new, **self.renew), 'new')
        self.assertEqual(new.calls, 1)

    def test_a_renewal_that_is_interrupted_while_it_is_stored(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        for error in Struck(), KeyboardInterrupt():
            for place in (
                    mock.patch.object(
                        computing, 'Set', side_effect=error),
                    self.struck(error)):
                self.age()
                with place, self.assertRaises(type(error)):
                    self.client.getOrCreate(
                        'key', Factory('lost'), **self.renew)
                self.assertRenewable()

    def cut_off(self, error):
        """Make the client's next renewal fail as soon as it has the right."""
        store = self.client._state.store
        run, gets = store.run, store.gets
        claimed = []

        def claims(command, deadline):
            reply = run(command, deadline)
            if command.key.startswith(b'claim:'):
                claimed.append(command.key)
            return reply

        def look(*args):
            if claimed:
                raise error
            return gets(*args)

        return mock.patch.multiple(store, run=claims, gets=look)

    def test_a_renewal_that_fails_at_once(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        for kw in self.renew, {'lifetime': 100}:
            self.age()
            with self.cut_off(Struck()), self.assertRaises(Struck):
                self.client.getOrCreate('key', Factory('never'), **kw)
            self.assertRenewable()
            self.age()
            with self.cut_off(ReceiveError('no')):
                self.assertEqual(self.client.getOrCreate(
                    'key', Factory('not stored'), **kw), 'not stored')
            self.assertRenewable()

    def test_invalidated_while_it_is_renewed(self):
        for client in self.client, self.other:
            with self.subTest(client=client):
                self.client.getOrCreate('key', Factory('old'), **self.renew)
                self.age()
                middle = Factory('middle', slow=True)
                renewer = self.computing(self.client, middle, **self.renew)
                client.invalidate('key')
                later = self.waiting(
                    self.client, 2, Factory('new'), **self.renew)
                middle.go_on.set()
                self.assertEqual(renewer.result(PATIENCE), 'middle')
                self.assertEqual(self.results(later), ['new'] * 2)
                self.assertEqual(self.client.query('key'), 'new')
                client.invalidate('key')

    def test_a_renewal_and_callers_without_a_grace(self):
        # They wait for it, and do not accept the stale value.
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.age()
        new = Factory('new', slow=True)
        renewer = self.computing(self.client, new, **self.renew)
        never = Factory('never')
        others = (self.waiting(self.other, 2, never)
                  + self.waiting(self.client, 2, never))
        self.assertEqual(self.other.getOrCreate(
            'key', never, **self.renew), 'old')
        new.go_on.set()
        self.assertEqual(
            self.results([renewer, *others]), ['new'] * 5)
        self.assertEqual((new.calls, never.calls), (1, 0))

    def test_a_renewal_by_a_caller_without_a_grace(self):
        # There is only one right, whether or not callers accept stale values.
        for one, other in itertools.permutations((self.client, self.other)):
            self.client.getOrCreate('key', Factory('old'), **self.renew)
            self.age()
            new, never = Factory('new', slow=True), Factory('never')
            renewer = self.computing(one, new, lifetime=100)
            for client in one, other:
                for _ in range(2):
                    self.assertEqual(client.getOrCreate(
                        'key', never, **self.renew), 'old')
            others = self.waiting(other, 2, never)
            new.go_on.set()
            self.assertEqual(self.results([renewer, *others]), ['new'] * 3)
            self.assertEqual((new.calls, never.calls), (1, 0))
            self.client.invalidate('key')

    def test_a_caller_without_a_grace_that_fails_to_renew(self):
        # Another caller has asked meanwhile; the right is free again for all.
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.age()
        failing = Factory(KeyError(), slow=True)
        renewer = self.computing(self.client, failing, lifetime=100)
        self.assertEqual(self.other.getOrCreate(
            'key', Factory('never'), **self.renew), 'old')
        failing.go_on.set()
        with self.assertRaises(KeyError):
            renewer.result(PATIENCE)
        self.assertEqual(self.other.getOrCreate(
            'key', Factory('new'), **self.renew), 'new')

    def test_a_grace_for_what_was_stored_without_one(self):
        # It has its whole lifetime, no part of which is a grace.
        never = Factory('never')
        self.client.set('set', 'value', 30)
        self.client.set('depends', 'value', 30, dependencies=['a'])
        self.client.getOrCreate('created', Factory('value'), 30)
        for key in 'set', 'depends', 'created':
            for client in self.client, self.other, self.client:
                self.assertEqual(client.getOrCreate(
                    key, never, **self.renew), 'value')
        self.assertEqual(never.calls, 0)

    def test_a_stale_value_and_callers_without_a_grace(self):
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.age()
        factory = Factory('new')
        values = self.herd([self.client, self.other] * 5, factory,
                           lifetime=100)
        self.assertEqual((factory.calls, values), (1, ['new'] * 10))
        self.assertEqual(self.other.query('key'), 'new')

    # the size of a value

    def test_too_large(self):
        factory = Factory('x' * (1 << 21), slow=True)
        first = self.computing(self.client, factory)
        others = self.waiting(self.client, 2, factory)
        factory.go_on.set()
        for value in self.results([first, *others]):
            self.assertEqual(len(value), 1 << 21)
        self.assertEqual(factory.calls, 1)
        self.assertMiss(self.client)
        self.assertFree()

    # forks

    @unittest.skipUnless(hasattr(os, 'fork'), 'without fork')
    def test_fork(self):
        # A child does not wait for threads that exist only in its parent.
        factory = Factory(slow=True)
        winner = self.computing(self.client, factory)
        looked, tell = os.pipe()
        self.addCleanup(os.close, looked)
        self.addCleanup(os.close, tell)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            pid = os.fork()
        if not pid:
            status = 1
            try:
                with contextlib.suppress(BaseException):
                    status = self.in_child(tell)
            finally:
                os._exit(status)
        os.read(looked, 1)
        factory.go_on.set()
        winner.result(PATIENCE)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    def in_child(self, tell):
        lend, start = self.client._state.lending.lend, monotonic()

        def look(*args):
            try:
                return lend(*args)
            finally:
                os.write(tell, b'.')

        self.client._state.lending.lend = look
        value = self.client.getOrCreate('key', Factory())
        return value != 'computed' or monotonic() - start > PATIENCE / 2


class Claims(Scenario):
    """Without meta commands: the right is a claim that was added."""

    def test_renewed_a_moment_ago(self):
        # Another caller may have renewed the value after it was read, and
        # before the right to renew it was claimed.
        self.client.getOrCreate('key', Factory('old'), **self.renew)
        self.age()
        store, renewed = self.client._state.store, []
        get_many = store.get_many

        def renew_and_retrieve(*args):
            if not renewed:
                renewed.append(self.other.getOrCreate(
                    'key', Factory('new'), **self.renew))
            return get_many(*args)

        store.get_many = renew_and_retrieve
        never = Factory('never')
        self.assertEqual(self.client.getOrCreate(
            'key', never, **self.renew), 'new')
        self.assertEqual((renewed, never.calls), (['new'], 0))
        # The right is free again.
        self.age()
        self.assertEqual(self.client.getOrCreate(
            'key', Factory('newer'), **self.renew), 'newer')


class WithServer(Scenario):

    meta = True

    def setUp(self):
        if not self.meta:
            self.enterContext(
                mock.patch.object(Server, 'lends', return_value=False))
        super().setUp()

    def makeClient(self, timeout=PATIENCE, **settings):
        client = UltraMemcacheClient(
            [self.layer.address], timeout=timeout, **settings)
        self.addCleanup(client.close)
        return client

    def test_a_claim_ends_meanwhile(self):
        # After the item was read, and before the server was asked whether
        # it is a value.
        server = self.client._state.store.servers[0]
        is_leased = server.is_leased

        def ask(end, *args):
            end()
            return is_leased(*args)

        wire = self.client.buildKey('key').encode()
        for end in (lambda: self.other.set('key', b'value', raw=True),
                    lambda: self.other.invalidate('key')):
            server.is_leased = partial(ask, end)
            for read, miss in (
                    (partial(self.client.query, 'key'), None),
                    (partial(self.client.queryMany, ['key']), {})):
                self.other.invalidate('key')
                self.other._state.lending.lend(wire, 0, soon())
                self.assertEqual(read(raw=True), miss)
        self.assertEqual(self.client.getUnreadable(), {})


class TestMeta(WithServer, unittest.TestCase):

    layer = EmbeddedLayer
    knows_empty = True


class TestClaims(WithServer, Claims, unittest.TestCase):

    level = 2
    layer = EmbeddedLayer
    meta = False


class TestMetaOnMemcached(WithServer, unittest.TestCase):

    level = 2
    layer = MemcachedLayer
    knows_empty = True


class TestClaimsOnMemcached(TestClaims):

    layer = MemcachedLayer


class TestMemcacheClient(Claims, unittest.TestCase):

    level = 2
    layer = MemcachedLayer

    def makeClient(self, timeout=PATIENCE, **settings):
        client = MemcacheClient([self.layer.address], **settings)
        client._timeout = timeout
        self.addCleanup(client.close)
        return client


class TestBothClients(Scenario, unittest.TestCase):
    """One process uses claims, the other one the meta commands."""

    level = 2
    layer = MemcachedLayer
    makeClient = TestMemcacheClient.makeClient

    def makeOther(self, timeout=PATIENCE, **settings):
        client = UltraMemcacheClient(
            [self.layer.address], timeout=timeout, distribution='modulo',
            **settings)
        self.addCleanup(client.close)
        return client


class TestFakeMemcacheClient(Claims, unittest.TestCase):

    factory = FakeMemcacheClient
    test_fork = None  # there is a lock in the backend

    def makeClient(self, timeout=PATIENCE, **settings):
        client = self.factory(**settings)
        client._timeout = timeout
        return client

    def makeOther(self, **settings):
        client = self.makeClient(**settings)
        storage[client] = storage[self.client]
        return client


class TestFakeUltraMemcacheClient(TestFakeMemcacheClient):

    level = 2

    def makeClient(self, **settings):
        return FakeUltraMemcacheClient(**{'timeout': PATIENCE, **settings})


class Trouble(Callers):
    """The server is down, or goes down while it is needed."""

    def proxied(self):
        """Return a proxy, a client of it, and a client of its server."""
        server = self.enterContext(EmbeddedServer())
        proxy = self.enterContext(FaultProxy(server.address))
        return proxy, self.makeClient(proxy.address), self.makeClient(
            server.address)

    def test_one_at_a_time(self):
        with refusing() as address:
            client = self.makeClient(address)
            for value in ['a'], ['b']:
                factory = Factory(value, slow=True)
                first = self.computing(client, factory)
                others = self.waiting(client, 5, factory)
                # They have looked, and have yet to wait.
                until(lambda: sum(
                    len(flight._waiting)
                    for flight in list(client._flights.values())) == 5)
                factory.go_on.set()
                values = self.results([first, *others])
                self.assertEqual((factory.calls, values), (1, [value] * 6))
                self.assertEqual(len(set(map(id, values))), 6)
            self.assertEqual(client._flights, {})

    def test_the_callers_fail_one_after_the_other(self):
        with refusing() as address:
            client = self.makeClient(address)
            error = ValueError('no')
            factory = Factory(error, slow=True)
            first = self.computing(client, factory)
            others = self.waiting(client, 3, factory)
            factory.go_on.set()
            for future in first, *others:
                self.assertIs(future.exception(PATIENCE), error)
            self.assertEqual(factory.calls, 4)

    def test_a_caller_waits_no_longer_than_the_time_out(self):
        with refusing() as address:
            client = self.makeClient(address, timeout=SHORT)
            slow = Factory('slow', slow=True)
            first = self.computing(client, slow)
            self.assertEqual(client.getOrCreate('key', Factory('a')), 'a')
            slow.go_on.set()
            self.assertEqual(first.result(PATIENCE), 'slow')

    def test_a_factory_that_asks_for_its_own_key(self):
        with refusing() as address:
            client = self.makeClient(address)

            def factory():
                return client.getOrCreate('key', factory)

            with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                client.getOrCreate('key', factory)
            self.assertEqual(client.getOrCreate(
                'a', lambda: client.getOrCreate('b', lambda: 'b')), 'b')

    def test_invalidated_meanwhile(self):
        with refusing() as address:
            client = self.makeClient(address)
            for change in (
                    partial(client.invalidate, 'key'),
                    partial(client.invalidateMany, ['key']),
                    partial(client.set, 'key', 'set'),
                    partial(client.invalidateDependencies, 'a')):
                with self.subTest(change=change):
                    old = Factory('old', slow=True)
                    first = self.computing(client, old)
                    change()
                    self.assertEqual(
                        client.getOrCreate('key', Factory('new')), 'new')
                    old.go_on.set()
                    self.assertEqual(first.result(PATIENCE), 'old')

    def test_the_server_dies_before_the_value_is_stored(self):
        proxy, client, other = self.proxied()
        for grace in None, 60:
            with self.subTest(grace=grace):
                factory = Factory(['a'], slow=True)
                first = self.computing(client, factory, grace=grace)
                others = self.waiting(client, 3, factory, grace=grace)
                proxy.refuse()
                proxy.cut()
                factory.go_on.set()
                for value in self.results([first, *others]):
                    self.assertEqual(value, ['a'])
                proxy.accept()
                self.revive(client)
                # It is unknown whether it was stored, so it is removed.
                self.assertIs(client.query('key', default=MISSING), MISSING)
                start = monotonic()
                self.assertEqual(
                    client.getOrCreate('key', Factory('b')), 'b')
                self.assertLess(monotonic() - start, PATIENCE / 2)
                self.assertEqual(other.query('key'), 'b')
                client.invalidate('key')

    def test_the_reply_that_grants_the_right_is_lost(self):
        proxy, client, other = self.proxied()
        self.assertEqual(client.query('key'), None)
        client.getOrCreate('another', Factory())  # asks the server
        late = self.makeClient(proxy.address, timeout=SHORT)
        late.getOrCreate('another', Factory())
        # The first reply says that there is no value.
        proxy.once(Fault(), HOLD)
        self.assertEqual(late.getOrCreate('key', Factory('a')), 'a')
        proxy.clear()
        proxy.release(drop=True)
        other = self.makeClient(proxy.address, timeout=SHORT)
        self.assertEqual(other.getOrCreate('key', Factory('b')), 'b')
        self.assertEqual(client.query('key'), 'b')

    def test_dependencies_that_cannot_be_read(self):
        proxy, client, other = self.proxied()
        with (mock.patch.object(
                versions, 'current', side_effect=ReceiveError('no')),
              self.assertLogs('p01.memcache') as logs):
            client.debug = 1
            self.assertEqual(client.getOrCreate(
                'key', Factory('a'), dependencies=['a']), 'a')
        self.assertIn('dependencies not read: no', logs.output[0])
        # It is not stored, and the right is given back.
        start = monotonic()
        self.assertEqual(other.getOrCreate('key', Factory('b')), 'b')
        self.assertLess(monotonic() - start, PATIENCE / 2)

    def test_no_negative_exptime_is_sent(self):
        # Proxies close the connection on a negative one.
        proxy, client, _ = self.proxied()
        sent = bytearray()

        def record(request):
            sent.extend(request)
            return request

        proxy.fault = Fault(side='request', swap=record)
        with self.assertRaises(KeyError):
            client.getOrCreate('key', Factory(KeyError('no')))
        factory, kw = Factory(), {'dependencies': ['a']}
        client.getOrCreate('key', factory, **kw)
        client.invalidateDependencies('a')
        client.getOrCreate('key', factory, **kw)
        self.assertEqual(factory.calls, 2)
        self.assertIn(b'cas ', sent)
        self.assertIsNone(re.search(rb' -\d', sent))


class TestTrouble(Trouble, unittest.TestCase):

    def makeClient(self, address, timeout=PATIENCE):
        client = UltraMemcacheClient(
            [address], timeout=timeout, delay=0, blacktime=0)
        self.addCleanup(client.close)
        return client

    def revive(self, client):
        client.query('another')

    def test_whether_it_knows_the_meta_commands(self):
        proxy, client, other = self.proxied()
        seen = []

        def factory():
            wire = client.buildKey('key').encode()
            seen.append(other._state.store.get(wire, soon()).flags)
            return 'a'

        proxy.once(Fault(), Fault(swap=lambda reply: b'ERROR\r\n'))
        self.assertEqual(client.getOrCreate('key', factory), 'a')
        self.assertEqual(seen, [CLAIM])
        before = proxy.exchanges
        self.assertEqual(client.getOrCreate('key', factory), 'a')
        self.assertEqual(proxy.exchanges, before + 1)  # not asked again
        # From now on, the same with a server that knows them.
        other.invalidate('key')
        self.assertEqual(other.getOrCreate('key', factory), 'a')
        self.assertEqual(seen, [CLAIM, CLAIM])

    def test_it_no_longer_knows_the_meta_commands(self):
        # Another server, of an older release, has taken its place.
        proxy, client, other = self.proxied()
        client.getOrCreate('another', Factory())
        refused = Fault(swap=lambda reply: b'ERROR\r\n')
        # The reply to ``delete``, as the outcome of ``ms`` is unknown.
        proxy.once(Fault(), refused, Fault(), Fault(), refused)
        self.assertEqual(client.getOrCreate('key', Factory('a')), 'a')
        other.invalidate('key')
        factory = Factory('b')
        for _ in range(2):
            self.assertEqual(client.getOrCreate('key', factory), 'b')
        self.assertEqual(factory.calls, 1)


class TestTroubleOfMemcacheClient(Trouble, unittest.TestCase):

    level = 2

    def makeClient(self, address, timeout=PATIENCE):
        client = MemcacheClient([address])
        client._timeout = timeout
        client._retry = 0
        client.close()
        self.addCleanup(client.close)
        return client

    def revive(self, client):
        # It keeps no record of failed changes.
        client.invalidate('key')


class Liar(ScriptedServer):
    """Gives the same scripted reply to a command, each time.

    ``{command: reply}``; in a reply ``{key}`` is the key that was asked for,
    ``{new}`` a number that was never used before, and ``{stored}`` the data
    last added. With `closing`, each connection ends after its reply.
    """

    def __init__(self, replies, closing=False):
        super().__init__(default=self._lie)
        self.replies = {b'mn': b'ERROR', b'delete': b'DELETED',
                        b'get': b'END', **replies}
        self.closing = closing
        self.numbers = itertools.count(1)
        self.stored = b''

    def _lie(self, request):
        line, _, data = request.partition(b'\r\n')
        command, *words = line.split()
        if command in (b'add', b'ms'):
            self.stored = data[:-2]
        reply = self.replies[command]
        for name, word in (
                (b'{key}', words[0] if words else b''),
                (b'{size}', b'%d' % len(self.stored)),
                (b'{stored}', self.stored),
                (b'{new}', b'%d' % next(self.numbers))):
            reply = reply.replace(name, word)
        return reply + b'\r\n'

    async def _answer(self, sock, request):
        return await super()._answer(sock, request) and not self.closing


class TestLies(unittest.TestCase):
    """A server that lies is not asked again and again."""

    timeout = 0.25
    claims = {b'gets': b'END', b'add': b'NOT_STORED'}  # noqa: RUF012
    lent = {  # noqa: RUF012
        b'mn': b'MN', b'mg': b'EN', b'ms': b'NS k{key}'}

    def makeClassic(self, address):
        client = MemcacheClient([address])
        client._timeout = self.timeout
        client.close()
        return client

    def makePooled(self, address):
        return UltraMemcacheClient([address], timeout=self.timeout)

    def assertFew(self, *lies, closing=False, most=50, **arguments):
        """Each client sends few requests, whichever of the lies it is told."""
        keep_quiet(self)
        cases = []
        for replies, make in itertools.product(
                lies, (self.makeClassic, self.makePooled)):
            server = self.enterContext(Liar(replies, closing))
            client = make(server.address)
            self.addCleanup(client.close)
            cases.append((server, client))

        def check(case):
            server, client = case
            began = monotonic()
            self.assertEqual(client.getOrCreate(
                'key', lambda: 'mine', **arguments), 'mine')
            took = monotonic() - began
            requests = len(server.requests) + server.opened
            with_what = f'{client} {server.replies}'
            self.assertLess(took, 2 * self.timeout + 0.1, with_what)
            self.assertLessEqual(requests, most, with_what)

        at_once(check, cases)

    def test_a_key_that_neither_exists_nor_can_be_added(self):
        self.assertFew(self.claims, self.lent)

    def test_an_unreadable_value_that_cannot_be_removed(self):
        self.assertFew(*({
            b'get': b'VALUE {key} 0 1\r\n?\r\nEND',
            b'gets': b'VALUE {key} 0 1 {new}\r\n?\r\nEND',
            b'cas': refusal, **lent}
            for refusal in (b'EXISTS', b'NOT_FOUND')
            for lent in ({}, {
                b'mn': b'MN', b'mg': b'VA 1 f0 c{new} k{key}\r\n?'})))

    def test_a_stale_value_whose_renewal_is_refused(self):
        stamp = b'fresh:%b %b\n' % (b'0' * 16, b'0' * 16)
        value = b'%b\r\n%b?' % (b'%d' % (len(stamp) + 1), stamp)
        head, _, data = value.partition(b'\r\n')
        replies = {
            b'gets': b'VALUE {key} 64 %b {new}\r\n%b\r\nEND' % (head, data),
            b'add': b'STORED', b'cas': b'EXISTS'}
        lent = ({
            **replies, b'mn': b'MN',
            b'mg': b'VA %b f64 c{new} k{key}%b\r\n%b' % (head, win, data)}
            for win in (b'', b' W', b' Z'))
        lies = replies, *lent
        self.assertFew(*lies)
        self.assertFew(*lies, grace=9)

    def test_each_connection_ends_after_one_reply(self):
        self.assertFew({
            b'gets': b'VALUE {key} 128 {size} 7\r\n{stored}\r\nEND',
            b'add': b'STORED', b'cas': b'EXISTS'}, closing=True)

    def test_a_claim_is_removed_if_it_cannot_be_seen(self):
        keep_quiet(self)
        server = self.enterContext(Liar({
            b'add': b'STORED', b'gets': b'SERVER_ERROR unknown command'}))
        client = self.makePooled(server.address)
        self.addCleanup(client.close)
        self.assertEqual(client.getOrCreate('key', lambda: 'mine'), 'mine')
        self.assertIsNone(client.query('key'))
        wire = client.buildKey('key').encode()
        self.assertIn(b'delete %b\r\n' % wire, server.requests)
