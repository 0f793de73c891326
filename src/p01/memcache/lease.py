# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The right to compute a value: one caller has it, the others wait.

memcached lends it to the one whose claim, an empty value, is in the place of
the key, and tells the others so.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from p01.memcache import flag
from p01.memcache import protocol
from p01.memcache import stamp


# Seconds for which a claim lasts. Of what takes longer nothing is stored; but
# nobody waits that long for one who has died, see `p01.memcache.creation`.
SECONDS = 600


class Lease(NamedTuple):
    """What there is of a key, and who computes it.

    ``found`` is ``(data, flags)``, or None where there is no value; ``token``
    tells this state of the key from others. ``win`` is True for the one who
    has the right to compute the value, False while another has it, and None
    where nobody needs to. ``give_back(deadline)`` returns the right to renew
    a value. ``knows_age`` tells that the server lends that right, too, when
    the lifetime is over.
    """

    found: tuple | None
    token: str
    win: bool | None = None
    give_back: Callable | None = None
    knows_age: bool = False


def is_claim(client, key, data, flags, deadline, doubtful):
    """Return whether it is no value; memcached's own claims are empty.

    That is `doubtful` where the server cannot be asked whether it lends it.
    """
    if data or flags != flag.PLAIN:
        return flags == flag.CLAIM
    leased = client._is_leased(key, deadline)
    return doubtful if leased is None else leased


def claim(client, key, deadline):
    """Return the `Lease` of a key, by commands that all servers know."""
    while True:
        found = client._retrieve_unique(key, deadline)
        mine = None
        if found is None:
            mine = b'claim' + stamp.make()  # never a number to count with
            client._change(
                key, partial(protocol.add, key, mine, flag.CLAIM),
                SECONDS, protocol.read_stored_or_not, deadline)
            found = client._retrieve_unique(key, deadline)
        if found is not None:
            data, flags, token = found
            if is_claim(client, key, data, flags, deadline, True):
                return Lease(None, token, data == mine)
            return Lease((data, flags), token)
