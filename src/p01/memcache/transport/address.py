# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The address of a server, as a person writes it."""

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import NamedTuple


PORT = 11211

# Bytes that the kernel has room for.
_LONGEST_PATH = 107

# Characters that DNS has room for, without a dot at the end.
_LONGEST_NAME = 253

# python-memcached's selection keeps a list as long as the sum of all weights.
_HEAVIEST = 65535

_match = re.compile(
    r'(?:unix:(?P<path>/[^\x00-\x20\x7f]+?)'
    r'|(?P<tls>tls://)?'
    r'(?:\[(?P<ip6>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z_.-]+)?)\]'
    r'|(?P<host>[\w.-]+))'
    r'(?::(?P<port>[0-9]{1,9}))?)'
    r'(?:/\?(?P<weight>[0-9]{1,9}))?').fullmatch

_secrets = re.compile(r'.*@', re.DOTALL)


def hide_secrets(text: str) -> str:
    """Return the text as it may be shown.

    A password that is written into an address, as into a URL, must not end up
    in a log.
    """
    return _secrets.sub('***@', text)


def _one_spelling(host: str) -> str:
    """Return the same text for every spelling of the same host.

    Raise a UnicodeError for a name that cannot be looked up.
    """
    if ':' in host:
        address = ipaddress.IPv6Address(host)
        return str(address.ipv4_mapped or address)
    # As getaddrinfo does: names are encoded, and 127.1 is an address.
    name = host.encode('idna').decode().lower().removesuffix('.')
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return name


class Address(NamedTuple):
    """Where a server is, and its share of the keys.

    The host is the configured text, as rings are made from it. A unix socket
    has its path as the host, and port 0. The name or the IP address to connect
    to is `at`, and the name in the certificate `certified`, if not the host.
    """

    text: str
    host: str
    port: int
    weight: int = 1
    tls: bool = False
    at: str = ''
    certified: str = ''

    def __str__(self) -> str:
        return self.text

    @property
    def is_unix(self) -> bool:
        return self.port == 0

    @property
    def identity(self) -> tuple[str, int]:
        """What two addresses of the same server have in common."""
        if self.is_unix:
            # realpath would keep two leading slashes.
            return '/' + os.path.realpath(self.host).lstrip('/'), 0
        return _one_spelling(self.host), self.port

    @property
    def server_name(self) -> str:
        """The name in the certificate: no zone, no dot at the end."""
        return _one_spelling(self.certified or self.host).partition('%')[0]


def parse(text: str) -> Address:
    """Return the `Address` that `text` says."""
    if not isinstance(text, str):
        raise TypeError(f'server {hide_secrets(repr(text))}: must be a str')
    shown = hide_secrets(text)
    match = _match(text)
    if match is None:
        raise ValueError(
            f'server {shown!r}: must be host, host:port, [ip6]:port,'
            ' unix:/path or tls://host:port, and may end with a weight'
            ' such as /?2')
    weight = int(match['weight'] or 1)
    if not 0 < weight <= _HEAVIEST:
        raise ValueError(
            f'server {shown!r}: the weight must be between 1 and {_HEAVIEST}')
    if match['path']:
        if len(os.fsencode(match['path'])) > _LONGEST_PATH:
            raise ValueError(
                f'server {shown!r}: the path must be {_LONGEST_PATH} bytes'
                ' at most')
        return Address(text, match['path'], 0, weight)
    port = int(match['port'] or PORT)
    if not 0 < port < 65536:
        raise ValueError(
            f'server {shown!r}: the port must be between 1 and 65535')
    host = match['ip6'] or match['host']
    try:
        name = _one_spelling(host)
    except UnicodeError:
        name = ''
    except ValueError as error:
        raise ValueError(f'server {shown!r}: {error}') from None
    if not name or len(name) > _LONGEST_NAME:
        raise ValueError(
            f'server {shown!r}: a name must have {_LONGEST_NAME} characters'
            ' at most, with 1 to 63 between its dots')
    return Address(text, host, port, weight, match['tls'] is not None)


def parse_all(texts: Iterable[str],
              parse: Callable[[str], Any] = parse) -> list[Any]:
    """Return a list of addresses; a duplicate is a ValueError."""
    addresses = [parse(text) for text in texts]
    seen = set()
    for address in addresses:
        if address.identity in seen:
            raise ValueError(f'server {address.text!r}: is named twice')
        seen.add(address.identity)
    return addresses
