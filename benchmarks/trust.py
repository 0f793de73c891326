# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What signatures, an allow-list, JSON and compression cost.

Clients that differ only in these take turns to set and get the same values on
the same memcached: a page, which is one str, and records of several types.
Then the same without memcached. Run it with a memcached of its own:
bin/py benchmarks/trust.py 127.0.0.1:11212
"""

import argparse
import itertools
import os
import random
import statistics
import time
from datetime import datetime
from functools import partial

from report import ratio

from p01.memcache.uclient import UltraMemcacheClient


VARIABLE = 'P01_MEMCACHE_BENCHMARK'
SIGNED = {'serializer': 'signed-pickle', 'secretsVariable': VARIABLE}
CLIENTS = {
    'pickle': {},
    'signed-pickle': SIGNED,
    'allow': {'allow': ['datetime']},
    'signed, allow': {**SIGNED, 'allow': ['datetime']},
    'json': {'serializer': 'json'},
    'compress': {'compress': 1000},
}
SIZES = {'100 B': 100, '10 kB': 10_000, '1 MB': 1_000_000}


def page(size):
    rows = (f'<li><a href="/shop/{number}">Item {number * 7919 % 10007}</a>'
            for number in itertools.count())
    text = ''
    while len(text) < size:
        text += ''.join(itertools.islice(rows, 1 + size // 50))
    return text[:size]


def records(size):
    """Return records that make about that many bytes as a pickle."""
    return [
        {'number': number, 'title': f'Item {number}', 'price': number / 7,
         'changed': datetime(2026, 1, 1, number % 24)}
        for number in range(max(1, size // 75))]


def has_json(name, kind):
    return name != 'json' or kind == 'page'


def works(client, value):
    """Return what is measured, by its name."""
    built, coded = client.set('key', value).encode(), client._codec
    stored = coded.dumps(built, value, False)
    return {
        'set': partial(client.set, 'key', value),
        'get': partial(client.query, 'key'),
        'dumps': partial(coded.dumps, built, value, False),
        'loads': partial(coded.loads, built, *stored, False),
    }


def repeat(operation, count):
    for _ in range(count):
        operation()


def measure(operation, count):
    """Return the microseconds per call, when it is called that often."""
    start = time.perf_counter()
    repeat(operation, count)
    return (time.perf_counter() - start) / count * 1e6


def take_turns(operations, rounds, seconds):
    """Return the microseconds of each in each round, by name.

    The speed of the first one decides how many calls a turn of that many
        seconds has.
    """
    first, *_ = operations.values()
    count = max(1, round(seconds * 1e6 / measure(first, 20)))
    taken = {name: [] for name in operations}
    for _ in range(rounds):
        for name in random.sample(list(operations), len(operations)):
            taken[name].append(measure(operations[name], count))
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('server', help='host:port of a memcached')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--seconds', type=float, default=0.05,
                        help='of each client in each round')
    options = parser.parse_args()
    os.environ[VARIABLE] = os.urandom(32).hex()
    clients = {
        name: UltraMemcacheClient([options.server], namespace=name, **settings)
        for name, settings in CLIENTS.items()}
    print(f'{"":29}' + ''.join(f'{name:>15}' for name in clients))
    for (size, count), (kind, make) in itertools.product(
            SIZES.items(), {'page': page, 'records': records}.items()):
        value = make(count)
        prepared = {name: works(client, value)
                    for name, client in clients.items()
                    if has_json(name, kind)}
        for work in 'set', 'get', 'dumps', 'loads':
            contenders = {name: own[work] for name, own in prepared.items()}
            times = take_turns(contenders, options.rounds, options.seconds)
            cells = []
            for name in clients:
                if name not in contenders:
                    cells.append(f'{"-":>15}')
                    continue
                cells.append(
                    f'{statistics.median(times[name]):8.1f}'
                    f' {ratio(times[name], times["pickle"]):4.2f} x')
            print(f'{work:5} {size:>6} {kind:8} µs        '
                  + ''.join(cells), flush=True)
    for client in clients.values():
        client.close()


if __name__ == '__main__':
    main()
