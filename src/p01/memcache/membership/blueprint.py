# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How a cluster is made from the addresses of its servers."""

import math
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any
from typing import NamedTuple
from typing import cast

from zope.event import notify

from p01.memcache.cluster.cluster import Cluster
from p01.memcache.cluster.connections import Connections
from p01.memcache.cluster.memory import Machine
from p01.memcache.cluster.memory import Memory
from p01.memcache.cluster.ring import DISTRIBUTIONS
from p01.memcache.cluster.ring import Modulo
from p01.memcache.cluster.server import Server
from p01.memcache.discovery.source import Source
from p01.memcache.discovery.watch import Watch
from p01.memcache.event import ServerDownEvent
from p01.memcache.event import ServerUpEvent
from p01.memcache.health.health import Health
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.membership.moving import MOST
from p01.memcache.membership.moving import Former
from p01.memcache.membership.moving import Moving
from p01.memcache.membership.moving import remembered
from p01.memcache.membership.nowhere import Nowhere
from p01.memcache.transport import tls
from p01.memcache.transport.address import PORT
from p01.memcache.transport.address import Address
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.trust import Trust
from p01.memcache.wire.batch import MOST_BYTES


# Seconds between two operations that ask for servers that are not known yet.
_PAUSE = 1


class Means(NamedTuple):
    """How servers are reached, and what a failure of one means."""

    retries: int
    delay: float
    blacktime: float
    maxPoolSize: int
    pooltime: float
    maxAge: float
    connectTimeout: float | None
    context: Given[ssl.SSLContext] | None
    account: Given[Credentials] | None
    watch: Watch | None


class Blueprint:
    """Makes clusters with the same settings."""

    def __init__(self, settings: Any, handover: float,
                 context: Given[ssl.SSLContext] | None,
                 account: Given[Credentials] | None,
                 watch: Watch | None) -> None:
        self._handover = handover
        self._distribution = settings.distribution
        self._failover = settings.failover
        self._means = Means(
            settings.retries, settings.delay, settings.blacktime,
            settings.maxPoolSize, settings.pooltime, settings.maxAge,
            settings.connectTimeout, context, account, watch)

    def build(self, addresses: Sequence[Address],
              former: Cluster | Moving | None,
              sources: Sequence[Source] = ()) -> Cluster | Moving:
        """Return a cluster, which takes over from the `former` one, if any.

        Without an address it is one whose servers the `sources` are yet to
        list.
        """
        left, formers = _taken_apart(former)
        if addresses:
            cluster = self._build(addresses, left, formers)
        else:
            cluster = self._build_unknown(sources, left)
        if left is None:
            return cluster
        cluster.lineage = left.lineage
        _take_over(cluster, left)
        layout = left.memory.layout
        if layout not in (None, cluster.memory.layout) and not (
                cluster.router.ring.alike or left.router.ring.alike):
            formers = [Former.left(left, self._handover), *formers]
        formers = [one for one in formers
                   if one.cluster.memory.layout != cluster.memory.layout]
        return Moving(cluster, formers[:MOST]) if formers else cluster

    def _build(self, addresses: Sequence[Address], left: Cluster | None,
               formers: Sequence[Former]) -> Cluster:
        ring = DISTRIBUTIONS[self._distribution](addresses)
        memory = Memory({}, {}, {}, self._means, (self._distribution, *(
            (address.host, address.port, address.weight, address.at)
            for address in addresses)))
        for address in addresses:
            memory.servers[address] = self._find(
                address, ring.alike, memory, left, formers)
        return Cluster(
            list(memory.servers.values()), ring, self._failover, memory)

    def _build_unknown(self, sources: Sequence[Source],
                       left: Cluster | None) -> Cluster:
        """Return a cluster of one server, which cannot be reached.

        So it is logged, and what it should have heard of is remembered.
        """
        name = ' '.join(map(str, sources)) or 'none'
        owed = Undelivered(name)
        if left is not None and left.memory.layout is None:
            owed = left.servers[0].undelivered
        health = Health(
            name, 1, 0, _PAUSE, partial(_notify, self._means.watch))
        pool = Connections(name, cast(Any, Nowhere), 1, math.inf)
        memory = Memory(
            {}, {(source.identity, ''): health for source in sources}, {})
        return Cluster(
            [Server(name, pool, LockKeeping(), health, owed)],
            Modulo([Address(name, name, PORT)]), False, memory)

    def _find(self, address: Address, alike: bool, memory: Memory,
              left: Cluster | None, formers: Sequence[Former]) -> Server:
        """Return the former server at the address, or a new one."""
        known = Memory.empty() if left is None else left.memory
        machine = address.identity, address.at
        owner: Machine | str = 'proxies' if alike else machine
        if owner not in memory.undelivered:
            memory.undelivered[owner] = _owed(
                owner, address.text, known, formers)
        health = known.healths.get(machine)
        server = known.servers.get(address)
        if (server is not None and known.means == self._means
                and server.undelivered is memory.undelivered[owner]):
            memory.healths[machine] = server.health
            return server
        return self._make(address, machine, owner, health, memory)

    def _make(self, address: Address, machine: Machine,
              owner: Machine | str, former: Health | None,
              memory: Memory) -> Server:
        means, keeping = self._means, LockKeeping()
        health = memory.healths[machine] = Health(
            address.text, means.retries, means.delay, means.blacktime,
            partial(_notify, means.watch))
        if former is not None:
            health.inherit(former)
        trust = Trust(
            means.context if address.tls else None, address.server_name,
            means.account)
        connect = partial(
            Connection, Dialer(address), keeping, means.maxAge, trust)
        return Server(
            address.text,
            Connections(address.text, connect, means.maxPoolSize,
                        means.pooltime),
            keeping, health, memory.undelivered[owner],
            tls.RECORD if address.tls else MOST_BYTES, trust,
            means.connectTimeout)


def _notify(watch: Watch | None, server: str, before: str, after: str,
            reason: str) -> None:
    """Pass a change of a server's state on."""
    if watch is not None and after != 'up':
        watch.hurry()
    if 'down' in (before, after):
        event = ServerDownEvent if after == 'down' else ServerUpEvent
        notify(event(server, reason))


def _taken_apart(former: Cluster | Moving | None,
                 ) -> tuple[Cluster | None, list[Former]]:
    if isinstance(former, Moving):
        return former.cluster, remembered(former.formers)
    return former, []


def _owed(owner: Machine | str, name: str, known: Memory,
          formers: Sequence[Former]) -> Undelivered:
    """Return what is owed to a server.

    What it has missed it must receive, even if it was not listed meanwhile, or
    other settings are used to reach it now.
    """
    for memory in known, *(former.cluster.memory for former in formers):
        if owner in memory.undelivered:
            return memory.undelivered[owner]
    return Undelivered(name, flush=owner != 'proxies')


def _take_over(cluster: Cluster, left: Cluster) -> None:
    """Have the cluster take over invalidations of another kind of cluster.

    Proxies share an `Undelivered`, and which of the servers behind them has a
    key is not known here; nor is it if no server was known. In a cluster of
    the same kind the servers have theirs already.
    """
    if left.memory.layout is None:
        for key in list(left.servers[0].undelivered.keys):
            if key is None:
                for server in cluster.servers:
                    server.undelivered.add_all()
            else:
                cluster.owe(key)
    elif left.router.ring.alike != cluster.router.ring.alike:
        for key in {key for server in left.servers
                    for key in list(server.undelivered.keys)}:
            for server in cluster.servers:
                server.undelivered.add(key)
