# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What memcached would reply to a command, and what the key has after it."""

import re
from functools import singledispatch

from p01.memcache.store import Fill
from p01.memcache.wire import cas
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Append
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Decrement
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Discard
from p01.memcache.wire.command import GetAndTouch
from p01.memcache.wire.command import Increment
from p01.memcache.wire.command import Prepend
from p01.memcache.wire.command import Replace
from p01.memcache.wire.command import Set
from p01.memcache.wire.command import Touch
from p01.memcache.wire.item import Announced
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_NUMBER
from p01.memcache.wire.replies import NOT_A_NUMBER


# Instead of what the key has after the command: the value it had, or nothing
# to send, as it would change nothing.
KEPT, UNCHANGED = object(), object()

_is_number = re.compile(rb'\d{1,20}\s*').fullmatch


def is_absolute(command):
    """Return whether what it does is the same whatever the key had."""
    return type(command) in (Set, Delete)


def is_told(command):
    """Return whether its reply is the same whatever the key had."""
    return type(command) in (Set, Delete, Fill)


def limited(item, most):
    """Return the item; one of more than `most` bytes is only announced."""
    if item is not None and len(item.data) > most:
        return item._replace(data=Announced(len(item.data)))
    return item


@singledispatch
def outcome(command, item):
    """Return the reply to a command, and the `Item` that its key has then.

    `item` is what the key has before, or None; it has a token for `Cas`. An
    absolute command does not look at it.
    """
    raise TypeError(
        f'{type(command).__name__}: is no change to a single value')


@outcome.register
def _set(command: Set, item):
    return True, Item(command.data, command.flags)


@outcome.register
def _add(command: Add, item):
    if item is not None:
        return False, UNCHANGED
    return _set(command, item)


@outcome.register
def _replace(command: Replace, item):
    if item is None:
        return False, UNCHANGED
    return _set(command, item)


@outcome.register
def _append(command: Append, item):
    if item is None:
        return False, UNCHANGED
    return True, item._replace(data=item.data + command.data)


@outcome.register
def _prepend(command: Prepend, item):
    if item is None:
        return False, UNCHANGED
    return True, item._replace(data=command.data + item.data)


@outcome.register
def _cas(command: Cas, item):
    if item is None:
        return None, UNCHANGED
    if item.token != cas.make(command.unique, command.only_at):
        return False, UNCHANGED
    return _set(command, item)


@outcome.register
def _discard(command: Discard, item):
    if item is None:
        return True, UNCHANGED
    reply, item = _cas(command, item)
    return reply, item if item is UNCHANGED else None


@outcome.register
def _fill(command: Fill, item):
    return _set(command, item)


@outcome.register
def _touch(command: Touch, item):
    return (False, UNCHANGED) if item is None else (True, KEPT)


@outcome.register
def _get_and_touch(command: GetAndTouch, item):
    return limited(item, command.most), UNCHANGED if item is None else KEPT


@outcome.register
def _increment(command: Increment, item):
    if item is None:
        return None, UNCHANGED
    if not _is_number(item.data) or int(item.data) > MAX_NUMBER:
        return NOT_A_NUMBER, UNCHANGED
    number = int(item.data)
    if isinstance(command, Decrement):
        number = max(number - command.delta, 0)
    else:
        number = (number + command.delta) & MAX_NUMBER
    # memcached writes the digits over the old ones.
    return number, item._replace(
        data=(b'%d' % number).ljust(len(item.data)))


@outcome.register
def _delete(command: Delete, item):
    return True, None
