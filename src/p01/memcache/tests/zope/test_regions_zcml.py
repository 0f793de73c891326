# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The directive `memcacheRegion`."""

import zope.component
from zope.component import getUtility
from zope.component import queryUtility
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.security.interfaces import Unauthorized
from zope.security.proxy import ProxyFactory

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.tests.support.zcml import logIn


FAKE = 'factory="p01.memcache.testing.FakeUltraMemcacheClient"'
CLIENT = f'<p01:memcache {FAKE} namespace="shop" />'


class RegionDirectiveTest(ZCMLTestCase):

    def test_a_region(self):
        load(CLIENT + '<p01:memcacheRegion name="pages" />')
        client, pages = (
            getUtility(IMemcacheClient, name) for name in ('', 'pages'))
        self.assertEqual(
            pages.buildKey('key'), client.region('pages').buildKey('key'))
        self.assertEqual(
            (pages.lifetime, pages.keyScheme, pages.generations),
            (3600, 'compatible', False))
        client.lifetime = 5
        self.assertEqual(pages.lifetime, 5)

    def test_settings(self):
        load(CLIENT + '''
            <p01:memcacheRegion name="pages" region="p&#252;"
                lifetime="60" keyScheme="strict" generations="yes" />''')
        client, pages = (
            getUtility(IMemcacheClient, name) for name in ('', 'pages'))
        self.assertEqual(
            (pages.lifetime, pages.keyScheme, pages.generations),
            (60, 'strict', True))
        self.assertEqual(
            pages.buildKey('key'),
            client.region('p\xfc', keyScheme='strict').buildKey('key'))
        client.lifetime = 5
        self.assertEqual(pages.lifetime, 60)

    def test_the_order_does_not_matter(self):
        load('<p01:memcacheRegion name="pages" client="shop" />'
             f'<p01:memcache {FAKE} name="shop" />'
             '<p01:memcacheRegion name="inner" client="pages" />')
        inner = getUtility(IMemcacheClient, 'inner')
        self.assertEqual(
            repr(inner), "<FakeUltraMemcacheClient 127.0.0.1:11211,"
            " region 'pages', region 'inner'>")

    def test_all_are_registered(self):
        load(CLIENT + '<p01:memcacheRegion name="a" />'
             '<p01:memcacheRegion name="b" />')
        self.assertEqual(
            {name for name, _ in
             zope.component.getUtilitiesFor(IMemcacheClient)}, {'', 'a', 'b'})

    def test_errors(self):
        for directive, *words in (
                ('<p01:memcacheRegion />', 'name'),
                ('<p01:memcacheRegion name="" />', 'Conflicting'),
                ('<p01:memcacheRegion name="a" region="" />', 'region'),
                ('<p01:memcacheRegion name="a" client="none" />',
                 'ComponentLookupError', "'none'"),
                ('<p01:memcacheRegion name="a" lifetime="-1" />',
                 'lifetime -1', 'at least 0'),
                ('<p01:memcacheRegion name="a" keyScheme="x" />',
                 "keyScheme 'x'", 'strict'),
                ('<p01:memcacheRegion name="a" generations="x" />',
                 "generations 'x'", 'true or false'),
                ('<p01:memcacheRegion name="a" timeout="1" />',
                 'Unrecognized', 'timeout')):
            with self.subTest(directive):
                with self.assertRaises(ConfigurationError) as caught:
                    load(CLIENT + '\n' + directive)
                for word in ('File "site.zcml"', *words):
                    self.assertIn(word, str(caught.exception))
                self.assertIsNone(queryUtility(IMemcacheClient, 'a'))
                self.tearDownAgain()

    def tearDownAgain(self):
        zope.component.testing.tearDown(self)
        zope.component.testing.setUp(self)

    def test_the_same_name_as_a_client(self):
        with self.assertRaises(ConfigurationConflictError):
            load(f'<p01:memcache {FAKE} name="a" />'
                 '<p01:memcacheRegion name="a" client="a" />')

    def test_permissions_are_those_of_its_client(self):
        load(f'''
            <include package="zope.security" />
            <p01:memcache {FAKE} permission="zope.ManageSite" />
            <p01:memcacheRegion name="pages" />''')
        pages = ProxyFactory(getUtility(IMemcacheClient, 'pages'))
        logIn('zope.View')
        self.assertRaises(Unauthorized, lambda: pages.query)
        logIn('zope.ManageSite')
        self.assertIsNone(pages.query('key'))
        inner = pages.region('inner')
        inner.set('key', 1)
        self.assertEqual(inner.query('key'), 1)
        logIn('zope.View')
        self.assertRaises(Unauthorized, lambda: inner.query)
