# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The events and their handlers."""

import unittest

import zope.component
import zope.component.testing
from zope.configuration import xmlconfig
from zope.event import notify
from zope.interface.interfaces import ComponentLookupError
from zope.interface.verify import verifyObject

import p01.memcache
from p01.memcache.event import InvalidateCacheEvent
from p01.memcache.event import UnreadableValueEvent
from p01.memcache.event import invalidateCache
from p01.memcache.interfaces import IInvalidateCacheEvent
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUnreadableValueEvent


class Client:
    """Remembers what it is asked to invalidate."""

    def __init__(self):
        self.keys = []

    def invalidate(self, key):
        self.keys.append(key)


class EventTests(unittest.TestCase):

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)
        self.unnamed = self.register('')
        self.pages = self.register('pages')
        self.images = self.register('images')

    def register(self, name):
        client = Client()
        zope.component.provideUtility(client, IMemcacheClient, name)
        return client

    def keys(self):
        return self.unnamed.keys, self.pages.keys, self.images.keys

    def test_interfaces(self):
        event = InvalidateCacheEvent('key')
        self.assertTrue(verifyObject(IInvalidateCacheEvent, event))
        self.assertEqual((event.key, event.cacheName), ('key', None))
        error = ValueError()
        event = UnreadableValueEvent(self.pages, 'key', error)
        self.assertTrue(verifyObject(IUnreadableValueEvent, event))
        self.assertIs(event.client, self.pages)
        self.assertEqual(event.key, 'key')
        self.assertIs(event.error, error)

    def test_all_clients(self):
        key = ('any', 1, object())
        invalidateCache(InvalidateCacheEvent(key))
        self.assertEqual(self.keys(), ([key], [key], [key]))

    def test_named_client(self):
        invalidateCache(InvalidateCacheEvent('key', 'pages'))
        self.assertEqual(self.keys(), ([], ['key'], []))

    def test_no_name_is_all_clients_and_the_empty_name_is_one(self):
        invalidateCache(InvalidateCacheEvent('key', cacheName=''))
        self.assertEqual(self.keys(), (['key'], [], []))

    def test_same_client_under_two_names_is_asked_once(self):
        zope.component.provideUtility(self.pages, IMemcacheClient, 'more')
        invalidateCache(InvalidateCacheEvent('key'))
        self.assertEqual(self.keys(), (['key'], ['key'], ['key']))

    def test_unknown_name(self):
        with self.assertRaisesRegex(ComponentLookupError, 'pagse'):
            invalidateCache(InvalidateCacheEvent('key', 'pagse'))
        self.assertEqual(self.keys(), ([], [], []))

    def test_no_clients_at_all(self):
        zope.component.testing.setUp(self)
        invalidateCache(InvalidateCacheEvent('key'))

    def test_notify(self):
        notify(InvalidateCacheEvent('early'))
        self.assertEqual(self.keys(), ([], [], []))
        xmlconfig.file('subscriber.zcml', p01.memcache)
        notify(InvalidateCacheEvent('key'))
        notify(InvalidateCacheEvent('other', 'images'))
        self.assertEqual(self.keys(), (['key'], ['key'], ['key', 'other']))
        with self.assertRaisesRegex(ComponentLookupError, 'pagse'):
            notify(InvalidateCacheEvent('key', 'pagse'))
