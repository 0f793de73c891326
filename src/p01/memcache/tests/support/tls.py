# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A server that speaks TLS."""

import asyncio
import contextlib
import socket
import ssl

from p01.memcache.tests.support.listener import Listener
from p01.memcache.tests.support.listener import until_first_ends


CHUNK = 1 << 16


class Encrypted:
    """The server's end of TLS, on a socket of a `Listener`'s thread."""

    def __init__(self, loop, sock, context):
        self._loop = loop
        self._sock = sock
        self._received = ssl.MemoryBIO()
        self._made = ssl.MemoryBIO()
        self._sending = asyncio.Lock()
        self.tls = context.wrap_bio(
            self._received, self._made, server_side=True)

    async def do(self, function, *args):
        while True:
            try:
                return function(*args)
            except ssl.SSLWantReadError:
                pass
            finally:
                async with self._sending:
                    await self._loop.sock_sendall(
                        self._sock, self._made.read())
            data = await self._loop.sock_recv(self._sock, CHUNK)
            if data:
                self._received.write(data)
            else:
                self._received.write_eof()

    async def send(self, data):
        while data:
            data = data[await self.do(self.tls.write, data):]


class TLSServer(Listener):
    """Terminates TLS in front of the server at `upstream`.

    It waits ``pause`` seconds after each piece of a request. ``versions``
    has the TLS versions that were negotiated.
    """

    def __init__(self, upstream, context):
        super().__init__()
        host, port = upstream.rsplit(':', 1)
        self.upstream = host, int(port)
        self.context = context
        self.pause = 0
        self.versions = set()

    @property
    def tls_address(self):
        return f'tls://{self.address}'

    async def serve(self, sock):
        encrypted = Encrypted(self._loop, sock, self.context)
        # The client rejects our certificate, or has just left.
        with contextlib.suppress(ssl.SSLError):
            await encrypted.do(encrypted.tls.do_handshake)
            self.versions.add(encrypted.tls.version())
            with socket.socket() as server:
                server.setblocking(False)
                await self._loop.sock_connect(server, self.upstream)
                for pump in await until_first_ends(
                        self._requests(encrypted, server),
                        self._replies(encrypted, server)):
                    pump.result()

    async def _requests(self, encrypted, server):
        while data := await encrypted.do(encrypted.tls.read, CHUNK):
            await self._loop.sock_sendall(server, data)
            if self.pause:
                await asyncio.sleep(self.pause)

    async def _replies(self, encrypted, server):
        while data := await self._loop.sock_recv(server, CHUNK):
            await encrypted.send(data)
