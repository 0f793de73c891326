# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An entry: what is under the key of a dependency, a version or a log.

A version is 32 hexadecimal digits. 16 of them are the id of a commit. The
others are random, as no version may ever come again: what was invalidated
without a commit would come back with it.

Anything else is a log, to which transactions append marks: ``+``, their name,
and until when the mark counts, as unix time; and at their end ``-`` and the
name. Appended to a version a mark turns it into a log, in one step.
"""

import re

from p01.memcache.values import stamp
from p01.memcache.values.flags import PLAIN


#: A log without a mark.
LOG = b'log'

#: Bytes from which on a log is to be tidied.
LONG = 2000

_is_version = re.compile(rb'[0-9a-f]{32}').fullmatch
_open = re.compile(rb'\+([0-9a-f]{16})([0-9a-f]{8})').findall
_ended = re.compile(rb'-([0-9a-f]{16})').findall


def keys(tags):
    """Return the keys of the entries of these dependencies."""
    return [stamp.TID + tag.removeprefix(stamp.TAG) for tag in tags]


def tag(key):
    """Return the dependency of an entry."""
    return stamp.TAG + key.removeprefix(stamp.TID)


def make(tid):
    """Return a version of the commit with this id."""
    return tid.hex().encode() + stamp.make()


def is_version(item):
    return (item is not None and item.flags == PLAIN
            and _is_version(item.data) is not None)


def is_after(version, tid):
    """Return whether the version is dated after the commit with this id."""
    return version[:16] > tid.hex().encode()


def mark(name, until):
    """Return the mark of a transaction that holds the dependency."""
    return b' +%b%08x' % (name, int(until))


def end(name):
    """Return the mark that ends those with that name."""
    return b' -%b' % name


def is_new(log):
    """Return whether there was nothing before it.

    Then marks may have been lost with what there had been.
    """
    return _is_version(log[:32]) is None


def held(log, now):
    """Return a set of the marks that hold the dependency."""
    ended = set(_ended(log))
    return {b' +' + name + until for name, until in _open(log)
            if name not in ended and int(until, 16) >= now}


def tidied(log, now):
    """Return a log with those marks alone."""
    return LOG + b''.join(sorted(held(log, now)))
