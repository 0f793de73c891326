# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Whether our clients got slower: results beside those of a former run.

What is compared are not microseconds but ratios to the raw sockets, which take
their turns in the same rounds: what slows the machine down slows both. A row
is slower, or faster, if the quartiles of its rounds are apart: so the spread
of both runs counts, and a round that went astray does not.
"""

from statistics import median
from statistics import quantiles
from typing import NamedTuple

from benchmarks.report import STARTUP
from benchmarks.report import ratios


OURS = 'ultra', 'classic'

# The quartiles of fewer rounds say nothing.
FEWEST = 3

# A pace between this and its inverse is that of the same machine.
ALIKE = 1.25

# A smaller difference is the machine's, however small the spread is.
TRIFLE = 0.05


class Spread(NamedTuple):
    """The quartiles of the ratios of some rounds."""

    low: float
    middle: float
    high: float


class Row(NamedTuple):
    """`name` is that in the results."""

    name: str
    title: str
    contender: str
    before: Spread
    now: Spread
    verdict: str


def compare(results, former):
    """Return a `Row` for all of our clients that both runs have measured."""
    before = {(name, contender): taken
              for name, _, contender, taken, _ in _measured(former)}
    return [
        Row(name, title, contender, spread(before[name, contender]),
            spread(taken), 'failed' if failed else verdict(
                before[name, contender], taken))
        for name, title, contender, taken, failed in _measured(results)
        if (name, contender) in before]


def verdict(before, now):
    """Return what became of the ratios of a former run."""
    if min(len(before), len(now)) < FEWEST:
        return 'unknown'
    before, now = spread(before), spread(now)
    if now.low > before.high and now.middle > before.middle * (1 + TRIFLE):
        return 'slower'
    if now.high < before.low and before.middle > now.middle * (1 + TRIFLE):
        return 'faster'
    return 'same'


def spread(values):
    if len(values) == 1:
        return Spread(*values * 3)
    return Spread(*quantiles(values, method='inclusive'))


def is_worse(rows):
    return any(row.verdict in ('slower', 'failed') for row in rows)


def pace(results, former):
    """Return how long raw sockets take, as a multiple of the former run.

    It is that of the median row, or None if they have no row in common.
    """
    before, now = _raw(former), _raw(results)
    common = [now[name] / before[name] for name in now if name in before]
    return median(common) if common else None


def is_alike(results, former):
    """Return whether both are of one machine, with the same load."""
    value = pace(results, former)
    return value is not None and 1 / ALIKE < value < ALIKE and all(
        results['about'][name] == former['about'][name]
        for name in ('cpu', 'cores', 'python', 'memcached'))


def _measured(results):
    """Yield a name, its title, a contender, its ratios and its failures."""
    measured = [(name, work['title'], work['contenders'], 'wall')
                for name, work in results['works'].items()]
    measured.append(('startup', STARTUP, results['startup'], 'ms'))
    for name, title, columns, what in measured:
        for contender in OURS:
            if contender in columns and 'limit' in columns:
                column = columns[contender]
                yield (name, title, contender,
                       ratios(column[what], columns['limit'][what]),
                       column.get('failed', 0))


def _raw(results):
    columns = {name: (work['contenders'], 'wall')
               for name, work in results['works'].items()}
    columns['startup'] = results['startup'], 'ms'
    return {name: median(contenders['limit'][what])
            for name, (contenders, what) in columns.items()
            if 'limit' in contenders}
