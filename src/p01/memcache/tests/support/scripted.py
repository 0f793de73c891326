# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A server with scripted answers, which remembers the requests.

It is no memcached: it knows just enough of the text protocol to see where a
request ends.
"""
import asyncio
import collections

from p01.memcache.tests.support.listener import Listener


CHUNK = 1 << 16

#: Which word of its line is the length of the data, by storage command.
LENGTH = {
    b'set': 4, b'add': 4, b'replace': 4, b'append': 4, b'prepend': 4,
    b'cas': 4, b'ms': 2,
}


class ScriptedServer(Listener):
    """Gives the first answer to the first request, the second to the next, ...

    When the ``answers`` are used up, each further request is answered with
    ``default``. An answer is one of

    - bytes,
    - a list of (bytes, pause): the bytes are sent, then it waits,
    - a callable which gets the request and returns one of the others,
    - None: the connection is closed without an answer.

    ``requests`` holds all requests received so far, each to its last byte.
    With ``raw``, whatever arrives at once is taken for a request.
    """

    def __init__(self, *answers, default=b'ERROR\r\n', raw=False):
        super().__init__()
        self.answers = collections.deque(answers)
        self.default = default
        self.raw = raw
        self.requests = []

    async def serve(self, sock):
        buffer = bytearray()
        while data := await self._loop.sock_recv(sock, CHUNK):
            buffer += data
            while size := len(buffer) if self.raw else request_size(buffer):
                request = bytes(buffer[:size])
                del buffer[:size]
                if not await self._answer(sock, request):
                    return

    async def _answer(self, sock, request):
        self.requests.append(request)
        self._tell()
        answer = self.answers.popleft() if self.answers else self.default
        while callable(answer):
            answer = answer(request)
        if answer is None:
            return False
        if isinstance(answer, bytes):
            answer = [(answer, 0)]
        for data, pause in answer:
            await self._loop.sock_sendall(sock, data)
            await asyncio.sleep(pause)
        return True


def request_size(buffer):
    """The length of the first request in the buffer; 0 if it has no end."""
    end = buffer.find(b'\n') + 1
    if not end:
        return 0
    words = buffer[:end].split()
    place = LENGTH.get(bytes(words[0])) if words else None
    if place is not None and len(words) > place and words[place].isdigit():
        end += int(words[place]) + len(b'\r\n')
    return end if end <= len(buffer) else 0


def honest(request):
    """Return the answer of a healthy scripted server."""
    command, _, rest = request.partition(b' ')
    key = rest.split()[0] if rest.split() else b''
    if command == b'get':
        return hit(key)
    return {b'set': b'STORED\r\n', b'delete': b'DELETED\r\n'}[command]


def hit(key, data=None, end=b'END\r\n'):
    data = b'value of ' + key if data is None else data
    return b'VALUE %b 0 %d\r\n%b\r\n%b' % (key, len(data), data, end)


def wire_key(request):
    return request.split()[1]
