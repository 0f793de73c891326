# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The stamp of a value: the versions of what it depends on, in front of it.

Each version is stored under a key of its own. Removing that key makes all
values obsolete that depend on it: the next version that is made there has
never been before. So it does no harm either if memcached loses one.

A stamp is a line of keys, each with its version. Nothing else is read of it,
even if an attacker has written it.
"""

import re
import secrets

from p01.memcache.errors import UnreadableValue
from p01.memcache.values.flags import PLAIN


Versions = dict[bytes, bytes]  # of keys

# The most versions of one value, all of which have to be read.
MOST = 100

# In front of a built key that is a dependency, of one whose version is dated
# (see `p01.memcache.snapshots`), and of a version that is a lifetime.
TAG, TID, FRESH = b'tag:', b'tid:', b'fresh:'

# Bytes of a version, half of those of a dated one, and of the largest stamp.
VERSION = 16
SIZE = (MOST + 1) * (len(TAG) + 64 + 1 + 2 * VERSION + 1)

_is_version = re.compile(rb'[0-9a-f]{16}').fullmatch
_PAIR = (rb'(?:(?:tag:(?:[0-9a-f]{32}){1,2}|fresh:[0-9a-f]{16}) [0-9a-f]{16}'
         rb'|tid:(?:[0-9a-f]{32}){1,2} [0-9a-f]{32})')
is_stamp = re.compile(rb'%b(?: %b){,%d}' % (_PAIR, _PAIR, MOST)).fullmatch


def make() -> bytes:
    """Return a version that has never been before."""
    return secrets.token_hex(8).encode()


def put(versions: Versions, data: bytes) -> bytes:
    """Return the data behind the stamp."""
    words = [word for version in versions.items() for word in version]
    return b'%b\n%b' % (b' '.join(words), data)


def take(data: bytes) -> tuple[Versions, bytes]:
    """Return the versions in the stamp, and the data behind it."""
    end = data.find(b'\n', 0, SIZE)
    stamp = is_stamp(data, 0, max(end, 0))
    if stamp is None:
        raise UnreadableValue('malformed stamp')
    words = stamp[0].split()
    return dict(zip(words[::2], words[1::2], strict=True)), data[end + 1:]


def is_version(data: bytes, flags: int) -> bool:
    """Return whether what is stored is a version."""
    return flags == PLAIN and _is_version(data) is not None
