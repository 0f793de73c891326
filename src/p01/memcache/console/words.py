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
    up, down = figures['up'], figures['down']
    words = [f'{up} of {up + down} servers up']
    # What was asked of a server that is down, nobody has counted.
    now = 'now' + ' on these' * bool(down)
    for name, form in (
            ('hitRateNow', f'hits {{:.1%}} {now}'),
            ('hitRate', 'hits {:.1%} ever' if figures['hitRateNow'] is None
                        else '{:.1%} ever'),
            ('getsPerSecond', '{:,.0f} gets/s'),
            ('setsPerSecond', '{:,.0f} sets/s'),
            ('evictionsPerSecond', '{:,.0f} evictions/s')):
        if figures[name]:
            words.append(form.format(figures[name]))
    return ', '.join(words)
