# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheWriter` that compute values once."""

from collections.abc import Mapping
from time import monotonic

from p01.memcache.counts import steps
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import SerializationError
from p01.memcache.facade.reading import Reading
from p01.memcache.features.computing import WAITING
from p01.memcache.features.computing import Computation
from p01.memcache.features.looking import MISSING
from p01.memcache.features.lookup import LookUp
from p01.memcache.features.many import OneOfMany
from p01.memcache.threads import fork


class Creating(Reading):

    def lookUp(self, key, lifetime=None, grace=None, dependencies=()):
        builtKey, state = self.buildKey(key), self._state
        begin = self._counts.begin()
        computation = self._computation(
            state, key, builtKey, lifetime, grace,
            self._tags_of_value(dependencies), begin + self._timeout)
        try:
            value = computation.begin()
            self._count_found(computation, value)
            self._end('lookUp', builtKey, state, begin)
            return LookUp(computation, builtKey, value)
        except BaseException:
            computation.release()
            raise

    def getOrCreate(self, key, factory, lifetime=None, grace=None,
                    dependencies=()):
        _check_factory(factory)
        builtKey, state, pause = self.buildKey(key), self._state, 0.0
        counts, begin = self._counts, monotonic()
        if begin >= counts.until:
            counts.roll(begin)  # as `Counts.begin`
        computation = self._computation(
            state, key, builtKey, lifetime, grace,
            self._tags_of_value(dependencies) if dependencies != () else [],
            begin + self._timeout)
        try:
            value = computation.begin()
            if value is MISSING or computation.how is not None:
                self._count_found(computation, value)
            else:
                counts.hits += 1
            if value is MISSING:
                since = monotonic()
                try:
                    value = factory()
                finally:
                    pause = steps.note(steps.FACTORY, None, since)
                computation.store(value)
            return value
        except BaseException:
            computation.release()
            raise
        finally:
            self._end('getOrCreate', builtKey, state, begin, pause)

    def _count_found(self, computation, value):
        """Count what a computation has found, as it begins."""
        counts = self._counts
        if value is MISSING:
            counts.misses += 1
            counts.computed += 1
        elif computation.how == 'waited':
            counts.misses += 1
            counts.waited += 1
        else:
            counts.hits += 1
            if computation.how == 'stale':
                counts.stale += 1

    def _computation(self, state, key, builtKey, lifetime, grace, tags,
                     deadline=None, kind=Computation):
        fork.notice()  # forget the parent's computations: none ends here
        return kind(
            self._flights, state, self._trouble, self._timeout, key, builtKey,
            self.lifetime if lifetime is None else lifetime,
            0 if grace is None else grace, tags, deadline)

    def getOrCreateMany(self, keys, factory, lifetime=None, grace=None,
                        dependencies=()):
        _check_factory(factory)
        wanted = self._wanted(keys)
        if len(set(wanted.values())) < len(wanted):
            raise ValueError(
                f'keys: {_second(wanted)!r} and another key are the same to'
                ' memcached')
        tags = self._tags_of_value(dependencies)
        state = self._state
        # It checks the arguments, before anything is sent.
        self._computation(state, None, '', lifetime, grace, tags)
        counts, values, until, pause = self._counts, {}, None, [0.0]
        begin, left = counts.begin(), dict.fromkeys(wanted)
        deadline = begin + self._timeout
        hits = self._take_found(state, wanted, left, values, deadline)
        counts.hits += hits
        for key in left:
            left[key] = self._computation(
                state, key, wanted[key].decode(), lifetime, grace, tags,
                deadline, OneOfMany)
        try:
            claimed = self._claim_many(state, wanted, left, deadline)
            while left:
                ours = self._begin(left, claimed, until, values)
                if ours:
                    values.update(
                        self._compute(state, factory, ours, left, pause))
                for key in (*ours, *values):
                    left.pop(key, None)
                if left:
                    # Others compute these. They have had some time.
                    until = until or self._new_deadline()
                    waited = self._take_found(
                        state, wanted, left, values, until)
                    counts.misses += waited
                    counts.waited += waited
                    claimed = ()
        except BaseException:
            deadline = self._new_deadline()
            for computation in left.values():
                computation.release(deadline)
            raise
        finally:
            self._end('getOrCreateMany', f'{len(wanted)} keys', state, begin,
                      *pause)
        return {key: values[key] for key in wanted if key in values}

    def _new_deadline(self):
        return monotonic() + self._timeout

    def _take_found(self, state, wanted, left, values, deadline):
        """Move what is found now from those that are left to the values.

        Return how many these are.
        """
        found, unread = self._find_many(
            state, {key: wanted[key] for key in left}, False, deadline)
        unread.clear()  # an error's traceback leads to all values
        values.update(found)
        for key in found:
            del left[key]
        return len(found)

    def _begin(self, computations, claimed, deadline, values):
        """Look for the keys; return those that this caller has to compute.

        Before the deadline it waits for one of those that others compute; but
        while others may wait for a right of its own, it waits for none.
        """
        ours = []
        for key, computation in computations.items():
            waits = deadline is not None and not ours
            value = (MISSING if key in claimed
                     else computation.begin(deadline, waits))
            if value is not WAITING:
                self._count_found(computation, value)
            if value is MISSING:
                ours.append(key)
            elif value is not WAITING:
                values[key] = value
                if waits:
                    break  # the others may be there, too, by now
        return ours

    def _claim_many(self, state, wanted, left, deadline):
        """Claim those that are missing; return the set of their keys."""
        claimed = set()
        if not left or state.store.transaction()[1]:
            return claimed
        try:
            suffix = state.locate(b'', deadline)
            leases = state.lending.lend_many(
                [wanted[key] + suffix for key in left], deadline)
        except MemcacheError as error:
            self._trouble.report(
                error, '%s: not all read', f'{len(left)} keys')
            return claimed
        for key, computation in left.items():
            wire = wanted[key] + suffix
            if wire in leases:
                computation.take(wire, leases[wire])
                claimed.add(key)
        # Each has its claim by now, and gives it back if this is interrupted.
        versions = None
        for key in left:
            if key in claimed:
                versions = left[key].begin_taken(versions)
        return claimed

    def _compute(self, state, factory, keys, computations, pause):
        """Return what the factory returns for the keys, and store it.

        The seconds that the factory takes are added to the pause, a list.
        """
        since = monotonic()
        try:
            computed = factory(keys)
        finally:
            pause[0] += steps.note(steps.FACTORY, None, since)
        if not isinstance(computed, Mapping):
            raise TypeError(
                f'factory {factory!r}: must return a mapping, not a'
                f' {type(computed).__name__}')
        computed, asked = dict(computed), set(keys)
        for key in computed:
            if key not in asked:
                raise ValueError(f'factory {factory!r}: has not been asked for'
                                 f' {key!r}')
        deadline = self._new_deadline()  # for all of them
        prepared = {}
        for key in keys:
            if key not in computed:
                computations[key].release(deadline)
                continue
            try:
                prepared[key] = computations[key].prepare(
                    computed[key], deadline)
            except SerializationError as error:
                raise SerializationError(f'{key!r}: {error}') from error
        together = {key: each for key, each in prepared.items() if each}
        replies = state.lending.store_many(together.values(), deadline)
        for key, (wire, *_) in together.items():
            computations[key].finish(replies.pop(wire))
        return computed


def _check_factory(factory):
    if not callable(factory):
        raise TypeError(f'factory {factory!r}: must be callable')


def _second(wanted):
    """Return a key whose built key is that of a former one."""
    seen = set()
    return next(key for key, wire in wanted.items()
                if wire in seen or seen.add(wire))
