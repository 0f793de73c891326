# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How long a test waits for what must come, and the waiting itself."""

import threading
from time import monotonic


# Seconds for what takes milliseconds, unless the machine is busy.
PATIENCE = 5

DAY = 60 * 60 * 24


def soon():
    """Return the deadline of what has time enough."""
    return monotonic() + PATIENCE


def until(condition, seconds=2 * PATIENCE):
    """Return when the condition holds. Nothing else tells when it does."""
    pause, end = threading.Event(), monotonic() + seconds
    while not condition():
        if monotonic() > end:
            raise AssertionError(f'not true after {seconds} s: {condition}')
        pause.wait(0.001)
