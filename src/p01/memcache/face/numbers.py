# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Numbers that count, and keep the time until which they are stored.

memcached counts in raw values, which a client cannot tell from the pickles of
all others. So the look-alike counts by compare-and-swap, which sets a new
lifetime. A number that expires is stored together with its end.
"""

import math
import time


LARGEST = 2 ** 64 - 1

_MARK = 'p01.memcache.face.number'


def is_number(value):
    """Return whether memcached could count with the value."""
    if type(value) is int:
        return 0 <= value <= LARGEST
    return (type(value) in (str, bytes) and len(value) <= 20
            and value.isascii() and value.isdigit())


def kept(value, lifetime):
    """Return what is stored of a value."""
    if lifetime > 0 and is_number(value):
        return [_MARK, value, time.time() + lifetime]
    return value


def bare(stored):
    """Return the value of what is stored."""
    return _parts(stored)[0]


def _parts(stored):
    """Return the value, and its end or None."""
    if type(stored) is list and len(stored) == 3 and stored[0] == _MARK:
        return stored[1:]
    return stored, None


def changed(stored, change):
    """Return what is stored after a change, the number, and its lifetime."""
    value, end = _parts(stored)
    if not is_number(value):
        raise ValueError(f'a {type(value).__name__} is no number')
    number = change(int(value))
    text = str(number)
    new = {int: number, str: text, bytes: text.encode()}[type(value)]
    if end is None:
        return new, number, 0
    return [_MARK, new, end], number, max(math.ceil(end - time.time()), 1)
