# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A namespace whose values can be invalidated all at once.

Its generation, a version, is a part of every key on the wire. Where it is
removed, the next one is another, and no value is found any more.
"""

from p01.memcache.features import dependencies


class Namespace:
    """Finds values whose keys have the namespace's generation behind them.

    The generation is stored under `key`. It reads as a store does.
    """

    def __init__(self, store, key):
        self.key = key
        self._store = store
        self.seen = None  # the last generation, and most likely the next

    def get(self, key, deadline, most):
        items, errors = self.get_many([key], deadline, most)
        if errors:
            raise errors[0]
        return items.get(key)

    def get_many(self, keys, deadline, most):
        """Ask for the generation and, trusting it is the last one, for all.
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
        """Return what is behind all keys of the namespace."""
        # It may be from a stand-in, before this call or after it.
        self._store.owe_absent(self.key, deadline)
        generation = dependencies.current(
            self._store, [self.key], deadline)[self.key]
        self._store.owe_absent(self.key, deadline)
        self.seen = generation
        return b'.' + generation

    def suffix_of_targets(self, deadline):
        """Return it for keys whose values are about to be changed."""
        try:
            return self.suffix(deadline)
        except BaseException:
            # What is to be changed cannot be named, not even to remember it.
            self._store.owe(self.key)
            raise
