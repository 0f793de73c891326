# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Leases: the right to compute a value. One caller has it, the others wait.

While a value is computed, a claim is stored in its place. Every claim is
unique, so it also reveals that a server was restarted: the server's unique
numbers start over then, and an old number may fit another value.
"""

import contextlib
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from p01.memcache.errors import ClientError
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import forget_traceback
from p01.memcache.leases.claim import AT_ONCE
from p01.memcache.leases.claim import SECONDS
from p01.memcache.leases.claim import Moved
from p01.memcache.leases.claim import is_claim
from p01.memcache.leases.claim import is_watch
from p01.memcache.leases.claim import make_mark
from p01.memcache.values.flags import CLAIM
from p01.memcache.wire import cas
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Set
from p01.memcache.wire.item import Item
from p01.memcache.wire.meta import NOBODYS
from p01.memcache.wire.meta import OURS
from p01.memcache.wire.meta import THEIRS
from p01.memcache.wire.meta import AddNumbered
from p01.memcache.wire.meta import GetOrRenew
from p01.memcache.wire.meta import MakeStale
from p01.memcache.wire.meta import Right


# Seconds for which the right to renew a value lasts, while the stale value is
# served.
_RENEWAL = 60

# Prefix of a key: the claim to renew its value is stored there.
_CLAIM = b'claim:'

# The most attempts to store a value whose connection was closed meanwhile.
_SWAPS = 5


class Lease(NamedTuple):
    """The state of a key, and which caller computes its value.

    ``item`` is None if there is no value. ``token`` tells this state of the
    key, with a value or with a claim, from others; it is None if the server
    cannot compare and swap, and so lends nothing. ``give_back(deadline)``
    returns the right to renew a value. ``knows_age`` is true if the server
    itself lends that right as soon as the lifetime is over.

    The token is valid on connections that were made before ``since``. On
    later ones it has to be confirmed: the key must still hold ``mark``.
    """

    item: Item | None
    token: str | None
    right: Right = NOBODYS
    give_back: Callable | None = None
    knows_age: bool = False
    since: float = 0.0
    mark: bytes = b''


def _right(claim, mine):
    return OURS if claim == mine else THEIRS


class Lending:
    """Lends the right to compute values, on the servers of a store.

    `unlending` is the set of the names of servers that cannot compare and
    swap; names are added as they are found out, and reported to `trouble`.
    Values of more than `most` bytes are not received.
    """

    def __init__(self, store, unlending, trouble, most):
        self._store = store
        self._unlending = unlending
        self._trouble = trouble
        self._most = most

    def lend(self, key, grace, deadline, is_missing=False):
        """Return the `Lease` of a key, or raise `Moved`.

        A key that was missing a moment ago is claimed without another look.
        """
        server = self._store.server(key, deadline)
        if server.lends(deadline) and server.name not in self._unlending:
            return self._lend(server, key, grace, deadline, is_missing)
        return self._claim(server, key, deadline, is_missing)

    def lend_many(self, keys, deadline):
        """Claim those of the keys that are missing, in few requests.

        Returns a dict of their leases. `lend` knows about the other keys: this
        is for servers that have the meta commands.
        """
        names = {}
        for key in keys:
            server = self._store.server(key, deadline)
            if server.name not in self._unlending and server.lends(deadline):
                names[key] = server.name
        since = monotonic()
        marks = {key: make_mark() for key in names}
        numbers = self._store.run_many(
            [AddNumbered(key, mark, CLAIM, SECONDS)
             for key, mark in marks.items()], deadline)
        lost = [key for key, number in numbers.items() if number == 0]
        if lost:  # they cannot be compared
            self._store.run_many(list(map(Delete, lost)), deadline)
        return {key: Lease(None, cas.make(number, names[key]), OURS,
                           since=since, mark=marks[key])
                for key, number in numbers.items()
                if type(number) is int and number}

    def _lend(self, server, key, grace, deadline, is_missing):
        """Like `lend`, by meta commands."""
        look, mine = GetOrRenew(key, grace, self._most), None
        since = monotonic()
        try:
            found = None if is_missing else server.run(look, deadline)
            if found is None:
                mine = make_mark()
                unique = self._store.run(
                    AddNumbered(key, mine, CLAIM, SECONDS), deadline)
                if unique:
                    return Lease(
                        None, cas.make(unique, server.name), OURS,
                        since=since, mark=mine)
                since = monotonic()
                found = server.run(look, deadline)
        except ClientError:
            server.forget_meta()
            raise
        if found is None:
            raise Moved
        item, right = found
        data, flags, unique = item
        if not unique:
            if data == mine:
                self._store.run(Delete(key), deadline)
            return self._lend_nothing(
                server, key, 'its CAS numbers are 0', deadline)
        token = cas.make(unique, server.name)
        if flags == CLAIM:
            return self._or_take_over(key, Lease(
                None, token, _right(data, mine), since=since, mark=data
            ), deadline)
        if not data and right is not NOBODYS:
            # The claim of a client that is not ours.
            return Lease(None, token, right, since=since)

        def give_back(deadline):
            server.run(MakeStale(key, unique, since), deadline)

        return Lease(
            item, token, right,
            give_back if right is OURS else None,
            knows_age=grace > 0, since=since, mark=data)

    def _claim(self, server, key, deadline, is_missing):
        """Like `lend`, by commands that all servers know."""
        if server.name in self._unlending:
            return (Lease(None, None) if is_missing
                    else self._read(key, deadline))
        since, mine, item, added = monotonic(), None, None, False
        try:
            if not is_missing:
                item = self._store.gets(key, deadline, self._most)
            if item is None:
                mine = make_mark()
                added = self._store.run(
                    Add(key, mine, CLAIM, SECONDS), deadline)
                since = monotonic()
                item = self._store.gets(key, deadline, self._most)
        except ClientError as error:
            if added:
                self._store.run(Delete(key), deadline)
            return self._lend_nothing(server, key, error, deadline)
        except BaseException:
            if added:
                self._store.owe(key)  # else the claim would stay
            raise
        if item is None:
            raise Moved
        data, flags, token = item
        if not cas.compares(token):
            if data == mine:
                self._store.run(Delete(key), deadline)
            return self._lend_nothing(
                server, key, 'its CAS numbers are 0', deadline)
        if is_claim(self._store, key, item, deadline, True):
            return self._or_take_over(key, Lease(
                None, token, _right(data, mine), since=since, mark=data
            ), deadline)
        return Lease(item, token, since=since, mark=data)

    def _or_take_over(self, key, lease, deadline):
        """Return the lease; put a claim of ours in the place of a watch."""
        if not is_watch(lease.mark):
            return lease
        ours = lease._replace(right=OURS, mark=make_mark())
        self.swap(key, lease, ours.mark, CLAIM, SECONDS, deadline)
        try:
            lease = self._confirm(key, ours, deadline)
        except BaseException:
            self._store.owe(key)  # else the claim would stay
            raise
        if lease is None:
            raise Moved
        return lease

    def _lend_nothing(self, server, key, reason, deadline):
        """Note that the server cannot compare and swap; return a `Lease`."""
        self._unlending.add(server.name)
        self._trouble.report(
            MemcacheError(f'no compare-and-swap: {reason}'),
            'server %s: grants no leases', server.name)
        return self._read(key, deadline)

    def _read(self, key, deadline):
        """Return the `Lease` of a server that cannot compare and swap."""
        item = self._store.get(key, deadline, self._most)
        if item is not None and item.flags == CLAIM:
            item = None
        return Lease(item, None)

    def claim_renewal(self, key, lease, deadline):
        """Return the lease with the right to renew the value, if it is free.

        `Moved` is raised if the value has been renewed just now.
        """
        claim = _CLAIM + key
        if not self._store.run(Add(claim, b'', CLAIM, _RENEWAL), deadline):
            return lease._replace(right=THEIRS, give_back=None)

        def give_back(deadline):
            self._store.run(Delete(claim), deadline)
            if lease.give_back is not None:
                lease.give_back(deadline)

        won = lease._replace(right=OURS, give_back=give_back)
        if lease.token is None:
            return won
        try:
            confirmed = self._confirm(key, won, deadline)
        except BaseException:
            try_to(give_back, deadline)
            raise
        if confirmed is None or confirmed.token != lease.token:
            self._store.run(Delete(claim), deadline)
            raise Moved
        return confirmed

    def store(self, key, lease, data, flags, expires, deadline):
        """Store a value that was computed; return whether it was stored."""
        if lease.token is not None:
            return self.swap(key, lease, data, flags, expires, deadline)
        # Without compare-and-swap, a change made meanwhile goes unnoticed.
        command = Add if lease.item is None else Set
        return self._store.run(command(key, data, flags, expires), deadline)

    def store_many(self, values, deadline):
        """Store values that were computed, in few requests.

        Each is a tuple of its key, its lease with a token, the data and flags,
        and when it expires. Returns a dict by key: whether it was stored, or
        the `MemcacheError`.
        """
        waiting, commands = {}, []
        for key, lease, (data, flags), expires in values:
            unique, server = cas.parse(lease.token)
            waiting[key] = lease, data, flags, expires
            commands.append(Cas(
                key, data, flags, unique, expires, server, lease.since))
        replies = commands and self._store.run_many(commands, deadline) or {}
        for key, reply in replies.items():
            if isinstance(reply, LeaseLost):
                # On new connections each of them has to be confirmed.
                try:
                    replies[key] = self.swap(key, *waiting[key], deadline)
                except MemcacheError as error:
                    forget_traceback(error)
                    replies[key] = error
        return replies

    def swap(self, key, lease, data, flags, expires, deadline):
        """Store the data, unless the key has changed since it was lent.

        Returns whether it was stored.
        """
        for left in reversed(range(_SWAPS)):
            if lease is None:
                return None
            unique, server = cas.parse(lease.token)
            try:
                return self._store.run(
                    Cas(key, data, flags, unique, expires, server,
                        lease.since), deadline)
            except LeaseLost:
                if not left:
                    raise
                lease = self._confirm(key, lease, deadline)

    def _confirm(self, key, lease, deadline):
        """Return the lease with a token for new connections, or None.

        It is None if the key has changed, as after a restart of the server.
        """
        since = monotonic()
        item = self._store.gets(key, deadline, self._most)
        if item is None or not lease.mark or item.data != lease.mark:
            return None
        return lease._replace(token=item.token, since=since)

    def discard(self, key, lease, deadline):
        """Remove the value or claim, unless the key has changed since."""
        if lease.token is not None:
            self.swap(key, lease, b'', CLAIM, AT_ONCE, deadline)

    def give_back(self, key, lease, deadline):
        """Let another caller compute the value, if the right is ours."""
        if lease is not None and lease.right is OURS:
            if lease.give_back is not None:
                try_to(lease.give_back, deadline)
            else:
                try_to(self.discard, key, lease, deadline)

    def refuse(self, key, lease, deadline):
        """Remove the value or claim, and then give back the right, if ours."""
        if lease is not None and lease.right is OURS:
            try_to(self.discard, key, lease, deadline)
            if lease.give_back is not None:
                try_to(lease.give_back, deadline)


def try_to(step, *args):
    """Do a step; a failure is ignored, as a lease ends by itself."""
    with contextlib.suppress(MemcacheError):
        step(*args)
