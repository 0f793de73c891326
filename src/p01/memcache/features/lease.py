# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The right to compute a value: one caller has it, the others wait.

A claim in the place of the key stands for it. It is a value that was never
there before, so that it also tells whether a server has been restarted: the
numbers that tell values apart begin anew then, and an old one may fit another
value.
"""

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import NamedTuple

from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.values import stamp
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire import cas as tokens
from p01.memcache.wire import protocol


# Seconds for which a claim lasts. Of what takes longer nothing is stored; but
# nobody waits that long for one who has died, see `computing`.
SECONDS = 600


class Lease(NamedTuple):
    """What there is of a key, and who computes it.

    ``found`` is ``(data, flags)``, or None where there is no value; ``token``
    tells this state of the key from others, and is None where the server
    cannot lend anything. ``win`` is True for the one who has the right to
    compute the value, False while another has it, and None where nobody needs
    to. ``give_back(deadline)`` returns the right to renew a value.
    ``knows_age`` tells that the server lends that right, too, when the
    lifetime is over.

    The token is good on connections that were made before ``since``; on
    others, if ``mark`` is what is in the place of the key.
    """

    found: tuple | None
    token: str | None
    win: bool | None = None
    give_back: Callable | None = None
    knows_age: bool = False
    since: float = 0.0
    mark: bytes = b''


def make_mark():
    """Return a claim that never was before.

    To a reader that knows no claims, as an older release, it is a pickle of
    None: the text is pushed, popped, and None is left.
    """
    return b'\x80\x02U\x10%b0N.' % stamp.make()


def is_claim(client, key, data, flags, deadline, doubtful):
    """Return whether it is no value; other clients' claims may be empty.

    That is `doubtful` where the server cannot be asked whether it lends it.
    """
    if data or flags != PLAIN:
        return flags == CLAIM
    leased = client._is_leased(key, deadline)
    return doubtful if leased is None else leased


def claim(client, key, server, deadline):
    """Return the `Lease` of a key, by commands that all servers know.

    That is None where its place changes meanwhile.
    """
    if server in client._unlending:
        return read(client, key, deadline)
    since, mine = monotonic(), None
    try:
        found = client._retrieve_unique(key, deadline)
    except ClientError as error:
        return lend_nothing(client, key, server, error, deadline)
    if found is None:
        mine = make_mark()
        client._change(
            key, partial(protocol.add, key, mine, CLAIM),
            SECONDS, protocol.read_stored_or_not, deadline)
        since = monotonic()
        found = client._retrieve_unique(key, deadline)
    if found is None:
        return None
    data, flags, token = found
    if not tokens.compares(token):
        if data == mine:
            client._remove(key, deadline)
        return lend_nothing(
            client, key, server, 'its unique numbers are 0', deadline)
    if is_claim(client, key, data, flags, deadline, True):
        return Lease(None, token, data == mine, since=since, mark=data)
    return Lease((data, flags), token, since=since, mark=data)


def lend_nothing(client, key, server, reason, deadline):
    """Note that the server cannot compare and swap; return a `Lease`."""
    client._unlending.add(server)
    client._degraded(
        MemcacheError(f'no compare-and-swap: {reason}'),
        'server %s: lends no right to compute', server)
    return read(client, key, deadline)


def read(client, key, deadline):
    """Return the `Lease` of a server that cannot compare and swap."""
    found = client._retrieve(key, deadline)
    if found is not None and found[1] == CLAIM:
        found = None
    return Lease(found, None)
