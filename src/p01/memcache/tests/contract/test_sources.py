# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A client on each kind of source, while what it lists comes and goes."""

import socket
import ssl
import unittest
from unittest import mock

from zope.component.eventtesting import getEvents
from zope.component.eventtesting import setUp as setUpEvents
from zope.component.testing import tearDown as tearDownEvents

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IServersChangedEvent
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.nameserver import NameServer
from p01.memcache.tests.support.tls import TLSServer
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


KEYS = range(200)

# Addresses of this machine: all of 127.0.0.0/8 on Linux.
HOSTS = '127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'


def can_listen(host):
    try:
        socket.create_server((host, 0)).close()
    except OSError:
        return False
    return True


@unittest.skipUnless(all(map(can_listen, HOSTS)), 'no such addresses')
class Moving:
    """The servers have names, and one port, each at an address of its own.

    Another base class has ``source``, which is what a client has as its
    server, and ``publish(machines)``, which lists servers: a dict of names
    and addresses.
    """

    def setUp(self):
        setUpEvents()
        self.addCleanup(tearDownEvents)
        self.enterContext(self.assertNoLogs('asyncio', 'ERROR'))
        self.machines = {}
        self.port = 0
        for host in HOSTS:
            server = self.machines[host] = self.enterContext(
                EmbeddedServer(host, self.port))
            self.port = server.port
        one, two, *_ = HOSTS
        self.listed = {'a': one, 'b': two}
        self.prepare()
        self.publish(self.listed)
        self.client = self.connect()

    def prepare(self):
        """Set up what lists the servers."""

    def connect(self, **options):
        client = UltraMemcacheClient(
            [self.source], **{'refresh': 0.1, 'handover': 0, **options})
        self.addCleanup(client.close)
        return client

    def change(self, **listed):
        """List other servers; return when the client uses them."""
        before = len(getEvents(IServersChangedEvent))
        self.listed = listed
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            self.publish(listed)
            until(lambda: self.client.set('wait', 0) and len(
                getEvents(IServersChangedEvent)) > before)
            until(lambda: any('went' in line for line in logs.output))

    def fill(self):
        for key in KEYS:
            self.assertTrue(self.client.set(key, key))

    def found(self, client=None):
        values = {key: (client or self.client).query(key) for key in KEYS}
        self.assertLessEqual(
            {(key, value) for key, value in values.items()
             if value is not None}, {(key, key) for key in KEYS})
        return {key for key in KEYS if values[key] is not None}

    def on(self, host):
        """Return the keys that a machine has."""
        client = UltraMemcacheClient([f'{host}:{self.port}'])
        self.addCleanup(client.close)
        return self.found(client)

    def test_all_processes_agree(self):
        self.fill()
        self.assertEqual(self.found(self.connect()), {*KEYS})
        one, two, *_ = HOSTS
        self.assertEqual(self.on(one) | self.on(two), {*KEYS})
        self.assertFalse(self.on(one) & self.on(two))

    def test_one_comes_and_goes(self):
        self.fill()
        one, two, three, _ = HOSTS
        before = self.listed
        self.change(**before, c=three)
        found = self.found()
        # A third of them has moved, give or take.
        self.assertGreater(len(found), len(KEYS) / 2)
        self.assertLess(len(found), len(KEYS))
        self.fill()
        self.assertEqual(self.found(), {*KEYS})
        self.assertEqual(self.on(three), {*KEYS} - found)
        self.change(**before)
        self.assertEqual(self.found(self.connect()), self.found())

    def test_no_list(self):
        self.fill()
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            self.publish({})
            until(lambda: self.client.query(0) == 0 and logs.output)
            for _ in range(20):
                self.assertEqual(self.found(), {*KEYS})
        [line] = logs.output
        self.assertIn(f'no list from {self.source}: ', line)
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            self.publish(self.listed)
            until(lambda: self.client.query(0) == 0 and logs.output)
        [line] = logs.output
        self.assertIn('lists them again', line)
        self.assertFalse(getEvents(IServersChangedEvent))


class EndpointTest(Moving, unittest.TestCase):

    def prepare(self):
        self.endpoint = self.enterContext(EmbeddedServer())
        self.source = f'config://{self.endpoint.address}'

    def publish(self, machines):
        self.endpoint.cluster[:] = [
            f'{name}|{host}|{self.port}' for name, host in machines.items()]

    def test_one_is_replaced(self):
        self.fill()
        one, two, three, _ = HOSTS
        kept = self.on(one)
        self.change(a=one, b=three)
        self.assertEqual(self.found(), kept)
        self.fill()
        # The new machine has the keys of the former one.
        self.assertEqual(self.on(three), {*KEYS} - kept)
        self.assertEqual(self.on(one), kept)
        [event] = getEvents(IServersChangedEvent)
        self.assertEqual(
            (event.came, event.went), ([f'b:{self.port}'],) * 2)


class AddressesTest(Moving, unittest.TestCase):

    def prepare(self):
        self.source = f'dns://cache.example:{self.port}'
        self.names = {}
        real = socket.getaddrinfo

        def resolve(host, *args, flags=0, **options):
            if host not in self.names or flags & socket.AI_NUMERICHOST:
                return real(host, *args, flags=flags, **options)
            if not self.names[host]:
                raise socket.gaierror(socket.EAI_NONAME, 'Name not known')
            return [answer for address in self.names[host]
                    for answer in real(address, *args, **options)]

        self.enterContext(mock.patch('socket.getaddrinfo', resolve))

    def publish(self, machines):
        self.names['cache.example'] = list(machines.values())


class RecordsTest(AddressesTest):

    def prepare(self):
        super().prepare()
        self.source = 'srv://_memcache._tcp.example.'
        self.server = self.enterContext(NameServer())
        self.enterContext(self.server.used())

    def publish(self, machines):
        for name, host in machines.items():
            self.names[f'{name}.'] = [host]
        self.server.records = {'_memcache._tcp.example.': [
            f'SRV 0 1 {self.port} {name}.' for name in machines]}

    def test_one_is_replaced(self):
        # The list stays the same; a name is resolved at each connect.
        self.fill()
        one, two, three, _ = HOSTS
        kept = self.on(one)
        self.publish({'a': one, 'b': three})
        self.machines[two].stop()
        self.assertEqual(self.found(), kept)
        self.fill()
        self.assertEqual(self.on(three), {*KEYS} - kept)
        self.assertFalse(getEvents(IServersChangedEvent))


class EncryptedTest(unittest.TestCase):
    """The servers at the addresses of a name have a certificate of it."""

    def test_addresses(self):
        files = self.enterContext(Certificates())
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(files.other_host_chain, files.other_host_key)
        server = self.enterContext(EmbeddedServer())
        encrypted = self.enterContext(TLSServer(server.address, served))
        port = encrypted.address.rpartition(':')[2]
        real = socket.getaddrinfo

        def resolve(host, *args, **options):
            return real('127.0.0.1' if host.endswith('.example.com') else host,
                        *args, **options)

        self.enterContext(mock.patch('socket.getaddrinfo', resolve))
        for name, works in ('cache.example.com', True), (
                'other.example.com', False):
            client = UltraMemcacheClient(
                [f'dns+tls://{name}:{port}'], caFile=files.ca, retries=1)
            self.addCleanup(client.close)
            if works:
                self.assertTrue(client.set('key', 'value'))
                self.assertEqual(client.query('key'), 'value')
            else:
                with self.assertLogs('p01.memcache', 'WARNING') as logs:
                    self.assertIsNone(client.query('key'))
                self.assertIn('CERTIFICATE_VERIFY_FAILED', logs.output[0])
