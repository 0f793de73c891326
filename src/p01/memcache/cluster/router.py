# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Which server is asked for a key: its own, or one that stands in for it."""

import itertools
from collections.abc import Collection
from collections.abc import Sequence

from p01.memcache.cluster.ring import Ring
from p01.memcache.cluster.server import Server


#: A server, and the absent ones for which it stands in.
Route = tuple[Server, Sequence[Server]]


class Router:
    """Finds servers by a ring.

    With `failover`, or where all servers have all keys, others stand in for
    one that is down.
    """

    def __init__(self, servers: Sequence[Server], ring: Ring,
                 failover: bool) -> None:
        self.servers = servers
        self.ring = ring
        #: The only server, if there is just one.
        self.single = servers[0] if len(servers) == 1 else None
        self._moves = failover or ring.alike

    def address(self, key: bytes | None) -> str | None:
        """Return the address of the key's own server, None if not known.

        Without a key it is that of the only server.
        """
        if self.single is None and (key is None or self.ring.alike):
            return None
        server = self.single or self.servers[self.ring.find(key or b'')]
        return server.address

    def find(self, key: bytes, deadline: float) -> Route:
        """Return the server to ask, by the deadline, for the key."""
        if self.single:
            return self.single, ()
        index = self.ring.find(key)
        server = self.servers[index]
        if self._moves and server.health.failures:
            return self._find_other(key, index, deadline)
        return server, ()

    def find_all(
            self, keys: Collection[bytes], deadline: float,
            ) -> dict[bytes, Route]:
        if keys and (self.single or self.ring.alike):
            # One server has all of them, or one proxy finds them.
            return dict.fromkeys(keys, self.find(b'', deadline))
        if self._moves and any(
                server.health.failures for server in self.servers):
            return {key: self.find(key, deadline) for key in keys}
        homes: list[Route] = [(server, ()) for server in self.servers]
        find = self.ring.find
        return {key: homes[find(key)] for key in keys}

    def holders(self, key: bytes) -> Sequence[Server]:
        """Return the servers that may have the key."""
        if self._moves:
            # A stand-in may have it from a moment ago.
            return self.servers
        return [self.servers[self.ring.find(key)]]

    def _find_other(self, key: bytes, index: int, deadline: float) -> Route:
        home = self.servers[index]
        servers = itertools.chain([home], (
            self.servers[other] for other in self.ring.after(key, index)))
        if self.ring.alike:
            return min(servers, key=lambda server: server.health.pause), ()
        absent: list[Server] = []
        for server in servers:
            if not server.health.absence:
                return server, absent
            absent.append(server)
            if not server.health.is_settled(deadline):
                break  # the values of the next one may be old
        # No server can stand in. Asking the absent one raises an error.
        return home, absent
