# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Raw sockets: the least that is needed, the limit for all others."""

import pickle
import queue
import socket

from benchmarks.conditions import LIFETIME
from benchmarks.conditions import POOL
from benchmarks.conditions import build
from benchmarks.conditions import dump
from benchmarks.conditions import split


class Limit:
    """Some sockets in a queue, and no checks."""

    title = 'raw sockets'
    package = None
    isBounded = True

    def __init__(self, servers, pool=POOL):
        self._servers = list(map(split, servers))
        self._pools = [queue.SimpleQueue() for _ in servers]
        self._left = [pool for _ in servers]

    def _connect(self, place):
        # Idle sockets are used first, as in a pool. It does no harm if a
        # thread makes one too many. A thread that gives one back may take it
        # again before those that wait: of 100 threads half get hardly any.
        try:
            return self._pools[place].get_nowait()
        except queue.Empty:
            if self._left[place] <= 0:
                return self._pools[place].get()
        self._left[place] -= 1
        connection = socket.create_connection(self._servers[place])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _place(self, name):
        if len(self._servers) == 1:
            return 0
        return int(name[:8], 16) % len(self._servers)

    def set(self, key, value):
        name, data = build(key), dump(value)
        place = self._place(name)
        connection = self._connect(place)
        connection.sendall(b'set %b 0 %d %d\r\n%b\r\n' % (
            name.encode(), LIFETIME, len(data), data))
        reply = connection.recv(64)
        self._pools[place].put(connection)
        return reply == b'STORED\r\n'

    def query(self, key):
        name = build(key)
        place = self._place(name)
        connection = self._connect(place)
        connection.sendall(b'get %b\r\n' % name.encode())
        reply = self._receive(connection)
        self._pools[place].put(connection)
        start = reply.find(b'\r\n') + 2
        return pickle.loads(reply[start:-7]) if start < len(reply) else None

    def setMany(self, mapping):
        requests = {}
        for key, value in mapping.items():
            name, data = build(key), dump(value)
            requests.setdefault(self._place(name), []).append(
                b'set %b 0 %d %d\r\n%b\r\n' % (
                    name.encode(), LIFETIME, len(data), data))
        connections = self._send(
            {place: b''.join(pieces) for place, pieces in requests.items()})
        for place, connection in connections.items():
            left = len(b'STORED\r\n') * len(requests[place])
            while left:
                left -= len(connection.recv(left))
            self._pools[place].put(connection)
        return True

    def queryMany(self, keys):
        built, names = {}, {}
        for key in keys:
            name = build(key)
            place = self._place(name)
            name = name.encode()
            built[name] = key
            names.setdefault(place, []).append(name)
        connections = self._send(
            {place: b'get %b\r\n' % b' '.join(wanted)
             for place, wanted in names.items()})
        found = {}
        for place, connection in connections.items():
            reply, start = self._receive(connection), 0
            self._pools[place].put(connection)
            while (end := reply.find(b'\r\n', start)) > start + 3:
                _, name, _, size = reply[start:end].split()
                start = end + 2 + int(size)
                found[built[name]] = pickle.loads(reply[end + 2:start])
                start += 2
        return found

    def invalidateMany(self, keys):
        requests = {}
        for key in keys:
            name = build(key)
            requests.setdefault(self._place(name), []).append(
                b'delete %b\r\n' % name.encode())
        connections = self._send(
            {place: b''.join(pieces) for place, pieces in requests.items()})
        for place, connection in connections.items():
            # Each reply is a line, of whichever length.
            left = len(requests[place])
            while left:
                left -= connection.recv(65536).count(b'\n')
            self._pools[place].put(connection)
        return True

    def getOrCreate(self, key, factory):
        # A hit is all that is measured.
        return self.query(key)

    def _send(self, requests):
        connections = {place: self._connect(place) for place in requests}
        for place, request in requests.items():
            connections[place].sendall(request)
        return connections

    def _receive(self, connection):
        reply = connection.recv(65536)
        if reply.endswith(b'END\r\n'):
            return reply
        reply = bytearray(reply)
        while not reply.endswith(b'END\r\n'):
            reply += connection.recv(1 << 20)
        return bytes(reply)

    def close(self):
        for pool in self._pools:
            while not pool.empty():
                pool.get().close()
