# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The configuration endpoint of a cluster, which lists its servers.

It is a memcached of AWS ElastiCache, or the discovery endpoint of Google
Memorystore, and knows ``config get cluster``. ElastiCache before 1.4.14 has
the same list under a key.
"""

import ipaddress
import math
import re
import ssl

from p01.memcache.discovery import node
from p01.memcache.errors import ClientError
from p01.memcache.errors import ProtocolError
from p01.memcache.transport.address import Address
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.trust import Trust
from p01.memcache.wire import replies
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Get
from p01.memcache.wire.reader import Readable


#: Bytes and servers of a list. Those of DNS are in 64 kB.
MOST_BYTES, MOST_SERVERS = 1 << 20, 4096

_OLD_KEY = b'AmazonElastiCache:cluster'

_parse_size = re.compile(
    rb'CONFIG cluster \d{1,10} (\d{1,10})\r\n').fullmatch

# The version is a number that grows with each change. It is not compared: an
# endpoint that was made anew may begin again.
_parse_list = re.compile(rb'\d{1,20}\r?\n([^\r\n]*)(?:\r?\n)?').fullmatch

_parse_node = re.compile(
    r'([^|]*)\|([0-9A-Fa-f.:]*)\|([0-9]{1,5})').fullmatch

_parse_end = re.compile(rb'END\r\n').fullmatch


class GetCluster(Command):
    """``config get cluster``, whose reply is the list as bytes."""

    repeats = True
    everywhere = False

    def encode(self) -> bytes:
        return b'config get cluster\r\n'

    def read(self, reader: Readable) -> bytes:
        [size] = replies.parse_line(reader, _parse_size)
        if int(size) > MOST_BYTES:
            raise ProtocolError(f'a list of {int(size)} bytes')
        data = replies.read_block(reader, int(size))
        replies.parse_line(reader, _parse_end)
        return data


class GetOldCluster(Get):
    """The same of an old ElastiCache, which has the list under a key."""

    def __init__(self) -> None:
        super().__init__(_OLD_KEY, MOST_BYTES)

    def read(self, reader: Readable) -> bytes:
        item = super().read(reader)
        if item is None:
            raise ClientError('the server has no list of servers')
        if reader.closed:
            raise ProtocolError(f'a list of more than {MOST_BYTES} bytes')
        data: bytes = item.data
        return data


def find(address: Address, deadline: float,
         context: Given[ssl.SSLContext] | None,
         account: Given[Credentials] | None) -> list[Address]:
    """Return the servers that the endpoint lists."""
    trust = Trust(
        context if address.tls else None, address.server_name, account)
    connection = Connection(Dialer(address), None, math.inf, trust)
    try:
        try:
            data = _ask(connection, GetCluster(), deadline)
        except ClientError:
            data = _ask(connection, GetOldCluster(), deadline)
    finally:
        connection.close()
    return parse(data, address.tls)


def _ask(connection: Connection, command: GetCluster | GetOldCluster,
         deadline: float) -> bytes:
    connection.connect(deadline)
    connection.send(command.encode(), deadline)
    return connection.receive(command.read, deadline)


def parse(data: bytes, tls: bool) -> list[Address]:
    """Return the servers of a list: ``host|ip|port``, between blanks.

    One of the first two may be missing. A node that is wrong makes the whole
    list wrong: without it, its keys would move.
    """
    match = _parse_list(data)
    if match is None:
        raise ProtocolError(f'not a list of servers: {data[:80]!r}')
    texts = [text for text in match[1].decode(
        'ascii', 'backslashreplace').split(' ') if text]
    if len(texts) > MOST_SERVERS:
        raise ProtocolError(f'a list of {len(texts)} servers')
    return [_parse_server(text, tls) for text in texts]


def _parse_server(text: str, tls: bool) -> Address:
    match = _parse_node(text)
    try:
        if match is None:
            raise ValueError
        host, ip, port = match.groups()
        if ip:
            ipaddress.ip_address(ip)
    except ValueError:
        raise ProtocolError(f'not a server: {text[:80]!a}') from None
    host = host or ip
    return node.make(host, int(port), tls, at='' if ip == host else ip)
