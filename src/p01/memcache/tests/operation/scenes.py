# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Clients that say what a test wants them to say, for the page to show."""

import math
import random
import time

from zope.interface import implementer

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient


BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0, math.inf)

HOSTILE = '<script>alert(1)</script>"\'&\u202e'


class Actor:
    """What the page asks a client for, as its interface has it."""

    def __init__(self, servers=(), namespace='shop', generations=True,
                 history=(), statistics=(), regions=(), stall=0, **counts):
        self._servers = list(servers)
        self.servers = [server['server'] for server in servers]
        self.namespace, self.generations = namespace, generations
        self._history, self._statistics = list(history), dict(statistics)
        self._regions, self._counts, self._stall = list(regions), counts, stall
        self.slowest = []
        self.emptied = 0

    def getServers(self):
        return [dict(server) for server in self._servers]

    def getStatistics(self, name=None):
        time.sleep(self._stall)
        if name == 'slabs':
            return [(server, dict(SLABS)) for server in self.servers]
        return [(server, self._statistics.get(
            server, {'error': 'no reply in time'}))
            for server in self.servers]

    def getCounts(self):
        counts = {
            'hits': sum(slot[1] for slot in self._history),
            'misses': sum(slot[2] for slot in self._history),
            'errors': {}, 'timeouts': 0, 'unreadable': {}, 'stored': 0,
            'refused': 0, 'invalidated': 0, 'computed': 0, 'waited': 0,
            'stale': 0, 'bytesRead': 0, 'bytesStored': 0, 'seconds': {},
            'slow': len(self.slowest)}
        return {**counts, **self._counts}

    def getHistory(self):
        return list(self._history)

    def getSlowest(self):
        return list(self.slowest)

    def getRegions(self):
        return list(self._regions)

    def immediate(self):
        return self

    def getOrCreate(self, key, factory, lifetime=None):
        return factory()

    def invalidateNamespace(self):
        self.emptied += 1
        return True


@implementer(IUltraMemcacheClient)
class Pooled(Actor):
    """A pooled client."""


@implementer(IMemcacheClient)
class Classic(Actor):
    """A client that knows no states."""

    getServers = None


SLABS = {
    '1:chunk_size': '96', '1:total_pages': '12', '1:total_chunks': '131064',
    '1:used_chunks': '98211', '1:free_chunks': '32853',
    '7:chunk_size': '384', '7:total_pages': '310',
    '7:total_chunks': '846300', '7:used_chunks': '846300',
    '7:free_chunks': '0', 'active_slabs': '2', 'total_malloced': '337641472'}


def server(name, state='up', since=0.0, reason=None, probe=0, **more):
    return {
        'server': name, 'state': state, 'since': since, 'reason': reason,
        'nextProbe': probe, 'active': 0, 'idle': 3, 'waiting': 0, 'opened': 4,
        'broken': 0, 'owed': 0, 'drained': state == 'drained', **more}


def statistics(used=412_345_678, evictions=0, uptime=1_234_567, **more):
    values = {
        'bytes': used, 'limit_maxbytes': 1 << 30, 'curr_items': used // 900,
        'evictions': evictions, 'uptime': uptime, 'version': '1.6.18', **more}
    return {name: str(value) for name, value in values.items()}


def history(outage=None, errors=40):
    """Return ten minutes of a site, with an outage so many seconds ago."""
    chance = random.Random(5)
    slots = []
    for ago in range(600, 0, -10):
        reads = 2800 + chance.randrange(900)
        rate, failed = 0.94 + chance.random() / 40, 0
        if outage and ago <= outage:
            rate, failed = rate * 2 / 3, errors + chance.randrange(20)
        hits = int(reads * rate)
        slots.append((ago - 3.5, hits, reads - hits, failed))
    return slots


def seconds(count, mean=0.0004):
    return {'count': count, 'sum': count * mean, 'buckets': {
        bound: int(count * (1 - math.exp(-bound / mean)))
        for bound in BOUNDS}}


def slow(key, took=0.4, server='cache2:11211', phase='receive', ago=30.0):
    return {'seconds': took, 'ago': ago, 'command': 'query', 'key': key,
            'server': server, 'phase': phase}


def well():
    """Three servers of a shop, and its sessions."""
    names = [f'cache{number}:11211' for number in (1, 2, 3)]
    region = Pooled(history=[(30.0, 900, 100, 0)], stored=100)
    shop = Pooled(
        [server(name) for name in names], history=history(),
        statistics={name: statistics(evictions=1234 * number)
                    for number, name in enumerate(names)},
        regions=[('prices', region)], stored=8123, computed=7900, waited=312,
        stale=45, bytesStored=91_234_567, invalidated=1520,
        seconds={'query': seconds(191_000), 'set': seconds(8123),
                 'getOrCreate': seconds(7900, 0.001)})
    shop.slowest = [slow('f3a9' * 16, 0.31, ago=112.0),
                    slow('1b7c' * 16, 0.0123, phase='pool')]
    return {'': shop, 'sessions': Classic(
        [server(names[0])], 'sessions', False,
        statistics={names[0]: statistics()}, history=history()[-30:])}


def outage():
    """The second of three servers has gone half a minute ago."""
    clients = well()
    shop = clients['']
    shop._servers[1].update(
        state='down', since=12.3, reason='no reply in time', nextProbe=5,
        broken=3, owed=210)
    shop._statistics['cache2:11211'] = {'error': 'is marked down'}
    shop._history = history(outage=40)
    shop._counts.update(
        errors={'ReceiveTimeout': 9, 'ServerDown': 219}, timeouts=9)
    return clients


LONG = ('memcached-03.prod.example.org:11211', '127.0.0.1:21843',
        '[2001:db8:85a3:8d3:1319:8a2e:370:7348]:11211',
        'unix:/var/run/memcached/site-production/memcached-0.sock')


def long():
    """Servers with long addresses, one of which cannot be reached."""
    shop = Pooled(
        [server(name, *('down', 12.3, 'cannot connect: [Errno 111] '
                        'Connection refused', 0.2) if number == 1 else (),
                broken=number, owed=-number)
         for number, name in enumerate(LONG)], history=history(),
        statistics={name: statistics(used=28_654_321, limit_maxbytes=64 << 20,
                                     evictions=1_234_567)
                    for name in (LONG[0], *LONG[2:])})
    shop.slowest = [slow('f3a9' * 16, server=name) for name in LONG]
    return {'': shop}


def hostile():
    """Everything that comes from elsewhere is markup."""
    region = Pooled(namespace=HOSTILE)
    client = Pooled(
        [server(HOSTILE, 'down', 5.0, HOSTILE)], HOSTILE,
        statistics={HOSTILE: statistics(
            version=HOSTILE, bytes=HOSTILE, evictions='9' * 5000,
            uptime='-5')},
        regions=[(HOSTILE, region)], errors={HOSTILE: 1})
    client.slowest = [slow(HOSTILE, server=HOSTILE, phase=HOSTILE)]
    return {HOSTILE: client}


def stalled():
    return {'': Pooled([server('cache1:11211')], stall=8)}


def nothing():
    return {}
