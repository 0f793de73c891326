# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The curve of the hit rate: a client's history as the shapes of a picture."""

from types import SimpleNamespace

from p01.memcache.browser import figures


# Seconds that it shows, and the length of a slot. One second is one unit.
WIDTH = 600
SLOT = 10

HEIGHT = 100  # of 100 %
TROUBLE = 24  # of the strip for errors

# A slot with few reads is no point of the curve: its rate says nothing.
_FEW = 3


def total(history, within=WIDTH):
    """Return the sums of hits, misses and errors of the last seconds."""
    recent = [slot[1:] for slot in history if slot[0] <= within]
    return [sum(column) for column in zip(*recent, strict=True)] or [0, 0, 0]


def paced(history):
    """Return it with the last slot as it is to be at this pace when over.

    Before, it looks as if the traffic had collapsed.
    """
    return [(ago, *(round(number * SLOT / max(ago, 1)) for number in numbers))
            if ago < SLOT else (ago, *numbers) for ago, *numbers in history]


def draw(history, pace):
    """Return the shapes, and a sentence for readers that cannot see them.

    `pace` is the history for the bars. None is taller than what was counted.
    """
    slots = _slots(history)
    most = max((hits + misses for _, hits, misses, _ in slots), default=0)
    worst = max((errors for *_, errors in slots), default=0)
    return SimpleNamespace(
        reads=[_bar(x, hits + misses, most, HEIGHT)
               for x, hits, misses, _ in _slots(pace) if hits + misses],
        errors=[_bar(x, errors, worst, TROUBLE)
                for x, _, _, errors in _slots(pace) if errors],
        lines=list(_lines(slots)), most=figures.count(most),
        worst=figures.count(worst), label=_label(history, slots))


def _slots(history):
    return [(WIDTH - ago, *numbers) for ago, *numbers in history
            if 0 <= ago <= WIDTH]


def _bar(x, value, most, height):
    tall = max(round(height * min(value / most, 1), 1), 1)
    return SimpleNamespace(
        x=round(x, 1), y=round(height - tall, 1), height=tall,
        width=round(min(SLOT - 1, WIDTH - x), 1))


def _lines(slots):
    """Yield the points of each line: where nobody reads it is interrupted."""
    points = []
    before = None
    for x, hits, misses, _ in slots:
        if hits + misses < _FEW or (
                before is not None and x - before > 1.5 * SLOT):
            yield from _line(points)
            points = []
        if hits + misses >= _FEW:
            y = HEIGHT - HEIGHT * hits / (hits + misses)
            points.append((min(x + SLOT / 2, WIDTH), y))
        before = x
    yield from _line(points)


def _line(points):
    if len(points) == 1:  # still to be seen
        [(x, y)] = points
        points = [(x - SLOT / 2, y), (min(x + SLOT / 2, WIDTH), y)]
    if points:
        yield ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)


def _label(history, slots):
    rated = [(hits / (hits + misses), x, hits, hits + misses)
             for x, hits, misses, _ in slots if hits + misses >= _FEW]
    if not rated:
        return 'Nothing was read in the last 10 minutes.'
    _, x, hits, reads = min(rated)
    now = total(history, 60)
    return (
        f'Hit rate of the last 10 minutes: now '
        f'{figures.percent(now[0], now[0] + now[1])}, lowest '
        f'{figures.percent(hits, reads)} '
        f'{figures.span(WIDTH - x)} ago. '
        f'{figures.plural(total(history)[2], "error")}.')
