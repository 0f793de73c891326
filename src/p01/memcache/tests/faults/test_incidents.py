# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Incidents of real sites: faults 37 to 46.

Restarts, pauses, connections that died silently, host names that move, servers
without compare-and-swap, and failures of this process itself. On both clients,
with one thread and with many.
"""

import contextlib
import ctypes
import errno
import gc
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
from unittest import mock

import zope.event

from p01.memcache import embedded
from p01.memcache.classic import host as classic
from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IServerDownEvent
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.transport.lockkeepingstream import LockKeepingStream
from p01.memcache.transport.stream import Stream
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)


MANY = 8
CROWDS = 1, MANY, 64  # threads


class Case(unittest.TestCase):
    """A client of a server, and threads that read keys of their own."""

    timeout = 0.5
    settings = types.MappingProxyType({})

    def setUp(self):
        keep_quiet(self)
        self.downs = []
        zope.event.subscribers.append(self.hear)
        self.addCleanup(zope.event.subscribers.remove, self.hear)

    def hear(self, event):
        if IServerDownEvent.providedBy(event):
            self.downs.append(event)

    def client(self, *servers, **settings):
        client = UltraMemcacheClient(
            servers, **{'timeout': self.timeout, 'maxPoolSize': 64,
                        **self.settings, **settings})
        self.addCleanup(client.close)
        return client

    def assertUp(self, client):
        self.assertEqual(self.downs, [])
        for server in client._state.store.servers:
            self.assertEqual(server.health.state, 'up')

    def at_once(self, function, count):
        return at_once(function, range(count))

    @contextlib.contextmanager
    def busy(self, client, count):
        """Have that many threads use the client within the context."""
        with Crowd(client, count) as crowd:
            until(lambda: min(crowd.hits) > 3)
            yield crowd
            # All of them are served again.
            before = list(crowd.hits)
            until(lambda: all(map(
                lambda now, then: now > then + 3, crowd.hits, before)))
        self.assertEqual(crowd.errors, [])


class Classic:
    """The same with the other client."""

    retry = 0.1

    def client(self, *servers, **settings):
        factory = type('Classic', (MemcacheClient,), {
            '_timeout': self.timeout, '_retry': self.retry})
        client = factory(servers)
        self.addCleanup(client.close)
        return client

    def assertUp(self, client):
        for host in client._state.store.servers:
            self.assertEqual(host.deaduntil, 0)


class Crowd:
    """Threads that set and read a key each; what they find must be theirs."""

    def __init__(self, client, count):
        self._client = client
        self._stopping = False
        self.hits = [0] * count
        self.misses = [0] * count
        self.errors = []
        self._threads = [
            threading.Thread(target=self._work, args=(number,))
            for number in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self._stopping = True
        for thread in self._threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                self.errors.append(f'{thread} hangs')

    def _work(self, number):
        key = f'key {number}'
        try:
            while not self._stopping:
                found = self._client.query(key)
                time.sleep(0.0005)  # let other threads run
                if found == key:
                    self.hits[number] += 1
                elif found is None:
                    self.misses[number] += 1
                    self._client.set(key, key)
                else:
                    raise AssertionError(f'{key}: {found!r}')
        except BaseException as error:
            self.errors.append(error)


class RestartTest(Case):
    """Fault 37: memcached is restarted while threads are in mid-operation."""

    level = 2
    # On a busy machine a start takes time: the delay must be longer than that.
    settings = types.MappingProxyType({'delay': 1, 'blacktime': 60})
    start = Memcached

    def test_restart(self):
        for count in CROWDS:
            with self.subTest(threads=count), self.start() as server:
                client = self.client(server.address)
                with self.busy(client, count):
                    server.stop()
                    server.start()
                self.check(client)

    def test_stall(self):
        # The server answers before a second failure would have been counted.
        for count in CROWDS:
            with self.subTest(threads=count), self.start() as server:
                client = self.client(server.address)
                with self.busy(client, count):
                    server.freeze()
                    time.sleep(self.timeout * 1.2)
                    server.thaw()
                self.check(client)

    def check(self, client):
        self.assertUp(client)


class ClassicRestartTest(Classic, RestartTest):

    def check(self, client):
        """No-op: here each thread leaves the server alone by itself."""


class UnixRestartTest(RestartTest):

    def setUp(self):
        super().setUp()
        folder = self.enterContext(
            tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)
        paths = (os.path.join(folder, str(n)) for n in itertools.count())
        self.start = lambda: Memcached(path=next(paths))


@variant('Classic', Classic)
class PauseTest(Case):
    """Fault 38: this process is suspended, which is no fault of the server."""

    level = 2
    timeout = 0.2
    settings = types.MappingProxyType({'retries': 1, 'blacktime': 60})

    def test_interpreter(self):
        # A C function that is called with the interpreter lock kept.
        usleep = ctypes.PyDLL(None).usleep
        with Memcached() as server:
            for count in CROWDS:
                client = self.client(server.address)
                with (self.subTest(threads=count),
                      self.busy(client, count) as crowd):
                    before = sum(crowd.misses)
                    for _ in range(3):
                        usleep(int(self.timeout * 2e6))
                        time.sleep(self.timeout / 4)
                    # At most the requests that were in progress then.
                    self.assertLessEqual(
                        sum(crowd.misses) - before, 3 * count)
                self.assertUp(client)

    def test_process(self):
        def check(place):
            with Memcached() as server, self.child(server.address) as child:
                for _ in range(3):
                    child.stdout.readline()
                    child.send_signal(signal.SIGSTOP)
                    time.sleep(self.timeout * 2 + 0.05 * place)
                    child.send_signal(signal.SIGCONT)
                output, _ = child.communicate(timeout=PATIENCE * 4)
                self.assertEqual(output.split()[-1], 'well', output)

        self.at_once(check, 2)

    @contextlib.contextmanager
    def child(self, address):
        script = CHILD.format(
            module=__name__, case=type(self).__name__, address=address,
            count=MANY)
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
        with subprocess.Popen(
                [sys.executable, '-c', script], stdout=subprocess.PIPE,
                text=True, env=environment) as child:
            try:
                yield child
            finally:
                child.kill()


# It reports that it is busy, is suspended then, and goes on for a while.
CHILD = '''
import time
from {module} import *
case = {case}('child')
case.setUp()
client = case.client('{address}')
with case.busy(client, {count}):
    for number in range(3):
        print('busy', flush=True)
        time.sleep(0.5)
        time.sleep(0.2)
case.assertUp(client)
print('well', flush=True)
'''


class PlainPauseTest(PauseTest):
    """The same on a stream that never keeps the lock, as with gevent."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch(
            'p01.memcache.transport.connection.can_keep_lock',
            lambda sock: False))


class Firewall(FaultProxy):
    """Forgets connections: packets on them are dropped, or rejected."""

    rejects = False
    _age = 0

    def forget(self):
        self._age += 1

    async def _requests(self, client, server, exchange):
        age = self._age
        while not exchange.cut and (
                data := await self._loop.sock_recv(client, 1 << 16)):
            if age == self._age:
                exchange.begin(None)
                await self._pass('request', data, exchange, server)
            elif self.rejects:
                exchange.cut = 'rst'


class ForgottenTest(Case):
    """Fault 39: all connections have died silently; a new one works."""

    timeout = 0.3
    idle = 12
    settings = types.MappingProxyType({'retries': 1, 'blacktime': 60})

    def setUp(self):
        super().setUp()
        self.server = self.enterContext(EmbeddedServer())
        self.wall = self.enterContext(Firewall(self.server.address))
        self.client_ = self.client(self.wall.address)

    def fill(self, count):
        """Make that many connections, and store that many values."""
        taken = threading.Barrier(count)
        real = socket.socket.connect

        def connect(sock, place):
            # Wait, so that no connection is re-used by another thread.
            real(sock, place)
            if place[1] == int(self.wall.address.split(':')[1]):
                taken.wait(PATIENCE)

        with mock.patch.object(socket.socket, 'connect', connect):
            self.assertNotIn(None, self.at_once(
                lambda number: self.client_.set(f'key {number}', number),
                count))
        self.assertEqual(self.wall.current, count)

    def test_packets_are_dropped(self):
        for count in 1, MANY:
            with self.subTest(threads=count):
                self.client_.close()
                until(lambda: not self.wall.current)
                self.fill(self.idle)
                self.wall.forget()

                def ask(number):
                    start = time.monotonic()
                    found = self.client_.query(f'key {number}')
                    return found, time.monotonic() - start

                first = self.at_once(ask, count)
                self.assertEqual([found for found, _ in first], [None] * count)
                # The dead connections are not tried one after the other.
                for number in range(count):
                    self.assertEqual(
                        self.client_.query(f'key {number}'), number)
                self.assertEqual(self.at_once(
                    lambda number: self.client_.query(f'key {number}'), count),
                    list(range(count)))
                self.assertUp(self.client_)
                until(lambda: self.wall.current <= MANY)

    def test_packets_are_rejected(self):
        self.wall.rejects = True
        for use, expected in (
                (lambda: self.client_.query('key 0'), 0),
                (lambda: self.client_.queryMany(['key 0']), {'key 0': 0}),
                (lambda: self.client_.gets('key 0')[0], 0),
                (lambda: self.client_.queryAndTouch('key 0'), 0),
                (lambda: self.client_.touch('key 0'), True),
                (lambda: self.client_.getOrCreate('key 0', int), 0),
                (lambda: 'error' in self.client_.getStatistics()[0][1],
                 False),
                (lambda: self.client_.invalidateMany(['key 1']), []),
                (lambda: self.client_.invalidate('key 0'), True),
                (lambda: self.client_.invalidateAll(), None)):
            self.assertIsNotNone(self.client_.set('key 0', 0))
            self.wall.forget()
            self.assertEqual(use(), expected)
        self.assertUp(self.client_)

    def test_packets_of_changes_are_rejected(self):
        # They may have been carried out, so they are not repeated.
        self.wall.rejects = True
        for use in (lambda: self.client_.set('key', 1),
                    lambda: self.client_.add('key', 1),
                    lambda: self.client_.increment('key', 1, 1)):
            self.assertIsNotNone(self.client_.set('key', b'1', raw=True))
            self.wall.forget()
            self.assertIsNone(use())
        self.assertUp(self.client_)


class ClassicForgottenTest(Classic, ForgottenTest):
    """Each thread has its own connection: here, the only one."""

    idle = 1

    def fill(self, count):
        self.assertIsNotNone(self.client_.set('key 0', 0))

    def test_packets_are_dropped(self):
        self.fill(1)
        self.wall.forget()
        self.assertIsNone(self.client_.query('key 0'))
        self.assertEqual(self.client_.query('key 0'), 0)
        self.assertUp(self.client_)

    def test_packets_of_changes_are_rejected(self):
        self.wall.rejects = True
        self.assertIsNotNone(self.client_.set('key', 1))
        self.wall.forget()
        self.assertIsNone(self.client_.set('key', 2))
        self.assertIsNotNone(self.client_.set('key', 3))
        self.assertUp(self.client_)


class NameTest(Case):
    """Fault 40: a host name with several addresses, and one that moves."""

    name = 'cache.example'

    def setUp(self):
        super().setUp()
        servers = [self.enterContext(EmbeddedServer()) for _ in range(2)]
        self.proxies = [self.enterContext(FaultProxy(server.address))
                        for server in servers]
        self.addresses = [proxy.address for proxy in self.proxies]
        self.directs = [self.client(server.address) for server in servers]
        self.hosts = list(self.addresses)
        real, turns = socket.getaddrinfo, itertools.count()

        def resolve(host, *args, flags=0, **kw):
            if host != self.name or flags & socket.AI_NUMERICHOST:
                return real(host, *args, flags=flags, **kw)
            # Rotate the addresses, as a name server does.
            turn = next(turns) % len(self.hosts)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, '',
                 (where.split(':')[0], int(where.split(':')[1])))
                for where in self.hosts[turn:] + self.hosts[:turn]]

        self.enterContext(mock.patch('socket.getaddrinfo', resolve))

    def test_all_threads_use_one_of_two_addresses(self):
        client = self.client(self.name)
        for _ in range(5):
            self.at_once(lambda number: client.set(f'key {number}', 'old'), 12)
            self.at_once(lambda number: client.invalidate(f'key {number}'), 12)
            self.assertEqual(self.at_once(
                lambda number: client.query(f'key {number}'), 12), [None] * 12)
        # Until that address fails.
        client.set('key 0', 'old')
        found = [direct.query('key 0') for direct in self.directs]
        self.assertCountEqual(found, ['old', None])
        place = found.index('old')
        self.proxies[place].refuse()
        self.proxies[place].cut()
        self.assertIsNone(client.query('key 0'))
        self.assertIsNotNone(client.set('key 0', 'new'))
        self.assertEqual(self.directs[1 - place].query('key 0'), 'new')
        # The first one is not asked again while the second one is well.
        self.proxies[place].accept()
        before = self.proxies[place].opened
        self.at_once(lambda number: client.set(f'key {number}', 'new'), 12)
        self.assertEqual(self.proxies[place].opened, before)

    def test_the_name_moves(self):
        client = self.aging(0.2)
        self.hosts[1:] = []
        for direct, value in zip(
                self.directs, ('former', 'latter'), strict=True):
            direct.set('key', value)
        self.assertEqual(client.query('key'), 'former')
        self.hosts[:] = self.addresses[1:]
        seen = []
        until(lambda: seen.append(client.query('key'))
                  or seen[-1] == 'latter')
        # The client was never idle, and does not go back; on a busy machine
        # an answer may come too late.
        answers = [value for value in seen if value is not None]
        self.assertEqual(answers, sorted(answers))
        self.assertEqual(
            set(self.at_once(lambda _: client.query('key'), MANY)), {'latter'})
        until(lambda: not self.proxies[0].current)

    def aging(self, seconds):
        return self.client(self.name, maxAge=seconds)

    def test_no_name_service(self):
        # The last known address stays in use.
        client = self.aging(0.05)
        self.assertIsNotNone(client.set('key', 'value'))
        for trouble in (socket.gaierror(socket.EAI_AGAIN, 'no service'),
                        OSError(errno.EMFILE, 'too many')):
            with mock.patch('socket.getaddrinfo', side_effect=trouble):
                time.sleep(0.06)
                self.assertEqual(client.query('key'), 'value')
        with mock.patch(
                '_thread.start_new_thread', side_effect=RuntimeError('none')):
            time.sleep(0.06)
            self.assertEqual(client.query('key'), 'value')

    def test_a_name_service_that_hangs(self):
        # The time-out is spent once per look-up, not by each operation.
        release = threading.Event()
        self.addCleanup(release.set)
        client, real = self.client(self.name), socket.getaddrinfo

        def hang(*args, flags=0, **kw):
            if not flags & socket.AI_NUMERICHOST:
                release.wait()
            return real(*args, flags=flags, **kw)

        with mock.patch('socket.getaddrinfo', hang):
            start = time.monotonic()
            for _ in range(50):
                self.assertIsNone(client.query('key'))
            self.assertLess(time.monotonic() - start, 2 * self.timeout + 1)
            self.assertLess(threading.active_count(), 20)
        release.set()
        until(lambda: client.set('key', 'value'))
        self.assertUp(client)


class ClassicNameTest(Classic, NameTest):

    def aging(self, seconds):
        self.enterContext(mock.patch.object(classic, '_MOST_AGE', seconds))
        return self.client(self.name)


class ConnectionTest(Case):
    """Keep-alive, and a maximum age."""

    def setUp(self):
        super().setUp()
        self.server = self.enterContext(EmbeddedServer())

    def sockets(self, client):
        return [item()._stream._socket
                for item in client._state.store.servers[0].pool._members]

    def test_keep_alive(self):
        client = self.client(self.server.address)
        client.query('key')
        [sock] = self.sockets(client)
        self.assertTrue(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        if hasattr(socket, 'TCP_KEEPIDLE'):
            self.assertLessEqual(sock.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 60)

    def test_maximum_age(self):
        client = self.aging(self.server.address, 0.1)
        client.query('key')
        [first] = self.sockets(client)
        client.query('key')
        self.assertEqual(self.sockets(client), [first])

        def is_another():
            client.query('key')
            return self.sockets(client) != [first]

        until(is_another)
        self.assertEqual(first.fileno(), -1)

    def aging(self, address, seconds):
        return self.client(address, maxAge=seconds)

    def test_an_address_that_refused_keeps_no_connection_alive(self):
        # As of a localhost that resolves to ::1 first. A dropped connection is
        # closed at once, not by the garbage collector.
        port = int(self.server.address.split(':')[1])
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, '', place)
                  for place in (('127.0.0.1', 1), ('127.0.0.1', port))]
        real = socket.getaddrinfo

        def resolve(host, *args, flags=0, **kw):
            if host != 'cache.example' or flags & socket.AI_NUMERICHOST:
                return real(host, *args, flags=flags, **kw)
            return places

        client = self.client('cache.example')
        with mock.patch('socket.getaddrinfo', resolve):
            client.query('key')
        pool = client._state.store.servers[0].pool
        gc.disable()
        self.addCleanup(gc.enable)
        dropped = pool.take(0)
        self.assertEqual(pool.statistics(), {'active': 1, 'idle': 0})
        del dropped
        self.assertEqual(pool.statistics(), {'active': 0, 'idle': 0})

    def test_few_servers_that_left_the_list_are_remembered(self):
        client = self.client('127.0.0.1:1', '127.0.0.1:2')
        client.servers = ['127.0.0.1:2', '127.0.0.1:3']
        self.assertEqual(
            {*client._state.store.cluster.identities},
            {('127.0.0.1', 2), ('127.0.0.1', 3)})
        for port in range(4, 24):
            client.servers = [f'127.0.0.1:{port}']
        self.assertEqual(len(client._state.store.formers), 8)


class ClassicConnectionTest(Classic, ConnectionTest):

    test_few_servers_that_left_the_list_are_remembered = None
    test_an_address_that_refused_keeps_no_connection_alive = None

    def sockets(self, client):
        return [host.connection._stream._socket
                for host in client._state.store.servers]

    def aging(self, address, seconds):
        self.enterContext(mock.patch.object(classic, '_MOST_AGE', seconds))
        return self.client(address)


@variant('Classic', Classic)
class NoComparisonTest(Case):
    """Fault 41: without compare-and-swap, there are no leases."""

    timeout = 2

    def setUp(self):
        super().setUp()
        self.prepare()
        self.server = self.start()
        self.client_ = self.client(self.server.address)

    def prepare(self):
        # Like memcached -C: all its unique numbers are 0.
        self.enterContext(mock.patch.object(
            embedded.Storage, 'next_unique', lambda storage: 0))

    def start(self):
        return self.enterContext(EmbeddedServer())

    def compute(self, key='key', **kw):
        return self.client_.getOrCreate(key, self.factory, **kw)

    def factory(self):
        self.calls += 1
        return f'value {self.calls}'

    def test_values_are_cached(self):
        self.calls = 0
        start = time.monotonic()
        with self.assertLogs('p01.memcache') as log:
            for _ in range(5):
                self.assertEqual(self.compute(), 'value 1')
            self.client_.invalidate('key')
            self.assertEqual(self.compute(), 'value 2')
            for number in range(5):
                self.compute(f'key {number}')
        self.assertLess(time.monotonic() - start, self.timeout)
        self.assertEqual(self.client_.query('key'), 'value 2')
        self.assertEqual(
            sum('grants no leases' in line for line in log.output), 1)

    def test_a_failed_factory_leaves_no_claim(self):
        with self.assertRaises(ZeroDivisionError):
            self.client_.getOrCreate('key', lambda: 1 / 0)
        self.assertIs(self.client_.add('key', 'value'), True)

    def test_one_of_many_threads_computes(self):
        self.calls = 0
        self.compute('another')  # now the client knows

        def slow():
            time.sleep(0.1)
            return self.factory()

        self.assertEqual(
            set(self.at_once(
                lambda _: self.client_.getOrCreate('key', slow), MANY)),
            {'value 2'})
        self.assertEqual(self.calls, 2)

    def test_dependencies(self):
        self.calls = 0
        for _ in range(2):
            self.assertEqual(self.compute(dependencies=['a']), 'value 1')
        self.client_.invalidateDependencies('a')
        for _ in range(2):
            self.assertEqual(self.compute(dependencies=['a']), 'value 2')

    def test_an_unreadable_value_is_replaced(self):
        self.calls = 0
        self.client_.set('key', b'no pickle', raw=True)
        self.assertEqual(self.compute(), 'value 1')
        self.assertEqual(self.compute(), 'value 1')

    def test_cas_is_refused_and_logged(self):
        self.client_.set('key', 'value')
        value, token = self.client_.gets('key')
        if token is not None:  # otherwise the server does not know gets
            self.assertEqual(value, 'value')
            with self.assertLogs('p01.memcache') as log:
                self.assertIsNone(self.client_.cas('key', 'new', token))
            self.assertIn('has no compare-and-swap', log.output[0])
        self.assertEqual(self.client_.query('key'), 'value')


@variant('Classic', Classic)
class NoComparisonGraceTest(NoComparisonTest):

    def test_grace(self):
        self.calls, ahead = 0, 0
        self.enterContext(mock.patch.object(
            embedded.clock, 'now', lambda: time.monotonic() + ahead))
        for _ in range(2):
            self.assertEqual(self.compute(lifetime=60, grace=60), 'value 1')
        ahead = 90
        self.assertEqual(self.compute(lifetime=60, grace=60), 'value 2')
        self.assertEqual(self.compute(lifetime=60, grace=60), 'value 2')


@variant('Classic', Classic)
class RealNoComparisonTest(NoComparisonTest):

    level = 2

    def prepare(self):
        """No-op: the real server needs no preparation."""

    def start(self):
        return self.enterContext(Memcached('-C'))


@variant('Classic', Classic)
class NoGetsTest(NoComparisonTest):
    """A server that knows neither ``gets`` nor the meta commands."""

    def prepare(self):
        commands = self.enterContext(mock.patch.dict(embedded.COMMANDS))
        for name in b'gets', b'mn', b'mg', b'ms', b'md', b'ma':
            del commands[name]


@variant('Classic', Classic, retry=60)
class OwnTroubleTest(Case):
    """Fault 42: a shortage in this process is no fault of the server."""

    settings = types.MappingProxyType(
        {'retries': 1, 'delay': 60, 'blacktime': 60})
    retry = 60

    def setUp(self):
        super().setUp()
        self.server = self.enterContext(EmbeddedServer())
        self.direct = self.client(self.server.address)
        self.direct.set('key', 'value')

    def check(self, trouble, address=None, threads=MANY):
        client = self.client(address or self.server.address)
        with trouble:
            for _ in range(3):
                self.assertIsNone(client.query('key'))
            self.assertIsNone(client.set('another', 1))
            self.assertEqual(client.queryMany(['key']), {})
            if threads:
                self.assertEqual(self.at_once(
                    lambda _: client.query('key'), threads), [None] * threads)
        # It works again at once.
        self.assertEqual(client.query('key'), 'value')
        self.assertUp(client)

    def test_out_of_descriptors(self):
        real = socket.socket
        for number in (
                errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            def refuse(*kind, number=number):
                if kind[:1] == (socket.AF_INET,):
                    raise OSError(number, os.strerror(number))
                return real(*kind)

            with self.subTest(number):
                self.check(mock.patch('socket.socket', refuse))

    def test_out_of_ports(self):
        self.check(mock.patch.object(
            socket.socket, 'connect',
            side_effect=OSError(errno.EADDRNOTAVAIL, 'no port')))

    def test_out_of_memory(self):
        with contextlib.ExitStack() as trouble:
            for stream in Stream, LockKeepingStream:
                trouble.enter_context(mock.patch.object(
                    stream, 'receive', side_effect=MemoryError))
            self.check(trouble)

    def test_no_name_service(self):
        address = 'localhost:' + self.server.address.split(':')[1]
        for error in (socket.gaierror(socket.EAI_AGAIN, 'try again'),
                      MemoryError(), OSError(errno.EMFILE, 'too many')):
            with self.subTest(error):
                self.check(mock.patch(
                    'socket.getaddrinfo', side_effect=error), address)
        self.check(mock.patch(
            '_thread.start_new_thread', side_effect=RuntimeError(
                "can't start new thread")), address, threads=0)


@variant('Classic', Classic, hits='3')
class LeaseTest(Case):
    """Fault 46: memcached restarts while a factory computes."""

    timeout = 2

    def setUp(self):
        super().setUp()
        self.server = self.start()
        self.client_ = self.client(self.server.address)

    def start(self):
        return self.enterContext(EmbeddedServer())

    def restart(self):
        self.server.stop()
        self.server.start()

    def test_a_value_set_meanwhile_is_not_replaced(self):
        def factory():
            self.restart()
            # Its unique number is that of the former claim.
            until(lambda: self.client_.set('key', 'newer'))
            return 'computed'

        self.assertEqual(
            self.client_.getOrCreate('key', factory), 'computed')
        self.assertEqual(self.client_.query('key'), 'newer')

    def test_a_value_set_meanwhile_is_not_removed(self):
        def factory():
            self.restart()
            until(lambda: self.client_.set('key', 'newer'))
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            self.client_.getOrCreate('key', factory)
        self.assertEqual(self.client_.query('key'), 'newer')

    def test_new_connections_to_the_same_server(self):
        def factory():
            self.client_.close()
            self.client_.query('another')
            return 'computed'

        for key in range(3):
            self.assertEqual(
                self.client_.getOrCreate(key, factory), 'computed')
            self.assertEqual(self.client_.query(key), 'computed')

    def test_the_right_is_given_back_on_new_connections(self):
        def factory():
            self.client_.close()
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            self.client_.getOrCreate('key', factory)
        self.assertIs(self.client_.add('key', 'value'), True)

    def test_misses_are_counted(self):
        # Each miss counts once in memcached's own hit rate.
        for _ in range(3):
            self.client_.getOrCreate('key', str)
        [(_, statistics)] = self.client_.getStatistics()
        self.assertEqual(statistics['get_misses'], '1')
        self.assertEqual(statistics['get_hits'], self.hits)

    hits = '2'


@variant('Classic', Classic, hits='3')
class RealLeaseTest(LeaseTest):

    level = 2

    def start(self):
        return self.enterContext(Memcached())
