# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What it costs a request that its values are as fresh as its snapshot.

    bin/py-zope benchmarks/snapshots.py [rounds]

Each kind of request is done with a plain client and with a transactional one,
in turn, each in a transaction on a ZODB. It prints the µs of a request in the
fastest of the rounds, and its round trips to memcached.
"""

import contextlib
import sys
import tempfile
from time import perf_counter_ns
from unittest import mock

import transaction
import ZEO
import ZODB
from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.FileStorage import FileStorage

from p01.memcache.snapshots import versions
from p01.memcache.testing import Memcached
from p01.memcache.transactional import Transactional
from p01.memcache.transport.connection import Connection
from p01.memcache.uclient import UltraMemcacheClient


NAMES = [f'object {number}' for number in range(10)]


def nothing(cache, root, number):
    """nothing"""


def hit(cache, root, number):
    """getOrCreate, a hit, 1 dependency"""
    cache.getOrCreate('page', str, dependencies=NAMES[:1])


def hits(cache, root, number):
    """the same, 10 dependencies"""
    cache.getOrCreate('pages', str, dependencies=NAMES)


def query(cache, root, number):
    """query, a hit, 1 dependency"""
    cache.query('page')


def miss(cache, root, number):
    """getOrCreate, a miss"""
    cache.getOrCreate(('new', number), str, dependencies=NAMES[:1])


def version(cache, root, number):
    """the same, and a version is made"""
    cache.getOrCreate(
        ('new', number), str, dependencies=[f'new object {number}'])


def change(cache, root, number):
    """changes the database"""
    root['number'] = number


def invalidate(cache, root, number):
    """changes it, invalidates 1 dependency"""
    root['number'] = number
    cache.invalidateDependencies('changed')


def invalidate_many(cache, root, number):
    """changes it, invalidates 10 of them"""
    root['number'] = number
    cache.invalidateDependencies(*(f'changed {name}' for name in NAMES))


REQUESTS = (nothing, hit, hits, query, miss, version, change, invalidate,
            invalidate_many)

# Requests of a kind in one round.
REPEAT = 50


@contextlib.contextmanager
def storages():
    """Return a dict of storages."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options(keep_history=False)
        address, stop = ZEO.server(f'{folder}/zeo.fs', threaded=False)
        try:
            yield {
                'FileStorage': FileStorage(f'{folder}/data.fs'),
                'ZEO': ZEO.client(address),
                'RelStorage, SQLite': RelStorage(Sqlite3Adapter(
                    folder, pragmas={}, options=options), options=options)}
        finally:
            stop()


def measure(request, cache, root, start):
    """Return the µs of a request."""
    begin = perf_counter_ns()
    for number in range(start, start + REPEAT):
        transaction.begin()
        request(cache, root, number)
        transaction.commit()
    return (perf_counter_ns() - begin) / REPEAT / 1000


def round_trips(request, cache, root, number):
    with mock.patch.object(Connection, 'send', autospec=True,
                           side_effect=Connection.send) as send:
        transaction.begin()
        request(cache, root, number)
        transaction.commit()
    return send.call_count


def main(rounds=10):
    versions.SETTLED = 0  # the server is new
    start = 0
    with Memcached() as server, storages() as all_of_them:
        plain = UltraMemcacheClient([server.address])
        caches = plain, Transactional(plain.region('other'))
        for name, storage in all_of_them.items():
            db = ZODB.DB(storage)
            root = db.open().root()
            print(f'{name:36}{"plain":>16}{"snapshots":>16}')
            for request in REQUESTS:
                times = [], []
                for _ in range(rounds):
                    for cache, found in zip(caches, times, strict=True):
                        start += REPEAT
                        found.append(measure(request, cache, root, start))
                columns = []
                for cache, found in zip(caches, times, strict=True):
                    start += REPEAT
                    columns += [min(found),
                                round_trips(request, cache, root, start)]
                print(f'{request.__doc__:36}'
                      '{:10.0f} µs {:2d}{:10.0f} µs {:2d}'.format(*columns))
            transaction.abort()
            db.close()
        plain.close()


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
