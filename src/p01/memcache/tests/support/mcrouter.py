# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A scripted mcrouter, as the real one has no package for today's systems.

It does what mcrouter's source says (v2026.08.17.00): which requests it
understands, what it answers to those that fail, and what some of its routes
do. It lacks the hash functions and the health checks: the server of a key is
found by CRC32, and is tried again with each request.
"""

import asyncio
import re
import zlib
from functools import partial
from typing import NamedTuple

from p01.memcache.tests.support.listener import Listener
from p01.memcache.tests.support.scripted import CHUNK
from p01.memcache.tests.support.scripted import request_size


#: Which word of a request is the key.
KEY = {
    b'set': 1, b'add': 1, b'replace': 1, b'append': 1, b'prepend': 1,
    b'cas': 1, b'get': 1, b'gets': 1, b'gat': 2, b'gats': 2, b'touch': 1,
    b'incr': 1, b'decr': 1, b'delete': 1,
}
READS = b'get', b'gets', b'gat', b'gats'

has_prefix = re.compile(rb'/[^/]+/[^/]+/').match


class Request(NamedTuple):

    operation: bytes
    key: bytes
    data: bytes


def severity(reply):
    """Order replies as AllSyncRoute does: it returns the worst."""
    if reply.startswith((b'SERVER_ERROR', b'CLIENT_ERROR', b'ERROR')):
        return 2
    return reply in (b'END\r\n', b'NOT_FOUND\r\n', b'NOT_STORED\r\n')


async def read_reply(reader):
    reply = line = await reader.readuntil(b'\n')
    while line.startswith(b'VALUE '):
        reply += await reader.readexactly(int(line.split()[3]) + len(b'\r\n'))
        line = await reader.readuntil(b'\n')
        reply += line
    return reply


class Mcrouter(Listener):
    """Routes requests as the `configuration` says, a dict of its JSON.

    `asynclog` and `flush` are its options ``--asynclog-disable``, reversed,
    and ``--enable-flush-cmd``. ``spooled`` has the keys whose deletion it
    wrote to a file instead.
    """

    timeout = 0.5  # --server-timeout, in seconds

    def __init__(self, configuration, asynclog=True, flush=False):
        super().__init__()
        self.asynclog = asynclog
        self.flush = flush
        self.spooled = []
        self._pools = {
            name: [partial(self._send, server) for server in pool['servers']]
            for name, pool in configuration['pools'].items()}
        self._route = self._make(configuration['route'])

    @classmethod
    def of(cls, *servers, **options):
        """Return one with the simplest configuration."""
        return cls({'pools': {'A': {'servers': servers}},
                    'route': 'PoolRoute|A'}, **options)

    # the routes

    def _make(self, route):
        if isinstance(route, dict):
            parts = dict(route)
            return getattr(self, '_make_' + parts.pop('type'))(**parts)
        kind, *rest = route.split('|')
        if rest[0] == 'Pool':
            children = self._pools[rest[1]]
        elif kind == 'PoolRoute':
            return self._make_hash(self._pools[rest[0]])
        else:
            children = [self._make('|'.join(rest))]
        return getattr(self, f'_make_{kind}')(children)

    def _make_all(self, children):
        return [child if callable(child) else self._make(child)
                for child in children]

    def _make_hash(self, servers):
        async def route(request):
            return await servers[zlib.crc32(request.key) % len(servers)](
                request)
        return route

    def _make_AllSyncRoute(self, children):
        targets = self._make_all(children)

        async def route(request):
            return max(await asyncio.gather(*(
                target(request) for target in targets)), key=severity)
        return route

    def _make_FailoverRoute(self, children):
        targets = self._make_all(children)

        async def route(request):
            for target in targets:
                reply = await target(request)
                if severity(reply) < 2:
                    break
            return reply
        return route

    def _make_WarmUpRoute(self, cold, warm, exptime):
        cold, warm = self._make_all([cold, warm])

        async def route(request):
            reply = await cold(request)
            if request.operation != b'get' or reply.startswith(b'VALUE'):
                return reply
            reply = await warm(request)
            if reply.startswith(b'VALUE'):
                line, _, rest = reply.partition(b'\r\n')
                _, key, flags, size = line.split()
                await cold(Request(b'add', key, b'add %b %b %d %b\r\n%b' % (
                    key, flags, exptime, size,
                    rest.removesuffix(b'END\r\n'))))
            return reply
        return route

    def _make_OperationSelectorRoute(
            self, default_policy, operation_policies):
        default = self._make(default_policy)
        policies = {name.encode(): self._make(policy)
                    for name, policy in operation_policies.items()}

        async def route(request):
            return await policies.get(request.operation, default)(request)
        return route

    # the servers

    async def _send(self, server, request):
        host, port = server.rsplit(':', 1)
        try:
            async with asyncio.timeout(self.timeout):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(request.data)
                    return await read_reply(reader)
                finally:
                    writer.close()
        except TimeoutError:
            reply = b'SERVER_ERROR timeout\r\n'
        except (OSError, EOFError):
            reply = b'SERVER_ERROR connection error\r\n'
        if request.operation == b'delete' and self.asynclog:
            self.spooled.append(request.key)
            return b'NOT_FOUND\r\n'
        return reply

    # the clients

    async def serve(self, sock):
        buffer = bytearray()
        while data := await self._loop.sock_recv(sock, CHUNK):
            buffer += data
            requests = []
            while size := request_size(buffer):
                requests.append(bytes(buffer[:size]))
                del buffer[:size]
            # At the same time, and the replies in the same order.
            for reply in await asyncio.gather(*map(self._answer, requests)):
                await self._loop.sock_sendall(
                    sock, reply or b'CLIENT_ERROR malformed request\r\n')
                if reply is None:
                    return

    async def _answer(self, request):
        """Return the reply; None for a request that it does not know."""
        line, end, data = request.partition(b'\r\n')
        words = line.split(b' ')
        operation = words[0]
        if operation == b'stats':
            return (b'STAT version mcrouter 2026.08.17\r\nEND\r\n'
                    if len(words) == 1
                    else b'CLIENT_ERROR bad stats command\r\n')
        if operation == b'version':
            return b'VERSION 2026.08.17 mcrouter\r\n'
        if operation == b'flush_all':
            return await self._flush(request)
        if operation not in KEY:
            return None
        place = KEY[operation]
        if operation not in READS:
            return await self._ask(operation, words[place], request)
        replies = await asyncio.gather(*(
            self._ask(operation, key, b' '.join([*words[:place], key]) + end)
            for key in words[place:]))
        failed = [reply for reply in replies if severity(reply) == 2]
        if failed:
            return failed[0]
        return b''.join(
            reply.removesuffix(b'END\r\n') for reply in replies) + b'END\r\n'

    async def _ask(self, operation, key, data):
        if has_prefix(key):
            return b'SERVER_ERROR RootRoute: No rh found\r\n'
        return await self._route(Request(operation, key, data))

    async def _flush(self, request):
        if not self.flush:
            return b'SERVER_ERROR Command disabled\r\n'
        servers = [server for pool in self._pools.values() for server in pool]
        return max(await asyncio.gather(*(
            server(Request(b'flush_all', b'', request))
            for server in servers)), key=severity)
