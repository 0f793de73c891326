# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client: which of them has a key, and what goes to all.

A key's server is the one that python-memcached chooses, so that both clients
of this package find each other's keys.
"""

import threading
import zlib
from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveTimeout


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
        replies = {server.address: ReceiveTimeout('no reply in time')
                   for server in self.servers}

        def ask(server):
            try:
                reply = server.request(data, read, deadline)
            except MemcacheError as error:
                reply = error
            replies[server.address] = reply

        # Daemons, so that a server that hangs does not hold up the exit.
        threads = [threading.Thread(
            target=ask, args=(server,), name=server.address, daemon=True)
                   for server in self.servers[1:]]
        for thread in threads:
            try:
                thread.start()
            except RuntimeError as error:
                replies[thread.name] = MemcacheError(str(error))
        ask(self.servers[0])
        for thread in threads:
            if thread.ident:
                thread.join(max(deadline - monotonic(), 0))
        return list(replies.items())

    def close(self):
        for server in self.servers:
            server.close()
