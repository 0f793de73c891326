# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a client counts, by a scenario for each count."""

import gc
import math
import random
import sys
import threading
import time
from collections import Counter
from functools import partial

from p01.memcache.tests.contract.matrix import CLASSIC_EMBEDDED
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.matrix import POOLED_FAKE
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import until


@matrix(CLASSIC_EMBEDDED, CLASSIC_FAKE, POOLED_EMBEDDED, POOLED_FAKE)
class CountsScenario:

    def setUp(self):
        super().setUp()
        # The former one has emptied the server.
        self.client = self.makeClient()

    def counts(self):
        counts = self.client.getCounts()
        return {name: number for name, number in counts.items()
                if number and name != 'seconds' and 'bytes' not in name}

    def test_nothing(self):
        self.assertEqual(self.counts(), {})

    def test_reads(self):
        self.client.set('key', 'value')
        self.client.query('key')
        self.client.gets('key')
        self.client.query('missing')
        self.client.queryMany(['key', 'missing', 'other'])
        self.assertEqual(self.counts(), {'stored': 1, 'hits': 3, 'misses': 3})

    def test_bytes(self):
        self.client.set('key', b'12345', raw=True)
        self.client.query('key', raw=True)
        self.client.queryMany(['key'], raw=True)
        counts = self.client.getCounts()
        self.assertEqual(
            (counts['bytesStored'], counts['bytesRead']), (5, 10))

    def test_computed(self):
        for _ in range(3):
            self.client.getOrCreate('key', lambda: 'value')
        self.assertEqual(self.counts(), {
            'misses': 1, 'computed': 1, 'stored': 1, 'hits': 2})

    def test_many_computed(self):
        for keys in (['a', 'b'], ['a', 'b', 'c']):
            self.client.getOrCreateMany(keys, dict.fromkeys)
        self.assertEqual(self.counts(), {
            'misses': 3, 'computed': 3, 'stored': 3, 'hits': 2})

    def test_a_factory_that_raises(self):
        """It was called, and the look for the value took its time."""
        for create, argument in ((self.client.getOrCreate, 'key'),
                                 (self.client.getOrCreateMany, ['key'])):
            def fail(*args):
                time.sleep(0.02)
                raise ZeroDivisionError
            before = self.client.getCounts()
            with self.assertRaises(ZeroDivisionError):
                create(argument, fail)
            after = self.client.getCounts()
            with self.subTest(create.__name__):
                self.assertEqual(after['computed'] - before['computed'], 1)
                times = after['seconds'][create.__name__]
                self.assertEqual(times['count'], 1)
                # Without that of the factory.
                self.assertLess(times['sum'], 0.02)

    def test_stale(self):
        get = partial(
            self.client.getOrCreate, 'key', lifetime=1, grace=60)
        get(lambda: 'old')
        lookUp = partial(
            self.client.lookUp, 'key', lifetime=1, grace=60)
        found = []

        def is_over():
            found.append(lookUp())
            return not found[-1].isHit

        # The right to renew it is ours, then.
        until(is_over)
        hits = len(found) - 1
        self.assertEqual(self.counts(), {
            'misses': 2, 'computed': 2, 'stored': 1,
            **({'hits': hits} if hits else {})})
        self.assertEqual(get(lambda: 'new'), 'old')
        self.assertEqual(lookUp().value, 'old')
        self.assertEqual(self.client.getOrCreateMany(
            ['key'], dict.fromkeys, lifetime=1, grace=60), {'key': 'old'})
        found[-1].store('new')
        self.assertEqual(get(lambda: 'newer'), 'new')
        self.assertEqual(self.counts(), {
            'misses': 2, 'computed': 2, 'stored': 2, 'hits': hits + 4,
            'stale': 3})

    def test_unreadable(self):
        """Its bytes do not count, however it was looked for."""
        self.client.set('key', 'a pickle')
        other = self.makeClient(serializer='json')
        other.query('key')
        other.getOrCreate('key', lambda: 'new')
        self.assertEqual(other.getCounts()['bytesRead'], 0)

    def test_too_large(self):
        """It is refused, by the same numbers for one and for many."""
        self.client.maxValueSize = 100
        value = b'x' * 200
        for operation in (lambda: self.client.set('key', value),
                          lambda: self.client.setMany({'key': value}),
                          lambda: self.client.replace('key', value)):
            client = self.makeClient(maxValueSize=100)
            self.client = client
            operation()
            self.assertEqual(self.counts(), {
                'refused': 1, 'errors': {'ValueTooLarge': 1}})
            [(_, times)] = client.getCounts()['seconds'].items()
            self.assertEqual(times['count'], 1)

    def test_changes(self):
        self.assertEqual(self.client.setMany({'a': 1, 'b': 2}), [])
        self.assertTrue(self.client.add('c', 3))
        self.assertFalse(self.client.add('c', 3))
        self.client.invalidate('a')
        self.client.invalidateMany(['b', 'c'])
        self.assertEqual(self.counts(), {'stored': 3, 'invalidated': 3})

    def test_regions_are_apart(self):
        region = self.client.region('menus')
        region.set('key', 1)
        self.client.region('menus').query('key')
        self.assertEqual(self.counts(), {})
        self.assertEqual(self.client.getRegions(), [('menus', region)])
        counts = region.getCounts()
        self.assertEqual((counts['stored'], counts['hits']), (1, 1))

    def test_many_threads_make_a_region(self):
        """They count together, also if none of them was the first."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.addCleanup(sys.setswitchinterval, interval)
        for number in range(200):
            regions = at_once(
                lambda _, name=str(number): self.client.region(name),
                range(8))
            regions[0].query('key')
            for region in regions:
                self.assertEqual(region.getCounts()['misses'], 1)

    def test_a_region_within_one(self):
        outer = self.client.region('menus')
        inner = self.client.region('menus').region('top')
        inner.query('key')
        same = self.client.region('menus').region('top')
        self.assertEqual(same.getCounts()['misses'], 1)
        self.assertEqual(outer.getCounts()['misses'], 0)
        # Whichever client it is a region of.
        self.assertEqual(self.client.getRegions(), [('menus', outer)])
        self.assertEqual(outer.getRegions(), [('top', inner)])

    def test_a_region_that_is_dropped_and_made_again(self):
        region = self.client.region('menus')
        region.query('key')
        del region
        gc.collect()
        self.assertEqual(self.client.getRegions(), [])
        region = self.client.region('menus')
        self.assertEqual(region.getCounts()['misses'], 0)
        region.query('key')
        self.assertEqual(region.getCounts()['misses'], 1)

    def test_seconds(self):
        for _ in range(5):
            self.client.query('key')
        times = self.client.getCounts()['seconds']['query']
        self.assertEqual((times['count'], times['buckets'][math.inf]), (5, 5))
        self.assertGreater(times['sum'], 0)
        numbers = list(times['buckets'].values())
        self.assertEqual(numbers, sorted(numbers))

    def test_slow(self):
        self.client.slow = 0
        with self.assertLogs('p01.memcache', 'WARNING') as log:
            self.client.query('key')
        self.assertIn('memcache query, key ', log.output[0])
        [slowest] = self.client.getSlowest()
        self.assertEqual(
            (slowest['command'], slowest['key']),
            ('query', self.client.buildKey('key')))
        self.client.slow = None
        self.client.query('key')
        self.assertEqual(self.client.getCounts()['slow'], 1)

    def test_threads(self):
        """No count is lost, however many threads count at the same time."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.addCleanup(sys.setswitchinterval, interval)
        self.client.set('key', 'value')
        for count in 1, 8, 64:
            times = 640 // count
            before = self.client.getCounts()

            def use(times=times):
                for _ in range(times):
                    self.client.query('key')
                    self.client.query('missing')

            threads = [threading.Thread(target=use) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            after = self.client.getCounts()
            with self.subTest(threads=count):
                for name in 'hits', 'misses':
                    self.assertEqual(
                        after[name] - before[name], count * times)
                self.assertEqual(
                    after['seconds']['query']['count']
                    - before['seconds'].get('query', {}).get('count', 0),
                    2 * count * times)

    def test_threads_that_compute(self):
        """Each key is a hit or a miss, and each miss is computed, or waited
        for.
        """
        keys, asked, computed = 'abcdef', Counter(), Counter()
        other = self.makeClient()

        def use(number):
            chance = random.Random(number)
            client = (self.client, other)[number % 2]

            def compute(keys):
                computed[number] += len(keys)
                time.sleep(chance.random() / 500)
                return dict.fromkeys(keys)

            for _ in range(60):
                key, some = chance.choice(keys), chance.sample(keys, 4)
                options = chance.choice(
                    [{}, {'grace': 5}, {'dependencies': ['x']}])
                kind = chance.random()
                if kind < 0.4:
                    client.getOrCreate(key, partial(compute, [key]), **options)
                    asked[number] += 1
                elif kind < 0.7:
                    client.getOrCreateMany(some, compute, **options)
                    asked[number] += 4
                elif kind < 0.8:
                    found = client.lookUp(key, **options)
                    asked[number] += 1
                    if not found.isHit:
                        compute([key])
                        found.release()
                elif kind < 0.95:
                    client.invalidate(key)
                else:
                    client.invalidateDependencies('x')

        at_once(use, range(16))
        counts = Counter()
        for client in self.client, other:
            counts.update({
                name: number for name, number in client.getCounts().items()
                if isinstance(number, int)})
        self.assertEqual(counts['hits'] + counts['misses'], asked.total())
        self.assertEqual(counts['computed'], computed.total())
        self.assertEqual(
            counts['computed'] + counts['waited'], counts['misses'])
        self.assertLessEqual(counts['stored'], counts['computed'])

    def test_history(self):
        self.client.query('key')
        [(ago, *numbers)] = self.client.getHistory()
        self.assertEqual(numbers, [0, 1, 0])
        self.assertLess(ago, 10)
