# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Computing many values at once: rights and results in few requests."""

from p01.memcache.errors import MemcacheError
from p01.memcache.features.computing import Computation


class OneOfMany(Computation):
    """The computation of one of the values of `getOrCreateMany`."""

    _computed = None  # the data and flags without a stamp

    def take(self, wire, lease):
        """Take the lease of a missing key, which is ours already."""
        self._wire = self._place = wire
        self._lease = lease

    def begin_taken(self, versions):
        """Begin with the lease that was taken.

        Return the versions of the dependencies; read them unless given.
        """
        self._transaction, _ = self._state.store.transaction()
        self._caller = self._make_caller()
        self._board(self._join())
        self._versions = (
            self._read_versions(self._lease) if versions is None
            else versions)
        return self._versions

    def prepare(self, value, deadline):
        """Return what `Lending.store_many` needs to store it with others.

        Its reply is for `finish`. If it is none of those that can be stored
        together, it is stored here, and None is returned.
        """
        lease = self._lease
        transaction, is_dirty = self._state.store.transaction()
        if (lease is None or lease.token is None or lease.give_back is not None
                or self._grace or self._versions is None or self._is_apart
                or is_dirty or transaction is not self._transaction):
            self.store(value, deadline)
            return None
        self._last = deadline
        try:
            self._computed = self._dump(value)
            if self._computed is None:
                self._lending.refuse(self._wire, lease, deadline)
                self._end(None)
                return None
            return self._wire, lease, self._stamped(
                self._store, self._computed, deadline), self._expiry()
        except BaseException:
            self.release(deadline)
            raise

    def finish(self, reply):
        """End it with the reply to its command, or its error."""
        if isinstance(reply, MemcacheError):
            self._note_lost(reply, self._computed)
            reply = None
        else:
            reply = bool(reply)
            if reply:
                self._trouble.counts.was_stored(len(self._computed[0]))
        self._end(self._shared(self._computed, reply))
