# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Signed values, and the secrets that they are signed with.

The scenario is run for the fakes and the real clients, on the embedded server
and (level 2) on memcached. It is followed by where secrets come from, and that
they are not shown.
"""

import copy
import hmac
import itertools
import logging
import os
import pathlib
import pickle
import struct
import tempfile
import traceback
import unittest
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import zope.component
from zope.component import getUtility
from zope.configuration import xmlconfig
from zope.configuration.exceptions import ConfigurationError

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import ForgedValue
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import ISerializer
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import Pickable
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import all_but
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.values import parts
from p01.memcache.tests.support.zcml import PACKAGE
from p01.memcache.tests.support.zcml import SITE
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.secrets import Secrets
from p01.memcache.trust.secrets import prepare
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values import codec
from p01.memcache.values.jsons import JSONSerializer
from p01.memcache.values.pickles import PickleSerializer
from p01.memcache.values.signing import Signer


SIGNED = 1 << 8
STAMPED = 1 << 6
ZLIB = 1 << 9
ZSTD = 1 << 10
JSON = 1 << 11

# No part of them may appear in anything that is shown.
FIRST = 'qX7-first-secret-' + 'a' * 32
SECOND = 'qX7-second-secret-' + 'b' * 32
THIRD = 'qX7-third-secret-' + 'c' * 32
HIDDEN = 'qX7'
VARIABLE = 'P01_MEMCACHE_TEST_SECRETS'
OTHER_VARIABLE = 'P01_MEMCACHE_TEST_OTHER_SECRETS'

# Forgeries in place of a signed value.
FLAGS = [
    0, 1, SIGNED | 1, SIGNED | 1 << 5, SIGNED | 1 << 6, SIGNED | 1 << 7,
    ZLIB, SIGNED | ZLIB, SIGNED | ZSTD, SIGNED | ZLIB | ZSTD,
    SIGNED | 1 << 11, SIGNED | 1 << 15, SIGNED | 1 << 16, SIGNED | 1 << 31]


def sign(secret, key, flags, value, name=b'pickle'):
    """Return what is stored; it must stay the same in all releases."""
    head = b'\x01' + struct.pack(
        '>HHH', flags, len(name), len(key)) + name + key
    return b'\x01' + hmac.digest(
        secret.encode(), head + value, 'sha256') + value


def flip(data, place, bit):
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1:]


class Mark:
    """An object that reveals whether it was unpickled."""

    made = 0

    def __reduce__(self):
        return Mark._unpickled, ()

    @staticmethod
    def _unpickled():
        Mark.made += 1
        return 'unpickled'


@matrix(CLASSIC_FAKE, slow=all_but(CLASSIC_FAKE))
class SignedScenario(Scenario):

    settings = {  # noqa: RUF012
        'serializer': 'signed-pickle', 'secretsVariable': VARIABLE}

    def setUp(self):
        self.enterContext(mock.patch.dict(
            os.environ, {VARIABLE: FIRST, OTHER_VARIABLE: SECOND}))
        Mark.made = 0
        # It is looked up when a client is made.
        self.unpickle = self.spy(pickle, 'loads')
        super().setUp()

    def makeSigned(self, *secrets, **settings):
        """Return a client with these secrets."""
        with mock.patch.dict(os.environ, {VARIABLE: ' '.join(secrets)}):
            return self.makeClient(**settings)

    def makePlain(self, **settings):
        return self.makeClient(
            **{'serializer': 'pickle', 'secretsVariable': None, **settings})

    def assertForged(self, key='key', client=None,
                     reason='is not signed|signature is wrong', raw=True):
        self.unpickle.reset_mock()
        self.assertUnreadable(
            client or self.client, key, 'ForgedValue', reason, raw)
        self.unpickle.assert_not_called()
        self.assertEqual(Mark.made, 0)

    def set(self, value='value', key='key'):
        built = self.client.set(key, value)
        self.assertIsNotNone(built)
        return built, *self.stored(built)

    # Valid values

    def test_any_serializer(self):
        class Shouting:
            """A serializer of an application."""

            def dumps(self, key, obj):
                return obj.upper().encode(), 1 << 12

            def loads(self, key, data, flags):
                assert flags == 1 << 12
                return data.decode()

        gsm = zope.component.getGlobalSiteManager()
        gsm.registerUtility(Shouting(), ISerializer, 'shouting')
        self.addCleanup(
            gsm.unregisterUtility, provided=ISerializer, name='shouting')
        for name, value, found, data, flags in (
                ('json', 'a' * 99, 'a' * 99, b'"%b"' % (b'a' * 99), JSON),
                ('shouting', 'a' * 99, 'A' * 99, b'A' * 99, 1 << 12)):
            client = self.makeClient(serializer='signed-' + name)
            built = client.set('key', value)
            self.assertEqual(self.stored(built), (
                sign(FIRST, built.encode(), SIGNED | flags, data,
                     name.encode()),
                SIGNED | flags))
            self.assertFound(client, 'key', found)
            self.assertFoundRaw(client, 'key', data)
            # Compressed, and moved: it is not even decompressed.
            client.compress = 10
            other = client.set('other', value)
            self.assertTrue(self.stored(other)[1] & (ZLIB | ZSTD))
            self.assertFound(client, 'other', found)
            self.assertFoundRaw(client, 'other', data)
            self.plant(built, *self.stored(other))
            with mock.patch.object(codec, 'decompress') as decompress:
                self.assertUnreadable(
                    client, 'key', 'ForgedValue', 'signature is wrong')
            decompress.assert_not_called()
            # And unsigned values are not read.
            self.plant(built, data, flags)
            self.assertUnreadable(client, 'key', 'ForgedValue', 'not signed')

    def test_what_is_on_the_wire(self):
        for scheme in 'compatible', 'strict':
            self.client.keyScheme = scheme
            self.client.namespace = 'space'
            built, data, flags = self.set([1, 'two'])
            self.assertEqual(
                (data, flags),
                (sign(FIRST, built.encode(), SIGNED,
                      pickle.dumps([1, 'two'], -1)), SIGNED))

    def test_values(self):
        for value in None, 0, '', b'', 'x' * 70_000, {'a': [1, (2,)]}:
            self.client.set('key', value)
            self.assertFound(self.client, 'key', value)
        self.assertGreater(self.unpickle.call_count, 0)
        self.client.set('key', Mark())
        self.assertFound(self.client, 'key', 'unpickled')
        self.assertEqual(Mark.made, 4)

    def test_every_way_to_store(self):
        client = self.client
        self.assertIs(client.add('key', 1), True)
        self.assertFound(client, 'key', 1)
        self.assertIs(client.add('key', 2), False)
        self.assertIs(client.replace('key', 3), True)
        self.assertFound(client, 'key', 3)
        self.assertIs(client.cas('key', 4, client.gets('key')[1]), True)
        self.assertFound(client, 'key', 4)
        self.assertEqual(client.setMany({'key': 5, 'other': 6}), [])
        self.assertEqual(
            client.queryMany(['key', 'other']), {'key': 5, 'other': 6})
        self.assertEqual(client.getOrCreate('made', lambda: 7), 7)
        self.assertFound(client, 'made', 7)
        self.assertEqual(client.getOrCreate('made', self.fail), 7)
        self.assertEqual(client.getUnreadable(), {})
        for key in 'key', 'other', 'made':
            self.assertEqual(self.stored(client.buildKey(key))[1], SIGNED)

    # Invalid values

    def test_a_bit_of_every_byte(self):
        built, data, flags = self.set(Mark())
        client = self.makeClient()
        missing = object()
        for place in range(len(data)):
            self.plant(built, flip(data, place, place % 8), flags)
            self.assertIs(client.query('key', default=missing), missing)
            self.assertIs(client.query('key', True, missing), missing)
        self.assertEqual(
            client.getUnreadable(), {'ForgedValue': 2 * len(data)})
        self.unpickle.assert_not_called()
        self.assertEqual(Mark.made, 0)
        for place in (0, 1, 32, 33, len(data) - 1):
            self.plant(built, flip(data, place, 0), flags)
            self.assertForged(reason='signature is wrong')
        self.plant(built, data, flags)
        self.assertFound(self.client, 'key', 'unpickled')

    def test_truncated_or_lengthened(self):
        built, data, flags = self.set(Mark())
        missing = object()
        for size in range(len(data)):
            self.plant(built, data[:size], flags)
            self.assertIs(self.client.query('key', default=missing), missing)
        for wrong in (b'', data[1:], data[33:], data + b'\0', data + data,
                      b'\x01' + data, b'\x02' + data[1:], b'\x01' * 33):
            self.plant(built, wrong, flags)
            self.assertForged(reason='signature is wrong')

    def test_flags(self):
        built, data, _ = self.set(Mark())
        for flags in FLAGS:
            with self.subTest(flags=flags):
                self.plant(built, data, flags)
                # Without flags it may be a raw value.
                self.assertForged(raw=flags != 0)
        # It looks like a claim to compute a value.
        self.plant(built, data, 1 << 7)
        self.assertEqual([*self.reads(self.client, 'key')], [MISSING] * 4)
        self.unpickle.assert_not_called()

    def test_unsigned_values(self):
        plain = self.makePlain()
        built = plain.set('key', Mark())
        self.assertForged(reason='is not signed', raw=False)
        data = pickle.dumps(Mark())
        self.plant(built, data, SIGNED)
        self.assertForged(reason='signature is wrong')
        self.plant(built, b'\x01' + bytes(32) + data, SIGNED)
        self.assertForged(reason='signature is wrong')
        # With a signature that needs no secret.
        for secret in '', ' ', '\0' * 32, 'None':
            self.plant(built, sign(secret, built.encode(), SIGNED, data),
                       SIGNED)
            self.assertForged(reason='signature is wrong')

    def test_another_key(self):
        for scheme in 'compatible', 'strict':
            self.client.keyScheme = scheme
            _, data, flags = self.set(Mark(), 'mine')
            self.plant(self.client.buildKey('yours'), data, flags)
            self.assertForged('yours', reason='signature is wrong')

    def test_another_namespace(self):
        for scheme, spaces in [
                ('compatible', (None, 'one', 'two')),
                ('strict', (None, 'one', 'two', ''))]:
            for one, two in itertools.permutations(spaces, 2):
                if {one, two} == {None, ''}:
                    continue  # the same
                self.client.keyScheme = scheme
                self.client.namespace = one
                _, data, flags = self.set(Mark())
                self.client.namespace = two
                self.plant(self.client.buildKey('key'), data, flags)
                self.assertForged(reason='signature is wrong')
                self.client.invalidate('key')

    def test_another_key_scheme(self):
        built, data, flags = self.set(Mark())
        strict = self.makeClient(keyScheme='strict')
        self.plant(strict.buildKey('key'), data, flags)
        self.assertForged(client=strict)

    def test_rotation(self):
        old = self.makeSigned(FIRST)
        adds = self.makeSigned(FIRST, SECOND)
        new = self.makeSigned(SECOND, FIRST)
        only = self.makeSigned(SECOND)
        for writer, readers, others in [
                (old, (old, adds, new), (only,)),
                (adds, (old, adds, new), (only,)),
                (new, (adds, new, only), (old,)),
                (only, (adds, new, only), (old,))]:
            built = writer.set('key', 'value')
            for reader in readers:
                self.assertFound(reader, 'key', 'value')
                self.assertEqual(
                    reader.getOrCreate('key', self.fail), 'value')
            for other in others:
                self.assertForged(client=other, reason='signature is wrong')
            secret = FIRST if writer in (old, adds) else SECOND
            self.assertEqual(self.stored(built), (
                sign(secret, built.encode(), SIGNED, pickle.dumps('value', -1)
                     ), SIGNED))

    def test_which_of_many_secrets(self):
        secrets = [f'{number}{FIRST}' for number in range(20)]
        every = self.makeSigned(*secrets)
        for secret in secrets:
            self.makeSigned(secret).set('key', secret)
            self.assertFound(every, 'key', secret)
        self.makeSigned(FIRST).set('key', 'value')
        self.assertForged(client=every)

    def test_another_serializer(self):
        self.plant(self.client.buildKey('key'), b'["value"]', 1 << 11)
        self.assertForged()
        # Even if it was signed with the secret and has the same flags, it is
        # not taken for a pickle.
        self.makeClient(serializer='signed-json').set('key', ['value'])
        self.assertForged()
        built = self.client.buildKey('key')
        data = pickle.dumps(Mark(), -1)
        self.plant(
            built, sign(FIRST, built.encode(), SIGNED, data, b'own'), SIGNED)
        self.assertForged()

    def test_every_read_counts_it(self):
        self.plant(self.client.buildKey('key'), b'forged', SIGNED)
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(self.client.query, ['key'] * 80))
        self.assertEqual(self.client.getUnreadable(), {'ForgedValue': 80})
        # The returned dict is a copy.
        self.client.getUnreadable()['ForgedValue'] = 0
        self.assertEqual(self.client.getUnreadable(), {'ForgedValue': 80})

    def test_it_is_logged_once_a_minute(self):
        self.client.debug = 0
        self.plant(self.client.buildKey('key'), b'forged', SIGNED)
        with self.assertLogs('p01.memcache') as log:
            for _ in range(5):
                self.client.query('key')
        self.assertEqual(len(log.records), 1)
        self.assertEqual(self.client.getUnreadable(), {'ForgedValue': 5})

    # Values that are computed

    def forgeries(self):
        """Plant one after the other."""
        built, data, flags = self.set(Mark())
        yield self.plant(built, flip(data, 40, 0), flags)
        yield self.plant(built, data[33:], 0)
        yield self.plant(built, data[33:], SIGNED)
        yield self.plant(built, b'', SIGNED)
        yield self.plant(built, b'1 2\n' + data[33:], SIGNED | 1 << 6)
        yield self.plant(built, b'x v\n' + data[33:], 1 << 6)
        yield self.plant(
            self.client.buildKey('key'), *self.set(Mark(), 'another key')[1:])

    def test_getOrCreate(self):
        for grace in None, 60:
            for number, _ in enumerate(self.forgeries()):
                with self.subTest(number=number, grace=grace):
                    made = f'{number} {grace}'
                    self.assertEqual(self.client.getOrCreate(
                        'key', lambda made=made: made, grace=grace), made)
                    self.assertEqual(
                        self.makeClient().getOrCreate('key', self.fail,
                                                      grace=grace), made)
                    self.assertFound(self.client, 'key', made)
                self.client.invalidate('key')
        self.assertEqual(Mark.made, 0)
        self.assertEqual(self.client.getUnreadable(), {'ForgedValue': 14})

    def test_a_factory_that_fails_after_a_forgery(self):
        for _ in self.forgeries():
            with self.assertRaises(ZeroDivisionError):
                self.client.getOrCreate('key', lambda: 1 / 0)
            self.assertEqual(self.client.getOrCreate('key', lambda: 1), 1)
        self.assertEqual(Mark.made, 0)

    def stamped(self, **arguments):
        """Return the signature, the stamp and the value."""
        self.client.getOrCreate('key', Mark, **arguments)
        data, flags = self.stored(self.client.buildKey('key'))
        self.assertEqual(flags, SIGNED | STAMPED)
        stamp, end, value = data[33:].partition(b'\n')
        return data[:33], stamp + end, value

    def test_a_stamp(self):
        built = self.client.buildKey('key')
        for arguments in (
                {'dependencies': ('one', 'two')}, {'grace': 60},
                {'grace': 60, 'dependencies': ('one',)}):
            with self.subTest(**arguments):
                signature, stamp, value = self.stamped(**arguments)
                self.assertEqual(value, pickle.dumps(Mark(), -1))
                self.assertEqual(
                    signature + stamp + value,
                    sign(FIRST, built.encode(), SIGNED | STAMPED,
                         stamp + value))
                self.assertFound(self.client, 'key', 'unpickled')
                Mark.made = 0
                version = stamp.split()[1]
                newer = stamp.replace(version, b'%016x' % 7)
                for wrong, flags in (
                        # Without the signature, with half of it, or with more.
                        (stamp + value, STAMPED), (value, 0),
                        (stamp + value, SIGNED | STAMPED),
                        (signature[:20] + stamp + value, SIGNED | STAMPED),
                        (stamp + signature + value, SIGNED | STAMPED),
                        # Without a stamp, or with a malformed one.
                        (signature + value, SIGNED),
                        (signature + value, SIGNED | STAMPED),
                        (signature + stamp + value, SIGNED),
                        (signature + b'\n' + value, SIGNED | STAMPED),
                        # Another value.
                        (signature + stamp, SIGNED | STAMPED),
                        (signature + stamp + value[:-1], SIGNED | STAMPED),
                        (flip(signature + stamp + value, 20, 3),
                         SIGNED | STAMPED),
                        (flip(signature + stamp + value, -2, 3),
                         SIGNED | STAMPED)):
                    self.plant(built, wrong, flags)
                    self.assertForged(raw=flags not in (0, STAMPED))
                # With a stamp of other versions it is a miss.
                self.plant(
                    built, signature + newer + value, SIGNED | STAMPED)
                self.assertMiss(self.client, 'key')
                self.unpickle.assert_not_called()
                self.assertEqual(self.client.getOrCreate(
                    'key', lambda: 'anew', **{
                        **arguments, 'dependencies': ()}), 'anew')
                self.assertFound(self.client, 'key', 'anew')
                self.client.invalidate('key')
                self.unpickle.reset_mock()
                Mark.made = 0

    def test_a_newer_stamp_does_not_bring_an_older_value_back(self):
        for arguments in {}, {'grace': 60}:
            with self.subTest(**arguments):
                for key, name in ('key', 'old'), ('other', 'other'):
                    self.client.getOrCreate(
                        key, lambda name=name: name, dependencies=('one',),
                        **arguments)
                built = self.client.buildKey('key')
                older, flags = self.stored(built)
                self.client.invalidateDependencies('one')
                self.client.getOrCreate(
                    'key', lambda: 'new', dependencies=('one',), **arguments)
                newer, _ = self.stored(built)
                head, _, body = older[33:].partition(b'\n')
                stamp = newer[33:].partition(b'\n')[0] + b'\n'
                for wrong in (
                        older[:33] + stamp + body,
                        newer[:33] + stamp + body,
                        older[:33] + stamp + older[33:],
                        stamp + older, stamp + older[:33] + body):
                    self.plant(built, wrong, flags)
                    self.assertForged(raw=True)
                    self.assertEqual(self.client.getOrCreate(
                        'key', lambda: 'newest', dependencies=('one',),
                        **arguments), 'newest')
                # The unchanged value is a miss: it has the old version.
                self.plant(built, older, flags)
                self.assertMiss(self.client, 'key')
                self.client.invalidateMany(['key', 'other'])

    def test_dependencies(self):
        self.client.set('key', 'value', dependencies=('one',))
        self.assertFound(self.client, 'key', 'value')
        self.assertEqual(self.client.query('key', raw=True),
                         pickle.dumps('value', -1))
        self.client.invalidateDependencies('one')
        self.assertMiss(self.client, 'key')

    def test_generations(self):
        client = self.makeClient(generations=True, namespace='space')
        client.set('key', Mark())
        client.set('other', 'value')
        generation, _ = self.stored('generation:' + client.buildKey(''))
        wire = f'{client.buildKey("key")}.{generation.decode()}'
        data, flags = self.stored(wire)
        self.assertFound(client, 'other', 'value')
        self.plant(wire, flip(data, 40, 0), flags)
        self.assertForged(client=client)
        self.plant(wire, *self.stored(
            f'{client.buildKey("other")}.{generation.decode()}'))
        self.assertForged(client=client)
        self.assertEqual(client.getOrCreate('key', lambda: 1), 1)
        self.assertFound(client, 'key', 1)
        client.invalidateNamespace()
        self.assertMiss(client, 'key')

    # Raw values

    def test_raw(self):
        for value in b'', b'bytes', bytes(range(256)), b'\x01' * 50:
            built = self.client.set('key', value, raw=True)
            self.assertEqual(self.stored(built), (value, 0))
            self.assertFoundRaw(self.client, 'key', value)
            self.assertForged(reason='is not signed', raw=False)

    def test_raw_of_a_signed_value(self):
        for value in 'value', Pickable('title'), [1, [2]], None:
            self.client.set('key', value)
            self.assertFoundRaw(self.client, 'key', pickle.dumps(value, -1))
        self.unpickle.assert_not_called()

    def test_raw_with_setMany(self):
        self.client.setMany({'key': b'1', 'other': b''}, raw=True)
        self.assertEqual(
            self.client.queryMany(['key', 'other'], raw=True),
            {'key': b'1', 'other': b''})
        self.assertEqual(self.client.increment('key'), 2)

    def test_counters(self):
        self.assertEqual(self.client.increment('key', initial=5), 5)
        self.assertEqual(self.client.increment('key', 2), 7)
        self.assertEqual(self.client.decrement('key'), 6)
        self.assertFoundRaw(self.client, 'key', b'6')

    def test_append_and_prepend(self):
        self.client.set('key', b'b', raw=True)
        self.assertIs(self.client.append('key', b'c'), True)
        self.assertIs(self.client.prepend('key', b'a'), True)
        self.assertFoundRaw(self.client, 'key', b'abc')
        # After that, a signed value is broken.
        for change in self.client.append, self.client.prepend:
            self.client.set('key', Mark())
            self.assertIs(change('key', b'x'), True)
            self.assertForged(reason='signature is wrong')

    # Others on the same server

    def test_a_plain_neighbour(self):
        plain, json = self.makePlain(), self.makePlain(serializer='json')
        for client in plain, json:
            self.client.set('key', Mark())
            self.assertUnreadable(
                client, 'key', 'UnreadableValue', 'unknown flags 256')
            client.set('key', 'theirs')
            self.assertForged(raw=client is json)
            self.assertFound(client, 'key', 'theirs')
            self.client.set('key', 'ours')
            self.assertFound(self.client, 'key', 'ours')
            # Each client computes its own value, and neither fails.
            self.assertEqual(client.getOrCreate('key', lambda: 1), 1)
            self.assertEqual(client.query('key'), 1)
            self.assertEqual(self.client.getOrCreate('key', lambda: 2), 2)
            self.assertEqual(self.client.query('key'), 2)
            # Both clients can read raw values.
            self.client.set('key', b'1', raw=True)
            self.assertEqual(client.increment('key'), 2)
            self.assertFoundRaw(client, 'key', b'2')
            self.assertIs(client.invalidate('key'), True)
            self.assertMiss(self.client, 'key')
        self.assertEqual(Mark.made, 0)

    # Combined with other settings

    def test_an_unsigned_value_is_not_decompressed(self):
        decompress = self.spy(codec, 'decompress')
        client = self.makeClient(compress=1)
        built = client.set('key', 'x' * 1000)
        data, flags = self.stored(built)
        self.assertIn(flags, (SIGNED | ZLIB, SIGNED | ZSTD))
        for wrong in flip(data, 5, 5), flip(data, 40, 0), data[33:]:
            self.plant(built, wrong, flags)
            self.assertForged()
        self.plant(built, data[33:], flags & ~SIGNED)
        self.assertForged()
        # Nor is one whose flags are not those that were signed.
        built = client.set('key', 'short')
        data, flags = self.stored(built)
        for how in ZLIB, ZSTD:
            self.plant(built, data, flags | how)
            self.assertForged()
        decompress.assert_not_called()
        client.set('key', 'x' * 1000)
        self.assertFound(self.client, 'key', 'x' * 1000)
        self.assertFoundRaw(
            self.client, 'key', pickle.dumps('x' * 1000, -1))
        self.assertEqual(decompress.call_count, 8)

    def test_with_an_allow_list(self):
        client = self.makeClient(allow=['p01.memcache.testing'])
        client.set('key', Pickable('title'))
        self.assertEqual(
            [found.title for found in self.reads(client, 'key')],
            ['title'] * 4)
        # A second barrier, for what the site's own processes sign.
        client.set('key', Mark())
        self.assertUnreadable(
            client, 'key', 'ForbiddenGlobal',
            r'test_signed\.Mark\._unpickled is not allowed', raw=False)
        self.assertEqual(Mark.made, 0)
        # The signature is checked first.
        self.plant(client.buildKey('key'), pickle.dumps(Mark()), SIGNED)
        self.assertForged(client=client)

    # Assigning attributes

    def test_secrets_that_are_changed(self):
        self.client.set('key', 1)
        os.environ[VARIABLE] = f'{SECOND} {FIRST}'
        self.client.secretsVariable = VARIABLE
        self.assertFound(self.client, 'key', 1)
        self.client.set('key', 2)
        os.environ[VARIABLE] = SECOND
        self.client.secretsVariable = VARIABLE
        self.assertFound(self.client, 'key', 2)
        os.environ[VARIABLE] = THIRD
        self.assertFound(self.client, 'key', 2)  # not yet read
        self.client.secretsVariable = VARIABLE
        self.assertForged()
        self.client.secretsVariable = OTHER_VARIABLE
        self.assertFound(self.client, 'key', 2)

    def test_a_change_that_fails(self):
        self.client.set('key', 'value')
        os.environ[OTHER_VARIABLE] = HIDDEN
        for name, value, error in [
                ('secretsVariable', OTHER_VARIABLE, 'less than 32 bytes'),
                ('secretsVariable', 'NOT_SET', 'not in the environment'),
                ('secretsVariable', None, 'needs a secretsFile'),
                ('secretsVariable', '', 'secretsVariable'),
                ('secretsFile', '/nowhere', 'not both'),
                ('serializer', 'unknown', 'unknown'),
                ('allow', ['a b'], 'allow'),
                ('compress', 0, 'compress'),
                ('maxValueSize', 0, 'maxValueSize')]:
            with self.subTest(name=name, value=value):
                before = vars(self.client).copy()
                with self.assertRaisesRegex(ValueError, error):
                    setattr(self.client, name, value)
                self.assertEqual(vars(self.client), before)
                self.assertFound(self.client, 'key', 'value')
                self.client.set('other', 'value')
                self.assertEqual(
                    self.stored(self.client.buildKey('other'))[1], SIGNED)

    # Secrets are not shown

    def test_nothing_shows_a_secret(self):
        logging.getLogger('p01.memcache').setLevel(logging.DEBUG)
        self.addCleanup(
            logging.getLogger('p01.memcache').setLevel, logging.NOTSET)
        client = self.makeSigned(FIRST, SECOND, compress=1, allow=['nothing'])
        shown = []
        formatter = logging.Formatter('%(message)s')
        with self.assertLogs('p01.memcache', 'DEBUG') as log:
            built = client.set('key', [1, 'two'])
            data, flags = self.stored(built)
            for wrong in flip(data, 40, 0), b'', data:
                for kind in flags, 0, 1:
                    self.plant(built, wrong, kind)
                    shown += self.reads(client, 'key')
            client.set('key', Mark())
            shown += self.reads(client, 'key')
            client.getOrCreate('key', lambda: 1)
            client.maxValueSize = 10
            client.set('key', 'x' * 100)
        for error in self.errors(client):
            shown += traceback.format_exception(error)
            shown += [repr(error), str(error), error.args]
        shown += map(formatter.format, log.records)
        shown += [
            (event, vars(event), event.error, vars(event.error),
             ''.join(traceback.format_exception(event.error)))
            for event in self.events]
        shown += [client, str(client), client.getUnreadable(),
                  copy.copy(client).__dict__]
        for part in parts(client):
            shown += [part, str(part), getattr(part, '__dict__', '')]
        text = repr(shown)
        self.assertIn('signature is wrong', text)
        self.assertIn('Traceback', text)
        self.assertIn('signing.Signer', text)
        self.assertNotIn(HIDDEN, text)

    def errors(self, client):
        for wrong in [lambda: client.set('key', client),
                      lambda: client.set('key', lambda: None),
                      lambda: pickle.dumps(client),
                      lambda: copy.deepcopy(client),
                      lambda: client.buildKey((client, lambda: None)),
                      lambda: setattr(client, 'serializer', 'unknown'),
                      lambda: setattr(client, 'secretsFile', '/nowhere')]:
            try:
                wrong()
            except (TypeError, ValueError) as error:
                yield error
            else:
                self.fail('it did not fail')


class SignerTest(unittest.TestCase):
    """Without a client."""

    secrets = FIRST.encode(), SECOND.encode()

    def setUp(self):
        self.inner = mock.Mock(wraps=PickleSerializer())
        self.codec = self.make(self.inner)

    def make(self, serializer):
        keys = Given(prepare(self.secrets))
        return codec.Codec(
            serializer, 1 << 26, signer=Signer('pickle', Secrets(keys)))

    def assertForged(self, key, data, flags):
        with self.assertRaises(ForgedValue):
            self.codec.loads(key, data, flags, raw=False)
        self.inner.loads.assert_not_called()

    def test_every_bit(self):
        data, flags = self.codec.dumps(b'key', 'value', raw=False)
        for place in range(len(data)):
            for bit in range(8):
                self.assertForged(b'key', flip(data, place, bit), flags)
        for bit in range(32):
            self.assertForged(b'key', data, flags ^ 1 << bit)
        for key in (b'', b'kez', b'Key', b'ke', b'key ', b'key\0', b'ykey'):
            self.assertForged(key, data, flags)
        self.assertEqual(
            self.codec.loads(b'key', data, flags, raw=False), 'value')

    def test_the_boundary_between_key_and_value(self):
        # Both begin alike, so the boundary could be moved.
        codec = self.make(mock.Mock(dumps=lambda key, obj: (obj, 0)))
        seen = {
            codec.dumps(text[:place], text[place:], raw=False)[0][:33]
            for text in (b'aaaaaaaa', b'\0\0\0\0\0\0\0\0')
            for place in range(len(text))}
        self.assertEqual(len(seen), 16)

    def test_compared_in_constant_time(self):
        data, flags = self.codec.dumps(b'key', 'value', raw=False)
        with mock.patch.object(
                hmac, 'compare_digest', return_value=False) as compare:
            self.assertForged(b'key', data, flags)
        self.assertEqual(
            [type(arg) for call in compare.call_args_list
             for arg in call.args], [bytes] * 4)

    def test_the_longest_key(self):
        for key in b'', b'k' * 250, b'k' * 65535:
            data, flags = self.codec.dumps(key, 'value', raw=False)
            self.assertEqual(
                self.codec.loads(key, data, flags, raw=False), 'value')


class SecretsCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.dict(os.environ))
        os.environ.pop(VARIABLE, None)

    def file(self, data, name='secrets'):
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)

    def hide(self, error):
        text = ''.join(traceback.format_exception(error))
        while error is not None:
            text += repr(error) + str(error) + repr(vars(error))
            error = error.__cause__ or error.__context__
        self.assertNotIn(HIDDEN, text)
        self.assertNotIn('717837', text.lower())  # in hexadecimal


# What a file or a variable may contain, and how many secrets that makes.
GOOD = [
    (FIRST, 1),
    ('abcdefgh' * 4, 1),
    (f'{FIRST} {SECOND}', 2),
    (f'\n{FIRST}\r\n\n\t{SECOND} {THIRD}\n', 3),
    ('üäöéèêàá' * 2, 1),  # 32 bytes
    (FIRST * 1000, 1),
    (' '.join([FIRST] * 3), 3),
]

SHORT = HIDDEN + 'x' * 28  # 31 bytes

BAD = [
    ('', 'at least one secret'),
    (' \n\t', 'at least one secret'),
    (SHORT, 'secret 1 has less than 32 bytes'),
    (f'{FIRST} {SHORT}', 'secret 2 has less than 32 bytes'),
    (f'{FIRST}\n{SECOND}\n{HIDDEN}', 'secret 3 has less than 32 bytes'),
    (f'{HIDDEN} correct horse battery staple is long enough', 'secret 1 has'),
    ('#' * 32, 'secret 1 begins with #'),
    (f'# {FIRST}', 'secret 1 begins with #'),
    (f'{FIRST}\n#{SECOND}', 'secret 2 begins with #'),
    ('-' * 32, 'secret 1 has fewer than 8 different characters'),
    (f'{FIRST} {"=-" * 20}', 'secret 2 has fewer than 8 different'),
    ('changeme' * 4, 'secret 1 has fewer than 8 different characters'),
    ('ü' * 16, 'secret 1 has fewer than 8 different characters'),
]


class SecretsTest(SecretsCase):
    """Sources of secrets, which are the same for both clients."""

    def make(self, **settings):
        for factory in MemcacheClient, UltraMemcacheClient:
            client = factory(serializer='signed-pickle', **settings)
            self.addCleanup(client.close)
        return client

    def refused(self, words, kind=ValueError, **settings):
        for factory in MemcacheClient, UltraMemcacheClient:
            with self.assertRaises(kind) as caught:
                factory(**{'serializer': 'signed-pickle', **settings})
            for word in words:
                self.assertIn(word, str(caught.exception))
            self.hide(caught.exception)

    def test_valid_sources(self):
        for text, count in GOOD:
            path = self.file(text.encode())
            os.environ[VARIABLE] = text
            for client in (self.make(secretsFile=path),
                           self.make(secretsVariable=VARIABLE)):
                self.assertEqual(
                    len(client._state.codec.signer.secrets.keys()), count)

    def test_a_file_with_a_byte_order_mark(self):
        client = self.make(
            secretsFile=self.file(b'\xef\xbb\xbf' + FIRST.encode()))
        data, flags = client._state.codec.dumps(b'key', 'value', False)
        self.assertEqual(data, sign(
            FIRST, b'key', SIGNED, pickle.dumps('value', -1)))
        self.assertEqual(flags, SIGNED)

    def test_invalid_secrets(self):
        for text, rule in BAD:
            path = self.file(text.encode())
            os.environ[VARIABLE] = text
            self.refused(['secretsFile', path, rule], secretsFile=path)
            self.refused(
                ['secretsVariable', VARIABLE, rule], secretsVariable=VARIABLE)

    def test_bad_files(self):
        latin = self.file((FIRST + 'ü').encode('latin-1'))
        self.refused([latin, 'not UTF-8'], secretsFile=latin)
        large = self.file((FIRST + '\n').encode() * 2000, 'large')
        self.refused([large, '65536 characters'], secretsFile=large)
        folder = str(self.folder)
        self.refused([folder, 'Is a directory'], secretsFile=folder)
        missing = str(self.folder / 'missing')
        self.refused([f"'{folder}/***': No such file"], secretsFile=missing)
        self.refused(["/***': embedded null"], secretsFile='a\0b')
        self.refused(['secretsFile'], secretsFile='')

    def test_a_file_that_may_not_be_read(self):
        path = self.file(FIRST.encode())
        with mock.patch('builtins.open', side_effect=PermissionError(
                13, 'Permission denied', path)):
            self.refused([path, 'Permission denied'], secretsFile=path)

    def test_a_missing_variable(self):
        # The name may be the secret itself.
        for name in VARIABLE, HIDDEN + 'a' * 48:
            self.refused(['secretsVariable: is not in the environment'],
                         secretsVariable=name)
        for name in ' ', 'a=b', 'a\0b', '\udc80', '\ud800', '1a':
            self.refused(['must be the name'], secretsVariable=name)

    def test_neither_or_both(self):
        os.environ[VARIABLE] = FIRST
        self.refused(['secretsFile', 'secretsVariable'])
        self.refused(['secretsFile', 'secretsVariable'],
                     secretsFile=self.file(FIRST.encode()),
                     secretsVariable=VARIABLE)

    def test_arguments_of_another_type(self):
        for name in 'secretsFile', 'secretsVariable':
            for wrong in b'bytes', 1, True, ['list'], pathlib.Path('path'):
                self.refused([name], TypeError, **{name: wrong})

    def test_without_effect(self):
        os.environ[VARIABLE] = FIRST
        for given in ({'secretsFile': self.file(FIRST.encode())},
                      {'secretsVariable': VARIABLE}):
            for serializer in 'pickle', 'json', JSONSerializer():
                self.refused([*given, 'has no effect'],
                             serializer=serializer, **given)
        for serializer in 'json', JSONSerializer():
            self.refused(['allow', 'has no effect'],
                         serializer=serializer, allow=['datetime'])

    def test_switched_on_and_off(self):
        client = FakeMemcacheClient()
        client.set('key', 'plain')
        with self.assertRaisesRegex(ValueError, 'needs a secretsFile'):
            client.serializer = 'signed-pickle'
        self.assertEqual(client.serializer, 'pickle')
        self.assertEqual(client.query('key'), 'plain')
        # It is no error that these have no effect yet.
        client.secretsFile = self.file(SHORT.encode())
        with self.assertRaises(ValueError) as caught:
            client.serializer = 'signed-pickle'
        self.hide(caught.exception)
        self.assertEqual(client.query('key'), 'plain')
        client.secretsFile = self.file(FIRST.encode())
        client.serializer = 'signed-pickle'
        self.assertEqual(client.query('key', default=MISSING), MISSING)
        client.set('key', 'signed')
        self.assertEqual(client.query('key'), 'signed')
        client.serializer = 'json'
        self.assertEqual(client.query('key', default=MISSING), MISSING)

    def test_a_changed_file(self):
        path = self.file(FIRST.encode())
        client = FakeMemcacheClient(
            serializer='signed-pickle', secretsFile=path)
        client.set('key', 'value')
        for text, _ in BAD:
            self.file(text.encode())
            with self.assertRaises(ValueError) as caught:
                client.secretsFile = path
            self.hide(caught.exception)
            self.assertEqual(client.query('key'), 'value')
        self.file(SECOND.encode())
        client.secretsFile = path
        self.assertEqual(client.query('key', default=MISSING), MISSING)


class ZCMLTest(SecretsCase, ZCMLTestCase):

    def setUp(self):
        SecretsCase.setUp(self)
        ZCMLTestCase.setUp(self)

    def load(self, attributes):
        """Load a file in the folder of the secrets."""
        site = self.folder / 'site.zcml'
        site.write_text(
            SITE % (PACKAGE + f'<p01:memcache {attributes} />'))
        xmlconfig.file(str(site))
        return getUtility(IMemcacheClient)

    def refused(self, attributes, *words):
        with self.assertRaises(ConfigurationError) as caught:
            self.load(attributes)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.hide(caught.exception)

    def test_a_relative_file(self):
        path = self.file(FIRST.encode())
        for factory in ('', 'factory="p01.memcache.client.MemcacheClient"'):
            self.tearDown()
            self.setUp()
            path = self.file(FIRST.encode())
            client = self.load(
                f'serializer="signed-pickle" secretsFile="secrets" {factory}')
            self.assertEqual(client.serializer, 'signed-pickle')
            self.assertEqual(client.secretsFile, path)

    def test_a_variable(self):
        os.environ[VARIABLE] = f'{FIRST} {SECOND}'
        client = self.load(
            f'serializer="signed-pickle" secretsVariable="{VARIABLE}"'
            ' allow="datetime shop.model.Item" compress="1000"'
            ' maxValueSize="100000"')
        self.assertEqual(
            (client.serializer, client.secretsVariable, client.secretsFile,
             client.allow, client.compress, client.maxValueSize),
            ('signed-pickle', VARIABLE, None, ['datetime', 'shop.model.Item'],
             1000, 100_000))

    def test_json(self):
        self.assertEqual(self.load('serializer="json"').serializer, 'json')

    def test_wrong(self):
        os.environ[VARIABLE] = SHORT
        signed = 'serializer="signed-pickle"'
        for attributes, *words in [
                (signed, 'needs a secretsFile'),
                (f'{signed} secretsVariable="{VARIABLE}"', VARIABLE, '32'),
                (f'{signed} secretsVariable="NOT_SET"', 'environment'),
                (f'{signed} secretsVariable=""', 'secretsVariable'),
                (f'{signed} secretsFile="nowhere"',
                 f"'{self.folder}/***': No such"),
                (f'{signed} secretsFile=""', 'secretsFile'),
                (f'{signed} secretsFile="a" secretsVariable="b"', 'both'),
                ('secretsFile="site.zcml"', 'has no effect'),
                ('secretsVariable="x"', 'has no effect'),
                ('serializer="json" allow="datetime"', 'has no effect'),
                ('serializer="unknown"', 'unknown', 'pickle, signed-pickle'),
                ('serializer=""', 'serializer'),
                ('allow="a b-c"', 'allow'),
                ('allow="os."', 'allow'),
                ('compress="0"', 'compress'),
                ('compress="many"', 'compress', 'a whole number'),
                ('maxValueSize="0"', 'maxValueSize'),
                ('maxValueSize="2000000000"', 'maxValueSize')]:
            with self.subTest(attributes):
                self.refused(attributes, *words)
