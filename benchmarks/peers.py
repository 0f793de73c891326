# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The peers: other clients, each with its pool.

They have the time-outs of our clients, and Nagle's algorithm is off, except
for python-memcached, which leaves it on.
"""

import importlib
import pickle

from benchmarks.conditions import LIFETIME
from benchmarks.conditions import POOL
from benchmarks.conditions import TIMEOUT
from benchmarks.conditions import build
from benchmarks.conditions import dump
from benchmarks.conditions import split


class _Peer:
    """Another client; a subclass names its calls.

    They are attributes, so that no further call is added.
    """

    isBounded = False

    def set(self, key, value):
        return self._set(build(key), dump(value), LIFETIME)

    def query(self, key):
        data = self._get(build(key))
        return None if data is None else pickle.loads(data)

    def setMany(self, mapping):
        return self._set_many(
            {build(key): dump(value) for key, value in mapping.items()},
            LIFETIME)

    def queryMany(self, keys):
        built = {build(key): key for key in keys}
        return {built[name]: pickle.loads(data)
                for name, data in self._get_many(list(built)).items()}

    def invalidateMany(self, keys):
        return self._delete_many(list(map(build, keys)))

    def close(self):
        self._close()


class Pymemcache(_Peer):

    title = package = 'pymemcache'

    def __init__(self, servers, pool=POOL):
        options = {'timeout': TIMEOUT, 'connect_timeout': TIMEOUT,
                   # An empty pool is an error, and not waited for.
                   'no_delay': True, 'max_pool_size': max(pool, 128),
                   'default_noreply': False}
        if len(servers) == 1:
            base = importlib.import_module('pymemcache.client.base')
            client = base.PooledClient(split(servers[0]), **options)
        else:
            base = importlib.import_module('pymemcache.client.hash')
            client = base.HashClient(
                list(map(split, servers)), use_pooling=True, **options)
        self._get, self._set = client.get, client.set
        self._get_many, self._close = client.get_many, client.close
        self._delete_many = client.delete_many
        self._client = client

    def _set_many(self, mapping, lifetime):
        return not self._client.set_many(mapping, lifetime)


class PythonMemcached(_Peer):

    title = package = 'python-memcached'

    def __init__(self, servers, pool=None):
        client = importlib.import_module('memcache').Client(
            servers, socket_timeout=TIMEOUT)
        self._get, self._set = client.get, client.set
        self._get_many, self._client = client.get_multi, client
        self._delete_many = client.delete_multi
        self._close = client.disconnect_all

    def _set_many(self, mapping, lifetime):
        return not self._client.set_multi(mapping, lifetime)


class Pylibmc:

    title = package = 'pylibmc'
    isBounded = False

    def __init__(self, servers, pool=None):
        pylibmc = importlib.import_module('pylibmc')
        self._pool = pylibmc.ThreadMappedPool(pylibmc.Client(
            servers, behaviors={
                'tcp_nodelay': True, 'ketama': len(servers) > 1,
                # In milliseconds; those for data in microseconds.
                'connect_timeout': TIMEOUT * 1000,
                'send_timeout': TIMEOUT * 1000_000,
                'receive_timeout': TIMEOUT * 1000_000}))

    def set(self, key, value):
        with self._pool.reserve() as client:
            return client.set(build(key), dump(value), LIFETIME)

    def query(self, key):
        with self._pool.reserve() as client:
            data = client.get(build(key))
        return None if data is None else pickle.loads(data)

    def setMany(self, mapping):
        with self._pool.reserve() as client:
            return not client.set_multi(
                {build(key): dump(value) for key, value in mapping.items()},
                LIFETIME)

    def queryMany(self, keys):
        built = {build(key): key for key in keys}
        with self._pool.reserve() as client:
            found = client.get_multi(list(built))
        return {built[name]: pickle.loads(data)
                for name, data in found.items()}

    def invalidateMany(self, keys):
        # It returns False if one of them was not there.
        with self._pool.reserve() as client:
            client.delete_multi(list(map(build, keys)))
        return True

    def close(self):
        self._pool.clear()


class Libmc(_Peer):

    title = package = 'libmc'
    isBounded = True

    def __init__(self, servers, pool=POOL):
        libmc = importlib.import_module('libmc')
        client = libmc.ThreadedClient(servers)
        client.config(libmc.MC_MAX_CLIENTS, pool)
        client.config(libmc.MC_POLL_TIMEOUT, TIMEOUT * 1000)
        client.config(libmc.MC_CONNECT_TIMEOUT, TIMEOUT * 1000)
        self._get, self._set = client.get, client.set
        self._get_many, self._set_many = client.get_multi, client.set_multi
        self._delete_many = client.delete_multi
        self._client = client

    def close(self):
        self._client = self._get = self._set = None
        self._get_many = self._set_many = self._delete_many = None
