# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The creation of a value that is missing, or too old: one caller computes it.

What was computed is stored only if the claim, or the value that is to be
renewed, is still in its place. So nothing is stored that was computed before
an invalidation, and whoever has waited too long may compute as well.

A value that may be served stale lives longer than its lifetime. It depends on
a version, see `p01.memcache.values.stamp`, that does not.
"""

import contextlib
import math
import threading
from functools import partial
from time import monotonic
from time import sleep

from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.facade.arguments import expiry
from p01.memcache.features.singleflight import Flight
from p01.memcache.values import stamp
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import STAMPED
from p01.memcache.wire import cas as tokens
from p01.memcache.wire import protocol


# Seconds for which a right to renew a value lasts, which is served meanwhile.
_RENEWAL = 60

# Seconds between two looks whether another process is done.
_FIRST_PAUSE, _LAST_PAUSE = 0.002, 0.1

# And before a look again where the place has changed meanwhile: that happens
# once or twice, but a server could go on and on.
_PAUSES = 0, 0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1

# So often it is stored, where the server's connections end again and again.
_SWAPS = 5

# A time of expiry in the past, a unix time. Proxies close the connection where
# they find a negative one.
_AT_ONCE = 60 * 60 * 24 * 30 + 1

# In front of a key: the claim to renew its value.
_CLAIM = b'claim:'

_MISSING = object()


class Creation:
    """One call of `getOrCreate`. See `IMemcacheClient`."""

    def __init__(self, client, key, factory, lifetime, grace, dependencies):
        self._client = client
        self._key = key
        self._builtKey = client.buildKey(key)
        self._factory = factory
        expiry(lifetime)
        expiry(grace, 'grace')
        self._lifetime = lifetime
        # What never expires is never stale.
        self._grace = grace if lifetime else 0
        self._expiry()
        self._dependencies = dependencies
        self._deadline = monotonic() + client._timeout
        self._flight = Flight(None)
        self._pauses = iter(_PAUSES)
        self._early = {}  # versions that were read when there was time
        self._wire = None  # the key, where that is known
        self._place = self._builtKey.encode()  # what others call it, too

    def _expiry(self):
        return expiry(math.ceil(self._lifetime) + math.ceil(self._grace))

    def run(self):
        self._find_place()
        pause = _FIRST_PAUSE
        try:
            while True:
                lease, value = self._look()
                if value is not _MISSING:
                    return value
                if lease is not None and lease.win:
                    return self._compute(lease)
                if lease is not None and self._early == {}:
                    self._early = self._read_versions(lease)
                remaining = self._deadline - monotonic()
                flight = self._join(lease)
                if threading.get_ident() in flight.threads:
                    raise RuntimeError(
                        f'key {self._builtKey}: its factory asks for it')
                if flight is not self._flight:
                    found = flight.wait(remaining)
                elif lease is None or lease.token is None:
                    # Nothing is lent: this is the one of the process.
                    return self._compute(lease)
                else:
                    # Another process, or a thread that is about to say so.
                    found = flight.wait(min(pause, remaining))
                    pause = min(pause * 2, _LAST_PAUSE)
                if found is not None:
                    with contextlib.suppress(UnreadableValue):
                        return self._load(found)
                if self._deadline - monotonic() < _FIRST_PAUSE:
                    # With the claim that was seen last: it may be stored.
                    return self._compute(lease)
        finally:
            self._leave(self._flight, None)

    def _find_place(self):
        try:
            self._wire = self._place = self._client._wire(
                self._builtKey, self._deadline)
        except MemcacheError as error:
            self._client._degraded(error, 'key %s: not read', self._builtKey)

    def _join(self, lease):
        """Return the flight of those to whom the key is in the same state.

        Who finds another state, after an invalidation for example, must not
        get what was computed before it.
        """
        key = self._place, lease and lease.token
        if self._flight.key != key or self._flight.is_over:
            self._leave(self._flight, None)
            self._flight = Flight(key)
        return self._client._flights.setdefault(key, self._flight)

    def _leave(self, flight, found):
        flights = self._client._flights
        if flights.get(flight.key) is flight:
            flights.pop(flight.key, None)
        flight.finish(found)

    def _look(self):
        """Return the lease, None in trouble, and the value, or _MISSING."""
        if self._wire is None:
            return None, _MISSING
        try:
            while True:
                lease, value = self._look_once()
                if lease is not None:
                    return lease, value
                self._pause()
        except MemcacheError as error:
            self._client._degraded(
                error, 'key %s: not read', self._builtKey)
            return None, _MISSING

    def _pause(self):
        """Wait before the next look; raise if there were enough of them."""
        try:
            pause = next(self._pauses)
        except StopIteration:
            raise MemcacheError(
                'what is in its place changes again and again') from None
        if pause:
            sleep(max(0, min(pause, self._deadline - monotonic())))

    def _look_once(self):
        """Do so; the lease is None where its place changes meanwhile."""
        lease = self._client._lend(
            self._wire, expiry(self._grace), self._deadline)
        if lease is None or lease.found is None:
            return lease, _MISSING
        if lease.win is not None:
            if self._ages(lease):
                # Not all ask the server for that right, and it is lent only
                # once, also if its owner dies.
                lease = self._claim_renewal(lease)
                if lease is None or lease.win:
                    return lease, _MISSING
            else:
                # It was lent for a value that only expires soon.
                lease = lease._replace(win=None, give_back=None)
        value, used = self._use(lease)
        if (used is None or value is not _MISSING or used.win
                or used.found is None or used.token is None):
            return used, value
        if type(used.found[0]) is protocol.Announced:
            # The connection has ended with it, and so has the lease.
            self._client._remove(self._wire, self._deadline)
        else:
            self._discard(lease, self._deadline)
        return None, _MISSING

    def _ages(self, lease):
        """Return whether the value was stored with a grace."""
        try:
            return lease.found[1] & STAMPED and any(
                key.startswith(stamp.FRESH)
                for key in self._client._codec.unstamp(*lease.found)[0])
        except UnreadableValue:
            return False

    def _use(self, lease):
        """Return the value, if it may be used, and the lease.

        That is None where it has to be looked for again.
        """
        (data, flags), changed = lease.found, []
        try:
            if flags & STAMPED:
                # One that is none is told when the value is loaded.
                with contextlib.suppress(UnreadableValue):
                    versions, (data, flags) = self._client._codec.unstamp(
                        data, flags)
                    changed = self._changed(versions, lease)
            if not all(key.startswith(stamp.FRESH) for key in changed):
                return _MISSING, lease
            value = self._load((data, flags))
        except UnreadableValue as error:
            self._client._unreadable(self._key, self._builtKey, error)
            return _MISSING, lease
        return self._use_stale(value, lease) if changed else (value, lease)

    def _load(self, found):
        return self._client._codec.loads(
            self._builtKey.encode(), *found, raw=False)

    def _changed(self, versions, lease):
        """Return the keys of those versions that are other ones now."""
        if lease.knows_age:
            versions = {key: version for key, version in versions.items()
                        if not key.startswith(stamp.FRESH)}
        if not versions:
            return []
        current, errors = stamp.read(
            self._client, list(versions), self._deadline)
        if errors:
            raise errors[0]
        return [key for key, version in versions.items()
                if current.get(key) != version]

    def _use_stale(self, value, lease):
        """Do the same with a value whose lifetime is over."""
        if lease.win is None:
            lease = self._claim_renewal(lease)
            if lease is None or lease.win:
                return _MISSING, lease
        if self._grace:
            return value, lease
        # Another one renews it, wait for that.
        return _MISSING, lease._replace(found=None, win=False)

    def _claim_renewal(self, lease):
        """Return the lease with the right to renew the value, if it is free.

        That is None if the value has been renewed just now.
        """
        client, key = self._client, _CLAIM + self._wire
        if not client._change(
                key, partial(protocol.add, key, b'', CLAIM),
                _RENEWAL, protocol.read_stored_or_not, self._deadline):
            return lease._replace(win=False, give_back=None)

        def give_back(deadline):
            client._remove(key, deadline)
            if lease.give_back is not None:
                lease.give_back(deadline)

        won = lease._replace(win=True, give_back=give_back)
        if lease.token is None:
            return won
        try:
            confirmed = self._confirm(won, self._deadline)
        except BaseException:
            with contextlib.suppress(MemcacheError):
                give_back(self._deadline)
            raise
        if confirmed is None or confirmed.token != lease.token:
            client._remove(key, self._deadline)
            return None
        return confirmed

    def _compute(self, lease):
        me = threading.get_ident()
        flight, found = self._join(lease), None
        try:
            flight.threads.add(me)
            try:
                versions = self._early
                if lease is None or lease.token is None or lease.win:
                    versions = self._read_versions(lease)
                value = self._factory()
                computed = self._client._dump(
                    self._builtKey, value, raw=False)
                if computed is None:
                    self._refuse(lease)
                elif versions is None:
                    self._give_back(lease)
                    found = computed
                elif self._store(lease, computed, versions):
                    found = computed
            except BaseException:
                self._give_back(lease)
                raise
        finally:
            flight.threads.discard(me)
            self._leave(flight, found)
        return value

    def _read_versions(self, lease):
        """Return the versions before it is computed, None if not known."""
        if lease is None or not self._dependencies:
            return None if lease is None else {}
        try:
            return stamp.current(
                self._client, self._dependencies, self._deadline)
        except MemcacheError as error:
            self._client._degraded(
                error, 'key %s: dependencies not read', self._builtKey)
            return None

    def _store(self, lease, computed, versions):
        """Return whether others may have what was computed."""
        client, (data, flags) = self._client, computed
        deadline = monotonic() + client._timeout
        size = len(data)
        # Another process may have invalidated them: others have to look.
        shared = not versions
        try:
            if self._grace:
                # A key of its own: who does not get to store his value must
                # not touch that of another one.
                version = stamp.make()
                key = stamp.FRESH + version
                client._store(
                    key, version, PLAIN, expiry(self._lifetime),
                    deadline)
                versions = {key: version, **versions}
            if versions:
                data, flags = client._codec.stamp(
                    self._builtKey.encode(), versions, data, flags)
            stored = self._put(
                lease, data, flags, self._expiry(), deadline)
        except MemcacheError as error:
            client._degraded(
                error, 'key %s: %d bytes not stored', self._builtKey, size)
            client._owe(self._wire)  # with the claim
            stored = True
        if lease.give_back is not None:
            with contextlib.suppress(MemcacheError):
                lease.give_back(deadline)
        return stored and shared

    def _refuse(self, lease):
        """Leave nothing in the place of the key, nor a right to compute."""
        if lease is not None and lease.win:
            deadline = monotonic() + self._client._timeout
            with contextlib.suppress(MemcacheError):
                self._discard(lease, deadline)
            if lease.give_back is not None:
                with contextlib.suppress(MemcacheError):
                    lease.give_back(deadline)

    def _give_back(self, lease):
        if lease is not None and lease.win:
            deadline = monotonic() + self._client._timeout
            with contextlib.suppress(MemcacheError):
                if lease.give_back is not None:
                    lease.give_back(deadline)
                else:
                    self._discard(lease, deadline)

    def _discard(self, lease, deadline):
        """Remove what is in the place of the key, if nobody has changed it."""
        if lease.token is not None:
            self._swap(lease, b'', CLAIM, _AT_ONCE, deadline)

    def _put(self, lease, data, flags, expires, deadline):
        """Store what was computed; return whether others may have it."""
        if lease.token is not None:
            return self._swap(lease, data, flags, expires, deadline)
        # Without a comparison: nothing tells what has happened meanwhile.
        command, read = protocol.add, protocol.read_stored_or_not
        if lease.found is not None:
            command, read = protocol.set, protocol.read_stored
        return self._client._change(
            self._wire, partial(command, self._wire, data, flags), expires,
            read, deadline)

    def _swap(self, lease, data, flags, expires, deadline):
        """Put it into the place of the key, if nobody has changed that.

        Returns whether it was done.
        """
        for left in reversed(range(_SWAPS)):
            if lease is None:
                return None
            unique, server = tokens.parse(lease.token)
            try:
                return self._client._change(
                    self._wire,
                    partial(protocol.cas, self._wire, data, flags, unique),
                    expires, protocol.read_compared, deadline, server,
                    lease.since)
            except LeaseLost:
                if not left:
                    raise
                lease = self._confirm(lease, deadline)

    def _confirm(self, lease, deadline):
        """Return the lease for connections of now; None if it has ended.

        The server may have been restarted since the others were made.
        """
        since = monotonic()
        found = self._client._retrieve_unique(self._wire, deadline)
        if found is None or not lease.mark or found[0] != lease.mark:
            return None
        return lease._replace(token=found[2], since=since)
