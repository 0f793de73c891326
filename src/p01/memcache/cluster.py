# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client: which of them is asked, and what goes to all."""

import itertools
import math
import threading
from time import monotonic

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import ServerDown


class Cluster:
    """Some servers, among which a ring spreads the keys.

    The keys of a server that is down are misses. With `failover`, or where
    all servers have all keys, others stand in for it.
    """

    def __init__(self, servers, ring, failover):
        self.servers = servers
        self._ring = ring
        self._moves = failover or ring.alike
        self._single = servers[0] if len(servers) == 1 else None

    def inherit(self, former):
        """Take over what servers owe to another kind of cluster.

        Proxies share a backlog, and which of the servers behind them has a
        key is not known here. Between clusters of one kind there is nothing
        to be done: the servers keep their backlogs.
        """
        if former._ring.alike != self._ring.alike:
            for key in {key for server in former.servers
                        for key in list(server.backlog.keys)}:
                for server in self.servers:
                    server.backlog.add(key)

    def server(self, key, deadline):
        """Return the server to be asked for the key.

        It has been told by then of what it should have forgotten.
        """
        server = self._single or self._find(key, deadline)[0]
        if server.backlog.keys:
            server.backlog.deliver(server, key, deadline)
        return server

    def change(self, key, request, expires, read, deadline):
        """Change the key's value by what ``request(expires)`` returns.

        Where it is not certain that this was done, the server will have to
        forget the key before it is asked for it again. Without `expires` it
        is done only if it was done where the key belongs.
        """
        server, absent = self._find(key, deadline)
        if absent and expires is not None:
            seconds = max(1, math.ceil(min(
                other.health.absence for other in absent)))
            expires = min(expires or seconds, seconds)
        data = request(expires)
        for other in absent:
            other.backlog.add(key)
        try:
            if server.backlog.keys:
                server.backlog.deliver(server, key, deadline)
            reply = server.request(data, read, deadline)
        except BaseException:
            # With fail-over others may have it, too, from a moment ago.
            for other in self.servers if self._moves else (server,):
                other.backlog.add(key)
            raise
        if absent and expires is None:
            raise ServerDown(f'{absent[0].address} is down')
        return reply

    def _find(self, key, deadline):
        """Return the server to be asked, and those for which it stands in."""
        if self._single:
            return self._single, ()
        place = self._ring.find(key)
        server = self.servers[place]
        if self._moves and server.health.failures:
            return self._find_other(key, place, deadline)
        return server, ()

    def _find_other(self, key, place, deadline):
        home = self.servers[place]
        servers = itertools.chain([home], (
            self.servers[other] for other in self._ring.after(key, place)))
        if self._ring.alike:
            return min(servers, key=lambda server: server.health.pause), ()
        absent = []
        for server in servers:
            if not server.health.absence:
                return server, absent
            absent.append(server)
            if not server.health.is_settled(deadline):
                break  # what the next one has may be old
        # Nobody stands in. It is down, and says so.
        return home, absent

    def request_all(self, data, read, timeout):
        """Ask all servers at the same time, each for `timeout` seconds.

        Returns a list of each server and its reply or error.
        """
        deadline = monotonic() + timeout
        replies = {server: ReceiveTimeout('no reply in time')
                   for server in self.servers}

        def ask(server):
            try:
                reply = server.request(data, read, deadline)
            except MemcacheError as error:
                reply = error
            replies[server] = reply

        # Daemons, so that a server that hangs does not hold up the exit.
        threads = {server: threading.Thread(
            target=ask, args=(server,), name=server.address, daemon=True)
                   for server in self.servers[1:]}
        for server, thread in threads.items():
            try:
                thread.start()
            except RuntimeError as error:
                replies[server] = MemcacheError(str(error))
        ask(self.servers[0])
        for thread in threads.values():
            if thread.ident:
                thread.join(max(deadline - monotonic(), 0))
        return list(replies.items())

    def close(self):
        for server in self.servers:
            server.close()
