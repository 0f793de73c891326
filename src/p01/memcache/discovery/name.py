# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A name whose addresses are the servers, such as a headless service."""

import os
import socket
import weakref
from time import monotonic

from p01.memcache.discovery import node
from p01.memcache.errors import LocalError
from p01.memcache.transport.address import Address
from p01.memcache.transport.dial import Lookup


# The look-ups under way, by process. A name service that hangs must not get a
# thread from each look.
_pending: weakref.WeakValueDictionary[tuple[int, str, int], Lookup] = (
    weakref.WeakValueDictionary())


def find(name: str, port: int, tls: bool, deadline: float) -> list[Address]:
    """Return the servers at the addresses of the name.

    Where it has both kinds of addresses, those of IPv6 are left out: they are
    other names of the same machines.
    """
    try:
        answer = _look_up(name, port).wait(max(deadline - monotonic(), 0))
    except RuntimeError as error:  # no thread can be started
        answer = error
    if not isinstance(answer, list):
        raise LocalError(
            f'no address of {name}: {answer or "no answer in time"}')
    families = {family for family, *_ in answer}
    kept = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return [
        node.make(host, port, tls, certified=name if tls else '')
        for family, _, _, _, (host, *_) in answer if family == kept]


def _look_up(name: str, port: int) -> Lookup:
    place = os.getpid(), name, port
    lookup = _pending.get(place)
    if lookup is None or lookup.is_lost or lookup.answer is not None:
        lookup = _pending[place] = Lookup(name, port)
    return lookup
