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
from typing import NamedTuple

from zope.interface import implementer

from p01.memcache.cluster.fanout import count_down
from p01.memcache.cluster.fanout import exchange_with
from p01.memcache.cluster.fanout import share
from p01.memcache.cluster.ring import Ring
from p01.memcache.cluster.router import Router
from p01.memcache.cluster.server import Server
from p01.memcache.cluster.singly import get_singly
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.errors import forget_traceback
from p01.memcache.health.health import Health
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.wire import cas
from p01.memcache.wire.batch import change_all
from p01.memcache.wire.batch import get_all
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import GetMany
from p01.memcache.wire.command import Gets
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE


Identity = tuple[str, int]


class Memory(NamedTuple):
    """What outlives a cluster whose settings change.

    ``undelivered`` is by the identity of a server, or ``'proxies'`` for all of
    them; ``healths`` is by the identity.
    """

    undelivered: dict[Identity | str, Undelivered]
    healths: dict[Identity, Health]


@implementer(IStore)
class Cluster(Store):
    """Some servers, among which a ring spreads the keys.

    The keys of a server that is down are misses, unless another one stands in
    for it, see `Router`.
    """

    def __init__(self, servers: Sequence[Server], ring: Ring, failover: bool,
                 memory: Memory | None = None) -> None:
        self.servers = servers
        self.memory = Memory({}, {}) if memory is None else memory
        self.router = Router(servers, ring, failover)

    @property
    def addresses(self) -> list[str]:
        return [server.address for server in self.servers]

    @property
    def identities(self) -> tuple[Identity, ...]:
        return tuple(self.memory.healths)

    def inherit(self, former: 'Cluster') -> None:
        """Take over the invalidations of another kind of cluster.

        Proxies share an `Undelivered`, and which of the servers behind them
        has a key is not known here. In a cluster of the same kind the servers
        have theirs already.
        """
        if former.router.ring.alike != self.router.ring.alike:
            for key in {key for server in former.servers
                        for key in list(server.undelivered.keys)}:
                for server in self.servers:
                    server.undelivered.add(key)

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
                return found, self._get_rest(
                    keys, found, [error], start, deadline, most)
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
            self._in_order(wanted, refused), get, deadline)
        errors = [reply for reply in replies.values()
                  if isinstance(reply, MemcacheError)]
        return found, [*refused.values(), *self._get_rest(
            [key for key in keys if key not in refused], found, errors,
            start, deadline, most)]

    def _get_rest(self, keys: Sequence[bytes], found: dict[bytes, Item],
                  errors: list[MemcacheError], start: float, deadline: float,
                  most: int) -> list[MemcacheError]:
        """Ask again for what a proxy did not return, if a server failed it.

        It may wait as long as for the first reply.
        """
        late = monotonic() - start > (deadline - start) / 2
        if late or not self.router.ring.alike or not any(
                isinstance(error, ServerError) for error in errors):
            return errors
        server = self.router.find(b'', deadline)[0]
        return get_singly(
            server, [key for key in keys if key not in found], found,
            deadline, most)

    def run(self, command: Command, deadline: float) -> Any:
        absent: Sequence[Server] = ()
        server = self.router.single
        if server is None:
            server, absent = self.router.find(command.key, deadline)
        if command.only_at not in (None, server.name):
            return None
        if absent:
            command = self._stand_in(command, absent)
        ask = self._change if command.changes else self._ask
        reply = ask(server, command, deadline)
        if absent and command.removes:
            raise ServerDown(f'{absent[0].address} is down')
        return reply

    def _ask(self, server: Server, command: Command, deadline: float) -> Any:
        if server.undelivered.keys:
            server.undelivered.deliver(server, command.key, deadline)
        return server.run(command, deadline)

    def _ask_many(self, commands: Collection[Command],
                  replies: dict[bytes, Any],
                  deadline: float) -> dict[bytes, MemcacheError]:
        single = self.router.single
        if single is not None and not single.undelivered.keys:
            self._change_all(single, commands, replies, deadline)
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
            self._in_order(work, replies), change, deadline,
            all(command.repeats for command in commands))
        for server, answer in answers.items():
            if isinstance(answer, MemcacheError):
                for key in work[server]:
                    replies.setdefault(key, answer)
        return away

    def _change_all(self, server: Server, commands: Collection[Command],
                    replies: dict[bytes, Any], deadline: float) -> None:
        """Put the replies of the only server, or its error, into `replies`."""
        try:
            for batch in change_all(commands, replies, server.batch):
                server.run(batch, deadline)
        except MemcacheError as error:
            forget_traceback(error)
            for command in commands:
                replies.setdefault(command.key, error)

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

    def owe_absent(self, key: bytes, deadline: float) -> None:
        """Have the key removed from those for which others stand in."""
        for server in self.router.find(key, deadline)[1]:
            server.undelivered.add(key)

    def ask_all(self, command: Command, deadline: float,
                ) -> list[tuple[str, Any]]:
        try:
            replies = exchange_with(
                self.servers, lambda server: [command], deadline)
        except BaseException:
            if command.removes:
                for server in self.servers:
                    server.undelivered.add_all()
            raise
        answers = []
        for server, reply in replies.items():
            failed = isinstance(reply, MemcacheError)
            if failed and command.removes:
                server.undelivered.add_all()
            answers.append((server.address, reply if failed else reply[0]))
        return answers

    def _in_order(self, work: Mapping[Server, Iterable[bytes]],
                  refused: Container[bytes]) -> list[Server]:
        """Return the servers that are left to ask, in the usual order."""
        return [server for server in self.servers
                if any(key not in refused for key in work.get(server, ()))]

    def close(self) -> None:
        for server in self.servers:
            server.close()
