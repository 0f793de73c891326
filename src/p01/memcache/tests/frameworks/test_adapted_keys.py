# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Keys by adapter of what Zope has: dates, messages, content."""

import unittest

import zope.component
from DateTime import DateTime
from DateTime.interfaces import IDateTime
from OFS.Folder import Folder
from OFS.SimpleItem import SimpleItem
from zope.component.testing import PlacelessSetup
from zope.i18nmessageid import Message
from zope.i18nmessageid import MessageFactory

from p01.memcache.interfaces import ICacheKey
from p01.memcache.testing import FakeMemcacheClient


def clients():
    for scheme in 'compatible', 'strict':
        client = FakeMemcacheClient(namespace='shop', keyScheme=scheme)
        yield client
        yield client.region('pages')


class ZopeKeysTest(PlacelessSetup, unittest.TestCase):

    def test_dates(self):
        zope.component.provideAdapter(
            lambda date: ('DateTime', date.ISO8601()), (IDateTime,),
            ICacheKey)
        for client in clients():
            for one, other in (
                    (DateTime('2026/11/26 10:00 GMT+1'),
                     DateTime('2026-11-26T10:00:00+01:00')),
                    (('a', DateTime(0)), ('a', DateTime(0)))):
                self.assertEqual(client.buildKey(one), client.buildKey(other))
            self.assertNotEqual(
                client.buildKey(DateTime('2026/11/26')),
                client.buildKey(DateTime('2026/11/27')))

    def test_messages(self):
        zope.component.provideAdapter(
            lambda message: ('message', message.domain, str(message)),
            (Message,), ICacheKey)
        plone, shop = MessageFactory('plone'), MessageFactory('shop')
        for client in clients():
            self.assertEqual(
                client.buildKey(plone('title')), client.buildKey(
                    plone('title')))
            self.assertEqual(len({client.buildKey(key) for key in (
                plone('title'), shop('title'), 'title', ('title',))}), 4)

    def test_content(self):
        zope.component.provideAdapter(
            lambda content: ('path', *content.getPhysicalPath()),
            (SimpleItem,), ICacheKey)
        site = Folder('site')
        for name in 'a', 'b':
            site._setObject(name, Folder(name))
            site[name]._setObject('page', SimpleItem())
            site[name].page.id = 'page'
        for client in clients():
            # Neither has an oid, and the two are alike.
            built = [client.buildKey(('view', site[name].page))
                     for name in ('a', 'b')]
            self.assertEqual(built, [
                client.buildKey(('view', ('path', 'site', name, 'page')))
                for name in ('a', 'b')])
