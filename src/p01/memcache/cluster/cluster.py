# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client: which of them is asked, and what goes to all."""

import contextlib
import itertools
import math
from time import monotonic
from typing import NamedTuple

from zope.interface import implementer

from p01.memcache.cluster.fanout import count_down
from p01.memcache.cluster.fanout import exchange_with
from p01.memcache.cluster.fanout import share
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerDown
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.wire import cas
from p01.memcache.wire.batch import change_all
from p01.memcache.wire.batch import get_all
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Gets
from p01.memcache.wire.limits import MAX_VALUE


class Memory(NamedTuple):
    """What outlives a cluster whose settings change.

    ``undelivered`` is by the identity of a server, or what stands for all
    proxies; ``healths`` is by the identity.
    """

    undelivered: dict
    healths: dict


@implementer(IStore)
class Cluster(Store):
    """Some servers, among which a ring spreads the keys.

    The keys of a server that is down are misses. With `failover`, or where
    all servers have all keys, others stand in for it.
    """

    def __init__(self, servers, ring, failover, memory=None):
        self.servers = servers
        self.memory = memory
        self._ring = ring
        self._moves = failover or ring.alike
        self._single = servers[0] if len(servers) == 1 else None

    @property
    def addresses(self):
        return [server.address for server in self.servers]

    @property
    def identities(self):
        return tuple(self.memory.healths)

    def inherit(self, former):
        """Take over what servers owe to another kind of cluster.

        Proxies share an `Undelivered`, and which of the servers behind them
        has a key is not known here. Between clusters of one kind there is
        nothing to be done: the servers keep theirs.
        """
        if former._ring.alike != self._ring.alike:
            for key in {key for server in former.servers
                        for key in list(server.undelivered.keys)}:
                for server in self.servers:
                    server.undelivered.add(key)

    def _reach(self, key, deadline):
        """Return the server to be asked for the key.

        It has been told by then of what it should have forgotten.
        """
        server = self._single or self._find(key, deadline)[0]
        if server.undelivered.keys:
            server.undelivered.deliver(server, key, deadline)
        return server

    # Its own methods do not use this name: a test may set up fakes, which have
    # other servers, in the middle of them.
    server = _reach

    def get(self, key, deadline, most=MAX_VALUE):
        return self._reach(key, deadline).run(Get(key, most), deadline)

    def gets(self, key, deadline, most=MAX_VALUE):
        server = self._reach(key, deadline)
        item = server.run_uncommon(Gets(key, most), deadline)
        if item is None:
            return None
        return item._replace(token=cas.make(item.token, server.name))

    def get_many(self, keys, deadline, most=MAX_VALUE):
        found, errors, work = {}, [], {}
        for key, (server, _) in self._find_all(keys, deadline).items():
            work.setdefault(server, []).append(key)
        for server, refused in self._deliver(work, deadline):
            errors += refused.values()
            work[server] = [key for key in work[server] if key not in refused]

        def get(server):
            # A second time, only for what has not come.
            return get_all(
                [key for key in work[server] if key not in found], found,
                most)

        replies = exchange_with(self._in_order(work), get, deadline)
        errors += [reply for reply in replies.values()
                   if isinstance(reply, MemcacheError)]
        return found, errors

    def run(self, command, deadline):
        server, absent = self._find(command.key, deadline)
        if command.only_at not in (None, server.name):
            return None
        if absent:
            command = self._stand_in(command, absent)
        ask = self._change if command.changes else self._ask
        reply = ask(server, command, deadline)
        if absent and command.removes:
            raise ServerDown(f'{absent[0].address} is down')
        return reply

    def _ask(self, server, command, deadline):
        if server.undelivered.keys:
            server.undelivered.deliver(server, command.key, deadline)
        return server.run(command, deadline)

    def _ask_many(self, commands, replies, deadline):
        homes = self._find_all(
            [command.key for command in commands], deadline)
        work, away = {}, {}
        for command in commands:
            key = command.key
            server, absent = homes[key]
            if absent:
                command = self._stand_in(command, absent)
                if command.removes:
                    away[key] = ServerDown(f'{absent[0].address} is down')
            work.setdefault(server, {})[key] = command
        for server, refused in self._deliver(work, deadline):
            replies.update(refused)
            for key in refused:
                del work[server][key]

        def change(server):
            return change_all(
                [command for key, command in work[server].items()
                 if key not in replies], replies, server.batch)

        answers = exchange_with(
            self._in_order(work), change, deadline,
            all(command.repeats for command in commands))
        for server, answer in answers.items():
            if isinstance(answer, MemcacheError):
                for key in work[server]:
                    replies.setdefault(key, answer)
        return away

    def _remove(self, keys, deadline):
        # All of them are owed.
        for key in keys:
            with contextlib.suppress(MemcacheError):
                self._reach(key, deadline)
            if monotonic() >= deadline:
                break

    def _stand_in(self, command, absent):
        """Return the command to the server that stands in for absent ones.

        What it stores expires when the absent servers may be back, which have
        to forget the key.
        """
        if command.changes:
            for server in absent:
                server.undelivered.add(command.key)
        if command.removes:
            return command
        return command.limited(max(1, math.ceil(min(
            server.health.absence for server in absent))))

    def _deliver(self, work, deadline):
        """Tell each server what it should have forgotten of its keys.

        Yields the servers that were not told of all keys, with a dict of the
        keys and errors.
        """
        for left, (server, keys) in count_down(work):
            refused = server.undelivered.deliver_many(
                server, keys, share(deadline, left + 1))
            if refused:
                yield server, refused

    def owe(self, key):
        """Have the key removed before its server is asked for it again."""
        if self._moves:
            # Others may have it, too, from a moment ago.
            servers = self.servers
        else:
            servers = [self.servers[self._ring.find(key)]]
        for server in servers:
            server.undelivered.add(key)

    def owe_absent(self, key, deadline):
        """Have the key removed from those for which others stand in."""
        for server in self._find(key, deadline)[1]:
            server.undelivered.add(key)

    def ask_all(self, command, deadline):
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

    def _in_order(self, work):
        return [server for server in self.servers if work.get(server)]

    def _find_all(self, keys, deadline):
        if keys and (self._single or self._ring.alike):
            # One server has all of them, or one proxy finds them.
            return dict.fromkeys(keys, self._find(None, deadline))
        return {key: self._find(key, deadline) for key in keys}

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

    def close(self):
        for server in self.servers:
            server.close()
