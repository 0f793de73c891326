# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The versions of what a value depends on, in front of the value.

Each version is stored under a key of its own, which is removed to make all
values obsolete that depend on it: whoever needs a version again makes one
that never was before. So it does not matter either if memcached loses one.

A stamp is a line of the keys and their versions, one after the other. Nothing
but such keys and versions is read of it, whoever has written it.
"""

import re
import secrets

from p01.memcache.errors import UnreadableValue
from p01.memcache.values.flags import PLAIN


# Versions of one value, all of which have to be read.
MOST = 100

# What is in front of a built key that is a dependency, and of a version that
# is a value's own lifetime.
TAG = b'tag:'
FRESH = b'fresh:'

# Bytes of a version, and of the largest stamp.
VERSION = 16
SIZE = (MOST + 1) * (len(TAG) + 64 + 1 + VERSION + 1)

_is_version = re.compile(rb'[0-9a-f]{16}').fullmatch
_PAIR = rb'(?:tag:(?:[0-9a-f]{32}){1,2}|fresh:[0-9a-f]{16}) [0-9a-f]{16}'
_is_stamp = re.compile(rb'%b(?: %b){,%d}' % (_PAIR, _PAIR, MOST)).fullmatch


def make():
    """Return a version that never was before."""
    return secrets.token_hex(8).encode()


def put(versions, data):
    """Return the data with the stamp in front of it."""
    words = [word for version in versions.items() for word in version]
    return b'%b\n%b' % (b' '.join(words), data)


def take(data):
    """Return the versions and the data, without the stamp."""
    end = data.find(b'\n', 0, SIZE)
    stamp = _is_stamp(data, 0, max(end, 0))
    if stamp is None:
        raise UnreadableValue('a stamp that is none')
    words = stamp[0].split()
    return dict(zip(words[::2], words[1::2], strict=True)), data[end + 1:]


def version(item):
    """Return the version that an `Item` is, or None."""
    if item is not None and item.flags == PLAIN and _is_version(item.data):
        return item.data
    return None
