# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Claims: what is stored in place of a value that is computed.

A claim tells others to wait. A watch is one for which nobody waits: it is gone
as soon as the key is changed, and the next caller that wants to compute the
value puts a claim in its place.
"""

from p01.memcache.values import stamp
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import PLAIN


#: An ``exptime`` in the past: a value expires at once. A negative number would
#: mean the same, but proxies close the connection on it.
AT_ONCE = 60 * 60 * 24 * 30 + 1

# Seconds for which a claim lasts. A value that takes longer to compute is not
# stored. No caller waits that long for one that has died, see `computing`.
SECONDS = 600

# Seconds for which a watch lasts. What a transaction computes is not stored
# if it takes longer until its commit.
WATCHED = 60

# What a watch begins with.
_WATCH = b'\x80\x02T'


class Moved(Exception):
    """Raised if a key has changed meanwhile: look again."""


def make_mark():
    """Return a unique claim.

    To a reader that knows no claims, such as an older release, it is a pickle
    of None: the text is pushed and popped, and None is left.
    """
    return b'\x80\x02U\x10%b0N.' % stamp.make()


def make_watch():
    """Return a unique watch, another pickle of None."""
    return _WATCH + b'\x10\0\0\0%b0N.' % stamp.make()


def is_watch(data):
    return data.startswith(_WATCH)


def is_claim(store, key, item, deadline, doubtful):
    """Return whether the item is a claim, and not a value.

    Other clients' claims are empty values. `doubtful` is returned for an empty
    value if the server cannot tell whether it is one of them.
    """
    if item.data or item.flags != PLAIN:
        return item.flags == CLAIM
    leased = store.server(key, deadline).is_leased(key, deadline)
    return doubtful if leased is None else leased
