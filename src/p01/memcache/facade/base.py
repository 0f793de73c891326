# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What all operations share: keys, arguments, and how failures are handled."""

from p01.memcache.attributes.arguments import listed
from p01.memcache.attributes.settings import Part
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ValueTooLarge
from p01.memcache.facade.showing import Showing
from p01.memcache.facade.state import State
from p01.memcache.features.lifetime import expiry
from p01.memcache.store import has_errors
from p01.memcache.trouble import Trouble
from p01.memcache.values import codec
from p01.memcache.values import stamp


# What is logged of many keys.
NOT_STORED = '%s: not stored'


class Base(Showing):
    """A client without its operations.

    A subclass implements ``_make_store(settings, changed, former)``, which
    returns a `Part` whose value is an `IStore`; `former` is the state so far,
    or None. ``_timeout`` is the most seconds that an operation may take.
    """

    # See `deriving.derive`.
    _wrap = None

    def __init__(self, **settings):
        self._trouble = Trouble(self, self._reports_states)
        self._counts = self._trouble.counts
        self._unlending = set()  # servers that cannot compare and swap
        self._flights = {}
        super().__init__(**settings)

    def after_fork(self):
        super().after_fork()
        # What threads of this process compute: a `Flight` by the place of the
        # key and its token. The parent's never end in this process.
        self._flights.clear()

    def __repr__(self):
        regions = ''.join(f', region {name!r}' for name in self._regions)
        return f'<{type(self).__name__} {", ".join(self.servers)}{regions}>'

    def buildKey(self, key):
        return self._state.build_key(key)

    def _build_all(self, keys):
        """Return a list of the built keys, as bytes."""
        if type(self).buildKey is Base.buildKey:
            return self._state.build_all(keys)  # the same, in less time
        return [self.buildKey(key).encode() for key in keys]

    def close(self):
        self._state.store.close()

    # The state

    def _make_state(self, settings, changed, former):
        coding = former and former.coding
        if coding is None or coding.depends_on(changed):
            coding = Part(codec.make, settings)
        self._counts.limit_to(settings.slow)
        serving = self._make_store(settings, changed, former)
        store = serving.value
        if self._wrap is not None:
            store = self._wrap(
                store, self._trouble.report, self._flights.clear)
        return State(settings, coding, serving, store, self._unlending,
                     self._trouble, self._regions)

    def _check(self):
        """Raise a ValueError if an argument would have no effect."""
        signed = codec.is_signed(self.serializer)
        for name, has_effect in (
                ('secretsFile', signed),
                ('secretsVariable', signed),
                ('allow', self.serializer in ('pickle', 'signed-pickle'))):
            if getattr(self, name) is not None and not has_effect:
                raise ValueError(
                    f'{name}: has no effect with the serializer'
                    f' {self.serializer!r}')

    # Arguments

    def _expiry(self, lifetime):
        return expiry(self.lifetime if lifetime is None else lifetime)

    def _dump(self, state, builtKey, data, raw):
        """Return ``(bytes, flags)``, or None if the value is too large."""
        try:
            return state.codec.dumps(builtKey.encode(), data, raw)
        except ValueTooLarge as error:
            self._trouble.report(error, 'key %s: not stored', builtKey)
            self._counts.refused += 1
            return None

    def _tags(self, dependencies):
        """Return the keys under which their versions are stored."""
        tags, build = [], self._outermost().buildKey
        for dependency in listed('dependencies', dependencies):
            if not isinstance(dependency, str):
                raise TypeError(f'dependency {dependency!r}: must be a str')
            tags.append(stamp.TAG + build(dependency).encode())
        return list(dict.fromkeys(tags))

    def _tags_of_value(self, dependencies):
        tags = self._tags(dependencies)
        if len(tags) > stamp.MOST:
            raise ValueError(
                f'dependencies: {len(tags)} are more than {stamp.MOST}')
        return tags

    # Changes

    def _attempt(self, command, state, builtKey, trouble, change):
        """Return ``change(key on the wire, deadline)``; None if it fails."""
        begin, reply = self._counts.begin(), None
        deadline = begin + self._timeout
        try:
            reply = change(self._aim(state, builtKey, deadline), deadline)
        except MemcacheError as error:
            self._trouble.report(error, 'key %s: ' + trouble, builtKey)
            if trouble == 'not stored':
                self._counts.was_refused(error)
        self._end(command, builtKey, state, begin)
        return reply

    def _attempt_many(self, state, pairs, trouble, make, deadline, tags=()):
        """Run the command ``make(built key, wire, versions)`` for many keys.

        `pairs` are keys and their built keys, as bytes. `versions` are those
        of the tags. Returns a list of the keys for which it failed.
        """
        if not pairs:
            return []
        suffix, versions = b'', {}
        built = dict.fromkeys([builtKey for _, builtKey in pairs])
        self._end_flights(built)
        try:
            if state.namespace is not None:
                suffix = state.namespace.suffix_of_targets(deadline)
                self._end_flights([key + suffix for key in built])
            if tags:
                versions = self._versions(
                    state, [key + suffix for key in built], tags, deadline)
        except MemcacheError as error:
            self._trouble.report(error, trouble, f'{len(pairs)} keys')
            return [key for key, _ in pairs]
        replies = state.store.run_many(
            [make(key, key + suffix, versions) for key in built], deadline)
        if not has_errors(replies):
            return []
        failed = []
        for key, builtKey in pairs:
            reply = replies[builtKey + suffix]
            if isinstance(reply, MemcacheError):
                self._trouble.report(
                    reply, 'key ' + trouble, builtKey.decode())
                if trouble == NOT_STORED:
                    self._counts.was_refused(reply)
                failed.append(key)
        return failed

    def _versions(self, state, wires, tags, deadline):
        """Return the versions for values that replace those of the keys."""
        try:
            return state.versions.current(tags, deadline)
        except BaseException:
            # Nothing will be stored, so the old values must go, as after a
            # `set` whose outcome is unknown.
            for wire in wires:
                state.store.owe(wire)
            raise

    def _aim(self, state, builtKey, deadline):
        """Return the key on the wire of a value that is about to be changed.

        Its running computations are detached.
        """
        wire = builtKey.encode()
        if self._flights:
            self._end_flights((wire,))
        if state.namespace is not None:
            wire += state.namespace.suffix_of_targets(deadline)
            self._end_flights((wire,))
        return wire

    def _end_flights(self, wires):
        """Detach the running computations of these keys: their results are no
        longer shared.
        """
        if self._flights:
            for wire in wires:
                self._flights.pop((wire, None), None)
