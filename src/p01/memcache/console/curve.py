# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A curve in characters: a column for each sample, the newest on the right."""

_BLOCKS, _ASCII = ' ▁▂▃▄▅▆▇█', ' .:|'


def draw(samples, width, height, ascii=False):
    """Return lines that show the last samples, numbers from 0 to 1.

    None is a gap; 0 is not, and has the lowest mark.
    """
    marks = _ASCII if ascii else _BLOCKS
    steps = len(marks) - 1
    shown = list(samples)[-width:]
    shown = [None] * (width - len(shown)) + shown
    levels = [0 if sample is None else max(
        round(min(max(sample, 0), 1) * height * steps), 1)
        for sample in shown]
    return [''.join(
        marks[min(max(level - row * steps, 0), steps)] for level in levels)
        for row in reversed(range(height))]
