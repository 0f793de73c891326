# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The keys of a region, in either scheme, which equal no other ones.

They are hashed by a function of their own (the ``person`` of BLAKE2b), so no
key outside of regions equals one inside, whatever its text. In front of what
is hashed are the namespace and the names of the region and of those around
it, each with its length.
"""

from collections.abc import Iterable
from hashlib import blake2b

from p01.memcache.keys import compatible
from p01.memcache.keys import strict
from p01.memcache.values.unstorable import bare


class RegionKeys:
    """Builds the keys of a region; its `path` is a tuple of names."""

    def __init__(self, path: tuple[str, ...], is_strict: bool,
                 protocol: int) -> None:
        names = [name.encode() for name in path]
        head = b'%d:' % len(names) + b''.join(
            b'%d:%b' % (len(name), name) for name in names)
        self._strict = blake2b(head, digest_size=32, person=b'strict region')
        self._compatible = blake2b(head, digest_size=32, person=b'region')
        self._is_strict = is_strict
        self._protocol = protocol

    def build(self, key: object) -> str:
        """Return the memcached key of a Python object."""
        if self._is_strict or type(bare(key)) is strict.CallKey:
            hash, data = self._strict.copy(), strict.encode(key)
        else:
            hash = self._compatible.copy()
            data = compatible.encode(key, self._protocol)
        hash.update(data)
        return hash.hexdigest()

    def build_all(self, keys: Iterable[object]) -> list[bytes]:
        """Return what `build` returns for each of the keys, as bytes."""
        return [self.build(key).encode() for key in keys]
