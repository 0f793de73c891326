# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Addresses of servers: what is accepted, and how the rest is refused."""

import os
import socket
import tempfile
import threading
import unittest

from p01.memcache.client import MemcacheClient
from p01.memcache.transport.address import Address
from p01.memcache.transport.address import parse
from p01.memcache.transport.address import parse_all
from p01.memcache.uclient import UltraMemcacheClient


# Host names of the greatest length.
LABEL = 'l' * 63
NAME = '.'.join((LABEL, LABEL, LABEL, 'l' * 61))


class TestAddress(unittest.TestCase):

    def test_valid_addresses(self):
        for text, expected in (
                ('a', ('a', 11211)),
                ('a-b.c_d:1', ('a-b.c_d', 1)),
                ('127.0.0.1:65535', ('127.0.0.1', 65535)),
                ('m\xfcnchen:2', ('m\xfcnchen', 2)),
                ('unix:2', ('unix', 2)),
                ('[::1]', ('::1', 11211)),
                # As it is written: rings are made from it.
                ('[0:0::1]:3', ('0:0::1', 3)),
                ('A.example:4/?600', ('A.example', 4, 600)),
                ('a.example.:4', ('a.example.', 4)),
                ('127.1', ('127.1', 11211)),
                ('a:011211/?02', ('a', 11211, 2)),
                (LABEL, (LABEL, 11211)),
                (NAME, (NAME, 11211)),
                (NAME + '.', (NAME + '.', 11211)),
                ('[fe80::1%eth0]', ('fe80::1%eth0', 11211)),
                ('[fe80::1%br-lan_0.100]:5/?2',
                 ('fe80::1%br-lan_0.100', 5, 2)),
                ('a/?2', ('a', 11211, 2)),
                ('[::1]/?65535', ('::1', 11211, 65535)),
                ('tls://a', ('a', 11211, 1, True)),
                ('tls://[::1]:5/?7', ('::1', 5, 7, True)),
                ('unix:/run/m.sock', ('/run/m.sock', 0)),
                ('unix:/run/m.sock/?3', ('/run/m.sock', 0, 3)),
                ('unix:/' + 'p' * 106, ('/' + 'p' * 106, 0))):
            with self.subTest(text):
                self.assertEqual(parse(text), Address(text, *expected))
                self.assertEqual(str(parse(text)), text)

    def test_wrong_addresses(self):
        for text in ('', ':1', 'a:', 'a:0', 'a:65536', 'a:-1', 'a:b', '*',
                     'a b', 'a,b', 'a\n', 'a\0', '::1', '[::', '[:::]:1',
                     '[a]:1', '[127.0.0.1]', '[fe80::1%]', '[fe80::1%a%b]',
                     '[fe80::1%a b]', 'fe80::1%eth0', 'a%eth0', 'a:1:2',
                     'a/b', 'a:\u0661', 'a/?', 'a/?-1', 'a/?65536', 'a/?1.5',
                     'a?1', 'a/?1/?2', 'a/?' + '1' * 5000, 'a:' + '1' * 5000,
                     'tls:a', 'tls://', 'tls://unix:/a', 'TLS://a', 'tcp://a',
                     'unix:', 'unix:a', 'unix:/', 'unix:/a b', 'unix:/a\n',
                     'unix:/' + 'p' * 107):
            with (self.subTest(text),
                  self.assertRaisesRegex(ValueError, r'server .+: .+')):
                parse(text)
        for text in (None, 1, b'a', ('a', 1)):
            with self.subTest(text), self.assertRaises(TypeError):
                parse(text)

    def test_the_error_names_the_rule(self):
        for rule, texts in (
                ('the weight must be between 1 and 65535',
                 ('a/?0', 'a/?00', '[::1]/?0', 'unix:/a/?0', 'tls://a:1/?0',
                  'a/?65536', 'a/?123456')),
                ('the port must be between 1 and 65535',
                 ('a:0', 'a:00', '[::1]:0', 'a:65536', 'a:123456')),
                ('a name must have 253 characters at most, with 1 to 63'
                 ' between its dots',
                 ('.', '..', '.a', 'a..', 'a..b', 'a..b.:1', 'tls://a..',
                  LABEL + 'l', f'a.{LABEL}l.b', '\xfc' * 60, NAME + 'l',
                  NAME + 'l.', 'l' * 5000, '127.0.0.1..'))):
            for text in texts:
                with self.subTest(text), self.assertRaises(
                        ValueError) as caught:
                    parse(text)
                self.assertEqual(
                    str(caught.exception), f'server {text!r}: {rule}')

    def test_an_error_names_the_address_without_secrets(self):
        for text in ('user:passw0rd@a', 'tls://user:passw0rd@a:1'):
            with self.assertRaisesRegex(ValueError, r"@a") as caught:
                parse(text)
            self.assertNotIn('passw0rd', str(caught.exception))

    def test_the_clients_errors_show_no_secrets(self):
        for factory in MemcacheClient, UltraMemcacheClient:
            for servers in ('user:passw0rd@a', ['user:passw0rd@a', 1],
                            ['tls://user:passw0rd@a'], {'user:passw0rd@a'}):
                with self.assertRaises((TypeError, ValueError)) as caught:
                    factory(servers)
                self.assertNotIn('passw0rd', str(caught.exception))

    def test_repeated(self):
        for first, second in (
                ('a', 'a:11211'), ('a', 'A'), ('a', 'a/?2'), ('a', 'tls://a'),
                ('a', 'a:011211'), ('a:1', 'a:01'),
                ('a', 'a.'), ('A.example.:1', 'tls://a.Example:1'),
                ('\xfc', '\xdc.'), ('\xfc', 'xn--tda'), ('\xfc', 'XN--TDA'),
                ('127.0.0.1:1', '127.0.0.1:1'), ('127.0.0.1', '127.1'),
                ('127.0.0.1', '2130706433'), ('127.0.0.1', '0x7f.1'),
                ('8.0.0.1', '010.0.0.1'), ('1.0.0.1', '\uff11.1'),
                ('[::1]', '[0:0::1]'), ('[fe80::A]', '[FE80:0::a]'),
                ('[fe80::A%eth0]', '[fe80:0::a%eth0]/?2'),
                ('127.0.0.1', '[::ffff:127.0.0.1]'),
                ('[::ffff:127.0.0.1]', '[::FFFF:7f00:1]'),
                ('unix:/a/b', 'unix:/a//b/?2'), ('unix:/a', 'unix://a'),
                ('unix:/a/b', 'unix:/a/./c/../b')):
            with (self.subTest(second),
                  self.assertRaisesRegex(ValueError, 'named twice') as caught):
                parse_all(['c', first, second])
            self.assertIn(repr(second), str(caught.exception))

    def test_not_repeated(self):
        parse_all(['a:1', 'a:2', 'b:1', 'unix:/a', 'unix:/b', '[fe80::1]',
                   '[fe80::1%eth0]', '[fe80::1%eth1]', 'localhost',
                   '127.0.0.1', '[::1]', '127.0.0.1.example'])

    def test_links_are_followed(self):
        folder = os.path.realpath(
            self.enterContext(tempfile.TemporaryDirectory()))
        os.makedirs(f'{folder}/run/memcached')
        os.symlink(f'{folder}/run/memcached', f'{folder}/linked')
        place = parse(f'unix:{folder}/run/memcached/m.sock').identity
        for path in 'linked/m.sock', 'linked/../memcached/m.sock':
            with self.subTest(path):
                self.assertEqual(
                    parse(f'unix:{folder}/{path}').identity, place)
        # Without the link they would be different.
        parse_all([f'unix:{folder}/linked/../m.sock',
                   f'unix:{folder}/m.sock'])

    def test_the_name_for_a_certificate(self):
        for text, name in (
                ('a.example', 'a.example'), ('a.example.:1', 'a.example'),
                ('A.Example.', 'a.example'), ('\xfc.de.', 'xn--tda.de'),
                ('a_b', 'a_b'), ('127.0.0.1', '127.0.0.1'),
                ('127.1', '127.0.0.1'), ('[0:0::1]', '::1'),
                ('[fe80::1%eth0]:1', 'fe80::1'),
                ('[::ffff:127.0.0.1]', '127.0.0.1')):
            with self.subTest(text):
                self.assertEqual(parse(f'tls://{text}').server_name, name)


def link_local():
    """Return ``(host, zone)``: an address of this machine, or None."""
    try:
        with open('/proc/net/if_inet6') as file:
            for line in file:
                digits, *_, name = line.split()
                if digits.startswith('fe80'):
                    return ':'.join(
                        digits[i:i + 4] for i in range(0, 32, 4)), name
    except OSError:
        pass
    return None


class TestZone(unittest.TestCase):
    """An IPv6 address with a zone, to which both clients connect."""

    def assertAsked(self, host, zone, number):
        for factory in MemcacheClient, UltraMemcacheClient:
            try:
                listener = socket.create_server(
                    (host, 0, 0, number), family=socket.AF_INET6)
            except OSError as error:
                self.skipTest(f'{host}: {error}')
            listener.settimeout(10)
            port = listener.getsockname()[1]
            client = factory([f'[{host}%{zone}]:{port}'])
            self.addCleanup(client.close)
            asked = []

            def answer(listener=listener, asked=asked):
                with listener, listener.accept()[0] as connection:
                    asked.append(connection.recv(1000))
                    connection.sendall(b'END\r\n')

            thread = threading.Thread(target=answer)
            thread.start()
            with self.subTest(factory), self.assertNoLogs('p01.memcache'):
                self.assertIsNone(client.query('key'))
            thread.join()
            self.assertEqual(asked, [
                b'get %b\r\n' % client.buildKey('key').encode()])

    @unittest.skipUnless(socket.has_ipv6, 'this Python has no IPv6')
    def test_loopback(self):
        number = next(number for number, name in socket.if_nameindex()
                      if name.startswith('lo'))
        self.assertAsked('::1', number, number)

    @unittest.skipUnless(link_local(), 'no interface has such an address')
    def test_link_local(self):
        # From this machine to itself that is the loopback interface, too.
        host, zone = link_local()
        self.assertAsked(host, zone, socket.if_nametoindex(zone))
