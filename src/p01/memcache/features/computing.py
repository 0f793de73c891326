# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Computing a value that is missing or stale: by one caller, once.

The result is stored only if the key still holds the claim, or the value that
is to be renewed. So nothing is stored that was computed before an
invalidation, and a caller that has waited too long may compute as well.

A value that may be served stale is stored for longer than its lifetime. It
depends on a version (see `p01.memcache.values.stamp`) that expires on time.
"""

import contextlib
import math
import threading
from time import monotonic
from time import sleep

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.features.inspection import has_grace
from p01.memcache.features.inspection import is_doubtful
from p01.memcache.features.lease import Moved
from p01.memcache.features.lease import try_to
from p01.memcache.features.lifetime import expiry
from p01.memcache.features.singleflight import Flight
from p01.memcache.values import stamp
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import STAMPED
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Set
from p01.memcache.wire.item import Announced
from p01.memcache.wire.meta import NOBODYS
from p01.memcache.wire.meta import OURS
from p01.memcache.wire.meta import THEIRS


# Seconds between two looks whether another process has finished.
_FIRST_PAUSE, _LAST_PAUSE = 0.002, 0.1

# Seconds before each further look at a key that has changed meanwhile. Once or
# twice is normal, but a faulty server could go on for ever.
_PAUSES = 0, 0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1

_MISSING = object()


class Computation:
    """One call of `getOrCreate`, see `IMemcacheClient`.

    `state` is the client's state at the moment. `flights` are the computations
    of this process, by the place of the key and its token. The place is the
    key on the wire or, as long as that is unknown, the built key.
    """

    def __init__(self, state, flights, trouble, timeout, key, builtKey,
                 factory, lifetime, grace, tags):
        self._store = state.store
        self._codec = state.codec
        self._lending = state.lending
        self._state = state
        self._timeout = timeout
        self._flights = flights
        self._trouble = trouble
        self._key = key
        self._builtKey = builtKey
        self._factory = factory
        expiry(lifetime)
        self._renewed = expiry(grace, 'grace')  # before the value expires
        self._lifetime = lifetime
        # A value that never expires never gets stale.
        if not lifetime:
            grace = self._renewed = 0
        self._grace = grace
        if grace:
            self._expiry()
        self._tags = tags
        self._deadline = monotonic() + self._timeout
        self._pauses = iter(_PAUSES)
        self._early = {}  # versions that were read while there was time
        self._is_missing = False  # there was nothing just now
        self._wire = None  # the key on the wire, once it is known
        self._place = builtKey.encode()  # the key in `flights`

    def _expiry(self):
        return expiry(math.ceil(self._lifetime) + math.ceil(self._grace))

    def run(self):
        value = self._find()
        if value is not _MISSING:
            return value
        self._flight = Flight(None)
        pause = _FIRST_PAUSE
        try:
            while True:
                lease, value = self._look()
                if value is not _MISSING:
                    return value
                if lease is not None and lease.right is OURS:
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
                    # No right is lent: once in each process will do.
                    return self._compute(lease)
                else:
                    # Another process, or a thread that has yet to join.
                    found = flight.wait(min(pause, remaining))
                    pause = min(pause * 2, _LAST_PAUSE)
                if found is not None:
                    with contextlib.suppress(UnreadableValue):
                        return self._load(*found)
                if self._deadline - monotonic() < _FIRST_PAUSE:
                    # It is stored if the claim seen last is still there.
                    return self._compute(lease)
        finally:
            self._leave(self._flight, None)

    def _find(self):
        """Return what an ordinary look finds, as mostly, or _MISSING."""
        try:
            if not self._grace and not self._tags:
                item = self._state.source.get(
                    self._place, self._deadline, self._codec.most)
                self._is_missing = item is None
                if item is not None and not is_doubtful(item):
                    # What cannot be read is reported further below.
                    with contextlib.suppress(UnreadableValue):
                        return self._load(item.data, item.flags)
            self._wire = self._place = self._state.locate(
                self._place, self._deadline)
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: not read', self._builtKey)
        return _MISSING

    # The computations of this process

    def _join(self, lease):
        """Return the flight of the callers that see the key in this state.

        A caller that finds another state, for example after an invalidation,
        must not get a value that was computed before.
        """
        key = self._place, lease and lease.token
        if self._flight.key != key or self._flight.is_over:
            self._leave(self._flight, None)
            self._flight = Flight(key)
        return self._flights.setdefault(key, self._flight)

    def _leave(self, flight, found):
        if self._flights.get(flight.key) is flight:
            self._flights.pop(flight.key, None)
        flight.finish(found)

    # Looking for a value

    def _look(self):
        """Return the lease, None in trouble, and the value, or _MISSING."""
        if self._wire is None:
            return None, _MISSING
        try:
            while True:
                try:
                    return self._look_once()
                except Moved:
                    self._pause()
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: not read', self._builtKey)
            return None, _MISSING

    def _pause(self):
        """Wait before the next look; raise if there were too many."""
        try:
            pause = next(self._pauses)
        except StopIteration:
            raise MemcacheError(
                'it changes again and again') from None
        if pause:
            sleep(max(0, min(pause, self._deadline - monotonic())))

    def _look_once(self):
        is_missing, self._is_missing = self._is_missing, False
        lease = self._lending.lend(
            self._wire, self._renewed, self._deadline, is_missing)
        if lease.item is None:
            return lease, _MISSING
        if lease.right is not NOBODYS:
            if has_grace(self._codec, lease.item):
                # The server's own right is not enough: not all clients ask
                # for it, and it is lent only once, even if its owner dies.
                lease = self._lending.claim_renewal(
                    self._wire, lease, self._deadline)
                if lease.right is OURS:
                    return lease, _MISSING
            else:
                # The server lent the right as the value expires soon; but a
                # value without a grace is not renewed early.
                lease = lease._replace(right=NOBODYS, give_back=None)
        value, used = self._use(lease)
        if (value is not _MISSING or used.right is OURS or used.item is None
                or used.token is None):
            return used, value
        if type(used.item.data) is Announced:
            # The connection has ended with it, and with that the lease.
            self._store.run(Delete(self._wire), self._deadline)
        else:
            self._lending.discard(self._wire, lease, self._deadline)
        raise Moved

    def _use(self, lease):
        """Return the value, or _MISSING if it is no good, and the lease."""
        (data, flags, _), changed = lease.item, []
        try:
            if flags & STAMPED:
                # A malformed stamp is reported when the value is loaded.
                with contextlib.suppress(UnreadableValue):
                    versions, (data, flags) = self._codec.unstamp(data, flags)
                    changed = self._changed(versions, lease)
            if changed and not all(
                    key.startswith(stamp.FRESH) for key in changed):
                return _MISSING, lease
            value = self._load(data, flags)
        except UnreadableValue as error:
            self._trouble.unreadable(self._key, self._builtKey, error)
            return _MISSING, lease
        return self._use_stale(value, lease) if changed else (value, lease)

    def _load(self, data, flags):
        return self._codec.loads(
            self._builtKey.encode(), data, flags, raw=False)

    def _changed(self, versions, lease):
        """Return the keys whose version has changed."""
        if lease.knows_age:
            versions = {key: version for key, version in versions.items()
                        if not key.startswith(stamp.FRESH)}
        if not versions:
            return []
        current, errors = self._state.versions.read(
            list(versions), self._deadline)
        if errors:
            raise errors[0]
        return [key for key, version in versions.items()
                if current.get(key) != version]

    def _use_stale(self, value, lease):
        """Like `_use`, for a value whose lifetime is over."""
        if lease.right is NOBODYS:
            lease = self._lending.claim_renewal(
                self._wire, lease, self._deadline)
            if lease.right is OURS:
                return _MISSING, lease
        if self._grace:
            return value, lease
        # It must not be served stale: wait for the caller that renews it.
        return _MISSING, lease._replace(item=None, right=THEIRS)

    # Computing it

    def _compute(self, lease):
        me = threading.get_ident()
        flight, found = self._join(lease), None
        try:
            flight.threads.add(me)
            try:
                versions = self._early
                if not lease or not lease.token or lease.right is OURS:
                    versions = self._read_versions(lease)
                value = self._factory()
                computed = self._dump(value)
                if computed is None:
                    self._lending.refuse(self._wire, lease, self._new_time())
                elif versions is None:
                    self._lending.give_back(
                        self._wire, lease, self._new_time())
                    found = computed
                elif self._put(lease, computed, versions):
                    found = computed
            except BaseException:
                self._lending.give_back(self._wire, lease, self._new_time())
                raise
        finally:
            flight.threads.discard(me)
            self._leave(flight, found)
        return value

    def _new_time(self):
        """Return a new deadline: the factory may have taken any time."""
        return monotonic() + self._timeout

    def _read_versions(self, lease):
        """Return the versions before it is computed; None if unknown."""
        if lease is None or not self._tags:
            return None if lease is None else {}
        try:
            return self._state.versions.current(self._tags, self._deadline)
        except MemcacheError as error:
            self._trouble.report(
                error, 'key %s: dependencies not read', self._builtKey)
            return None

    def _dump(self, value):
        """Return the value's bytes and flags, or None if it is too large."""
        try:
            return self._codec.dumps(
                self._builtKey.encode(), value, raw=False)
        except ValueTooLarge as error:
            self._trouble.report(error, 'key %s: not stored', self._builtKey)
            return None

    def _put(self, lease, computed, versions):
        """Store the value; return whether the waiting threads may have it."""
        (data, flags), deadline = computed, self._new_time()
        # A dependency may be obsolete by now, so the others look themselves.
        shared = not versions
        try:
            if self._grace:
                # A unique key, so that the loser of the race cannot overwrite
                # the winner's.
                version = stamp.make()
                key = stamp.FRESH + version
                self._store.run(
                    Set(key, version, PLAIN, expiry(self._lifetime)),
                    deadline)
                versions = {key: version, **versions}
            if versions:
                data, flags = self._codec.stamp(
                    self._builtKey.encode(), versions, data, flags)
            stored = self._lending.store(
                self._wire, lease, data, flags, self._expiry(), deadline)
        except MemcacheError as error:
            self._trouble.report(
                error, 'key %s: %d bytes not stored', self._builtKey,
                len(computed[0]))
            self._store.owe(self._wire)  # the claim, too
            stored = True
        if lease.give_back is not None:
            try_to(lease.give_back, deadline)
        return stored and shared
