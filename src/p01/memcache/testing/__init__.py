# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Fakes, servers and test layers, for our tests and for applications'."""

from p01.memcache.testing.backend import FakeMemcached
from p01.memcache.testing.backend import getFakeBackend
from p01.memcache.testing.backend import storage
from p01.memcache.testing.fakes import FakeMemcacheClient
from p01.memcache.testing.fakes import FakeUltraMemcacheClient
from p01.memcache.testing.fakes import setUpFakeMemcached
from p01.memcache.testing.fakes import setUpFakeUltraMemcached
from p01.memcache.testing.fakes import tearDownFakeMemcached
from p01.memcache.testing.fakes import tearDownFakeUltraMemcached
from p01.memcache.testing.layers import ClusterLayer
from p01.memcache.testing.layers import EmbeddedLayer
from p01.memcache.testing.layers import MemcachedLayer
from p01.memcache.testing.layers import ServerLayer
from p01.memcache.testing.layers import StandardPortLayer
from p01.memcache.testing.pickable import Pickable
from p01.memcache.testing.processes import Memcached
from p01.memcache.testing.processes import ServerProcess
from p01.memcache.testing.processes import connect
from p01.memcache.testing.processes import free_ports


__all__ = [
    'ClusterLayer',
    'EmbeddedLayer',
    'FakeMemcacheClient',
    'FakeMemcached',
    'FakeUltraMemcacheClient',
    'Memcached',
    'MemcachedLayer',
    'Pickable',
    'ServerLayer',
    'ServerProcess',
    'StandardPortLayer',
    'connect',
    'free_ports',
    'getFakeBackend',
    'setUpFakeMemcached',
    'setUpFakeUltraMemcached',
    'storage',
    'tearDownFakeMemcached',
    'tearDownFakeUltraMemcached',
]
