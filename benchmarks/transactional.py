# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What it costs a request that the cache follows its transaction.

    bin/py-zope benchmarks/transactional.py [rounds]

Each kind of request is done with a plain client and with a transactional one,
in turn, each within a transaction of its own. It prints the µs of a request in
the fastest of the rounds, and its round trips to memcached.
"""

import sys
from time import perf_counter_ns
from unittest import mock

import transaction

from p01.memcache.testing import Memcached
from p01.memcache.transactional import Transactional
from p01.memcache.transport.connection import Connection
from p01.memcache.uclient import UltraMemcacheClient


class Database:
    """Joins the transaction, as a database that is changed does."""

    def __init__(self):
        transaction.get().join(self)

    def _pass(self, txn):
        pass

    abort = tpc_begin = commit = tpc_vote = tpc_finish = tpc_abort = _pass

    def sortKey(self):
        return 'database'


def nothing(cache, number):
    """nothing"""


def hit(cache, number):
    """reads 1 value"""
    cache.query('page')


def hits(cache, number):
    """reads 10 values, one by one"""
    for _ in range(10):
        cache.query('page')


def computed(cache, number):
    """getOrCreate, a hit"""
    cache.getOrCreate('page', str)


def miss(cache, number):
    """getOrCreate, a miss"""
    cache.getOrCreate(('new', number), str)


def write(cache, number):
    """changes the database"""
    Database()


def invalidate(cache, number):
    """changes it, invalidates 1 key"""
    Database()
    cache.invalidate('other')


def invalidate_many(cache, number):
    """changes it, invalidates 10 keys"""
    Database()
    for key in range(10):
        cache.invalidate(key)


def store(cache, number):
    """changes it, sets 1 value"""
    Database()
    cache.set('other', 'x' * 1000)


def store_many(cache, number):
    """changes it, sets 10 values"""
    Database()
    for key in range(10):
        cache.set(key, 'x' * 1000)


def compute(cache, number):
    """changes it, getOrCreate, a miss"""
    Database()
    cache.getOrCreate(('new', number), str)


REQUESTS = (nothing, hit, hits, computed, miss, write, invalidate,
            invalidate_many, store, store_many, compute)

# Requests of a kind in one round.
REPEAT = 200


def measure(request, cache, start):
    """Return the µs of a request."""
    begin = perf_counter_ns()
    for number in range(start, start + REPEAT):
        transaction.begin()
        request(cache, number)
        transaction.commit()
    return (perf_counter_ns() - begin) / REPEAT / 1000


def round_trips(request, cache, number):
    with mock.patch.object(Connection, 'send', autospec=True,
                           side_effect=Connection.send) as send:
        transaction.begin()
        request(cache, number)
        transaction.commit()
    return send.call_count


def main(rounds=20):
    with Memcached() as server:
        plain = UltraMemcacheClient([server.address])
        caches = plain, Transactional(plain)
        plain.set('page', 'x' * 1000)
        start = 0
        print(f'{"a request that":36}{"plain":>14}{"transactional":>18}')
        for request in REQUESTS:
            times = [], []
            for _ in range(rounds):
                for cache, found in zip(caches, times, strict=True):
                    start += REPEAT
                    found.append(measure(request, cache, start))
            columns = []
            for cache, found in zip(caches, times, strict=True):
                start += REPEAT
                columns += [min(found),
                            round_trips(request, cache, start)]
            print(f'{request.__doc__:36}'
                  '{:8.1f} µs {:2d}{:12.1f} µs {:2d}'.format(*columns))
        plain.close()


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
