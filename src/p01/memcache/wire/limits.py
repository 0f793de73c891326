# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The limits of memcached's protocol, and of what a server may send."""

import re


# Bytes of a key.
MAX_KEY = 250

# Bytes of the largest item that memcached can be configured for (-I 1024m).
MAX_VALUE = 1 << 30

# Counters have 64 bits, and so has the unique number of a value.
MAX_NUMBER = (1 << 64) - 1

# Bytes of a line. The longest one that any reply needs is far shorter.
MAX_LINE = 2048

# What `Stats` may be asked for, besides what it says of itself.
STATISTICS = 'items', 'slabs', 'settings', 'sizes', 'conns'

# memcached has some hundred statistics, of a few bytes each, or four for each
# of its connections: usually 1,024 at most.
MAX_STATISTICS, MAX_BYTES_OF_STATISTICS = 5000, 1 << 18

is_key = re.compile(rb'[^\x00-\x20\x7f]{1,%d}' % MAX_KEY).fullmatch


def check_key(key: bytes) -> None:
    """Raise a ValueError if memcached would not take `key` for one key."""
    if type(key) is bytes and key.isalnum() and len(key) <= MAX_KEY:
        return  # as most keys that a client builds
    if not is_key(key):
        raise ValueError(
            f'key {key!r}: must be 1 to {MAX_KEY} bytes, without blanks and'
            ' control characters')
