# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""To find servers: the list that a `Source` has at the moment."""

import ssl

from p01.memcache.discovery import endpoint
from p01.memcache.discovery import name
from p01.memcache.discovery import node
from p01.memcache.discovery.source import Source
from p01.memcache.errors import MemcacheError
from p01.memcache.transport.address import Address
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given


def find(source: Source, deadline: float,
         context: Given[ssl.SSLContext] | None,
         account: Given[Credentials] | None) -> list[Address]:
    """Return the servers that the source lists, in order, each of them once.

    Raise a `MemcacheError` if the list cannot be had by the deadline, is
    empty or malformed. `context` and `account` are those of the servers.
    """
    _, kind, host, port, tls = source
    try:
        if kind == 'config':
            servers = endpoint.find(
                node.make(host, port, tls), deadline, context, account)
        elif kind == 'dns':
            servers = name.find(host, port, tls, deadline)
        else:
            # Only here, as it needs an extra.
            from p01.memcache.discovery import service
            servers = service.find(host, tls, deadline)
        return node.arrange(servers)
    except MemcacheError as error:
        error.server = source.text
        raise
