# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Looking for a value, and for the right to compute it.

A value that may be served stale is stored for longer than its lifetime. It
depends on a version (see `p01.memcache.values.stamp`) that expires on time.
"""

import contextlib
import math
from time import monotonic
from time import sleep
from types import MappingProxyType

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.features.dependencies import Outdated
from p01.memcache.features.inspection import has_grace
from p01.memcache.features.inspection import is_doubtful
from p01.memcache.features.lifetime import expiry
from p01.memcache.leases.claim import Moved
from p01.memcache.store import first_of
from p01.memcache.values import stamp
from p01.memcache.values.flags import STAMPED
from p01.memcache.wire.command import Delete
from p01.memcache.wire.item import Announced
from p01.memcache.wire.meta import NOBODYS
from p01.memcache.wire.meta import OURS
from p01.memcache.wire.meta import THEIRS


# Seconds before each further look at a key that has changed meanwhile. Once or
# twice is normal, but a faulty server could go on for ever.
_PAUSES = 0, 0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1

# Seconds that a look may take.
_LEAST = 0.002

#: There is no value.
MISSING = object()


class Looking:
    """Looks for the value of a key, and asks for the right to compute it.

    `state` is the client's state at the moment. `flights` are the computations
    of this process, see `Computation`.
    """

    # Here, as a hit needs none of them.
    _wire = None  # the key on the wire, once it is known
    _is_missing = False  # there was nothing just now
    _pauses = None  # that are left
    _known = MappingProxyType({})  # versions that were read at first
    _early = _known  # versions that were read while there was time
    #: What the value that was found is counted as, if not as a hit alone:
    #: 'stale' if its lifetime is over, 'waited' if others have computed it.
    how = None

    def __init__(self, flights, state, trouble, timeout, key, builtKey,
                 lifetime, grace, tags, deadline=None):
        self._flights = flights
        self._store = state.base  # rights are lent at once
        self._codec = state.codec
        self._lending = state.lending
        self._state = state
        self._timeout = timeout
        self._trouble = trouble
        self._key = key
        self._builtKey = builtKey
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
        self._deadline = deadline or monotonic() + timeout
        self._place = builtKey.encode()  # that, or the built key

    def _expiry(self):
        return expiry(math.ceil(self._lifetime) + math.ceil(self._grace))

    def _find(self):
        """Return what an ordinary look finds, as mostly, or MISSING."""
        try:
            if not self._grace and not self._tags:
                item = self._state.source.get(
                    self._place, self._deadline, self._codec.most)
                self._is_missing = item is None
                if item is not None and not is_doubtful(item):
                    try:
                        size = len(item.data)
                        value = self._codec.loads(
                            self._place, item.data, item.flags, False)
                        self._trouble.counts.bytes_read += size
                        return value
                    except UnreadableValue:
                        pass  # reported further below
            if self._tags:
                self._known = self._state.versions.first(
                    self._tags, self._deadline)
            self._wire = self._place = self._state.locate(
                self._place, self._deadline)
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: not read', self._builtKey)
        return MISSING

    # Looking for a value

    def _look(self):
        """Return the lease, None in trouble, and the value, or MISSING."""
        if self._wire is None:
            return None, MISSING
        try:
            while True:
                try:
                    return self._look_once()
                except Moved:
                    self._pause()
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: not read', self._builtKey)
            return None, MISSING

    def _is_late(self):
        """Return whether there is no time for another look."""
        return self._deadline - monotonic() < _LEAST

    def _pause(self):
        """Wait before the next look; raise if there were too many."""
        if self._pauses is None:
            self._pauses = iter(_PAUSES)
        try:
            pause = next(self._pauses)
        except StopIteration:
            raise MemcacheError(
                'it changes again and again') from None
        if pause:
            sleep(max(0, min(pause, self._deadline - monotonic())))

    def _look_once(self):
        is_missing, self._is_missing = self._is_missing, False
        self.how = None
        lease = self._lending.lend(
            self._wire, self._renewed, self._deadline, is_missing)
        if lease.item is None:
            return lease, MISSING
        if lease.right is not NOBODYS:
            if has_grace(self._codec, lease.item):
                # The server's own right is not enough: not all clients ask
                # for it, and it is lent only once, even if its owner dies.
                lease = self._lending.claim_renewal(
                    self._wire, lease, self._deadline)
                if lease.right is OURS:
                    return lease, MISSING
                self.how = 'stale'
            else:
                # The server lent the right as the value expires soon; but a
                # value without a grace is not renewed early.
                lease = lease._replace(right=NOBODYS, give_back=None)
        value, used = self._use(lease)
        if (value is not MISSING or used.right is OURS or used.item is None
                or used.token is None):
            return used, value
        if type(used.item.data) is Announced:
            # The connection has ended with it, and with that the lease.
            self._store.run(Delete(self._wire), self._deadline)
        else:
            self._lending.discard(self._wire, lease, self._deadline)
        raise Moved

    def _use(self, lease):
        """Return the value, or MISSING if it is no good, and the lease."""
        (data, flags, _), changed = lease.item, []
        try:
            if flags & STAMPED:
                # A malformed stamp is reported when the value is loaded.
                with contextlib.suppress(UnreadableValue):
                    versions, (data, flags) = self._codec.unstamp(data, flags)
                    changed = self._changed(versions, lease)
            if changed and not all(
                    key.startswith(stamp.FRESH) for key in changed):
                return MISSING, lease
            value = self._load(data, flags)
        except UnreadableValue as error:
            self._trouble.unreadable(self._key, self._builtKey, error)
            return MISSING, lease
        return self._use_stale(value, lease) if changed else (value, lease)

    def _load(self, data, flags):
        size = len(data)
        value = self._loads(data, flags)
        self._trouble.counts.bytes_read += size
        return value

    def _loads(self, data, flags):
        return self._codec.loads(
            self._builtKey.encode(), data, flags, raw=False)

    def _changed(self, versions, lease):
        """Return the keys whose version has changed."""
        if lease.knows_age:
            versions = {key: version for key, version in versions.items()
                        if not key.startswith(stamp.FRESH)}
        if versions.items() <= self._known.items():
            return []
        current, errors = self._state.versions.read(
            list(versions), self._deadline)
        if errors:
            raise first_of(errors)
        changed = [key for key, version in versions.items()
                   if current.get(key) != version]
        if changed and self._state.versions.is_ahead(
                versions, self._deadline):
            raise Outdated('what is there is for newer snapshots')
        return changed

    def _use_stale(self, value, lease):
        """Like `_use`, for a value whose lifetime is over."""
        if lease.right is NOBODYS:
            lease = self._lending.claim_renewal(
                self._wire, lease, self._deadline)
            if lease.right is OURS:
                return MISSING, lease
        if self._grace:
            self.how = 'stale'
            return value, lease
        # It must not be served stale: wait for the caller that renews it.
        return MISSING, lease._replace(item=None, right=THEIRS)

    def _read_versions(self, seen):
        """Return the versions before it is computed; None if unknown.

        They are if nothing was `seen` of the key: no lease, and no value.
        """
        if seen is None or not self._tags:
            return None if seen is None else {}
        if self._known and self._early == {}:
            return self._known  # just now
        try:
            return self._state.versions.current(self._tags, self._deadline)
        except MemcacheError as error:
            self._trouble.report(
                error, 'key %s: dependencies not read', self._builtKey)
            return None
