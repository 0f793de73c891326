# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A client and its regions, which count for themselves, taken together."""

from p01.memcache.browser.curve import SLOT
from p01.memcache.browser.curve import WIDTH


# Of the slowest operations.
_MOST = 20


def of_counts(counts):
    """Return the sum of what `getCounts` has returned, as one of them."""
    total = {}
    for own in counts:
        _add(total, own)
    return total


def _add(total, own):
    for name, value in own.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value


def of_histories(histories):
    """Return one history. Slots of several clients need not fit together."""
    slots = {}
    for history in histories:
        for ago, *numbers in history:
            own = slots.setdefault(int(ago // SLOT), [0, 0, 0])
            own[:] = map(sum, zip(own, numbers, strict=True))
    return [(min((slot + 1) * SLOT, WIDTH), *numbers)
            for slot, numbers in sorted(slots.items(), reverse=True)
            if 0 <= slot < WIDTH // SLOT]


def of_slowest(lists):
    """Return the slowest operations of all."""
    return sorted((operation for found in lists for operation in found),
                  key=lambda operation: -operation['seconds'])[:_MOST]
