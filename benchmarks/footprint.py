# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a client needs besides time: connections and memory."""

import concurrent.futures
import gc
import multiprocessing
import pathlib
import resource

from contenders import CONTENDERS
from works import WORKS
from works import turn

from p01.memcache.testing import connect


CLIENTS = 200

# The pages of this process, the resident ones second; Linux has it.
STATM = pathlib.Path('/proc/self/statm')


def statistics(address):
    """Return the server's statistics, as a dict of str."""
    with connect(address) as sock, sock.makefile('r') as replies:
        sock.sendall(b'stats\r\n')
        lines = iter(replies.readline, 'END\n')
        return dict(line.rstrip().split(' ', 2)[1:] for line in lines)


def connections(name, address, seconds):
    """Return how many connections a client opens, as the server counts."""
    def opened():
        return int(statistics(address)['total_connections'])

    before = opened()
    client = CONTENDERS[name]([address])
    try:
        turn(WORKS['load'], client, seconds)
    finally:
        client.close()
    # One of them is that of `statistics`.
    return opened() - before - 1


def memory(name, address):
    """Return the kB of a client that was used and is idle, or None.

    It is measured in a process of its own.
    """
    if not STATM.exists():
        return None
    # A spawned process has no freed memory that could be used again.
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        return executor.submit(_grow, name, address).result()


def _grow(name, address):
    def use():
        client = CONTENDERS[name]([address])
        client.set('used', 'once')
        return client

    def resident():
        gc.collect()
        pages = int(STATM.read_text().split()[1])
        return pages * resource.getpagesize() / 1000

    # The first client also pays for the imports.
    clients = [use()]
    before = resident()
    clients += [use() for _ in range(CLIENTS)]
    return round((resident() - before) / CLIENTS, 1)
