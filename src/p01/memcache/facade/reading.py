# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheReader`: they read values."""

from time import monotonic

from p01.memcache.attributes.arguments import listed
from p01.memcache.counts.counts import BOUNDS
from p01.memcache.counts.counts import SUM
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.facade.base import Base
from p01.memcache.features.inspection import DOUBTFUL
from p01.memcache.features.inspection import inspect
from p01.memcache.wire.command import GetAndTouch


class Reading(Base):

    def query(self, key, raw=False, default=None):
        state = self._state
        return self._read(
            'query', state, key, raw, default, state.source.get)[0]

    def queryAndTouch(self, key, lifetime=None, raw=False, default=None):
        state, expires = self._state, self._expiry(lifetime)

        def get(key, deadline, most):
            return state.store.run(
                GetAndTouch(state.locate(key, deadline), expires, most),
                deadline)

        return self._read(
            'queryAndTouch', state, key, raw, default, get)[0]

    def gets(self, key, raw=False, default=None):
        state = self._state

        def get(key, deadline, most):
            return state.store.gets(
                state.locate(key, deadline), deadline, most)

        return self._read('gets', state, key, raw, default, get)

    def _read(self, command, state, key, raw, default, get):
        """Return the value and the token of the item that `get` finds."""
        builtKey = self.buildKey(key)
        wire = builtKey.encode()
        counts, begin = self._counts, monotonic()
        if begin >= counts.until:
            counts.roll(begin)  # as `Counts.begin`
        deadline = begin + self._timeout
        try:
            item = get(wire, deadline, state.codec.most)
            if item is not None and (
                    item.flags & DOUBTFUL or not item.data):
                item = inspect(
                    state, self._trouble, {wire: item}, deadline).get(wire)
        except MemcacheError as error:
            item = None
            self._trouble.report(error, 'key %s: not read', builtKey)
        if item is None:
            counts.misses += 1
            found = default, None
        else:
            data, flags, token = item
            size = len(data)
            try:
                found = state.codec.loads(wire, data, flags, raw), token
                counts.hits += 1
                counts.bytes_read += size
            except UnreadableValue as error:
                counts.misses += 1
                found = default, None
                self._trouble.unreadable(key, builtKey, error)
        # As `_end`, which would be a call more.
        seconds = monotonic() - begin
        times = counts.times[command]
        bucket = 0
        while seconds > BOUNDS[bucket]:  # quicker than bisect: it is short
            bucket += 1
        times[bucket] += 1
        times[SUM] += seconds
        if seconds > counts.bound:
            self._note(command, builtKey, state, begin, seconds)
        return found

    def queryMany(self, keys, raw=False):
        wanted = self._wanted(keys)
        state, begin = self._state, self._counts.begin()
        values, errors = self._find_many(
            state, wanted, raw, begin + self._timeout)
        hits = len(values)
        self._counts.hits += hits
        misses = len(wanted) - hits
        self._counts.misses += misses
        for key in list(errors):
            # Nothing here keeps it: its traceback may lead back here.
            self._trouble.unreadable(
                key, wanted[key].decode(), errors.pop(key))
        self._end('queryMany', f'{len(wanted)} keys', state, begin)
        return values

    def _find_many(self, state, wanted, raw, deadline):
        """Return dicts of the values, and of those that are unreadable."""
        try:
            items, errors = state.source.get_many(
                list(set(wanted.values())), deadline, state.codec.most)
            for error in errors:
                self._trouble.report(
                    error, '%s: not all read', f'{len(wanted)} keys')
            size, doubtful = 0, False
            for data, flags, _ in items.values():
                size += len(data)
                if flags & DOUBTFUL or not data:
                    doubtful = True
            if doubtful:
                items = inspect(state, self._trouble, items, deadline)
                size = sum([len(data) for data, _, _ in items.values()])
        except MemcacheError as error:
            self._trouble.report(
                error, '%s: not read', f'{len(wanted)} keys')
            return {}, {}
        self._counts.bytes_read += size
        return state.codec.loads_many(wanted, items, raw)

    def _wanted(self, keys):
        """Return a dict of the keys and their built keys, as bytes."""
        keys = listed('keys', keys)
        wires = self._build_all(keys)
        try:
            wanted = dict(zip(keys, wires, strict=True))
        except TypeError:
            wanted = {}
        if len(wanted) < len(keys):
            wanted = {}  # one by one, to say which of them is wrong
            for key, wire in zip(keys, wires, strict=True):
                try:
                    former = wanted.setdefault(key, wire)
                except TypeError:
                    raise TypeError(
                        f'keys: {key!r} cannot be in a dict') from None
                if former != wire:
                    raise ValueError(
                        f'keys: {key!r} equals another key, but is a'
                        ' different one to memcached')
        return wanted
