# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contenders: our clients, other clients, and raw sockets as the limit.

All do the same work: the MD5 of the key, the pickle of the value, and a reply
from the server for each operation. Each has these methods:

``set(key, value)``, ``setMany({key: value})``
    return a true value if all was stored
``query(key)``
    returns the value, or None
``queryMany(keys)``
    returns a dict of what was found
``close()``

The peers have the time-outs of our clients, and Nagle's algorithm is off,
except for python-memcached, which leaves it on.
``title`` is their name, ``package`` the package to install, and ``isBounded``
tells whether `pool` bounds their connections.
"""

import hashlib
import importlib
import importlib.metadata
import pickle
import queue
import socket

from p01.memcache.client import MemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


TIMEOUT = 3
LIFETIME = 3600

# The connections of those whose pool has a bound.
POOL = 50


def build(key):
    return hashlib.md5(key.encode()).hexdigest()


def dump(value):
    return pickle.dumps(value, -1)


def split(address):
    host, port = address.split(':')
    return host, int(port)


class Limit:
    """The least that is needed: some sockets in a queue, and no checks."""

    title = 'raw sockets'
    package = None
    isBounded = True

    def __init__(self, servers, pool=POOL):
        self._servers = list(map(split, servers))
        self._pools = [queue.SimpleQueue() for _ in servers]
        self._left = [pool for _ in servers]

    def _connect(self, place):
        # Idle sockets are used first, as in a pool. It does no harm if a
        # thread makes one too many. A thread that gives one back may take it
        # again before those that wait: of 100 threads half get hardly any.
        try:
            return self._pools[place].get_nowait()
        except queue.Empty:
            if self._left[place] <= 0:
                return self._pools[place].get()
        self._left[place] -= 1
        connection = socket.create_connection(self._servers[place])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _place(self, name):
        if len(self._servers) == 1:
            return 0
        return int(name[:8], 16) % len(self._servers)

    def set(self, key, value):
        name, data = build(key), dump(value)
        place = self._place(name)
        connection = self._connect(place)
        connection.sendall(b'set %b 0 %d %d\r\n%b\r\n' % (
            name.encode(), LIFETIME, len(data), data))
        reply = connection.recv(64)
        self._pools[place].put(connection)
        return reply == b'STORED\r\n'

    def query(self, key):
        name = build(key)
        place = self._place(name)
        connection = self._connect(place)
        connection.sendall(b'get %b\r\n' % name.encode())
        reply = self._receive(connection)
        self._pools[place].put(connection)
        start = reply.find(b'\r\n') + 2
        return pickle.loads(reply[start:-7]) if start < len(reply) else None

    def setMany(self, mapping):
        requests = {}
        for key, value in mapping.items():
            name, data = build(key), dump(value)
            requests.setdefault(self._place(name), []).append(
                b'set %b 0 %d %d\r\n%b\r\n' % (
                    name.encode(), LIFETIME, len(data), data))
        connections = self._send(
            {place: b''.join(pieces) for place, pieces in requests.items()})
        for place, connection in connections.items():
            left = len(b'STORED\r\n') * len(requests[place])
            while left:
                left -= len(connection.recv(left))
            self._pools[place].put(connection)
        return True

    def queryMany(self, keys):
        built, names = {}, {}
        for key in keys:
            name = build(key)
            place = self._place(name)
            name = name.encode()
            built[name] = key
            names.setdefault(place, []).append(name)
        connections = self._send(
            {place: b'get %b\r\n' % b' '.join(wanted)
             for place, wanted in names.items()})
        found = {}
        for place, connection in connections.items():
            reply, start = self._receive(connection), 0
            self._pools[place].put(connection)
            while (end := reply.find(b'\r\n', start)) > start + 3:
                _, name, _, size = reply[start:end].split()
                start = end + 2 + int(size)
                found[built[name]] = pickle.loads(reply[end + 2:start])
                start += 2
        return found

    def _send(self, requests):
        connections = {place: self._connect(place) for place in requests}
        for place, request in requests.items():
            connections[place].sendall(request)
        return connections

    def _receive(self, connection):
        reply = connection.recv(65536)
        if reply.endswith(b'END\r\n'):
            return reply
        reply = bytearray(reply)
        while not reply.endswith(b'END\r\n'):
            reply += connection.recv(1 << 20)
        return bytes(reply)

    def close(self):
        for pool in self._pools:
            while not pool.empty():
                pool.get().close()


class Ultra(UltraMemcacheClient):

    title = 'UltraMemcacheClient'
    package = None
    isBounded = True

    def __init__(self, servers, pool=POOL):
        super().__init__(servers, maxPoolSize=pool)

    def setMany(self, mapping):
        return not super().setMany(mapping)


class Classic(MemcacheClient):

    title = 'MemcacheClient'
    package = None
    isBounded = False

    def __init__(self, servers, pool=None):
        super().__init__(servers)

    def setMany(self, mapping):
        return not super().setMany(mapping)


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
        self._client = client

    def close(self):
        self._client = self._get = self._set = None
        self._get_many = self._set_many = None


#: By name in the results; the limit first, the peers last.
CONTENDERS = {
    'limit': Limit,
    'ultra': Ultra,
    'classic': Classic,
    'pymemcache': Pymemcache,
    'python-memcached': PythonMemcached,
    'pylibmc': Pylibmc,
    'libmc': Libmc,
}

PEERS = ('pymemcache', 'python-memcached', 'pylibmc', 'libmc')


def version(name):
    """Return the version of another client, "" for those in this checkout."""
    package = CONTENDERS[name].package
    return importlib.metadata.version(package) if package else ''


def is_installed(name):
    try:
        version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check(client):
    """Raise a ValueError unless the client finds what it has stored."""
    values = {f'checked {number}': ['value', number] for number in range(9)}
    missing = 'never stored'
    if not (client.set('checked', 'a value')
            and client.query('checked') == 'a value'
            and client.query(missing) is None
            and client.setMany(values)
            and client.queryMany([*values, missing]) == values):
        raise ValueError('it does not find what it has stored')
