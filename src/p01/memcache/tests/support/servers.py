# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Requests to servers in raw protocol, without a client."""

import contextlib
import socket

from p01.memcache.tests.support.waits import PATIENCE


def ask(address, request, end):
    """Send a server raw bytes, and return its reply."""
    host, port = address.split(':')
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(request)
        reply = b''
        while not reply.endswith(end):
            piece = connection.recv(65536)
            assert piece, reply
            reply += piece
    return reply


def plant(address, key, data, flags=0):
    """Store something in a server that none of our clients would store."""
    request = b'set %b %d 0 %d\r\n%b\r\n' % (
        key.encode(), flags, len(data), data)
    assert ask(address, request, b'\r\n') == b'STORED\r\n'


def look(address, key):
    """Return what a server has stored: (data, flags), or None."""
    reply = ask(address, b'get %b\r\n' % key.encode(), b'END\r\n')
    if reply == b'END\r\n':
        return None
    line, _, rest = reply.partition(b'\r\n')
    return rest[:-len(b'\r\nEND\r\n')], int(line.split()[2])


@contextlib.contextmanager
def refusing():
    """An address on which nothing listens: connections are refused."""
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        yield f'127.0.0.1:{taken.getsockname()[1]}'


def connect(address):
    host, port = address.split(':')
    return socket.create_connection((host, int(port)), PATIENCE)
