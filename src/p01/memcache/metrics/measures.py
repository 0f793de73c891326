# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What is measured: names, labels, and how the values are found.

Two libraries show the same measures under their own conventions, so each is
declared once, without either.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from p01.memcache.observed.clients import parsed


# What alerts are about is there from the start, with a 0: the rate of a
# series that begins with its first error would not show that one.
_ERRORS = dict.fromkeys(
    ('ConnectError', 'ConnectTimeout', 'PoolTimeout', 'ReceiveError',
     'ReceiveTimeout', 'SendTimeout', 'ServerDown'), 0)
_UNREADABLE = dict.fromkeys(
    ('ForbiddenGlobal', 'ForgedValue', 'UnreadableValue', 'ValueTooLarge'), 0)

_STATES = ('up', 'failing', 'down', 'drained')


class Measure(NamedTuple):
    """Something that is measured, for each client and its regions or servers.

    `values` makes ``{labels: number}`` of what a client knows. A measure that
    `grows` is a count since the client was made.
    """

    name: str
    text: str
    values: Callable[[dict], dict[tuple, Any]]
    labels: tuple[str, ...] = ()
    unit: str = ''
    grows: bool = True


def _of(name):
    return lambda source: {(): source[name]}


def _by(name, always=()):
    return lambda source: {
        (kind,): number
        for kind, number in {**dict(always), **source[name]}.items()}


def _chosen(**names):
    return lambda source: {
        (label,): source[name] for label, name in names.items()}


def _stat(name):
    """A server may say anything, or nothing."""
    def values(statistics):
        number = parsed(statistics, name)
        return {} if number is None else {(): number}
    return values


#: From `IMemcacheStatistics.getCounts`, labelled ``client`` and ``region``.
COUNTS = (
    Measure('lookups', 'Keys that were looked for.',
            _chosen(hit='hits', miss='misses'), ('result',)),
    Measure('errors', 'Operations that failed.',
            _by('errors', _ERRORS), ('kind',)),
    Measure('timeouts', 'Errors that are time-outs.', _of('timeouts')),
    Measure('unreadable_values', 'Values that were found, and not readable.',
            _by('unreadable', _UNREADABLE), ('reason',)),
    Measure('stored_values', 'Values that were stored.', _of('stored')),
    Measure('refused_values', 'Values that were not stored, as the server'
            ' refused them or they are too large.', _of('refused')),
    Measure('invalidations', 'Keys that were invalidated.',
            _of('invalidated')),
    Measure('computed_values', 'Calls of factories by getOrCreate.',
            _of('computed')),
    Measure('awaited_values', 'Values that another caller computed.',
            _of('waited')),
    Measure('stale_values', 'Outdated values that were served within their'
            ' grace.', _of('stale')),
    Measure('read', 'Bytes of values that were read.', _of('bytesRead'),
            unit='bytes'),
    Measure('stored', 'Bytes of values that were stored.',
            _of('bytesStored'), unit='bytes'),
    Measure('slow_operations', 'Operations slower than the setting "slow".',
            _of('slow')),
)

#: From `IUltraMemcacheStatistics.getServers`, labelled ``client`` and
#: ``server``.
SERVERS = (
    Measure('server_state', '1 for the state that the server is in, else 0.',
            lambda server: {(state,): int(server['state'] == state)
                            for state in _STATES}, ('state',), grows=False),
    Measure('connections', 'Open connections.',
            _chosen(active='active', idle='idle'), ('state',), grows=False),
    Measure('waiting_operations', 'Operations that wait for a connection.',
            _of('waiting'), grows=False),
    Measure('opened_connections', 'Connections that were opened.',
            _of('opened')),
    Measure('broken_connections', 'Connections that broke.', _of('broken')),
    Measure('owed_invalidations', 'Invalidations that the server has missed'
            ' and will get before it is read from.',
            lambda server: {(): max(server['owed'], 0)}, grows=False),
    Measure('owed_flush', '1 if the server has missed so many invalidations'
            ' that it will be flushed, else 0.',
            lambda server: {(): int(server['owed'] < 0)}, grows=False),
)

#: From `IMemcacheStatistics.getStatistics`, labelled ``client`` and
#: ``server``. A server that is not asked, or does not answer, has none.
STATISTICS = (
    Measure('up', '1 if memcached has answered this scrape, else 0.',
            lambda values: {(): int(bool(values) and 'error' not in values)},
            grows=False),
    Measure('uptime', 'Seconds since memcached was started.',
            _stat('uptime'), unit='seconds', grows=False),
    Measure('items', 'Items that memcached holds.', _stat('curr_items'),
            grows=False),
    Measure('used', 'Bytes of these items.', _stat('bytes'), unit='bytes',
            grows=False),
    Measure('limit', 'Bytes that items may need.', _stat('limit_maxbytes'),
            unit='bytes', grows=False),
    Measure('client_connections', 'Connections to memcached, of anybody.',
            _stat('curr_connections'), grows=False),
    Measure('evictions', 'Items that were removed for others before they'
            ' expired.', _stat('evictions')),
)


def total(measure, counts):
    """Return ``{labels: number}`` of all sources.

    Regions with the same name have the same labels, and are summed up.
    """
    found = {}
    for labels, source in counts:
        for own, number in measure.values(source).items():
            key = (*labels, *own)
            found[key] = found.get(key, 0) + number
    return found


def durations(counts):
    """Return ``{(client, region, command): (seconds, {bound: number})}``."""
    found = {}
    for labels, source in counts:
        for command, own in source['seconds'].items():
            seconds, buckets = found.get((*labels, command), (0, {}))
            found[*labels, command] = seconds + own['sum'], {
                bound: buckets.get(bound, 0) + number
                for bound, number in own['buckets'].items()}
    return found
