# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How close the pooled client is to the limit: raw sockets without checks.

Both do the same work (MD5 of the key, pickle of the value, the same bytes on
the wire) on the same memcached, and take turns. Run it with a memcached of
its own:  bin/py benchmarks/limit.py 127.0.0.1:11212
"""

import argparse
import hashlib
import pickle
import queue
import socket
import statistics
import threading
import time

from p01.memcache.uclient import UltraMemcacheClient


class RawPool:
    """As little as it takes: some sockets in a queue."""

    def __init__(self, address, size):
        host, port = address.split(':')
        self.sockets = queue.SimpleQueue()
        for _ in range(size):
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.put(connection)

    def exchange(self, request):
        connection = self.sockets.get()
        connection.sendall(request)
        reply = connection.recv(65536)
        self.sockets.put(connection)
        return reply

    def set(self, key, value):
        name = hashlib.md5(key.encode()).hexdigest().encode()
        data = pickle.dumps(value, -1)
        self.exchange(b'set %b 0 3600 %d\r\n%b\r\n' % (name, len(data), data))

    def query(self, key):
        name = hashlib.md5(key.encode()).hexdigest().encode()
        reply = self.exchange(b'get %b\r\n' % name)
        start = reply.index(b'\r\n') + 2
        return pickle.loads(reply[start:-7])


def one_thread(operation, count=5000):
    def work():
        for _ in range(count):
            operation()
    return work, count


def load(client, threads=100, count=400):
    def hammer(number):
        for i in range(count):
            client.set(f'key_{number}_{i}', f'value {number} {i}')

    def work():
        running = [threading.Thread(target=hammer, args=(number,))
                   for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    return work, threads * count


def repeat(work, count):
    for _ in range(count):
        work()


def measure(work, count):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / count * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('server', help='host:port of a memcached')
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    client = UltraMemcacheClient([options.server])
    # One thread has one socket: which one it is decides on which core the
    # server works. The client also stays with the socket that it used last.
    one, many = RawPool(options.server, 1), RawPool(options.server, 50)
    works = {
        'set': [one_thread(lambda c=c: c.set('key_1', 'value 1'))
                for c in (one, client)],
        'get': [one_thread(lambda c=c: c.query('key_1'))
                for c in (one, client)],
        'load': [load(c) for c in (many, client)],
    }
    for name, contenders in works.items():
        rounds = [[measure(*contender) for contender in contenders]
                  for _ in range(options.rounds)]
        limit, ours = map(statistics.median, zip(*rounds, strict=True))
        ratio = statistics.median(ours / limit for limit, ours in rounds)
        print(f'{name:5} raw {limit:6.1f} µs, ours {ours:6.1f} µs,'
              f' ratio {ratio:.2f}', flush=True)


if __name__ == '__main__':
    main()
