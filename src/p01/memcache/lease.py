# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The right to compute a value: one caller has it, the others wait.

memcached lends it to the one whose claim, an empty value, is in the place of
the key. What was computed is stored only if the claim, or the value that is
to be renewed, is still there. So nothing is stored that was computed before
an invalidation, and who has waited too long may compute as well.

A value that may be served stale lives longer than its lifetime. It depends on
a version, see `p01.memcache.stamp`, that does not.
"""

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import NamedTuple

from p01.memcache import protocol
from p01.memcache import serializer
from p01.memcache import stamp
from p01.memcache import token as tokens
from p01.memcache.attribute import expiry
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.flight import Flight


# Seconds for which a claim lasts. Of what takes longer nothing is stored; but
# nobody waits that long for one who has died, see `Creation`.
SECONDS = 600

# Seconds between two looks whether another process is done.
_FIRST_PAUSE, _LAST_PAUSE = 0.002, 0.1

# A time of expiry in the past.
_AT_ONCE = -1

# In front of a key: our own keys that belong to it.
_CLAIM = b'claim:'
_FRESH = b'fresh:'

_MISSING = object()


class Lease(NamedTuple):
    """What there is of a key, and who computes it.

    ``found`` is ``(data, flags)``, or None where there is no value; ``token``
    tells this state of the key from others. ``win`` is True for the one who
    has the right to compute the value, False while another has it, and None
    where nobody needs to. ``give_back(deadline)`` returns the right to renew
    a value. ``knows_age`` tells that the server lends that right, too, when
    the lifetime is over.
    """

    found: tuple | None
    token: str
    win: bool | None = None
    give_back: Callable | None = None
    knows_age: bool = False


def is_claim(client, key, data, flags, deadline):
    """Return whether it is no value; memcached's own claims are empty."""
    return flags == serializer.CLAIM or (
        not data and flags == serializer.FLAGS
        and client._is_leased(key, deadline))


def claim(client, key, deadline):
    """Return the `Lease` of a key, by commands that all servers know."""
    while True:
        found = client._retrieve_unique(key, deadline)
        mine = None
        if found is None:
            mine = stamp.make()
            client._change(
                key, partial(protocol.add, key, mine, serializer.CLAIM),
                SECONDS, protocol.read_stored_or_not, deadline)
            found = client._retrieve_unique(key, deadline)
        if found is not None:
            data, flags, token = found
            if is_claim(client, key, data, flags, deadline):
                return Lease(None, token, data == mine)
            return Lease((data, flags), token)


class Creation:
    """One call of `getOrCreate`. See `IMemcacheClient`."""

    def __init__(self, client, key, factory, lifetime, grace, dependencies):
        self._client = client
        self._key = key
        self._builtKey = client.buildKey(key)
        self._factory = factory
        self._lifetime = lifetime
        # What never expires is never stale.
        self._grace = grace if lifetime else 0
        self._expiry()
        self._dependencies = dependencies
        self._deadline = monotonic() + client._timeout
        self._flight = Flight()
        self._data = None  # what others may have when this call ends
        self._wire = None  # the key, where that is known

    def _expiry(self):
        return expiry(self._lifetime + self._grace)

    def run(self):
        client, pause = self._client, _FIRST_PAUSE
        try:
            self._wire = client._wire(self._builtKey, self._deadline)
        except MemcacheError as error:
            client._degraded(error, '%s: not read', self._builtKey)
        self._place = self._wire or self._builtKey.encode()
        flights = client._flights
        try:
            while True:
                lease, value = self._look()
                if value is not _MISSING:
                    return value
                if lease is not None and lease.win:
                    return self._compute(lease)
                remaining = self._deadline - monotonic()
                flight = flights.setdefault(self._place, self._flight)
                if flight is not self._flight:
                    if flight.thread == threading.get_ident():
                        raise RuntimeError(
                            f'key {self._builtKey}: its factory asks for it')
                    data = flight.wait(remaining)
                elif lease is None:
                    return self._compute(lease)
                else:
                    # Another process, or a thread that is about to say so.
                    data = flight.wait(min(pause, remaining))
                    pause = min(pause * 2, _LAST_PAUSE)
                if data is not None:
                    return serializer.loads(data, serializer.FLAGS, False)
                if self._deadline - monotonic() < _FIRST_PAUSE:
                    # With the claim that was seen last: it may be stored.
                    return self._compute(lease)
        finally:
            if flights.get(self._place) is self._flight:
                flights.pop(self._place, None)
            self._flight.finish(self._data)

    def _look(self):
        """Return the lease, None in trouble, and the value, or _MISSING."""
        client = self._client
        if self._wire is None:
            return None, _MISSING
        try:
            while True:
                lease = client._lend(self._wire, self._grace, self._deadline)
                if lease.found is None or lease.win:
                    return lease, _MISSING
                value, lease = self._use(lease)
                if value is not _MISSING or lease.win:
                    return lease, value
                self._discard(lease, self._deadline)
        except MemcacheError as error:
            client._degraded(error, '%s: not read', self._builtKey)
            return None, _MISSING

    def _use(self, lease):
        """Return the value, if it may be used, and the lease."""
        data, flags = lease.found
        stale = False
        try:
            if flags == serializer.STAMPED:
                versions, data = stamp.take(data)
                flags = serializer.FLAGS
                if lease.knows_age:
                    versions.pop(_FRESH + self._wire, None)
                if versions:
                    current, errors = stamp.read(
                        self._client, list(versions), self._deadline)
                    if errors:
                        raise errors[0]
                    old = [key for key, version in versions.items()
                           if current.get(key) != version]
                    stale = old == [_FRESH + self._wire]
                    if old and not (stale and self._grace):
                        return _MISSING, lease
            value = serializer.loads(data, flags, False)
        except UnreadableValue as error:
            self._client._unreadable(self._key, self._builtKey, error)
            return _MISSING, lease
        if stale:
            key = _CLAIM + self._wire
            if self._client._change(
                    key, partial(protocol.add, key, b'', serializer.CLAIM),
                    SECONDS, protocol.read_stored_or_not, self._deadline):
                return _MISSING, lease._replace(
                    win=True, give_back=partial(self._client._remove, key))
        else:
            self._data = data
        return value, lease

    def _compute(self, lease):
        client, flights = self._client, self._client._flights
        flight = flights.setdefault(self._place, self._flight)
        data = None
        try:
            versions = self._read_versions(lease)
            try:
                value = self._factory()
                computed = client._dump(value, raw=False)
            except BaseException:
                self._give_back(lease)
                raise
            if versions is None:
                self._give_back(lease)
                data = computed
            elif self._store(lease, computed, versions) and not versions:
                # Who depends on versions looks whether they are the same.
                data = computed
        finally:
            if flights.get(self._place) is flight:
                flights.pop(self._place, None)
            flight.finish(data)
        return value

    def _read_versions(self, lease):
        """Return the versions before it is computed, None if not known."""
        if lease is None or not self._dependencies:
            return None if lease is None else {}
        try:
            return stamp.current(
                self._client, self._dependencies,
                monotonic() + self._client._timeout)
        except MemcacheError as error:
            self._client._degraded(
                error, '%s: dependencies not read', self._builtKey)
            return None

    def _store(self, lease, data, versions):
        """Return whether others may have what was computed."""
        client, wire, flags = self._client, self._wire, serializer.FLAGS
        deadline = monotonic() + client._timeout
        size = len(data)
        try:
            if self._grace:
                key, version = _FRESH + wire, stamp.make()
                client._store(
                    key, version, flags, expiry(self._lifetime), deadline)
                versions = {key: version, **versions}
            if versions:
                data, flags = stamp.put(versions, data), serializer.STAMPED
            stored = self._compare_and_store(
                lease.token, data, flags, self._expiry(), deadline)
            if lease.give_back is not None:
                lease.give_back(deadline)
        except MemcacheError as error:
            client._degraded(
                error, '%s: %d bytes not stored', self._builtKey, size)
            return True
        return stored

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
        self._compare_and_store(
            lease.token, b'', serializer.CLAIM, _AT_ONCE, deadline)

    def _compare_and_store(self, token, data, flags, expires, deadline):
        unique, server = tokens.parse(token)
        return self._client._change(
            self._wire,
            partial(protocol.cas, self._wire, data, flags, unique),
            expires, protocol.read_compared, deadline, server)
