# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers of a client: which of them is asked, and what goes to all."""

import contextlib
import itertools
import math
from time import monotonic

from p01.memcache.cluster.fanout import count_down
from p01.memcache.cluster.fanout import detach
from p01.memcache.cluster.fanout import exchange_with
from p01.memcache.cluster.fanout import share
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.wire import protocol


# What is sent at once has to fit into one record of TLS: memcached 1.6 waits
# for more where it has read only the first of two, and a `set` behind it.
_RECORD = 1 << 14

_UNKNOWN = MemcacheError('not known')


def _limit(expires, absent):
    """Return when a value expires that stands in for those on absent servers.
    """
    if not absent or expires is None:
        return expires
    seconds = max(1, math.ceil(min(
        other.health.absence for other in absent)))
    return min(expires or seconds, seconds)


def _deliver(server, keys, deadline):
    """Tell the server to forget what it should have forgotten of the keys.

    Returns a dict of those that it was not told of, and the errors.
    """
    refused, trouble, backlog = {}, None, server.backlog
    for number, key in enumerate(keys if backlog.keys else ()):
        # The first one is for what is due of other keys.
        if number and not backlog.owes(key):
            continue
        # One that is down is not asked for each of the keys.
        if trouble is None or (isinstance(trouble, ServerError)
                               and monotonic() < deadline):
            try:
                backlog.deliver(server, key, deadline)
                continue
            except MemcacheError as error:
                trouble = error
                detach(error)
                if not isinstance(error, (ServerDown, ServerError)):
                    # Nor is it asked for the others.
                    return dict.fromkeys(keys, error)
        refused[key] = trouble
    return refused


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

    def read_all(self, keys, deadline, most):
        """Return what there is of the keys, ``{key: (data, flags)}``, and a
        list of errors. Values of more than `most` bytes are not received.
        """
        found, errors, work = {}, [], {}
        for key, (server, _) in self._find_all(keys, deadline).items():
            work.setdefault(server, []).append(key)
        for left, (server, wanted) in count_down(work):
            refused = _deliver(server, wanted, share(deadline, left + 1))
            if refused:
                errors += refused.values()
                wanted = [key for key in wanted if key not in refused]
            if wanted:
                work[server] = wanted
            else:
                del work[server]

        def get(server):
            # A second time, only for what has not come.
            return protocol.get_all(
                [key for key in work[server] if key not in found], found,
                most)

        errors += [
            reply for _, reply in exchange_with(
                self._in_order(work), get, deadline)
            if isinstance(reply, MemcacheError)]
        return found, errors

    def change(self, key, request, expires, read, deadline, name=None,
               since=math.inf):
        """Change the key's value by what ``request(expires)`` returns.

        Where it is not certain that this was done, the server will have to
        forget the key before it is asked for it again. Without `expires` it
        is done only if it was done where the key belongs. With a name,
        None is returned if that is not the one of the server's backlog. With
        `since`, it is asked on a connection that was made before, or nothing
        is done: that is a `LeaseLost`.
        """
        server, absent = self._find(key, deadline)
        if name is not None and name != server.backlog.name:
            return None
        data = request(_limit(expires, absent) if absent else expires)
        for other in absent:
            other.backlog.add(key)
        try:
            if server.backlog.keys:
                server.backlog.deliver(server, key, deadline)
            reply = server.request(data, read, deadline, since=since)
        except LeaseLost:
            raise
        except BaseException as error:
            self.owe(key)
            if isinstance(error, ServerError):
                # The old value must not stand as if it had been replaced,
                # not for other processes either.
                with contextlib.suppress(MemcacheError):
                    self.server(key, deadline)
            raise
        if absent and expires is None:
            raise ServerDown(f'{absent[0].address} is down')
        return reply

    def change_all(self, changes, request, expires, read, deadline):
        """Change the values of many keys, each as `change` does.

        `changes` maps a key to the arguments of ``request(key, *arguments,
        expires)``. Returns a dict of the keys and their replies or errors.
        """
        homes = self._find_all(changes, deadline)
        # One may be refused: all are made before anything is done.
        requests = {
            key: request(key, *changes[key],
                         _limit(expires, absent) if absent else expires)
            for key, (_, absent) in homes.items()}
        work, replies, away = {}, {}, {}
        for key, (server, absent) in homes.items():
            work.setdefault(server, {})[key] = requests[key]
            if absent:
                for other in absent:
                    other.backlog.add(key)
                if expires is None:
                    away[key] = ServerDown(f'{absent[0].address} is down')
        try:
            for left, (server, wanted) in count_down(work):
                refused = _deliver(server, wanted, share(deadline, left + 1))
                if refused:
                    replies.update(refused)
                    wanted = {key: data for key, data in wanted.items()
                              if key not in refused}
                if wanted:
                    work[server] = wanted
                else:
                    del work[server]

            def ask(server):
                is_tls = server.address.startswith('tls://')
                return protocol.change_all(
                    {key: data for key, data in work[server].items()
                     if key not in replies},
                    read, replies, _RECORD if is_tls else protocol.MOST_BYTES)

            for server, reply in exchange_with(
                    self._in_order(work), ask, deadline,
                    protocol.may_repeat(read)):
                if isinstance(reply, MemcacheError):
                    for key, (home, _) in homes.items():
                        if home is server:
                            replies.setdefault(key, reply)
        finally:
            lost = [key for key in homes if isinstance(
                replies.get(key, _UNKNOWN), MemcacheError)]
            for key in lost:
                self.owe(key)
        for key in lost:
            if (isinstance(replies[key], ServerError)
                    and monotonic() < deadline):
                with contextlib.suppress(MemcacheError):
                    self.server(key, deadline)
        return {**replies, **away}

    def renew(self, key, request, expires, read, deadline, *args):
        """Request what leaves the value of the key as it is."""
        server, absent = self._find(key, deadline)
        data = request(_limit(expires, absent))
        if server.backlog.keys:
            server.backlog.deliver(server, key, deadline)
        return server.request(data, read, deadline, *args)

    def owe(self, key):
        """Have the key removed before its server is asked for it again."""
        if self._moves:
            # Others may have it, too, from a moment ago.
            servers = self.servers
        else:
            servers = [self.servers[self._ring.find(key)]]
        for server in servers:
            server.backlog.add(key)

    def owe_absent(self, key, deadline):
        """Have the key removed from those for which others stand in."""
        for server in self._find(key, deadline)[1]:
            server.backlog.add(key)

    def ask_all(self, data, read, deadline):
        """Ask all servers; return a list of each and its reply or error."""
        return [
            (server, reply if isinstance(reply, MemcacheError) else reply[0])
            for server, reply in exchange_with(
                self.servers, lambda server: [(data, read)], deadline)]

    def _in_order(self, work):
        return [server for server in self.servers if server in work]

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
