# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands that look at a key: which and get."""

from p01.memcache.console import site
from p01.memcache.console.status import PARTLY
from p01.memcache.console.status import WELL
from p01.memcache.console.trouble import complain
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
    known = debug.ask(server, wire, deadline)
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
    _row('expires', debug.expiry(known))
    if debug.seconds_idle(known) is not None:
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


def _row(title, words):
    print(f'{title:12}{printable(words, 1000)}')
