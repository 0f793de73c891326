# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What Prometheus scrapes: a collector for prometheus_client."""

from p01.memcache.extra import extra
from p01.memcache.metrics import measures
from p01.memcache.metrics.sources import Sources


with extra('prometheus'):
    from prometheus_client.metrics_core import CounterMetricFamily
    from prometheus_client.metrics_core import GaugeMetricFamily
    from prometheus_client.metrics_core import HistogramMetricFamily
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString


# Seconds for which a scrape waits for servers that are asked.
_PATIENCE = 1


class MemcacheCollector(Collector):
    """Shows the counts of all clients, see README.txt.

    `clients` is ``{name: client}``; without it they are the utilities that
    are registered when Prometheus asks. A scrape asks no server, unless
    `statistics` is true: then each memcached is asked for its own, and has a
    second to answer.
    """

    def __init__(self, clients=None, statistics=False):
        self._sources = Sources(clients)
        self._statistics = statistics

    def describe(self):
        """Return the names alone, which a registry asks for."""
        return self._families([], [], [])

    def collect(self):
        sources = self._sources
        return self._families(
            sources.counts(), sources.servers(),
            sources.statistics(_PATIENCE) if self._statistics else [])

    def _families(self, counts, servers, statistics):
        return [
            *(_family(measure, 'client', 'region', counts)
              for measure in measures.COUNTS),
            _durations(counts),
            *(_family(measure, 'client', 'server', servers)
              for measure in measures.SERVERS),
            *(_family(measure, 'server', 'server', statistics)
              for measure in measures.STATISTICS if self._statistics)]


def _family(measure, subject, place, sources):
    kind = CounterMetricFamily if measure.grows else GaugeMetricFamily
    family = kind(
        f'memcache_{subject}_{measure.name}', measure.text,
        labels=('client', place, *measure.labels), unit=measure.unit)
    for labels, number in measures.total(measure, sources).items():
        family.add_metric(labels, number)
    return family


def _durations(counts):
    family = HistogramMetricFamily(
        'memcache_client_operation_duration', 'Seconds that operations took,'
        ' without the factories of getOrCreate.',
        labels=('client', 'region', 'command'), unit='seconds')
    for labels, (seconds, buckets) in measures.durations(counts).items():
        family.add_metric(
            labels, [(floatToGoString(bound), number)
                     for bound, number in sorted(buckets.items())], seconds)
    return family
