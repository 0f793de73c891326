# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client: which of them is asked, and what goes to all."""

import contextlib
import math
from collections.abc import Collection
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from time import monotonic
from typing import Any

from zope.interface import implementer

from p01.memcache.cluster import change
from p01.memcache.cluster.fanout import count_down
from p01.memcache.cluster.fanout import exchange_with
from p01.memcache.cluster.fanout import share
from p01.memcache.cluster.memory import Memory
from p01.memcache.cluster.ring import Ring
from p01.memcache.cluster.router import Router
from p01.memcache.cluster.server import Server
from p01.memcache.cluster.singly import get_rest
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerDown
from p01.memcache.errors import forget_traceback
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.store import turns
from p01.memcache.wire import cas
from p01.memcache.wire.batch import change_all
from p01.memcache.wire.batch import get_all
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import GetMany
from p01.memcache.wire.command import Gets
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE


@implementer(IStore)
class Cluster(Store):
    """Some servers, among which a ring spreads the keys.

    The keys of a server that is down are misses, unless another one stands in
    for it, see `Router`.
    """

    lineage: object = None

    def __init__(self, servers: Sequence[Server], ring: Ring, failover: bool,
                 memory: Memory | None = None) -> None:
        self.servers = servers
        self.memory = Memory.empty() if memory is None else memory
        self.router = Router(servers, ring, failover)
        self.address = self.router.address
        self.addresses = [server.address for server in servers]
        self.identities = tuple(
            identity for identity, _ in self.memory.healths)
        #: The cluster that replaced this one, if any did.
        self.successor: Cluster | None = None
        self.lineage = object()

    def home(self, key: bytes) -> Undelivered:
        """Return what is owed to the server that has the key, up or not."""
        return self.servers[self.router.ring.find(key)].undelivered

    def _reach(self, key: bytes, deadline: float) -> Server:
        """Return the server to ask for the key.

        By then it has received what it missed.
        """
        server = self.router.single or self.router.find(key, deadline)[0]
        if server.undelivered.keys:
            server.undelivered.deliver(server, key, deadline)
        return server

    # Its own methods do not use this name: a test may set up fakes, which have
    # other servers, in the middle of them.
    server = _reach

    def get(self, key: bytes, deadline: float,
            most: int = MAX_VALUE) -> Item | None:
        server = self.router.single
        if server is None or server.undelivered.keys:
            server = self._reach(key, deadline)
        item: Item | None = server.run(Get(key, most), deadline)
        return item

    def gets(self, key: bytes, deadline: float,
             most: int = MAX_VALUE) -> Item | None:
        server = self._reach(key, deadline)
        item = server.run_uncommon(Gets(key, most), deadline)
        if item is None:
            return None
        return Item(item.data, item.flags, cas.make(item.token, server.name))

    def get_many(
            self, keys: Sequence[bytes], deadline: float,
            most: int = MAX_VALUE,
            ) -> tuple[dict[bytes, Item], list[MemcacheError]]:
        found: dict[bytes, Item] = {}
        start = monotonic()
        single = self.router.single
        if single is not None and not single.undelivered.keys:
            try:
                for command in get_all(keys, found, most):
                    single.run(command, deadline)
            except MemcacheError as error:
                forget_traceback(error)
                return found, get_rest(self.router, keys, found, [error],
                                       start, deadline, most)
            return found, []
        wanted: dict[Server, list[bytes]] = {}
        for key, (server, _) in self.router.find_all(keys, deadline).items():
            wanted.setdefault(server, []).append(key)
        refused = self._deliver(wanted, deadline)

        def get(server: Server) -> Iterator[GetMany]:
            # A second time, only for what has not arrived.
            return get_all(
                [key for key in wanted[server]
                 if key not in refused and key not in found], found, most)

        replies = exchange_with(
            _in_order(self.servers, wanted, refused), get, deadline)
        return found, [*refused.values(), *get_rest(
            self.router, [key for key in keys if key not in refused], found,
            [reply for reply in replies.values()
             if isinstance(reply, MemcacheError)], start, deadline, most)]

    def run(self, command: Command, deadline: float) -> Any:
        absent: Sequence[Server] = ()
        server = self.router.single
        if server is None:
            server, absent = self.router.find(command.key, deadline)
        if command.only_at not in (None, server.name):
            return None
        if absent:
            command = self._stand_in(command, absent)
        if not command.changes:
            return self._ask(server, command, deadline)
        try:
            reply = self._change(server, command, deadline)
        finally:
            if self.successor is not None:
                self._hand_on([command.key])
        if absent and command.removes:
            raise ServerDown(f'{absent[0].address} is down')
        return reply

    def run_many(self, commands: Collection[Command],
                 deadline: float) -> dict[bytes, Any]:
        try:
            replies: dict[bytes, Any] = super().run_many(commands, deadline)
            return replies
        finally:
            if self.successor is not None:
                self._hand_on(command.key for command in commands
                              if command.changes)

    def remove(self, keys: Collection[bytes],
               deadline: float) -> dict[bytes, Any]:
        """Remove the keys from their servers; return a dict of replies."""
        replies: dict[bytes, Any] = super().run_many(
            list(map(Delete, keys)), deadline)
        return replies

    def _hand_on(self, keys: Iterable[bytes]) -> None:
        """Have keys that have moved meanwhile removed from the new servers.

        They were changed by an operation that began before the list of servers
        changed.
        """
        if self.successor is not None:
            for key in keys:
                if self.successor.home(key) is not self.home(key):
                    self.successor.owe(key)

    def _ask(self, server: Server, command: Command, deadline: float) -> Any:
        if server.undelivered.keys:
            server.undelivered.deliver(server, command.key, deadline)
        return server.run(command, deadline)

    def _ask_many(self, commands: Collection[Command],
                  replies: dict[bytes, Any],
                  deadline: float) -> dict[bytes, MemcacheError]:
        single = self.router.single
        if single is not None and not single.undelivered.keys:
            _change_all(single, commands, replies, deadline)
            return {}
        routes = self.router.find_all(
            [command.key for command in commands], deadline)
        work: dict[Server, dict[bytes, Command]] = {}
        away: dict[bytes, MemcacheError] = {}
        for command in commands:
            key = command.key
            server, absent = routes[key]
            if command.only_at not in (None, server.name):
                replies[key] = None
                continue
            if absent:
                command = self._stand_in(command, absent)
                if command.removes:
                    away[key] = ServerDown(f'{absent[0].address} is down')
            work.setdefault(server, {})[key] = command
        replies.update(self._deliver(work, deadline))

        def change(server: Server) -> Iterator[Command]:
            return change_all(
                [command for key, command in work[server].items()
                 if key not in replies], replies, server.batch)

        answers = exchange_with(
            _in_order(self.servers, work, replies), change, deadline,
            all(command.repeats for command in commands))
        for server, answer in answers.items():
            if isinstance(answer, MemcacheError):
                for key in work[server]:
                    replies.setdefault(key, answer)
        return away

    def _remove(self, keys: Iterable[bytes], deadline: float) -> None:
        # They are owed, so that asking for their server removes them.
        for key in keys:
            if monotonic() >= deadline:
                break
            with contextlib.suppress(MemcacheError):
                self._reach(key, deadline)

    def _stand_in(
            self, command: Command, absent: Sequence[Server]) -> Command:
        """Return the command for a server that stands in for absent ones.

        What it stores expires when the absent servers may be back; these have
        to remove the key.
        """
        if command.changes:
            for server in absent:
                server.undelivered.add(command.key)
        if command.removes:
            return command
        return command.limited(max(1, math.ceil(min(
            server.health.absence for server in absent))))

    def _deliver(self, work: Mapping[Server, Iterable[bytes]],
                 deadline: float) -> dict[bytes, MemcacheError]:
        """Deliver to each server what it missed of its keys.

        Returns a dict of the keys that failed, and the errors.
        """
        refused: dict[bytes, MemcacheError] = {}
        for left, (server, keys) in count_down(work):
            refused.update(server.undelivered.deliver_many(
                server, keys, share(deadline, left + 1)))
        return refused

    def owe(self, key: bytes) -> None:
        """Have the key removed before its server is asked for it again."""
        for server in self.router.holders(key):
            server.undelivered.add(key)
        if self.successor is not None:
            self._hand_on([key])

    def owe_absent(self, key: bytes, deadline: float) -> None:
        """Have the key removed from those for which others stand in."""
        for server in self.router.find(key, deadline)[1]:
            server.undelivered.add(key)

    def ask_all(self, command: Command, deadline: float, pause: float = 0,
                also: Sequence[Server] = ()) -> list[tuple[str, Any]]:
        answers, asked = [], [*self.servers, *also]
        try:
            for servers, limit in turns(asked, deadline, pause):
                for server, reply in exchange_with(
                        servers, lambda server: [command], limit).items():
                    failed = isinstance(reply, MemcacheError)
                    if failed and command.removes:
                        server.undelivered.add_all()
                    answers.append(
                        (server.address, reply if failed else reply[0]))
        except BaseException:
            if command.removes:
                for server in asked:
                    server.undelivered.add_all()
            raise
        return answers

    def retire(self, successor: Any) -> None:
        """Close what the successor, another pooled store, does not use."""
        self.successor = getattr(successor, 'cluster', successor)
        for server in set(self.servers).difference(successor.servers):
            server.close()
        change.complete(self.servers, successor.servers)

    def close(self) -> None:
        for server in self.servers:
            server.close()


def _in_order(servers: Iterable[Server],
              work: Mapping[Server, Iterable[bytes]],
              done: Container[bytes]) -> list[Server]:
    """Return the servers that are left to ask, in the usual order."""
    return [server for server in servers
            if any(key not in done for key in work.get(server, ()))]


def _change_all(server: Server, commands: Collection[Command],
                replies: dict[bytes, Any], deadline: float) -> None:
    """Put the replies of the only server, or its error, into `replies`."""
    try:
        for batch in change_all(commands, replies, server.batch):
            server.run(batch, deadline)
    except MemcacheError as error:
        forget_traceback(error)
        for command in commands:
            replies.setdefault(command.key, error)
