# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Zope's SESSION by Products.mcdutils on the utility."""

import time
import unittest
from unittest import mock

import Products.Five
import transaction
import zope.component
import zope.component.testing
from OFS.Application import Application
from persistent.mapping import PersistentMapping
from Products.mcdutils.mapping import MemCacheMapping
from Products.mcdutils.proxy import MemCacheProxy
from Products.mcdutils.tests import test_mapping
from Products.mcdutils.tests import test_proxy
from Products.mcdutils.tests import test_sessiondata
from Products.mcdutils.zcache import MemCacheZCacheManager
from Testing.makerequest import makerequest
from zope.configuration import xmlconfig
from zope.ramcache.interfaces.ram import IRAMCache
from zope.session.interfaces import ISessionDataContainer

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.mcdutils.client import SessionClient
from p01.memcache.session import MemcacheSessionDataContainer
from p01.memcache.tests.frameworks.mcdutilsapp import make_app
from p01.memcache.tests.support.zcml import SITE
from p01.memcache.tests.support.zcml import tearDownZCML
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


ZCML = '''
<configure xmlns="http://namespaces.zope.org/zope">
  <include package="p01.memcache.mcdutils" />
</configure>
'''


class McdutilsTestCase(unittest.TestCase):

    serializer = 'pickle'

    def makeUtility(self, client):
        return client

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(tearDownZCML, self)
        self.addCleanup(
            setattr, MemCacheProxy, 'client', MemCacheProxy.client)
        self.server = self.enterContext(EmbeddedServer())
        self.client = UltraMemcacheClient(
            [self.server.address], serializer=self.serializer)
        self.addCleanup(self.client.close)
        zope.component.provideUtility(
            self.makeUtility(self.client), IMemcacheClient)
        xmlconfig.string(ZCML)
        self.addCleanup(transaction.abort)


class SessionTest(McdutilsTestCase):

    def session(self, app):
        return app.session_data_manager.getSessionData()

    def begin(self, **values):
        """Store a session; return its browser's id."""
        app = make_app()
        self.session(app).update(values)
        transaction.commit()
        return app.browser_id_manager.getBrowserId()

    def found(self, browser_id):
        return dict(self.session(make_app(browser_id)))

    def test_the_client(self):
        self.assertIs(type(make_app().proxy.client), SessionClient)
        self.assertIs(make_app().proxy.client.client,
                      zope.component.getUtility(IMemcacheClient))

    def test_commit(self):
        browser_id = self.begin(color='red', cart=['apples'])
        self.assertEqual(
            self.found(browser_id), {'color': 'red', 'cart': ['apples']})
        session = self.session(make_app(browser_id))
        self.assertIsInstance(session, MemCacheMapping)
        session['color'] = 'blue'
        transaction.commit()
        self.assertEqual(self.found(browser_id)['color'], 'blue')

    def test_abort(self):
        browser_id = self.begin(color='red')
        self.session(make_app(browser_id))['color'] = 'blue'
        transaction.abort()
        self.assertEqual(self.found(browser_id), {'color': 'red'})

    def test_others_have_none(self):
        self.begin(color='red')
        self.assertEqual(dict(self.session(make_app())), {})

    def test_named_client(self):
        other = UltraMemcacheClient([self.server.address], namespace='other')
        self.addCleanup(other.close)
        zope.component.provideUtility(other, IMemcacheClient, 'proxy')
        self.assertIs(make_app().proxy.client.client, other)

    def test_expires(self):
        now = time.time()
        self.client.lifetime = 600
        with mock.patch('time.time', lambda: now), mock.patch.object(
                self.client, 'set', wraps=self.client.set) as set_, \
                mock.patch.object(
                    self.client, 'cas', wraps=self.client.cas) as cas:
            browser_id = self.begin(color='red')
            self.assertEqual(set_.call_args.kwargs, {'lifetime': 600})
            now += 99
            self.found(browser_id)
            cas.assert_not_called()
            now += 3
            self.assertEqual(self.found(browser_id), {'color': 'red'})
            cas.assert_called_once()
            now += 99
            self.found(browser_id)
            cas.assert_called_once()
            self.client.lifetime = 0
            now += 1000
            self.found(browser_id)
            cas.assert_called_once()

    def test_wrong_values_do_not_break_the_commit(self):
        browser_id = self.begin(color='red')
        session = self.session(make_app(browser_id))
        session['wrong'] = [PersistentMapping()]
        with self.assertLogs('p01.memcache', 'ERROR') as logs:
            transaction.commit()
        self.assertIn('lost', logs.output[0])
        self.assertEqual(self.found(browser_id), {'color': 'red'})

    def test_down(self):
        browser_id = self.begin(color='red')
        self.server.stop()
        with self.assertLogs('p01.memcache', 'WARNING'):
            session = self.session(make_app(browser_id))
            self.assertEqual(dict(session), {})
            session['color'] = 'blue'
            transaction.commit()

    def test_invalidate(self):
        browser_id = self.begin(color='red')
        self.session(make_app(browser_id)).invalidate()
        transaction.commit()
        self.assertEqual(self.found(browser_id), {})


class JSONSessionTest(SessionTest):

    serializer = 'json'


class TransactionalSessionTest(SessionTest):

    # It sets the attributes of the client.
    test_expires = None

    def makeUtility(self, client):
        return Transactional(client)


class FiveTest(McdutilsTestCase):
    """The lines of ZCML with the directives of Zope."""

    def test_each_room(self):
        context = xmlconfig.file('meta.zcml', Products.Five)
        xmlconfig.string(SITE % '''
            <include package="p01.memcache.ramcache" />
            <include package="p01.memcache.session" />
            <include package="p01.memcache.mcdutils" />''', context=context)
        cache = zope.component.getUtility(IRAMCache)
        cache.set('value', 'path')
        self.assertEqual(cache.query('path'), 'value')
        sessions = zope.component.getUtility(ISessionDataContainer)
        self.assertIsInstance(sessions, MemcacheSessionDataContainer)
        self.assertIsNone(sessions.get('anna'))


class ProxyTest(McdutilsTestCase):

    def test_values(self):
        proxy = MemCacheProxy('proxy')
        self.assertIsNone(proxy.get(b'key'))
        self.assertTrue(proxy.set(b'key', {'a': 1}))
        self.assertEqual(proxy.get(b'key'), {'a': 1})
        self.assertFalse(proxy.add(b'key', 'other'))
        self.assertTrue(proxy.replace(b'key', 'other'))
        mapping = proxy.create(b'session')
        mapping['a'] = 1
        self.assertTrue(proxy.add(b'session', mapping))
        found = proxy.get_multi([b'key', b'session', b'missing'])
        self.assertEqual(found, {b'key': 'other', b'session': {'a': 1}})
        self.assertIsInstance(found[b'session'], MemCacheMapping)
        self.assertTrue(proxy.delete(b'key'))
        self.assertFalse(proxy.delete(b'key'))

    def test_cache(self):
        app = makerequest(Application())
        app._setObject('proxy', MemCacheProxy('proxy'))
        manager = MemCacheZCacheManager('cache')
        manager.proxy_path = 'proxy'
        app._setObject('cache', manager)
        cache = app.cache.ZCacheManager_getCache()
        cache.ZCache_set(app.proxy, 'page', 'view', {'a': 1})
        self.assertEqual(
            cache.ZCache_get(app.proxy, 'view', {'a': 1}), 'page')
        self.assertIsNone(cache.ZCache_get(app.proxy, 'view', {'a': 2}))
        cache.ZCache_invalidate(app.proxy)
        self.assertIsNone(cache.ZCache_get(app.proxy, 'view', {'a': 1}))


class OwnMappingTest(
        McdutilsTestCase, test_mapping.MemCacheMappingTests):
    """The product's own tests."""


class OwnProxyTest(McdutilsTestCase, test_proxy.MemCacheProxyTests):

    test_client = None  # it asks for the original


class OwnSessionDataTest(
        McdutilsTestCase, test_sessiondata.MemCacheSessionDataTests):
    pass
