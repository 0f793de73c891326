# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Seconds: checked, and lifetimes converted to memcached's ``exptime``."""

import math
import time


# memcached takes a larger number for a unix time, which has 31 bits.
_RELATIVE = 60 * 60 * 24 * 30
_LAST = 2 ** 31 - 1

_DAY = 60 * 60 * 24


def plain(value):
    """Return a number as a plain int or float, and anything else as nan.

    What a subclass overrides has no effect on it.
    """
    if type(value) is int:
        return value
    for kind in int, float:
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind.__pos__(value)
    return math.nan


def seconds(value, name):
    """Return a number of seconds, of a day at most, as a plain one."""
    number = plain(value)
    if not 0 <= number <= _DAY:
        raise ValueError(
            f'{name} {value!r}: must be a number of seconds, from 0 to {_DAY}')
    return number


def expiry(lifetime, name='lifetime'):
    """Return `lifetime`, in seconds, as memcached's ``exptime``."""
    if type(lifetime) is int and 0 <= lifetime <= _RELATIVE:
        return lifetime  # the usual case
    seconds = plain(lifetime)
    if not 0 <= seconds < math.inf:
        raise ValueError(
            f'{name} {lifetime!r}: must be a number of seconds, 0 or more')
    seconds = math.ceil(seconds)
    if seconds <= _RELATIVE:
        return seconds
    moment = int(time.time()) + seconds
    if moment > _LAST:
        raise ValueError(
            f'{name} {lifetime!r}: must end before the 19th of January 2038,'
            ' or be 0 to never end')
    return moment
