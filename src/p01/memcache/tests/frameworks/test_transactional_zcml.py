# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Transactional clients by ZCML."""

import transaction
from zope.component import getUtility
from zope.configuration.exceptions import ConfigurationError
from zope.event import notify
from zope.interface.verify import verifyObject
from zope.security.checker import ProxyFactory
from zope.security.interfaces import Unauthorized

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.event import InvalidateCacheEvent
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.tests.support.zcml import logIn
from p01.memcache.uclient import UltraMemcacheClient


class TransactionalTest(ZCMLTestCase):

    def setUp(self):
        super().setUp()
        transaction.abort()
        self.addCleanup(transaction.abort)
        self.server = self.enterContext(EmbeddedServer())
        self.plain = UltraMemcacheClient([self.server.address])
        self.addCleanup(self.plain.close)

    def load(self, attributes='', name='', more=''):
        load(f'<p01:memcache servers="{self.server.address}" name="{name}"'
             f' transactional="true" {attributes} />{more}')
        client = getUtility(IMemcacheClient, name)
        self.addCleanup(client.close)
        return client

    def assertFollows(self, client):
        transaction.begin()
        client.set('key', 1)
        self.assertIsNone(self.plain.query('key'))
        self.assertEqual(client.query('key'), 1)
        transaction.commit()
        self.assertEqual(self.plain.query('key'), 1)
        transaction.begin()
        notify(InvalidateCacheEvent('key'))
        self.assertEqual(self.plain.query('key'), 1)
        transaction.commit()
        self.assertIsNone(self.plain.query('key'))

    def test_both_clients(self):
        for factory, class_, interface in (
                ('', UltraMemcacheClient, IUltraMemcacheClient),
                ('factory="p01.memcache.client.MemcacheClient"',
                 MemcacheClient, IMemcacheClient)):
            with self.subTest(class_.__name__):
                client = self.load(factory, class_.__name__)
                # In a Zope it has a class of its own, with its permissions.
                self.assertIsInstance(client, class_)
                verifyObject(interface, client)
                self.assertFollows(client)

    def test_a_region(self):
        client = self.load(more='<p01:memcacheRegion name="news" />')
        region = getUtility(IMemcacheClient, 'news')
        transaction.begin()
        region.set('key', 1)
        client.set('key', 2)
        self.assertIsNone(self.plain.region('news').query('key'))
        self.assertEqual(len(transaction.get()._resources), 1)
        transaction.commit()
        self.assertEqual(self.plain.region('news').query('key'), 1)
        self.assertEqual(self.plain.query('key'), 2)

    def test_permissions(self):
        client = ProxyFactory(self.load(
            'readPermission="zope.Public" writePermission="zope.View"'))
        logIn()
        with self.assertRaises(Unauthorized):
            client.set('key', 1)
        logIn('zope.View')
        self.assertFollows(client)

    def test_a_factory_of_something_else(self):
        with self.assertRaisesRegex(
                (ConfigurationError, TypeError), 'one of this package'):
            load('<p01:memcache factory="builtins.object"'
                 ' transactional="true" />')
