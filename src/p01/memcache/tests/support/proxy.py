# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A TCP proxy that behaves like a bad network or a bad server.

The proxy knows nothing of the protocol. What the client sends until the
server answers is a *request*, what the server sends until the client speaks
again is its *reply*, and both together are an exchange. A `Fault` is done to
one exchange::

    with FaultProxy(server.address) as proxy:
        proxy.once(Fault(after=5, then='stall'))    # the next exchange
        proxy.fault = Fault(size=1, pause=0.2)      # all the others
        proxy.clear()                               # all is well again

What can be done to the connections themselves (`accept`, `ignore`, `refuse`,
`cut`) is `Listener`'s.
"""
import asyncio
import collections
import dataclasses
import socket
from collections.abc import Callable

from p01.memcache.tests.support.listener import Listener
from p01.memcache.tests.support.listener import close
from p01.memcache.tests.support.listener import until_first_ends


CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to the request or the reply of one exchange.

    The first ``after`` bytes pass untouched. Then comes what ``then`` says:

    ``pass``
        the rest passes as ``size`` and ``pause`` say
    ``stall``
        the rest is held, and nothing more is read, until `release`
    ``fin``, ``rst``
        the connection is cut, on both sides of the proxy
    """

    after: int = 0
    then: str = 'pass'
    side: str = 'reply'  # or 'request'
    size: int = 0  # bytes to a segment; 0 is as they come
    pause: float = 0.0  # seconds before each segment
    swap: Callable = None  # takes the bytes read, returns those to pass on


HOLD = Fault(then='stall')
DEAF = Fault(then='stall', side='request')
TWICE = Fault(swap=lambda reply: reply * 2)


class Exchange:
    """The state of a connection: its fault, and the bytes passed so far."""

    def __init__(self):
        self.begin(None)
        self.answered = True  # so that the first bytes begin a request
        self.cut = None  # how the connection is to end

    def begin(self, fault):
        self.fault = fault
        self.passed = 0
        self.answered = False


class FaultProxy(Listener):
    """Stands between a client and the server at ``upstream``."""

    def __init__(self, upstream):
        super().__init__()
        host, port = upstream.rsplit(':', 1)
        self.upstream = (host, int(port))
        self.fault = None
        self.exchanges = 0
        self._once = collections.deque()
        self._held = set()

    def once(self, *faults):
        """Do these faults to the next exchanges, one to each."""
        self._once.extend(faults)

    def clear(self):
        """Forget the faults that have not been used yet."""
        self.fault = None
        self._once.clear()

    @property
    def stalled(self):
        """How many requests and replies are being held."""
        return len(self._held)

    def release(self, drop=False):
        """Pass on all that is held now, or forget it (``drop``)."""
        self._call(self._release, drop)

    async def serve(self, client):
        with socket.socket() as server:
            server.setblocking(False)
            await self._loop.sock_connect(server, self.upstream)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchange = Exchange()
            done = await until_first_ends(
                self._requests(client, server, exchange),
                self._replies(client, server, exchange))
            if exchange.cut is None:
                for pump in done:
                    pump.result()  # an RST from one side goes to the other
            close(server, exchange.cut)
            return exchange.cut

    def _next_fault(self):
        try:
            return self._once.popleft()
        except IndexError:  # not checked earlier, as the test may clear it
            return self.fault

    async def _requests(self, client, server, exchange):
        while not exchange.cut and (
                data := await self._loop.sock_recv(client, CHUNK)):
            if exchange.answered:
                exchange.begin(self._next_fault())
                self.exchanges += 1
                self._tell()
            await self._pass('request', data, exchange, server)

    async def _replies(self, client, server, exchange):
        while not exchange.cut and (
                data := await self._loop.sock_recv(server, CHUNK)):
            exchange.answered = True
            await self._pass('reply', data, exchange, client)

    async def _pass(self, side, data, exchange, sink):
        fault = exchange.fault
        if exchange.cut:
            return  # let nothing slip through before both pumps have ended
        if fault is None or fault.side != side:
            await self._loop.sock_sendall(sink, data)
            return
        if fault.swap is not None:
            data = fault.swap(data)
        untouched = max(0, fault.after - exchange.passed)
        exchange.passed += len(data)
        await self._loop.sock_sendall(sink, data[:untouched])
        rest = data[untouched:]
        if fault.then in ('fin', 'rst') and exchange.passed >= fault.after:
            exchange.cut = fault.then
            return
        if fault.then == 'stall' and rest:
            if await self._stall():
                return
            if exchange.fault is fault:
                exchange.fault = None  # else the next bytes would stall, too
        size = fault.size or len(rest)
        for start in range(0, len(rest), size or 1):
            if fault.pause:
                await asyncio.sleep(fault.pause)
            await self._loop.sock_sendall(sink, rest[start:start + size])

    async def _stall(self):
        held = self._loop.create_future()
        self._held.add(held)
        self._tell()
        try:
            return await held
        finally:
            self._held.discard(held)
            self._tell()

    async def _release(self, drop):
        held = self._held.copy()
        for future in held:
            if not future.done():  # its client may have left just now
                future.set_result(drop)
        # Once this returns they have resumed, so their bytes are on the way.
        while held & self._held:
            await asyncio.sleep(0)
