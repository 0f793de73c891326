# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The clock of the embedded server, and lifetimes as memcached counts them.

A moment here is one of the monotonic clock, in seconds; a lifetime on the
wire is in whole seconds.
"""

import math
import time


#: The present moment.
now = time.monotonic

#: The longest relative lifetime, in seconds; a larger number is unix time.
THIRTY_DAYS = 60 * 60 * 24 * 30

#: The moment that never comes.
NEVER = math.inf


def deadline(exptime):
    """Return the moment at which a lifetime from the wire ends.

    The wall clock is asked here and never again, so that it may jump.
    """
    if exptime == 0:
        return NEVER
    if exptime > THIRTY_DAYS:
        exptime -= time.time()
    return now() + exptime


def seconds_left(moment):
    """Return the remaining lifetime for the wire: whole, and -1 for ever."""
    if moment == NEVER:
        return -1
    # Floats are not exact: what has just begun must be whole.
    return max(math.ceil(round(moment - now(), 3)), 0)
