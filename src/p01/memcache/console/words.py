# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Figures in words: durations, times, and a summary of all servers."""

import time


def span(seconds):
    """Return a duration in words: 12 s, 3 min, 5 h, 7 d."""
    for unit, size in ('d', 86400), ('h', 3600), ('min', 60):
        if seconds >= 2 * size:
            return f'{seconds / size:.0f} {unit}'
    return f'{seconds:.0f} s'


def clock(moment):
    return time.strftime('%H:%M:%S', time.localtime(moment))


def summary(figures):
    """Return the figures of all servers in a line."""
    words = [f'{figures["up"]} up']
    if figures['down']:
        words.append(f'{figures["down"]} DOWN')
    for name, form in (
            ('hitRateNow', 'hits {:.1%} now'),
            ('hitRate', '{:.1%} since the start'),
            ('getsPerSecond', '{:,.0f} gets/s'),
            ('setsPerSecond', '{:,.0f} sets/s'),
            ('evictionsPerSecond', '{:,.0f} evictions/s')):
        if figures[name] is not None:
            words.append(form.format(figures[name]))
    return ', '.join(words)
