# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A server that a source lists, as an `Address`. No source is believed."""

from collections.abc import Iterable

from p01.memcache.errors import ProtocolError
from p01.memcache.transport.address import Address
from p01.memcache.transport.address import parse


def make(host: str, port: int, tls: bool, weight: int = 1, at: str = '',
         certified: str = '') -> Address:
    """Return the address of a server, with a text that says the same."""
    text = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
    if weight != 1:
        text += f'/?{weight}'
    try:
        address = parse(f'tls://{text}' if tls else text)
    except ValueError:
        raise ProtocolError(f'not a server: {text[:80]!a}') from None
    return address._replace(at=at, certified=certified)


def arrange(addresses: Iterable[Address]) -> list[Address]:
    """Return each server once, in an order that all processes agree on."""
    servers: dict[tuple[str, int], Address] = {}
    for address in sorted(addresses, key=lambda one: (one.host, one.port)):
        servers.setdefault(address.identity, address)
    if not servers:
        raise ProtocolError('the list of servers is empty')
    return list(servers.values())
