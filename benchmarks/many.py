# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""100 values at once, beside other clients; and what `getOrCreate` costs.

All do the same work (MD5 of the keys, pickles of the values) on the same
memcached, and take turns. Run it with a memcached of its own, and with
pymemcache and libmc installed:  python benchmarks/many.py 127.0.0.1:11212
"""

import argparse
import hashlib
import pickle
import socket
import statistics
from functools import partial

import libmc
from limit import measure
from limit import repeat
from pymemcache.client.base import PooledClient

from p01.memcache.uclient import UltraMemcacheClient


KEYS = [f'key_{number}' for number in range(100)]
VALUES = {key: f'value of {key}' for key in KEYS}


def build(key):
    return hashlib.md5(key.encode()).hexdigest()


class Raw:
    """As little as it takes: one socket, no checks."""

    def __init__(self, address):
        host, port = address.split(':')
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, request, is_over):
        self.socket.sendall(request)
        reply = self.socket.recv(65536)
        while not is_over(reply):
            reply += self.socket.recv(65536)
        return reply

    def setMany(self, mapping):
        pieces = []
        for key, value in mapping.items():
            data = pickle.dumps(value, -1)
            pieces.append(b'set %b 0 3600 %d\r\n%b\r\n' % (
                build(key).encode(), len(data), data))
        size = len(b'STORED\r\n') * len(pieces)
        self.exchange(b''.join(pieces), lambda reply: len(reply) == size)

    def queryMany(self, keys):
        built = {build(key).encode(): key for key in keys}
        reply = self.exchange(b'get %b\r\n' % b' '.join(built),
                              lambda reply: reply.endswith(b'END\r\n'))
        found, start = {}, 0
        while (end := reply.find(b'\r\n', start)) > start + 3:
            _, key, _, size = reply[start:end].split()
            start = end + 2 + int(size)
            found[built[key]] = pickle.loads(reply[end + 2:start])
            start += 2
        return found


class Peer:
    """Another client, which is given what it shall send."""

    def __init__(self, get, set):
        self._get, self._set = get, set

    def setMany(self, mapping):
        self._set({build(key): pickle.dumps(value, -1)
                   for key, value in mapping.items()})

    def queryMany(self, keys):
        built = {build(key): key for key in keys}
        return {built[key]: pickle.loads(data)
                for key, data in self._get(list(built)).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('server', help='host:port of a memcached')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--count', type=int, default=300)
    options = parser.parse_args()
    host, port = options.server.split(':')
    pymemcache = PooledClient((host, int(port)), no_delay=True)
    other = libmc.Client([options.server])
    ours = UltraMemcacheClient([options.server])
    clients = {
        'raw': Raw(options.server),
        'ours': ours,
        'libmc': Peer(other.get_multi, other.set_multi),
        'pymemcache': Peer(pymemcache.get_many, lambda values:
                           pymemcache.set_many(values, noreply=False)),
    }
    works = {
        'setMany': {name: lambda c=c: c.setMany(VALUES)
                    for name, c in clients.items()},
        'queryMany': {name: lambda c=c: c.queryMany(KEYS)
                      for name, c in clients.items()},
        'a hit': {
            'query': lambda: ours.query('key_1'),
            'getOrCreate': lambda: ours.getOrCreate('key_1', list),
            'with grace': lambda: ours.getOrCreate('graced', list, grace=60),
        },
    }
    for client in clients.values():
        client.setMany(VALUES)
        assert client.queryMany(KEYS) == VALUES
    for title, contenders in works.items():
        count = options.count * (1 if title.endswith('Many') else 20)
        rounds = []
        for _ in range(options.rounds):
            rounds.append({
                name: measure(partial(repeat, work, count), count)
                for name, work in contenders.items()})
        first = next(iter(contenders))
        for name in contenders:
            time = statistics.median(times[name] for times in rounds)
            ratio = statistics.median(
                times[name] / times[first] for times in rounds)
            print(f'{title:9} {name:11} {time:7.1f} µs, {ratio:.2f} x {first}',
                  flush=True)


if __name__ == '__main__':
    main()
