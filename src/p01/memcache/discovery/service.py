# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The SRV records of a name. It needs dnspython, the extra ``srv``."""

import math
from time import monotonic

import dns.exception
import dns.resolver

from p01.memcache.discovery import node
from p01.memcache.errors import LocalError
from p01.memcache.log import printable
from p01.memcache.transport.address import Address


def find(name: str, tls: bool, deadline: float) -> list[Address]:
    """Return the servers of the records with the lowest priority.

    The others are meant as substitutes, which a cache has no use for.
    """
    try:
        # It reads the system's configuration anew.
        answer = dns.resolver.Resolver().resolve(
            name, 'SRV', search=True,
            lifetime=max(deadline - monotonic(), 0.001))
    except (dns.exception.DNSException, OSError) as error:
        raise LocalError(
            f'no SRV record of {name}: {printable(str(error))}') from error
    first = min(record.priority for record in answer)
    records = [record for record in answer if record.priority == first]
    # A target of "." says that there is no such service.
    weights = [record.weight or 1 for record in records]
    share = math.gcd(*weights)
    return [
        _make(record.target.to_text(), record.port, tls, weight // share)
        for record, weight in zip(records, weights, strict=True)
        if record.target != dns.name.root]


def _make(target: str, port: int, tls: bool, weight: int) -> Address:
    # The ring is made from the name as other clients list it. With the dot at
    # its end the machine's search domains are not tried.
    return node.make(
        target.removesuffix('.').lower(), port, tls, weight, at=target)
