# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands that look at a key: which and get."""

from p01.memcache.console import site
from p01.memcache.console.status import PARTLY
from p01.memcache.console.status import WELL
from p01.memcache.console.trouble import complain
from p01.memcache.errors import ClientError
from p01.memcache.errors import ReceiveError
from p01.memcache.log import printable
from p01.memcache.stored import debug
from p01.memcache.stored import text
from p01.memcache.stored.layers import Stored
from p01.memcache.stored.layers import claim
from p01.memcache.stored.layers import obsolete
from p01.memcache.wire.command import Get


_NO_GENERATION = (
    'none: the namespace has no generation, so that every key is a miss')


def which(options):
    """Show where a key is, and what is there."""
    where = site.find(options)
    deadline = where.deadline()
    built, wire = where.find_key(options, deadline)
    _row('built key', built.decode('ascii', 'backslashreplace'))
    if wire is None:
        _row('value', _NO_GENERATION)
        return PARTLY
    _row('on the wire', wire.decode('ascii', 'backslashreplace'))
    server = where.store.server(wire, deadline)
    _row('server', server.address)
    # First: what follows counts as a read.
    known = _ask(server, wire, deadline)
    item = server.run(Get(wire, where.parts.codec.most), deadline)
    if item is None:
        _row('value', 'none')
        return PARTLY
    claimed = claim(where.store, wire, item, deadline)
    if claimed is not None:
        _row('value', f'none, but {claimed}')
        return PARTLY
    value = Stored(built, item, where.parts)
    wrong = value.wrong or obsolete(
        where.versions, value, deadline)
    _row('value', f'a miss: {wrong}' if wrong else value.kind)
    _row('flags', ', '.join([str(item.flags), *value.layers]))
    _row('size', f'{len(item.data):,} bytes' + (
        f', {len(value.data):,} below its layers' if value.layers else ''))
    _row('expires', _lifetime(known))
    if known is not None and debug.seconds_idle(known) is not None:
        _row('last used', f'{debug.seconds_idle(known)} s ago')
    return PARTLY if wrong else WELL


def get(options):
    """Print a value."""
    where = site.find(options)
    deadline = where.deadline()
    built, wire = where.find_key(options, deadline)
    item = wire and where.store.server(wire, deadline).run(
        Get(wire, where.parts.codec.most), deadline)
    if not item or claim(where.store, wire, item, deadline):
        return PARTLY
    value = Stored(built, item, where.parts)
    wrong = value.wrong or obsolete(
        where.versions, value, deadline)
    if wrong:
        complain(f'key {options.key!r}: {wrong}')
        return PARTLY
    print('\n'.join(text.of(value)))
    return WELL


def _ask(server, wire, deadline):
    """Return what the server knows of the item; None if it does not say."""
    try:
        return server.run(debug.Debug(wire), deadline)
    except ClientError:
        return None
    except ReceiveError as error:
        if type(error) is not ReceiveError:
            raise  # a time-out
        return None  # a proxy closes the connection


def _lifetime(known):
    left = None if known is None else debug.seconds_left(known)
    if left is None:
        return 'the server does not say it'
    return 'never' if left == -1 else f'in {left} s'


def _row(title, words):
    print(f'{title:12}{printable(words, 1000)}')
