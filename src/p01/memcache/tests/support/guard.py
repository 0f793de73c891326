# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A server that wants a password, as memcached does with ``-Y``."""

import socket

from p01.memcache.tests.support.listener import Listener
from p01.memcache.tests.support.listener import until_first_ends


CHUNK = 1 << 16


class Guard(Listener):
    """Demands a login in front of the server at `upstream`.

    It accepts each ``login`` of ``logins``, such as ``b'shop secret'``, which
    can be replaced at any time. ``accepted`` and ``refused`` are those that
    were shown so far. As in memcached, connections stay valid.
    """

    def __init__(self, upstream, *logins):
        super().__init__()
        host, port = upstream.rsplit(':', 1)
        self.upstream = host, int(port)
        self.logins = set(logins)
        self.accepted = []
        self.refused = []

    async def serve(self, sock):
        while True:
            login = await self._read(sock)
            if login is None:
                return
            if login in self.logins:
                break
            self.refused.append(login)
            await self._loop.sock_sendall(
                sock, b'CLIENT_ERROR authentication failure\r\n')
        self.accepted.append(login)
        await self._loop.sock_sendall(sock, b'STORED\r\n')
        with socket.socket() as server:
            server.setblocking(False)
            await self._loop.sock_connect(server, self.upstream)
            for pump in await until_first_ends(
                    self._pump(sock, server), self._pump(server, sock)):
                pump.result()

    async def _read(self, sock):
        """Return the data of a ``set``; None at the end."""
        request = b''
        while request.count(b'\r\n') < 2:
            data = await self._loop.sock_recv(sock, CHUNK)
            if not data:
                return None
            request += data
        return request.split(b'\r\n')[1]

    async def _pump(self, source, target):
        while data := await self._loop.sock_recv(source, CHUNK):
            await self._loop.sock_sendall(target, data)
