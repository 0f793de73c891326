# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The steps of operations that took long: what an operation waited for.

A step that is quick leaves nothing here, so it costs nothing. A step that may
wait notes how long it took, and a slow operation then looks for those of its
thread.
"""

import threading
from collections import deque
from time import monotonic


# Seconds from which on a step is noted.
_LEAST = 0.001

# Of all threads: their number, when the step began, its phase, server, and
# seconds.
_steps: deque[tuple[int, float, str, str | None, float]] = deque(maxlen=512)


def note(phase: str, server: str | None, since: float) -> None:
    """Note a step of this thread that ends now."""
    seconds = monotonic() - since
    if seconds >= _LEAST:
        _steps.append((threading.get_ident(), since, phase, server, seconds))


def longest(since: float, seconds: float) -> tuple[str, str | None]:
    """Return the phase that an operation waited for most, and its server.

    The operation of this thread began then, and took so long. What no step
    explains is the wait for the reply. The server is None if it is not known.
    """
    me = threading.get_ident()
    sums: dict[tuple[str, str | None], float] = {}
    for thread, began, phase, server, lasted in list(_steps):
        if thread == me and began >= since:
            sums[phase, server] = sums.get((phase, server), 0.0) + lasted
    rest = seconds - sum(sums.values())
    if not sums or max(sums.values()) < rest:
        return 'receive', None
    return max(sums, key=sums.__getitem__)
