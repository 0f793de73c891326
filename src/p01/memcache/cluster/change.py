# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A change of the list of servers: what it begins, and what it reports."""

import _thread
import contextlib
from collections.abc import Sequence
from time import monotonic

from zope.event import notify

from p01.memcache.cluster.server import NO_KEY
from p01.memcache.cluster.server import Server
from p01.memcache.errors import MemcacheError
from p01.memcache.event import ServersChangedEvent
from p01.memcache.log import logger


# Seconds to deliver to a server what it has missed.
_PATIENCE = 3


def difference(former: Sequence[Server], servers: Sequence[Server],
               ) -> tuple[list[str], list[str]]:
    """Return the addresses of the servers that came, and that went."""
    # A machine that replaces another one has an `Undelivered` of its own.
    before, after = (
        dict.fromkeys((server.address, server.undelivered) for server in some)
        for some in (former, servers))
    return ([address for address, owed in after
             if (address, owed) not in before],
            [address for address, owed in before
             if (address, owed) not in after])


def complete(former: Sequence[Server], servers: Sequence[Server]) -> None:
    """Notify the subscribers if the servers differ.

    What the servers have missed is delivered to them, in the background: keys
    that move to them are read by other processes, too.
    """
    came, went = difference(former, servers)
    if not came and not went:
        return
    owed = {server.undelivered for server in servers}
    behind = [server for server in servers if server.undelivered.keys]
    if behind and owed != {server.undelivered for server in former}:
        # Without a thread the next request to the server does it.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(_deliver, (behind,))
    try:
        notify(ServersChangedEvent(
            [server.address for server in servers], came, went))
    except Exception:
        # The subscriber's trouble, not that of the caller of `query`.
        logger.exception(
            'memcached servers: a subscriber of IServersChangedEvent failed')


def _deliver(servers: Sequence[Server]) -> None:
    for server in servers:
        with contextlib.suppress(MemcacheError):
            server.undelivered.deliver(
                server, NO_KEY, monotonic() + _PATIENCE)
