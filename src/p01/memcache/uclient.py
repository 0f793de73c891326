# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pooled memcache client."""

from time import monotonic

from zope.interface import implementer

from p01.memcache import protocol
from p01.memcache.base import BaseClient
from p01.memcache.cluster import Cluster
from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.server import Server


@implementer(IUltraMemcacheClient)
class UltraMemcacheClient(BaseClient):
    """See `IUltraMemcacheClient`."""

    _interface = IUltraMemcacheClient
    _told = (ServerDown, ConnectError, ConnectTimeout, SendError, SendTimeout,
             ReceiveError, ReceiveTimeout, ProtocolError)

    # What the connections depend on.
    _connecting = frozenset((
        'servers', 'retries', 'delay', 'blacktime', 'maxPoolSize',
        'pooltime'))
    _cluster = None

    def __init__(self, servers=('127.0.0.1:11211',), debug=0,
                 pickleProtocol=-1, lifetime=3600, namespace=None, timeout=3,
                 delay=3, retries=3, pooltime=60, blacktime=60,
                 maxPoolSize=50):
        super().__init__(servers, debug, pickleProtocol, lifetime, namespace)
        self.timeout = timeout
        self.delay = delay
        self.retries = retries
        self.pooltime = pooltime
        self.blacktime = blacktime
        self.maxPoolSize = maxPoolSize
        self._cluster = self._connect()

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name in self._connecting and self._cluster is not None:
            former, self._cluster = self._cluster, self._connect()
            former.close()

    def getPools(self):
        return [
            (server.address, server.statistics())
            for server in self._cluster.servers]

    def close(self):
        self._cluster.close()

    def _connect(self):
        return Cluster([
            Server(address, self.retries, self.delay, self.blacktime,
                   self.maxPoolSize, self.pooltime)
            for address in self.servers])

    def _store(self, key, data, flags, expires):
        deadline = monotonic() + self.timeout
        server = self._cluster.server(key)
        try:
            server.request(protocol.set(key, data, flags, expires),
                           protocol.read_stored, deadline)
        except ServerError:
            # The old value must not stand as if it had been replaced.
            server.request(
                protocol.delete(key), protocol.read_deleted, deadline)
            raise

    def _retrieve(self, key):
        deadline = monotonic() + self.timeout
        wanted, found = (key,), {}
        self._cluster.server(key).request(
            protocol.get(wanted), protocol.read_values, deadline, wanted,
            found)
        return found.get(key)

    def _remove(self, key):
        self._cluster.server(key).request(
            protocol.delete(key), protocol.read_deleted,
            monotonic() + self.timeout)

    def _flush(self):
        return self._cluster.request_all(
            protocol.flush_all(), protocol.read_ok, self.timeout)

    def _statistics(self):
        return self._cluster.request_all(
            protocol.stats(), protocol.read_stats, self.timeout)
