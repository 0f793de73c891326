# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client, as the page shows them."""

from types import SimpleNamespace

from p01.memcache.browser import figures
from p01.memcache.observed.clients import parsed
from p01.memcache.observed.clients import servers


# A state that has changed before is worth a word this long, in seconds.
RECENT = 600

_SYMBOLS = {'up': '\u25cf', 'failing': '\u25b2', 'down': '\u2716',
            'drained': '\u25cb', 'unknown': '?'}


def statistics(client, slabs):
    """Ask the servers: return their statistics, and the slabs' or None."""
    return (client.getStatistics(),
            client.getStatistics('slabs') if slabs else None)


def rows(client, answer):
    """Return the rows of all servers.

    `answer` is that of `statistics`, or None if it is not there in time.
    """
    values, slabs = answer or ([], None)
    values, slabs = dict(values), dict(slabs or ())
    return [_row(state, values.get(state['server']), slabs)
            for state in _states(client, values)]


def _states(client, values):
    return servers(client) or [
        {'server': server, 'state': _seen(values.get(server))}
        for server in values or client.servers]


def _seen(values):
    if values is None:
        return 'unknown'
    return 'down' if 'error' in values else 'up'


def _row(state, values, slabs):
    name, now = state['server'], state['state']
    answered = values is not None and 'error' not in values
    values = values or {}
    used, limit = parsed(values, 'bytes'), parsed(values, 'limit_maxbytes')
    uptime = parsed(values, 'uptime')
    return SimpleNamespace(
        name=name, parts=figures.parts(name), state=now,
        symbol=_SYMBOLS.get(now, '?'),
        since=state.get('since', 0), reason=state.get('reason')
        or values.get('error'), next=state.get('nextProbe', 0),
        answered=answered, uptime=uptime,
        details=_details(state, values, answered),
        used=used, limit=limit, full=figures.percent(used, limit),
        memory=f'{figures.size(used)} of {figures.size(limit)}'
        if used is not None else figures.NONE,
        share=min(round(100 * used / limit), 100) if used and limit else 0,
        items=figures.count(parsed(values, 'curr_items')),
        evictions=figures.count(parsed(values, 'evictions')),
        evicted=bool(parsed(values, 'evictions')),
        running=figures.span(uptime),
        version=values.get('version'),
        connections=_connections(state),
        slabs=_slabs(slabs.get(name)))


def _details(state, values, answered):
    """Return what is to be known about a state, as a short text."""
    now, since = state['state'], state.get('since', 0)
    parts = [f'{now} for {figures.span(since)}'] if since else []
    if now in ('failing', 'down'):
        parts.append(state.get('reason') or values.get('error') or '')
        if 'nextProbe' in state:
            parts.append(next_try(state['nextProbe']))
    elif 'error' in values:
        parts.append(f'no statistics: {values["error"]}')
    elif not answered:
        parts.append('no statistics in time')
    parts.append(_owed(state.get('owed', 0)))
    return '; '.join(filter(None, parts))


def next_try(seconds):
    if seconds < 1:
        return 'next try at once'
    return f'next try in {figures.span(seconds)}'


def _connections(state):
    if 'active' not in state:
        return figures.NONE
    parts = [f'{state["active"]} in use', f'{state["idle"]} idle']
    parts += [f'{figures.count(state[name])} {name}'
              for name in ('waiting', 'broken') if state.get(name)]
    return ', '.join(part.replace(' ', figures.BLANK) for part in parts)


def _owed(number):
    """Changes that the server has missed."""
    if number < 0:
        return 'will be flushed'
    return f'owes {figures.plural(number, "key")}' if number else ''


def _slabs(values):
    """Return the classes of slabs: what is asked for is sorted by size."""
    if not values or 'error' in values:
        return []
    classes = {}
    for name, value in values.items():
        number, _, what = name.partition(':')
        if what and number.isascii() and number.isdigit():
            classes.setdefault(int(number), {})[what] = value
    return [SimpleNamespace(
        number=number, chunk=figures.size(parsed(own, 'chunk_size')),
        pages=figures.count(parsed(own, 'total_pages')),
        used=figures.count(parsed(own, 'used_chunks')),
        free=figures.count(parsed(own, 'free_chunks')),
        share=figures.percent(
            parsed(own, 'used_chunks'), parsed(own, 'total_chunks')))
        for number, own in sorted(classes.items())]
