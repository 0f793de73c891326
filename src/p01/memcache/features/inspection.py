# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Inspection: which of the items found are values that may be served.

A claim to compute a value may not, nor may a value that depends on a version
which is no longer the current one.
"""

from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.leases.claim import is_claim
from p01.memcache.values import stamp
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import STAMPED


# An item is inspected if it has one of these flags, or no data, which may be
# another client's claim. Most items are plain.
DOUBTFUL = STAMPED | CLAIM


def is_doubtful(item):
    """Return whether the item needs `inspect`."""
    return item.flags & DOUBTFUL or not item.data


def has_grace(codec, item):
    """Return whether the item is a value that was stored with a grace."""
    try:
        return item.flags & STAMPED and any(
            key.startswith(stamp.FRESH)
            for key in codec.unstamp(item.data, item.flags)[0])
    except UnreadableValue:
        return False


def inspect(state, trouble, items, deadline):
    """Return those of the `items` that are values, without their stamps.

    `items` is a dict by built key, and so is what is returned.
    """
    values, stamped = {}, {}
    for key, item in items.items():
        if item.flags & STAMPED:
            try:
                stamped[key] = state.codec.unstamp(item.data, item.flags)
                continue
            except UnreadableValue:
                pass  # reported when it is loaded
        elif is_doubtful(item) and _is_claim(
                state, trouble, key, item, deadline):
            continue
        values[key] = item
    if stamped:
        current, errors = state.versions.read(list({
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
            raise MemcacheError('no time left to ask whether it is a value')
        return is_claim(
            state.store, state.locate(key, deadline), item, deadline, False)
    except MemcacheError as error:
        # A miss; the other keys are not affected.
        trouble.report(error, 'key %s: not read', key.decode())
        return True
