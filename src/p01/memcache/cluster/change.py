# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A change of the list of servers: what it begins, and who hears of it."""

import _thread
import contextlib
from collections.abc import Sequence
from time import monotonic

from zope.event import notify

from p01.memcache.cluster.server import Server
from p01.memcache.errors import MemcacheError
from p01.memcache.event import ServersChangedEvent
from p01.memcache.log import logger


# Seconds to deliver to a server what it has missed.
_PATIENCE = 3

# A key without a value.
_NO_KEY = b'p01.memcache'


def difference(former: Sequence[Server], servers: Sequence[Server],
               ) -> tuple[list[str], list[str]]:
    """Return the addresses of the servers that came, and that went."""
    # A machine that replaces another one has nothing to be delivered.
    before = [(server.address, server.undelivered) for server in former]
    after = [(server.address, server.undelivered) for server in servers]
    came = [one[0] for one in after if one not in before]
    went = [one[0] for one in before if one not in after]
    return came, went


def report(former: Sequence[Server], servers: Sequence[Server]) -> None:
    """Notify the subscribers if the servers differ."""
    came, went = difference(former, servers)
    if not came and not went:
        return
    try:
        notify(ServersChangedEvent(
            [server.address for server in servers], came, went))
    except Exception:
        # The subscriber's trouble, not that of the caller of `query`.
        logger.exception(
            'memcached servers: a subscriber of IServersChangedEvent failed')


def deliver(servers: Sequence[Server]) -> None:
    """Deliver to the servers what they have missed, in the background.

    Other processes may use them at any time.
    """
    behind = [server for server in servers if server.undelivered.keys]
    if behind:
        # Without a thread the next request to the server does it.
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(_deliver, (behind,))


def _deliver(servers: Sequence[Server]) -> None:
    for server in servers:
        with contextlib.suppress(MemcacheError):
            server.undelivered.deliver(
                server, _NO_KEY, monotonic() + _PATIENCE)
