# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Which of the items that were found are values that count.

A claim to compute a value is none, nor is a value with another version than
that which it depends on.
"""

from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.features import dependencies
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import STAMPED


# With one of these flags an item has to be inspected; or without data, as
# other clients' claims are. Most items are plain.
DOUBTFUL = STAMPED | CLAIM


def is_doubtful(item):
    """Return whether `inspect` has to look at it."""
    return item.flags & DOUBTFUL or not item.data


def inspect(state, trouble, items, deadline):
    """Return a dict of those keys whose items are values, and these.

    The keys are built ones, and the items are without stamps.
    """
    values, stamped = {}, {}
    for key, item in items.items():
        if item.flags & STAMPED:
            try:
                stamped[key] = state.codec.unstamp(item.data, item.flags)
                continue
            except UnreadableValue:
                pass  # that is reported when it is loaded
        elif is_doubtful(item) and _is_claim(
                state, trouble, key, item, deadline):
            continue
        values[key] = item
    if stamped:
        current, errors = dependencies.read(state.store, list({
            tag for versions, _ in stamped.values() for tag in versions
        }), deadline)
        for error in errors:
            trouble.report(error, '%s: versions not read', 'dependencies')
        for key, (versions, (data, flags)) in stamped.items():
            if all(current.get(tag) == version
                   for tag, version in versions.items()):
                values[key] = items[key]._replace(data=data, flags=flags)
    return values


def _is_claim(state, trouble, key, item, deadline):
    try:
        if monotonic() >= deadline:
            raise MemcacheError('no time to ask whether it is a value')
        return state.lending.is_claim(
            state.locate(key, deadline), item, deadline, False)
    except MemcacheError as error:
        # A miss, and none of the other keys' concern.
        trouble.report(error, 'key %s: not read', key.decode())
        return True
