# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""connectTimeout: to connect takes only a part of an operation's time."""

import contextlib
import socket
import threading
import time
from unittest import mock

from p01.memcache.cluster import server
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ConnectTimeout
from p01.memcache.tests.faults.case import SLACK
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import on_each_stream
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import hit
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.transport.connection import Connection


LIMIT = 0.1
LONG = 5  # a time-out that no operation here may need


class ConnectTimeoutCase(FaultCase):

    def impatient(self, address, **settings):
        return self.client(address, **{
            'timeout': LONG, 'connectTimeout': LIMIT, 'retries': 1,
            'delay': 60, 'blacktime': 60, **settings})

    def health(self, client):
        [one] = client._state.base.servers
        return one.health


class SilentServers:
    """The ways of a server not to let a connection come about."""

    def setUp(self):
        super().setUp()
        # A busy machine is not taken for a process that stood still.
        self.enterContext(mock.patch.object(server, '_STILL', LONG))

    def dropping(self):
        return self.enterContext(full_backlog()), {}

    def silent_tls(self):
        # The kernel accepts the connection.
        self.proxy.ignore()
        files = self.enterContext(Certificates())
        return f'tls://{self.proxy.address}', {'caFile': files.ca}

    def silent_login(self):
        mute = self.enterContext(ScriptedServer(default=[(b'', LONG)]))
        return mute.address, {'username': 'shop', 'password': 'secret'}

    ways = dropping, silent_tls, silent_login


@on_each_stream
class SilentServerTest(SilentServers, ConnectTimeoutCase):
    """Fault 10, and servers that are silent later on."""

    def test_it_costs_no_more_than_that(self):
        for way in self.ways:
            with self.subTest(way.__name__):
                address, settings = way(self)
                for use in ((lambda client: client.query('key')),
                            (lambda client: client.set('key', 1))):
                    clients = []

                    def fail(use=use, clients=clients, address=address,
                             settings=settings):
                        clients.append(self.impatient(address, **settings))
                        self.assertIsNone(self.timed(use, clients[-1]))

                    self.assertInTime(fail, LIMIT + SLACK)
                    # It counts as a failure to connect.
                    self.assertEqual(
                        self.health(clients[-1]).state, 'down')
                    self.assertGreater(self.health(clients[-1]).pause, 50)

    def test_it_is_a_connect_timeout(self):
        for way in self.ways:
            with self.subTest(way.__name__):
                address, settings = way(self)
                client = self.impatient(address, **settings)
                [one] = client._state.base.servers
                with self.assertRaisesRegex(ConnectTimeout, '0.1 seconds'):
                    one.lends(time.monotonic() + LONG)

    def test_the_delay_follows(self):
        for way in self.ways:
            with self.subTest(way.__name__):
                address, settings = way(self)
                client = self.impatient(address, retries=9, **settings)
                self.assertIsNone(client.query('key'))
                self.assertInTime(
                    lambda client=client: self.timed(client.query, 'key'),
                    0.02)
                self.assertEqual(self.health(client).failures, 1)

    def test_what_is_left_of_the_operation_may_be_less(self):
        for way in self.ways:
            with self.subTest(way.__name__):
                address, settings = way(self)

                def fail(address=address, settings=settings):
                    client = self.impatient(
                        address, timeout=LIMIT, connectTimeout=LONG,
                        **settings)
                    self.assertIsNone(self.timed(client.query, 'key'))

                self.assertInTime(fail, LIMIT + SLACK)

    def test_many_threads_see_one_failure(self):
        for way in self.ways:
            for count in 8, 64:
                with self.subTest(way.__name__, threads=count):
                    address, settings = way(self)
                    client = self.impatient(
                        address, retries=9, maxPoolSize=count, **settings)
                    self.assertEqual(
                        at_once(lambda _, client=client: client.query('key'),
                                range(count)), [None] * count)
                    self.assertEqual(self.health(client).failures, 1)


class SeveralServersTest(SilentServers, ConnectTimeoutCase):
    """Operations that ask all servers at the same time."""

    def test_one_of_three(self):
        silent, _ = self.dropping()
        others = [self.enterContext(EmbeddedServer()).address
                  for _ in range(2)]
        for use in (
                lambda client: client.queryMany(range(90)),
                lambda client: client.setMany(dict.fromkeys(range(90), 1)),
                lambda client: client.getStatistics()):
            with self.subTest():
                self.check(use, silent, others)

    def check(self, use, silent, others):
        def ask():
            client = self.client(
                silent, timeout=LONG, connectTimeout=LIMIT)
            client.servers = [silent, *others]
            self.timed(use, client)
            # The other servers have been given all the time they need.
            self.assertEqual(
                [one.health.state for one in client._state.base.servers],
                ['failing', 'up', 'up'])

        self.assertInTime(ask, LIMIT + SLACK)


class HealthyServerTest(ConnectTimeoutCase):

    def test_a_reply_may_take_longer(self):
        slow = self.enterContext(ScriptedServer(
            lambda request: [(b'', 3 * LIMIT), (hit(request.split()[1]), 0)]))
        client = self.impatient(slow.address)
        self.assertIsNotNone(client.query('key', raw=True))
        self.assertEqual(self.health(client).state, 'up')

    def test_a_login_in_time(self):
        slow = self.enterContext(ScriptedServer(
            [(b'', LIMIT / 4), (b'STORED\r\n', 0)], default=b'END\r\n'))
        client = self.impatient(
            slow.address, connectTimeout=PATIENCE, timeout=PATIENCE,
            username='shop', password='secret')
        self.assertEqual(client.query('key', default='none'), 'none')
        self.assertEqual(self.health(client).state, 'up')

    def test_assigned_at_run_time(self):
        client = self.impatient(self.server.address, connectTimeout=None)
        self.assertIsNone(client.connectTimeout)
        client.set('key', 'value')
        client.connectTimeout = LIMIT
        self.assertEqual(client.query('key'), 'value')
        client.servers = [self.enterContext(full_backlog())]
        start = time.monotonic()
        self.assertIsNone(client.query('key'))
        self.assertLess(time.monotonic() - start, LONG / 2)


class OwnTroubleTest(ConnectTimeoutCase):
    """Faults 38, 40 and 42: what is no fault of the server."""

    def test_this_process_stood_still(self):
        real, stood = Connection.connect, []

        def connect(connection, limit):
            if stood:
                return real(connection, limit)
            stood.append(limit)
            time.sleep(limit - time.monotonic() + 3 * SLACK)
            raise ConnectTimeout('connection not accepted in time')

        client = self.impatient(self.server.address)
        with mock.patch.object(Connection, 'connect', connect):
            self.assertIsNone(client.query('key'))
            self.assertEqual(self.health(client).state, 'up')
            # It is tried again at once.
            self.assertTrue(client.set('key', 'value'))

    @contextlib.contextmanager
    def hanging(self):
        """The name service does not answer until the context ends."""
        release, real = threading.Event(), socket.getaddrinfo

        def hang(*args, flags=0, **kw):
            if not flags & socket.AI_NUMERICHOST:
                release.wait()
            return real(*args, flags=flags, **kw)

        try:
            with mock.patch('socket.getaddrinfo', hang):
                yield
        finally:
            release.set()

    def test_a_name_service_that_hangs(self):
        address = f'localhost:{self.server.address.split(":")[1]}'
        clients = []

        def fail():
            clients.append(self.impatient(address))
            with self.hanging():
                for _ in range(3):
                    self.assertIsNone(self.timed(clients[-1].query, 'key'))

        self.assertInTime(fail, LIMIT + SLACK)
        self.assertInTime(fail, LIMIT + SLACK, of=sum)
        for client in clients:
            self.assertEqual(self.health(client).state, 'up')
            # The answer is used as soon as it is there.
            until(lambda client=client: client.set('key', 'value'))

    def test_the_last_known_address(self):
        address = f'localhost:{self.server.address.split(":")[1]}'
        client = self.impatient(
            address, connectTimeout=2 * LIMIT, maxAge=0.01)
        until(lambda: client.set('key', 'value'))
        time.sleep(0.02)
        with self.hanging():
            self.assertEqual(client.query('key'), 'value')
