# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""TLS, authentication, secrets and unix sockets.

Level 1 runs on servers of our own, level 2 on memcached.
"""

import contextlib
import copy
import ctypes
import datetime
import functools
import itertools
import logging
import os
import pathlib
import pickle
import pty
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import trustme
import zope.component
from cryptography.hazmat.primitives import serialization
from zope.component import getUtility
from zope.configuration import xmlconfig
from zope.configuration.exceptions import ConfigurationError
from zope.event import subscribers
from zope.security.checker import ProxyFactory
from zope.security.interfaces import ForbiddenAttribute
from zope.security.interfaces import Unauthorized

from p01.memcache import embedded
from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import NotInvalidated
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.secret import Secret
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.certificates import share
from p01.memcache.tests.support.listener import HOST
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.tls import CHUNK
from p01.memcache.tests.support.tls import TLSServer
from p01.memcache.tests.support.values import parts
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.tests.support.zcml import PACKAGE
from p01.memcache.tests.support.zcml import SITE
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.tests.support.zcml import logIn
from p01.memcache.transport import connection
from p01.memcache.transport import dial
from p01.memcache.transport.tls import TLSStream
from p01.memcache.uclient import UltraMemcacheClient


SLACK = 1.0  # by how much a time-out may be exceeded on a busy machine
FOREVER = 3600
THREADS = 8
KEYS = 2 * THREADS
LARGE = bytes(range(250)) * 4000

SECRET = 'fJ7-secret-qR2'
LOGIN = {'username': 'shop', 'password': SECRET}
DENIED = b'CLIENT_ERROR authentication failure\r\n'

# Run by another interpreter, whose terminal the test reads.
ENCRYPTED = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from p01.memcache.uclient import UltraMemcacheClient
try:
    UltraMemcacheClient(
        ['tls://localhost'], certFile=sys.argv[1], keyFile=sys.argv[2])
except ValueError:
    print('refused')
"""


class FileLayer:
    """A layer with the files that the tests and memcached read."""

    @classmethod
    def setUp(cls):
        with contextlib.ExitStack() as stack:
            cls.files = stack.enter_context(Certificates())
            cls.folder = pathlib.Path(
                stack.enter_context(tempfile.TemporaryDirectory()))
            cls.folder.chmod(0o755)
            cls.make_files()
            cls.stack = stack.pop_all()

    @classmethod
    def tearDown(cls):
        cls.stack.close()

    @classmethod
    def make_files(cls):
        ca = trustme.CA()
        expired = ca.issue_cert(
            HOST, not_after=datetime.datetime(2020, 1, 1))
        [chain] = expired.cert_chain_pems
        cls.expired_ca = cls.write('expired_ca', ca.cert_pem.bytes())
        cls.expired = (
            cls.write('expired', chain.bytes()),
            cls.write('expired_key', expired.private_key_pem.bytes()))
        key = serialization.load_pem_private_key(
            expired.private_key_pem.bytes(), None)
        cls.encrypted = cls.write('encrypted', key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(b'passphrase')))
        cls.empty = cls.write('empty', b'')
        cls.garbage = cls.write('garbage', b'\xff\0 no file of ours\n' * 9)
        cls.missing = str(cls.folder / 'missing')
        cls.login = cls.write('login', f'shop:{SECRET}\n'.encode())

    @classmethod
    def write(cls, name, data):
        path = cls.folder / name
        path.write_bytes(data)
        share(path)
        return str(path)


def value(key):
    return f'value of {key}' * 20


class SecurityCase(unittest.TestCase):

    layer = FileLayer

    def setUp(self):
        keep_quiet(self)

    @property
    def files(self):
        return self.layer.files

    def client(self, server, **settings):
        settings = {'timeout': PATIENCE, 'delay': 0, **settings}
        client = UltraMemcacheClient([server], **settings)
        self.addCleanup(client.close)
        return client

    def tls_client(self, server, **settings):
        return self.client(
            server.tls_address, **{'caFile': self.files.ca, **settings})

    def at_once(self, function):
        with ThreadPoolExecutor(THREADS) as executor:
            return list(executor.map(function, range(THREADS)))

    def opened(self, client):
        [(_, numbers)] = client.getPools()
        return numbers['opened']

    def assertWorks(self, client):
        """Many threads use the client, and each gets right results."""
        def use(thread):
            for key in range(thread, KEYS, THREADS):
                self.assertEqual(
                    client.set(key, value(key)), client.buildKey(key))
                self.assertEqual(client.query(key), value(key))
            for key in range(thread, KEYS, 2 * THREADS):
                self.assertIs(client.invalidate(key), True)

        self.at_once(use)
        for key in range(KEYS):
            self.assertEqual(
                client.query(key),
                value(key) if key // THREADS % 2 else None)
        self.assertTrue(client.set('large', LARGE, raw=True))
        self.assertTrue(client.query('large', raw=True) == LARGE)

    def assertStores(self, client):
        self.assertEqual(client.set('key', 'value'), client.buildKey('key'))
        self.assertEqual(client.query('key'), 'value')

    def assertMiss(self, client, limit=PATIENCE):
        start = time.monotonic()
        self.assertEqual(client.query('key', default='none'), 'none')
        self.assertLess(time.monotonic() - start, limit)

    def assertGoesDown(self, client, reason, retries=1):
        """It misses, logs each change of state, and sends no more requests."""
        [address] = client.servers
        client.retries = retries
        limit = min(client.timeout + SLACK, PATIENCE)
        with self.assertLogs('p01.memcache') as log:
            for _ in range(retries + 2):
                self.assertMiss(client, limit)
        states = ['failing'] * (retries > 1) + ['down']
        lines = [record.getMessage() for record in log.records]
        self.assertEqual(len(lines), len(states), lines)
        for line, state in zip(lines, states, strict=True):
            self.assertRegex(
                line, f'^memcached {address} is {state}: {reason}')


class TLSCase(SecurityCase):
    """A TLS server, in front of an embedded one."""

    def setUp(self):
        super().setUp()
        self.memcached = self.enterContext(EmbeddedServer())

    def server(self, certificate=None, upstream=None, version=None,
               client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(
            certificate or (self.files.server_chain, self.files.server_key)))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return self.enterContext(
            TLSServer(upstream or self.memcached.address, context))


class TLSTest(TLSCase):

    versions = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

    def test_it_works(self):
        for version, name in zip(
                self.versions, ('TLSv1.2', 'TLSv1.3'), strict=True):
            with self.subTest(name):
                server = self.server(version=version)
                self.assertWorks(self.tls_client(server, maxPoolSize=4))
                self.assertLessEqual(server.opened, 4)
                self.assertEqual(server.versions, {name})

    def test_the_name_of_a_host(self):
        server = self.server()
        port = server.address.rpartition(':')[2]
        self.assertStores(self.client(
            f'tls://localhost:{port}', caFile=self.files.ca))

    def test_other_spellings_of_a_host(self):
        names = []
        server = self.server(
            (self.files.other_host_chain, self.files.other_host_key))
        server.context.sni_callback = (
            lambda encrypted, name, context: names.append(name))
        port = server.address.rpartition(':')[2]
        place = socket.getaddrinfo(HOST, port, type=socket.SOCK_STREAM)

        def resolve(host, port, **options):
            if options.get('flags') == socket.AI_NUMERICHOST:
                raise socket.gaierror
            asked.append(host)
            return place

        for host in 'cache.example.com', 'cache.example.com.', (
                'Cache.Example.COM.'):
            asked = []
            with self.subTest(host), mock.patch(
                    'socket.getaddrinfo', resolve):
                self.assertStores(self.client(
                    f'tls://{host}:{port}', caFile=self.files.ca))
            # The dot tells the resolver not to append other domains.
            self.assertEqual(asked, [host])
        self.assertEqual(names, 3 * ['cache.example.com'])
        self.assertStores(self.client(
            f'tls://127.1:{self.server().address.rpartition(":")[2]}',
            caFile=self.files.ca))

    def test_one_connection_is_used_again(self):
        for version in self.versions:
            with self.subTest(version):
                server = self.server(version=version)
                client = self.tls_client(server)
                for key in range(20):
                    self.assertTrue(client.set(key, key))
                    self.assertEqual(client.query(key), key)
                self.assertEqual(self.opened(client), 1)
                self.assertEqual(server.opened, 1)

    def test_large_statistics_and_a_flush(self):
        client = self.tls_client(self.server())
        client.set('key', 'value')
        [(_, statistics)] = client.getStatistics()
        self.assertEqual(statistics['curr_items'], '1')
        client.invalidateAll()
        self.assertIsNone(client.query('key'))

    def test_password(self):
        server = self.enterContext(
            ScriptedServer(b'STORED\r\n', default=b'END\r\n'))
        client = self.tls_client(
            self.server(upstream=server.address), **LOGIN)
        self.assertMiss(client)
        self.assertEqual(server.requests, [
            b'set p01.memcache 0 -1 %d\r\nshop %b\r\n' % (
                len(SECRET) + 5, SECRET.encode()),
            b'get %b\r\n' % client.buildKey('key').encode()])

    def test_closed_while_idle(self):
        for version in self.versions:
            server = self.server(version=version)
            client = self.tls_client(server, retries=1)
            for opened, how in enumerate(('fin', 'rst', 'fin'), 1):
                with self.subTest(version, how=how):
                    self.assertTrue(client.set('key', how))
                    self.assertEqual(self.opened(client), opened)
                    server.cut(how)
                    self.assertTrue(
                        server.wait(lambda server=server: not server.current))
                    with self.assertNoLogs('p01.memcache'):
                        self.assertEqual(client.query('key'), how)

    def test_a_surplus_reply(self):
        proxy = self.enterContext(FaultProxy(self.memcached.address))
        client = self.tls_client(self.server(upstream=proxy.address))
        for key in range(5):
            client.set(key, key)
        proxy.once(*5 * [TWICE])
        for key in range(5):
            self.assertEqual(client.query(key), key)

    def test_other_servers_are_not_encrypted(self):
        server = self.server()
        client = UltraMemcacheClient(
            [server.tls_address, self.memcached.address],
            timeout=PATIENCE, caFile=self.files.ca)
        self.addCleanup(client.close)
        for key in range(50):
            self.assertTrue(client.set(key, key))
        self.assertEqual(
            [numbers['opened'] for _, numbers in client.getPools()], [1, 1])


def pour(sock, data):
    """Send the data again and again, until the peer stops receiving."""
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(data)


class TLSStreamTest(TLSCase):

    def setUp(self):
        super().setUp()
        self.tls_server = self.server(version=ssl.TLSVersion.TLSv1_3)
        sock = socket.create_connection(
            self.tls_server.address.split(':'), PATIENCE)
        context = ssl.create_default_context(cafile=self.files.ca)
        self.stream = TLSStream(
            sock, context, HOST, soon())
        self.addCleanup(self.stream.close)

    def assertReadable(self):
        self.assertTrue(
            select.select([self.stream._socket], [], [], PATIENCE)[0])

    def test_session_tickets_are_no_reply(self):
        self.assertReadable()
        self.assertFalse(self.stream.has_input())
        self.stream.send(b'version\r\n')
        self.assertEqual(self.stream.receive(100),
                         f'VERSION {embedded.VERSION}\r\n'.encode())
        self.assertFalse(self.stream.has_input())

    def test_a_reply_after_tickets(self):
        self.stream.send(b'version\r\n')
        # The tickets come first, and alone may make the socket readable.
        while not self.stream.has_input():
            self.assertReadable()
            self.assertLess(time.monotonic(), self.stream.deadline)
        # Looking takes nothing away from it.
        self.assertTrue(self.stream.has_input())
        self.assertEqual(self.stream.receive(100),
                         f'VERSION {embedded.VERSION}\r\n'.encode())
        self.assertFalse(self.stream.has_input())

    def test_bytes_that_pour_in_are_not_all_received(self):
        # Whatever they are, and however fast they arrive.
        for data in bytes(1 << 20), b'\x17\x03\x03\x40\x00' * 200_000:
            here, there = socket.socketpair()
            received = []

            def receive(*args, receive=here.recv, received=received):
                received.append(receive(*args))
                return received[-1]

            pouring = threading.Thread(target=pour, args=(there, data))
            with mock.patch.object(self.stream, '_socket', mock.Mock(
                    wraps=here, recv=receive)), there, here:
                pouring.start()
                self.addCleanup(pouring.join)
                self.assertTrue(select.select([here], [], [], PATIENCE)[0])
                began = time.monotonic()
                self.assertTrue(self.stream.has_input())
                self.assertLess(time.monotonic() - began, 1)
            self.assertLessEqual(sum(map(len, received)), 1 << 18)

    def test_the_end_of_the_stream(self):
        for how in 'fin', 'rst':
            with self.subTest(how):
                self.tls_server.cut(how)
                self.tls_server.wait(lambda: not self.tls_server.current)
                self.assertTrue(self.stream.has_input())


class RefusedServerTest(TLSCase):
    """Servers that are not what they should be."""

    def test_unknown_authority(self):
        for retries in 1, 3:
            server = self.server()
            self.assertGoesDown(
                self.tls_client(server, caFile=self.files.other_ca),
                r'no TLS connection: \[SSL: CERTIFICATE_VERIFY_FAILED\]'
                ' .*unable to get local issuer certificate', retries)
            self.assertEqual(server.opened, retries)

    def test_authorities_of_the_system(self):
        self.assertGoesDown(
            self.tls_client(self.server(), caFile=None),
            'no TLS connection: .*unable to get local issuer certificate')

    def test_wrong_host(self):
        server = self.server(
            (self.files.other_host_chain, self.files.other_host_key))
        self.assertGoesDown(
            self.tls_client(server),
            "no TLS connection: .*not valid for '127.0.0.1'")

    def test_expired(self):
        self.assertGoesDown(
            self.tls_client(
                self.server(self.layer.expired),
                caFile=self.layer.expired_ca),
            'no TLS connection: .*certificate has expired')

    def test_nothing_is_sent_to_a_server_that_is_not_trusted(self):
        server = self.enterContext(ScriptedServer())
        self.assertMiss(self.tls_client(
            self.server(upstream=server.address),
            caFile=self.files.other_ca, **LOGIN))
        self.assertEqual(server.requests, [])

    def test_a_server_without_tls(self):
        for server in (
                self.memcached,
                self.enterContext(ScriptedServer(raw=True))):
            self.assertGoesDown(
                self.client(
                    f'tls://{server.address}', caFile=self.files.ca,
                    timeout=0.2),
                '(no TLS connection: the server answers in plain text: ERROR'
                '|.*not accepted in time)')

    def test_no_tls_without_its_scheme(self):
        self.assertGoesDown(
            self.client(self.server().address),
            '(the server closed|cannot (send|receive)|unexpected|not a line)')

    def test_a_server_that_closes(self):
        server = self.enterContext(ScriptedServer(raw=True, default=None))
        self.assertGoesDown(
            self.client(f'tls://{server.address}', caFile=self.files.ca),
            'no TLS connection: ')


class ClientCertificateTest(TLSCase):

    versions = TLSTest.versions

    def test_a_certificate_is_given(self):
        both = self.layer.write('both', b''.join(
            pathlib.Path(path).read_bytes()
            for path in (self.files.client, self.files.client_key)))
        for version in self.versions:
            server = self.server(version=version, client_ca=self.files.ca)
            for files in (
                    {'certFile': self.files.client,
                     'keyFile': self.files.client_key},
                    {'certFile': both}):
                with self.subTest(version, files=files):
                    self.assertStores(self.tls_client(server, **files))

    def test_no_certificate_is_given(self):
        for version in self.versions:
            with self.subTest(version):
                self.assertGoesDown(
                    self.tls_client(self.server(
                        version=version, client_ca=self.files.ca)),
                    # If the reset was faster, no reason has arrived.
                    '(no TLS connection: |cannot receive: ).*(alert|ALERT)'
                    '|cannot (send|receive): .*(reset|[Pp]ipe)')

    def test_a_certificate_is_not_trusted(self):
        self.assertGoesDown(
            self.tls_client(
                self.server(
                    version=ssl.TLSVersion.TLSv1_2,
                    client_ca=self.files.other_ca),
                certFile=self.files.client, keyFile=self.files.client_key),
            'no TLS connection: .*(alert|ALERT)')

    def test_a_certificate_in_a_context(self):
        context = ssl.create_default_context(cafile=self.files.ca)
        context.load_cert_chain(self.files.client, self.files.client_key)
        server = self.server(client_ca=self.files.ca)
        client = self.tls_client(server, caFile=None, ssl_context=context)
        self.assertIs(client.ssl_context, context)
        self.assertStores(client)


class VerificationTest(TLSCase):
    """Verification cannot be switched off."""

    def context(self):
        return ssl.create_default_context(cafile=self.files.ca)

    def assertRefused(self, context):
        with self.assertRaisesRegex(
                ValueError, 'ssl_context: must verify certificates and the'):
            UltraMemcacheClient(['tls://localhost'], ssl_context=context)
        with self.assertRaisesRegex(ValueError, 'must verify'):
            UltraMemcacheClient(['tls://localhost']).ssl_context = context

    def test_contexts_that_do_not_verify(self):
        context = self.context()
        context.check_hostname = False
        self.assertRefused(context)
        for mode in ssl.CERT_OPTIONAL, ssl.CERT_NONE:
            context.verify_mode = mode
            self.assertRefused(context)
        self.assertRefused(ssl._create_unverified_context())
        with self.assertWarns(DeprecationWarning):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS)
        self.assertRefused(context)

    def test_a_server_without_a_certificate(self):
        # With these ciphers there is no certificate to verify.
        anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        anonymous.maximum_version = ssl.TLSVersion.TLSv1_2
        anonymous.set_ciphers('aNULL:@SECLEVEL=0')
        server = self.enterContext(
            TLSServer(self.memcached.address, anonymous))
        context = self.context()
        context.set_ciphers('ALL:@SECLEVEL=0')
        client = UltraMemcacheClient(
            ['tls://localhost:' + server.address.split(':')[1]],
            ssl_context=context, retries=1)
        self.addCleanup(client.close)
        with self.assertLogs('p01.memcache') as log:
            self.assertIsNone(client.query('key'))
        self.assertIn('the server shows no certificate', log.output[0])

    def test_a_context_for_servers(self):
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
                        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)):
            with self.assertRaisesRegex(ValueError, 'is one for servers'):
                UltraMemcacheClient(['tls://localhost'], ssl_context=context)

    def test_another_host_with_a_context(self):
        server = self.server(
            (self.files.other_host_chain, self.files.other_host_key))
        self.assertGoesDown(
            self.client(server.tls_address, ssl_context=self.context()),
            'no TLS connection: .*CERTIFICATE_VERIFY_FAILED')

    def test_a_common_name_is_not_enough(self):
        ca = trustme.CA()
        named = ca.issue_cert(common_name='localhost')
        [chain] = named.cert_chain_pems
        write = self.layer.write
        authority = write('named_ca', ca.cert_pem.bytes())
        server = self.server((
            write('named', chain.bytes()),
            write('named_key', named.private_key_pem.bytes())))
        address = server.tls_address.replace(HOST, 'localhost')
        context = ssl.create_default_context(cafile=authority)
        for settings in {'caFile': authority}, {'ssl_context': context}:
            with self.subTest(str(settings)):
                self.assertGoesDown(
                    self.client(address, **settings),
                    'no TLS connection: .*CERTIFICATE_VERIFY_FAILED')


class TimeoutCase(TLSCase):

    timeout = 0.1

    def ready(self, **settings):
        """Make a server, and a client that is connected to it."""
        server = self.server(**settings)
        client = self.tls_client(server)
        self.assertTrue(client.set('key', 'old'))
        return server, client

    def assertLate(self, client, reason, data=None):
        """An operation is a miss at the end of the time-out, not before."""
        timeout = client.timeout = self.timeout
        client.retries = 1
        start = time.monotonic()
        with self.assertLogs('p01.memcache') as log:
            if data is None:
                self.assertIsNone(client.query('key', raw=True))
            else:
                self.assertIsNone(client.set('key', data, raw=True))
        spent = time.monotonic() - start
        self.assertGreater(spent, timeout * 0.9)
        self.assertLess(spent, timeout + SLACK)
        self.assertIn(
            f'is down: {reason}', log.records[-1].getMessage())


class TimeoutTest(TimeoutCase):

    def test_a_handshake_that_stalls_or_drips(self):
        # The record that it announces never ends.
        drops = [(b'\x16\x03\x03\x3f\xff', 0)] + 2000 * [(b'\2', 0.01)]
        servers = [
            self.enterContext(ScriptedServer(answer, raw=True))
            for answer in (b'', drops)]

        def ask(server):
            client = self.client(f'tls://{server.address}', timeout=0.2)
            start = time.monotonic()
            [(_, statistics)] = client.getStatistics()
            return statistics, time.monotonic() - start

        with ThreadPoolExecutor(2) as executor:
            for statistics, spent in executor.map(ask, servers):
                self.assertEqual(
                    statistics, {'error': 'connection not accepted in time'})
                self.assertGreater(spent, 0.2 * 0.9)
                self.assertLess(spent, 0.2 + SLACK)
        for server in servers:
            self.assertEqual(len(server.requests), 1)

    def test_the_handshake_has_the_time_left_by_connecting(self):
        left = []

        class Slow(socket.socket):

            def connect(self, place):
                # This sleep is the time that is tested.
                time.sleep(0.02)
                super().connect(place)

        def shake_hands(sock, context, host, deadline):
            left.append(deadline - time.monotonic())
            raise TimeoutError

        with (mock.patch.object(dial.socket, 'socket', Slow),
              mock.patch.object(connection, 'TLSStream', shake_hands)):
            self.assertMiss(self.client(
                'tls://127.0.0.1:' + self.memcached.address.split(':')[1],
                timeout=PATIENCE))
        [left] = left
        self.assertLessEqual(left, PATIENCE - 0.02)

    def test_a_suspended_process(self):
        # Within the handshake; this is not the server's fault.
        client = self.tls_client(self.server(), retries=1, delay=60)
        shake_hands = TLSStream._shake_hands
        steps = itertools.count()

        def stand_still(stream):
            if next(steps) == 1:
                ctypes.PyDLL(None).usleep(int(2e6 * self.timeout))
            return shake_hands(stream)

        client.timeout = self.timeout
        with mock.patch.object(TLSStream, '_shake_hands', stand_still):
            self.assertMiss(client)
        client.timeout = PATIENCE
        self.assertStores(client)

    def test_a_server_that_stops_reading(self):
        server, client = self.ready()
        server.pause = FOREVER
        self.assertLate(client, '', LARGE[:900_000])


class SlowTest(TimeoutCase):

    level = 2
    timeout = 0.2

    def test_a_server_that_reads_slowly(self):
        # More than the kernel's buffers, but each piece is read in time.
        server, client = self.ready()
        server.pause = 0.01
        self.assertLate(client, 'request not taken in time', bytes(1 << 24))

    def test_a_reply_that_drips(self):
        proxy = self.enterContext(FaultProxy(self.memcached.address))
        _, client = self.ready(upstream=proxy.address)
        proxy.once(Fault(size=1, pause=0.05))
        self.assertLate(client, 'no reply in time')

    def test_a_late_reply_is_never_anothers(self):
        proxy = self.enterContext(FaultProxy(self.memcached.address))
        _, client = self.ready(upstream=proxy.address)
        client.set('other', 'other')
        # The reply must reach the proxy before the client gives up, even on a
        # busy machine. Then the client hangs up, and nothing is held.
        client.timeout = SLACK
        held = []
        proxy.once(Fault(
            then='stall', swap=lambda reply: held.append(reply) or reply))
        self.assertIsNone(client.query('key'))
        self.assertEqual(len(held), 1)
        client.timeout = PATIENCE
        proxy.release()
        self.assertEqual(client.query('other'), 'other')
        self.assertEqual(client.query('key'), 'old')


class ArgumentTest(SecurityCase):

    tls = 'tls://127.0.0.1:1'

    def wrong(self):
        """Yield wrong arguments, the error, and words in it."""
        files, layer = self.files, self.layer
        context = ssl.create_default_context()
        tls = {'servers': [self.tls]}
        yield {'caFile': files.ca}, ValueError, 'caFile', 'tls://'
        yield {'certFile': files.client}, ValueError, 'certFile', 'tls://'
        yield {'ssl_context': context}, ValueError, 'ssl_context', 'tls://'
        yield {'username': 'shop'}, ValueError, 'username', 'password'
        yield {'password': SECRET}, ValueError, 'password', 'username'
        yield ({'password': SECRET, 'credentialsFile': layer.login},
               ValueError, 'password', 'username')
        yield ({**LOGIN, 'credentialsFile': layer.login},
               ValueError, 'credentialsFile', 'username')
        yield ({'username': 'shop', 'credentialsFile': layer.login},
               ValueError, 'credentialsFile', 'username')
        yield ({**tls, 'keyFile': files.client_key},
               ValueError, 'keyFile', 'certFile')
        for name in 'caFile', 'certFile':
            yield ({**tls, 'ssl_context': context, name: files.client},
                   ValueError, 'ssl_context', 'files')
        for wrong in 'context', 5, ssl, object():
            yield ({**tls, 'ssl_context': wrong},
                   TypeError, 'ssl_context', 'must be an SSLContext')
        for name in 'caFile', 'certFile', 'keyFile', 'credentialsFile':
            given = dict(tls)
            if name == 'keyFile':
                given['certFile'] = files.client
            for path, word in (
                    (layer.missing, f"'{layer.folder}/***'"),
                    (layer.empty, repr(layer.empty)),
                    (layer.garbage, repr(layer.garbage)),
                    ('a\0b', 'embedded null'),
                    (str(layer.folder), repr(str(layer.folder)))):
                yield {**given, name: path}, ValueError, name, word
            for wrong in 5, b'file', pathlib.Path(files.ca), ['file'], False:
                yield {**given, name: wrong}, TypeError, name, 'must be str'
            yield ({**given, name: 'two\nlines'},
                   ValueError, name, 'Constraint')
        yield ({**tls, 'certFile': files.client}, ValueError, 'certFile',
               repr(files.client))
        yield ({**tls, 'certFile': files.client,
                'keyFile': files.server_key},
               ValueError, 'keyFile', repr(files.server_key), 'mismatch')
        yield ({**tls, 'certFile': layer.expired[0],
                'keyFile': layer.encrypted},
               ValueError, 'keyFile', repr(layer.encrypted))
        for username in '', 'a b', 'a\tb', 'a\x7f', 'a' * 128, 'a\ud800':
            yield ({'username': username, 'password': SECRET},
                   ValueError, 'username')
        yield ({'username': 'a\nb', 'password': SECRET},
               ValueError, 'username', 'Constraint')
        for password in wrong_passwords():
            yield ({'username': 'shop', 'password': password},
                   ValueError, 'password:')
        for wrong in 5, b'shop', ['shop'], True:
            yield ({'username': wrong, 'password': SECRET},
                   TypeError, 'username', 'must be str')
        for wrong in 5, SECRET.encode(), [SECRET], False:
            yield ({'username': 'shop', 'password': wrong},
                   TypeError, 'password: must be str')

    def test_constructor(self):
        for arguments, kind, *words in self.wrong():
            with self.subTest(str(arguments)):
                with self.assertRaises(kind) as caught:
                    UltraMemcacheClient(**arguments)
                for word in words:
                    self.assertIn(word, str(caught.exception))

    def test_attributes(self):
        """Assigning a wrong value changes nothing, not even a connection."""
        server = self.enterContext(EmbeddedServer())
        for name, wrong in (
                ('password', SECRET + ' '), ('password', 5),
                ('password', None), ('password', 'a\ud800'),
                ('username', 'a b'), ('username', b'shop'),
                ('username', 'a\ud800'), ('username', ''),
                ('credentialsFile', self.layer.login),
                ('credentialsFile', self.layer.missing),
                ('ssl_context', 'context'), ('caFile', 5),
                ('certFile', b'file'), ('keyFile', 'two\nlines'),
                ('servers', [self.tls, self.tls]),
                ('servers', [f'shop:{SECRET}@host'])):
            with self.subTest(name, wrong=wrong):
                client = self.client(server.address, **LOGIN)
                self.assertStores(client)
                before = client._state
                with self.assertRaises((ValueError, TypeError)) as caught:
                    setattr(client, name, wrong)
                self.assertIn(name.removesuffix('s'), str(caught.exception))
                self.assertNotIn(SECRET, str(caught.exception))
                self.assertIs(client._state, before)
                self.assertEqual(client.password.reveal(), SECRET)
                self.assertStores(client)
                self.assertEqual(self.opened(client), 1)

    def test_attributes_of_tls(self):
        client = self.client(self.tls, caFile=self.files.ca)
        cluster = client._state.store
        for name, wrong in (
                ('caFile', self.layer.missing), ('caFile', self.layer.empty),
                ('certFile', self.layer.garbage),
                ('ssl_context', ssl.create_default_context())):
            with self.subTest(name, wrong=wrong):
                with self.assertRaisesRegex(ValueError, name):
                    setattr(client, name, wrong)
                self.assertEqual(
                    (client.caFile, client.certFile, client.ssl_context),
                    (self.files.ca, None, None))
                self.assertIs(client._state.store, cluster)

    def test_a_valid_attribute(self):
        server = self.enterContext(
            ScriptedServer(b'STORED\r\n', default=b'END\r\n'))
        client = self.client(server.address, **LOGIN)
        client.password = 'another'
        self.assertMiss(client)
        self.assertIn(b'shop another\r\n', server.requests[0])

    def test_a_client_with_the_same_password(self):
        server = self.enterContext(
            ScriptedServer(b'STORED\r\n', default=b'END\r\n'))
        first = self.client(server.address, **LOGIN)
        second = self.client(
            server.address, username='shop', password=first.password)
        self.assertMiss(second)
        self.assertIn(f'shop {SECRET}\r\n'.encode(), server.requests[0])

    def test_valid_files(self):
        for number, line in enumerate((
                f'shop:{SECRET}', f'shop:{SECRET}\n', f'shop:{SECRET}\r\n',
                f'shop:{SECRET}\nother:one\n', f'shop:{SECRET}:x\n',
                'ß:pässwörd\n')):
            with self.subTest(line):
                path = self.layer.write(f'login {number}', line.encode())
                server = self.enterContext(
                    ScriptedServer(b'STORED\r\n', default=b'END\r\n'))
                self.assertMiss(
                    self.client(server.address, credentialsFile=path))
                expected = line.split()[0].replace(':', ' ', 1).encode()
                self.assertIn(b'\r\n%b\r\n' % expected, server.requests[0])

    def test_the_classic_client_has_none_of_them(self):
        for name in ('ssl_context', 'caFile', 'certFile', 'keyFile',
                     'username', 'password', 'credentialsFile'):
            with self.assertRaisesRegex(TypeError, name):
                MemcacheClient(**{name: None})
        with self.assertRaisesRegex(ValueError, 'no TLS'):
            MemcacheClient([self.tls])


def wrong_passwords():
    return ('', f'{SECRET} ', f' {SECRET}', f'{SECRET}\n', f'{SECRET}\t',
            f'{SECRET}\0', f'{SECRET}\x7f', SECRET * 20, f'{SECRET}\ud800')


class AuthenticationTest(SecurityCase):

    def server(self, *answers):
        return self.enterContext(
            ScriptedServer(*answers, default=b'END\r\n'))

    def test_once_for_each_connection(self):
        server = self.server(b'STORED\r\n')
        client = self.client(server.address, **LOGIN)
        for _ in range(3):
            self.assertMiss(client)
        self.assertEqual(
            [request.split()[0] for request in server.requests],
            [b'set', b'get', b'get', b'get'])

    def test_unix_socket(self):
        path = str(self.layer.folder / 'authentication')
        with EmbeddedServer() as server, socket.socket(
                socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(PATIENCE)
            client = self.client(f'unix:{path}', **LOGIN)

            def serve():
                sock = listener.accept()[0]
                with sock, socket.create_connection(
                        server.address.split(':'), PATIENCE) as upstream:
                    sock.settimeout(PATIENCE)
                    while request := sock.recv(CHUNK):
                        upstream.sendall(request)
                        sock.sendall(upstream.recv(CHUNK))

            with ThreadPoolExecutor(1) as executor:
                served = executor.submit(serve)
                self.assertTrue(client.set('key', 'value'))
                self.assertEqual(client.query('key'), 'value')
                self.assertEqual(self.opened(client), 1)
                client.close()
                served.result(PATIENCE)

    def test_refused(self):
        for answer, words in (
                (DENIED, 'CLIENT_ERROR authentication failure'),
                (b'ERROR\r\n', 'ERROR'),
                (b'SERVER_ERROR no\r\n', 'an unexpected reply')):
            with self.subTest(answer):
                server = self.server(answer, answer)
                self.assertGoesDown(
                    self.client(server.address, **LOGIN),
                    f'not authenticated: {words}$', retries=2)
                self.assertEqual(server.opened, 2)
                self.assertEqual(len(server.requests), 2)

    def test_no_request_before_it_is_accepted(self):
        for answer in DENIED, b'garbage\r\n', None:
            server = self.server(answer)
            self.assertMiss(self.client(server.address, **LOGIN))
            self.assertEqual(
                [request.split()[0] for request in server.requests],
                [b'set'])

    def test_it_is_part_of_the_operations_time(self):
        server = self.server(b'')
        client = self.client(server.address, timeout=0.05, **LOGIN)
        self.assertGoesDown(client, 'no reply in time')
        self.assertEqual(len(server.requests), 1)

    def test_delay(self):
        server = self.server(DENIED)
        client = self.client(
            server.address, retries=5, delay=FOREVER, **LOGIN)
        for _ in range(5):
            self.assertMiss(client)
        self.assertEqual(server.opened, 1)

    def test_the_server_accepts_it_again(self):
        server = self.server(DENIED, b'STORED\r\n')
        client = self.client(
            server.address, retries=1, blacktime=0, **LOGIN)
        with self.assertLogs('p01.memcache') as log:
            for _ in range(2):
                self.assertMiss(client)
        self.assertEqual(
            [record.getMessage().split(' is ')[1][:4]
             for record in log.records], ['down', 'up a'])


class SecretTest(SecurityCase):
    """The password is shown to the server, and nowhere else."""

    def clients(self, *servers):
        """Yield a client for each way of giving the password."""
        for login in LOGIN, {'credentialsFile': self.layer.login}:
            client = UltraMemcacheClient(
                list(servers), timeout=PATIENCE, debug=1, **login)
            self.addCleanup(client.close)
            yield client

    def assertHidden(self, text):
        self.assertNotIn(SECRET, text)

    def assertHiddenIn(self, error):
        """Neither a traceback nor the error itself shows it."""
        self.assertHidden(''.join(traceback.format_exception(error)))
        while error is not None:
            self.assertHidden(repr(error) + str(error))
            error = error.__cause__ or (
                None if error.__suppress_context__ else error.__context__)

    def test_parts_of_the_client(self):
        with EmbeddedServer() as server:
            for client in self.clients(server.address):
                self.assertTrue(client.set('key', 'value'))
                self.assertEqual(client.query('key'), 'value')
                shown = ''
                for part in parts(client):
                    shown += f'{part!r} {part} {getattr(part, "__dict__", "")}'
                # The search does reach the place where it is.
                self.assertIn('<secret>', shown)
                self.assertIn('<Credentials of shop>', shown)
                self.assertHidden(shown)

    def test_secret(self):
        secret = Secret(SECRET)
        self.assertEqual(
            {repr(secret), str(secret), f'{secret}', f'{secret!s:}',
             '%s' % secret},  # noqa: UP031
            {'<secret>'})
        self.assertEqual(secret.reveal(), SECRET)

    def test_attribute(self):
        for client in self.clients('127.0.0.1:1'):
            self.assertIn(repr(client.password), ('<secret>', 'None'))

    def test_copies(self):
        for client in self.clients('127.0.0.1:1'):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with self.assertRaises(TypeError):
                    pickle.dumps(client, protocol)
                with self.assertRaisesRegex(TypeError, 'must not be stored'):
                    pickle.dumps(Secret(SECRET), protocol)
            with self.assertRaises(TypeError):
                copy.deepcopy(client)
            self.assertHidden(repr(vars(copy.copy(client))))
        with self.assertRaises(TypeError):
            copy.copy(Secret(SECRET))

    def test_what_is_cached_holds_no_client(self):
        with EmbeddedServer() as server:
            for client in self.clients(server.address):
                with self.assertRaises(ValueError) as caught:
                    client.set('key', client)
                self.assertHiddenIn(caught.exception)
                with self.assertRaises(ValueError) as caught:
                    client.query(('key', client.password, client))
                self.assertHiddenIn(caught.exception)

    def test_log(self):
        told = []
        subscribers.append(told.append)
        self.addCleanup(subscribers.remove, told.append)
        formatter = logging.Formatter('%(message)s')
        # No server, servers of all kinds, and a silent one.
        addresses = {f'unix:{self.layer.missing}': PATIENCE}
        for answer in (
                DENIED, b'SERVER_ERROR no\r\n', b'ERROR\r\n',
                b'ERROR Too many open connections\r\n', b'garbage\r\n',
                b'\0\xff\r\n', b'x' * 5000, None, lambda asked: asked, b'',
                [(b'STORED\r\n', 0), (b'more\r\n', 0)]):
            server = self.enterContext(ScriptedServer(default=answer))
            addresses[server.address] = PATIENCE if answer != b'' else 0.01
        for address, timeout in addresses.items():
            for client in self.clients(address):
                client.timeout = timeout
                client.retries = 2
                with self.assertLogs('p01.memcache') as log:
                    client.set('key', 'value')
                    client.query('key')
                    client.invalidate('key')
                    with self.assertRaises(NotInvalidated) as caught:
                        client.invalidateAll()
                self.assertHiddenIn(caught.exception)
                self.assertHidden(repr(client.getStatistics()))
                text = '\n'.join(map(formatter.format, log.records))
                self.assertIn('Traceback', text)
                self.assertHidden(text)
        self.assertTrue(told)
        for event in told:
            self.assertHidden(f'{event!r} {vars(event)}')

    def test_errors_of_arguments(self):
        wrong = [
            {'username': 'shop', 'password': password}
            for password in (
                *wrong_passwords(), SECRET.encode(), [SECRET], {SECRET: 1})]
        wrong += [
            {'password': SECRET},
            {'username': 'a b', 'password': SECRET},
            {**LOGIN, 'credentialsFile': self.layer.login},
            {**LOGIN, 'caFile': self.files.ca},
            {**LOGIN, 'servers': []},
            {**LOGIN, 'retries': 0},
            {'servers': [f'shop:{SECRET}@host']},
            {'servers': [f'tls://shop:{SECRET}@host:1']}]
        for number, line in enumerate((
                f':{SECRET}', f'{SECRET}', f'{SECRET}:', f'shop: {SECRET}',
                f'shop:{SECRET} ', f'shop {SECRET}', f'shop:{SECRET}\x7f',
                f'{SECRET} shop:{SECRET}', f'shop:{SECRET * 20}',
                f'shop:{SECRET * 200}', f'\nshop:{SECRET}')):
            wrong.append({'credentialsFile': self.layer.write(
                f'wrong {number}', line.encode())})
        wrong.append({'credentialsFile': self.layer.write(
            'latin', f'shop:{SECRET}ä'.encode('latin-1'))})
        for arguments in wrong:
            with self.subTest(str(arguments)):
                with self.assertRaises((ValueError, TypeError)) as caught:
                    UltraMemcacheClient(**arguments)
                self.assertHiddenIn(caught.exception)

    def test_errors_of_attributes(self):
        for client in self.clients('127.0.0.1:1'):
            wrong = [
                ('password', [SECRET]), ('username', 'a b'),
                ('maxPoolSize', 0), ('servers', [])]
            if client.username:
                wrong += [('password', text) for text in wrong_passwords()]
            for name, value in wrong:
                with self.subTest(name, wrong=value):
                    with self.assertRaises((ValueError, TypeError)) as caught:
                        setattr(client, name, value)
                    self.assertHiddenIn(caught.exception)


class ZCMLTest(ZCMLTestCase):

    layer = FileLayer

    def assertRefused(self, attributes, *words):
        with self.assertRaises(ConfigurationError) as caught:
            load(f'<p01:memcache {attributes} />')
        text = ''.join(traceback.format_exception(caught.exception))
        self.assertNotIn(SECRET, text + repr(caught.exception))
        for word in words:
            self.assertIn(word, str(caught.exception))

    def load_file(self, *directives):
        """Load ZCML as a file in the same folder as the others."""
        path = self.layer.write(
            'site.zcml', (SITE % (PACKAGE + '\n'.join(directives))).encode())
        xmlconfig.file(path)

    def test_login(self):
        load(f'<p01:memcache username="shop" password="{SECRET}" />')
        client = getUtility(IMemcacheClient)
        self.assertEqual(client.username, 'shop')
        self.assertEqual(repr(client.password), '<secret>')
        self.assertEqual(client.password.reveal(), SECRET)

    def test_all(self):
        with ScriptedServer(b'STORED\r\n', default=b'END\r\n') as server:
            self.load_file(f'''<p01:memcache
                servers="{server.address} tls://localhost:1/?2"
                caFile="expired_ca" certFile="expired"
                keyFile="./expired_key" credentialsFile="../{
                    self.layer.folder.name}/login"
                failover="true" distribution="modulo" />''')
            client = getUtility(IMemcacheClient)
            folder = self.layer.folder
            self.assertEqual(
                (client.caFile, client.certFile, client.keyFile,
                 client.credentialsFile),
                tuple(str(folder / name) for name in (
                    'expired_ca', 'expired', 'expired_key', 'login')))
            self.assertIs(client.failover, True)
            self.assertEqual(client.distribution, 'modulo')
            client.servers = [server.address]
            self.assertIsNone(client.query('key'))
            client.close()
            self.assertIn(
                f'shop {SECRET}\r\n'.encode(), server.requests[0])

    def test_absolute_path(self):
        load(f'<p01:memcache servers="tls://a" failover="no" caFile="'
             f'{self.layer.files.ca}" />')
        client = getUtility(IMemcacheClient)
        self.assertEqual(client.caFile, self.layer.files.ca)
        self.assertIs(client.failover, False)

    def test_wrong(self):
        login = f'username="shop" password="{SECRET}"'
        for attributes, *words in (
                (f'username="a b" password="{SECRET}"', 'username'),
                (f'username="shop" password="{SECRET} x"', 'password'),
                (f'username="shop" password="{SECRET * 20}"', 'password'),
                (f'username="shop" password="{SECRET}&#10;x"', 'password'),
                (f'username="shop" password="{SECRET}&#127;"', 'password'),
                (f'password="{SECRET}"', 'password: needs a username'),
                ('username="shop"', 'username: needs a password'),
                (f'{login} credentialsFile="x"', 'credentialsFile'),
                (f'{login} caFile="x"', 'caFile', 'tls://'),
                (f'{login} failover="maybe"', 'failover', 'true or false'),
                (f'{login} distribution="random"', 'distribution',
                 'ketama, modulo, roundrobin'),
                (f'{login} ssl_context="x"', 'ssl_context'),
                (f'{login} nope="x"', 'nope'),
                (f'{login} servers="a:0"', 'servers', 'port'),
                (f'servers="shop:{SECRET}@a"', 'servers', 'must be host'),
                (f'servers="tls://a:1" caFile="{self.layer.missing}"',
                 'caFile', 'No such file'),
                (f'servers="tls://a:1" certFile="{self.layer.garbage}"',
                 'certFile'),
                ('servers="tls://a:1" keyFile="x"', 'keyFile', 'certFile'),
                (f'credentialsFile="{self.layer.missing}"',
                 'credentialsFile', 'No such file'),
                (f'credentialsFile="{self.layer.garbage}"',
                 'credentialsFile', 'UTF-8'),
                (f'{login} factory="p01.memcache.client.MemcacheClient"',
                 'factory'),
                (f'{login} factory="p01.memcache.tests.support.zcml.fail"',
                 'cannot be made')):
            with self.subTest(attributes):
                self.assertRefused(attributes, *words)

    def test_wrong_file(self):
        path = self.layer.write('wrong', f'shop:{SECRET} x'.encode())
        self.assertRefused(
            f'credentialsFile="{path}"', 'credentialsFile', 'user:password')

    def test_the_registry_does_not_show_it(self):
        for permission in '', 'permission="zope.View"':
            load(f'<p01:memcache username="shop" password="{SECRET}"'
                 f' {permission} />')
            for registration in (
                    zope.component.getGlobalSiteManager()
                    .registeredUtilities()):
                with self.subTest(permission):
                    self.assertNotIn(SECRET, repr(registration))

    def test_untrusted_code(self):
        load('<include package="zope.security" />'
             f'<p01:memcache username="shop" password="{SECRET}" />'
             f'<p01:memcache name="named" username="shop" password="{SECRET}"'
             ' permission="zope.View" />')
        for name in '', 'named':
            with self.subTest(name):
                client = ProxyFactory(getUtility(IMemcacheClient, name))
                logIn()
                with self.assertRaises(Unauthorized):
                    client.password  # noqa: B018
                logIn('zope.View')
                password = client.password
                self.assertNotIn(SECRET, f'{password!r} {password}')
                for attribute in 'reveal', '_text', '__reduce__':
                    with self.assertRaises(ForbiddenAttribute):
                        getattr(password, attribute)
                for attribute in '__dict__', '_state', '_make_store':
                    with self.assertRaises(ForbiddenAttribute):
                        getattr(client, attribute)
                with self.assertRaises((Unauthorized, ForbiddenAttribute)):
                    client.servers = ['elsewhere']


class MemcachedCase(SecurityCase):
    """A real server."""

    level = 2

    def memcached(self, *options, **where):
        return self.enterContext(Memcached(*options, **where))

    def version(self):
        """Return the version of the installed memcached."""
        printed = subprocess.check_output(
            (Memcached().find(), '-V'), text=True)
        return printed.removeprefix('memcached ').strip()

    def tls_options(self, *more, certificate=None):
        chain, key = certificate or (
            self.files.server_chain, self.files.server_key)
        return '-Z', '-o', ','.join(
            (f'ssl_chain_cert={chain}', f'ssl_key={key}', *more))

    def auth_options(self):
        return '-Y', self.layer.write(
            'auth', f'other:one\nshop:{SECRET}\n'.encode())

    def client(self, server, **settings):
        if not isinstance(server, str):
            encrypted = '-Z' in server.options
            if encrypted:
                settings = {'caFile': self.files.ca, **settings}
            server = 'tls://' * encrypted + server.address
        return super().client(server, **settings)

    def assertComesBack(self, server):
        """After a restart the server is empty, and works as before."""
        client = self.client(server, retries=1, blacktime=0)
        self.assertTrue(client.set('key', 'value'))
        server.stop()
        self.assertMiss(client)
        server.start()
        self.assertMiss(client)
        self.assertTrue(client.set('key', 'value'))
        self.assertEqual(client.query('key'), 'value')


class MemcachedTLSTest(MemcachedCase):

    def test_it_works(self):
        for minimum in 2, 3:
            server = self.memcached(
                *self.tls_options(f'ssl_min_version={minimum}'))
            client = self.client(server)
            self.assertWorks(client)
            [(_, statistics)] = client.getStatistics()
            self.assertEqual(statistics['version'], self.version())
            self.assertLessEqual(self.opened(client), THREADS)

    def test_tls_1_2(self):
        server = self.memcached(*self.tls_options())
        context = ssl.create_default_context(cafile=self.files.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertWorks(
            self.client(server, caFile=None, ssl_context=context))

    def test_one_connection_is_used_again(self):
        client = self.client(self.memcached(*self.tls_options()))
        for key in range(100):
            self.assertTrue(client.set(key, key))
            self.assertEqual(client.query(key), key)
        self.assertEqual(self.opened(client), 1)

    def test_client_certificate(self):
        server = self.memcached(*self.tls_options(
            'ssl_verify_mode=2', f'ssl_ca_cert={self.files.ca}'))
        self.assertWorks(self.client(
            server, certFile=self.files.client,
            keyFile=self.files.client_key))
        self.assertGoesDown(
            self.client(server),
            '(no TLS connection|cannot (send|receive)|the server closed)')

    def test_a_certificate_is_not_trusted(self):
        server = self.memcached(*self.tls_options())
        self.assertGoesDown(
            self.client(server, caFile=self.files.other_ca),
            'no TLS connection: .*unable to get local issuer', retries=2)
        wrong = self.memcached(*self.tls_options(certificate=(
            self.files.other_host_chain, self.files.other_host_key)))
        self.assertGoesDown(
            self.client(wrong), "no TLS connection: .*'127.0.0.1'")
        old = self.memcached(
            *self.tls_options(certificate=self.layer.expired))
        self.assertGoesDown(
            self.client(old, caFile=self.layer.expired_ca),
            'no TLS connection: .*expired')

    def test_one_side_only(self):
        plain = self.memcached()
        self.assertGoesDown(
            self.client(
                f'tls://{plain.address}', caFile=self.files.ca, timeout=0.5),
            '(no TLS connection|connection not accepted)')
        encrypted = self.memcached(*self.tls_options())
        self.assertGoesDown(
            self.client(encrypted.address, timeout=0.5),
            '(the server closed|(cannot .*)?Connection reset|no reply'
            '|not a line)')

    def test_restarted(self):
        self.assertComesBack(self.memcached(*self.tls_options()))

    def test_no_more_connections(self):
        """The server is busy, as without TLS, and not down."""
        for options in (), self.tls_options():
            with self.subTest(options), contextlib.ExitStack() as stack:
                server = self.memcached('-c', '20', '-t', '1', *options)
                first, second = (
                    self.client(server, retries=1) for _ in range(2))
                self.assertStores(first)
                for _ in range(20):
                    stack.enter_context(socket.create_connection(
                        (HOST, server.port), PATIENCE))
                with self.assertLogs('p01.memcache') as log:
                    self.assertMiss(second)
                self.assertNotIn('is down', log.records[0].getMessage())
                self.assertStores(first)

    def test_frozen(self):
        server = self.memcached(*self.tls_options())
        client = self.client(server, retries=99)
        for operation in (
                functools.partial(client.query, 'key'),
                functools.partial(client.set, 'key', LARGE, raw=True),
                functools.partial(client.invalidate, 'key')):
            client.timeout = PATIENCE
            client.set('key', 'value')
            server.freeze()
            client.timeout = 0.3
            # First on the idle connection, then in a handshake.
            for _ in range(2):
                start = time.monotonic()
                self.assertIsNone(operation())
                self.assertLess(time.monotonic() - start, 0.3 + SLACK)
            server.thaw()
            client.timeout = PATIENCE
            client.invalidateAll()
            self.assertTrue(client.set('key', 'again'))
            self.assertEqual(client.query('key'), 'again')


class MemcachedPasswordTest(MemcachedCase):

    def test_the_right_password(self):
        server = self.memcached(*self.auth_options())
        for login in LOGIN, {'credentialsFile': self.layer.login}:
            client = self.client(server, **login)
            self.assertWorks(client)
            client.invalidateAll()
            [(_, statistics)] = client.getStatistics()
            self.assertEqual(statistics['version'], self.version())

    def test_the_longest_password(self):
        login = {'username': 'u' * 127, 'password': 'p' * 127}
        path = self.layer.write(
            'long', f'{":".join(login.values())}\n'.encode())
        self.assertWorks(self.client(self.memcached('-Y', path), **login))

    def test_wrong(self):
        server = self.memcached(*self.auth_options())
        for login in (
                {**LOGIN, 'password': 'wrong'},
                {**LOGIN, 'password': SECRET + 'x'},
                {**LOGIN, 'password': SECRET[:-1]},
                {**LOGIN, 'username': 'nobody'}):
            client = self.client(server, **login)
            self.assertGoesDown(
                client,
                'not authenticated: CLIENT_ERROR'
                ' authentication failure$', retries=2)
            self.assertIsNone(client.set('key', 'value'))
            self.assertIsNone(client.invalidate('key'))

    def test_none(self):
        client = self.client(self.memcached(*self.auth_options()))
        with self.assertLogs('p01.memcache') as log:
            self.assertMiss(client)
            self.assertIsNone(client.invalidate('key'))
            self.assertIsNone(client.set('key', 'value'))
            self.assertIsNone(client.set('key', LARGE, raw=True))
        self.assertIn(
            'CLIENT_ERROR unauthenticated', log.records[0].getMessage())

    def test_encrypted(self):
        server = self.memcached(*self.tls_options(), *self.auth_options())
        self.assertWorks(self.client(server, **LOGIN))
        self.assertGoesDown(
            self.client(server, username='shop', password='wrong'),
            'not authenticated: CLIENT_ERROR')

    def test_a_server_that_does_not_ask(self):
        for options in (), self.tls_options():
            server = self.memcached(*options)
            client = self.client(server, **LOGIN)
            self.assertWorks(client)
            client.invalidateAll()
            self.assertStores(client)

    def test_such_a_server_does_not_store_it(self):
        server = self.memcached()
        self.assertMiss(self.client(server, **LOGIN))
        with (socket.create_connection(
                (HOST, server.port), PATIENCE) as sock,
              sock.makefile('rb') as replies):
            for command in (
                    b'get p01.memcache', b'gat 0 p01.memcache',
                    b'mg p01.memcache v'):
                sock.sendall(command + b'\r\n')
                self.assertIn(replies.readline(), (b'END\r\n', b'EN\r\n'))


class UnixSocketTest(MemcachedCase):

    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        # memcached creates the socket as the user nobody.
        os.chmod(folder, 0o777)
        self.path = os.path.join(folder, 'memcached')

    def test_both_clients(self):
        server = self.memcached(path=self.path)
        self.assertEqual(server.address, f'unix:{self.path}')
        pooled = self.client(server)
        classic = MemcacheClient([server.address])
        self.addCleanup(classic.close)
        self.assertWorks(pooled)
        classic.invalidateAll()
        self.assertWorks(classic)
        pooled.set('key', 'value')
        self.assertEqual(classic.query('key'), 'value')

    def test_password(self):
        server = self.memcached(*self.auth_options(), path=self.path)
        self.assertWorks(self.client(server, **LOGIN))
        self.assertGoesDown(
            self.client(server, username='shop', password='wrong'),
            'not authenticated: ')

    def test_absent(self):
        address = f'unix:{self.path}'
        self.assertGoesDown(
            self.client(address), 'cannot connect: .*No such file')
        classic = MemcacheClient([address])
        self.addCleanup(classic.close)
        self.assertMiss(classic)

    def test_restarted(self):
        self.assertComesBack(self.memcached(path=self.path))

    def test_frozen(self):
        server = self.memcached(path=self.path)
        client = self.client(server, retries=99)
        client.set('key', 'value')
        server.freeze()
        client.timeout = 0.3
        for _ in range(2):
            self.assertMiss(client, 0.3 + SLACK)
        server.thaw()
        client.timeout = PATIENCE
        self.assertEqual(client.query('key'), 'value')


class PassphraseTest(SecurityCase):

    level = 2

    def test_there_is_no_prompt(self):
        ours, theirs = pty.openpty()
        with (open(ours, 'rb', 0) as terminal,
              subprocess.Popen(
                  [sys.executable, '-c', ENCRYPTED, self.layer.expired[0],
                   self.layer.encrypted],
                  env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                  stdin=theirs, stdout=theirs, stderr=theirs,
                  start_new_session=True) as process):
            os.close(theirs)
            try:
                process.wait(PATIENCE * 2)
            except subprocess.TimeoutExpired:
                process.kill()
            self.assertEqual(terminal.read(1000), b'refused\r\n')
