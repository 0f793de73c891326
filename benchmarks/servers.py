# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of the works, each started when it is first needed."""

import contextlib

from delay import DelayingProxy

from p01.memcache.testing import Memcached


class Servers(contextlib.ExitStack):

    def __init__(self):
        super().__init__()
        self._servers = []
        self._away = {}

    def addresses(self, count=1, delay=0):
        """Return the addresses of servers, `delay` milliseconds away."""
        while len(self._servers) < count:
            # Megabytes: enough that nothing is evicted.
            self._servers.append(self.enter_context(Memcached('-m', '1024')))
        addresses = [server.address for server in self._servers[:count]]
        return [self._delayed(address, delay) for address in addresses
                ] if delay else addresses

    def _delayed(self, address, delay):
        if (address, delay) not in self._away:
            self._away[address, delay] = self.enter_context(
                DelayingProxy(address, delay / 1000))
        return self._away[address, delay].address
