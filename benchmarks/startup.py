# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a process pays for a client: the import, the client, its first miss.

Each is measured in an interpreter of its own, which has imported nothing else.
As elsewhere, raw sockets are the limit: the modules that all contenders need,
and a connection.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
from typing import NamedTuple


# The pages of a process, the resident ones second; Linux has it.
STATM = pathlib.Path('/proc/self/statm')

# What it imports for itself comes last: the client may need it, too.
SCRIPT = '''\
import sys, time
def resident():
    try:
        with open('/proc/self/statm') as file:
            return int(file.read().split()[1])
    except OSError:
        return 0
address = sys.argv[1]
host, _, port = address.rpartition(':')
pages, start = resident(), time.perf_counter()
{}
seconds, pages = time.perf_counter() - start, resident() - pages
import json, resource
print(json.dumps([seconds * 1e3, pages * resource.getpagesize() / 1e6]))
'''

#: By the names of the contenders.
STARTS = {
    'limit': '''\
import hashlib, pickle, queue, socket
client = socket.create_connection((host, int(port)))
client.sendall(b'get a_miss\\r\\n')
client.recv(64)''',
    'ultra': '''\
from p01.memcache.uclient import UltraMemcacheClient
client = UltraMemcacheClient([address])
client.query('a_miss')''',
    'classic': '''\
from p01.memcache.client import MemcacheClient
client = MemcacheClient([address])
client.query('a_miss')''',
    'pymemcache': '''\
import hashlib, pickle
from pymemcache.client.base import PooledClient
client = PooledClient((host, int(port)))
client.get('a_miss')''',
    'python-memcached': '''\
import hashlib, pickle
from memcache import Client
client = Client([address])
client.get('a_miss')''',
    'pylibmc': '''\
import hashlib, pickle
import pylibmc
client = pylibmc.Client([address])
client.get('a_miss')''',
    'libmc': '''\
import hashlib, pickle
import libmc
client = libmc.ThreadedClient([address])
client.get('a_miss')''',
}


class Start(NamedTuple):
    """Its milliseconds, and by how many MB the resident memory grows."""

    milliseconds: float
    megabytes: float | None


def start(name, address):
    """Return the `Start` of one client, in a new interpreter."""
    done = subprocess.run(
        (sys.executable, '-c', SCRIPT.format(STARTS[name]), address),
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    milliseconds, megabytes = json.loads(done.stdout)
    return Start(round(milliseconds, 2),
                 round(megabytes, 2) if STATM.exists() else None)


def play(names, address, rounds, step):
    """Return a list of `Start` by each name.

    ``step()`` is called after each start, ``rounds + 1`` by each name.
    """
    starts = {name: [] for name in names}
    # The first round reads the files, and compiles what has changed.
    for _ in range(rounds + 1):
        for name in random.sample(list(names), len(names)):
            starts[name].append(start(name, address))
            step()
    return {name: each[1:] for name, each in starts.items()}
