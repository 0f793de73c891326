# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a cluster leaves to the one that replaces it."""

from typing import Any
from typing import NamedTuple

from p01.memcache.cluster.server import Server
from p01.memcache.health.health import Health
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.transport.address import Address


#: The identity of an address, and where that leads to.
Machine = tuple[tuple[str, int], str]


class Memory(NamedTuple):
    """What may outlive a cluster whose settings, or whose servers, change.

    ``undelivered`` is by the machine of a server, or ``'proxies'`` for all of
    them, and ``healths`` by the machine. The ``servers`` themselves, by their
    addresses, can be used as long as the ``means`` to reach them are the same.
    ``layout`` is what decides which of them has a key.
    """

    undelivered: dict[Machine | str, Undelivered]
    healths: dict[Machine, Health]
    servers: dict[Address, Server]
    means: Any = None
    layout: Any = None

    @classmethod
    def empty(cls) -> 'Memory':
        return cls({}, {}, {})
