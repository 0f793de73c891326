# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The store of a client whose servers are found, not configured.

Each request goes to the cluster of the list that is in force when it begins.
"""

from collections.abc import Collection
from collections.abc import Container
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from zope.interface import implementer

from p01.memcache.cluster.change import difference
from p01.memcache.cluster.cluster import Cluster
from p01.memcache.cluster.server import Server
from p01.memcache.discovery.source import Source
from p01.memcache.discovery.watch import Watch
from p01.memcache.errors import MemcacheError
from p01.memcache.log import logger
from p01.memcache.membership.blueprint import Blueprint
from p01.memcache.membership.moving import Moving
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.threads import fork
from p01.memcache.threads.turn import Turn
from p01.memcache.transport.address import Address
from p01.memcache.wire.command import Command
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE


@implementer(IStore)
class Discovered(Store):
    """The servers of some `places`, addresses and sources, as the `watch`
    finds them. Those whose identities are in `drained` are not used.
    """

    def __init__(self, places: Sequence[Address | Source],
                 drained: Container[object], watch: Watch,
                 blueprint: Blueprint,
                 former: Cluster | Moving | None) -> None:
        self._places = places
        self._drained = drained
        self._watch = watch
        self._blueprint = blueprint
        self.after_fork()
        fork.register(self)
        self._listed = self._list()
        self._current = blueprint.build(self._listed, former, watch.sources)
        watch.add(self)
        self.follow()  # what was found meanwhile

    def after_fork(self) -> None:
        self._changing = Turn()

    def _list(self) -> list[Address]:
        """Return the servers to use; none until all sources have answered.

        Without one of them most keys would be on the wrong servers.
        """
        found = self._watch.found
        servers: dict[object, Address] = {}
        for place in self._places:
            if isinstance(place, Address):
                servers.setdefault(place.identity, place)
            elif place not in found:
                return []
            else:
                for address in found[place]:
                    servers.setdefault(address.identity, address)
        return [address for identity, address in servers.items()
                if identity not in self._drained]

    def follow(self) -> None:
        """Use what has been found now."""
        with self._changing.soon():
            listed, former = self._list(), self._current
            if listed == self._listed:
                return
            self._current = self._blueprint.build(
                listed, former, self._watch.sources)
            # Last: if it could not be built, it is tried again.
            self._listed = listed
        came, went = difference(former.servers, self.servers)
        logger.warning(
            'memcached servers: %s came, %s went',
            ', '.join(came) or 'none', ', '.join(went) or 'none')
        former.retire(self._current)

    def current(self, deadline: float) -> Cluster | Moving:
        """Return the cluster of the list that is in force."""
        self._watch.tick(deadline)
        return self._current

    @property
    def cluster(self) -> Cluster:
        current = self._current
        return current.cluster if isinstance(current, Moving) else current

    address = property(attrgetter('_current.address'))

    @property
    def former(self) -> Cluster | Moving:
        """What another store takes over."""
        return self._current

    @property
    def servers(self) -> Sequence[Server]:
        return self._current.servers

    @property
    def lineage(self) -> object:
        return self._current.lineage

    def get(self, key: bytes, deadline: float,
            most: int = MAX_VALUE) -> Item | None:
        return self.current(deadline).get(key, deadline, most)

    def gets(self, key: bytes, deadline: float,
             most: int = MAX_VALUE) -> Item | None:
        return self.current(deadline).gets(key, deadline, most)

    def get_many(
            self, keys: Sequence[bytes], deadline: float,
            most: int = MAX_VALUE,
            ) -> tuple[dict[bytes, Item], list[MemcacheError]]:
        return self.current(deadline).get_many(keys, deadline, most)

    def run(self, command: Command, deadline: float) -> Any:
        return self.current(deadline).run(command, deadline)

    def run_many(self, commands: Collection[Command],
                 deadline: float) -> dict[bytes, Any]:
        return self.current(deadline).run_many(commands, deadline)

    def ask_all(self, command: Command, deadline: float, pause: float = 0,
                ) -> list[tuple[str, Any]]:
        return self.current(deadline).ask_all(command, deadline, pause)

    def server(self, key: bytes, deadline: float) -> Any:
        return self.current(deadline).server(key, deadline)

    def owe(self, key: bytes) -> None:
        self._current.owe(key)

    def owe_absent(self, key: bytes, deadline: float) -> None:
        self._current.owe_absent(key, deadline)

    def retire(self, successor: Any) -> None:
        self._current.retire(successor)

    def close(self) -> None:
        self._current.close()
