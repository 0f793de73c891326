# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A connection where no server is known, or none is to be used."""

import math

from p01.memcache.errors import ConnectError


class Nowhere:
    """See `p01.memcache.transport.connection.Connection`."""

    dirty = True
    heard = False
    since = math.inf

    def connect(self, deadline: float) -> None:
        raise ConnectError(
            'no server: no list has been found yet, or all that it lists are'
            ' drained')

    def abort(self) -> None:
        """Do nothing: it was not made."""

    close = abort
