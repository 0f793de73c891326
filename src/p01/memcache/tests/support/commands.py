# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands: those of a client for many keys, under a condition and for
counters, and those on the wire.
"""

from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Append
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Decrement
from p01.memcache.wire.command import GetAndTouch
from p01.memcache.wire.command import Increment
from p01.memcache.wire.command import Touch
from p01.memcache.wire.meta import AddNumbered
from p01.memcache.wire.meta import GetOrRenew
from p01.memcache.wire.meta import MakeStale


# Every command, and what it returns if the server fails. Those in the second
# part change the value.
READING = {
    'queryMany': (lambda client, key: client.queryMany([key]), {}),
    'gets': (lambda client, key: client.gets(key, default='missing'),
             ('missing', None)),
    'touch': (lambda client, key: client.touch(key), None),
    'queryAndTouch': (
        lambda client, key: client.queryAndTouch(key, default='missing'),
        'missing'),
}

CHANGING = {
    'setMany': (lambda client, key: client.setMany({key: 'new'}), ['key']),
    'invalidateMany': (
        lambda client, key: client.invalidateMany([key]), ['key']),
    'add': (lambda client, key: client.add(key, 'new'), None),
    'replace': (lambda client, key: client.replace(key, 'new'), None),
    'append': (lambda client, key: client.append(key, b'0'), None),
    'prepend': (lambda client, key: client.prepend(key, b'1'), None),
    'cas': (
        lambda client, key, token='1@a': client.cas(key, 'new', token), None),
    'invalidateUnchanged': (
        lambda client, key, token='1@a': client.invalidateUnchanged(
            key, token), None),
    'setMany, dependencies': (
        lambda client, key: client.setMany({key: 'new'}, dependencies=['a']),
        ['key']),
    'replace, dependencies': (
        lambda client, key: client.replace(key, 'new', dependencies=['a']),
        None),
    'increment': (lambda client, key: client.increment(key), None),
    'increment, initial': (
        lambda client, key: client.increment(key, 1, 5), None),
    'decrement': (lambda client, key: client.decrement(key), None),
    'decrement, initial': (
        lambda client, key: client.decrement(key, 1, 5), None),
}

COMMANDS = {**READING, **CHANGING}


def find_commands(parent=Command):
    """Yield all commands of the wire that the package has."""
    for class_ in parent.__subclasses__():
        if class_.__module__.startswith('p01.memcache.wire.'):
            yield class_
        yield from find_commands(class_)


# Commands of one number.
NUMBERED = (
    lambda number: GetAndTouch(b'key', number),
    lambda number: Add(b'key', b'', number, 0),
    lambda number: Append(b'key', b'', 0, number),
    lambda number: Cas(b'key', b'', number, 1, 0),
    lambda number: Cas(b'key', b'', 0, number, 0),
    lambda number: Cas(b'key', b'', 0, 1, number),
    lambda number: Touch(b'key', number),
    lambda number: Increment(b'key', number),
    lambda number: Decrement(b'key', number),
    lambda number: GetOrRenew(b'key', number or '0'),
    lambda number: AddNumbered(b'key', b'', number, 0),
    lambda number: AddNumbered(b'key', b'', 0, number),
    lambda number: MakeStale(b'key', number),
)
