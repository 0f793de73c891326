# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A memcached server inside the process, for demo, development and tests.

It speaks memcached's text protocol over a real socket and answers as
memcached 1.6.45 does, to the byte, also where that is odd: the tests hold the
same conversations with both. It shares no code with the client side, so
neither can hide a mistake of the other.

From top to bottom: `server` listens, `session` is one client's dialogue
without its socket, `commands` is the table of the commands, `basic` and
`meta` carry them out, `statistics` reports, `storage` keeps the items,
`syntax` reads requests, and `replies` and `clock` say what is left to say.

Some things it does not do. It has no bound on memory and no LRU eviction, no
binary protocol, no TLS, no SASL, no UDP and no IPv6. The command `me` is
missing, and `stats` knows the common names only. A get may have a megabyte of
keys, whereas memcached takes any number, and discards what it has not yet
sent if one of them is too long. Lifetimes end to the moment, and nothing is
counted after `flush_all` or its lifetime has taken it away; memcached's clock
ticks once a second, and its counts include dead items until it comes across
them.
"""

from p01.memcache.embedded.commands import COMMANDS
from p01.memcache.embedded.replies import VERSION
from p01.memcache.embedded.server import EmbeddedServer
from p01.memcache.embedded.session import Session
from p01.memcache.embedded.storage import Item
from p01.memcache.embedded.storage import Storage


__all__ = ['COMMANDS', 'VERSION', 'EmbeddedServer', 'Item', 'Session',
           'Storage']
