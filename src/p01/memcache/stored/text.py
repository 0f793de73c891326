# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A value of any client as text that a terminal can show."""

import json
import pprint

from p01.memcache.log import describe
from p01.memcache.log import printable
from p01.memcache.stored.layers import names
from p01.memcache.values import careful
from p01.memcache.values.allowlist import Allowlist
from p01.memcache.values.flags import JSON


# Characters of a value that is laid out. A pickle of a few bytes may name the
# same part millions of times, and a deep one is indented at every line.
_MOST = 1 << 22

# For what is cut nowhere: it is as large as what is stored.
_ALL = 1 << 30

# Plain data, and nothing that would be imported or called.
_PLAIN = Allowlist(())


def of(stored):
    """Return the value of a `Stored` as printable lines."""
    data = stored.data
    if stored.flags == JSON:
        text = _json(data)
    elif stored.is_pickle:
        text = _pickle(data)
    else:
        text = _bytes(data)
    return [printable(line, _ALL) for line in text.split('\n')]


def _json(data):
    try:
        obj = json.loads(data)
        if _cost(obj, max(_MOST, 8 * len(data))) > 0:
            return json.dumps(obj, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return _bytes(data)


def _bytes(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return repr(data)


def _pickle(data):
    what = 'is too large to be shown'
    try:
        # Not by the unpickler in C: it reserves 32 GB if a few bytes say so.
        if len(data) <= _MOST:
            obj = careful.loads(data, _PLAIN)
            if _cost(obj, _MOST) > 0:
                return pprint.pformat(obj, width=78, sort_dicts=False)
    except Exception as error:
        what = f'is not plain data: {describe(error)}'
    return f'A pickle of {len(data):,} bytes {what}\n{_named(data)}'


def _named(data):
    try:
        found = names(data)
    except Exception as error:
        return f'It is malformed: {describe(error)}'
    return 'It refers to ' + (
        ', '.join(map(printable, found[:50])) or 'nothing')


def _cost(obj, left, depth=0):
    """Return what is left of a budget of characters; 0 if it is used up."""
    left -= 8 + depth + (
        len(obj) if isinstance(obj, (str, bytes, bytearray)) else 0)
    parts = ()
    if isinstance(obj, dict):
        parts = (part for pair in obj.items() for part in pair)
    elif isinstance(obj, (list, tuple, set, frozenset)):
        parts = obj
    elif isinstance(obj, slice):
        parts = obj.start, obj.stop, obj.step
    for part in parts:
        if left <= 0:
            return 0
        left = _cost(part, left, depth + 1)
    return max(left, 0)
