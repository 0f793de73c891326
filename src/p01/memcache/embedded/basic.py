# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The basic commands: all but the meta commands.

Each is a generator of the pieces of its reply. It is called with the session,
the name of the command and the other words of the line, which are bytes.
"""

import itertools

from p01.memcache.embedded import clock
from p01.memcache.embedded import replies
from p01.memcache.embedded import syntax
from p01.memcache.embedded.replies import HangUp
from p01.memcache.embedded.replies import Refused
from p01.memcache.embedded.statistics import TOPICS
from p01.memcache.embedded.storage import Item


def get(session, name, *keys):
    return _retrieve(session, name, keys)


def gat(session, name, exptime, *keys):
    expires = clock.deadline(syntax.integer(exptime, replies.BAD_EXPTIME))
    yield from _retrieve(session, name, keys, expires)


def _retrieve(session, name, keys, expires=None):
    storage = session.storage
    # If a key is too long no value is sent, but the items before it are
    # used, and touched.
    good = list(itertools.takewhile(
        lambda key: len(key) <= syntax.KEY_LENGTH, keys))
    refused = len(good) < len(keys)
    for key in good:
        item = storage.find(key)
        storage.count_fetch('get' if expires is None else 'touch', item)
        if item is None:
            continue
        item.use()
        if expires is not None:
            item.expires = expires
        if not refused:
            unique = b' %d' % item.cas if name.endswith('s') else b''
            yield b'VALUE %b %d %d%b\r\n%b\r\n' % (
                key, item.flags, len(item.value), unique, item.value)
    if refused:
        # It has two line ends, and a silent get still sends the second.
        silent = (expires is None and not good
                  and keys[:syntax.MOST_WORDS - 1][-1] == b'noreply')
        raise Refused((b'' if silent else replies.BAD_FORMAT) + b'\r\n')
    yield replies.END


def store(session, name, key, flags, exptime, length, *more):
    storage = session.storage
    length = syntax.data_length(length)
    try:
        syntax.check_key(key)
        flags = syntax.stored_flags(flags)
        expires = clock.deadline(syntax.stored_lifetime(exptime))
        cas = syntax.unsigned(more[0] if more else b'') if name == 'cas' else 0
        storage.admit(key, flags, length, replaces=name == 'set')
    except Refused:
        yield from session.skip_value(length)
        raise
    value = yield from session.read_value(length)
    item = Item(value, flags, expires, session.take_unique())
    yield replies.STORED[storage.store(name, key, item, cas)]


def delete(session, name, key, *more):
    syntax.check_key(key)
    item = session.storage.find(key)
    session.storage.count(name, item)
    if item is None:
        raise Refused(replies.NOT_FOUND)
    del session.storage.items[key]
    yield b'DELETED\r\n'


def touch(session, name, key, exptime, *more):
    syntax.check_key(key)
    expires = clock.deadline(syntax.integer(exptime, replies.BAD_EXPTIME))
    item = session.storage.find(key)
    session.storage.count_fetch(name, item)
    if item is None:
        raise Refused(replies.NOT_FOUND)
    item.use()
    item.expires = expires
    yield b'TOUCHED\r\n'


def calculate(session, name, key, delta, *more):
    syntax.check_key(key)
    delta = syntax.unsigned(delta, replies.BAD_DELTA)
    item = session.storage.find(key)
    if item is None:
        session.storage.count(name, None)
        raise Refused(replies.NOT_FOUND)
    item = session.storage.calculate(name, key, item, delta)
    yield item.value.rstrip() + b'\r\n'


def flush_all(session, name, *words):
    storage = session.storage
    storage.counters['cmd_flush'] += 1
    delay = 0
    if words and words != (b'noreply',):
        delay = syntax.integer(words[0], replies.BAD_EXPTIME)
    # memcached counts from the second before, so 1 is at once as well.
    if delay > 1:
        storage.flush_at = clock.deadline(delay) - 1
    else:
        storage.flush()
    yield replies.OK


def stats(session, name, topic=b'', *more):
    if topic == b'reset':
        session.storage.counters.clear()
        yield b'RESET\r\n'
        return
    if topic not in TOPICS:
        raise Refused(replies.ERROR)
    for label, value in TOPICS[topic](session.storage).items():
        yield f'STAT {label} {value}\r\n'.encode()
    yield replies.END


def verbosity(session, name, level, *more):
    syntax.unsigned(level, bits=32)
    yield replies.OK


def version(session, name, *words):
    yield b'VERSION %b\r\n' % replies.VERSION.encode()


def config(session, name, *words):
    nodes = ' '.join(session.storage.cluster).encode()
    if not nodes or words != (b'get', b'cluster'):
        yield from unknown(session, name, *words)
        return
    yield b'CONFIG cluster 0 %d\r\n1\n%b\n\r\n' % (len(nodes) + 3, nodes)
    yield replies.END


def leave(session, name, *words):
    raise HangUp


def unknown(session, name, *words):
    if words and words[-1].startswith(b'HTTP/'):
        # A browser that went astray.
        raise HangUp
    yield replies.ERROR
