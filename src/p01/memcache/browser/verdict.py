# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Where is trouble? In a sentence or a few, worst first."""

from time import monotonic
from types import SimpleNamespace

from p01.memcache.browser import figures
from p01.memcache.browser.servers import RECENT
from p01.memcache.browser.servers import next_try


GOOD, WATCH, BAD = 'good', 'watch', 'bad'

# The states of a server, the worst last.
_ORDER = ('drained', 'up', 'unknown', 'failing', 'down')

# A server that is older than this process has not lost what we have stored.
_began = monotonic()

_SYMBOLS = {GOOD: '\u25cf', WATCH: '\u25b2', BAD: '\u2716'}


def judge(clients):
    """Return the sentences about all clients, and how bad it is."""
    servers = {}
    for client in clients:
        for row in client.servers:
            # Each client has seen something else: the worst counts.
            known = servers.setdefault(row.name, row)
            if _bad(row) > _bad(known):
                servers[row.name] = row
    found = [sentence for row in servers.values()
             for sentence in _about(row)]
    late = [row for row in servers.values() if _is_late(row)]
    if late:
        found.append((WATCH, _late(late)))
    found += [(BAD, f'The client {client.title} cannot be shown: '
               f'{client.failure}.') for client in clients if client.failure]
    errors = sum(client.recent[2] for client in clients)
    if errors:
        found.append((WATCH, f'{figures.plural(errors, "operation")} failed '
                             'in the last minute.'))
    found.sort(key=lambda sentence: [BAD, WATCH, GOOD].index(sentence[0]))
    level = found[0][0] if found else GOOD
    found.append((GOOD, _summary(clients, list(servers.values()))))
    return SimpleNamespace(
        level=level, symbol=_SYMBOLS[level],
        sentences=[text for _, text in found])


def _bad(row):
    return _ORDER.index(row.state) if row.state in _ORDER else len(_ORDER)


def _is_late(row):
    """Return whether there is nothing from it, and no reason why."""
    return (row.state in ('up', 'unknown') and not row.answered
            and not row.reason)


def _late(rows):
    # All servers of a client answer together: each may be the one.
    name = rows[0].name if len(rows) == 1 else (
        f'At least one of {figures.plural(len(rows), "server")}')
    return f'{name} has not answered this page in time.'


def _about(row):
    state = f'{row.name} is {row.state}'
    if row.state in ('down', 'failing'):
        if row.since >= 1:
            state = f'{row.name} has been {row.state} for ' + (
                figures.span(row.since))
        if row.reason:
            state += f': {row.reason}'
        yield (BAD if row.state == 'down' else WATCH,
               f'{state}; {next_try(row.next)}.')
    elif row.state in ('up', 'unknown') and not row.answered:
        if row.reason:
            yield WATCH, (
                f'{row.name} has not answered this page: {row.reason}.')
    elif row.state == 'up' and 0 < row.since < RECENT:
        yield GOOD, f'{row.name} has been up again for ' + (
            f'{figures.span(row.since)}.')
    if row.uptime is not None and row.uptime < min(
            RECENT, monotonic() - _began):
        yield GOOD, (f'{row.name} was started {figures.span(row.uptime)} '
                     'ago, with an empty cache.')


def _summary(clients, servers):
    if not clients:
        return 'No IMemcacheClient utility is registered.'
    used = [row for row in servers if row.state != 'drained']
    well = sum(row.state == 'up' for row in used)
    if not used:
        text = 'No server is known'
    elif well == len(used) and any(map(_is_late, used)):
        text = 'No server is known to be down'
    elif len(used) == 1:
        text = f'The server is {used[0].state}'
    elif well == len(used):
        text = f'All {len(used)} servers are up'
    else:
        text = f'{well} of {figures.plural(len(used), "server")} ' + (
            'is up' if well == 1 else 'are up')
    hits = sum(client.recent[0] for client in clients)
    reads = hits + sum(client.recent[1] for client in clients)
    if not reads:
        return f'{text}; nothing was read in the last minute.'
    return (f'{text}; {figures.percent(hits, reads)} of '
            f'{figures.plural(reads, "read")} in the last minute were hits.')
