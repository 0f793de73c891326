# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Keys and values that older releases have written, see upgrading.txt.

0.7.3 ran on Python 2.7, both of its clients with the same result, and 0.9.0 on
Python 3.11. A str of Python 2 is bytes there.
"""

import pickle
import unittest
from base64 import b64decode
from datetime import datetime
from decimal import Decimal

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.servers import plant
from p01.memcache.uclient import UltraMemcacheClient


class Item:
    _p_oid = b'\x00\x00\x00\x00\x00\x00\x00\x2a'


# Without a namespace, and with "shop".
KEYS = [
    ('front-page', 'cb70d11b873b3bf32b45b16ffa4d1263',
     '08a1d530d33c034cd77b28811322933a'),
    (b'front-page', 'cb70d11b873b3bf32b45b16ffa4d1263',
     '08a1d530d33c034cd77b28811322933a'),
    ('f\xfcr', '5b061ce050fd1bc0b8a0831ce52009fa',
     'bd3f60cf7dcb20846e811479c0bc8d58'),
    (17, '70efdf2ec9b086079795c442636b55fb',
     '8e88553c18e0cec9f874f229c931f927'),
    (Item(), '7e0535868cd45dff74884bfba0fa1594',
     '91602fc7ad8c90fbe6a1d2f948008a66'),
]

# Of 0.9 alone: Python 2 pickled them in another way.
PICKLED_KEYS = [
    (1.5, '6f3da5c2d370bfa79bab02efd9e901e6',
     'dea5bfc82fbba5d3e3239266a9fdf5bd'),
    (None, '8a76b3f1259a772a2ee2738c8264cf1f',
     '1eecb1de2d3b380eb386109386f1ad51'),
    (('view', 17, 'de'), '1daa77da3bf6cb5514deea5685ed2a45',
     '61dd6e5044b6c1e1360261619eb852d8'),
    (2 ** 70, 'c7c1c5d64bce4c71d16a7fdb65d3d378',
     'b2441646027bb0f40a94a360240a92de'),
    ({'a': ['b', (1, 2.5)]}, '8bddcec2276ef9f671a854a5358734ee',
     '4a7a752e32ebf1c178e9b31875a6c44c'),
]

# The value, and its pickles by 0.7 and 0.9, in base64.
VALUES = [
    ('f\xfcr', 'gAJYBAAAAGbDvHJxAS4=', 'gAWVCAAAAAAAAACMBGbDvHKULg=='),
    ('hello', 'gAJVBWhlbGxvcQEu', 'gAWVCQAAAAAAAACMBWhlbGxvlC4='),
    ('', 'gAJYAAAAAC4=', 'gAWVBAAAAAAAAACMAJQu'),
    (17, 'gAJLES4=', 'gAVLES4='),
    (2 ** 70, 'gAKKCQAAAAAAAAAAQC4=', 'gAWVDAAAAAAAAACKCQAAAAAAAAAAQC4='),
    (1.5, 'gAJHP/gAAAAAAAAu', 'gAWVCgAAAAAAAABHP/gAAAAAAAAu'),
    (None, 'gAJOLg==', 'gAVOLg=='),
    (True, 'gAKILg==', 'gAWILg=='),
    (['a', 1], 'gAJdcQEoWAEAAABhSwFlLg==', 'gAWVCwAAAAAAAABdlCiMAWGUSwFlLg=='),
    (('a', (1,)), 'gAJYAQAAAGFLAYVxAYZxAi4=',
     'gAWVCwAAAAAAAACMAWGUSwGFlIaULg=='),
    ({'a': 1}, 'gAJ9cQFYAQAAAGFLAXMu', 'gAWVCgAAAAAAAAB9lIwBYZRLAXMu'),
    ({'a': 'b'}, 'gAJ9cQFVAWFVAWJzLg==', 'gAWVDAAAAAAAAAB9lIwBYZSMAWKUcy4='),
    ({1, 2}, 'gAJjX19idWlsdGluX18Kc2V0CnEBXXECKEsBSwJlhVJxAy4=',
     'gAWVCQAAAAAAAACPlChLAUsCkC4='),
    (frozenset([1]), 'gAJjX19idWlsdGluX18KZnJvemVuc2V0CnEBXXECSwFhhVJxAy4=',
     'gAWVBgAAAAAAAAAoSwGRlC4='),
    (Decimal('1.5'), 'gAJjZGVjaW1hbApEZWNpbWFsCnEBVQMxLjWFUnECLg==',
     'gAWVIQAAAAAAAACMB2RlY2ltYWyUjAdEZWNpbWFslJOUjAMxLjWUhZRSlC4='),
]

# Of 0.7, as the str of Python 2 in it is not ASCII: a miss.
UNREADABLE = [
    (b'\x00\xff', 'gAJVAgD/cQEu', 'gAWVBgAAAAAAAABDAgD/lC4='),
    (datetime(2026, 1, 2, 3, 4, 5),
     'gAJjZGF0ZXRpbWUKZGF0ZXRpbWUKcQFVCgfqAQIDBAUAAACFUnECLg==',
     'gAWVKgAAAAAAAACMCGRhdGV0aW1llIwIZGF0ZXRpbWWUk5RDCgfqAQIDBAUAAACUhZRSlC4'
     '='),
]


class OlderTest(unittest.TestCase):

    def setUp(self):
        self.address = self.enterContext(EmbeddedServer()).address
        self.clients = [self.client(kind)
                        for kind in (UltraMemcacheClient, MemcacheClient)]

    def client(self, kind, **settings):
        client = kind([self.address], **settings)
        self.addCleanup(client.close)
        return client

    def read(self, data):
        """Return what both clients read, once each."""
        plant(self.address, self.clients[0].buildKey('key'), b64decode(data))
        return [client.query('key', default='miss')
                for client in self.clients]

    def test_keys(self):
        for client in self.clients:
            shop = self.client(type(client), namespace='shop')
            for key, plain, named in KEYS + PICKLED_KEYS:
                with self.subTest(key=key, client=client):
                    self.assertEqual(client.buildKey(key), plain)
                    self.assertEqual(shop.buildKey(key), named)

    def test_values(self):
        for value, old, new in VALUES:
            for data in old, new:
                with self.subTest(value=value, data=data):
                    for found in self.read(data):
                        self.assertEqual(found, value)
                        self.assertIs(type(found), type(value))

    def test_unreadable(self):
        for value, old, new in UNREADABLE:
            with self.subTest(value=value):
                self.assertEqual(self.read(old), ['miss', 'miss'])
                self.assertEqual(self.read(new), [value, value])
        for client in self.clients:
            self.assertEqual(
                sum(client.getUnreadable().values()), len(UNREADABLE))

    def test_what_they_can_read(self):
        # 0.9 knows our default, 0.7 only protocol 2; neither knows flags.
        for kind in UltraMemcacheClient, MemcacheClient:
            for protocol, number in (-1, 5), (2, 2):
                client = self.client(kind, pickleProtocol=protocol)
                for value, _, _ in VALUES + UNREADABLE:
                    for store in (
                            lambda value, client=client:
                                client.set('key', value),
                            lambda value, client=client:
                                client.add('key', value),
                            lambda value, client=client:
                                client.getOrCreate('key', lambda: value)):
                        client.invalidate('key')
                        store(value)
                        data, flags = look(
                            self.address, client.buildKey('key'))
                        self.assertEqual(flags, 0)
                        self.assertEqual(data[:2], bytes([0x80, number]))
                        self.assertEqual(pickle.loads(data), value)
