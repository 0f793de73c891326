# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Many keys, each asked for on its own, in the same round trip.

A proxy answers a request for many keys with a single error if one of its
servers fails.
"""

from collections.abc import Iterable
from time import monotonic

from p01.memcache.cluster.router import Router
from p01.memcache.cluster.server import Server
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerError
from p01.memcache.errors import forget_traceback
from p01.memcache.wire.batch import change_all
from p01.memcache.wire.command import Get
from p01.memcache.wire.item import Item


def get_rest(router: Router, keys: Iterable[bytes], found: dict[bytes, Item],
             errors: list[MemcacheError], start: float, deadline: float,
             most: int) -> list[MemcacheError]:
    """Ask again for what a proxy did not return, if it returned an error.

    That may take as long as the first reply, since `start`. Returns the errors
    that are left.
    """
    late = monotonic() - start > (deadline - start) / 2
    if late or not router.ring.alike or not any(
            isinstance(error, ServerError) for error in errors):
        return errors
    server, _ = router.find(b'', deadline)
    return _get_singly(server, [key for key in keys if key not in found],
                       found, deadline, most)


def _get_singly(server: Server, keys: Iterable[bytes],
                found: dict[bytes, Item], deadline: float,
                most: int) -> list[MemcacheError]:
    replies: dict[bytes, Item | MemcacheError | None] = {}
    errors: list[MemcacheError] = []
    try:
        for batch in change_all(
                (Get(key, most) for key in keys), replies, server.batch):
            server.run(batch, deadline)
    except MemcacheError as error:
        forget_traceback(error)
        errors.append(error)
    for key, reply in replies.items():
        if isinstance(reply, MemcacheError):
            errors.append(reply)
        elif reply is not None:
            found[key] = reply
    return errors
