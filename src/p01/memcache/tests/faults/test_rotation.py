# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Passwords, certificates and secrets that are replaced while 8 threads work.

Level 1 runs on servers of our own, level 2 on memcached.
"""

import logging
import os
import pathlib
import signal
import socket
import ssl
import tempfile
import time
import unittest
from unittest import mock

import trustme
from zope.event import subscribers

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.certificates import share
from p01.memcache.tests.support.guard import Guard
from p01.memcache.tests.support.layers import Incidents
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.load import Load
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.servers import ask
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.tls import TLSServer
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Incidents)

# As many as the encrypting server, a thread of this process, keeps up with.
THREADS = 3

OLD, NEW = 'aT3-old-password', 'bU4-new-password'


def login(password):
    return f'shop {password}'.encode()


class RotationCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)
        self.events = []
        subscribers.append(self.events.append)
        self.addCleanup(subscribers.remove, self.events.append)
        self.records = []
        handler = logging.Handler()
        handler.emit = self.records.append
        logger = logging.getLogger('p01.memcache')
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.INFO)

    @property
    def lines(self):
        return [record.getMessage() for record in self.records]

    def write(self, name, data):
        """Replace the file in one step, and return its path."""
        path, other = self.folder / name, self.folder / 'other'
        other.write_bytes(data if isinstance(data, bytes) else data.encode())
        share(other)
        os.replace(other, path)
        return str(path)

    def client(self, server, **settings):
        # So connections are opened all the time.
        client = UltraMemcacheClient([server], **{
            'timeout': PATIENCE, 'retries': 1, 'delay': 3600,
            'blacktime': 3600, 'maxAge': 0.02, **settings})
        self.addCleanup(client.close)
        return client

    def opened(self, client):
        [(_, numbers)] = client.getPools()
        return numbers['opened']

    def renew(self, client, load):
        """Wait until all connections are new ones."""
        opened = self.opened(client)
        until(lambda: self.opened(client) > opened + 2 * load.threads)
        load.go_on()

    def assertNoError(self, load, *files):
        """Nothing failed, and of the files the log says that they changed."""
        self.assertEqual(
            (load.failed[:3], load.wrong[:3], self.events), ([], [], []),
            self.lines)
        self.assertLess(load.longest, PATIENCE)
        self.assertEqual(
            [line.partition(" '")[0] for line in self.lines],
            [f'memcache {name}' for name in files], self.lines)
        for line in self.lines:
            self.assertRegex(line, "^memcache .*': read again$")
            self.assertNotIn(OLD, line)
            self.assertNotIn(NEW, line)


class PasswordTest(RotationCase):

    def setUp(self):
        super().setUp()
        self.start()
        self.file = self.write('login', f'shop:{OLD}\n')
        self.client = self.client(self.address, credentialsFile=self.file)

    def start(self):
        upstream = self.enterContext(EmbeddedServer())
        self.server = self.enterContext(Guard(upstream.address, login(OLD)))
        self.address = self.server.address

    def knows(self, *passwords):
        """Let the server accept these from now on."""
        self.server.logins = set(map(login, passwords))

    def change(self):
        self.write('login', f'shop:{NEW}\n')

    def test_both_are_valid_for_a_while(self):
        with Load(self.client) as load:
            for step in (lambda: self.knows(OLD, NEW), self.change,
                         lambda: self.knows(NEW)):
                step()
                self.renew(self.client, load)
        self.assertNoError(load, 'credentialsFile')

    def test_hard_switch_after_the_file(self):
        with Load(self.client) as load:
            self.change()
            self.renew(self.client, load)
            self.knows(NEW)
            self.renew(self.client, load)
        self.assertNoError(load, 'credentialsFile')

    def test_hard_switch_with_the_file(self):
        with Load(self.client) as load:
            for password in 3 * [NEW, OLD]:
                self.write('login', f'shop:{password}\n')
                self.knows(password)
                self.renew(self.client, load)
        self.assertNoError(load, *6 * ['credentialsFile'])

    def test_hard_switch_before_the_file(self):
        """Misses until the file follows, and not a moment longer."""
        self.client.maxAge = 3600
        # On a busy machine the threads open another one at any time.
        self.client.maxPoolSize = 1
        with Load(self.client) as load:
            load.go_on()
            self.knows(NEW)
            # Open connections stay valid.
            load.go_on()
            self.assertNoError(load)
        self.client.close()
        for _ in range(5):
            self.assertIsNone(self.client.query('key'))
        self.assertEqual(len(self.events), 1)
        self.assertIn(
            'is down: not authenticated: CLIENT_ERROR authentication failure',
            self.lines[-1])
        self.change()
        self.assertTrue(self.client.set('key', 'value'))
        self.assertEqual(self.client.query('key'), 'value')
        self.assertEqual(len(self.events), 2)
        self.assertRegex(self.lines[-2], 'read again$')
        self.assertRegex(self.lines[-1], 'is up again')

    def test_a_link_is_swapped(self):
        for date, password in ('1', OLD), ('2', NEW):
            (self.folder / date).mkdir()
            self.write(f'{date}/mounted', f'shop:{password}\n')
        (self.folder / '..data').symlink_to('1')
        (self.folder / 'mounted').symlink_to('..data/mounted')
        self.client.credentialsFile = str(self.folder / 'mounted')
        with Load(self.client) as load:
            self.knows(OLD, NEW)
            (self.folder / 'tmp').symlink_to('2')
            os.replace(self.folder / 'tmp', self.folder / '..data')
            self.renew(self.client, load)
            self.knows(NEW)
            self.renew(self.client, load)
        self.assertNoError(load, 'credentialsFile')

    def test_a_file_that_is_deleted_and_written_bit_by_bit(self):
        path = pathlib.Path(self.file)
        with Load(self.client) as load:
            self.knows(OLD, NEW)
            path.unlink()
            self.renew(self.client, load)
            for text in 'shop', 'shop:', f'shop:{NEW}':
                path.write_text(text)
                path.chmod(0o640)
                self.renew(self.client, load)
        self.records[:] = [record for record in self.records if 'the former '
                           'remains in force' not in record.getMessage()]
        self.assertNoError(load, 'credentialsFile')

    def test_a_file_that_stays_wrong(self):
        path = pathlib.Path(self.file)
        with Load(self.client) as load:
            path.write_text(f'{OLD} {NEW}')
            until(lambda: self.lines)
            self.renew(self.client, load)
        self.assertEqual((load.failed, self.events), ([], []))
        [line] = self.lines
        self.assertIn('its first line must be user:password', line)
        self.assertIn('the former remains in force', line)
        self.assertNotIn(OLD, line)


class MemcachedPasswordTest(PasswordTest):

    level = 2

    def start(self):
        self.auth = self.write('auth', f'shop:{OLD}\n')
        self.server = self.enterContext(Memcached('-Y', self.auth))
        self.address = self.server.address

    def knows(self, *passwords):
        self.write('auth', ''.join(f'shop:{one}\n' for one in passwords))
        self.server.process.send_signal(signal.SIGHUP)
        # It reads the file within the next second.
        until(lambda: all(
            self.accepts(one) == (one in passwords) for one in (OLD, NEW)))

    def accepts(self, password):
        data = login(password)
        return ask(self.address, b'set a 0 0 %d\r\n%b\r\n' % (
            len(data), data), b'\r\n') == b'STORED\r\n'


class CertificateTest(RotationCase):

    def setUp(self):
        super().setUp()
        self.old, self.new = trustme.CA(), trustme.CA()
        self.start()
        self.authorities(self.old)
        self.certify(self.old)
        self.client = self.client(
            self.address, caFile=str(self.folder / 'ca'),
            certFile=str(self.folder / 'cert'),
            keyFile=str(self.folder / 'key'))

    def start(self):
        upstream = self.enterContext(EmbeddedServer())
        self.server = self.enterContext(TLSServer(
            upstream.address, self.context(self.old, self.old)))
        self.address = self.server.tls_address

    def context(self, shown, *trusted, version=None):
        """Return the context of a server that trusts some authorities."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shown.issue_cert('127.0.0.1').configure_cert(context)
        context.verify_mode = ssl.CERT_REQUIRED
        if version is not None:
            context.minimum_version = context.maximum_version = version
        for ca in trusted:
            ca.configure_trust(context)
        return context

    def authorities(self, *trusted):
        self.write('ca', b''.join(ca.cert_pem.bytes() for ca in trusted))

    def certify(self, ca, *, names=('cert', 'key')):
        made = ca.issue_cert('client@example.com')
        for name, blob in zip(('cert', 'key'), (
                made.cert_chain_pems[0], made.private_key_pem), strict=True):
            if name in names:
                self.write(name, blob.bytes())
        return made

    def test_a_new_authority(self):
        old, new = self.old, self.new
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            self.server.context = self.context(old, old, version=version)
            with self.subTest(version), Load(self.client, THREADS) as load:
                self.authorities(old, new)
                self.renew(self.client, load)
                # The server trusts both, and then shows the new one.
                self.server.context = self.context(
                    new, old, new, version=version)
                self.renew(self.client, load)
                self.certify(new)
                self.renew(self.client, load)
                self.server.context = self.context(new, new, version=version)
                self.authorities(new)
                self.renew(self.client, load)
            self.assertEqual(
                (load.failed, load.wrong, self.events), ([], [], []))
            self.assertEqual(
                [line.partition(" '")[0] for line in self.lines
                 if 'keyFile' not in line],
                ['memcache caFile', 'memcache caFile'])
            self.records.clear()
            old, new = new, old

    def test_a_pair_is_not_swapped_at_once(self):
        made = self.old.issue_cert('client@example.com')
        with Load(self.client, THREADS) as load:
            self.write('cert', made.cert_chain_pems[0].bytes())
            opened = self.opened(self.client)
            until(lambda: self.opened(self.client) > opened + 2)
            self.assertNoError(load)
            self.write('key', made.private_key_pem.bytes())
            self.renew(self.client, load)
        self.assertNoError(load, 'certFile')
        [line] = self.lines
        self.assertRegex(line, "certFile '.*', keyFile '.*': read again$")

    def test_a_pair_that_stays_wrong(self):
        with Load(self.client, THREADS) as load:
            self.certify(self.old, names=['cert'])
            until(lambda: self.lines)
            self.renew(self.client, load)
        self.assertEqual((load.failed, self.events), ([], []))
        [line] = self.lines
        self.assertRegex(line, '(?i)mismatch.*; the former remains in force$')

    def test_the_server_first(self):
        """Misses until the file follows, and not a moment longer."""
        self.server.context = self.context(self.new, self.old)
        for _ in range(5):
            self.assertIsNone(self.client.query('key'))
        self.assertEqual(len(self.events), 1)
        self.authorities(self.old, self.new)
        self.assertTrue(self.client.set('key', 'value'))
        self.assertEqual(len(self.events), 2)

    def test_an_authority_that_is_removed_is_not_trusted_any_more(self):
        self.assertTrue(self.client.set('key', 'value'))
        self.authorities(self.new)
        time.sleep(self.client.maxAge)
        for _ in range(3):
            self.assertIsNone(self.client.query('key'))
        self.assertIn('CERTIFICATE_VERIFY_FAILED', self.lines[-1])

    def test_refused_after_the_handshake(self):
        """With TLS 1.3 the server refuses our certificate a little later."""
        def switch(sock, name, context):
            """Within the handshake: the file changes, too."""
            if not switched:
                switched.append(1)
                self.certify(self.new)
                sock.context = self.server.context = self.context(
                    self.old, self.new, version=ssl.TLSVersion.TLSv1_3)

        self.client.maxAge = 3600
        for _ in range(10):
            switched = []
            self.certify(self.old)
            self.server.context = self.context(
                self.old, self.old, version=ssl.TLSVersion.TLSv1_3)
            self.assertTrue(self.client.set('key', 'value'))
            self.server.context.sni_callback = switch
            self.client.close()
            self.assertEqual(self.client.query('key'), 'value')
            self.assertEqual(switched, [1])
        self.assertEqual(self.events, [])
        self.assertEqual(
            [line for line in self.lines if 'read again' not in line], [])

    def test_a_given_context(self):
        """The application replaces what is in it."""
        context = ssl.create_default_context(cafile=self.folder / 'ca')
        context.load_cert_chain(self.folder / 'cert', self.folder / 'key')
        client = UltraMemcacheClient(
            [self.address], ssl_context=context, timeout=PATIENCE,
            maxAge=0.02)
        self.addCleanup(client.close)
        with Load(client, THREADS) as load:
            self.server.context = self.context(self.new, self.old, self.new)
            context.load_verify_locations(
                cadata=self.new.cert_pem.bytes().decode())
            self.certify(self.new)
            context.load_cert_chain(
                self.folder / 'cert', self.folder / 'key')
            self.renew(client, load)
            self.server.context = self.context(self.new, self.new)
            self.renew(client, load)
        self.assertEqual(load.wrong, [])


class MemcachedCertificateTest(RotationCase):

    level = 2

    def test_it_reads_its_certificates_again(self):
        old, new = trustme.CA(), trustme.CA()

        def show(ca):
            made = ca.issue_cert('127.0.0.1')
            self.write('chain', made.cert_chain_pems[0].bytes())
            return self.write('chain_key', made.private_key_pem.bytes())

        key = show(old)
        ca = self.write('ca', old.cert_pem.bytes())
        server = self.enterContext(Memcached(
            '-Z', '-o', f'ssl_chain_cert={self.folder / "chain"},'
            f'ssl_key={key}'))
        client = self.client(
            f'tls://{server.address}', caFile=ca)
        control = ssl.create_default_context(cadata=(
            old.cert_pem.bytes() + new.cert_pem.bytes()).decode())
        operator = UltraMemcacheClient(
            [f'tls://{server.address}'], ssl_context=control)
        self.addCleanup(operator.close)
        with Load(client) as load:
            self.write('ca', old.cert_pem.bytes() + new.cert_pem.bytes())
            self.renew(client, load)
            show(new)
            refresh(server.address, control)
            self.renew(client, load)
            self.write('ca', new.cert_pem.bytes())
            self.renew(client, load)
        self.assertNoError(load, 'caFile', 'caFile')


def refresh(address, context):
    """Let memcached read its certificates again."""
    host, port = address.split(':')
    with (socket.create_connection((host, int(port)), PATIENCE) as sock,
          context.wrap_socket(sock, server_hostname=host) as encrypted):
        encrypted.sendall(b'refresh_certs\r\n')
        assert encrypted.recv(100) == b'OK\r\n'


class SecretsTest(RotationCase):
    """Of signatures, in two processes: two clients, here."""

    secrets = [letter + 'cF5-signing-secret-of-the-shop' * 2
               for letter in 'abc']

    def setUp(self):
        super().setUp()
        self.server = self.enterContext(EmbeddedServer())

    def client(self, name, *secrets):
        path = self.write(name, '\n'.join(secrets))
        client = UltraMemcacheClient(
            [self.server.address], timeout=PATIENCE, secretsFile=path,
            serializer='signed-pickle')
        self.addCleanup(client.close)
        return client

    def test_step_by_step(self):
        """Each step at one client, and then at the other one."""
        old, new, _ = self.secrets
        first, second = self.client('first', old), self.client('second', old)
        with (mock.patch('p01.memcache.trust.secrets._LOOK', 0.05),
              Load(first, 2, 'first') as one,
              Load(second, 2, 'second') as other):
            for secrets in (old, new), (new, old), (new,):
                for name in 'first', 'second':
                    seen = len(self.lines)
                    self.write(name, '\n'.join(secrets))
                    # Noticed by reading and writing, without a restart.
                    until(lambda seen=seen: len(self.lines) > seen)
                    one.go_on()
                    other.go_on()
                    self.assertIsNotNone(first.query(other.key(0)))
                    self.assertIsNotNone(second.query(one.key(0)))
        for load in one, other:
            self.assertEqual((load.failed, load.wrong), ([], []))
        self.assertEqual(
            [line.rpartition(': ')[2] for line in self.lines],
            6 * ['read again'])
        self.assertEqual(first.getUnreadable(), {})

    def test_a_reader_looks_at_once(self):
        old, new, _ = self.secrets
        first, second = self.client('first', old), self.client('second', old)
        self.assertTrue(second.set('key', 'old'))
        self.assertEqual(first.query('key'), 'old')
        self.write('second', f'{new} {old}')
        self.write('first', f'{new} {old}')
        second._state.codec.signer.secrets.newer(None)
        self.assertTrue(second.set('key', 'new'))
        self.assertEqual(first.query('key'), 'new')

    def test_a_writer_notices(self):
        old, new, _ = self.secrets
        client = self.client('first', old)
        key = client.set('key', 'value')
        before = look(self.server.address, key)
        self.write('first', new)

        def is_signed_anew():
            client.set('key', 'value')
            return look(self.server.address, key) != before

        start = time.monotonic()
        until(is_signed_anew)
        self.assertLess(time.monotonic() - start, 1 + PATIENCE)

    def test_forged_values_do_not_make_it_read(self):
        old, new, _ = self.secrets
        client, forger = self.client('first', old), self.client('other', new)
        for _ in range(50):
            forger.set('key', 'forged')
            self.assertIsNone(client.query('key'))
        self.assertEqual(
            [line for line in self.lines if 'read again' in line], [])
        self.assertEqual(client.getUnreadable(), {'ForgedValue': 50})

    def test_a_file_that_is_wrong(self):
        old, _, _ = self.secrets
        client = self.client('first', old)
        client.set('key', 'value')
        for text in '', 'short', '#' * 40, None:
            if text is None:
                os.unlink(self.folder / 'first')
            else:
                self.write('first', text)
            client._state.codec.signer.secrets.newer(None)
            self.assertEqual(client.query('key'), 'value')
            self.assertTrue(client.set('key', 'value'))
        self.assertEqual(self.lines, [])
