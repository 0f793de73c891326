# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What 3, 30 and 300 servers cost the pooled client, and a proxy instead.

A memcached that listens on hundreds of ports stands for as many servers: what
is measured is this side. Clients that differ only in the number of servers
take turns; the last one knows a twemproxy, which knows the 300. Then: what
they need besides time, what one more server moves, and what a frozen one does
to a thread. Run it with  bin/py benchmarks/many_servers.py
"""

import argparse
import contextlib
import gc
import itertools
import logging
import socket
import statistics
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from time import sleep

from benchmarks import machine
from benchmarks.benchmark import count
from benchmarks.benchmark import duration
from benchmarks.trust import take_turns
from p01.memcache.cluster.ring import Ketama
from p01.memcache.testing import Memcached
from p01.memcache.testing import free_ports
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.transport.address import parse_all
from p01.memcache.uclient import UltraMemcacheClient


THREADS = 5
KEYS = [f'key {number}' for number in range(100)]
VALUES = dict.fromkeys(KEYS, 'value' * 20)
MOVED = 10_000  # keys
PROXY = 'proxy'

# As cluster.txt recommends; all else is the default.
SITE = {'timeout': 0.5, 'delay': 1, 'blacktime': 10}

# Seconds: a thread asks every so often while a server is frozen, for so long;
# and a call that takes so long is slow.
PAUSE, FROZEN, SLOW = 0.02, 6, 0.05


class ManyPorts(Memcached):
    """A memcached that listens on several ports, as if it were so many."""

    def __init__(self, ports):
        super().__init__('-c', '20000', port=ports[0])
        self.addresses = [f'127.0.0.1:{port}' for port in ports]

    def arguments(self):
        option, _, *rest = super().arguments()
        return (option, ','.join(self.addresses), *rest)


def names(number):
    """Return the addresses of servers that nobody asks."""
    return [f'10.0.{index // 100}.{index % 100}' for index in range(number)]


def make(number):
    UltraMemcacheClient(names(number)).close()


def changing(number):
    """Return what adds a server to the list, or takes it away again."""
    client = UltraMemcacheClient(names(number))
    lists = itertools.cycle([names(number + 1), names(number)])

    def change():
        client.servers = next(lists)
    return change


def works(client):
    """Return what is measured with a client, by its name."""
    client.setMany(VALUES)
    return {
        'query': partial(client.query, KEYS[0]),
        'queryMany of 100': partial(client.queryMany, KEYS),
        'setMany of 100': partial(client.setMany, VALUES),
        'invalidateMany of 100': partial(client.invalidateMany, KEYS),
        'getStatistics': client.getStatistics,
    }


def print_times(title, operations, options):
    # The slowest decides how long a turn takes.
    slowest_first = dict(reversed(operations.items()))
    taken = take_turns(slowest_first, options.rounds, options.seconds)
    print(f'{title:30}' + ''.join(
        f'{statistics.median(taken[name]):13,.0f} µs' for name in operations),
        flush=True)


def moved(number):
    """Return the share of keys that another server moves, in per cent."""
    keys = [f'{index}'.encode() for index in range(MOVED)]
    before, after = (Ketama(parse_all(names(size))) for size in (
        number, number + 1))
    return 100 / MOVED * sum(
        before.find(key) != after.find(key) for key in keys)


def kilobytes(addresses):
    """Return the kB of a client, and with one connection to each server."""
    gc.collect()
    tracemalloc.start()
    client = UltraMemcacheClient(addresses)
    sizes = [tracemalloc.get_traced_memory()[0] / 1000]
    client.getStatistics()
    gc.collect()
    sizes.append(tracemalloc.get_traced_memory()[0] / 1000)
    tracemalloc.stop()
    client.close()
    return sizes


def connections(addresses):
    """Return how many connections some busy threads have opened."""
    client = UltraMemcacheClient(addresses, maxPoolSize=THREADS)
    together = threading.Barrier(THREADS)

    def visit(_):
        together.wait()
        for _ in range(200):
            client.queryMany(KEYS)

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(visit, range(THREADS)))
    opened = sum(pool['opened'] for _, pool in client.getPools())
    client.close()
    return opened


def asked(addresses):
    """Return how many of the servers a call for 100 keys asks."""
    client = UltraMemcacheClient(addresses)
    client.queryMany(KEYS)
    servers = sum(pool['opened'] for _, pool in client.getPools())
    client.close()
    return servers


def freeze(addresses):
    """Let a thread read while one of its servers is frozen.

    Returns how many of its calls were slow, how long the longest took, and all
    of them.
    """
    with contextlib.ExitStack() as stack:
        # The kernel accepts connections to it, and nothing else happens.
        frozen = stack.enter_context(socket.create_server(('127.0.0.1', 0)))
        client = stack.enter_context(contextlib.closing(UltraMemcacheClient(
            ['{}:{}'.format(*frozen.getsockname()), *addresses[1:]], **SITE)))
        ring = Ketama(parse_all(client.servers))
        lost = next(key for key in itertools.count()
                    if ring.find(client.buildKey(key).encode()) == 0)
        taken = []
        end = perf_counter() + FROZEN
        while perf_counter() < end:
            start = perf_counter()
            client.queryMany([*KEYS, lost])
            taken.append(perf_counter() - start)
            sleep(PAUSE)
    slow = [seconds for seconds in taken if seconds > SLOW]
    return len(slow), max(slow), sum(slow)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--servers', type=count, nargs='+',
                        default=[3, 30, 300])
    parser.add_argument('--rounds', type=count, default=9)
    parser.add_argument('--seconds', type=duration, default=0.2,
                        help='of the largest client in each round')
    options = parser.parse_args()
    logging.getLogger('p01.memcache').setLevel(logging.CRITICAL)
    print(machine.describe())
    sizes = sorted(options.servers)
    print(f'{"servers":30}' + ''.join(f'{size:>16}' for size in sizes)
          + f'{PROXY:>16}')
    for title, prepare in (
            ('a client is made', lambda size: partial(make, size)),
            ('its list is changed', changing)):
        print_times(title, {size: prepare(size) for size in sizes}, options)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ManyPorts(free_ports(sizes[-1])))
        lists = {size: server.addresses[:size] for size in sizes}
        clients = {size: UltraMemcacheClient(lists[size]) for size in sizes}
        if Nutcracker([]).find():
            proxy = stack.enter_context(Nutcracker(server.addresses))
            clients[PROXY] = UltraMemcacheClient(
                [proxy.address], distribution='roundrobin')
        prepared = {}
        for name, client in clients.items():
            stack.callback(client.close)
            prepared[name] = works(client)
        for work in prepared[sizes[0]]:
            print_times(work, {
                name: own[work] for name, own in prepared.items()
                if (name, work) != (PROXY, 'getStatistics')}, options)
        for title, unit, measured in (
                ('asked by a call for 100 keys', '  ', asked),
                ('opened by 5 threads', '  ', connections)):
            print(f'{title:30}' + ''.join(
                f'{measured(lists[size]):13,} {unit}' for size in sizes))
        memory = [kilobytes(lists[size]) for size in sizes]
        for title, values in zip(
                ('memory, no connection yet', 'one connection to each'),
                zip(*memory, strict=True), strict=True):
            print(f'{title:30}' + ''.join(
                f'{value:13,.0f} kB' for value in values))
        print(f'{"keys that one more moves":30}' + ''.join(
            f'{moved(size):13.1f} % ' for size in sizes))
        frozen = [freeze(lists[size]) for size in sizes]
        for title, values in zip(
                ('one is frozen: slow calls', 'the longest of them',
                 'all of them together'),
                zip(*frozen, strict=True), strict=True):
            print(f'{title:30}' + ''.join(
                f'{value:13,} x ' if isinstance(value, int) else
                f'{value:13.2f} s ' for value in values))


if __name__ == '__main__':
    main()
