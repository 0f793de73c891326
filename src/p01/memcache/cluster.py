# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client: which of them has a key, and what goes to all.

A key's server is the one that python-memcached chooses, so that both clients
of this package find each other's keys.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from p01.memcache.errors import MemcacheError


class Cluster:
    """Some servers, in the configured order."""

    def __init__(self, servers):
        self.servers = servers

    def server(self, key):
        """Return the server that has the key."""
        if len(self.servers) == 1:
            return self.servers[0]
        return self.servers[
            (zlib.crc32(key) >> 16 & 0x7fff) % len(self.servers)]

    def request_all(self, data, read, timeout):
        """Ask all servers at the same time, each for `timeout` seconds.

        Returns a list of each server's address and its reply or error.
        """
        deadline = monotonic() + timeout

        def ask(server):
            try:
                return server.address, server.request(data, read, deadline)
            except MemcacheError as error:
                return server.address, error

        with ThreadPoolExecutor(len(self.servers)) as executor:
            return list(executor.map(ask, self.servers))

    def close(self):
        for server in self.servers:
            server.close()
