# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Sending commands in few requests, where their order allows it."""

import collections

from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.store import Fill
from p01.memcache.transactional.effects import is_absolute
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Discard


def send(commands, store, report, deadline):
    """Send the commands to the store, in their order.

    No error is raised, but reported. If it is interrupted, the keys of what
    has not been sent are owed.
    """
    waiting = collections.deque(batches(commands))
    try:
        while waiting:
            _send(waiting[0], store, report, deadline)
            waiting.popleft()
    finally:
        for key in {key for batch in waiting for key in batch} - {None}:
            store.owe(key)


def batches(commands):
    """Return a list of dicts of commands, by key, in their order.

    A command that a later one makes void is left out. One that empties the
    servers has no key; it is alone, and so is one that has a meaning on one
    server only.
    """
    needed, void = [], set()
    for command in reversed(commands):
        if command.key in void or command.only_at == '':
            continue
        needed.append(command)
        if command.key is None:
            break
        if is_absolute(command):
            void.add(command.key)
    result, is_alone = [], True
    for command in reversed(needed):
        alone = command.key is None or command.only_at is not None
        if alone or is_alone or command.key in result[-1]:
            result.append({})
        result[-1][command.key] = command
        is_alone = alone
    return result


def _send(batch, store, report, deadline):
    [command, *others] = batch.values()
    try:
        if command.key is None:
            replies = dict(store.ask_all(command, deadline))
        elif others:
            replies = store.run_many([command, *others], deadline)
        else:
            replies = {command.key: store.run(command, deadline)}
    except MemcacheError as error:
        replies = dict.fromkeys(batch, error)
    for key, reply in replies.items():
        command = batch.get(key, command)
        error = _error(command, reply)
        if error is not None:
            report(error, 'key %s: not invalidated' if command.removes
                   else 'key %s: not stored',
                   (command.key or b'all').decode())


def _error(command, reply):
    """Return the error to report, or None."""
    if isinstance(reply, MemcacheError):
        lost = isinstance(reply, LeaseLost) and type(command) is Fill
        return None if lost else reply
    if type(command) in (Cas, Discard) and not reply:
        # The transaction has been told that it is done.
        return MemcacheError('another client has changed it')
    return None
