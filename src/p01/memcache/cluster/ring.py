# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Which server has a key: pure arithmetic on addresses and keys."""

import itertools
import math
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Protocol

from p01.memcache.digest import md5
from p01.memcache.transport.address import Address


class Ring(Protocol):
    """A ring is made of addresses, and returns indexes into their list."""

    #: Whether each of the servers has all keys.
    alike: bool

    def find(self, key: bytes) -> int:
        """Return the index of the key's server."""

    def after(self, key: bytes, index: int) -> Iterator[int]:
        """Yield the others, in the order in which they stand in for it."""


from_bytes = int.from_bytes

_single = struct.Struct('f')
_four = struct.Struct('<4I')


def _float32(number: float) -> float:
    """Round as C does in a ``float``."""
    rounded: float = _single.unpack(_single.pack(number))[0]
    return rounded


class Ketama:
    """libmemcached's weighted ketama.

    Each server has some 160 points on a circle of 32 bits, according to its
    weight. A key belongs to the first point that is not before its own hash.
    """

    alike = False
    _points = 160  # per server, if all have the same weight
    _port = 11211  # is left out of a label

    def __init__(self, addresses: Sequence[Address]) -> None:
        total = sum(address.weight for address in addresses)
        points: list[tuple[int, int]] = []
        for index, address in enumerate(addresses):
            count = self._label_count(address, total, len(addresses))
            for number in range(count):
                digest = md5(self._label(address, number)).digest()
                points += ((point, index) for point in _four.unpack(digest))
        points.sort()
        self._hashes = [point for point, _ in points]
        self._indexes = [index for _, index in points]
        self._indexes.append(self._indexes[0])  # it is a circle
        self._size = len(set(self._indexes))

    def _label_count(
            self, address: Address, total: int, servers: int) -> int:
        # Exactly as libmemcached computes it, even the 1e-10. In float64 each
        # of 25 equal servers would get 160 points, not 156.
        share = _float32(_float32(address.weight) / _float32(total))
        share = _float32(_float32(share * self._points) / 4)
        return math.floor(_float32(_float32(share * servers) + 1e-10))

    def _label(self, address: Address, number: int) -> bytes:
        if address.port == self._port:
            return f'{address.host}-{number}'.encode()
        return f'{address.host}:{address.port}-{number}'.encode()

    def _position(self, key: bytes) -> int:
        return bisect_left(
            self._hashes, from_bytes(md5(key).digest()[:4], 'little'))

    def find(self, key: bytes) -> int:
        # As `_position` says, without a call for each key.
        return self._indexes[bisect_left(self._hashes, from_bytes(
            md5(key).digest()[:4], 'little'))]

    def after(self, key: bytes, index: int) -> Iterator[int]:
        start = self._position(key)
        seen = {index}
        for other in itertools.chain(
                itertools.islice(self._indexes, start, None), self._indexes):
            if other not in seen:
                seen.add(other)
                yield other
            if len(seen) == self._size:
                break


class Modulo:
    """python-memcached's selection.

    The remainder of the key's hash, divided by the number of servers. A server
    counts as often as its weight says. To find another one python-memcached
    hashes anew, up to ten times in all.
    """

    alike = False
    _tries = 10

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._indexes = [
            index for index, address in enumerate(addresses)
            for _ in range(address.weight)]

    def _hash(self, data: bytes) -> int:
        return zlib.crc32(data) >> 16 & 0x7fff

    def find(self, key: bytes) -> int:
        return self._indexes[self._hash(key) % len(self._indexes)]

    def after(self, key: bytes, index: int) -> Iterator[int]:
        number = self._hash(key)
        others = []
        for attempt in range(self._tries - 1):
            number = self._hash(b'%d%d' % (number, attempt))
            others.append(self._indexes[number % len(self._indexes)])
        return (other for other in dict.fromkeys(others) if other != index)


class RoundRobin:
    """Every operation goes to the next server.

    For proxies, which are all alike and find the server of a key themselves.
    """

    alike = True

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._size = len(addresses)
        self._turns = itertools.count()

    def find(self, key: bytes) -> int:
        return next(self._turns) % self._size

    def after(self, key: bytes, index: int) -> Iterator[int]:
        return ((index + step) % self._size
                for step in range(1, self._size))


#: By the name of the setting.
DISTRIBUTIONS: dict[str, Callable[[Sequence[Address]], Ring]] = {
    'ketama': Ketama,
    'modulo': Modulo,
    'roundrobin': RoundRobin,
}
