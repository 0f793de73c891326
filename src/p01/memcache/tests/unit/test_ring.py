# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Which server has a key: test vectors, and agreement with other clients.

Level 1 is arithmetic. Level 2 compares with the reference implementations,
libmemcached (pylibmc) and python-memcached.
"""

import collections
import contextlib
import os
import tempfile
import threading
import unittest
from unittest import mock

from p01.memcache.cluster.ring import DISTRIBUTIONS
from p01.memcache.cluster.ring import Ketama
from p01.memcache.cluster.ring import Modulo
from p01.memcache.cluster.ring import RoundRobin
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.transport.address import parse


try:
    import pylibmc
except ImportError:
    pylibmc = None
try:
    import memcache
except ImportError:
    memcache = None

KEYS = [b'key:%d' % number for number in range(1000)]
ASSORTED = [number * 7 % 11 + 1 for number in range(25)]


def addresses(*texts):
    return [parse(text) for text in texts]


def equal(number):
    return addresses(*(f'10.0.0.{place + 1}' for place in range(number)))


def points(ring):
    """Return how many points each server has, by its place."""
    return collections.Counter(ring._indexes[:-1])


class TestKetama(unittest.TestCase):

    def assertFound(self, ring, places):
        found = {key: ring.find(key.encode()) for key in places}
        self.assertEqual(found, places)

    def test_weighted(self):
        ring = Ketama(addresses(
            '10.0.1.1/?600', '10.0.1.2/?300', '10.0.1.3:11212/?200'))
        self.assertEqual(points(ring), {0: 260, 1: 128, 2: 84})
        self.assertEqual((ring._hashes[0], ring._indexes[0]), (14164473, 1))
        self.assertEqual(
            (ring._hashes[-1], ring._indexes[-2]), (4294440920, 2))
        self.assertFound(
            ring, {'foo': 0, 'bar': 2, 'baz': 1, 'key:1': 0, 'key:2': 0})

    def test_equal(self):
        ring = Ketama(addresses(
            '127.0.0.1:11211', '127.0.0.1:11212', '127.0.0.1:11213'))
        self.assertFound(ring, {'foo': 0, 'bar': 1, 'baz': 1, 'key:1': 0})

    def test_points_are_counted_in_float32(self):
        # In float64 there would be 160 each.
        self.assertEqual(
            set(points(Ketama(equal(25))).values()), {156})
        self.assertEqual(
            set(points(Ketama(equal(3))).values()), {160})

    def test_labels(self):
        for text, label in (
                ('a', b'a-7'), ('a:11211', b'a-7'), ('a:11212', b'a:11212-7'),
                ('A.example:1', b'A.example:1-7'), ('[0:0::1]', b'0:0::1-7'),
                ('tls://a:2', b'a:2-7'), ('a/?3', b'a-7'),
                # As they are written, even if two are the same place.
                ('a.', b'a.-7'), ('127.1', b'127.1-7'),
                ('[fe80::1%eth0]:2', b'fe80::1%eth0:2-7'),
                ('unix:/run/m.sock', b'/run/m.sock:0-7')):
            with self.subTest(text):
                address = parse(text)
                self.assertEqual(Ketama([address])._label(address, 7), label)

    def ring(self, *hashes):
        """A ring with one point for each server."""
        ring = Ketama(equal(len(hashes)))
        ring._hashes = list(hashes)
        ring._indexes = [*range(len(hashes)), 0]
        return ring

    def test_a_key_belongs_to_the_first_point_not_before_it(self):
        point = int.from_bytes(bytes.fromhex('acbd18db'), 'little')  # of foo
        for hashes, place in (
                ((point - 1, point, point + 1), 1),
                ((point - 1, point + 1), 1),
                ((point + 1, point + 2), 0),
                # Past the last point, the first one follows.
                ((point - 2, point - 1), 0)):
            with self.subTest(hashes):
                self.assertEqual(self.ring(*hashes).find(b'foo'), place)

    def test_the_others_go_on_from_there(self):
        point = int.from_bytes(bytes.fromhex('acbd18db'), 'little')
        ring = self.ring(point - 1, point, point + 1, point + 2)
        self.assertEqual(list(ring.after(b'foo', 1)), [2, 3, 0])

    def test_a_server_that_is_down_is_left_out(self):
        # As if the ring had been made without it, with the same labels.
        servers = equal(4)
        ring = Ketama(servers)
        rests = [servers[:place] + servers[place + 1:] for place in range(4)]
        smaller = [Ketama(rest) for rest in rests]
        for key in KEYS:
            place = ring.find(key)
            self.assertEqual(
                servers[next(ring.after(key, place))],
                rests[place][smaller[place].find(key)])

    def test_few_keys_move(self):
        before, after = Ketama(equal(10)), Ketama(equal(11))
        moved = [key for key in KEYS if before.find(key) != after.find(key)]
        self.assertEqual({after.find(key) for key in moved}, {10})
        self.assertAlmostEqual(len(moved), 1000 / 11, delta=30)

    def test_the_order_does_not_matter(self):
        servers = addresses('a/?1', 'b/?2', 'c/?3', 'd/?4')
        ring, turned = Ketama(servers), Ketama(servers[::-1])
        for key in KEYS:
            self.assertEqual(ring.find(key), 3 - turned.find(key))

    def test_shares_follow_the_weights(self):
        ring = Ketama(addresses('a/?3', 'b/?1'))
        shares = collections.Counter(map(ring.find, KEYS))
        self.assertAlmostEqual(shares[0] / len(KEYS), 0.75, delta=0.1)

    def test_a_weight_that_is_too_small(self):
        # libmemcached gives it no points either.
        ring = Ketama(addresses('a/?65535', 'b'))
        self.assertEqual({ring.find(key) for key in KEYS}, {0})
        self.assertEqual(list(ring.after(b'foo', 0)), [])

    def test_servers_with_the_same_point(self):
        # The first server has it, from either direction.
        with mock.patch(
                'p01.memcache.cluster.ring.md5',
                lambda data: mock.Mock(digest=lambda: b'1234' * 4)):
            ring = Ketama(equal(3))
            self.assertEqual(ring.find(b'foo'), 0)
            self.assertEqual(list(ring.after(b'foo', 0)), [1, 2])


class TestModulo(unittest.TestCase):

    vectors = {b'foo': 3187, b'bar': 30463, b'baz': 30756,
               '\xfc'.encode(): 25561}

    def test_hash(self):
        ring = Modulo(equal(1))
        for key, number in self.vectors.items():
            with self.subTest(key):
                self.assertEqual(ring._hash(key), number)

    def test_find(self):
        for servers in (1, 2, 3, 25):
            ring = Modulo(equal(servers))
            for key, number in self.vectors.items():
                with self.subTest(key, servers=servers):
                    self.assertEqual(ring.find(key), number % servers)

    def test_weights_repeat_a_server(self):
        ring = Modulo(addresses('a/?2', 'b', 'c/?3'))
        buckets = [0, 0, 1, 2, 2, 2]
        for key, number in self.vectors.items():
            self.assertEqual(ring.find(key), buckets[number % 6])

    def test_rehashing(self):
        # With one server per number, its place is the number.
        ring = Modulo(addresses('a'))
        ring._indexes = range(0x8000)
        self.assertEqual(ring.find(b'foo'), 3187)
        others = list(ring.after(b'foo', 3187))
        self.assertEqual(others[:3], [29842, 32274, 24630])
        self.assertEqual(len(others), 9)

    def test_not_all_servers_are_tried(self):
        ring = Modulo(equal(1000))
        for key in KEYS[:20]:
            self.assertLessEqual(len(list(ring.after(key, ring.find(key)))), 9)


class TestRoundRobin(unittest.TestCase):

    def test_turns(self):
        ring = RoundRobin(equal(3))
        self.assertEqual(
            [ring.find(b'foo') for _ in range(7)], [0, 1, 2, 0, 1, 2, 0])

    def test_the_others_go_on_from_there(self):
        ring = RoundRobin(equal(4))
        self.assertEqual(list(ring.after(b'foo', 2)), [3, 0, 1])

    def test_threads_share_the_turns(self):
        ring = RoundRobin(equal(4))
        found = []
        start = threading.Barrier(8)

        def work():
            start.wait(5)
            found.extend([ring.find(b'foo') for _ in range(1000)])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        self.assertEqual(
            collections.Counter(found), dict.fromkeys(range(4), 2000))


class TestAny(unittest.TestCase):
    """Properties of every distribution."""

    def setUp(self):
        self.rings = [
            (distribution(equal(servers)), servers)
            for distribution in DISTRIBUTIONS.values()
            for servers in (1, 2, 7)]

    def test_find_is_within_bounds(self):
        keys = [*KEYS, b'', b'\0', b'\xff' * 250, b' ', b'x' * 5000]
        for ring, servers in self.rings:
            with self.subTest(ring=ring, servers=servers):
                self.assertEqual(set(map(ring.find, keys)),
                                 set(range(servers)))

    def test_a_key_stays_where_it_is(self):
        for ring, servers in self.rings:
            if ring.alike:
                continue
            again = type(ring)(equal(servers))
            with self.subTest(ring=ring, servers=servers):
                for key in KEYS[:50]:
                    place = ring.find(key)
                    self.assertEqual(ring.find(key), place)
                    self.assertEqual(again.find(key), place)
                    self.assertEqual(list(again.after(key, place)),
                                     list(ring.after(key, place)))

    def test_after(self):
        for ring, servers in self.rings:
            with self.subTest(ring=ring, servers=servers):
                for key in KEYS[:50]:
                    place = ring.find(key)
                    others = list(ring.after(key, place))
                    self.assertEqual(len(set(others)), len(others))
                    rest = set(range(servers)) - {place}
                    if isinstance(ring, Modulo):
                        self.assertLessEqual(set(others), rest)
                    else:
                        self.assertEqual(set(others), rest)

    def test_the_keys_of_one_go_to_all_the_others(self):
        # Otherwise one that is down would overload another.
        for ring in (Ketama(equal(7)), Modulo(equal(7))):
            with self.subTest(ring=ring):
                self.assertEqual(
                    {next(ring.after(key, 0)) for key in KEYS
                     if ring.find(key) == 0}, set(range(1, 7)))

    def test_whether_all_servers_are_alike(self):
        self.assertEqual(
            [name for name, distribution in DISTRIBUTIONS.items()
             if distribution.alike], ['roundrobin'])


def specification(address):
    """Return the server's address in pylibmc's spelling."""
    if address.is_unix:
        return address.host
    return f'{address.host}:{address.port}:{address.weight}'


@unittest.skipUnless(pylibmc, 'needs pylibmc')
class TestLibmemcached(unittest.TestCase):

    level = 2

    def client(self, *servers):
        client = pylibmc.Client(
            [specification(server) for server in servers],
            behaviors={'ketama_weighted': True})
        self.addCleanup(client.disconnect_all)
        return client

    def start(self, number):
        return [self.enterContext(EmbeddedServer()).address
                for _ in range(number)]

    def assertAgreed(self, texts, weights):
        """The peer stores each key where our ring looks for it."""
        servers = addresses(*(
            f'{text}/?{weight}' for text, weight in zip(
                texts, weights, strict=True)))
        self.assertEqual(self.client(*servers).set_multi(
            {key.decode(): key for key in KEYS}), [])
        ring = Ketama(servers)
        wanted = [[] for _ in servers]
        for key in KEYS:
            wanted[ring.find(key)].append(key.decode())
        for server, keys in zip(servers, wanted, strict=True):
            found = self.client(server).get_multi(
                [key.decode() for key in KEYS])
            self.assertEqual(sorted(found), sorted(keys))

    def test_equal(self):
        self.assertAgreed(self.start(3), [1] * 3)

    def test_weighted(self):
        self.assertAgreed(self.start(3), [600, 300, 200])

    def test_many(self):
        self.assertAgreed(self.start(25), [1] * 25)

    def test_many_weighted(self):
        self.assertAgreed(self.start(25), ASSORTED)

    def test_one(self):
        self.assertAgreed(self.start(1), [5])

    def test_the_standard_port(self):
        # Not on 127.0.0.1, where the machine may have its own memcached.
        with contextlib.ExitStack() as stack:
            try:
                standard = stack.enter_context(
                    EmbeddedServer('127.0.0.5', 11211))
            except OSError as error:
                self.skipTest(f'127.0.0.5:11211: {error}')
            self.assertAgreed([standard.address, *self.start(2)], [1, 2, 1])

    def test_unix_sockets(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)  # memcached drops root's privileges
        servers = [Memcached(path=os.path.join(folder, f'{number}.sock'))
                   for number in range(3)]
        if servers[0].find() is None:
            self.skipTest('needs memcached')
        for server in servers:
            self.enterContext(server)
        # pylibmc allows no weights for sockets, and no mix with other servers.
        self.assertAgreed([server.address for server in servers], [1] * 3)


@unittest.skipUnless(memcache, 'needs python-memcached')
class TestPythonMemcached(unittest.TestCase):

    level = 2

    def setUp(self):
        self.dead = set()
        # It connects to a server to find out whether it is dead.
        self.enterContext(mock.patch.object(
            memcache._Host, 'connect', lambda host: host not in self.dead))

    def clients(self, weights):
        """Return the peer, and our ring of the same servers."""
        hosts = [f'10.0.0.{place}:11211' for place in range(len(weights))]
        return memcache.Client(list(zip(hosts, weights, strict=True))), Modulo(
            addresses(*(f'{host}/?{weight}' for host, weight in zip(
                hosts, weights, strict=True))))

    def place(self, peer, key):
        server = peer._get_server(key)[0]
        return peer.servers.index(server) if server else None

    def assertAgreed(self, weights):
        peer, ring = self.clients(weights)
        for key in KEYS:
            self.assertEqual(ring.find(key), self.place(peer, key))

    def assertSameOrder(self, weights):
        peer, ring = self.clients(weights)
        for key in KEYS[:200]:
            place = ring.find(key)
            order = [place, *ring.after(key, place)]
            self.dead.clear()
            for place in order:
                self.assertEqual(place, self.place(peer, key))
                self.dead.add(peer.servers[place])
            # Nor does it find another one.
            self.assertIsNone(self.place(peer, key))

    def test_equal(self):
        self.assertAgreed([1] * 3)

    def test_weighted(self):
        self.assertAgreed([3, 1, 2])

    def test_many(self):
        self.assertAgreed([1] * 25)

    def test_many_weighted(self):
        self.assertAgreed(ASSORTED)

    def test_others_of_equal(self):
        self.assertSameOrder([1] * 3)

    def test_others_of_weighted(self):
        self.assertSameOrder([3, 1, 2])

    def test_others_of_many(self):
        self.assertSameOrder([1] * 25)

    def test_others_of_many_weighted(self):
        self.assertSameOrder(ASSORTED)
