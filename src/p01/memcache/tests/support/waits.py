# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How long a test waits for what must happen, and the waiting itself."""

import threading
from time import monotonic


# Seconds for what takes milliseconds, unless the machine is busy.
PATIENCE = 5

DAY = 60 * 60 * 24


def soon():
    """Return a deadline that is never reached, even on a busy machine."""
    return monotonic() + PATIENCE


def until(condition, seconds=2 * PATIENCE):
    """Poll until the condition holds."""
    pause, end = threading.Event(), monotonic() + seconds
    while not condition():
        if monotonic() > end:
            raise AssertionError(f'not true after {seconds} s: {condition}')
        pause.wait(0.001)
