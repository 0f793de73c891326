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

#: The phase of a factory: its time, and its steps, are not the operation's.
FACTORY = 'factory'

# Of all threads: their number, when the step began, its phase, server, and
# seconds.
_steps: deque[tuple[int, float, str, str | None, float]] = deque(maxlen=512)


def note(phase: str, server: str | None, since: float) -> float:
    """Note a step of this thread that ends now; return its seconds."""
    seconds = monotonic() - since
    if seconds >= _LEAST:
        _steps.append((threading.get_ident(), since, phase, server, seconds))
    return seconds


def longest(since: float, seconds: float) -> tuple[str, str | None]:
    """Return the phase that an operation waited for most, and its server.

    The operation of this thread began then, and took so long. What no step
    explains is the wait for the reply. The server is None if it is not known.
    """
    me = threading.get_ident()
    mine = [step for step in list(_steps)
            if step[0] == me and step[1] >= since]
    pauses = [(began, began + lasted)
              for _, began, phase, _, lasted in mine if phase == FACTORY]
    sums: dict[tuple[str, str | None], float] = {}
    for _, began, phase, server, lasted in mine:
        if not any(start <= began < end for start, end in pauses):
            sums[phase, server] = sums.get((phase, server), 0.0) + lasted
    rest = seconds - sum(sums.values())
    if not sums or max(sums.values()) < rest:
        return 'receive', None
    return max(sums, key=sums.__getitem__)
