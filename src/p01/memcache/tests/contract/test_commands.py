# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of `IMemcacheClient` for many keys, for conditional changes
and for counters.

One scenario is run for every client, as in `test_contract`: the fakes, and the
real clients on the embedded server (level 1) and on memcached (level 2). It is
followed by what is sent on the wire, and by servers that are down.
"""

import collections
import contextlib
import itertools
import math
import threading
import time
import types
import unittest
from unittest import mock

from p01.memcache import embedded
from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.testing import FakeMemcached
from p01.memcache.testing import MemcachedLayer
from p01.memcache.testing import getFakeBackend
from p01.memcache.tests.contract.matrix import CLASSIC_EMBEDDED
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.matrix import POOLED_FAKE
from p01.memcache.tests.contract.matrix import POOLED_MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import OnMemcached
from p01.memcache.tests.faults.outage import LOST
from p01.memcache.tests.faults.outage import OutageCase
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.commands import CHANGING
from p01.memcache.tests.support.commands import COMMANDS
from p01.memcache.tests.support.commands import READING
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import honest
from p01.memcache.tests.support.servers import ask
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.values import INJECTIONS
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.values import Persistent
from p01.memcache.tests.support.values import Thrower
from p01.memcache.tests.support.values import Unpicklable
from p01.memcache.tests.support.waits import DAY
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Contract)


MOST = 2 ** 64 - 1  # of a counter
MEGABYTE = 1024 * 1024  # the largest item, less the server's own bookkeeping


# None of these is a valid number of seconds.
WRONG_LIFETIMES = (
    -1, -0.5, math.nan, math.inf, -math.inf, True, False, b'60', [60],
    2 ** 31, 2 ** 70, *INJECTIONS)

WRONG_NUMBERS = (
    -1, -(2 ** 70), MOST + 1, 2 ** 70, True, False, 1.0, 0.5, math.nan,
    math.inf, b'1', [1], *INJECTIONS)

WRONG_TOKENS = (
    None, 1, 1.5, True, b'1@a', (1, 'a'), '@', '@a', 'x', '1', '-1@a', '+1@a',
    '1 2@a', ' 1@a', '1 @a', '1.5@a', '0x1@a', '1_0@a', '\u0661@a', '\xb9@a',
    f'{MOST + 1}@a', '9' * 21 + '@a', '9' * 5000 + '@a', '1\n@a',
    '1\r\nflush_all\r\n@a', '1 noreply@a', '1\0@a')

NO_BYTES = 'text', '', 1, None, [1], bytearray(b'x'), memoryview(b'x')

# Values that memcached does not take for a number.
NO_COUNTERS = (
    b'', b'text', b'-1', b'1.5', b'5x', b'0x5', b'1e3', b'%d' % (MOST + 1),
    b'9' * 30, b'x' * 10 ** 6)


class Liar(int):
    """A number that lies about its value when it is asked."""

    def __str__(self):
        return '1\r\nflush_all\r\n'

    __repr__ = __format__ = __str__

    def __int__(self):
        return 0

    __index__ = __int__


class Short(bytes):
    """Bytes that lie about their content when they are asked."""

    def __len__(self):
        return 0

    def __bytes__(self):
        return b'1\r\nflush_all\r\n'


# Each command that takes a lifetime, called with one.
LIVING = {
    'setMany': lambda client, lifetime: client.setMany(
        {'key': 1}, lifetime),
    'add': lambda client, lifetime: client.add('key', 1, lifetime),
    'replace': lambda client, lifetime: client.replace('key', 1, lifetime),
    'cas': lambda client, lifetime: client.cas(
        'key', 1, client.gets('key')[1] or '1@a', lifetime),
    'touch': lambda client, lifetime: client.touch('key', lifetime),
    'queryAndTouch': lambda client, lifetime: client.queryAndTouch(
        'key', lifetime),
    'increment': lambda client, lifetime: client.increment(
        'key', 1, 5, lifetime),
    'decrement': lambda client, lifetime: client.decrement(
        'key', 1, 5, lifetime),
}
# These need a key that does not exist; the others have nothing to do on one.
FOUNDING = {'add', 'increment', 'decrement'}

# Each command that stores data.
STORING = {
    'add': lambda client, data, raw=False: client.add('new', data, raw=raw),
    'replace': lambda client, data, raw=False: client.replace(
        'key', data, raw=raw),
    'cas': lambda client, data, raw=False: client.cas(
        'key', data, client.gets('key')[1], raw=raw),
    'setMany': lambda client, data, raw=False: client.setMany(
        {'key': data}, raw=raw) == [],
}


def add_up(times):
    """Return a function that increments a counter that many times, with `cas`.

    It returns how many increments were acknowledged.
    """
    def work(client):
        acknowledged = 0
        while acknowledged < times:
            value, token = client.gets('counter')
            stored = client.cas('counter', value + 1, token)
            if stored is None:
                raise AssertionError('the outcome is unknown')
            acknowledged += stored
        return acknowledged

    return work


class CommandsScenario(ClientCase):
    """The contract."""

    settings = types.MappingProxyType({})
    values = (
        'text', '', b'bytes', 0, 1.5, None, False, [], {'a': [1, (2, None)]},
        'x' * 5000)
    # Keys of all kinds, and those of them that memcached takes for the same.
    keys = ('text', b'bytes', 1, -5, 1.5, None, ('a', ('b', 2)),
            Persistent(b'\0' * 8), frozenset([1]), '', '\xfc\r\n', '1', b'1')
    same = (1, '1', b'1')
    # Pairs that are equal in Python, but not the same key in memcached.
    different = ((1, 1.0), (0, 0.0), ((1,), (1.0,)))
    no_keys = '\udc80', lambda: None, Unpicklable(OSError('no'))

    def makeClient(self, **settings):
        return super().makeClient(**{**self.settings, **settings})

    def assertMiss(self, key):
        self.assertIs(self.client.query(key, default=MISSING), MISSING)

    def ask(self, request, key, end):
        """Ask the server directly, bypassing the client."""
        raise NotImplementedError

    def unheard(self):
        """A context: a client whose server must not receive anything."""
        raise NotImplementedError

    def wire(self, key):
        return self.client._state.locate(
            self.client.buildKey(key).encode(), soon())

    def plant(self, key, data, flags=0):
        """Store something that none of our clients would store."""
        wire = self.wire(key)
        reply = self.ask(b'set %b %d 0 %d\r\n%b\r\n' % (
            wire, flags, len(data), data), wire, b'\r\n')
        self.assertEqual(reply, b'STORED\r\n')

    def secondsLeft(self, key):
        """Return the seconds until it expires; None for never."""
        wire = self.wire(key)
        reply = self.ask(b'mg %b t\r\n' % wire, wire, b'\r\n')
        self.assertRegex(reply, rb'HD t(-1|\d+)\r\n')
        seconds = int(reply.split()[1][1:])
        return None if seconds == -1 else seconds

    def meanwhile(self, attribute, number, function):
        """A context: `function` is called after that many calls of a method of
        the client's store.
        """
        store = self.client._state.store
        method, count = getattr(store, attribute), itertools.count(1)

        def call(*args, **kw):
            try:
                return method(*args, **kw)
            finally:
                if next(count) == number:
                    function()

        return mock.patch.object(store, attribute, call)

    # add and replace

    def test_add(self):
        for value in self.values:
            with self.subTest(value=value):
                self.client.invalidate('key')
                self.assertIs(self.client.add('key', value), True)
                self.assertEqual(
                    self.client.query('key', default=MISSING), value)
                self.assertIs(self.client.add('key', 'another'), False)
                self.assertEqual(
                    self.client.query('key', default=MISSING), value)

    def test_replace(self):
        self.assertIs(self.client.replace('key', 'value'), False)
        self.assertMiss('key')
        for value in self.values:
            with self.subTest(value=value):
                self.client.set('key', 'another')
                self.assertIs(self.client.replace('key', value), True)
                self.assertEqual(
                    self.client.query('key', default=MISSING), value)
        self.client.invalidate('key')
        self.assertIs(self.client.replace('key', 'value'), False)
        self.assertMiss('key')

    def test_none_is_a_value(self):
        self.assertIs(self.client.add('key', None), True)
        self.assertIs(self.client.add('key', 1), False)
        self.assertIs(self.client.replace('key', None), True)
        self.assertEqual(self.client.queryMany(['key', 'b']), {'key': None})
        self.assertIsNone(self.client.queryAndTouch('key', default=MISSING))
        value, token = self.client.gets('key', default=MISSING)
        self.assertIsNone(value)
        self.assertIs(self.client.cas('key', 2, token), True)

    def test_an_unreadable_value_exists(self):
        self.plant('key', b'garbage', 32)
        self.assertIs(self.client.add('key', 'value'), False)
        self.assertMiss('key')
        self.assertIs(self.client.replace('key', 'value'), True)
        self.assertEqual(self.client.query('key'), 'value')

    def test_add_while_another_computes(self):
        seen = []

        def factory():
            seen.append(self.client.add('key', 'another'))
            seen.append(self.client.query('key', default='missing'))
            seen.append(self.client.queryMany(['key']))
            seen.append(self.client.gets('key', default='missing'))
            seen.append(self.client.queryAndTouch('key', default='missing'))
            return 'computed'

        self.assertEqual(
            self.client.getOrCreate('key', factory), 'computed')
        self.assertEqual(
            seen, [False, 'missing', {}, ('missing', None), 'missing'])
        self.assertEqual(self.client.query('key'), 'computed')

    def test_only_one_adds(self):
        for key in range(3):
            added = at_once(
                lambda n, key=key: self.client.add(key, n), range(4))
            self.assertEqual(sorted(added), [False] * 3 + [True])
            self.assertIs(added[self.client.query(key)], True)

    # raw data

    def test_raw(self):
        for command in STORING.values():
            for value in (b'', b'bytes', b'\r\n', b'END\r\n', b'\0',
                          b'\r\nflush_all\r\n', bytes(range(256))):
                self.client.invalidate('new')
                self.client.set('key', 'another')
                with self.subTest(value=value):
                    self.assertIs(command(self.client, value, True), True)
                    key = 'new' if command is STORING['add'] else 'key'
                    for found in (
                            self.client.query(key, raw=True),
                            self.client.gets(key, raw=True)[0],
                            self.client.queryAndTouch(key, raw=True),
                            self.client.queryMany([key], raw=True)[key]):
                        self.assertEqual(found, value)
                        self.assertIs(type(found), bytes)
        self.assertEqual(self.events, [])

    def test_raw_reads_the_pickle(self):
        self.client.set('key', [1])
        pickled = self.client.query('key', raw=True)
        self.assertEqual(self.client.queryMany(['key'], raw=True),
                         {'key': pickled})
        self.assertEqual(self.client.gets('key', raw=True)[0], pickled)
        self.assertEqual(self.client.queryAndTouch('key', raw=True), pickled)
        self.assertIs(self.client.replace('key', pickled, raw=True), True)
        self.assertEqual(self.client.query('key'), [1])

    def test_bytes_that_lie_about_themselves(self):
        lie = Short(b'the truth')
        self.client.set('key', b'|', raw=True)
        self.assertIs(self.client.append('key', lie), True)
        self.assertIs(self.client.prepend('key', lie), True)
        self.assertEqual(
            self.client.query('key', raw=True), b'the truth|the truth')
        self.assertEqual(self.client.setMany({'key': lie}, raw=True), [])
        self.assertEqual(self.client.query('key', raw=True), b'the truth')

    def test_no_bytes(self):
        with self.unheard() as client:
            for data in NO_BYTES:
                for use in (
                        lambda data: client.add('key', data, raw=True),
                        lambda data: client.replace('key', data, raw=True),
                        lambda data: client.cas(
                            'key', data, '1@a', raw=True),
                        lambda data: client.append('key', data),
                        lambda data: client.prepend('key', data),
                        lambda data: client.setMany(
                            {'a': b'good', 'key': data}, raw=True)):
                    with (self.subTest(data=data),
                          self.assertRaisesRegex(ValueError, 'bytes')):
                        use(data)

    def test_unpicklable_values(self):
        with self.unheard() as client:
            for data in lambda: None, Unpicklable(OSError('no')):
                for use in (
                        lambda data: client.add('key', data),
                        lambda data: client.replace('key', data),
                        lambda data: client.cas('key', data, '1@a'),
                        lambda data: client.setMany(
                            {'a': 'good', 'key': data, 'b': 'good'})):
                    with self.assertRaises(SerializationError):
                        use(data)

    def test_more_than_any_server_takes(self):
        self.client.set('key', 'value')
        with mock.patch('p01.memcache.wire.command.MAX_VALUE', 99):
            for use in (
                    lambda data: self.client.add('a', data, raw=True),
                    lambda data: self.client.replace('key', data, raw=True),
                    lambda data: self.client.append('key', data),
                    lambda data: self.client.setMany(
                        {'a': b'good', 'key': data}, raw=True)):
                with self.assertRaisesRegex(ValueError, '100 bytes'):
                    use(b'x' * 100)
        self.assertIsNone(self.client.query('a', raw=True))
        self.assertEqual(self.client.query('key'), 'value')

    def test_more_than_the_server_takes(self):
        large = b'x' * (MEGABYTE + 1)
        for name, command in STORING.items():
            with self.subTest(name):
                self.client.set('key', 'the former value')
                with self.assertLogs('p01.memcache'):
                    self.client._trouble._logged.clear()
                    self.assertIsNot(command(self.client, large, True), True)
                for key in 'new', 'key':
                    self.assertIn(
                        self.client.query(key, default='missing'),
                        ('missing', 'the former value')
                        if (name, key) == ('add', 'key') else ('missing',))
                self.assertTrue(self.client.set('key', 'the next'))
                self.assertEqual(self.client.query('key'), 'the next')

    # append and prepend

    def test_append_and_prepend(self):
        self.client.set('key', b'b', raw=True)
        self.assertIs(self.client.append('key', b'c\r\n'), True)
        self.assertIs(self.client.prepend('key', b'\0a'), True)
        self.assertIs(self.client.append('key', b''), True)
        self.assertEqual(self.client.query('key', raw=True), b'\0abc\r\n')

    def test_append_to_nothing(self):
        self.assertIs(self.client.append('key', b'value'), False)
        self.assertIs(self.client.prepend('key', b'value'), False)
        missing = object()
        self.assertIs(self.client.query('key', True, missing), missing)

    def test_append_to_an_empty_value(self):
        self.client.set('key', b'', raw=True)
        self.assertIs(self.client.append('key', b'b'), True)
        self.assertIs(self.client.prepend('key', b'a'), True)
        self.assertEqual(self.client.query('key', raw=True), b'ab')

    def test_append_above_the_item_size(self):
        # It fails, and the old value stays intact.
        value = b'x' * (MEGABYTE - 1000)
        self.client.set('key', value, raw=True)
        for change in self.client.append, self.client.prepend:
            self.assertIsNot(change('key', b'y' * 2000), True)
            self.assertIn(self.client.query('key', raw=True), (value, None))

    def test_append_keeps_the_lifetime(self):
        for change in self.client.append, self.client.prepend:
            for lifetime in 0, 500:
                self.client.set('key', b'value', lifetime, raw=True)
                change('key', b'more')
                self.assertLifetime(lifetime)

    def test_append_at_once(self):
        self.client.set('key', b'', raw=True)

        def work(number):
            return [self.client.append('key', b'%d' % number)
                    for _ in range(10)]

        self.assertEqual(at_once(work, range(4)), [[True] * 10] * 4)
        self.assertEqual(
            collections.Counter(self.client.query('key', raw=True)),
            {ord(str(number)): 10 for number in range(4)})

    # touch and queryAndTouch

    def test_touch(self):
        self.assertIs(self.client.touch('key'), False)
        self.client.set('key', 'value')
        self.assertIs(self.client.touch('key', 60), True)
        self.assertEqual(self.client.query('key'), 'value')

    def test_queryAndTouch(self):
        self.assertIsNone(self.client.queryAndTouch('key'))
        self.assertEqual(self.client.queryAndTouch('key', default=7), 7)
        self.assertEqual(self.client.queryAndTouch('key', 60, True, 8), 8)
        for value in self.values:
            with self.subTest(value=value):
                self.client.set('key', value)
                self.assertEqual(
                    self.client.queryAndTouch('key', default=MISSING), value)
                self.assertEqual(
                    self.client.query('key', default=MISSING), value)

    # lifetimes

    def assertLifetime(self, lifetime, key='key'):
        left = self.secondsLeft(key)
        if lifetime == 0:
            self.assertIsNone(left)
        else:
            # memcached's clock ticks once a second.
            self.assertIn(left, range(
                math.ceil(lifetime) - 2, math.ceil(lifetime) + 2))

    def test_lifetimes(self):
        for name, command in LIVING.items():
            for lifetime in 0, 0.0, 500, 499.5, 30 * DAY, 31 * DAY, None:
                with self.subTest(name, lifetime=lifetime):
                    self.client.set('key', 1, 1000)
                    if name in FOUNDING:
                        self.client.invalidate('key')
                    command(self.client, lifetime)
                    self.assertLifetime(
                        3600 if lifetime is None else lifetime)

    def test_the_clients_lifetime(self):
        for lifetime in 0, 500:
            self.client.lifetime = lifetime
            for name, command in LIVING.items():
                with self.subTest(name):
                    self.client.set('key', 1, 1000)
                    if name in FOUNDING:
                        self.client.invalidate('key')
                    command(self.client, None)
                    self.assertLifetime(lifetime)

    def test_a_command_without_effect_keeps_the_lifetime(self):
        self.client.set('key', 1, 500)
        self.assertIs(self.client.add('key', 2, 60), False)
        token = self.client.gets('key')[1]
        self.client.set('key', 1, 500)
        self.assertIs(self.client.cas('key', 2, token, 60), False)
        self.client.gets('key')
        self.client.queryMany(['key'])
        self.assertLifetime(500)

    def test_counting_keeps_the_lifetime(self):
        self.client.set('key', b'99', 500, raw=True)
        for change in (self.client.increment, self.client.increment,
                       self.client.decrement, self.client.decrement):
            self.assertIsNotNone(change('key', 1, 7, 60))
            self.assertLifetime(500)

    def test_wrong_lifetimes(self):
        with self.unheard() as client:
            for name, command in LIVING.items():
                if name == 'cas':
                    def command(client, lifetime):
                        client.cas('key', 1, '1@a', lifetime)
                for lifetime in WRONG_LIFETIMES:
                    with (self.subTest(name, lifetime=lifetime),
                          self.assertRaisesRegex(ValueError, 'lifetime')):
                        command(client, lifetime)

    def expire(self, keys):
        """Wait until items that live for a second have expired."""
        now = time.monotonic
        patched = mock.patch.object(embedded.clock, 'now', lambda: now() + 2)
        patched.start()
        self.addCleanup(patched.stop)

    def test_expiry(self):
        keys = ['many', 'add', 'replace', 'cas', 'touch', 'got', 'incr',
                'decr']
        for key in 'replace', 'cas', 'touch', 'got':
            self.client.set(key, 'value', 0)
        self.client.set('stays', 'value', 1)
        self.client.set('stays, too', 'value', 1)
        self.client.setMany({'many': 'value'}, 1)
        self.client.add('add', 'value', 0.5)
        self.client.replace('replace', 'value', 1)
        self.client.cas('cas', 'value', self.client.gets('cas')[1], 1)
        self.client.touch('touch', 1)
        self.client.queryAndTouch('got', 1)
        self.client.increment('incr', 1, 5, 1)
        self.client.decrement('decr', 1, 5, 1)
        _, token = self.client.gets('many')
        self.assertIs(self.client.touch('stays', 0), True)
        self.assertEqual(self.client.queryAndTouch('stays, too', 60), 'value')
        self.expire(keys)
        self.assertEqual(
            self.client.queryMany([*keys, 'stays', 'stays, too']),
            {'stays': 'value', 'stays, too': 'value'})
        # The key does not exist, and each command says so.
        self.assertEqual(
            self.client.gets('many', default='missing'), ('missing', None))
        self.assertIsNone(self.client.cas('many', 'value', token))
        self.assertIs(self.client.touch('touch'), False)
        self.assertIsNone(self.client.queryAndTouch('got'))
        self.assertIs(self.client.replace('replace', 1), False)
        self.assertIs(self.client.append('cas', b'x'), False)
        self.assertIs(self.client.add('add', 'anew'), True)
        self.assertIsNone(self.client.increment('incr'))
        self.assertEqual(self.client.decrement('decr', 1, 8), 8)

    # gets and cas

    def test_gets(self):
        self.assertEqual(self.client.gets('key'), (None, None))
        self.assertEqual(self.client.gets('key', default=7), (7, None))
        self.assertEqual(self.client.gets('key', True, 8), (8, None))
        for value in self.values:
            with self.subTest(value=value):
                self.client.set('key', value)
                found, token = self.client.gets('key', default=MISSING)
                self.assertEqual(found, value)
                self.assertIs(type(token), str)

    def test_cas(self):
        self.client.set('key', 'a value')
        for value in self.values:
            with self.subTest(value=value):
                _, token = self.client.gets('key')
                self.assertIs(self.client.cas('key', value, token), True)
                self.assertEqual(
                    self.client.query('key', default=MISSING), value)

    def test_a_change_invalidates_the_token(self):
        for change in (
                lambda: self.client.set('key', b'5', raw=True),
                lambda: self.client.setMany({'key': b'5'}, raw=True),
                lambda: self.client.replace('key', b'5', raw=True),
                lambda: self.client.append('key', b''),
                lambda: self.client.prepend('key', b'5'),
                lambda: self.client.increment('key'),
                lambda: self.client.increment('key', 0),
                lambda: self.client.decrement('key'),
                lambda: self.client.cas(
                    'key', b'5', self.client.gets('key', True)[1], raw=True),
                lambda: (self.client.invalidate('key'),
                         self.client.add('key', b'5', raw=True))):
            self.client.set('key', b'5', raw=True)
            _, token = self.client.gets('key', raw=True)
            change()
            # Even if the value is the same as before.
            former = self.client.query('key', raw=True)
            self.assertIs(self.client.cas('key', 'value', token), False)
            self.assertEqual(self.client.query('key', raw=True), former)

    def test_a_token_is_used_up(self):
        self.client.set('key', 1)
        _, token = self.client.gets('key')
        self.assertIs(self.client.cas('key', 2, token), True)
        self.assertIs(self.client.cas('key', 3, token), False)
        self.assertEqual(self.client.query('key'), 2)

    def test_a_command_without_effect_keeps_the_token(self):
        self.client.set('key', 'value')
        _, token = self.client.gets('key')
        self.client.touch('key', 60)
        self.client.queryAndTouch('key', 50)
        self.client.add('key', 'another')
        self.client.increment('key')
        self.client.set('other', 'value')
        self.assertEqual(self.client.gets('key'), ('value', token))
        self.assertIs(self.client.cas('key', 'new', token), True)

    def test_a_token_of_a_removed_value(self):
        self.client.set('key', 'value')
        _, token = self.client.gets('key')
        self.client.invalidate('key')
        self.assertIsNone(self.client.cas('key', 'new', token))
        self.assertMiss('key')
        self.client.set('key', 'value')
        self.assertIs(self.client.cas('key', 'new', token), False)

    def test_a_token_of_another_key(self):
        self.client.set('key', 'value')
        self.client.set('other', 'value')
        _, token = self.client.gets('other')
        self.assertIs(self.client.cas('key', 'new', token), False)
        self.assertEqual(self.client.query('key'), 'value')

    def test_a_made_up_token(self):
        self.client.set('key', 'value')
        _, server = self.client.gets('key')[1].split('@')
        for number in 10 ** 15, MOST:
            self.assertIs(
                self.client.cas('key', 'new', f'{number}@{server}'), False)
        # This would be the token of a server that cannot compare and swap.
        with self.assertLogs('p01.memcache') as log:
            self.assertIsNone(self.client.cas('key', 'new', f'0@{server}'))
        self.assertIn('has no compare-and-swap', log.output[0])
        self.assertEqual(self.client.query('key'), 'value')

    def test_a_token_of_another_server(self):
        self.client.set('key', 'value')
        number, _ = self.client.gets('key')[1].split('@')
        for server in 'elsewhere', '10.0.0.1:11211', 'a\r\nflush_all\r\n':
            self.assertIsNone(
                self.client.cas('key', 'new', f'{number}@{server}'))
        self.assertEqual(self.client.query('key'), 'value')

    def test_wrong_tokens(self):
        with self.unheard() as client:
            for token in WRONG_TOKENS:
                with (self.subTest(token=token),
                      self.assertRaisesRegex(ValueError, 'token')):
                    client.cas('key', 'new', token)

    def test_a_token_of_an_unreadable_value(self):
        self.plant('key', b'garbage', 32)
        self.assertEqual(
            self.client.gets('key', default='missing'), ('missing', None))
        [event] = self.events
        self.assertEqual(event.key, 'key')
        self.client.set('key', Thrower(OSError('no')))
        self.assertEqual(self.client.gets('key'), (None, None))
        # It is readable as raw.
        self.assertIsNotNone(self.client.gets('key', raw=True)[1])

    def test_one_of_many_with_the_same_token(self):
        self.client.set('key', 'value')
        barrier = threading.Barrier(4)

        def work(number):
            _, token = self.client.gets('key')
            barrier.wait(PATIENCE)
            return self.client.cas('key', number, token)

        stored = at_once(work, range(4))
        self.assertEqual(sorted(stored), [False] * 3 + [True])
        self.assertIs(stored[self.client.query('key')], True)

    def test_case_29(self):
        self.client.set('counter', 0)
        self.assertEqual(
            at_once(add_up(15), [self.client] * 4), [15] * 4)
        self.assertEqual(self.client.query('counter'), 4 * 15)

    # counters

    def test_increment(self):
        self.client.set('key', b'5', raw=True)
        for delta, number in (1, 6), (0, 6), (10, 16), (10 ** 15, None):
            found = self.client.increment('key', delta)
            self.assertEqual(found, number or 10 ** 15 + 16)
            self.assertIs(type(found), int)
            self.assertEqual(
                self.client.query('key', raw=True), b'%d' % found)
        self.assertEqual(self.client.increment('key'), 10 ** 15 + 17)

    def test_decrement(self):
        self.client.set('key', b'25', raw=True)
        for delta, number in (1, 24), (0, 24), (4, 20), (15, 5), (9, 0):
            found = self.client.decrement('key', delta)
            self.assertEqual(found, number)
            self.assertIs(type(found), int)
            self.assertEqual(
                int(self.client.query('key', raw=True)), number)
        self.assertEqual(self.client.decrement('key'), 0)
        self.assertEqual(self.client.decrement('key', MOST), 0)
        self.assertEqual(self.client.increment('key'), 1)

    def test_a_shorter_number_is_padded_with_blanks(self):
        # Or it is not: memcached makes a new item if the old one is in use.
        self.client.set('key', b'100', raw=True)
        for count, delta, number, blanks in [
                (self.client.decrement, 1, 99, [b'99 ', b'99']),
                (self.client.decrement, 90, 9, [b'9  ', b'9 ', b'9']),
                (self.client.increment, 1, 10, [b'10 ', b'10']),
                (self.client.increment, 1000, 1010, [b'1010'])]:
            self.assertEqual(count('key', delta), number)
            self.assertIn(self.client.query('key', raw=True), blanks)

    def test_64_bits(self):
        self.client.set('key', b'%d' % (MOST - 1), raw=True)
        self.assertEqual(self.client.increment('key'), MOST)
        self.assertEqual(self.client.increment('key'), 0)
        self.assertEqual(self.client.increment('key', MOST), MOST)
        self.assertEqual(self.client.increment('key', MOST), MOST - 1)
        self.assertEqual(self.client.decrement('key', MOST - 1), 0)
        self.assertEqual(self.client.increment('new', 1, MOST), MOST)
        self.assertEqual(self.client.increment('new', 5), 4)

    def test_counting_from_nothing(self):
        for count in self.client.increment, self.client.decrement:
            self.assertIsNone(count('key'))
            self.assertIsNone(count('key', 5, None))
            self.assertMiss('key')

    def test_initial(self):
        for count in self.client.increment, self.client.decrement:
            for initial in 0, 7, MOST:
                self.client.invalidate('key')
                found = count('key', 3, initial)
                self.assertEqual(found, initial)
                self.assertIs(type(found), int)
                self.assertEqual(
                    self.client.query('key', raw=True), b'%d' % initial)
            self.client.set('key', b'50', raw=True)
            self.assertIn(count('key', 3, 7), (47, 53))

    def test_another_client_added_the_counter_first(self):
        for count, number in [
                (self.client.increment, 53), (self.client.decrement, 47)]:
            self.client.invalidate('key')
            with self.meanwhile(
                    'run', 1, lambda: self.plant('key', b'50')):
                self.assertEqual(count('key', 3, 7), number)
            self.assertEqual(int(self.client.query('key', True)), number)

    def test_another_client_added_text_first(self):
        with self.meanwhile(
                'run', 1, lambda: self.plant('key', b'text')):
            self.assertIsNone(self.client.increment('key', 3, 7))
        self.assertEqual(self.client.query('key', raw=True), b'text')

    def test_initial_at_once(self):
        for key in range(3):
            counted = at_once(lambda number, key=key: [
                self.client.increment(key, 1, 1) for _ in range(5)], range(4))
            self.assertEqual(
                sorted(itertools.chain(*counted)), list(range(1, 21)))

    def test_values_that_are_not_counters(self):
        for count in self.client.increment, self.client.decrement:
            for data in NO_COUNTERS:
                with self.subTest(data=data[:40]):
                    self.client.set('key', data, raw=True)
                    self.assertIsNone(count('key'))
                    self.assertIsNone(count('key', 1, 5))
                    # The value is not a counter, and stays as it is.
                    self.assertEqual(
                        self.client.query('key', raw=True), data)
            for value in 'text', 5, None:
                self.client.set('key', value)
                self.assertIsNone(count('key', 1, 5))
                self.assertEqual(
                    self.client.query('key', default=MISSING), value)

    def test_counting_on_text_is_logged(self):
        self.client.set('key', 'text')
        with self.assertLogs('p01.memcache') as logs:
            self.client.increment('key')
            self.client.increment('key')
        self.assertEqual(len(logs.output), 1)
        self.assertIn(self.client.buildKey('key'), logs.output[0])
        self.assertIn('not a number', logs.output[0])

    def test_wrong_numbers(self):
        with self.unheard() as client:
            for count in client.increment, client.decrement:
                for wrong in WRONG_NUMBERS:
                    with self.subTest(wrong=wrong):
                        with self.assertRaisesRegex(ValueError, 'delta'):
                            count('key', wrong)
                        with self.assertRaisesRegex(ValueError, 'delta'):
                            count('key', wrong, 1)
                        with self.assertRaisesRegex(ValueError, 'initial'):
                            count('key', 1, wrong)
                with self.assertRaisesRegex(ValueError, 'delta'):
                    count('key', None)

    def test_numbers_that_lie_about_themselves(self):
        self.client.set('other', 'value')
        self.assertEqual(self.client.increment('key', Liar(1), Liar(5)), 5)
        self.assertEqual(self.client.increment('key', Liar(2)), 7)
        self.assertEqual(self.client.decrement('key', Liar(3)), 4)
        self.client.touch('key', Liar(500))
        self.assertLifetime(500)
        self.assertEqual(self.client.query('key', raw=True), b'4')
        self.assertEqual(self.client.query('other'), 'value')

    def connections(self):
        """Return how many connections the server has accepted so far."""

    def test_case_28(self):
        # What is read afterwards is right, on the same connection.
        connections = self.connections()
        for number, data in enumerate((*NO_COUNTERS, None, b'%d' % MOST)):
            if data is None:
                self.client.invalidate('key')
            else:
                self.client.set('key', data, raw=True)
            for count in self.client.increment, self.client.decrement:
                for delta in 1, MOST, -1, MOST + 1, 'x':
                    with contextlib.suppress(ValueError):
                        count('key', delta)
                    self.client.set('other', number)
                    self.assertEqual(self.client.query('other'), number)
                    self.assertEqual(
                        self.client.queryMany(['none', 'other']),
                        {'other': number})
                    self.assertIs(self.client.add('other', 1), False)
        self.assertEqual(self.connections(), connections)

    # many keys

    def test_many(self):
        values = {f'key {number}': number for number in range(100)}
        self.assertEqual(self.client.setMany(values), [])
        self.assertEqual(
            self.client.queryMany([*values, 'none', 'neither']), values)
        gone = list(values)[::2]
        self.assertEqual(self.client.invalidateMany([*gone, 'none']), [])
        self.assertEqual(
            self.client.queryMany(values),
            {key: value for key, value in values.items() if value % 2})
        for key, value in values.items():
            self.assertEqual(
                self.client.query(key), value if value % 2 else None)

    def test_many_values(self):
        values = dict(enumerate(self.values))
        self.assertEqual(self.client.setMany(values), [])
        found = self.client.queryMany(values)
        self.assertEqual(found, values)
        for key, value in values.items():
            self.assertIs(type(found[key]), type(value))
            self.assertEqual(
                self.client.query(key, default=MISSING), value)

    def test_results_have_the_callers_keys(self):
        values = {key: f'value {n}' for n, key in enumerate(self.keys)
                  if key not in self.same[1:]}
        self.assertEqual(self.client.setMany(values), [])
        for key in self.same:
            values[key] = values[self.same[0]]
        found = self.client.queryMany(self.keys)
        self.assertEqual(found, values)
        for key in found:
            self.assertIs(key, self.keys[self.keys.index(key)])
        for key in self.keys:
            self.assertEqual(self.client.query(key), values[key])
        self.assertEqual(self.client.invalidateMany(self.keys), [])
        self.assertEqual(self.client.queryMany(self.keys), {})

    def test_keys_that_are_the_same(self):
        # One of the two values would be lost.
        if self.same:
            with self.assertRaisesRegex(ValueError, 'the same to memcached'):
                self.client.setMany(dict.fromkeys(self.same, 'value'))
        self.assertEqual(self.client.queryMany(self.keys), {})

    def test_keys_in_any_form(self):
        values = {'a': 1, 'b': 2}
        for mapping in (values, types.MappingProxyType(values),
                        collections.UserDict(values),
                        collections.OrderedDict(values)):
            for form in (list, tuple, set, frozenset, iter, dict.fromkeys,
                         lambda keys: (key for key in keys),
                         lambda keys: collections.deque(keys),
                         lambda keys: dict.fromkeys(keys).keys()):
                self.assertEqual(self.client.setMany(mapping), [])
                self.assertEqual(
                    self.client.queryMany(form(['a', 'b'])), values)
                self.assertEqual(
                    self.client.invalidateMany(form(['a', 'b'])), [])
                self.assertEqual(self.client.queryMany(['a', 'b']), {})

    def test_keys_given_twice(self):
        self.client.set('key', 'value')
        self.assertEqual(
            self.client.queryMany(['key', 'none', 'key', 'none']),
            {'key': 'value'})
        self.assertEqual(self.client.invalidateMany(['key', 'key']), [])
        self.assertMiss('key')

    def test_no_keys_at_all(self):
        self.client.set('', 'value')
        for nothing in [], (), {}, iter(()):
            self.assertEqual(self.client.queryMany(nothing), {})
            self.assertEqual(self.client.invalidateMany(nothing), [])
        self.assertEqual(self.client.setMany({}), [])
        self.assertEqual(self.client.query(''), 'value')

    def test_keys_that_are_equal_in_python_only(self):
        with self.unheard() as client:
            for one, two in self.different:
                self.assertEqual(one, two)
                for keys in ([one, two], [two, 'other', one]):
                    with (self.subTest(keys=keys),
                          self.assertRaisesRegex(ValueError, 'equals')):
                        client.queryMany(keys)

    def test_keys_that_are_not_hashable(self):
        with self.unheard() as client:
            for key in ['a'], {'a': 1}, {'a'}, ('a', ['b']):
                with self.subTest(key=key), self.assertRaises(TypeError):
                    client.queryMany(['key', key])
        # Methods that return no dict accept them.
        self.client.set(['a'], 'value')
        self.assertEqual(self.client.invalidateMany([['a'], ('a', [])]), [])
        self.assertMiss(['a'])

    def test_a_single_key_where_many_are_expected(self):
        with self.unheard() as client:
            for keys in 'key', '', b'key', 1, None, True, object():
                with self.subTest(keys=keys):
                    with self.assertRaisesRegex(TypeError, 'keys'):
                        client.queryMany(keys)
                    with self.assertRaisesRegex(TypeError, 'keys'):
                        client.invalidateMany(keys)

    def test_values_that_are_not_a_mapping(self):
        with self.unheard() as client:
            for mapping in (
                    [('key', 'value')], 'key', b'', None, 1, {'key'}, [],
                    iter({'key': 1}.items()), {'key': 1}.items()):
                with (self.subTest(mapping=mapping),
                      self.assertRaisesRegex(TypeError, 'mapping')):
                    client.setMany(mapping)

    def test_keys_that_cannot_be_built(self):
        with self.unheard() as client:
            for key in self.no_keys:
                for name, (use, _) in COMMANDS.items():
                    with (self.subTest(name, key=key),
                          self.assertRaises((ValueError, TypeError))):
                        use(client, key)
                with self.assertRaises((ValueError, TypeError)):
                    client.queryMany(['good', key])
                with self.assertRaises((ValueError, TypeError)):
                    client.invalidateMany(['good', key])
                with self.assertRaises((ValueError, TypeError)):
                    client.setMany({'good': 1, key: 1})

    def test_keys_cannot_inject_commands(self):
        self.client.set('other', 'value')
        for key in INJECTIONS:
            for use, _ in COMMANDS.values():
                use(self.client, key)
            self.client.query(key.encode())
        self.assertEqual(self.client.query('other'), 'value')

    def test_some_of_many_cannot_be_read(self):
        self.client.setMany({'a': 1, 'b': None, 'c': Thrower(OSError('no'))})
        self.plant('d', b'garbage')
        self.plant('e', b'value', 32)
        self.assertEqual(
            self.client.queryMany('abcdef'[i] for i in range(6)),
            {'a': 1, 'b': None})
        self.assertEqual(
            sorted(event.key for event in self.events), ['c', 'd', 'e'])
        for event in self.events:
            self.assertIs(event.client, self.client)
            self.assertIsInstance(event.error, UnreadableValue)
        self.events.clear()
        self.assertEqual(
            self.client.queryMany(['a', 'd', 'e'], raw=True),
            {'a': self.client.query('a', raw=True), 'd': b'garbage'})
        self.assertEqual([event.key for event in self.events], ['e'])

    def test_an_event_has_the_callers_key(self):
        for key in self.same or self.keys[:3]:
            self.plant(key, b'garbage')
        keys = self.same or self.keys[:3]
        self.assertEqual(self.client.queryMany(keys), {})
        self.assertEqual([event.key for event in self.events], list(keys))

    def test_an_interrupt_while_unpickling(self):
        self.client.setMany({'a': 1, 'key': Thrower(KeyboardInterrupt())})
        for read in (lambda: self.client.queryMany(['a', 'key']),
                     lambda: self.client.gets('key'),
                     lambda: self.client.queryAndTouch('key')):
            with self.assertRaises(KeyboardInterrupt):
                read()
            self.assertEqual(self.client.query('a'), 1)
        self.assertEqual(self.events, [])

    def test_one_of_many_is_too_large(self):
        keys = [f'key {number}' for number in range(20)]
        self.client.setMany(dict.fromkeys(keys, 'former'))
        values = dict.fromkeys(keys, b'new')
        for large in [keys[:1], keys[9:10], keys[-1:], keys[3:6]]:
            values = dict.fromkeys(keys, b'new')
            for key in large:
                values[key] = b'x' * (MEGABYTE + 1)
            with self.subTest(large=large):
                self.assertEqual(
                    self.client.setMany(values, raw=True), large)
                self.assertEqual(
                    self.client.queryMany(keys, raw=True),
                    {key: b'new' for key in keys if key not in large})

    def test_many_as_raw(self):
        values = {'a': b'', 'b': b'\r\nEND\r\n', 'c': b'x' * 5000}
        self.assertEqual(self.client.setMany(values, 60, True), [])
        self.assertEqual(self.client.queryMany(values, True), values)
        self.assertLifetime(60, 'b')

    def test_single_and_many_see_each_others_values(self):
        # Commands for one key and for many use the same keys.
        self.client.set('key', 1)
        self.client.setMany({'key': 2})
        self.assertEqual(self.client.query('key'), 2)
        self.client.set('key', 3)
        self.assertEqual(self.client.queryMany(['key']), {'key': 3})
        self.client.invalidateMany(['key'])
        self.assertMiss('key')

    def test_namespaces(self):
        for namespace in 'a', 'b':
            self.client.namespace = namespace
            self.assertEqual(self.client.setMany({1: namespace}), [])
            self.assertIs(self.client.add('key', namespace), True)
            self.assertEqual(self.client.increment('n', 1, 5), 5)
        for namespace in 'a', 'b':
            self.client.namespace = namespace
            self.assertEqual(
                self.client.queryMany([1, 'key']),
                {1: namespace, 'key': namespace})
            self.assertEqual(self.client.gets('key')[0], namespace)
            self.assertEqual(self.client.increment('n'), 6)

    def test_many_at_once(self):
        def work(number):
            for turn in range(5):
                values = {f'{number} {key}': (number, turn)
                          for key in range(5)}
                if (self.client.setMany(values)
                        or self.client.queryMany(values) != values
                        or self.client.invalidateMany(values)
                        or self.client.queryMany(values)):
                    return f'{number}: wrong'
            return None

        self.assertEqual(at_once(work, range(4)), [None] * 4)


class Strict:
    """The same with keys that memcached keeps apart."""

    settings = types.MappingProxyType({'keyScheme': 'strict'})
    same = ()
    different = (
        (1, 1.0), (1, True), (0, False), ((1,), (True,)),
        (frozenset([1]), frozenset([1.0])))
    no_keys = ('\udc80', math.nan, lambda: None, Liar(1), ('a', math.nan),
               Persistent(None))


class Generations:
    """The same with a namespace that has a generation."""

    settings = types.MappingProxyType({'generations': True})

    def test_after_invalidateNamespace(self):
        values = dict.fromkeys('abc', b'50')
        self.assertEqual(self.client.setMany(values, raw=True), [])
        _, token = self.client.gets('a', raw=True)
        self.assertIs(self.client.invalidateNamespace(), True)
        self.assertEqual(self.client.queryMany(values, raw=True), {})
        self.assertIs(self.client.replace('a', 1), False)
        self.assertIs(self.client.append('a', b'x'), False)
        self.assertIs(self.client.touch('a'), False)
        self.assertIsNone(self.client.cas('a', 1, token))
        self.assertIsNone(self.client.increment('a'))
        self.assertEqual(self.client.queryAndTouch('a', default=7), 7)
        self.assertEqual(self.client.gets('a', default=7), (7, None))
        self.assertIs(self.client.add('a', 1), True)
        self.assertEqual(self.client.increment('b', 1, 7), 7)
        self.assertEqual(self.client.setMany({'c': 3}), [])
        self.assertEqual(
            self.client.queryMany(values, raw=True),
            {key: self.client.query(key, raw=True) for key in values})
        self.assertEqual(self.client.queryMany(['a', 'c']), {'a': 1, 'c': 3})


@matrix(*FAKES)
@matrix(CLASSIC_FAKE, mixins=[Generations])
@matrix(POOLED_FAKE, mixins=[Strict])
class CommandsOfFakesScenario(CommandsScenario):

    def ask(self, request, key, end):
        command = types.SimpleNamespace(
            encode=lambda: request, read=lambda reader: reader.read())
        return getFakeBackend(self.client).ask(command, key)

    @contextlib.contextmanager
    def unheard(self):
        with mock.patch.object(FakeMemcached, 'ask') as ask:
            yield self.client
        ask.assert_not_called()


@matrix(POOLED_EMBEDDED, slow=[CLASSIC_EMBEDDED])
@matrix(slow=[POOLED_EMBEDDED], mixins=[Generations])
class ServedCommandsScenario(CommandsScenario):
    """For the clients that have a real server."""

    def ask(self, request, key, end):
        return ask(self.layer.address, request, end)

    @contextlib.contextmanager
    def unheard(self):
        with ScriptedServer(default=b'END\r\n') as server:
            client = self.makeClient(servers=[server.address])
            yield client
            # All that was sent earlier has arrived before this.
            client.getStatistics()
            self.assertEqual(server.requests, [b'stats\r\n'])

    def connections(self):
        [(_, values)] = self.client.getStatistics()
        return values['total_connections']

    def test_queryAndTouch_by_a_proxy_that_does_not_know_it(self):
        with ScriptedServer(default=None) as server:
            client = self.makeClient(servers=[server.address])
            self.assertEqual(client.queryAndTouch('key', default=1), 1)
            # With generations, it is the request for the generation.
            self.assertLessEqual(
                {request.split()[0] for request in server.requests},
                {b'gat', b'get'})
            self.assertEqual(len(server.requests), 1)

    def test_a_token_of_a_former_server(self):
        self.client.set('key', 'value')
        _, token = self.client.gets('key')
        with EmbeddedServer() as other:
            self.client.servers = [other.address]
            self.client.set('key', 'value')
            self.assertIsNone(self.client.cas('key', 'new', token))
            self.assertEqual(self.client.query('key'), 'value')
        self.client.servers = [self.layer.address]
        # The pooled client has noted that the key was changed meanwhile.
        pooled = IUltraMemcacheClient.providedBy(self.client)
        self.assertIs(self.client.cas('key', 'new', token),
                      None if pooled else True)

    def test_a_token_for_another_client(self):
        self.client.set('key', 'value')
        _, token = self.client.gets('key')
        other = self.makeClient()
        self.assertIs(other.cas('key', 'new', token), True)
        self.assertEqual(self.client.query('key'), 'new')

    def test_a_server_that_is_down(self):
        with refusing() as down:
            client = self.makeClient(servers=[down])
            start = time.monotonic()
            for name, (use, outcome) in COMMANDS.items():
                with self.subTest(name):
                    self.assertEqual(use(client, 'key'), outcome)
            self.assertLess(time.monotonic() - start, 0.5)
            keys = [key for key in self.keys if key not in self.same[1:]]
            self.assertEqual(client.setMany(dict.fromkeys(keys)), keys)
            self.assertEqual(
                client.invalidateMany(self.keys), list(self.keys))
            self.assertEqual(client.queryMany(self.keys), {})

    def test_one_of_two_servers_is_down(self):
        up = self.layer.address
        keys = [f'key {number}' for number in range(40)]
        with refusing() as down:
            client = self.makeClient(servers=[up, down])
            lost = client.setMany(dict.fromkeys(keys, 'value'))
            if client.generations:
                # The generation may be on the server that is down.
                self.assertLessEqual(set(lost), set(keys))
            else:
                self.assertTrue(0 < len(lost) < 40, lost)
            self.assertEqual(lost, [key for key in keys if key in lost])
            self.assertEqual(client.queryMany(keys), {
                key: 'value' for key in keys if key not in lost})
            for key in keys:
                there = key not in lost
                self.assertIs(
                    client.add(key, 'another'), False if there else None)
                self.assertIs(client.touch(key), True if there else None)
                self.assertEqual(
                    client.gets(key)[0], 'value' if there else None)
                self.assertIs(
                    client.replace(key, 'value'), True if there else None)
            self.assertEqual(client.invalidateMany(keys), lost)
            self.assertEqual(client.queryMany(keys), {})


@matrix(slow=MEMCACHED)
@matrix(slow=MEMCACHED, mixins=[Generations])
@matrix(slow=[POOLED_MEMCACHED], mixins=[Strict])
class RealCommandsScenario(ServedCommandsScenario):
    """The same on memcached, whose clock cannot be advanced."""

    def expire(self, keys):
        until(lambda: not self.client.queryMany(keys))


class ManyComparingTest(FaultCase):
    """Fault 29: 32 clients, 1,000 times each."""

    layer = MemcachedLayer
    level = 2
    timeout = PATIENCE

    def setUp(self):
        keep_quiet(self)
        self.one = self.client(self.layer.address)
        self.one.invalidateAll()

    def check(self, clients):
        self.one.set('counter', 0)
        self.assertEqual(
            at_once(add_up(1000), clients), [1000] * 32)
        self.assertEqual(self.one.query('counter'), 32000)

    def test_a_client_for_all(self):
        self.check([self.one] * 32)

    def test_32_clients(self):
        self.check([self.client(self.layer.address) for _ in range(32)])

    def test_increment(self):
        counted = at_once(lambda client: [
            client.increment('key', 1, 1) for _ in range(1000)],
            [self.one] * 32)
        self.assertEqual(
            sorted(itertools.chain(*counted)), list(range(1, 32001)))


class WireCase:
    """What is sent, and how the replies are understood."""

    factory = None

    def setUp(self):
        keep_quiet(self)
        self.server = self.enterContext(
            ScriptedServer(default=honest))

    def exchange(self, use, answer):
        """Return the result of the operation, and what was sent.

        A value that is read afterwards is right.
        """
        self.server.requests.clear()
        self.server.answers.append(answer)
        client = self.factory([self.server.address])
        try:
            outcome = use(client)
            request = self.server.requests[0]
            other = client.buildKey('other').encode()
            self.assertEqual(
                client.query('other', raw=True), b'value of ' + other)
        finally:
            client.close()
        return outcome, request

    def cases(self):
        """Yield commands, their requests, the results of their replies, and
        the result if the server fails.
        """
        key = self.factory().buildKey('key').encode()
        token = f'7@{self.server.address}'
        end = b'%b 0 100 4\r\ndata\r\n' % key
        stored = {b'STORED\r\n': True, b'NOT_STORED\r\n': False}
        value = b'VALUE %b 0 4\r\ndata\r\nEND\r\n' % key
        no_number = (b'CLIENT_ERROR cannot increment or decrement'
                     b' non-numeric value\r\n')
        numbers = {
            b'12\r\n': 12, b'0\r\n': 0, b'9  \r\n': 9,
            b'%d\r\n' % MOST: MOST, no_number: None,
            b'NOT_FOUND\r\n': None}
        yield (lambda client: client.add('key', b'data', 99.5, True),
               b'add ' + end, stored, None)
        yield (lambda client: client.replace('key', b'data', 99.5, True),
               b'replace ' + end, stored, None)
        yield (lambda client: client.append('key', b'data'),
               b'append %b 0 0 4\r\ndata\r\n' % key, stored, None)
        yield (lambda client: client.prepend('key', b'data'),
               b'prepend %b 0 0 4\r\ndata\r\n' % key, stored, None)
        yield (lambda client: client.cas('key', b'data', token, 99.5, True),
               b'cas %b 0 100 4 7\r\ndata\r\n' % key,
               {b'STORED\r\n': True, b'EXISTS\r\n': False,
                b'NOT_FOUND\r\n': None}, None)
        yield (lambda client: client.touch('key', 99.5),
               b'touch %b 100\r\n' % key,
               {b'TOUCHED\r\n': True, b'NOT_FOUND\r\n': False}, None)
        yield (lambda client: client.queryAndTouch('key', 99.5, True, 1),
               b'gat 100 %b\r\n' % key, {value: b'data', b'END\r\n': 1}, 1)
        yield (lambda client: client.gets('key', True, 1),
               b'gets %b\r\n' % key,
               {value.replace(b'0 4', b'0 4 7'): (b'data', token),
                value.replace(b'0 4', b'0 4 %d' % MOST):
                    (b'data', token.replace('7', str(MOST), 1)),
                b'END\r\n': (1, None)}, (1, None))
        yield (lambda client: client.increment('key', 5),
               b'incr %b 5\r\n' % key, numbers, None)
        yield (lambda client: client.decrement('key', MOST),
               b'decr %b %d\r\n' % (key, MOST), numbers, None)
        yield (lambda client: client.queryMany(['key'], True),
               b'get %b\r\n' % key,
               {value: {'key': b'data'}, b'END\r\n': {}}, {})
        yield (lambda client: client.setMany({'key': b'data'}, 99.5, True),
               b'set ' + end, {b'STORED\r\n': []}, ['key'])
        yield (lambda client: client.invalidateMany(['key']),
               b'delete %b\r\n' % key,
               {b'DELETED\r\n': [], b'NOT_FOUND\r\n': []}, ['key'])


class MemcacheClientWireTest(WireCase, unittest.TestCase):

    factory = MemcacheClient

    def test_requests_and_replies(self):
        for use, request, replies, _ in self.cases():
            for reply, outcome in replies.items():
                for answer in reply, reply * 2:
                    with self.subTest(request=request, answer=answer):
                        self.assertEqual(
                            self.exchange(use, answer), (outcome, request))

    def test_what_is_refused_is_removed(self):
        # At once, for the sake of other processes.
        key = self.factory().buildKey('key').encode()
        for use, request, _, outcome in self.cases():
            if request.split()[0] in (b'get', b'gets', b'gat', b'touch'):
                continue
            with self.subTest(request=request):
                self.assertEqual(
                    self.exchange(use, b'SERVER_ERROR out of memory\r\n'),
                    (outcome, request))
                self.assertEqual(
                    self.server.requests[1], b'delete %b\r\n' % key)


class UltraMemcacheClientWireTest(MemcacheClientWireTest):

    factory = UltraMemcacheClient


class MemcacheClientGarbageTest(WireCase, unittest.TestCase):

    level = 2
    factory = MemcacheClient

    def test_garbage_replies(self):
        known = set()
        for *_, replies, _ in self.cases():
            known.update(replies)
        known.update((
            b'ERROR\r\n', b'CLIENT_ERROR bad data chunk\r\n',
            b'SERVER_ERROR out of memory storing object\r\n', b'OK\r\n',
            b'\r\n', b'STORED\n', b'STORED \r\n', b'stored\r\n', b'-1\r\n',
            b'1.5\r\n', b'12x\r\n', b' 12\r\n', b'1 2\r\n', b'\xb2\r\n',
            b'%d\r\n' % (MOST + 1), b'1' * 21 + b'\r\n', b'12\n',
            b'1' * 5000 + b'\r\n', b'VALUE other 0 1\r\nx\r\nEND\r\n', None))
        for use, request, replies, outcome in self.cases():
            for reply in known.difference(replies):
                with self.subTest(request=request, reply=reply):
                    self.assertEqual(
                        self.exchange(use, reply), (outcome, request))


class UltraMemcacheClientGarbageTest(MemcacheClientGarbageTest):

    factory = UltraMemcacheClient


class OwedTest(FaultCase):
    """After a failed change, the pooled client never reads the old value."""

    timeout = PATIENCE
    settings = types.MappingProxyType({})
    readers = types.MappingProxyType({
        'query': lambda client, key: client.query(key, True, 'missing'),
        'gets': lambda client, key: client.gets(key, True, 'missing')[0],
        'queryMany': lambda client, key: client.queryMany(
            [key, 'other'], True).get(key, 'missing'),
        'queryAndTouch': lambda client, key: client.queryAndTouch(
            key, 60, True, 'missing'),
        'append': lambda client, key: client.append(key, b'x') or 'missing',
        'replace': lambda client, key: client.replace(key, 1) or 'missing',
        'touch': lambda client, key: client.touch(key) or 'missing',
        'increment': lambda client, key: client.increment(key) or 'missing',
        'raw': lambda client, key: client.query(key, True, 'missing'),
    })

    def pairs(self):
        """Return pairs of a change and a reader; all of them occur."""
        count = max(len(CHANGING), len(self.readers))
        return itertools.islice(zip(
            itertools.cycle(CHANGING.items()),
            itertools.cycle(self.readers.items())), count)

    def each(self):
        """Yield a client and a function that changes a value; then read it."""
        for (name, (use, outcome)), (reader, read) in self.pairs():
            with self.subTest(name, reader=reader):
                client = self.client(**self.settings)
                direct = self.client(self.server.address, **self.settings)
                direct.set('key', b'50', raw=True)
                _, token = client.gets('key', raw=True)

                def change(client=client, use=use, outcome=outcome,
                           token=token, name=name):
                    if name in ('cas', 'invalidateUnchanged'):
                        self.assertIs(use(client, 'key', token), None)
                    else:
                        self.assertEqual(use(client, 'key'), outcome)

                yield client, change
                self.assertEqual(read(client, 'key'), 'missing')
                # Nor does another client.
                self.assertEqual(
                    direct.query('key', True, 'missing'), 'missing')
                client.close()
                direct.close()

    def lose(self, fault, function):
        # On a used connection, and again on the fresh one that is tried next.
        self.proxy.once(fault, fault)
        function()
        self.proxy.clear()

    def test_the_request_is_lost(self):
        for _, change in self.each():
            self.lose(Fault(then='rst', side='request'), change)

    def test_the_reply_is_lost(self):
        for _, change in self.each():
            self.lose(Fault(then='fin'), change)

    def test_the_reply_is_cut(self):
        for _, change in self.each():
            self.proxy.once(Fault(after=1, then='rst'))
            change()

    def test_the_server_is_away(self):
        for _, change in self.each():
            self.proxy.refuse()
            self.proxy.cut()
            change()
            self.proxy.accept()

    def test_the_server_is_marked_down(self):
        for client, change in self.each():
            client.retries, client.blacktime = 1, 60
            self.proxy.refuse()
            self.proxy.cut()
            change()
            change()
            self.proxy.accept()
            change()
            client.blacktime = 0

    def test_reads_owe_nothing(self):
        client = self.client(**self.settings)
        for name, (use, outcome) in READING.items():
            for fault in (Fault(then='rst', side='request'),
                          Fault(then='fin')):
                with self.subTest(name):
                    client.set('key', b'50', raw=True)
                    self.lose(fault, lambda use=use, outcome=outcome:
                              self.assertEqual(use(client, 'key'), outcome))
                    self.assertEqual(client.query('key', raw=True), b'50')

    def test_errors_of_use_owe_nothing(self):
        client = self.client(**self.settings)
        client.set('key', b'50', raw=True)
        for use in (
                lambda: client.add('key', 1, -1),
                lambda: client.replace('key', lambda: None),
                lambda: client.append('key', 'text'),
                lambda: client.cas('key', 1, 'no token'),
                lambda: client.increment('key', -1),
                lambda: client.setMany({'key': 1, 'a': lambda: None})):
            self.assertRaises(ValueError, use)
            self.assertEqual(client.query('key', raw=True), b'50')

    def test_many_of_which_the_replies_are_cut(self):
        client = self.client(**self.settings)
        former = {f'key {number}': b'former' for number in range(30)}
        values = dict.fromkeys(former, b'new')
        for after in 0, 1, 8, 50, 150:
            client.setMany(former, raw=True)
            self.proxy.once(Fault(after=after, then='rst'))
            lost = client.setMany(values, raw=True)
            self.assertEqual(
                client.queryMany(former, raw=True),
                {key: b'new' for key in values if key not in lost})
            if not self.settings:
                # Those that were acknowledged, 8 bytes each.
                self.assertEqual(len(lost), 30 - after // 8)


class OwedRealTest(OnMemcached, OwedTest):

    def pairs(self):
        return itertools.product(CHANGING.items(), self.readers.items())


class OwedRealGenerationsTest(OwedRealTest):

    settings = types.MappingProxyType({'generations': True})


class FailoverTest(OutageCase):
    """A server that stands in for another has values of its own."""

    def test_tokens(self):
        client = self.client(failover=True)
        [key] = self.keys(LOST, 1)
        client.set(key, 'former')
        _, token = client.gets(key)
        self.lose_marked(client)
        # Each server has its own numbers, so they may be the same.
        self.assertIsNone(client.cas(key, 'new', token))
        self.assertIs(client.add(key, 'moved'), True)
        self.assertIsNone(client.cas(key, 'new', token))
        value, other = client.gets(key)
        self.assertEqual(value, 'moved')
        self.assertIs(client.cas(key, 'moved on', other), True)
        self.return_known(client)
        self.assertIsNone(client.query(key))
        self.assertIsNone(client.cas(key, 'new', other))
        self.assertIsNone(client.cas(key, 'new', token))

    def test_changes(self):
        client = self.client(failover=True)
        keys = self.keys(LOST, 12)
        self.assertEqual(client.setMany(dict.fromkeys(keys, b'5'), 0, True),
                         [])
        self.lose_marked(client)
        self.assertEqual(client.queryMany(keys, True), {})
        self.assertEqual(client.setMany({keys[0]: b'6'}, 0, True), [])
        self.assertEqual(client.invalidateMany(keys[1:3]), keys[1:3])
        self.assertIs(client.add(keys[3], b'7', raw=True), True)
        self.assertIs(client.replace(keys[4], b'7', raw=True), False)
        self.assertIs(client.append(keys[5], b'7'), False)
        self.assertIs(client.prepend(keys[6], b'7'), False)
        self.assertIsNone(client.increment(keys[7]))
        self.assertEqual(client.increment(keys[8], 1, 8), 8)
        self.assertIsNone(client.decrement(keys[9]))
        self.assertIs(client.touch(keys[10]), False)
        self.assertEqual(client.queryMany(keys, True), {
            keys[0]: b'6', keys[3]: b'7', keys[8]: b'8'})
        self.return_known(client)
        # None of those that were changed is found.
        self.assertEqual(client.queryMany(keys, True), {
            keys[10]: b'5', keys[11]: b'5'})


class HangingTest(FaultCase):
    """No operation waits for a server for longer than the time-out."""

    level = 2
    timeout = 0.05

    def makeClient(self, **settings):
        return self.client(**settings)

    def check(self, fault, **settings):
        for name, (use, outcome) in COMMANDS.items():
            client = self.makeClient(**settings)
            client.query('key')
            self.proxy.fault = fault

            def scenario(client=client, use=use, outcome=outcome):
                self.assertEqual(
                    self.timed(use, client, 'key'), outcome)

            with self.subTest(name):
                self.assertInTime(scenario)
            self.proxy.clear()
            self.proxy.release(drop=True)
            client.close()

    def test_no_reply(self):
        self.check(HOLD)

    def test_half_a_reply(self):
        self.check(Fault(after=3, then='stall'))

    def test_generations(self):
        self.check(HOLD, generations=True)


class HangingMemcacheClientTest(HangingTest):

    def makeClient(self, **settings):
        # The real client has no such attributes.
        factory = type('Impatient', (MemcacheClient,), {
            '_timeout': self.timeout, '_retry': 0})
        return factory([self.proxy.address], **settings)
