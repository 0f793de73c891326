# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connection to servers that are not known yet."""

import math

from p01.memcache.errors import ConnectError


class Nowhere:
    """See `p01.memcache.transport.connection.Connection`."""

    dirty = True
    heard = False
    since = math.inf

    def connect(self, deadline: float) -> None:
        raise ConnectError('no list of servers has been found yet')

    def abort(self) -> None:
        """Do nothing: it was not made."""

    close = abort
