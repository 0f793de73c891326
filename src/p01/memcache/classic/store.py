# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The store of the classic client, on python-memcached.

python-memcached finds the server of a key, sets and gets values, and keeps
the threads apart (its client is a ``threading.local``). The other commands are
ours: python-memcached returns the same for a refusal and for a failure.
"""

import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

import memcache
from zope.interface import implementer

from p01.memcache.classic.host import Host
from p01.memcache.classic.host import repeat
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import forget_traceback
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.threads import fork
from p01.memcache.transport.address import Address
from p01.memcache.transport.dial import Dialer
from p01.memcache.wire import cas
from p01.memcache.wire.batch import change_all
from p01.memcache.wire.batch import get_all
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import GetMany
from p01.memcache.wire.command import Gets
from p01.memcache.wire.command import Set
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE
from p01.memcache.wire.limits import check_key
from p01.memcache.wire.replies import parse_value
from p01.memcache.wire.replies import unasked
from p01.memcache.wire.replies import unexpected


class _Client(memcache.Client):
    """python-memcached's client; each thread sees hosts of its own.

    A value to be stored is a pair of data and flags, one that was found is an
    `Item`. A value of more than ``most`` bytes is not received.
    """

    most = MAX_VALUE

    def set_servers(self, servers: Iterable[Dialer]) -> None:
        self.servers = [
            Host(dialer, self.socket_timeout, self.dead_retry)
            for dialer in servers]
        self._init_buckets()

    def host(self, key: bytes) -> Host:
        """Return the host that has the key, up or not."""
        return self.buckets[memcache.cmemcache_hash(key) % len(self.buckets)]

    def _get_server(self, key: bytes) -> tuple[Host, bytes]:
        # python-memcached would move the keys of a dead server to another,
        # and read old values from the first one when it returns.
        self._wanted = key
        return self.host(key), key

    def _val_to_store_info(
            self, val: tuple[bytes, int],
            min_compress_len: int) -> tuple[int, int, bytes]:
        # The server decides what is too large, not python-memcached.
        data, flags = val
        return flags, len(data), data

    def _expectvalue(
            self, server: Host, line: bytes,
            raise_exception: bool = False) -> tuple[bytes, int, int]:
        match = parse_value(line + b'\r\n')
        if match is None:
            raise unexpected(line + b'\r\n')
        key, flags, size = match.groups()
        if key != self._wanted:
            raise unasked(key)
        self._wanted = b''  # a second value is one too many
        return key, int(flags), int(size)

    def _recv_value(self, server: Host, flags: int, rlen: int) -> Item:
        return Item(server.read_block(rlen, self.most), flags)


@implementer(IStore)
class ClassicStore(Store):
    """Servers that are asked one after the other.

    Each thread has a connection to each of them.
    """

    lineage: object = None

    def __init__(self, addresses: Sequence[Address], timeout: float,
                 retry: float) -> None:
        self.addresses = [address.text for address in addresses]
        self.identities = tuple(address.identity for address in addresses)
        self._dialers = list(map(Dialer, addresses))
        self._timeout = timeout
        self._retry = retry
        self.lineage = object()
        self._connect()
        fork.register(self)

    def _connect(self) -> None:
        self._current = _Client(
            self._dialers, socket_timeout=self._timeout,
            dead_retry=self._retry)

    def close(self) -> None:
        self._current.disconnect_all()
        # The other threads' connections end with the former client, or with
        # the operation that still uses them.
        self._connect()

    after_fork = close

    @property
    def _client(self) -> _Client:
        """The client of this process; an operation reads it once."""
        fork.notice()
        return self._current

    @property
    def servers(self) -> list[Host]:
        """This thread's hosts."""
        return self._client.servers

    def server(self, key: bytes, deadline: float) -> Host:
        return self._client.host(key)

    def address(self, key: bytes | None) -> str | None:
        if key is None:
            return self.addresses[0] if len(self.addresses) == 1 else None
        return self._client.host(key).name

    def get(self, key: bytes, deadline: float,
            most: int = MAX_VALUE) -> Item | None:
        check_key(key)
        client = self._client
        client.most = most

        def ask() -> Item | None:
            with client.host(key).until(deadline):
                return client.get_multi([key]).get(key)

        return repeat(ask)

    def gets(self, key: bytes, deadline: float,
             most: int = MAX_VALUE) -> Item | None:
        host = self._client.host(key)
        item = host.run(Gets(key, most), deadline)
        if item is None:
            return None
        return item._replace(token=cas.make(item.token, host.name))

    def get_many(
            self, keys: Collection[bytes], deadline: float,
            most: int = MAX_VALUE,
            ) -> tuple[dict[bytes, Item], list[MemcacheError]]:
        found: dict[bytes, Item] = {}
        errors: list[MemcacheError] = []
        for host, wanted in self._by_host(keys).items():
            def get(wanted: list[bytes] = wanted) -> Iterator[GetMany]:
                return get_all(
                    [key for key in wanted if key not in found], found, most)

            try:
                self._converse(host, get, deadline)
            except MemcacheError as error:
                forget_traceback(error)
                errors.append(error)
        return found, errors

    def run(self, command: Command, deadline: float) -> Any:
        host = self._client.host(command.key)
        if command.only_at not in (None, host.name):
            return None
        ask = self._change if command.changes else self._ask
        return ask(host, command, deadline)

    def _ask(self, host: Host, command: Command, deadline: float) -> Any:
        if type(command) is not Set:
            return host.run(command, deadline)
        # Not that of `host`, which `close` may have replaced meanwhile.
        client = self._client
        with client.host(command.key).until(deadline):
            return bool(client.set(
                command.key, (command.data, command.flags), command.expires))

    def run_many(self, commands: Collection[Command],
                 deadline: float) -> dict[bytes, Any]:
        # One host after the other: what it refused is removed there, before
        # the next one takes the time.
        by_key = {command.key: command for command in commands}
        replies: dict[bytes, Any] = {}
        for keys in self._by_host(by_key).values():
            replies.update(super().run_many(
                [by_key[key] for key in keys], deadline))
        return replies

    def _ask_many(self, commands: Sequence[Command],
                  replies: dict[bytes, Any],
                  deadline: float) -> dict[bytes, MemcacheError]:
        # All of them are for one host, and so are the keys of `_remove`.
        def change() -> Iterator[Command]:
            return change_all(
                [command for command in commands
                 if command.key not in replies], replies)

        try:
            self._converse(
                self._client.host(commands[0].key), change, deadline,
                all(command.repeats for command in commands))
        except MemcacheError as error:
            forget_traceback(error)
            for command in commands:
                replies.setdefault(command.key, error)
        return {}

    def _remove(self, keys: Sequence[bytes], deadline: float) -> None:
        self._converse(
            self._client.host(keys[0]),
            partial(change_all, [*map(Delete, keys)], {}), deadline,
            again=False)

    def _converse(
            self, host: Host, make: Callable[[], Iterable[Command]],
            deadline: float, again: bool = True) -> None:
        """Run the commands that ``make()`` returns on one host.

        If a used connection turns out to be closed, and `again` is true,
        ``make()`` is called once more, for what is left to be done.
        """
        def ask() -> None:
            for command in make():
                # On leaving, the connection is checked for surplus replies.
                with host.until(deadline):
                    host.ask(command)

        repeat(ask, again)

    def ask_all(
            self, command: Command, deadline: float, pause: float = 0,
            ) -> list[tuple[str, Any]]:
        # Each server has the time of a whole operation.
        answers = []
        for number, host in enumerate(self.servers):
            if number and pause:
                time.sleep(pause)
            try:
                answer = host.run(command, monotonic() + self._timeout)
            except MemcacheError as error:
                answer = error
            answers.append((host.name, answer))
        return answers

    def owe(self, key: bytes) -> None:
        """No-op: no record is kept of missed invalidations."""

    def owe_absent(self, key: bytes, deadline: float) -> None:
        """No-op: no server stands in for another one."""

    def _by_host(self, keys: Iterable[bytes]) -> dict[Host, list[bytes]]:
        hosts: dict[Host, list[bytes]] = {}
        for key in keys:
            hosts.setdefault(self._client.host(key), []).append(key)
        return hosts
