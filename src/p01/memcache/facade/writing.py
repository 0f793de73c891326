# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheWriter`: they store, change or remove values."""

from time import monotonic

from p01.memcache.attributes.arguments import listed
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ValueTooLarge
from p01.memcache.facade.base import NOT_STORED
from p01.memcache.facade.base import Base
from p01.memcache.features.lifetime import expiry
from p01.memcache.leases.claim import AT_ONCE
from p01.memcache.values.flags import CLAIM
from p01.memcache.wire import cas
from p01.memcache.wire import command


class Writing(Base):

    def set(self, key, data, lifetime=None, raw=False, dependencies=()):
        state, builtKey = self._state, self.buildKey(key)
        expires = expiry(self.lifetime if lifetime is None else lifetime)
        tags = self._tags_of_value(dependencies) if dependencies != () else ()
        dumped = self._dump(state, builtKey, data, raw)
        if dumped is None:
            # The old value must not pass for the new one.
            self._remove('set', builtKey)
            return None
        data, flags = dumped
        size, counts, stored = len(data), self._counts, builtKey
        begin = monotonic()
        if begin >= counts.until:
            counts.roll(begin)  # as `Counts.begin`
        deadline = begin + self._timeout
        try:
            wire = self._aim(state, builtKey, deadline)
            if tags:
                data, flags = state.codec.stamp(
                    builtKey.encode(),
                    self._versions(state, [wire], tags, deadline), data, flags)
            state.store.run(
                command.Set(wire, data, flags, expires), deadline)
            counts.stored += 1
            counts.bytes_stored += size
        except MemcacheError as error:
            self._trouble.report(
                error, 'key %s: %d bytes not stored', builtKey, size)
            counts.was_refused(error)
            stored = None
        self._end('set', builtKey, state, begin)
        return stored

    def invalidate(self, key):
        reply = self._remove('invalidate', self.buildKey(key))
        if reply:
            self._counts.invalidated += 1
        return reply

    def invalidateUnchanged(self, key, token):
        # An empty claim in its place, which has expired already: unlike a
        # comparison by meta commands, every server with `cas` knows it.
        reply = self._compare(
            'invalidateUnchanged', self._state, self.buildKey(key), token,
            'not invalidated',
            lambda wire, unique, server, deadline: command.Discard(
                wire, b'', CLAIM, unique, AT_ONCE, server))
        if reply:
            self._counts.invalidated += 1
        return reply

    def _remove(self, name, builtKey):
        state = self._state
        reply = self._attempt(
            name, state, builtKey, 'not invalidated',
            lambda wire, deadline: state.store.run(
                command.Delete(wire), deadline))
        return None if reply is None else True

    # Under a condition

    def add(self, key, data, lifetime=None, raw=False, dependencies=()):
        return self._store_if(
            command.Add, key, data, lifetime, raw, dependencies)

    def replace(self, key, data, lifetime=None, raw=False, dependencies=()):
        return self._store_if(
            command.Replace, key, data, lifetime, raw, dependencies, True)

    def append(self, key, data):
        # The server ignores the lifetime here: 0 is as good as any.
        return self._store_if(command.Append, key, data, 0, raw=True)

    def prepend(self, key, data):
        return self._store_if(command.Prepend, key, data, 0, raw=True)

    def _store_if(self, kind, key, data, lifetime, raw, dependencies=(),
                  replaces=False):
        """Store data by a command of this kind; return its reply, or None.

        If it `replaces` a value, that must not pass for the new one.
        """
        state, builtKey = self._state, self.buildKey(key)
        expires, tags = self._expiry(lifetime), self._tags_of_value(
            dependencies)
        dumped = self._dump(state, builtKey, data, raw)
        if dumped is None:
            if replaces:
                self._remove('replace', builtKey)
            return None

        def store(wire, deadline):
            stamped = self._stamp(
                state, builtKey, [wire] if replaces else [], tags, dumped,
                deadline)
            return state.store.run(kind(wire, *stamped, expires), deadline)

        return self._count_stored(
            self._attempt(kind.__name__.lower(), state, builtKey,
                          'not stored', store), len(dumped[0]))

    def _count_stored(self, reply, size):
        """Count a value that is stored, if it is; return the reply."""
        if reply:
            self._counts.was_stored(size)
        return reply

    def cas(self, key, data, token, lifetime=None, raw=False,
            dependencies=()):
        cas.parse(token)  # an error of use, before anything else
        state, builtKey = self._state, self.buildKey(key)
        expires, tags = self._expiry(lifetime), self._tags_of_value(
            dependencies)
        dumped = self._dump(state, builtKey, data, raw)
        if dumped is None:
            return None
        return self._count_stored(self._compare(
            'cas', state, builtKey, token, 'not stored',
            lambda wire, unique, server, deadline: command.Cas(
                wire, *self._stamp(state, builtKey, [], tags, dumped,
                                   deadline),
                unique, expires, server)), len(dumped[0]))

    def _compare(self, name, state, builtKey, token, trouble, make):
        """Return the reply to ``make(wire, unique, server, deadline)``."""
        unique, server = cas.parse(token)
        if not cas.compares(token):
            self._trouble.report(
                MemcacheError(f'{server} has no compare-and-swap'),
                'key %s: ' + trouble, builtKey)
            return None
        return self._attempt(
            name, state, builtKey, trouble,
            lambda wire, deadline: state.store.run(
                make(wire, unique, server, deadline), deadline))

    def _stamp(self, state, builtKey, owed, tags, dumped, deadline):
        """Return the data and flags with the current versions of the tags.

        If these cannot be read, the keys that are `owed` are.
        """
        if not tags:
            return dumped
        return state.codec.stamp(
            builtKey.encode(), self._versions(state, owed, tags, deadline),
            *dumped)

    def touch(self, key, lifetime=None):
        expires = self._expiry(lifetime)
        state, builtKey = self._state, self.buildKey(key)
        begin, reply = self._counts.begin(), None
        deadline = begin + self._timeout
        try:
            wire = state.locate(builtKey.encode(), deadline)
            reply = state.store.run(command.Touch(wire, expires), deadline)
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: not touched', builtKey)
        self._end('touch', builtKey, state, begin)
        return reply

    # Many values

    def setMany(self, mapping, lifetime=None, raw=False, dependencies=()):
        try:
            values = list(mapping.items())
        except AttributeError:
            raise TypeError(
                f'mapping {type(mapping).__name__}: must map keys to values'
            ) from None
        state, expires = self._state, self._expiry(lifetime)
        tags = self._tags_of_value(dependencies)
        keys = [key for key, _ in values]
        built = self._build_all(keys)
        objects = dict(zip(built, [obj for _, obj in values], strict=True))
        if len(objects) < len(built):
            [key, *_] = [key for number, key in enumerate(keys)
                         if built.index(built[number]) < number]
            raise ValueError(
                f'mapping: {key!r} and another key are the same to memcached')
        pairs = list(zip(keys, built, strict=True))
        dumped, errors = state.codec.dumps_many(objects, raw)
        large = [(key, builtKey) for key, builtKey in pairs
                 if builtKey in errors]
        for key, builtKey in large:
            error = errors[builtKey]
            if not isinstance(error, ValueTooLarge):
                errors.clear()
                try:
                    raise type(error)(f'mapping: {key!r}: {error}') from error
                finally:
                    # The traceback of its cause leads back here.
                    del error
            self._trouble.report(
                error, 'key %s: not stored', builtKey.decode())
            self._counts.refused += 1
        begin, total = self._counts.begin(), len(built)
        deadline = begin + self._timeout
        if large:
            self._remove_many(large, deadline)
            pairs = [(key, builtKey) for key, builtKey in pairs
                     if builtKey in dumped]

        def make(builtKey, wire, versions):
            data, flags = dumped[builtKey]
            if versions:
                data, flags = state.codec.stamp(
                    builtKey, versions, data, flags)
            return command.Set(wire, data, flags, expires)

        failed = self._attempt_many(
            state, pairs, NOT_STORED, make, deadline, tags)
        lost = set(failed)
        sizes = [len(dumped[builtKey][0]) for key, builtKey in pairs
                 if key not in lost]
        self._counts.was_stored(sum(sizes), len(sizes))
        self._end('setMany', f'{total} keys', state, begin)
        return [key for key, _ in large] + failed

    def invalidateMany(self, keys):
        keys, state = listed('keys', keys), self._state
        pairs = list(zip(keys, self._build_all(keys), strict=True))
        begin = self._counts.begin()
        failed = self._remove_many(pairs, begin + self._timeout)
        removed = len(keys) - len(failed)
        self._counts.invalidated += removed
        self._end('invalidateMany', f'{len(keys)} keys', state, begin)
        return failed

    def _remove_many(self, pairs, deadline):
        return self._attempt_many(
            self._state, pairs, '%s: not invalidated',
            lambda builtKey, wire, versions: command.Delete(wire), deadline)

    # The values that share a dependency

    def invalidateDependencies(self, *dependencies):
        return self._forget(
            'invalidateDependencies', self._state.versions,
            self._tags(dependencies), 'dependencies')

    def _forget(self, name, versions, tags, what):
        """Forget versions; return True, or None if that failed."""
        self._flights.clear()
        state, begin = self._state, self._counts.begin()
        replies = versions.forget(tags, begin + self._timeout)
        self._end(name, f'{len(tags)} {what}', state, begin)
        errors = [reply for reply in replies.values()
                  if isinstance(reply, MemcacheError)]
        for error in errors:
            self._trouble.report(error, '%s: not invalidated', what)
        if errors:
            return None
        self._counts.invalidated += 1
        return True
