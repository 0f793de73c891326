# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What Prometheus and OpenTelemetry read of clients, whatever these say."""

import gc
import itertools
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import zope.component
import zope.component.testing
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics import parser as strict
from prometheus_client.parser import text_string_to_metric_families as parse

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.log import printable
from p01.memcache.metrics.opentelemetry import instrument
from p01.memcache.metrics.prometheus import MemcacheCollector
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.tests.operation import scenes
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


def samples(*args, **options):
    """Return ``{(name, label value, ...): value}`` of a scrape."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(MemcacheCollector(*args, **options))
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))):
        sample.value for family in parse(generate_latest(registry).decode())
        for sample in family.samples}


# A process that shows what it counts.
ALONE = '''
from prometheus_client import CollectorRegistry
from p01.memcache.metrics.prometheus import MemcacheCollector
from p01.memcache.testing import FakeUltraMemcacheClient
client = FakeUltraMemcacheClient()
client.query('key')
registry = CollectorRegistry()
registry.register(MemcacheCollector({'': client}))
print(registry.get_sample_value('memcache_client_lookups_total', {
    'client': '', 'region': '', 'result': 'miss'}))
'''


class Broken(scenes.Pooled):
    """A client that cannot tell anything."""

    def getCounts(self):
        raise RuntimeError('not now')

    getServers = getRegions = getStatistics = getCounts


class PrometheusTest(unittest.TestCase):

    def test_counts(self):
        found = samples(scenes.outage())
        for (name, *labels), value in {
                # client, region, result
                ('lookups_total', 'sessions', '', 'miss'): 4376,
                ('lookups_total', '', 'prices', 'hit'): 900,
                # client, kind, region
                ('errors_total', '', 'ServerDown', ''): 219,
                ('timeouts_total', '', ''): 9,
                ('stored_bytes_total', '', ''): 91_234_567,
                ('slow_operations_total', '', ''): 2,
                }.items():
            self.assertEqual(
                found['memcache_client_' + name, *labels], value, name)

    def test_errors_begin_with_a_zero(self):
        found = samples(scenes.well())
        for name, *kinds in (
                ('errors', 'ConnectError', 'ConnectTimeout', 'ReceiveTimeout',
                 'SendTimeout', 'ServerDown'),
                ('unreadable_values', 'ForbiddenGlobal', 'ForgedValue')):
            for kind in kinds:
                self.assertEqual(found[
                    f'memcache_client_{name}_total', '', kind, ''], 0)
        self.assertEqual(found['memcache_client_timeouts_total', '', ''], 0)

    def test_servers(self):
        found = samples(scenes.outage())
        self.assertEqual(
            {(server, state): value for (name, _, server, state), value in
             ((key, value) for key, value in found.items()
              if key[0] == 'memcache_client_server_state') if value},
            {('cache1:11211', 'up'): 1, ('cache2:11211', 'down'): 1,
             ('cache3:11211', 'up'): 1})
        for name, value in (
                ('broken_connections_total', 3), ('owed_invalidations', 210),
                ('owed_flush', 0)):
            self.assertEqual(
                found['memcache_client_' + name, '', 'cache2:11211'], value)

    def test_more_is_owed_than_is_known(self):
        client = scenes.Pooled([scenes.server('cache1:11211', owed=-1)])
        found = samples({'': client})
        name = 'memcache_client_owed'
        self.assertEqual(
            found[f'{name}_invalidations', '', 'cache1:11211'], 0)
        self.assertEqual(found[f'{name}_flush', '', 'cache1:11211'], 1)

    def test_durations(self):
        found = samples(scenes.well())
        name = 'memcache_client_operation_duration_seconds'
        buckets = sorted(
            (float(key[3]), value) for key, value in found.items()
            if key[0] == f'{name}_bucket' and key[2] == 'set')
        self.assertEqual([bound for bound, _ in buckets],
                         list(scenes.BOUNDS))
        self.assertEqual(buckets[-1], (math.inf, 8123))
        self.assertEqual(buckets, sorted(buckets, key=lambda pair: pair[1]))
        self.assertEqual(found[f'{name}_count', '', 'set', ''], 8123)
        self.assertAlmostEqual(
            found[f'{name}_sum', '', 'set', ''], 8123 * 0.0004)

    def test_regions_of_the_same_name(self):
        # Prometheus refuses all of a scrape that has a series twice.
        region = {'history': [(5.0, 30, 10, 0)],
                  'seconds': {'query': scenes.seconds(40)}}
        found = samples({'': scenes.Pooled(regions=[
            ('a', scenes.Pooled(**region)), ('a', scenes.Pooled(
                **region, regions=[('b', scenes.Pooled(**region))]))])})
        name = 'memcache_client_lookups_total'
        self.assertEqual(found[name, '', 'a', 'hit'], 60)
        self.assertEqual(found[name, '', 'a/b', 'hit'], 30)
        name = 'memcache_client_operation_duration_seconds_count'
        self.assertEqual(found[name, '', 'query', 'a'], 80)

    def test_conventions(self):
        # What is strict about names, units, types and duplicates.
        for scene in scenes.outage, scenes.hostile, scenes.nothing:
            registry = CollectorRegistry()
            registry.register(MemcacheCollector(scene(), statistics=True))
            families = list(strict.text_string_to_metric_families(
                exposition.generate_latest(registry).decode()))
            self.assertGreater(len(families), 20)
            for family in families:
                self.assertTrue(family.documentation.endswith('.')
                                or 'this scrape' in family.documentation
                                or ', else 0' in family.documentation)
                self.assertTrue(family.name.startswith('memcache_'))
                self.assertTrue(family.name.endswith(family.unit))

    def test_hostile(self):
        found = samples({'a\n"\\\udcff': scenes.Pooled(
            [scenes.server('b\nfake_metric 1')])}, statistics=True)
        self.assertNotIn(('fake_metric',), found)
        self.assertIn('b\\nfake_metric 1', {key[2] for key in found
                                            if len(key) > 2})
        self.assertEqual(samples(scenes.hostile(), statistics=True)[
            'memcache_client_errors_total', ascii(scenes.HOSTILE)[1:-1],
            scenes.HOSTILE, ''], 1)

    def test_hostile_names(self):
        """Of a real client: whatever they are, each is one label."""
        with EmbeddedServer() as server:
            names = ['a\n"\\', 'b\x00', 'c{d="e"} 1 # EOF', 'x' * 10 ** 6,
                     '\u2028', 'a\\n', ' ', 'le="1"']
            clients = {name: UltraMemcacheClient([server.address])
                       for name in [*names, '\udcff']}
            regions = [clients[''.join(names[:1])].region(name)
                       for name in names]
            for region in regions:
                region.query('secret key')
                region.getOrCreate('secret key', str)
            registry = CollectorRegistry()
            registry.register(MemcacheCollector(clients, statistics=True))
            text = exposition.generate_latest(registry).decode()
            self.assertNotIn('secret', text)
            self.assertNotIn(regions[0].buildKey('secret key'), text)
            [lookups] = [family for family in
                         strict.text_string_to_metric_families(text)
                         if family.name == 'memcache_client_lookups']
            self.assertEqual(
                {sample.labels['region']: sample.value
                 for sample in lookups.samples
                 if sample.labels['result'] == 'miss'
                 and sample.labels['region']},
                {printable(name): 2 for name in names})
            self.assertEqual(
                {sample.labels['client'] for sample in lookups.samples},
                {printable(name) for name in clients})

    def test_a_thousand_regions(self):
        """A scrape is done within Prometheus' ten seconds by far."""
        client = FakeUltraMemcacheClient()
        regions = [client.region(str(number)) for number in range(1000)]
        for region in regions:
            region.set('key', 1)
            region.query('key')
        registry = CollectorRegistry()
        registry.register(MemcacheCollector({'': client}))
        start = time.monotonic()
        text = generate_latest(registry).decode()
        self.assertLess(time.monotonic() - start, 5)
        self.assertEqual(text.count('_lookups_total{'), 2 * 1001)

    def test_a_region_that_comes_and_goes(self):
        """A counter falls to 0 alone, which Prometheus takes for a restart."""
        client = FakeUltraMemcacheClient()
        key = 'memcache_client_lookups_total', '', 'menus', 'miss'
        region, other = client.region('menus'), client.region('menus')
        region.query('key')
        other.query('key')
        self.assertEqual(samples({'': client})[key], 2)
        del region
        gc.collect()
        self.assertEqual(samples({'': client})[key], 2)
        del other
        gc.collect()
        self.assertNotIn(key, samples({'': client}))
        region = client.region('menus')
        self.assertEqual(region.getCounts()['misses'], 0)
        self.assertEqual(samples({'': client})[key], 0)

    def test_the_same_client_twice(self):
        client = FakeUltraMemcacheClient()
        client.query('key')
        found = samples({'a': client, 'b': client})
        for name in 'ab':
            self.assertEqual(
                found['memcache_client_lookups_total', name, '', 'miss'], 1)

    def test_a_forked_child(self):
        """It begins at 0, and shows what it does itself."""
        client = FakeUltraMemcacheClient()
        for _ in range(5):
            client.query('key')
        child = os.fork()
        if not child:
            status = 99
            try:
                client.query('key')
                status = int(samples({'': client})[
                    'memcache_client_lookups_total', '', '', 'miss'])
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 1)

    def test_many_scrapes(self):
        """While they go on, clients and regions come and go."""
        client, ends = FakeUltraMemcacheClient(), threading.Event()

        def work():
            for number in itertools.cycle(range(50)):
                region = client.region(str(number))
                region.getOrCreate('key', str)
                region.region('inner').query('key')
                if ends.is_set():
                    break

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for found in at_once(
                    lambda _: samples({'': client}), range(20)):
                self.assertIn(
                    ('memcache_client_lookups_total', '', '', 'hit'), found)
        finally:
            ends.set()
            thread.join()

    def test_unregistered(self):
        registry, collector = CollectorRegistry(), MemcacheCollector({})
        for _ in range(2):
            registry.register(collector)
            registry.unregister(collector)
        self.assertEqual(generate_latest(registry), b'')

    def test_prometheus_clients_multiprocess_mode(self):
        """It changes nothing for a registry that has the collector."""
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, '-c', ALONE],
                env={**os.environ, 'PROMETHEUS_MULTIPROC_DIR': folder,
                     'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ('1\n', ''))

    def test_a_client_that_fails(self):
        collector = MemcacheCollector(
            {'bad': Broken([scenes.server('cache1:11211')]),
             **scenes.well()}, statistics=True)
        registry = CollectorRegistry()
        registry.register(collector)
        with self.assertLogs('p01.memcache', 'WARNING') as log:
            for _ in range(50):
                text = generate_latest(registry).decode()
        self.assertIn('RuntimeError: not now', log.output[0])
        self.assertIn('client="sessions"', text)
        self.assertNotIn('client="bad",region', text)
        warnings = [line for line in log.output if line.startswith('WARNING')]
        self.assertLessEqual(len(warnings), 20)

    def test_a_registry(self):
        registry = CollectorRegistry(auto_describe=True)
        with self.assertNoLogs('p01.memcache'):
            # To register it is to ask no client.
            registry.register(MemcacheCollector({'bad': Broken()}))
        with self.assertRaises(ValueError):
            registry.register(MemcacheCollector())


class StatisticsTest(unittest.TestCase):

    def test_frozen(self):
        """Scrapes at once end in time, and have one thread for them all."""
        with Memcached() as frozen, EmbeddedServer() as well:
            client = UltraMemcacheClient(
                [frozen.address, well.address], timeout=1.5)
            self.addCleanup(client.close)
            client.getStatistics()
            before = threading.active_count()
            frozen.freeze()
            self.addCleanup(until, lambda: threading.active_count() <= before)
            collector = MemcacheCollector({'': client}, statistics=True)
            start = time.monotonic()
            for families in at_once(lambda _: collector.collect(), range(10)):
                [up] = [family for family in families
                        if family.name == 'memcache_server_up']
                # The client asks them together, and waits for the frozen one.
                self.assertEqual([sample.value for sample in up.samples],
                                 [0, 0])
            self.assertLess(time.monotonic() - start, 3)
            # Until it is marked down.
            for _ in range(client.retries):
                client.getStatistics()
            [up] = [family for family in collector.collect()
                    if family.name == 'memcache_server_up']
            self.assertEqual([sample.value for sample in up.samples], [0, 1])

    def test_not_asked(self):
        client = scenes.Pooled([scenes.server('cache1:11211')], stall=8)
        start = time.monotonic()
        found = samples({'': client})
        self.assertLess(time.monotonic() - start, 0.5)
        self.assertFalse([key for key in found
                          if key[0].startswith('memcache_server_')])

    def test_asked(self):
        found = samples(scenes.outage(), statistics=True)
        one, two = ('', 'cache1:11211'), ('', 'cache2:11211')
        self.assertEqual(found['memcache_server_up', *one], 1)
        self.assertEqual(found['memcache_server_up', *two], 0)
        self.assertEqual(
            found['memcache_server_limit_bytes', *one], 1 << 30)
        self.assertEqual(
            found['memcache_server_evictions_total', '', 'cache3:11211'],
            2468)
        self.assertNotIn(('memcache_server_limit_bytes', *two), found)
        self.assertEqual(
            found['memcache_server_up', 'sessions', 'cache1:11211'], 1)

    def test_late(self):
        self.addCleanup(until, lambda: threading.active_count() == before)
        collector = MemcacheCollector({
            name: kind([scenes.server('cache1:11211')], stall=3)
            for name, kind in (('a', scenes.Pooled), ('b', scenes.Classic))
            }, statistics=True)
        before = threading.active_count()
        start = time.monotonic()
        for _ in range(2):
            up = [(sample.labels, sample.value)
                  for family in collector.collect()
                  for sample in family.samples
                  if sample.name == 'memcache_server_up']
            self.assertEqual(up, [
                ({'client': name, 'server': 'cache1:11211'}, 0)
                for name in 'ab'])
        self.assertLess(time.monotonic() - start, 2.8)
        # The second scrape asked nobody again.
        self.assertLessEqual(threading.active_count(), before + 2)


class UtilitiesTest(unittest.TestCase):

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)

    def test_registered(self):
        clients = scenes.well()
        collector = MemcacheCollector()
        for name, client in clients.items():
            zope.component.provideUtility(client, IMemcacheClient, name)
        # As memcacheRegion registers it.
        [(_, region)] = clients[''].getRegions()
        zope.component.provideUtility(region, IMemcacheClient, 'prices')
        [lookups, *_] = collector.collect()
        self.assertEqual(
            {(sample.labels['client'], sample.labels['region'])
             for sample in lookups.samples},
            {('', ''), ('', 'prices'), ('sessions', '')})

    def test_none(self):
        for family in MemcacheCollector().collect():
            self.assertEqual(family.samples, [])


class OpenTelemetryTest(unittest.TestCase):

    def read(self, clients):
        """Return ``{(name, label value, ...): value}``, and the units."""
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        self.addCleanup(provider.shutdown)
        instrument(clients, provider)
        [resource] = reader.get_metrics_data().resource_metrics
        [scope] = resource.scope_metrics
        self.assertEqual(scope.scope.name, 'p01.memcache')
        return {
            (metric.name, *(value for _, value in sorted(
                point.attributes.items()))): point.value
            for metric in scope.metrics for point in metric.data.data_points
            }, {metric.name: metric.unit for metric in scope.metrics}

    def test_values(self):
        found, units = self.read(scenes.outage())
        for (name, *labels), value in {
                ('lookups', 'sessions', '', 'miss'): 4376,
                ('errors', '', 'ServerDown', ''): 219,
                ('server_state', '', 'cache2:11211', 'down'): 1,
                ('server_state', '', 'cache2:11211', 'up'): 0,
                ('operations', '', 'set', ''): 8123,
                }.items():
            self.assertEqual(
                found['memcache.client.' + name, *labels], value, name)
        self.assertAlmostEqual(
            found['memcache.client.operation_time', '', 'set', ''], 3.2492)
        self.assertEqual(units['memcache.client.stored_bytes'], 'By')
        self.assertEqual(units['memcache.client.operation_time'], 's')

    def test_a_client_that_fails(self):
        with self.assertLogs('p01.memcache', 'WARNING'):
            found, _ = self.read({'bad': Broken(), **scenes.well()})
        self.assertEqual(
            {key[1] for key in found if key[0] == 'memcache.client.lookups'},
            {'', 'sessions'})
