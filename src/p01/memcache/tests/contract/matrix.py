# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One scenario, asked of each client on each kind of server.

A scenario is a class with tests that is no ``TestCase`` itself. `matrix`
makes one of it for each cell: a client and what is behind it.
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
    """No server but a dict, which all clients of a test have in common.

    The keys here are those on the wire.
    """

    def makeClient(self, **settings):
        client = super().makeClient(**settings)
        if self.client is not None:
            testing.storage[client] = testing.storage[self.client]
        return client

    def plant(self, key, data, flags=0):
        """Put data and flags there that no client would."""
        testing.storage[self.client].cache[key] = data, flags

    def stored(self, key):
        """What is there: (data, flags) or None."""
        return testing.storage[self.client].cache.get(key)

    def lose(self, key):
        """As if the server had evicted it."""
        del testing.storage[self.client].cache[key]


class Served(ClientCase):
    """The same, on the server of a layer."""

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
    """A client and what is behind it."""

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
    """Decorate a scenario: it is asked of these cells.

    Of the `quick` ones at level 1, of the `slow` ones at level 2. `mixins`
    change the scenario, and are a part of the new classes' names.
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
    """All cells but these."""
    return [cell for cell in CELLS if cell not in cells]
