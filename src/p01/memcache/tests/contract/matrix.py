# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One scenario, run for each client on each kind of server.

A scenario is a class with tests that is not a ``TestCase`` itself. `matrix`
makes one of it for each cell: a client, and a kind of server.
"""

import unittest
from typing import NamedTuple

from p01.memcache import testing
from p01.memcache.client import MemcacheClient
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.testing import EmbeddedLayer
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.servers import ask
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.servers import plant
from p01.memcache.tests.support.variants import make
from p01.memcache.uclient import UltraMemcacheClient


class Fake(ClientCase):
    """No server, but a dict that all clients of a test share.

    The keys here are those on the wire.
    """

    def makeClient(self, **settings):
        client = super().makeClient(**settings)
        if self.client is not None:
            testing.storage[client] = testing.storage[self.client]
        return client

    def plant(self, key, data, flags=0):
        """Store data and flags that no client would store."""
        testing.storage[self.client].cache[key] = data, flags

    def stored(self, key):
        """Return what is stored: (data, flags), or None."""
        return testing.storage[self.client].cache.get(key)

    def lose(self, key):
        """Remove the item, as if the server had evicted it."""
        del testing.storage[self.client].cache[key]


class Served(ClientCase):
    """Like `Fake`, on the server of a layer."""

    layer = None

    def makeClient(self, **settings):
        return super().makeClient(
            **{'servers': [self.layer.address], **settings})

    def plant(self, key, data, flags=0):
        plant(self.layer.address, key, data, flags)

    def stored(self, key):
        return look(self.layer.address, key)

    def lose(self, key):
        reply = ask(
            self.layer.address, b'delete %b\r\n' % key.encode(), b'\r\n')
        self.assertEqual(reply, b'DELETED\r\n')


class Embedded(Served):

    layer = EmbeddedLayer


class OnMemcached(Served):

    layer = MemcachedLayer


class Cell(NamedTuple):
    """A client, and the kind of server behind it."""

    name: str
    factory: type
    interface: type
    server: type


FAKES = CLASSIC_FAKE, POOLED_FAKE = (
    Cell('ClassicFake', FakeMemcacheClient, IMemcacheClient, Fake),
    Cell('PooledFake', FakeUltraMemcacheClient, IUltraMemcacheClient, Fake))
EMBEDDED = CLASSIC_EMBEDDED, POOLED_EMBEDDED = (
    Cell('ClassicEmbedded', MemcacheClient, IMemcacheClient, Embedded),
    Cell('PooledEmbedded', UltraMemcacheClient, IUltraMemcacheClient,
         Embedded))
MEMCACHED = CLASSIC_MEMCACHED, POOLED_MEMCACHED = (
    Cell('ClassicMemcached', MemcacheClient, IMemcacheClient, OnMemcached),
    Cell('PooledMemcached', UltraMemcacheClient, IUltraMemcacheClient,
         OnMemcached))
CELLS = *FAKES, *EMBEDDED, *MEMCACHED


def matrix(*quick, slow=(), mixins=(), **attributes):
    """Decorate a scenario: it is run for these cells.

    The `quick` ones run at level 1, the `slow` ones at level 2. `mixins`
    change the scenario, and are part of the names of the new classes.
    """
    def decorate(scenario):
        title = scenario.__name__.removesuffix('Scenario') + ''.join(
            mixin.__name__ for mixin in mixins)
        for level, cells in (1, quick), (2, slow):
            for cell in cells:
                make(f'{title}{cell.name}Test',
                     (*mixins, scenario, cell.server, unittest.TestCase),
                     scenario.__module__,
                     {'factory': cell.factory, 'interface': cell.interface,
                      'level': level, **attributes})
        return scenario

    return decorate


def all_but(*cells):
    """Return all cells but these."""
    return [cell for cell in CELLS if cell not in cells]
