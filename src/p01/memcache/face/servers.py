# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The client for some servers, as the user of a look-alike lists them."""

import threading

from zope.component import getAllUtilitiesRegisteredFor

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


_clients = {}
_lock = threading.Lock()


def shown(server):
    """Return the server as python-memcached shows it, with its weight."""
    address, _, weight = server.partition('/?')
    return f'{address} ({weight or 1})'


def find(servers):
    """Return the utility with these servers, or else a client of our own.

    All that list the same servers share it, and so its connections.
    """
    servers = [
        '{}/?{}'.format(*server) if isinstance(server, tuple) else server
        for server in servers]
    for client in getAllUtilitiesRegisteredFor(IMemcacheClient):
        if list(client.servers) == servers:
            return client
    key = tuple(servers)
    with _lock:
        if key not in _clients:
            _clients[key] = UltraMemcacheClient(servers)
        return _clients[key]
