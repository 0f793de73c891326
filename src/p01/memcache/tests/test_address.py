# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Addresses of servers: what is taken, and how the rest is refused."""

import unittest

from p01.memcache.address import Address
from p01.memcache.address import parse
from p01.memcache.address import parse_all
from p01.memcache.client import MemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


class TestAddress(unittest.TestCase):

    def test_right(self):
        for text, expected in (
                ('a', ('a', 11211)),
                ('a-b.c_d:1', ('a-b.c_d', 1)),
                ('127.0.0.1:65535', ('127.0.0.1', 65535)),
                ('m\xfcnchen:2', ('m\xfcnchen', 2)),
                ('unix:2', ('unix', 2)),
                ('[::1]', ('::1', 11211)),
                # As it is written: rings are made of it.
                ('[0:0::1]:3', ('0:0::1', 3)),
                ('A.example:4/?600', ('A.example', 4, 600)),
                ('a/?2', ('a', 11211, 2)),
                ('a/?0', ('a', 11211, 1)),
                ('[::1]/?65535', ('::1', 11211, 65535)),
                ('tls://a', ('a', 11211, 1, True)),
                ('tls://[::1]:5/?7', ('::1', 5, 7, True)),
                ('unix:/run/m.sock', ('/run/m.sock', 0)),
                ('unix:/run/m.sock/?3', ('/run/m.sock', 0, 3)),
                ('unix:/' + 'p' * 106, ('/' + 'p' * 106, 0))):
            with self.subTest(text):
                self.assertEqual(parse(text), Address(text, *expected))
                self.assertEqual(str(parse(text)), text)

    def test_wrong(self):
        for text in ('', ':1', 'a:', 'a:0', 'a:65536', 'a:-1', 'a:b', '*',
                     'a b', 'a,b', 'a\n', 'a\0', '::1', '[::', '[:::]:1',
                     '[a]:1', 'a:1:2', 'a/b', 'a:\u0661', 'a/?', 'a/?-1',
                     'a/?65536', 'a/?1.5', 'a?1', 'a/?1/?2', 'tls:a',
                     'tls://', 'tls://unix:/a', 'TLS://a', 'tcp://a',
                     'unix:', 'unix:a', 'unix:/', 'unix:/a b', 'unix:/a\n',
                     'unix:/' + 'p' * 107):
            with (self.subTest(text),
                  self.assertRaisesRegex(ValueError, r'server .+: .+')):
                parse(text)
        for text in (None, 1, b'a', ('a', 1)):
            with self.subTest(text), self.assertRaises(TypeError):
                parse(text)

    def test_an_error_names_the_address_without_secrets(self):
        for text in ('user:passw0rd@a', 'tls://user:passw0rd@a:1'):
            with self.assertRaisesRegex(ValueError, r"@a") as caught:
                parse(text)
            self.assertNotIn('passw0rd', str(caught.exception))

    def test_nor_do_those_of_the_clients(self):
        for factory in MemcacheClient, UltraMemcacheClient:
            for servers in ('user:passw0rd@a', ['user:passw0rd@a', 1],
                            ['tls://user:passw0rd@a'], {'user:passw0rd@a'}):
                with self.assertRaises((TypeError, ValueError)) as caught:
                    factory(servers)
                self.assertNotIn('passw0rd', str(caught.exception))

    def test_repeated(self):
        for first, second in (
                ('a', 'a:11211'), ('a', 'A'), ('a', 'a/?2'), ('a', 'tls://a'),
                ('[::1]', '[0:0::1]'), ('127.0.0.1:1', '127.0.0.1:1'),
                ('unix:/a/b', 'unix:/a//b/?2'), ('unix:/a', 'unix://a')):
            with (self.subTest(second),
                  self.assertRaisesRegex(ValueError, 'named twice') as caught):
                parse_all(['c', first, second])
            self.assertIn(repr(second), str(caught.exception))

    def test_not_repeated(self):
        parse_all(['a:1', 'a:2', 'b:1', 'unix:/a', 'unix:/b'])
