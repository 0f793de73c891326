# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One session in one transaction."""

import time
from typing import Any
from typing import NamedTuple

from ZODB.POSException import ConflictError
from zope.session.session import SessionData
from zope.session.session import SessionPkgData

from p01.memcache.session import stored
from p01.memcache.session.frozen import Frozen


# A vote holds the lock of the database. After a failure that took so many
# seconds the server is not asked again.
_PATIENCE = 1

# Each attempt that fails is one of another transaction that succeeds.
_ATTEMPTS = 100


class State(NamedTuple):
    """A session as it was at one moment, to return to."""

    data: Any
    packages: dict
    values: Frozen
    accessed: int
    is_removed: bool


class Record:
    """What a transaction has read of a session, and does to it.

    `data` is the ``ISessionData``, or None if there is no session. `initial`
    is the state in which it was read.
    """

    def __init__(self, client, key, container):
        self._client = client
        self._key = key
        self._container = container
        self._is_removed = False
        self._written = None
        self._found = stored.read(client, key)
        self.data = None
        if self._found.values and not self._has_expired():
            self.data = SessionData()
            self.data.setLastAccessTime(self._found.accessed)
            _fill(self.data, self._found.values)
        # In the order of `data`, to be like it if nothing changes.
        self._base = Frozen(self._values() or self._found.values)
        self.initial = self._state(self._base)

    def _has_expired(self):
        # memcached may have it still, if the timeout was longer.
        timeout = self._container.timeout
        return timeout and time.time() > (
            self._found.accessed + timeout + self._container.resolution)

    def access(self):
        """Return the data, and note their use once per resolution."""
        now = time.time()
        if self.data is not None and self._container.timeout and (
                self.data.getLastAccessTime() + self._container.resolution
                < now):
            self.data.setLastAccessTime(int(now))
        return self.data

    def remove(self):
        self.data = None
        self._is_removed = True

    # States to return to

    def state(self):
        return self._state(Frozen(self._values()))

    def _state(self, frozen):
        data = self.data
        return State(
            data, {} if data is None else dict(data.items()), frozen,
            0 if data is None else data.getLastAccessTime(), self._is_removed)

    def restore(self, state):
        """Return to the state; its objects are the same ones as then."""
        self.data, self._is_removed = state.data, state.is_removed
        if self.data is None:
            return
        self.data.clear()
        self.data.setLastAccessTime(state.accessed)
        for name, package in state.packages.items():
            package.clear()
            self.data[name] = package
        _fill(self.data, state.values.thaw())

    # The vote

    def store(self):
        """Store what has changed.

        Returns False if memcached does not take it, and raises a
        ``ConflictError`` if another transaction was faster.
        """
        values = self._values()
        changes = self._base.changed(Frozen(values))
        if not changes and not self._is_removed:
            return self._refresh(values)
        found, before, merged = self._found, self._base, values
        failures, begin = 0, time.monotonic()
        for _ in range(_ATTEMPTS):
            self._written = before, Frozen(merged)
            change, done = self._write(found, merged)
            if done is None:
                failures += 1
                if failures > 1 or time.monotonic() - begin > _PATIENCE:
                    return False
            if not done:
                found = stored.read(self._client, self._key)
                done = found.change == change  # only its reply was lost
            if done:
                return True
            self._written = None
            before, merged = Frozen(found.values), values
            # If there is nothing, memcached has lost it: a session that was
            # removed would be there, empty.
            if found.token is not None and not self._is_removed:
                self._check(changes, before)
                merged = _changed(found.values, values, changes)
        raise ConflictError('a session is changed all the time')

    def _refresh(self, values):
        """Store a session that only was read, with a new lifetime."""
        if values and self.data.getLastAccessTime() > self._found.accessed:
            # If it fails, another transaction has done so, or the next will.
            self._write(self._found, values)
        return True

    def _write(self, found, values):
        accessed = found.accessed if self.data is None else max(
            found.accessed, self.data.getLastAccessTime())
        timeout = self._container.timeout
        return stored.write(
            self._client, self._key, found, accessed, values,
            # memcached may end it a second early.
            timeout + self._container.resolution + 1 if timeout else 0)

    def _check(self, changes, theirs):
        """Raise a ConflictError if others have changed the same keys.

        Also to the same value: it may be a number that both have counted.
        """
        both = changes & self._base.changed(theirs)
        if both and not self._container.lastOneWins:
            raise ConflictError(
                'a session was changed by another transaction: '
                + ', '.join(sorted(
                    f'{key!r} of {package!r}' for package, key in both)))

    def undo(self):
        """Put back what the vote has replaced.

        If another transaction has changed the same keys since, what it has
        stored depends on ours, so all of it stays. Returns whether it is gone.
        """
        if self._written is None:
            return True
        before, after = self._written
        places = before.changed(after)
        for _ in range(_ATTEMPTS):
            found = stored.read(self._client, self._key)
            if found.token is None:
                # Either it is gone, or it must go once memcached is back.
                return bool(self._client.invalidate(self._key))
            theirs = Frozen(found.values)
            if not places & before.changed(theirs):
                return True  # it was not stored
            if places & after.changed(theirs):
                return False
            _, done = self._write(found, _changed(
                found.values, before.thaw(), places))
            if done is not False:
                return bool(done)
        return False

    def _values(self):
        return {} if self.data is None else stored.flatten(self.data)


def _fill(data, values):
    for (name, key), value in values.items():
        if name not in data:
            data[name] = SessionPkgData()
        data[name][key] = value


def _changed(values, others, places):
    """Return the values, in some places as the others are."""
    result = {place: value for place, value in values.items()
              if place not in places}
    result.update((place, others[place]) for place in places
                  if place in others)
    return result
