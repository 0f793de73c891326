# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The meta commands with which memcached lends the right to compute a value.

It knows them since its release 1.6; other servers and proxies refuse them.
As in `p01.memcache.wire.protocol`, a function makes a request, and a ``read_``
function reads its reply and believes nothing. The commands are those of the
section "Meta Commands" of memcached's ``doc/protocol.txt``.
"""

import re

from p01.memcache.wire.protocol import MAX_LINE
from p01.memcache.wire.protocol import MAX_VALUE
from p01.memcache.wire.protocol import check_key
from p01.memcache.wire.protocol import check_unique
from p01.memcache.wire.protocol import check_value
from p01.memcache.wire.protocol import one_of
from p01.memcache.wire.protocol import read_block
from p01.memcache.wire.protocol import unasked
from p01.memcache.wire.protocol import unexpected


_parse_value = re.compile(
    rb'VA (\d{1,10}) f(\d{1,10}) c(\d{1,20}) k([^ ]+)((?: [WXZ])*)\r\n'
).fullmatch

_parse_missing = re.compile(rb'EN(?: k([^ ]+))?\r\n').fullmatch

_parse_added = re.compile(
    rb'(HD|NS)(?: c(\d{1,20}))? k([^ ]+)\r\n').fullmatch


def get_or_renew(key, grace):
    """Ask for a value, and for the right to renew it.

    With less than `grace` seconds to live the value is returned, and one
    caller gets the right to compute it anew. No claim is made where there is
    none (N): to the server that is a hit, and its hit rate would be of no use.
    """
    check_key(key)
    renewal = b' R%d' % grace if grace else b''
    return b'mg %b v f c k%b\r\n' % (key, renewal)


def read_leased(reader, key, most=MAX_VALUE):
    """Return ``(data, flags, unique, win)`` of the key; None if there is none.

    ``win`` is True for the one who has the right, False for others while
    somebody has it, and None where nobody needs it.
    """
    line = reader.readline(MAX_LINE)
    missing = _parse_missing(line)
    if missing is not None:
        # Not all releases repeat the key.
        if missing[1] not in (None, key):
            raise unasked(missing[1])
        return None
    match = _parse_value(line)
    if match is None:
        raise unexpected(line)
    size, flags, unique, named, marks = match.groups()
    if named != key:
        raise unasked(named)
    check_unique(unique)
    data = read_block(reader, int(size), most)
    win = b'W' in marks or (False if b'Z' in marks else None)
    return data, int(flags), int(unique), win


def add(key, data, flags, expires):
    """Store a value where there is none, and ask for its unique number."""
    check_key(key)
    check_value(data)
    return b'ms %b %d F%d T%d c k ME\r\n%b\r\n' % (
        key, len(data), flags, expires, data)


def read_added(reader, key):
    """Return the unique number of what was stored; None if something is there.

    It is 0 where the server does not say it.
    """
    line = reader.readline(MAX_LINE)
    match = _parse_added(line)
    if match is None:
        raise unexpected(line)
    state, unique, named = match.groups()
    if named != key:
        raise unasked(named)
    if state == b'NS':
        return None
    check_unique(unique or 0)
    return int(unique or 0)


def is_leased(key):
    """Ask whether what was seen empty is no value."""
    check_key(key)
    return b'mg %b s\r\n' % key


def read_is_leased(reader):
    """Return True for a claim, and for one that is over.

    Of the latter something else is there by now, or nothing.
    """
    line = reader.readline(MAX_LINE)
    match = re.fullmatch(rb'(?:EN|HD s(\d{1,10})((?: [WXZ])*))\r\n', line)
    if match is None:
        raise unexpected(line)
    size, marks = match.groups()
    return size is None or int(size) > 0 or marks != b''


def make_stale(key, unique):
    """Let the next one who asks have the right to compute the value."""
    check_key(key)
    return b'md %b I C%d\r\n' % (key, unique)


#: True, it is done; False for changed by another, None for gone.
read_made_stale = one_of({
    b'HD\r\n': True, b'EX\r\n': False, b'NF\r\n': None})
