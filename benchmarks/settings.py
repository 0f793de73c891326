# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What each setting of the pooled client gains or costs.

Clients that differ in only one setting take turns on a memcached that is
started for this. Run it with bin/py benchmarks/settings.py
"""

import argparse
import contextlib
import os
import statistics
import tempfile
from functools import partial

from benchmark import count
from benchmark import duration
from report import ratio
from trust import SIGNED
from trust import VARIABLE
from trust import page
from trust import take_turns

from p01.memcache.testing import Memcached
from p01.memcache.uclient import UltraMemcacheClient


CLIENTS = {
    'default': {},
    'unix socket': {},
    'keyScheme strict': {'keyScheme': 'strict'},
    'generations': {'generations': True},
    'pickleProtocol 0': {'pickleProtocol': 0},
    'signed-pickle': SIGNED,
    'json': {'serializer': 'json'},
    'compress': {'compress': 1000},
}

KEY = ('view', 'front-page', 42)
MANY = [f'key {number}' for number in range(100)]


class Works(dict):
    """What is measured, by its name."""

    def __init__(self, client):
        small, large = page(100), page(10_000)
        client.set('small', small)
        client.set('large', large)
        client.set('created', small)
        client.setMany(dict.fromkeys(MANY, small))
        super().__init__({
            'query': partial(client.query, 'small'),
            'set': partial(client.set, 'small', small),
            'query, 10 kB': partial(client.query, 'large'),
            'set, 10 kB': partial(client.set, 'large', large),
            'a tuple as key': partial(client.query, KEY),
            'getOrCreate, hit': partial(client.getOrCreate, 'created', list),
            '100 x query': lambda: [client.query(key) for key in MANY],
            'queryMany of 100': partial(client.queryMany, MANY),
        })


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=count, default=9)
    parser.add_argument('--seconds', type=duration, default=0.05,
                        help='of each client in each round')
    options = parser.parse_args()
    os.environ[VARIABLE] = os.urandom(32).hex()
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(path, 0o777)  # memcached may run as another user
        server = stack.enter_context(Memcached())
        local = stack.enter_context(Memcached(path=f'{path}/socket'))
        clients = {}
        for name, settings in CLIENTS.items():
            used = local if name == 'unix socket' else server
            client = UltraMemcacheClient(
                [used.address], namespace=name, **settings)
            stack.callback(client.close)
            clients[name] = Works(client)
        print(f'{"":20}' + ''.join(f'{name:>19}' for name in clients))
        for work in clients['default']:
            taken = take_turns(
                {name: works[work] for name, works in clients.items()},
                options.rounds, options.seconds)
            print(f'{work:20}' + ''.join(
                f'{statistics.median(each):10.1f} µs'
                f'{ratio(each, taken["default"]):5.2f}x'
                for each in taken.values()), flush=True)


if __name__ == '__main__':
    main()
