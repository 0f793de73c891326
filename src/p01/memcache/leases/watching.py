# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Watching: a transaction that has changed something asks for no right.

It may take long, and may be aborted. So nobody waits for it, but what it
computes is stored after its commit if the key has not been changed until then.
"""

from time import monotonic

from p01.memcache.errors import ClientError
from p01.memcache.leases.claim import WATCHED
from p01.memcache.leases.claim import is_watch
from p01.memcache.leases.claim import make_watch
from p01.memcache.leases.lease import Lease
from p01.memcache.leases.lease import Lending
from p01.memcache.values.flags import CLAIM
from p01.memcache.wire import cas
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Delete
from p01.memcache.wire.meta import OURS
from p01.memcache.wire.meta import AddNumbered


class Watching(Lending):
    """Lends rights, and tells whether a key has been changed meanwhile."""

    def watch(self, key, deadline):
        """Return a `Lease` that tells later whether the key has changed.

        It is None if that cannot be told, or if another caller computes.
        """
        server = self._store.server(key, deadline)
        if server.name in self._unlending:
            return None
        since, mark = monotonic(), make_watch()
        add = AddNumbered if server.lends(deadline) else Add
        unique = self._store.run(add(key, mark, CLAIM, WATCHED), deadline)
        if unique and add is AddNumbered:
            return Lease(
                None, cas.make(unique, server.name), since=since, mark=mark)
        since = monotonic()
        try:
            item = self._store.gets(key, deadline, self._most)
        except ClientError:
            self._store.run(Delete(key), deadline)
            raise
        if item is None or item.flags == CLAIM and not is_watch(item.data):
            return None
        if not cas.compares(item.token):
            if item.data == mark:
                self._store.run(Delete(key), deadline)
            return None
        return Lease(item, item.token, since=since, mark=item.data)

    def watch_on(self, key, lease, deadline):
        """Give a right back, and return a `Lease` like that of `watch`."""
        if lease is None or lease.token is None:
            return None
        if lease.right is not OURS:
            return lease
        if lease.give_back is not None:
            lease.give_back(deadline)
            return lease
        mark = make_watch()
        self.swap(key, lease, mark, CLAIM, WATCHED, deadline)
        return self._confirm(key, lease._replace(mark=mark), deadline)
