# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How the cost grows: curves, whose points are works."""

from typing import NamedTuple

from contenders import POOL
from works import KEYS
from works import PAGE
from works import SMALL
from works import Work
from works import get_many
from works import gets
from works import pages
from works import set_many
from works import sets
from works import small
from works import writes


class Curve(NamedTuple):
    """`works` has a work for each number on the axis.

    `isBounded` leaves out the contenders that have no bound for connections.
    """

    title: str
    axis: str
    works: dict
    isBounded: bool = False


def curve(title, axis, numbers, make, **kw):
    return Curve(title, axis, {
        number: make(number)._replace(
            title=f'{title}: {number:,} {axis}', seconds=0.5)
        for number in numbers}, **kw)


def powers(base, last):
    numbers = [1]
    while numbers[-1] < last:
        numbers.append(numbers[-1] * base)
    return numbers


SIZES = [10 * size for size in powers(10, 100_000)]
COUNTS = powers(10, 10_000)

# Only a few, as each has a million bytes.
FEW = KEYS[:4]


def names(count):
    return [f'key_{number}' for number in range(count)]


#: By their names in the results.
CURVES = {
    'grow-threads': curve(
        f'set, {POOL} connections', 'threads', powers(2, 128),
        lambda number: Work('', writes, threads=number)),
    'grow-pool': curve(
        'set, 64 threads', 'connections', powers(2, 64),
        lambda number: Work('', writes, threads=64, pool=number),
        isBounded=True),
    'grow-servers': curve(
        'get', 'servers', powers(2, 64),
        lambda number: Work('', gets(), stored=SMALL, servers=number)),
    'grow-servers-many': curve(
        'queryMany of 100', 'servers', powers(2, 64),
        lambda number: Work(
            '', get_many(KEYS), stored=SMALL, servers=number)),
    'grow-get': curve(
        'get', 'bytes', SIZES,
        lambda number: Work('', gets(FEW), stored=pages(number, FEW))),
    'grow-set': curve(
        'set', 'bytes', SIZES,
        lambda number: Work('', sets(PAGE[:number], FEW))),
    'grow-queryMany': curve(
        'queryMany', 'keys', COUNTS,
        lambda number: Work(
            '', get_many(names(number)), stored=small(names(number)))),
    'grow-setMany': curve(
        'setMany', 'keys', COUNTS,
        lambda number: Work('', set_many(small(names(number))))),
}
