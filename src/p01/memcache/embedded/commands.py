# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The table of the commands: their names, and what a line needs to be one."""

from typing import Any
from typing import NamedTuple

from p01.memcache.embedded import basic
from p01.memcache.embedded import meta


class Command(NamedTuple):
    """A command, and how its line is read.

    `run` is a generator of replies, see `basic`. A line has at least `fewest`
    words behind the name. `noreply` says whether that word at its end is
    understood, and `indented` whether there may be spaces before the name.
    """

    run: Any
    fewest: int
    noreply: bool = False
    indented: bool = False


COMMANDS = {
    b'get': Command(basic.get, 1),
    b'gets': Command(basic.get, 1),
    b'gat': Command(basic.gat, 2),
    b'gats': Command(basic.gat, 2),
    b'set': Command(basic.store, 4, noreply=True),
    b'add': Command(basic.store, 4, noreply=True),
    b'replace': Command(basic.store, 4, noreply=True),
    b'append': Command(basic.store, 4, noreply=True),
    b'prepend': Command(basic.store, 4, noreply=True),
    b'cas': Command(basic.store, 4, noreply=True),
    b'delete': Command(basic.delete, 1, noreply=True),
    b'touch': Command(basic.touch, 2, noreply=True),
    b'incr': Command(basic.calculate, 2, noreply=True),
    b'decr': Command(basic.calculate, 2, noreply=True),
    b'mn': Command(meta.noop, 0),
    b'mg': Command(meta.get, 1),
    b'ms': Command(meta.store, 2),
    b'md': Command(meta.delete, 1),
    b'ma': Command(meta.calculate, 1),
    b'flush_all': Command(basic.flush_all, 0, noreply=True, indented=True),
    b'verbosity': Command(basic.verbosity, 1, noreply=True, indented=True),
    b'version': Command(basic.version, 0),
    b'stats': Command(basic.stats, 0),
    b'config': Command(basic.config, 0, noreply=True),
    b'quit': Command(basic.leave, 0),
}

#: What answers to any other name.
UNKNOWN = Command(basic.unknown, 0, noreply=True)
