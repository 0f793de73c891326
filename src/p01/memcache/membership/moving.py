# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A cluster whose list of servers has changed, so that some keys have moved.

Processes do not hear of a change at the same time. For the time of the
hand-over some of them still use the former list. Meanwhile the keys that moved
are not read and not stored here, and what changes one of them removes it from
its former server and from the new one. So once all processes have heard of the
change, both servers are without an outdated value.

After that the former server may still have the key's value. As long as that
may last, the key of each change is owed to the former server: it is removed
there before the key, should it move back, is read.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from time import monotonic
from typing import Any
from typing import NamedTuple

from zope.interface import implementer

from p01.memcache.cluster.cluster import Cluster
from p01.memcache.cluster.fanout import count_down
from p01.memcache.cluster.fanout import share
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerDown
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.store import first_of
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Delete
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE


# Seconds for which a former list is remembered.
_REMEMBERED = 86400

#: Former lists that are remembered.
MOST = 8


class Former(NamedTuple):
    """A cluster with a former list. Other processes use it until ``settled``,
    and what they stored there has gone by ``forgotten``.
    """

    cluster: Cluster
    settled: float
    forgotten: float

    @classmethod
    def left(cls, cluster: Cluster, handover: float) -> 'Former':
        """Return the former of a list that has just been left."""
        now = monotonic()
        return cls(cluster, now + handover, now + max(handover, _REMEMBERED))


def remembered(formers: Iterable[Former]) -> list[Former]:
    """Return those whose values may still be there, latest first."""
    now = monotonic()
    return [former for former in formers if now < former.forgotten]


@implementer(IStore)
class Moving(Store):
    """The `cluster` of the list that is in force, and the former ones."""

    lineage: object = None

    def __init__(self, cluster: Cluster, formers: Sequence[Former]) -> None:
        self.cluster = cluster
        self.servers = cluster.servers
        self.lineage = cluster.lineage
        self.formers = formers
        self._settled = max(former.settled for former in formers)
        self._forgotten = max(former.forgotten for former in formers)

    def _left(self, key: bytes, now: float) -> list[Former]:
        """Return the formers in which another server had the key."""
        home = self.cluster.home(key)
        return [former for former in self.formers
                if now < former.forgotten
                and former.cluster.home(key) is not home]

    def _is_moving(self, key: bytes, now: float) -> bool:
        return any(now < former.settled for former in self._left(key, now))

    def _check(self, key: bytes) -> None:
        """Raise a `ServerDown` if the key must not be used yet."""
        now = monotonic()
        if now < self._settled and self._is_moving(key, now):
            raise self._moved()

    def _moved(self) -> ServerDown:
        seconds = max(self._settled - monotonic(), 0)
        return ServerDown(
            'the key has moved to another server, which is used for it in'
            f' {seconds:.1f} seconds')

    # Reads

    def get(self, key: bytes, deadline: float,
            most: int = MAX_VALUE) -> Item | None:
        self._check(key)
        return self.cluster.get(key, deadline, most)

    def gets(self, key: bytes, deadline: float,
             most: int = MAX_VALUE) -> Item | None:
        self._check(key)
        return self.cluster.gets(key, deadline, most)

    def get_many(
            self, keys: Sequence[bytes], deadline: float,
            most: int = MAX_VALUE,
            ) -> tuple[dict[bytes, Item], list[MemcacheError]]:
        now = monotonic()
        if now >= self._settled:
            return self.cluster.get_many(keys, deadline, most)
        stay = [key for key in keys if not self._is_moving(key, now)]
        found, errors = self.cluster.get_many(stay, deadline, most)
        if len(stay) < len(keys):
            errors = [*errors, self._moved()]
        return found, errors

    def server(self, key: bytes, deadline: float) -> Any:
        self._check(key)
        return self.cluster.server(key, deadline)

    def address(self, key: bytes | None) -> str | None:
        return self.cluster.address(key)

    # Changes

    def run(self, command: Command, deadline: float) -> Any:
        if not command.changes:
            self._check(command.key)
            return self.cluster.run(command, deadline)
        if monotonic() < self._settled:
            replies = [*self.run_many([command], deadline).values()]
            if isinstance(replies[0], MemcacheError):
                raise first_of(replies)
            return replies[0]
        self._owe_formers(command.key)
        return self.cluster.run(command, deadline)

    def run_many(self, commands: Collection[Command],
                 deadline: float) -> dict[bytes, Any]:
        now = monotonic()
        replies: dict[bytes, Any] = {}
        stay = []
        moving: dict[bytes, Command] = {}
        for command in commands:
            if now < self._settled and self._is_moving(command.key, now):
                moving[command.key] = command
                continue
            if command.changes:
                self._owe_formers(command.key)
            stay.append(command)
        if moving:
            replies = self._remove_everywhere(
                moving, now, share(deadline, 2 if stay else 1))
        if stay:
            replies.update(self.cluster.run_many(stay, deadline))
        return replies

    def _remove_everywhere(
            self, commands: dict[bytes, Command], now: float,
            deadline: float) -> dict[bytes, Any]:
        """Remove the keys from all their servers, in place of a change.

        A server of a list that no process uses any more is not asked: it may
        be gone. Returns the replies of what should have been done.
        """
        work = {self.cluster: [
            key for key, command in commands.items() if command.changes]}
        for key in work[self.cluster]:
            for former in self._left(key, now):
                if now < former.settled:
                    work.setdefault(former.cluster, []).append(key)
                else:
                    former.cluster.home(key).add(key)
        replies: dict[bytes, Any] = {
            key: False if type(command) is Delete else self._moved()
            for key, command in commands.items()}
        for left, (cluster, keys) in count_down(work):
            for key, reply in cluster.remove(
                    keys, share(deadline, left)).items():
                if isinstance(reply, MemcacheError) or replies[key] is False:
                    replies[key] = reply
        return replies

    def owe(self, key: bytes) -> None:
        self.cluster.owe(key)
        self._owe_formers(key)

    def _owe_formers(self, key: bytes) -> None:
        now = monotonic()
        if now < self._forgotten:
            for former in self._left(key, now):
                former.cluster.home(key).add(key)

    def owe_absent(self, key: bytes, deadline: float) -> None:
        self.cluster.owe_absent(key, deadline)

    def ask_all(self, command: Command, deadline: float, pause: float = 0,
                ) -> list[tuple[str, Any]]:
        """See `IStore`. Those that are to forget all include servers that
        other processes may still use.
        """
        now = monotonic()
        if not command.removes or now >= self._forgotten:
            return self.cluster.ask_all(command, deadline, pause)
        here = {server.undelivered for server in self.cluster.servers}
        gone = {}
        for former in self.formers:
            for server in former.cluster.servers:
                if server.undelivered in here:
                    continue
                if now < former.settled:
                    gone[server.undelivered] = server
                else:
                    server.undelivered.add_all()
        also = [list(gone.values())] if gone else []
        return self.cluster.ask_all(command, deadline, pause, *also)

    def retire(self, successor: Any) -> None:
        self._close_formers()
        self.cluster.retire(successor)

    def close(self) -> None:
        self._close_formers()
        self.cluster.close()

    def _close_formers(self) -> None:
        """Keys may have been removed from servers that are not listed."""
        for former in self.formers:
            for server in set(former.cluster.servers).difference(self.servers):
                server.close()
