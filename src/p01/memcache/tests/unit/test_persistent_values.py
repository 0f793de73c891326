# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A serializer that knows how to take persistent objects apart."""

import json
import unittest

from Acquisition import Implicit
from persistent import Persistent
from zope.interface import implementer
from zope.interface.verify import verifyObject
from zope.security.checker import Checker
from zope.security.proxy import Proxy

from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import IPersistentSerializer
from p01.memcache.interfaces import ISerializer
from p01.memcache.testing import FakeUltraMemcacheClient


class Article(Persistent, Implicit):

    def __init__(self, title):
        self.title = title


class Picture(Persistent):
    """No serializer knows it."""


@implementer(ISerializer)
class Plain:
    """Would serialize whatever it gets, but does not say so."""

    error = None

    def takes(self, obj):
        raise AssertionError('must not be asked')

    def dumps(self, key, obj):
        return json.dumps(
            {'article': obj.title} if type(obj) is Article else obj
        ).encode(), 1

    def loads(self, key, data, flags):
        value = json.loads(data)
        return Article(value['article']) if type(value) is dict else value


@implementer(IPersistentSerializer)
class Knowing(Plain):

    def __init__(self):
        self.asked = []

    def takes(self, obj):
        self.asked.append(obj)
        if self.error is not None:
            raise self.error
        return type(obj) is Article


class PersistentValuesTest(unittest.TestCase):

    def setUp(self):
        self.serializer = Knowing()
        self.client = FakeUltraMemcacheClient(serializer=self.serializer)

    def test_the_interface(self):
        self.assertTrue(verifyObject(IPersistentSerializer, self.serializer))
        self.assertTrue(verifyObject(ISerializer, Plain()))

    def test_what_it_takes(self):
        article = Article('news')
        for store in (
                lambda: self.client.set('key', article),
                lambda: self.client.setMany({'key': article}),
                lambda: self.client.add('key', article),
                lambda: self.client.getOrCreate('key', lambda: article)):
            self.client.invalidate('key')
            store()
            found = self.client.query('key')
            self.assertIsNot(found, article)
            self.assertEqual(found.title, 'news')
            self.assertIsNone(found._p_jar)

    def test_what_it_does_not_take(self):
        for value in Picture(), Picture:
            with self.assertRaises(SerializationError):
                self.client.set('key', value)
        self.assertEqual([type(obj) for obj in self.serializer.asked],
                         [Picture])

    def test_nothing_else_is_asked_for(self):
        article = Article('news')
        with self.assertRaisesRegex(SerializationError, 'security-proxied'):
            self.client.set('key', Proxy(article, Checker({})))
        with self.assertRaisesRegex(SerializationError, 'persistent'):
            self.client.set('key', article.__of__(Implicit()))
        self.client.set('key', [1])
        self.assertEqual(self.serializer.asked, [])

    def test_one_that_does_not_say_so(self):
        for client in (
                FakeUltraMemcacheClient(serializer=Plain()),
                FakeUltraMemcacheClient(),
                FakeUltraMemcacheClient(serializer='json')):
            with self.assertRaisesRegex(SerializationError, 'persistent'):
                client.set('key', Article('news'))

    def test_an_exception(self):
        self.serializer.error = KeyError('no')
        with self.assertRaisesRegex(
                SerializationError, 'Article cannot be serialized: KeyError'):
            self.client.set('key', Article('news'))
        self.serializer.error = KeyboardInterrupt()
        with self.assertRaises(KeyboardInterrupt):
            self.client.set('key', Article('news'))
