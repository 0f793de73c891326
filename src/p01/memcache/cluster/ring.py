# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Which server has a key: pure arithmetic on addresses and keys.

A ring is made of the addresses, each with ``host``, ``port`` and ``weight``,
and speaks of servers by their places in that list. ``find(key)`` is the place
of the key's server; ``after(key, place)`` are the others, in the order in
which they would stand in for it. ``alike`` tells whether each of them has all
keys.
"""

import bisect
import hashlib
import itertools
import math
import struct
import zlib


_single = struct.Struct('f')
_four = struct.Struct('<4I')


def _md5(data):
    return hashlib.md5(data, usedforsecurity=False).digest()


def _float32(number):
    """Round as C does in a ``float``."""
    return _single.unpack(_single.pack(number))[0]


class Ketama:
    """libmemcached's weighted ketama.

    Each server has some 160 points on a circle of 32 bits, according to its
    weight. A key belongs to the first point that is not before its own hash.
    """

    alike = False
    _points = 160  # per server, if all have the same weight
    _port = 11211  # is left out of a label

    def __init__(self, addresses):
        total = sum(address.weight for address in addresses)
        points = []
        for place, address in enumerate(addresses):
            count = self._label_count(address, total, len(addresses))
            for number in range(count):
                label = self._label(address, number)
                points += (
                    (point, place) for point in _four.unpack(_md5(label)))
        points.sort()
        self._hashes = [point for point, _ in points]
        self._places = [place for _, place in points]
        self._places.append(self._places[0])  # it is a circle
        self._size = len(set(self._places))

    def _label_count(self, address, total, servers):
        # To the bit as it is there, the 1e-10 too. In float64 each of 25 equal
        # servers would get 160 points, and not 156.
        share = _float32(_float32(address.weight) / _float32(total))
        share = _float32(_float32(share * self._points) / 4)
        return math.floor(_float32(_float32(share * servers) + 1e-10))

    def _label(self, address, number):
        if address.port == self._port:
            return f'{address.host}-{number}'.encode()
        return f'{address.host}:{address.port}-{number}'.encode()

    def _index(self, key):
        point = int.from_bytes(_md5(key)[:4], 'little')
        return bisect.bisect_left(self._hashes, point)

    def find(self, key):
        return self._places[self._index(key)]

    def after(self, key, place):
        start = self._index(key)
        seen = {place}
        for other in itertools.chain(
                itertools.islice(self._places, start, None), self._places):
            if other not in seen:
                seen.add(other)
                yield other
            if len(seen) == self._size:
                break


class Modulo:
    """python-memcached's selection.

    The rest of the key's hash, divided by the number of servers. A server
    counts as often as its weight says. To find another one python-memcached
    hashes anew, up to ten times in all.
    """

    alike = False
    _tries = 10

    def __init__(self, addresses):
        self._places = [
            place for place, address in enumerate(addresses)
            for _ in range(address.weight)]

    def _hash(self, data):
        return zlib.crc32(data) >> 16 & 0x7fff

    def find(self, key):
        return self._places[self._hash(key) % len(self._places)]

    def after(self, key, place):
        number = self._hash(key)
        places = []
        for attempt in range(self._tries - 1):
            number = self._hash(b'%d%d' % (number, attempt))
            places.append(self._places[number % len(self._places)])
        return (other for other in dict.fromkeys(places) if other != place)


class RoundRobin:
    """Every operation goes to the next server.

    For proxies that shard by themselves, and are all the same.
    """

    alike = True

    def __init__(self, addresses):
        self._size = len(addresses)
        self._turns = itertools.count()

    def find(self, key):
        return next(self._turns) % self._size

    def after(self, key, place):
        return ((place + step) % self._size
                for step in range(1, self._size))


#: By the name that a person writes.
DISTRIBUTIONS = {
    'ketama': Ketama,
    'modulo': Modulo,
    'roundrobin': RoundRobin,
}
