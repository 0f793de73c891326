# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Figures as people read them."""

import re


NONE = '\u2013'  # a dash: there is no figure

# Between a figure and its unit, so that no line ends there.
BLANK = '\u00a0'

_SIZES = ('B', 'KiB', 'MiB', 'GiB', 'TiB')  # as memcached's -m means it
_SPANS = ((86400, 'd'), (3600, 'h'), (60, 'min'))


def count(number):
    """1234567 -> 1,234,567"""
    return NONE if number is None else f'{number:,}'


def size(number):
    """1234567 -> 1.2 MiB"""
    if number is None:
        return NONE
    for unit in _SIZES:
        if number < 999.5 or unit == _SIZES[-1]:
            break
        number /= 1024
    digits = 1 if unit != 'B' and number < 99.95 else 0
    return f'{number:,.{digits}f}{BLANK}{unit}'


def percent(part, whole):
    """(1, 3) -> 33 %. Nothing is rounded to 0 or 100 that is not."""
    if not whole or part is None:
        return NONE
    share = 100 * part / whole
    if share in (0, 100) or 1 <= share <= 99:
        return f'{share:.0f}{BLANK}%'
    share = min(max(share, 0.1), 99.9) if 0 < share < 100 else share
    return f'{share:.1f}{BLANK}%'


def span(seconds):
    """90 -> 2 min. Times of operations are below, in ms."""
    if seconds is None:
        return NONE
    for length, unit in _SPANS:
        if seconds >= 2 * length or (unit == 'min' and seconds >= 119.5):
            return f'{seconds / length:,.0f}{BLANK}{unit}'
    return f'{seconds:.0f}{BLANK}s'


def quick(seconds):
    """0.00123 -> 1.2 ms"""
    if seconds is None:
        return NONE
    if seconds < 0.0995:
        return f'{seconds * 1000:.2g}{BLANK}ms'
    if seconds < 0.9995:
        return f'{seconds * 1000:.0f}{BLANK}ms'
    return f'{seconds:,.1f}{BLANK}s'


def plural(number, noun):
    """(1, 'server') -> 1 server"""
    return f'{count(number)}{BLANK}{noun}{"" if number == 1 else "s"}'


def parts(address):
    """Return the parts between which an address may be broken."""
    return re.findall('[^.:/]*[.:/]?', address)[:-1]
