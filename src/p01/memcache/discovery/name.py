# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A name whose addresses are the servers, such as a headless service."""

import socket
from time import monotonic

from p01.memcache.discovery import node
from p01.memcache.errors import LocalError
from p01.memcache.transport.address import Address
from p01.memcache.transport.dial import Lookup


def find(name: str, port: int, tls: bool, deadline: float) -> list[Address]:
    """Return the servers at the addresses of the name.

    Where it has both kinds of addresses, those of IPv6 are left out: they are
    other names of the same machines.
    """
    try:
        answer = Lookup(name, port).wait(max(deadline - monotonic(), 0))
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
