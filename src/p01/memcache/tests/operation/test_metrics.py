# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What Prometheus and OpenTelemetry read of clients, whatever these say."""

import math
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

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.metrics.opentelemetry import instrument
from p01.memcache.metrics.prometheus import MemcacheCollector
from p01.memcache.tests.operation import scenes
from p01.memcache.tests.support.waits import until


def samples(*args, **options):
    """Return ``{(name, label value, ...): value}`` of a scrape."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(MemcacheCollector(*args, **options))
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))):
        sample.value for family in parse(generate_latest(registry).decode())
        for sample in family.samples}


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
        for kind in 'ConnectError', 'ReceiveTimeout', 'ServerDown':
            self.assertEqual(found[
                'memcache_client_errors_total', '', kind, ''], 0)
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
