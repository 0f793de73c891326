# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""All clients, each as a section of the page."""

from types import SimpleNamespace

from p01.memcache.browser import curve
from p01.memcache.browser import figures
from p01.memcache.browser import servers
from p01.memcache.browser import sums
from p01.memcache.log import logger
from p01.memcache.observed.asking import Asking
from p01.memcache.observed.clients import regions
from p01.memcache.observed.clients import registered


# Seconds for which the page waits for what the servers say of themselves.
PATIENCE = 1

# Of the operations, for the time within which nearly all are done.
_QUANTILE = 0.99

_asking = Asking()


def find(name, path):
    """Return the client with a name, or its region, or None."""
    client = dict(registered()).get(name)
    if client is None or not path:
        return client
    return dict(regions(client)).get(tuple(path))


def overview(slabs):
    """Return the sections of all clients."""
    found = registered()
    answers = _asking.ask(
        {(id(client), slabs): lambda client=client: servers.statistics(
            client, slabs) for _, client in found}, PATIENCE)
    return [_safely(number, name, client, answers[id(client), slabs])
            for number, (name, client) in enumerate(found)]


def _safely(number, name, client, answer):
    """Return a section. What goes wrong is part of what is shown."""
    section = SimpleNamespace(
        id=f'client-{number}', title=name or '(unnamed)', name=name,
        failure=None, servers=[], recent=[0, 0, 0])
    try:
        vars(section).update(_section(client, answer))
    except Exception as error:
        logger.exception('The page cannot show the client %r', name)
        section.failure = f'{type(error).__name__}: {error}'
    return section


def _section(client, answer):
    inner = regions(client)
    everything = [client, *(region for _, region in inner)]
    counts = sums.of_counts(one.getCounts() for one in everything)
    histories = [one.getHistory() for one in everything]
    history = sums.of_histories(histories)
    slowest = sums.of_slowest(one.getSlowest() for one in everything)
    return {
        'about': _about(client),
        'can_empty': bool(client.generations),
        'namespace': client.namespace or '',
        'recent': curve.total(history, 60),
        'curve': curve.draw(
            history, sums.of_histories(map(curve.paced, histories))),
        'servers': servers.rows(client, answer),
        'tiles': _tiles(counts, history),
        'troubles': _troubles(counts),
        'commands': _commands(counts['seconds']),
        'slowest': [_slow(operation) for operation in slowest],
        'regions': _regions(client, inner),
    }


def _about(client):
    namespace = client.namespace
    return f'{type(client).__name__}, ' + (
        f'namespace {namespace}' if namespace else 'no namespace')


def _tile(label, value, note=''):
    return SimpleNamespace(label=label, value=value, note=note)


def _tiles(counts, history):
    hits, misses, _ = curve.total(history, 60)
    all_hits, all_reads = counts['hits'], counts['hits'] + counts['misses']
    errors = sum(counts['errors'].values())
    down = counts['errors'].get('ServerDown')
    return [
        _tile('Hits, last minute', figures.percent(hits, hits + misses),
              f'of {figures.plural(hits + misses, "read")}'),
        _tile('Hits since the start', figures.percent(all_hits, all_reads),
              f'of {figures.plural(all_reads, "read")}'),
        _tile('Stored', figures.count(counts['stored']),
              f'{figures.size(counts["bytesStored"])}; '
              f'{figures.count(counts["refused"])} refused'),
        _tile('Computed', figures.count(counts['computed']),
              f'{figures.count(counts["waited"])} waited for another, '
              f'{figures.count(counts["stale"])} stale'),
        _tile('Errors', figures.count(errors),
              figures.plural(counts['timeouts'], 'time-out') + (
                  f', {figures.count(down)} not tried: server down'
                  if down else '')),
        _tile('Slow operations', figures.count(counts['slow']),
              f'{figures.count(counts["invalidated"])} invalidated'),
    ]


def _troubles(counts):
    """Return the kinds of errors, the most frequent first."""
    found = [('error', *item) for item in counts['errors'].items()]
    found += [('unreadable', *item) for item in counts['unreadable'].items()]
    return [SimpleNamespace(kind=kind, name=name, number=figures.count(number))
            for kind, name, number in sorted(
                found, key=lambda item: (-item[2], item[1]))]


def _commands(seconds):
    return [SimpleNamespace(
        name=name, number=figures.count(own['count']),
        mean=figures.quick(own['sum'] / own['count']),
        most=within(own)) for name, own in sorted(
            seconds.items(), key=lambda item: -item[1]['count'])
        if own['count']]


def within(own):
    """Return within which time nearly all operations were done."""
    bounds = sorted(own['buckets'].items())
    last = 0
    for bound, number in bounds:
        if number >= _QUANTILE * own['count']:
            if bound == float('inf'):
                return f'over {figures.quick(last)}'
            return figures.quick(bound)
        last = bound
    return figures.NONE


def _slow(operation):
    return SimpleNamespace(
        seconds=figures.quick(operation['seconds']),
        ago=figures.span(operation['ago']), command=operation['command'],
        key=operation['key'], phase=operation['phase'],
        server=figures.parts(operation['server'] or figures.NONE))


def _regions(client, inner):
    """Return a row for each region, and for what is in none of them."""
    if not inner:
        return []
    rows = {}
    for path, region in inner:  # some may have the same name, and values
        rows.setdefault(path, []).append(region)
    return [_region((), [client]),
            *(_region(path, found) for path, found in sorted(rows.items()))]


def _region(path, found):
    counts = sums.of_counts(region.getCounts() for region in found)
    recent = curve.total(
        sums.of_histories(region.getHistory() for region in found), 60)
    hits, reads = counts['hits'], counts['hits'] + counts['misses']
    return SimpleNamespace(
        path=path, name=' / '.join(path) or 'in no region',
        can_empty=bool(path and found[0].generations),
        now=figures.percent(recent[0], recent[0] + recent[1]),
        ever=figures.percent(hits, reads), reads=figures.count(reads),
        stored=figures.count(counts['stored']),
        computed=figures.count(counts['computed']),
        errors=figures.count(sum(counts['errors'].values())))
