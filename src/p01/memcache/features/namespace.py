# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A namespace whose values can be invalidated all at once.

Its generation, a version, is part of every key on the wire. Once it is removed
the next caller makes a different one, and the old values are not found any
more.
"""

from p01.memcache.features import dependencies
from p01.memcache.store import first_of


class Namespace:
    """Reads values as a store does, with the generation as suffix of each key.

    The generation is stored under `key`.
    """

    def __init__(self, store, key):
        self.key = key
        self._store = store
        #: Of the generation.
        self.versions = dependencies.Versions(store)
        self.seen = None  # the generation that was current a moment ago

    def get(self, key, deadline, most):
        items, errors = self.get_many([key], deadline, most)
        if errors:
            raise first_of(errors)
        return items.get(key)

    def get_many(self, keys, deadline, most):
        """Read as a store does.

        The generation is read in the same request as the values, on the
        assumption that it has not changed.
        """
        if not self.seen:
            return self._get_many(self.suffix(deadline), keys, deadline, most)
        seen = b'.' + self.seen
        items, errors = self._get_many(seen, keys, deadline, most, self.key)
        current = items.pop(None, None)
        if not dependencies.is_version(current):
            return self._get_many(self.suffix(deadline), keys, deadline, most)
        self.seen, suffix = current.data, b'.' + current.data
        if suffix == seen:
            return items, errors
        return self._get_many(suffix, keys, deadline, most)

    def _get_many(self, suffix, keys, deadline, most, *own):
        wires = {key + suffix: key for key in keys}
        items, errors = self._store.get_many(
            [*own, *wires], deadline, most)
        return {wires.get(wire): item for wire, item in items.items()}, errors

    def suffix(self, deadline):
        """Return the suffix of all keys of the namespace."""
        # The generation may come from a stand-in. So remove it from its own
        # server, which may be down before this read or only after it.
        self._store.owe_absent(self.key, deadline)
        generation = self.versions.current(
            [self.key], deadline)[self.key]
        self._store.owe_absent(self.key, deadline)
        self.seen = generation
        return b'.' + generation

    def suffix_of_targets(self, deadline):
        """Return it for keys whose values are about to be changed."""
        try:
            return self.suffix(deadline)
        except BaseException:
            # The key that is to be changed is unknown, so it cannot be owed.
            # Owe the generation.
            self._store.owe(self.key)
            raise
