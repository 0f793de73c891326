# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The same measures as observable instruments of OpenTelemetry."""

from p01.memcache.extra import extra
from p01.memcache.metrics import measures
from p01.memcache.metrics.sources import Sources


with extra('opentelemetry'):
    from opentelemetry.metrics import Observation
    from opentelemetry.metrics import get_meter_provider


_UNITS = {'bytes': 'By'}


def instrument(clients=None, provider=None):
    """Create the instruments, of the global provider if none is given.

    Call it once in a process. `clients` is ``{name: client}``; without it
    they are the utilities that are registered when the metrics are read.
    """
    sources = Sources(clients)
    meter = (provider or get_meter_provider()).get_meter('p01.memcache')
    for measure in measures.COUNTS:
        _create(meter, measure, 'region', sources.counts)
    for measure in measures.SERVERS:
        _create(meter, measure, 'server', sources.servers)
    # There are no observable histograms: the mean is what these two tell.
    labels = ('client', 'region', 'command')
    meter.create_observable_counter(
        'memcache.client.operations', [lambda options: _observations(
            labels, {key: buckets[float('inf')] for key, (_, buckets)
                     in measures.durations(sources.counts()).items()})],
        '{operation}', 'Operations.')
    meter.create_observable_counter(
        'memcache.client.operation_time', [lambda options: _observations(
            labels, {key: seconds for key, (seconds, _)
                     in measures.durations(sources.counts()).items()})],
        's', 'Seconds that operations took, without the factories of'
        ' getOrCreate.')


def _create(meter, measure, place, read):
    create = (meter.create_observable_counter if measure.grows
              else meter.create_observable_gauge)
    labels = ('client', place, *measure.labels)
    name = f'{measure.name}_{measure.unit}'.rstrip('_')
    create(f'memcache.client.{name}',
           [lambda options: _observations(
               labels, measures.total(measure, read()))],
           _UNITS.get(measure.unit, '1'), measure.text)


def _observations(labels, values):
    return [Observation(number, dict(zip(labels, key, strict=True)))
            for key, number in values.items()]
