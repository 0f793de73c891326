# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a terminal shows: tables, colours and a curve, drawn by rich."""

import contextlib
import math
import signal

from rich.console import Console
from rich.console import Group
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from p01.memcache.console import curve
from p01.memcache.console.words import clock
from p01.memcache.console.words import span
from p01.memcache.console.words import summary


# Seconds after a start for which it is shown in colour.
_YOUNG = 600

# Lines of the curve, and events below it.
_HEIGHT, _EVENTS = 4, 8

_STYLES = {'up': 'green', 'down': 'bold red', 'drained': 'yellow'}


class _Console(Console):

    def on_broken_pipe(self):
        raise  # rich would exit by itself, with 1


def console():
    return _Console(highlight=False, markup=False, emoji=False)


def status(figures, height=math.inf):
    """Return what `status` shows, in so many lines."""
    servers, rest = figures['servers'], _reasons(figures)
    if 2 + len(servers) + len(rest) > height:
        # Those that are down come first. The events say why they are.
        servers = sorted(servers, key=lambda server: server['state'] != 'down')
        missing = servers[max(height - 3, 1):]
        servers = servers[:max(height - 3, 1)]
        rest = [Text(f'... and {len(missing)} more', 'dim')] if missing else []
    return Group(
        Text(summary(figures), 'bold red' if figures['down'] else 'bold'),
        _Servers(servers), *rest)


@contextlib.contextmanager
def live():
    """Yield a function that shows a `History`, in place of the last one.

    The last one remains on the terminal.
    """
    output, last = console(), []

    def update(history, events):
        last[:] = [history]
        display.update(_Watch(history), refresh=True)

    try:
        with Live(console=output, screen=True, auto_refresh=False) as display:
            yield update
    finally:
        with _undisturbed():
            for history in last:
                output.print(_Watch(history, is_live=False))


@contextlib.contextmanager
def _undisturbed():
    """A second Ctrl-C must not cut what is printed after the first one."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


class _Watch:
    """What `watch` shows, as large as the terminal; in the end all of it."""

    def __init__(self, history, is_live=True):
        self._history = history
        self._is_live = is_live

    def __rich_console__(self, console, options):
        history, height = self._history, math.inf
        events = list(history.events)
        if self._is_live:
            events = events[-_EVENTS:]
            height = console.height - _HEIGHT - 2 - len(events)
        yield status(history.figures, height)
        yield Text()
        yield Text('hits of all servers, 0 to 100 %', 'dim')
        for line in curve.draw(history.hits, options.max_width, _HEIGHT,
                               options.ascii_only):
            yield Text(line, 'cyan', no_wrap=True)
        for moment, text in events:
            yield Text(
                f'{clock(moment)} {text}', 'red' if ' is down: ' in text
                else 'yellow', no_wrap=self._is_live, overflow='crop')


def _reasons(figures):
    return [Text(f'{server["server"]}: {server["reason"]}', 'red')
            for server in figures['servers'] if server['state'] == 'down']


class _Servers:
    """A table with as many columns as fit."""

    def __init__(self, servers):
        self._servers = servers

    def __rich_console__(self, console, options):
        for count in range(len(_COLUMNS), 1, -1):
            table = self._table(_COLUMNS[:count])
            if Measurement.get(
                    console, options.update(max_width=10000), table
                    ).maximum <= options.max_width:
                break
        yield table

    def _table(self, columns):
        table = Table(box=None, pad_edge=False, header_style='dim')
        for title, _ in columns:
            table.add_column(
                title, justify='left' if title in ('server', 'state')
                else 'right', no_wrap=title != 'server', overflow='fold')
        for server in self._servers:
            table.add_row(*(make(server) for _, make in columns))
        return table


def _text(value, form, style=''):
    return Text('-' if value is None else form(value), style)


def _state(server):
    state = server['state']
    return Text(state if state != 'down' else 'DOWN', _STYLES[state])


def _memory(server):
    used, limit = server['bytes'], server['maxBytes']
    if used is None or not limit:
        return _text(used, _size)
    return Text(f'{_size(used)} {used / limit:4.0%}')


def _uptime(server):
    uptime = server['uptime']
    return _text(uptime, span, 'yellow' if (
        uptime is not None and uptime < _YOUNG) else '')


def _evictions(server):
    rate = server['evictionsPerSecond']
    return _text(rate, _count, 'yellow' if rate else '')


def _connections(server):
    used, most = server['connections'], server['maxConnections']
    return _text(used, _count, 'red' if (
        None not in (used, most) and used >= most) else '')


def _percent(value):
    return f'{value:.1%}'


def _count(value):
    return f'{value:,.0f}'


def _size(value):
    for unit in 'B', 'kB', 'MB', 'GB':
        if value < 1000:
            return f'{value:.3g} {unit}'
        value /= 1000
    return f'{value:,.0f} TB'


def _plain(name, form):
    return lambda server: _text(server[name], form)


# The columns, and what they show of a server: the most important ones first.
_COLUMNS = (
    ('server', _plain('server', str)),
    ('state', _state),
    ('hits now', _plain('hitRateNow', _percent)),
    ('gets/s', _plain('getsPerSecond', _count)),
    ('memory', _memory),
    ('evict/s', _evictions),
    ('up for', _uptime),
    ('hits ever', _plain('hitRate', _percent)),
    ('sets/s', _plain('setsPerSecond', _count)),
    ('conn', _connections),
    ('items', _plain('items', _count)),
    ('answer', _plain('seconds', lambda value: f'{value * 1000:.1f} ms')),
    ('evicted', _plain('evictions', _count)),
    ('version', _plain('version', str)),
)
