# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Random walks: any operations, while any list of servers follows any other.

There is a database, of which the clients cache rows. A row is changed first in
the database, and then in the cache. What is read must not be older than the
last change that was acknowledged; with one client, than the last change.
"""

import collections
import contextlib
import random
import unittest
from time import monotonic
from types import SimpleNamespace
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import free_ports
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.servers import ask
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)

SERVERS = 4
KEYS = range(8)
TAGS = 'xyz'

# Seconds, of a clock that only the walk moves on.
HANDOVER = 1000


class Walk:
    """One walk. The clients follow a history of lists, one after another."""

    odds = {
        'change_list': 1, 'follow': 2, 'wait': 1, 'query': 3, 'query_many': 2,
        'query_and_touch': 1, 'set': 3, 'set_dependent': 2, 'set_many': 1,
        'add': 1, 'replace': 1, 'cas': 1, 'get_or_create': 2,
        'get_or_create_dependent': 2, 'invalidate': 1, 'invalidate_many': 1,
        'invalidate_dependency': 1, 'invalidate_all': 0.2}

    def __init__(self, addresses, clock, seed, clients, **settings):
        self.seed = seed
        self.settings = settings
        self.chance = random.Random(f'{seed} {clients} {settings}')
        self.clock = clock
        # Short and long ones; the last server is often away.
        self.lists = [
            addresses[:1], addresses[:2], addresses[1:3], addresses[:3],
            addresses[1:], addresses]
        self.history = [(self.chance.choice(self.lists), [])]
        self.clients = [UltraMemcacheClient(
            self.history[0][0], timeout=5,
            handover=HANDOVER if clients > 1 else 0,
            namespace=f'{seed} {clients} {settings}', **settings)
            for _ in range(clients)]
        self.followed = [0] * clients
        self.rows = collections.Counter()  # the database
        self.known = collections.Counter()  # what was acknowledged
        self.tags = collections.Counter()
        self.known_tags = collections.Counter()
        self.log = collections.deque(maxlen=50)
        self.hits = 0
        if settings.get('generations'):
            self.odds = {**self.odds, 'invalidate_namespace': 0.5}

    def walk(self, steps):
        with contextlib.ExitStack() as stack:
            for client in self.clients:
                stack.callback(client.close)
            self.go(steps)

    def go(self, steps):
        for _ in range(steps):
            [name] = self.chance.choices(
                list(self.odds), list(self.odds.values()))
            self.at = self.chance.randrange(len(self.clients))
            self.client = self.clients[self.at]
            self.key = self.chance.choice(KEYS)
            self.log.append((self.at, name, self.key))
            getattr(self, name)()

    # The database

    def row(self, key, *tags):
        return key, self.rows[key], {tag: self.tags[tag] for tag in tags}

    def changed(self, keys):
        self.rows.update(keys)
        self.log.append([self.row(key)[:2] for key in keys])

    def acknowledged(self, keys, answer):
        self.log.append(answer)
        # The others cannot know of what was not acknowledged.
        if answer is not None or len(self.clients) == 1:
            for key in keys:
                self.known[key] = self.rows[key]

    def check(self, key, value):
        if value is None:
            return
        self.hits += 1
        if (value[0] != key or value[1] < self.known[key]
                or any(version < self.known_tags[tag]
                       for tag, version in value[2].items())):
            raise AssertionError(
                f'seed {self.seed}, {self.settings}: {value} was read, but'
                f' {self.known[key]} {dict(self.known_tags)} is known:'
                f' {list(self.log)}')

    # The list

    def change_list(self):
        servers, drained = self.chance.choice(self.lists), []
        if self.chance.random() < 0.2:
            drained = self.chance.sample(servers, len(servers) // 2)
        self.history.append((servers, drained))
        self.follow()

    def follow(self):
        if self.followed[self.at] < len(self.history) - 1:
            self.followed[self.at] += 1
            servers, drained = self.history[self.followed[self.at]]
            self.log.append((servers, drained))
            self.client.drained = []
            self.client.servers = servers
            self.client.drained = drained

    def wait(self):
        """Let time pass, by the end of which all have followed."""
        for at, client in enumerate(self.clients):
            self.at, self.client = at, client
            while self.followed[at] < len(self.history) - 1:
                self.follow()
        self.clock.passed += HANDOVER + 1

    # Reads

    def query(self):
        self.check(self.key, self.client.query(self.key))

    def query_and_touch(self):
        self.check(self.key, self.client.queryAndTouch(self.key))

    def query_many(self):
        for key, value in self.client.queryMany(KEYS).items():
            self.check(key, value)

    def get_or_create(self, *tags):
        self.check(self.key, self.client.getOrCreate(
            self.key, lambda: self.row(self.key, *tags), dependencies=tags))

    def get_or_create_dependent(self):
        self.get_or_create(self.chance.choice(TAGS))

    # Changes

    def set(self, *tags):
        self.changed([self.key])
        self.acknowledged([self.key], self.client.set(
            self.key, self.row(self.key, *tags), dependencies=tags))

    def set_dependent(self):
        self.set(self.chance.choice(TAGS))

    def set_many(self):
        keys = self.chance.sample(KEYS, 4)
        self.changed(keys)
        failed = self.client.setMany({key: self.row(key) for key in keys})
        self.acknowledged(set(keys) - set(failed), keys)
        self.acknowledged(failed, None)

    def add(self):
        self.client.add(self.key, self.row(self.key))

    def replace(self):
        self.changed([self.key])
        self.acknowledged([self.key], self.client.replace(
            self.key, self.row(self.key)))

    def cas(self):
        value, token = self.client.gets(self.key)
        self.check(self.key, value)
        if token is not None:
            self.changed([self.key])
            answer = self.client.cas(self.key, self.row(self.key), token)
            if answer is False:
                answer = self.client.invalidate(self.key)
            self.acknowledged([self.key], answer)

    def invalidate(self):
        self.changed([self.key])
        self.acknowledged([self.key], self.client.invalidate(self.key))

    def invalidate_many(self):
        keys = self.chance.sample(KEYS, 4)
        self.changed(keys)
        failed = self.client.invalidateMany(keys)
        self.acknowledged(set(keys) - set(failed), keys)
        self.acknowledged(failed, None)

    def invalidate_dependency(self):
        tag = self.chance.choice(TAGS)
        self.tags[tag] += 1
        answer = self.client.invalidateDependencies(tag)
        self.log.append((tag, answer))
        if answer or len(self.clients) == 1:
            self.known_tags[tag] = self.tags[tag]

    def invalidate_all(self):
        self.changed(KEYS)
        self.client.invalidateAll()
        self.acknowledged(KEYS, True)

    def invalidate_namespace(self):
        self.changed(KEYS)
        self.acknowledged(KEYS, self.client.invalidateNamespace())


def connections(address):
    """Return how many a server has, with that of this question."""
    statistics = ask(address, b'stats\r\n', b'END\r\n').decode()
    return int(statistics.partition('curr_connections ')[2].split()[0])


class WalkTest(unittest.TestCase):

    walks = 4
    passed = 0

    def setUp(self):
        keep_quiet(self)
        self.addresses = [
            self.enterContext(EmbeddedServer(port=port)).address
            for port in free_ports(SERVERS)]
        self.enterContext(mock.patch(
            'p01.memcache.membership.moving.monotonic',
            lambda: monotonic() + self.passed))
        # What is delivered in the background arrives before the walk goes on.
        self.enterContext(mock.patch(
            'p01.memcache.cluster.change._thread', SimpleNamespace(
                start_new_thread=lambda function, args: function(*args))))

    def walk(self, clients, **settings):
        hits = 0
        for seed in range(self.walks):
            walk = Walk(self.addresses, self, seed, clients, **settings)
            walk.walk(200)
            hits += walk.hits
            for address in self.addresses:
                until(lambda address=address: connections(address) == 1)
        self.assertGreater(hits, 20 * self.walks)

    def test_one_client(self):
        self.walk(1)

    def test_clients_that_follow_each_other(self):
        for clients in 2, 3:
            self.walk(clients)

    def test_modulo(self):
        self.walk(1, distribution='modulo')
        self.walk(2, distribution='modulo')

    def test_failover(self):
        self.walk(1, failover=True)
        self.walk(2, failover=True)

    def test_generations(self):
        self.walk(1, generations=True)
        self.walk(2, generations=True)


class LongWalkTest(WalkTest):

    level = 2
    walks = 60
