# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Compressed values, and values that are larger than allowed.

The scenarios are run for the fakes and the real clients, on the embedded
server and (level 2) on memcached.
"""

import contextlib
import os
import pickle
import random
import struct
import time
import tracemalloc
import unittest
import zlib
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import all_but
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values import compression
from p01.memcache.values.codec import Codec
from p01.memcache.values.compression import decompress
from p01.memcache.values.pickles import PickleSerializer
from p01.memcache.values.signing import Signer


try:
    import zstandard
except ImportError:
    zstandard = None

ZLIB = 1 << 9
ZSTD = 1 << 10
JSON = 1 << 11

KIB = 1 << 10
MIB = 1 << 20

VALUE = 'value ' * 100
PICKLE = pickle.dumps(VALUE, -1)
WAYS = ['set', 'add', 'replace', 'cas', 'setMany']
RAW_WAYS = ['append', 'prepend']

SECRETS = 'P01_MEMCACHE_TEST_COMPRESSED_SECRETS'

NOISE = random.Random(5).randbytes(2000)

needs_zstandard = unittest.skipUnless(zstandard, 'zstandard is not installed')


def zlib_bomb(mebibytes):
    """Return that many zeros, compressed, without compressing them."""
    stream = zlib.compressobj(9, wbits=-15)
    block = stream.compress(bytes(MIB)) + stream.flush(zlib.Z_FULL_FLUSH)
    return b'\x78\x01' + block * mebibytes + b'\x03\0' + bytes(4)


def zstd_bomb(mebibytes, size=None):
    """Return such a bomb for zstandard; ``size`` is what it declares."""
    window = b'\x50'  # 1 MiB
    head = b'\x28\xb5\x2f\xfd' + (
        b'\0' + window if size is None else
        b'\xc0' + window + struct.pack('<Q', size))
    # Blocks of 128 KiB that repeat one byte.
    blocks = 8 * mebibytes
    return head + b''.join(
        struct.pack('<I', 128 * KIB << 3 | 1 << 1 | (number == blocks - 1)
                    )[:3] + b'\0' for number in range(blocks))


@matrix(CLASSIC_FAKE, slow=all_but(CLASSIC_FAKE))
class CompressedScenario(Scenario):

    def kinds(self):
        """Yield the flag of each compression, while the client uses it."""
        if zstandard is not None:
            yield ZSTD
        with mock.patch.object(compression, 'zstandard', None):
            yield ZLIB

    def test_from_which_size_on(self):
        for kind in self.kinds():
            for threshold, flags in [
                    (1, kind), (len(PICKLE) - 1, kind), (len(PICKLE), kind),
                    (len(PICKLE) + 1, 0), (10 ** 6, 0), (None, 0)]:
                with self.subTest(kind=kind, threshold=threshold):
                    client = self.makeClient(compress=threshold)
                    built = client.set('key', VALUE)
                    data, found = self.stored(built)
                    self.assertEqual(found, flags)
                    if flags:
                        self.assertLess(len(data), 100)
                    else:
                        self.assertEqual(data, PICKLE)
                    self.assertFound(client, 'key', VALUE)
                    self.assertFoundRaw(client, 'key', PICKLE)

    def test_incompressible_values(self):
        client = self.makeClient(compress=1)
        for _ in self.kinds():
            for value in NOISE, '', None, 1, b'x':
                built = client.set('key', value)
                self.assertEqual(
                    self.stored(built), (pickle.dumps(value, -1), 0))
                self.assertFound(client, 'key', value)

    def test_every_way_to_store(self):
        client = self.makeClient(compress=100)
        for kind in self.kinds():
            client.invalidateAll()
            self.assertIs(client.add('key', VALUE), True)
            self.assertIs(client.replace('key', VALUE * 2), True)
            self.assertIs(
                client.cas('key', VALUE * 3, client.gets('key')[1]), True)
            self.assertEqual(
                client.setMany({'one': VALUE, 'two': 'short'}), [])
            client.getOrCreate('made', lambda: VALUE, grace=60)
            self.assertFound(client, 'key', VALUE * 3)
            self.assertFound(client, 'one', VALUE)
            self.assertFound(client, 'two', 'short')
            self.assertFound(client, 'made', VALUE)
            self.assertEqual(client.getOrCreate('made', self.fail, grace=60),
                             VALUE)
            for key, flags in [('key', kind), ('one', kind), ('two', 0),
                               ('made', kind | 1 << 6)]:
                self.assertEqual(
                    self.stored(client.buildKey(key))[1], flags)

    def test_raw_values_are_not_compressed(self):
        client = self.makeClient(compress=1)
        built = client.set('key', b'x' * 5000, raw=True)
        self.assertEqual(self.stored(built), (b'x' * 5000, 0))
        self.assertIs(client.append('key', b'y' * 5000), True)
        self.assertFoundRaw(client, 'key', b'x' * 5000 + b'y' * 5000)
        client.set('key', b'5', raw=True)
        self.assertEqual(client.increment('key'), 6)

    def test_other_clients(self):
        for kind in self.kinds():
            for serializer, flags in ('pickle', kind), ('json', kind | JSON):
                built = self.makeClient(
                    compress=1, serializer=serializer).set('key', VALUE)
                self.assertEqual(self.stored(built)[1], flags)
                plain = self.makeClient(serializer=serializer)
                self.assertFound(plain, 'key', VALUE)
                for other in self.kinds():
                    if kind == ZSTD and other == ZLIB:
                        self.assertUnreadable(
                            plain, 'key', 'UnreadableValue',
                            'needs zstandard, the extra "zstd"')
                        self.assertEqual(plain.getOrCreate(
                            'key', lambda: 'anew'), 'anew')
                        self.assertFound(plain, 'key', 'anew')
                    else:
                        self.assertFound(plain, 'key', VALUE)

    def test_broken(self):
        client = self.makeClient(compress=1)
        for kind in self.kinds():
            built = client.set('key', VALUE)
            data, flags = self.stored(built)
            self.assertEqual(flags, kind)
            for wrong in (
                    b'', b'x', data[:-1], data[1:], data[:5], data + b'\0',
                    data + data, PICKLE, data[:10] + b'\xff' + data[11:]):
                with self.subTest(kind=kind, wrong=wrong):
                    self.plant(built, wrong, flags)
                    self.assertUnreadable(
                        client, 'key', 'UnreadableValue', 'zlib:|zstd:')
            # The other flags tell how the decompressed data is read.
            for wrong in (flags | 1, flags | JSON, ZLIB | ZSTD, flags | 1 << 8,
                          flags | 1 << 16):
                self.plant(built, data, wrong)
                self.assertUnreadable(
                    client, 'key', 'UnreadableValue', 'flags|zlib:',
                    raw=wrong != flags | JSON)
            self.plant(built, zlib.compress(b'garbage'), ZLIB)
            self.assertUnreadable(
                client, 'key', 'UnreadableValue', 'UnpicklingError', raw=False)
            self.assertEqual(client.getOrCreate('key', lambda: 1), 1)
            self.assertFound(client, 'key', 1)

    def test_compressed_twice(self):
        # We compress once; reading more could go on for ever.
        for kind, data in [(ZLIB, zlib.compress(zlib.compress(PICKLE)))]:
            for flags in kind, ZLIB | ZSTD:
                self.plant(self.client.buildKey('key'), data, flags)
                self.assertEqual(
                    self.client.query('key', default=MISSING), MISSING)

    def test_bombs(self):
        client = self.makeClient(maxValueSize=MIB)
        built = client.buildKey('key')
        bombs = [(ZLIB, zlib_bomb(64))]
        if zstandard is not None:
            bombs += [
                (ZSTD, zstd_bomb(1024, size))
                for size in (None, 0, 1, MIB, 1 << 30, 1 << 62)]
        for kind, data in bombs:
            self.plant(built, data, kind)
            start = time.monotonic()
            for flags in kind, kind | JSON:
                self.plant(built, data, flags)
                self.assertEqual([*self.reads(client, 'key')], [MISSING] * 4)
                self.assertEqual(
                    [*self.rawReads(client, 'key')], [MISSING] * 4)
            self.assertLess(time.monotonic() - start, PATIENCE)
        self.assertEqual(
            sum(client.getUnreadable().values()), 16 * len(bombs))
        self.assertEqual(client.getOrCreate('key', lambda: 1), 1)
        self.assertFound(client, 'key', 1)

    # Sizes

    def store(self, client, how, value, raw):
        if how == 'cas':
            token = client.gets('key', raw=True)[1]
            return client.cas('key', value, token, raw=raw)
        if how == 'setMany':
            return client.setMany(
                {'before': b'b', 'key': value, 'after': b'a'}, raw=raw)
        if how in ('append', 'prepend'):
            return getattr(client, how)('key', value)
        return getattr(client, how)('key', value, raw=raw)

    def ways(self, client, value, raw=False):
        """Store the value in each way, and yield what that returns.
        """
        for how in WAYS + RAW_WAYS if raw else WAYS:
            client.set('key', b'', raw=True)
            yield how, lambda how=how: self.store(client, how, value, raw)

    def assertRefused(self, client, value, size, raw=False):
        for how, store in self.ways(client, value, raw):
            with self.subTest(how=how, raw=raw):
                with self.assertLogs('p01.memcache') as log:
                    self.assertEqual(
                        store(), ['key'] if how == 'setMany' else None)
                [record] = log.records
                message = record.getMessage()
                self.assertIn(client.buildKey('key'), message)
                self.assertIn(f'{size} bytes', message)
                self.assertIn(f'maxValueSize {size - 1}', message)
                if how in ('set', 'setMany', 'replace'):
                    self.assertMiss(client, 'key')
                else:
                    # Only if it was not replaced does the token still fit.
                    self.assertFoundRaw(client, 'key', b'')
        self.assertEqual(client.getUnreadable(), {})

    def test_too_large_to_be_stored(self):
        size = len(PICKLE)
        for settings in {}, {'compress': 1}:
            client = self.makeClient(maxValueSize=size - 1, **settings)
            self.assertRefused(client, VALUE, size)
            self.assertRefused(client, b'x' * size, size, raw=True)
            self.assertEqual(
                client.queryMany(['before', 'after'], raw=True),
                {'before': b'b', 'after': b'a'})
            client.set('key', 'x' * 10)
            self.assertFound(client, 'key', 'x' * 10)

    def test_too_large_for_json(self):
        client = self.makeClient(maxValueSize=99, serializer='json')
        client.set('key', 'x' * 97)
        self.assertFound(client, 'key', 'x' * 97)
        with self.assertLogs('p01.memcache') as log:
            self.assertIsNone(client.set('key', 'x' * 98))
        self.assertIn('100 bytes are more than maxValueSize 99', log.output[0])
        self.assertMiss(client, 'key')

    def test_as_large_as_allowed(self):
        size = len(PICKLE)
        for settings in {}, {'compress': 1}:
            client = self.makeClient(maxValueSize=size, **settings)
            for raw, value in (False, VALUE), (True, b'x' * size):
                for how, store in self.ways(client, value, raw):
                    with self.subTest(how=how, raw=raw, **settings):
                        if how == 'add':
                            client.invalidate('key')
                        self.assertEqual(store(), {
                            'set': client.buildKey('key'), 'setMany': []
                        }.get(how, True))
                        if raw:
                            self.assertFoundRaw(client, 'key', value)
                        else:
                            self.assertFound(client, 'key', value)

    def test_too_large_to_be_read(self):
        size = len(PICKLE)
        for _ in self.kinds():
            for threshold in None, 1:
                client = self.makeClient(compress=threshold)
                client.set('key', VALUE)
                client.maxValueSize = size
                self.assertFound(client, 'key', VALUE)
                self.assertFoundRaw(client, 'key', PICKLE)
                client.maxValueSize = size - 1
                reason = f'maxValueSize {size - 1}'
                self.assertUnreadable(client, 'key', 'ValueTooLarge', reason)
                self.assertEqual(client.getOrCreate('key', lambda: 1), 1)
                self.assertFound(client, 'key', 1)

    def test_far_too_large_to_be_received(self):
        client = self.makeClient(maxValueSize=1000)
        client.setMany({'one': 1, 'two': 2})
        reason = '60000 bytes are more than maxValueSize 1000'
        keys = ['large', 'larger', 'one', 'none', 'two']
        for flags in 0, ZLIB, ZSTD, JSON, 1 << 6, 1 << 8, 1 << 8 | 1 << 6:
            with self.subTest(flags=flags):
                for key in 'large', 'larger':
                    self.plant(client.buildKey(key), b'x' * 60000, flags)
                self.assertUnreadable(client, 'large', 'ValueTooLarge', reason)
                # The value that follows one is read all the same.
                for order in keys, keys[::-1]:
                    self.assertEqual(
                        client.queryMany(order), {'one': 1, 'two': 2})
                self.assertEqual(client.getOrCreate('large', lambda: 1), 1)
                self.assertFound(client, 'large', 1)

    def test_many_that_are_too_large(self):
        # Each costs a connection. After too many, all others are misses.
        client = self.makeClient(maxValueSize=1000)
        keys = [f'large {number}' for number in range(50)]
        for key in keys:
            self.plant(client.buildKey(key), b'x' * 60000)
        client.setMany({'one': 1, 'two': 2})
        found = client.queryMany([*keys, 'one', 'two'])
        self.assertLessEqual(set(found), {'one', 'two'})
        self.assertLessEqual(client.getUnreadable()['ValueTooLarge'], 11)
        self.assertFound(client, 'one', 1)

    def test_the_largest_that_is_received(self):
        # With all that may precede the value.
        os.environ[SECRETS] = os.urandom(32).hex()
        self.addCleanup(os.environ.pop, SECRETS, None)
        value = 'x' * 10000
        client = self.makeClient(
            serializer='signed-json', secretsVariable=SECRETS,
            keyScheme='strict', maxValueSize=len(value) + 2)
        names = [f'name {number}' for number in range(100)]
        self.assertIsNotNone(client.set('key', value, dependencies=names))
        self.assertFound(client, 'key', value)
        client.invalidate('key')
        for _ in range(2):
            self.assertEqual(client.getOrCreate(
                'key', lambda: value, grace=60, dependencies=names), value)
        self.assertFound(client, 'key', value)

    def test_the_size_is_checked_before_the_signature(self):
        os.environ[SECRETS] = os.urandom(32).hex()
        self.addCleanup(os.environ.pop, SECRETS, None)
        client = self.makeClient(
            serializer='signed-pickle', secretsVariable=SECRETS,
            maxValueSize=100)
        verify = self.spy(Signer, 'verify')
        self.plant(client.buildKey('key'), b'\1' + b'x' * 60000, 1 << 8)
        self.assertUnreadable(client, 'key', 'ValueTooLarge', '60001 bytes')
        verify.assert_not_called()

    def test_it_becomes_too_large(self):
        client = self.makeClient(maxValueSize=10)
        client.set('key', b'x' * 10, raw=True)
        self.assertFoundRaw(client, 'key', b'x' * 10)
        self.assertIs(client.append('key', b'y'), True)
        self.assertFoundRaw(client, 'key', MISSING)
        self.assertEqual(client.getUnreadable(), {'ValueTooLarge': 4})

    def test_too_large_to_be_created(self):
        client = self.makeClient(maxValueSize=1000)
        other = self.makeClient()
        large = 'x' * 1000
        for settings in {}, {'grace': 60}, {'dependencies': ['one']}:
            with self.subTest(**settings):
                start = time.monotonic()
                for _ in range(3):
                    with self.assertLogs('p01.memcache') as log:
                        self.assertIs(client.getOrCreate(
                            'key', lambda: large, **settings), large)
                    self.assertRegex(
                        log.output[0], r'10\d\d bytes .* maxValueSize 1000')
                self.assertMiss(client, 'key')
                self.assertEqual(
                    other.getOrCreate('key', lambda: 'theirs', **settings),
                    'theirs')
                # No caller has waited for another.
                self.assertLess(time.monotonic() - start, 1)
                self.assertEqual(
                    client.getOrCreate('key', self.fail, **settings),
                    'theirs')
                client.invalidate('key')

    def test_attributes(self):
        for name, wrong in [
                ('compress', 0), ('compress', -1), ('maxValueSize', 0),
                ('maxValueSize', (1 << 30) + 1)]:
            with self.assertRaisesRegex(ValueError, name):
                self.makeClient(**{name: wrong})
        client = self.makeClient(maxValueSize=1 << 30)
        built = client.set('key', VALUE)
        self.assertEqual(self.stored(built)[1], 0)
        client.compress = 1
        client.set('key', VALUE)
        self.assertIn(self.stored(built)[1], (ZLIB, ZSTD))


@matrix(slow=all_but(CLASSIC_FAKE))
class GraceScenario(Scenario):
    """These tests take time: a lifetime has to end."""

    def test_too_large_to_be_renewed(self):
        client = self.makeClient(maxValueSize=1000)
        other = self.makeClient()

        def create(factory, client=client):
            return client.getOrCreate('key', factory, lifetime=1, grace=60)

        self.assertEqual(create(lambda: 'old'), 'old')
        large, end = 'x' * 1000, soon()
        while create(lambda: large) == 'old':
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        # Neither the old value nor a claim is left.
        self.assertMiss(client, 'key')
        start = time.monotonic()
        self.assertEqual(create(lambda: large), large)
        self.assertEqual(create(lambda: 'new', other), 'new')
        self.assertEqual(create(self.fail), 'new')
        self.assertLess(time.monotonic() - start, 1)


class BombTest(unittest.TestCase):
    """Without a client: of 1 GiB, no more than allowed is decompressed."""

    cap = MIB

    def assertRefused(self, data, flags, error=UnreadableValue):
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        start = time.monotonic()
        with self.assertRaises(error):
            decompress(data, flags, self.cap)
        self.assertLess(time.monotonic() - start, 1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(peak, 4 * self.cap)

    def test_zlib(self):
        self.assertRefused(zlib_bomb(1024), ZLIB, ValueTooLarge)

    @needs_zstandard
    def test_zstandard(self):
        for size in None, 0, 1, 1000, MIB, MIB - 1:
            self.assertRefused(zstd_bomb(1024, size), ZSTD)
        for size in MIB + 1, 1 << 30, 1 << 40, (1 << 64) - 3:
            for count in 1, 1024:
                self.assertRefused(zstd_bomb(count, size), ZSTD, ValueTooLarge)

    @needs_zstandard
    def test_the_bombs_are_real(self):
        self.assertEqual(
            # Its checksum is wrong, but is read too late.
            zlib.decompressobj().decompress(zlib_bomb(3), 3 * MIB - 1),
            bytes(3 * MIB - 1))
        for size in None, 3 * MIB:
            self.assertEqual(zstandard.ZstdDecompressor().decompress(
                zstd_bomb(3, size), 4 * MIB), bytes(3 * MIB))
        self.assertEqual(
            decompress(zstd_bomb(1, MIB), ZSTD, self.cap), (bytes(MIB), 0))

    @needs_zstandard
    def test_a_size_that_is_a_lie(self):
        data = zstd_bomb(1, MIB)
        for size in 0, 1, MIB - 1, MIB + 1, 2 * MIB:
            lie = zstd_bomb(1, size)
            self.assertEqual(len(lie), len(data))
            with self.assertRaises(UnreadableValue):
                decompress(lie, ZSTD, 4 * MIB)

    @needs_zstandard
    def test_a_window_that_is_large(self):
        # Its memory would be allocated before anything is decompressed.
        for exponent in 17, 21, 31:
            data = bytearray(zstd_bomb(1, MIB))
            data[5] = (exponent << 3) & 0xff
            with contextlib.suppress(UnreadableValue):
                tracemalloc.start()
                self.addCleanup(tracemalloc.stop)
                decompress(bytes(data), ZSTD, self.cap)
            self.assertLess(
                tracemalloc.get_traced_memory()[1], 4 * self.cap)
            tracemalloc.stop()

    @needs_zstandard
    def test_trailing_data(self):
        codec = Codec(PickleSerializer(), self.cap, 1)
        data, flags = codec.dumps(b'key', VALUE, raw=False)
        stream = zstandard.ZstdCompressor().compressobj()
        unsized = stream.compress(PICKLE) + stream.flush()
        skipped = b'\x50\x2a\x4d\x18\x04\0\0\0skip'
        empty = zstandard.ZstdCompressor().compress(b'')
        for wrong in (data + b'\0', data + data, skipped + data,
                      data + skipped, unsized, unsized + b'x',
                      unsized + unsized, empty, empty + b'x', empty + data):
            with (self.subTest(wrong=wrong),
                  self.assertRaises(UnreadableValue)):
                codec.loads(b'key', wrong, flags, raw=False)
        self.assertEqual(
            codec.loads(b'key', data, flags, raw=False), VALUE)

    def test_levels(self):
        # Several threads at once: they share no state.
        codec = Codec(PickleSerializer(), self.cap, 1)

        def work(number):
            value = f'{number} ' * 1000
            data, flags = codec.dumps(b'key', value, raw=False)
            return flags and codec.loads(
                b'key', data, flags, raw=False) == value

        with ThreadPoolExecutor(8) as executor:
            self.assertEqual(set(executor.map(work, range(200))), {True})


class AnnouncedTest(unittest.TestCase):
    """A server that announces more than a value may have."""

    size = 1 << 29
    block = bytes(MIB)

    def answer(self, request):
        command, *words = request.split()
        if command == b'mn':
            return b'MN\r\n'
        if command == b'delete':
            return b'DELETED\r\n'
        key = words[-1] if command == b'gat' else words[0]
        line = b'VALUE %b 0 %d' % (key, self.size)
        if command == b'gets':
            line += b' 7'
        elif command == b'mg':
            line = b'VA %d f0 c7 k%b' % (self.size, key)
        return [(line + b'\r\n', 0)] + [(self.block, 0.01)] * 1000

    def test_it_is_not_received(self):
        keep_quiet(self)
        for factory in MemcacheClient, UltraMemcacheClient:
            with ScriptedServer(default=self.answer) as server:
                client = factory([server.address])
                self.addCleanup(client.close)
                for number, read in enumerate((
                        client.query, client.gets, client.queryAndTouch,
                        lambda key, client=client, **raw: client.queryMany(
                            [key], **raw))):
                    for raw in False, True:
                        with self.subTest(factory, raw=raw, read=number):
                            self.assertIn(
                                self.cheap(server, read, 'key', raw=raw),
                                (None, (None, None), {}))
                            self.assertTrue(
                                server.wait(lambda s=server: not s.current))
                self.assertEqual(
                    self.cheap(server, client.getOrCreate, 'key', str), '')
                # It is a miss, but not a failure of the server.
                self.assertEqual(
                    client.getUnreadable(), {'ValueTooLarge': 17})
                if factory is UltraMemcacheClient:
                    self.assertEqual(
                        client._state.store.servers[0].health.state, 'up')

    def cheap(self, server, read, *args, **kw):
        """Return what `read` returns; it takes little time and memory."""
        opened, began = server.opened, time.monotonic()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before = tracemalloc.get_traced_memory()[0]
        found = read(*args, **kw)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        # This process also runs the server.
        self.assertLess(peak, 4 * MIB)
        self.assertLess(time.monotonic() - began, 1)
        self.assertLessEqual(server.opened - opened, 12)
        return found
