# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Sources of servers: how they are written, asked, and not believed."""

import contextlib
import math
import os
import socket
import ssl
import sys
import threading
import unittest
from time import monotonic
from unittest import mock

import dns.rcode
import dns.resolver

from p01.memcache.client import MemcacheClient
from p01.memcache.discovery.find import find
from p01.memcache.discovery.source import Source
from p01.memcache.discovery.source import parse
from p01.memcache.discovery.source import parse_all
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.secret import Secret
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import getFakeBackend
from p01.memcache.testing import setUpFakeUltraMemcached
from p01.memcache.testing import tearDownFakeUltraMemcached
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.nameserver import NameServer
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.tls import TLSServer
from p01.memcache.transport.address import Address
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.trust import context as contexts
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.trust import Trust
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Get


# Seconds: more than an answer takes, and less than one that does not come.
ENOUGH, SOON = 10, 0.3


class SourceTest(unittest.TestCase):

    def test_sources(self):
        for text, expected in (
                ('config://a', ('config', 'a', 11211)),
                ('config://A.example.:5', ('config', 'A.example.', 5)),
                ('config://10.0.0.1:5', ('config', '10.0.0.1', 5)),
                ('config://[::1]:5', ('config', '::1', 5)),
                ('config+tls://a:5', ('config', 'a', 5, True)),
                ('srv://_memcache._tcp.a.example',
                 ('srv', '_memcache._tcp.a.example', 11211)),
                ('srv+tls://a.', ('srv', 'a.', 11211, True)),
                ('dns://a', ('dns', 'a', 11211)),
                ('dns://m\xfcnchen:1', ('dns', 'm\xfcnchen', 1)),
                ('dns+tls://cache.shop.svc.:65535',
                 ('dns', 'cache.shop.svc.', 65535, True))):
            with self.subTest(text):
                self.assertEqual(parse(text), Source(text, *expected))
                self.assertEqual(str(parse(text)), text)

    def test_addresses(self):
        for text in ('a', 'config:1', 'srv:2', 'dns', 'dns:3/?2', '[::1]:2',
                     'tls://config:3', 'unix:/dns:/a'):
            with self.subTest(text):
                self.assertIsInstance(parse(text), Address)

    def test_wrong_sources(self):
        rule = ('must be config://host:port, srv://_service._tcp.name or'
                ' dns://name:port, with +tls in front of :// for TLS, and no'
                ' weight')
        for text in ('dns://', 'dns:/a', 'dns:///a', 'dns://a/', 'dns://a/?2',
                     'dns://a:0', 'dns://a:65536', 'dns://a:b', 'dns://a b',
                     'dns://a..b', 'dns://' + 'l' * 64, 'dns://10.0.0.1',
                     'dns://127.1', 'dns://[::1]', 'dns://[fe80::1%eth0]',
                     'srv://10.0.0.1', 'srv://[::1]', 'srv://a:11211',
                     'config://', 'config://[::', 'config://tls://a',
                     'config://unix:/a', 'config+ssl://a', 'config+://a',
                     'config+tls+tls://a', 'config://a/?1', 'config://a\n',
                     'config://a,b', 'dns://dns://a', 'srv://a\x1b[2J',
                     'DNS://a', 'Config+TLS://a', 'tls+dns://a'):
            with self.subTest(text), self.assertRaises(ValueError) as caught:
                parse(text)
            self.assertEqual(
                str(caught.exception), f'server {text!r}: {rule}')

    def test_other_texts_are_no_addresses(self):
        for text in 'consul://a', 'DNS://a', 'tls+dns://a', 'dns//a':
            with (self.subTest(text),
                  self.assertRaisesRegex(ValueError, 'server .*: must be ')):
                parse(text)
        for text in None, 1, b'dns://a':
            with self.subTest(text), self.assertRaises(TypeError):
                parse(text)

    def test_an_error_shows_no_secrets(self):
        for text in 'config://user:passw0rd@a', 'srv+tls://passw0rd@a:1':
            with self.assertRaisesRegex(ValueError, '@a') as caught:
                parse(text)
            self.assertNotIn('passw0rd', str(caught.exception))

    def test_repeated(self):
        for first, second in (
                ('dns://a', 'dns://A.:11211'), ('dns://a', 'dns+tls://a'),
                ('config://127.0.0.1', 'config://[::ffff:127.0.0.1]'),
                ('srv://_a._tcp.b', 'srv://_A._tcp.b.'), ('b', 'tls://b')):
            with (self.subTest(second),
                  self.assertRaisesRegex(ValueError, 'named twice') as caught):
                parse_all([first, 'c', second])
            self.assertIn(repr(second), str(caught.exception))
        parse_all(['a', 'dns://a', 'config://a', 'srv://a', 'dns://a:1'])

    def test_without_dnspython(self):
        with mock.patch.dict(sys.modules, {'dns.resolver': None}):
            with self.assertRaises(ValueError) as caught:
                parse('srv://_memcache._tcp.a')
            parse('dns://a')
        self.assertEqual(
            str(caught.exception),
            "server 'srv://_memcache._tcp.a': needs dnspython, which the extra"
            ' "srv" installs')

    def test_the_classic_client_has_none(self):
        for text in 'dns://a', 'config+tls://a':
            with self.assertRaises(ValueError) as caught:
                MemcacheClient(['b', text])
            self.assertEqual(
                str(caught.exception),
                f'server {text!r}: python-memcached has no discovery')


class FakesTest(unittest.TestCase):
    """Nobody looks for the servers of fake clients."""

    def setUp(self):
        self.enterContext(mock.patch(
            'socket.getaddrinfo', side_effect=AssertionError))

    def test_a_fake_client(self):
        client = FakeUltraMemcacheClient(['dns://cache.example', 'b'])
        self.assertTrue(client.set('key', 'value'))
        self.assertEqual(client.query('key'), 'value')
        self.assertEqual(len(getFakeBackend(client).cache), 1)

    def test_clients_of_the_same_sources_share_a_server(self):
        setUpFakeUltraMemcached()
        self.addCleanup(tearDownFakeUltraMemcached)
        one, same, other = (UltraMemcacheClient([server]) for server in (
            'dns://a', 'dns://A.', 'dns://b'))
        self.assertTrue(one.set('key', 'value'))
        self.assertEqual(same.query('key'), 'value')
        self.assertIsNone(other.query('key'))
        backend = getFakeBackend(one)
        self.assertIs(getFakeBackend(same), backend)
        self.assertIn(one.buildKey('key'), backend.cache)
        self.assertIsNot(getFakeBackend(other), backend)


class FindCase(unittest.TestCase):

    def find(self, source, seconds=ENOUGH, context=None, account=None):
        if isinstance(source, str):
            source = parse(source)
        return find(source, monotonic() + seconds, context, account)

    def assertFails(self, kind, source, seconds=ENOUGH, **options):
        """Check that there is no list, in time; return what is said."""
        start = monotonic()
        with self.assertRaises(MemcacheError) as caught:
            self.find(source, seconds, **options)
        self.assertLess(monotonic() - start, seconds + 2)
        self.assertIs(type(caught.exception), kind, caught.exception)
        self.assertEqual(caught.exception.server, source)
        text = str(caught.exception)
        self.assertTrue(text.isprintable(), ascii(text))
        self.assertLess(len(text), 700)
        return text


def listed(data):
    """Return the reply that lists the servers in `data`."""
    return b'CONFIG cluster 0 %d\r\n%b\r\nEND\r\n' % (len(data), data)


AWS = listed(
    b'12\nshop.pc4ldq.0002.use1.cache.amazonaws.com|10.82.235.120|11211'
    b' shop.pc4ldq.0001.use1.cache.amazonaws.com|10.80.249.27|11212\n')
AWS_SERVERS = [
    Address(f'{host}:{port}', host, port, at=ip) for host, ip, port in (
        ('shop.pc4ldq.0001.use1.cache.amazonaws.com', '10.80.249.27', 11212),
        ('shop.pc4ldq.0002.use1.cache.amazonaws.com', '10.82.235.120', 11211))]


class EndpointTest(FindCase):

    def serve(self, *answers, **options):
        server = self.enterContext(ScriptedServer(*answers, **options))
        return server, f'config://{server.address}'

    def test_elasticache(self):
        server, source = self.serve(AWS)
        self.assertEqual(self.find(source), AWS_SERVERS)
        self.assertEqual(server.requests, [b'config get cluster\r\n'])
        self.assertTrue(server.wait(lambda: server.current == 0))

    def test_memorystore(self):
        _, source = self.serve(listed(
            b'1\n10.0.0.4|10.0.0.4|11211 10.0.0.3|10.0.0.3|11211\n'))
        self.assertEqual(self.find(source), [
            Address('10.0.0.3:11211', '10.0.0.3', 11211),
            Address('10.0.0.4:11211', '10.0.0.4', 11211)])

    def test_byte_by_byte(self):
        _, source = self.serve([
            (AWS[i:i + 1], 0.001) for i in range(len(AWS))])
        self.assertEqual(self.find(source), AWS_SERVERS)

    def test_data_behind_the_reply_is_left(self):
        _, source = self.serve(AWS + b'END\r\nCONFIG cluster 0 1\r\n')
        self.assertEqual(self.find(source), AWS_SERVERS)

    def test_forms(self):
        for data, expected in (
                (b'1\na||1', [('a', '')]),
                (b'1\r\na||1\r\n', [('a', '')]),
                (b'1\n  a||1  b||1  \n', [('a', ''), ('b', '')]),
                (b'1\n|10.0.0.1|1\n', [('10.0.0.1', '')]),
                (b'1\n|fd00::1|1\n', [('fd00::1', '')]),
                (b'1\nfd00::1|fd00::1|1\n', [('fd00::1', '')]),
                (b'1\na|fd00::1|1\n', [('a', 'fd00::1')]),
                (b'18446744073709551615\na|10.0.0.1|00001\n',
                 [('a', '10.0.0.1')])):
            with self.subTest(data):
                _, source = self.serve(listed(data))
                found = self.find(source)
                self.assertEqual(
                    [(one.host, one.at) for one in found], expected)
                self.assertEqual(
                    [(one.port, one.tls, one.certified) for one in found],
                    [(1, False, '')] * len(found))
                # The text says the same.
                for one in found:
                    self.assertEqual(parse(one.text), one._replace(at=''))

    def test_each_server_once_in_order(self):
        _, source = self.serve(listed(
            b'1\nb|10.0.0.1|2 b|10.0.0.1|1 a||9 B|10.0.0.2|1 a.||9\n'))
        self.assertEqual(
            [one.text for one in self.find(source)], ['B:1', 'a:9', 'b:2'])

    def test_an_old_elasticache(self):
        data = AWS.partition(b'\r\n')[2].rpartition(b'\r\nEND')[0]
        server, source = self.serve(
            b'ERROR\r\n', b'VALUE AmazonElastiCache:cluster 0 %d\r\n%b\r\n'
            b'END\r\n' % (len(data), data))
        self.assertEqual(self.find(source), AWS_SERVERS)
        self.assertEqual(server.requests, [
            b'config get cluster\r\n', b'get AmazonElastiCache:cluster\r\n'])

    def test_no_endpoint(self):
        _, source = self.serve(b'ERROR\r\n', b'END\r\n')
        self.assertEqual(
            self.assertFails(ClientError, source),
            'the server has no list of servers')
        _, source = self.serve(b'ERROR\r\n', b'ERROR\r\n')
        self.assertEqual(self.assertFails(ClientError, source), 'ERROR')
        _, source = self.serve(None)
        self.assertFails(ReceiveError, source)

    def test_malformed(self):
        for reply in (
                b'END\r\n', b'CONFIG\r\n', b'CONFIG cluster 0\r\n',
                b'CONFIG cluster 0 -1\r\n', b'CONFIG cluster 0 x\r\n',
                b'CONFIG other 0 7\r\n1\na||1\n\r\nEND\r\n',
                b'CONFIG cluster 0 6\r\n1\na||1\n\r\nEND\r\n',
                b'CONFIG cluster 0 8\r\n1\na||1\n\r\nEND\r\n',
                b'CONFIG cluster 0 7\r\n1\na||1\n\r\n\r\n',
                b'CONFIG cluster 0 7\r\n1\na||1\n\r\nCONFIG\r\n',
                AWS.replace(b'\r\n', b'\n'),
                *map(listed, (
                    b'', b'1', b'\n', b'\na||1\n', b'x\na||1\n',
                    b'-1\na||1\n', b'1' * 21 + b'\na||1\n', b'1 a||1',
                    b'1\na||1\nb||1\n', b'1\na||1\n\n', b'1\ra||1\n',
                    b'1\na||1\rb||1\n', b'1\na\n', b'1\na|1\n', b'1\n|||\n',
                    b'1\n||1\n', b'1\na||\n', b'1\na||0\n', b'1\na||65536\n',
                    b'1\na||-1\n', b'1\na||1|\n', b'1\na||123456\n',
                    b'1\na|b|1\n', b'1\na|10.0.0|1\n', b'1\na|fd00::1%lo|1\n',
                    b'1\na|::g|1\n', b'1\na,b||1\n', b'1\na\tb||1\n',
                    b'1\ntls://a||1\n', b'1\nunix:/a||1\n', b'1\na/?2||1\n',
                    b'1\na:1||1\n', b'1\n[::1]||1\n', b'1\nuser@a||1\n',
                    b'1\n..||1\n', b'1\n%b||1\n' % (b'l' * 64),
                    b'1\na\x1b[2J||1\n', b'1\n\xc3\xbc||1\n', b'1\n\xff||1\n',
                    b'1\na||\xd9\xa1\n', b'1\n\0||1\n',
                    # One good server among wrong ones, or the other way.
                    b'1\na||1 b||x\n', b'1\na||x b||1\n', b'1\na||1 |\n',
                    b'1\n' + b'\x1b' * 100000 + b'\n'))):
            with self.subTest(reply[:100]):
                _, source = self.serve(reply)
                self.assertFails(ProtocolError, source)

    def test_empty(self):
        for data in b'1\n', b'1\n\n', b'1\n   \n', b'1\r\n\r\n':
            _, source = self.serve(listed(data))
            self.assertEqual(
                self.assertFails(ProtocolError, source),
                'the list of servers is empty')

    def test_the_most_servers(self):
        nodes = [b'a%d||1' % number for number in range(4096)]
        _, source = self.serve(listed(b'1\n' + b' '.join(nodes)))
        self.assertEqual(len(self.find(source)), 4096)
        nodes.append(b'b||1')
        _, source = self.serve(listed(b'1\n' + b' '.join(nodes)))
        self.assertEqual(
            self.assertFails(ProtocolError, source),
            'a list of 4097 servers')

    def test_the_most_bytes(self):
        most = 1 << 20
        _, source = self.serve(listed(b'1\na||1'.ljust(most)))
        self.assertEqual([one.host for one in self.find(source)], ['a'])
        for answers in (
                [b'CONFIG cluster 0 %d\r\n' % (most + 1)],
                [b'CONFIG cluster 0 9999999999\r\n'],
                [b'CONFIG ' + b'x' * 100000]):
            _, source = self.serve(*answers)
            self.assertFails(ProtocolError, source)
        _, source = self.serve(
            b'ERROR\r\n', b'VALUE AmazonElastiCache:cluster 0 1048577\r\n')
        self.assertEqual(
            self.assertFails(ProtocolError, source),
            'a list of more than 1048576 bytes')

    def test_it_is_closed_though_the_error_is_kept(self):
        server, source = self.serve(b'CONFIG\r\n')
        try:
            self.find(source)
        except ProtocolError as error:
            self.assertIsNotNone(error.__traceback__)
            self.assertTrue(server.wait(lambda: server.current == 0))
        else:
            self.fail('it is a list')

    def test_it_does_not_answer_in_time(self):
        for answer in ([(b'', 60)], [(AWS[:50], 60)],
                       [(AWS[i:i + 1], 0.1) for i in range(len(AWS))]):
            _, source = self.serve(answer)
            self.assertFails(ReceiveTimeout, source, SOON)

    def test_it_breaks_off(self):
        for size in 1, 10, 100, len(AWS) - 1:
            server, source = self.serve(AWS[:size])
            timer = threading.Timer(0.1, server.cut, ['fin'])
            timer.start()
            self.addCleanup(timer.join)
            self.assertFails(ReceiveError, source)

    def test_it_refuses(self):
        server, source = self.serve(b'SERVER_ERROR \x1b[2J out of memory\r\n')
        with self.assertRaisesRegex(
                MemcacheError, r'SERVER_ERROR \\x1b\[2J out of memory'):
            self.find(source)
        server.refuse()
        self.assertFails(ConnectError, source)

    def test_embedded(self):
        with EmbeddedServer(cluster=['a|10.0.0.1|1']) as server:
            source = f'config://{server.address}'
            self.assertEqual(
                self.find(source), [Address('a:1', 'a', 1, at='10.0.0.1')])
            server.cluster[:] = ['b||2', f'|{server.host}|{server.port}']
            self.assertEqual(
                [one.text for one in self.find(source)],
                [server.address, 'b:2'])
            server.cluster.clear()
            self.assertFails(ClientError, source)
            # It still is a memcached.
            connection = Connection(
                Dialer(parse(server.address)), None, math.inf)
            self.addCleanup(connection.close)
            connection.connect(monotonic() + ENOUGH)
            connection.send(Get(b'key').encode(), monotonic() + ENOUGH)
            self.assertIsNone(
                connection.receive(Get(b'key').read, monotonic() + ENOUGH))

    def test_password(self):
        account = Given(Credentials('shop', Secret('rosebud')))
        server, source = self.serve(b'STORED\r\n', AWS)
        self.assertEqual(self.find(source, account=account), AWS_SERVERS)
        self.assertIn(b'shop rosebud', server.requests[0])
        _, source = self.serve(b'CLIENT_ERROR authentication failure\r\n')
        text = self.assertFails(AuthenticationError, source, account=account)
        self.assertNotIn('rosebud', text)

    def test_many_threads(self):
        server, source = self.serve(default=AWS)
        for threads in 1, 8, 64:
            self.assertEqual(
                at_once(lambda _: self.find(source), range(threads)),
                [AWS_SERVERS] * threads)
        self.assertTrue(server.wait(lambda: server.current == 0))


class EncryptedTest(FindCase):

    def setUp(self):
        files = self.enterContext(Certificates())
        self.context = contexts.read(files.ca, None, None)
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(files.other_host_chain, files.other_host_key)
        self.server = self.enterContext(ScriptedServer(
            default=lambda request: AWS if b'config' in request
            else b'END\r\n'))
        self.encrypted = self.enterContext(
            TLSServer(self.server.address, served))

    def look_up(self):
        """Let the host of the certificate be this machine."""
        real = socket.getaddrinfo

        def resolve(host, *args, **options):
            return real('127.0.0.1' if host == 'cache.example.com' else host,
                        *args, **options)

        return mock.patch('socket.getaddrinfo', resolve)

    def test_endpoint(self):
        _, _, port = self.encrypted.address.rpartition(':')
        with self.look_up():
            found = self.find(f'config+tls://cache.example.com:{port}',
                              context=self.context)
        self.assertEqual(found, [
            one._replace(text=f'tls://{one}', tls=True)
            for one in AWS_SERVERS])
        self.assertEqual([one.server_name for one in found],
                         [one.host for one in AWS_SERVERS])
        self.assertFails(ConnectError, f'config+tls://127.0.0.1:{port}',
                         context=self.context)

    def test_the_name_in_the_certificate(self):
        _, _, port = self.encrypted.address.rpartition(':')
        with self.look_up():
            [found] = self.find(f'dns+tls://cache.example.com:{port}')
        self.assertEqual(found, Address(
            f'tls://127.0.0.1:{port}', '127.0.0.1', int(port), tls=True,
            certified='cache.example.com'))
        for address, right in (
                (found, True), (found._replace(certified=''), False),
                (found._replace(certified='b.example.com'), False)):
            connection = Connection(
                Dialer(address), None, math.inf,
                Trust(self.context, address.server_name))
            self.addCleanup(connection.close)
            with (contextlib.nullcontext() if right else
                  self.assertRaisesRegex(ConnectError, 'CERTIFICATE_VERIFY')):
                connection.connect(monotonic() + ENOUGH)


class DialTest(unittest.TestCase):
    """The place to connect to is not always the host."""

    def test_at(self):
        server = self.enterContext(ScriptedServer(default=b'END\r\n'))
        host, _, port = server.address.rpartition(':')
        address = Address('a:1', 'a.invalid', int(port), at=host)
        for at in host, 'localhost':
            dialer = Dialer(address._replace(at=at))
            stream, endpoint = dialer.dial(
                monotonic() + ENOUGH, lambda connection, deadline: connection)
            self.addCleanup(stream.close)
            self.assertEqual(endpoint.address, (host, int(port)))
        with self.assertRaisesRegex(MemcacheError, 'no address of b.invalid'):
            Dialer(address._replace(at='b.invalid')).dial(
                monotonic() + ENOUGH, lambda connection, deadline: connection)

    def test_identity(self):
        one = parse('a:1')
        other = one._replace(at='10.0.0.1', certified='b')
        self.assertEqual(one.identity, other.identity)
        self.assertEqual((one.server_name, other.server_name), ('a', 'b'))


def answer(*hosts):
    """Return what getaddrinfo returns for addresses of a name."""
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, '', (host, 5, 0, 0))
        if ':' in host else
        (socket.AF_INET, socket.SOCK_STREAM, 6, '', (host, 5))
        for host in hosts]


class NameTest(FindCase):

    def test_addresses(self):
        for hosts, texts in (
                (['10.0.0.2'], ['10.0.0.2:5']),
                (['10.0.0.2', '10.0.0.1', '10.0.0.2'],
                 ['10.0.0.1:5', '10.0.0.2:5']),
                (['fd00::2', 'fd00::1'], ['[fd00::1]:5', '[fd00::2]:5']),
                (['fe80::1%eth0'], ['[fe80::1%eth0]:5']),
                # Two names of the same machines.
                (['fd00::2', '10.0.0.2', 'fd00::1', '10.0.0.1'],
                 ['10.0.0.1:5', '10.0.0.2:5'])):
            with (self.subTest(hosts), mock.patch(
                    'socket.getaddrinfo', return_value=answer(*hosts)) as ask):
                found = self.find('dns://cache.example.:5')
                self.assertEqual([one.text for one in found], texts)
                self.assertEqual(found, [parse(text) for text in texts])
                ask.assert_called_once_with(
                    'cache.example.', 5, type=socket.SOCK_STREAM)

    def test_a_real_name(self):
        self.assertEqual(self.find('dns://localhost:5'), [
            Address('127.0.0.1:5', '127.0.0.1', 5)])

    def test_no_answer(self):
        for trouble in (
                socket.gaierror(socket.EAI_NONAME, 'Name not known'),
                socket.gaierror(socket.EAI_AGAIN, 'Temporary failure'),
                OSError(24, 'Too many open files'),
                UnicodeError('label too long'), MemoryError()):
            with mock.patch('socket.getaddrinfo', side_effect=trouble):
                self.assertIn('no address of cache.example', self.assertFails(
                    LocalError, 'dns://cache.example'))
        with mock.patch('socket.getaddrinfo', return_value=[]):
            self.assertFails(ProtocolError, 'dns://cache.example')

    def test_no_answer_in_time(self):
        ready = threading.Event()
        self.addCleanup(ready.set)

        def hang(*args, **options):
            ready.wait(ENOUGH)
            return answer('10.0.0.1')

        with mock.patch('socket.getaddrinfo', side_effect=hang) as ask:
            for seconds in SOON, -1, SOON:
                self.assertIn('no answer in time', self.assertFails(
                    LocalError, 'dns://cache.example', seconds))
            # There is one thread that hangs, and not three.
            self.assertEqual(ask.call_count, 1)
            ready.set()
            for _ in range(2):
                [found] = self.find('dns://cache.example')
                self.assertEqual(found.host, '10.0.0.1')
            self.assertGreater(ask.call_count, 1)

    @unittest.skipUnless(hasattr(os, 'fork'), 'no fork')
    def test_no_answer_in_the_parent(self):
        ready = threading.Event()
        self.addCleanup(ready.set)
        with mock.patch('socket.getaddrinfo',
                        lambda *args, **options: ready.wait(ENOUGH)):
            self.assertFails(LocalError, 'dns://localhost', SOON)
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                os._exit(len(self.find('dns://localhost')))
            os._exit(99)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 1)

    def test_no_thread(self):
        with mock.patch('_thread.start_new_thread',
                        side_effect=RuntimeError("can't start new thread")):
            self.assertIn("can't start new thread", self.assertFails(
                LocalError, 'dns://cache.example'))


NAME = '_memcache._tcp.shop.example.'
SOURCE = 'srv://_memcache._tcp.shop.example'


class ServiceTest(FindCase):

    def serve(self, *records):
        server = self.enterContext(NameServer(
            {NAME: [f'SRV {record}' for record in records]}))
        self.enterContext(server.used())
        return server

    def test_records(self):
        server = self.serve('0 1 5 Cache-1.shop.example.',
                            '0 1 11211 cache-0.shop.example.')
        expected = [
            Address('cache-0.shop.example:11211', 'cache-0.shop.example',
                    11211, at='cache-0.shop.example.'),
            Address('cache-1.shop.example:5', 'cache-1.shop.example', 5,
                    at='Cache-1.shop.example.')]
        self.assertEqual(self.find(SOURCE), expected)
        self.assertEqual(self.find('srv+tls://' + NAME), [
            one._replace(text=f'tls://{one}', tls=True) for one in expected])
        self.assertEqual(server.requests, [('udp', NAME)] * 2)

    def test_weights(self):
        for weights, shares in (
                ((0, 0), (1, 1)), ((10, 10), (1, 1)), ((100, 50), (2, 1)),
                ((0, 2), (1, 2)), ((65535, 1), (65535, 1)),
                ((6, 9), (2, 3))):
            with self.subTest(weights):
                self.serve(*(f'0 {weight} 5 {name}.' for weight, name in zip(
                    weights, 'ab', strict=True)))
                found = self.find(SOURCE)
                self.assertEqual(
                    tuple(one.weight for one in found), shares)
                for one in found:
                    self.assertEqual(parse(one.text), one._replace(at=''))

    def test_priorities(self):
        self.serve('20 1 5 a.', '10 1 5 c.', '10 1 5 b.', '30 1 5 d.')
        self.assertEqual(
            [one.text for one in self.find(SOURCE)], ['b:5', 'c:5'])

    def test_each_server_once(self):
        self.serve('0 1 5 a.', '0 1 5 A.', '0 1 6 a.')
        self.assertEqual([one.port for one in self.find(SOURCE)], [5, 6])

    def test_another_name(self):
        server = self.serve()
        server.records[NAME] = ['CNAME other.example.']
        server.records['other.example.'] = ['SRV 0 1 5 a.']
        self.assertEqual([one.text for one in self.find(SOURCE)], ['a:5'])

    def test_too_large_for_a_packet(self):
        hosts = [f'cache-{number:03}.shop.example' for number in range(300)]
        server = self.serve(*(f'0 1 5 {host}.' for host in hosts))
        server.truncated = True
        self.assertEqual([one.host for one in self.find(SOURCE)], hosts)
        self.assertEqual(server.requests, [('udp', NAME), ('tcp', NAME)])

    def test_no_service(self):
        self.serve('0 0 0 .')
        self.assertEqual(self.assertFails(ProtocolError, SOURCE),
                         'the list of servers is empty')

    def test_no_records(self):
        server = self.serve()
        self.assertIn(f'no SRV record of {NAME[:-1]}: ', self.assertFails(
            LocalError, SOURCE))
        # Those of another type.
        server.records[NAME] = ['A 10.0.0.1', 'TXT "SRV 0 1 5 a."']
        self.assertFails(LocalError, SOURCE)
        server.records[NAME] = ['CNAME other.example.']
        self.assertFails(LocalError, SOURCE)
        self.assertFails(LocalError, 'srv://other.example')

    def test_the_server_fails(self):
        server = self.serve('0 1 5 a.')
        for code in dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NXDOMAIN:
            server.rcode = code
            self.assertFails(LocalError, SOURCE)

    def test_no_answer_in_time(self):
        server = self.serve('0 1 5 a.')
        server.silent = True
        self.assertFails(LocalError, SOURCE, SOON)
        self.assertFails(LocalError, SOURCE, -1)
        server.silent = False
        self.assertEqual(len(self.find(SOURCE)), 1)

    def test_malformed_answers(self):
        server = self.serve('0 1 5 a.')
        for raw in b'', b'\x81\x80', b'\xff' * 200, bytes(10):
            server.raw = raw
            self.assertFails(LocalError, SOURCE, SOON)

    def test_malformed_servers(self):
        for record in ('0 1 0 a.', '0 1 5 a\\032b.', '0 1 5 a\\027[2J.',
                       '0 1 5 a\\000b.', '0 1 5 unix:/a.', '0 1 5 a/?2.',
                       '0 1 5 a\\@b.', '0 1 5 a\\.b.'):
            with self.subTest(record):
                self.serve('0 1 5 good.', record)
                self.assertFails(ProtocolError, SOURCE)

    def test_names_that_dns_has_no_room_for(self):
        self.serve()
        name = '.'.join(['l' * 63] * 3 + ['l' * 61])
        self.assertFails(LocalError, f'srv://{name}')

    def test_no_configuration(self):
        for trouble in (OSError(24, 'Too many open files\x1b[2J'),
                        dns.resolver.NoResolverConfiguration('\r\n')):
            with mock.patch('dns.resolver.Resolver', side_effect=trouble):
                self.assertFails(LocalError, SOURCE)

    def test_many_threads(self):
        self.serve('0 1 5 a.', '0 1 5 b.')
        for found in at_once(lambda _: self.find(SOURCE), range(8)):
            self.assertEqual([one.text for one in found], ['a:5', 'b:5'])
