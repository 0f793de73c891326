# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Computing a value that is missing or stale: by one caller, once.

The result is stored only if the key still holds the claim, or the value that
is to be renewed. So nothing is stored that was computed before an
invalidation, and a caller that has waited too long may compute as well.
"""

import contextlib
from time import monotonic

from p01.memcache.counts import steps
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.features.inspection import inspect
from p01.memcache.features.lifetime import expiry
from p01.memcache.features.looking import MISSING
from p01.memcache.features.looking import Looking
from p01.memcache.leases.lease import try_to
from p01.memcache.leases.singleflight import Caller
from p01.memcache.leases.singleflight import me
from p01.memcache.store import Fill
from p01.memcache.values import stamp
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire import cas
from p01.memcache.wire.command import Set
from p01.memcache.wire.meta import OURS


# Seconds between two looks whether another process has finished.
_FIRST_PAUSE, _LAST_PAUSE = 0.002, 0.1

#: Others compute the value.
WAITING = object()


class Computation(Looking):
    """One call of `getOrCreate` or `lookUp`, see `IMemcacheClient`.

    `begin` finds a value, or says that this caller has to compute it. That
    ends with `store` or `release`; call the latter after any exception, too.

    `flights` are the computations of this process, by the place of the key and
    its token. The place is the key on the wire or, as long as that is unknown,
    the built key.
    """

    # Here, as a hit needs none of them.
    _caller = None  # its part in the flights
    _flight = None  # of those that get what it computes
    _me = None  # its thread
    _lease = None
    _last = None  # deadline to end it
    _transaction = None
    _is_apart = False  # right for the transaction alone

    def begin(self, deadline=None, waits=True):
        """Return the value, or MISSING: then this caller computes it.

        If it shall not wait for others that compute it, it is WAITING, and
        may begin again, with a new deadline.
        """
        if self._caller is None:
            value = self._find()
            if value is not MISSING:
                return value
            self._caller = self._make_caller()
            self._transaction, self._is_apart = self._state.store.transaction()
            if self._is_apart:
                return self._begin_apart()
        else:
            self._deadline = deadline
        value = self._search(waits)
        if value is WAITING:
            self._caller.leave(self._caller.flight, None)
            return value
        if value is not MISSING:
            self._end(None)
            return value
        self._board(self._join())
        self._versions, lease = self._early, self._lease
        if not lease or not lease.token or lease.right is OURS:
            self._versions = self._read_versions(lease)
        return MISSING

    @property
    def is_away(self):
        """Whether, after a miss, the versions or the key could not be read."""
        return self._versions is None

    def _make_caller(self):
        return Caller(
            self._flights, self._state.versions.view() if self._tags else None)

    def _board(self, flight):
        self._flight = flight
        self._me = me()
        self._flight.callers.add(self._me)

    def store(self, value, deadline=None):
        """Store what was computed; return whether it is stored.

        By the deadline, or within the time-out.
        """
        found, stored = None, False
        self._last = deadline
        try:
            transaction, is_dirty = self._state.store.transaction()
            computed = self._dump(value)
            if (is_dirty or self._is_apart
                    or transaction is not self._transaction):
                return self._store_apart(
                    computed, is_dirty and transaction is self._transaction)
            if computed is None:
                self._lending.refuse(
                    self._wire, self._lease, self._new_time())
            elif self._versions is None:
                self._lending.give_back(
                    self._wire, self._lease, self._new_time())
                found = computed
            else:
                stored = self._put(computed)
                found = self._shared(computed, stored)
        except BaseException:
            self.release()
            raise
        self._end(found)
        return bool(stored)

    def release(self, deadline=None):
        """Let another caller compute it; if it is over, do nothing."""
        lease, self._lease = self._lease, None
        self._last = deadline or self._last
        try:
            self._lending.give_back(self._wire, lease, self._new_time())
        finally:
            self._end(None)

    def _end(self, found):
        self._lease = None
        if self._flight is not None:
            self._flight.callers.discard(self._me)
            self._caller.leave(self._flight, found)
        if self._caller is not None:
            self._caller.leave(self._caller.flight, None)

    # In a transaction that has changed something

    def _begin_apart(self):
        """Like `begin`, without a right: the value is nobody else's."""
        if any(place == self._place and me() in flight.callers
               for (place, _), flight in list(self._flights.items())):
            raise RuntimeError(
                f'key {self._builtKey}: its factory asks for it')
        value = self._query()
        if value is MISSING:
            self._board(self._caller.join((self._place, me())))
            self._versions = self._read_versions(self._wire)
            if self._versions is not None and not self._has_changed():
                self._lease = self._try(
                    self._lending.watch, self._wire, self._deadline)
        return value

    def _has_changed(self):
        """Return whether the transaction has invalidated the value itself.

        Others may have done so, too, for changes that it does not see. So the
        value is not stored.
        """
        keys = [self._wire, *self._tags]
        if self._state.namespace is not None:
            keys.append(self._state.namespace.key)
        return self._state.store.has_changed(keys)

    def _query(self):
        """Return the value that there is, or MISSING."""
        if self._is_missing or self._wire is None:
            return MISSING
        key = self._builtKey.encode()
        item = self._try(
            self._state.source.get, key, self._deadline, self._codec.most)
        if item is not None:
            item = inspect(self._state, self._trouble, {key: item},
                           self._deadline).get(key)
        try:
            return MISSING if item is None else self._load(*item[:2])
        except UnreadableValue as error:
            self._trouble.unreadable(self._key, self._builtKey, error)
            return MISSING

    def _try(self, step, *args):
        """Return what the step returns, None if it fails."""
        try:
            return step(*args)
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: not read', self._builtKey)
            return None

    def _store_apart(self, computed, is_current):
        """Store it with the changes of the transaction, for it alone.

        Unless it is the current one, what it has computed is of no use. Others
        get it after the commit, if nothing has changed the key since the
        transaction looked.
        """
        deadline = self._new_time()
        if not is_current or computed is None or self._versions is None:
            self.release()
            return False
        lease = self._lease
        if not self._is_apart:
            lease = None if self._has_changed() else self._try(
                self._lending.watch_on, self._wire, lease, deadline)
            if lease is not None:
                self._lease = None  # it has been given back
        self.release()
        unique, server, since = 0, '', 0
        if lease is not None:
            (unique, server), since = cas.parse(lease.token), lease.since
        data, flags = self._stamped(self._state.store, computed, deadline)
        self._state.store.run(
            Fill(self._wire, data, flags, unique, self._expiry(), server,
                 since), deadline)
        if lease is None:
            return False
        self._trouble.counts.was_stored(len(computed[0]))
        return True

    def _search(self, waits):
        """Look until there is a value, or this caller has to compute it."""
        pause, how = _FIRST_PAUSE, None
        while True:
            # Late, it is stored if the claim seen last is still there.
            former = self._lease
            if former is not None and self._is_late():
                return MISSING
            self._lease, value = self._look()
            lease = self._lease
            if lease is None and former is not None and self._is_late():
                self._lease = former
                return MISSING
            if value is not MISSING or (
                    lease is not None and lease.right is OURS):
                self.how = how or self.how
                return value
            if lease is not None and self._early == {}:
                self._early = self._read_versions(lease)
            remaining = self._deadline - monotonic()
            flight = self._join()
            if me() in flight.callers:
                raise RuntimeError(
                    f'key {self._builtKey}: its factory asks for it')
            is_first = flight is self._caller.flight
            if is_first and (lease is None or lease.token is None):
                # No right is lent: once in each process will do.
                return MISSING
            if not waits:
                return WAITING
            since, how = monotonic(), 'waited'
            if is_first:
                # Another process, or a thread that has yet to join.
                found = flight.wait(min(pause, remaining))
                pause = min(pause * 2, _LAST_PAUSE)
            else:
                found = flight.wait(remaining)
            steps.note('other', None, since)
            if found is not None:
                with contextlib.suppress(UnreadableValue):
                    # From that thread, not from memcached.
                    value = self._loads(*found)
                    self.how = how
                    return value
            if self._is_late():
                return MISSING

    def _join(self):
        return self._caller.join(
            (self._place, self._lease and self._lease.token))

    def _new_time(self):
        """Return a new deadline: the factory may have taken any time."""
        return self._last or monotonic() + self._timeout

    def _dump(self, value):
        """Return the value's bytes and flags, or None if it is too large."""
        try:
            return self._codec.dumps(
                self._builtKey.encode(), value, raw=False)
        except ValueTooLarge as error:
            self._trouble.report(error, 'key %s: not stored', self._builtKey)
            self._trouble.counts.refused += 1
            return None

    def _put(self, computed):
        """Store the value; return whether it is stored, None if not known."""
        lease, deadline = self._lease, self._new_time()
        try:
            data, flags = self._stamped(self._store, computed, deadline)
            stored = bool(self._lending.store(
                self._wire, lease, data, flags, self._expiry(), deadline))
        except MemcacheError as error:
            self._note_lost(error, computed)
            stored = None
        if stored:
            self._trouble.counts.was_stored(len(computed[0]))
        if lease.give_back is not None:
            try_to(lease.give_back, deadline)
        return stored

    def _note_lost(self, error, computed):
        self._trouble.report(
            error, 'key %s: %d bytes not stored', self._builtKey,
            len(computed[0]))
        self._trouble.counts.was_refused(error)
        self._store.owe(self._wire)  # the claim, too

    def _shared(self, computed, stored):
        """Return what others get of what was stored, perhaps, or not."""
        # A dependency may be obsolete by now, so that they look themselves.
        return None if stored is False or self._versions else computed

    def _stamped(self, store, computed, deadline):
        """Return what was computed with its stamp, and store its lifetime."""
        (data, flags), versions = computed, self._versions
        if self._grace:
            # A unique key, so that the loser of the race cannot overwrite the
            # winner's.
            version = stamp.make()
            key = stamp.FRESH + version
            store.run(
                Set(key, version, PLAIN, expiry(self._lifetime)), deadline)
            versions = {key: version, **versions}
        if versions:
            data, flags = self._codec.stamp(
                self._builtKey.encode(), versions, data, flags)
        return data, flags
