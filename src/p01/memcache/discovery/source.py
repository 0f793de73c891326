# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A source: a place that lists servers, as a person writes it."""

import importlib
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from p01.memcache.transport import address
from p01.memcache.transport.address import Address
from p01.memcache.transport.address import hide_secrets


_match = re.compile(
    r'(?P<kind>config|srv|dns)(?P<tls>\+tls)?://(?P<place>[^/]+)').fullmatch

# A host of that name has another character behind the colon, if it has any.
_is_meant = re.compile(
    r'(?:tls\+)?(?:config|srv|dns)(?:\+[^:]*)?:/', re.IGNORECASE).match


class Source(NamedTuple):
    """A place that lists servers.

    The kinds are ``config``, a configuration endpoint at the host; ``srv``,
    the SRV records of a name; and ``dns``, all the addresses of a name. With
    `tls` the servers are reached by TLS, and so is the endpoint.
    """

    text: str
    kind: str
    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return self.text

    @property
    def identity(self) -> tuple[str, str, int]:
        """What two spellings of the same source have in common."""
        return self.kind, *Address(self.text, self.host, self.port).identity


def parse(text: str) -> Address | Source:
    """Return the `Address` or the `Source` that `text` says."""
    if not isinstance(text, str) or not _is_meant(text):
        return address.parse(text)
    match = _match(text)
    try:
        if match is None:
            raise ValueError
        kind, tls, place = match.groups()
        found = address.parse(place)
        if kind == 'srv' and ':' in place or (
                kind != 'config' and _is_ip(found)):
            raise ValueError
    except ValueError:
        raise ValueError(
            f'server {hide_secrets(text)!r}: must be config://host:port,'
            ' srv://_service._tcp.name or dns://name:port, with +tls in front'
            ' of :// for TLS, and no weight') from None
    if kind == 'srv':
        _require_resolver(text)
    return Source(text, kind, found.host, found.port, tls is not None)


def parse_all(texts: Iterable[str]) -> list[Address | Source]:
    """Return a list of addresses and sources; a duplicate is a ValueError."""
    return address.parse_all(texts, parse)


def _is_ip(found: Address) -> bool:
    try:
        ipaddress.ip_address(found.identity[0])
    except ValueError:
        return False
    return True


def _require_resolver(text: str) -> None:
    # Not at the first look, in a thread: a child that is forked meanwhile
    # would wait for ever for the end of the import.
    try:
        importlib.import_module('dns.resolver')
    except ImportError:
        raise ValueError(
            f'server {text!r}: needs dnspython, which the extra "srv" installs'
        ) from None
