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
``invalidateMany(keys)``
    returns a true value if none of them is stored any longer
``getOrCreate(key, factory)``
    returns the value; only some have it
``close()``

``title`` is their name, ``package`` the package to install, and ``isBounded``
tells whether `pool` bounds their connections.
"""

import importlib.metadata

from benchmarks.conditions import POOL
from benchmarks.limit import Limit
from benchmarks.peers import Libmc
from benchmarks.peers import Pylibmc
from benchmarks.peers import Pymemcache
from benchmarks.peers import PythonMemcached
from p01.memcache.client import MemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


class Ultra(UltraMemcacheClient):

    title = 'UltraMemcacheClient'
    package = None
    isBounded = True

    def __init__(self, servers, pool=POOL):
        super().__init__(servers, maxPoolSize=pool)

    def setMany(self, mapping):
        return not super().setMany(mapping)

    def invalidateMany(self, keys):
        return not super().invalidateMany(keys)


class Classic(MemcacheClient):

    title = 'MemcacheClient'
    package = None
    isBounded = False

    def __init__(self, servers, pool=None):
        super().__init__(servers)

    def setMany(self, mapping):
        return not super().setMany(mapping)

    def invalidateMany(self, keys):
        return not super().invalidateMany(keys)


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
    """Raise a ValueError unless the client finds what is stored, no more."""
    values = {f'checked {number}': ['value', number] for number in range(9)}
    missing = 'never stored'
    if not (client.set('checked', 'a value')
            and client.query('checked') == 'a value'
            and client.query(missing) is None
            and client.setMany(values)
            and client.queryMany([*values, missing]) == values):
        raise ValueError('it does not find what it has stored')
    if not client.invalidateMany(list(values)) or client.queryMany(values):
        raise ValueError('it finds what it has removed')
