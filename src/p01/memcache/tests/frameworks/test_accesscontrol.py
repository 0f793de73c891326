# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What scripts and templates that are edited through the web may do."""

import transaction
import zope.component
from AccessControl import ClassSecurityInfo
from AccessControl.class_init import InitializeClass
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.SecurityManagement import noSecurityManager
from AccessControl.unauthorized import Unauthorized
from AccessControl.ZopeGuards import guarded_getattr
from OFS.Application import Application
from OFS.Folder import Folder
from OFS.userfolder import UserFolder
from Products.PageTemplates.ZopePageTemplate import ZopePageTemplate
from Products.PythonScripts.PythonScript import PythonScript
from Testing.makerequest import makerequest
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.globalrequest import clearRequest
from zope.globalrequest import setRequest
from zope.interface import implementer

from p01.memcache.client import MemcacheClient
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.tests.support.zcml import PACKAGE
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.uclient import UltraMemcacheClient


ZOPE = """
<include package="Products.Five" file="meta.zcml" />
<include package="Products.Five" />
<permission id="shop.UseCache" title="Shop: Use the cache" />
"""

FAKE = 'p01.memcache.testing.FakeUltraMemcacheClient'

TEMPLATE = """<p tal:define="cache here/getCache"
 tal:content="python: cache.query('front')">no</p>"""

SCRIPT = "return context.getCache().query('front')"


class Shop(Folder):
    """A folder that hands the client to scripts and templates."""

    security = ClassSecurityInfo()

    security.declarePublic('getCache')

    def getCache(self):
        return zope.component.getUtility(IMemcacheClient)


InitializeClass(Shop)


@implementer(IMemcacheClient)
class Slotted:
    """A client of an application that has no room for a checker."""

    __slots__ = ()

    def query(self, key, raw=False, default=None):
        return 'slotted'

    def set(self, key, data, lifetime=None, raw=False, dependencies=()):
        pass


class Own(FakeUltraMemcacheClient):
    """A client of an application, with a method of its own."""

    def own(self):
        return 'own'


class AccessControlTestCase(ZCMLTestCase):

    def setUp(self):
        super().setUp()
        db = DB(MappingStorage())
        self.addCleanup(db.close)
        self.addCleanup(transaction.abort)
        root = db.open().root
        root.Application = Application()
        self.app = makerequest(root.Application)
        self.app._setObject('shop', Shop('shop'))
        self.shop = self.app.shop
        self.shop._setObject('acl_users', UserFolder())
        for users, name, role in (
                (self.app.acl_users, 'boss', 'Manager'),
                (self.app.acl_users, 'rita', 'Reader'),
                (self.app.acl_users, 'tom', 'Visitor'),
                (self.shop.acl_users, 'sam', 'Reader')):
            users._doAddUser(name, 'secret', [role], [])
        self.app.__ac_roles__ += ('Reader', 'Visitor')
        self.shop._setObject('page', ZopePageTemplate('page', TEMPLATE))
        self.app.REQUEST['PARENTS'] = [self.shop, self.app]
        setRequest(self.app.REQUEST)
        self.addCleanup(clearRequest)
        self.addCleanup(noSecurityManager)
        self.addCleanup(setSite)
        self.logIn(None)

    def configure(self, attributes='', factory=FAKE):
        load(ZOPE + PACKAGE + f'''
            <p01:memcache factory="{factory}" {attributes} />''', package='')
        client = zope.component.getUtility(IMemcacheClient)
        client.set('front', 'page')
        return client

    def logIn(self, name):
        if name is None:
            noSecurityManager()
            return
        users = self.shop.acl_users
        if users.getUser(name) is None:
            users = self.app.acl_users
        newSecurityManager(None, users.getUser(name).__of__(users))

    def assertForbidden(self, client, *names):
        for name in names:
            with self.subTest(name), self.assertRaises(Unauthorized):
                guarded_getattr(client, name)

    def assertAllowed(self, client, *names):
        for name in names:
            with self.subTest(name):
                guarded_getattr(client, name)


class PermissionTest(AccessControlTestCase):

    def test_a_permission_is_granted_to_a_role(self):
        client = self.configure('permission="shop.UseCache"')
        self.app.manage_permission('Shop: Use the cache', ['Reader'])
        for name, is_reader in (
                (None, False), ('tom', False), ('rita', True)):
            self.logIn(name)
            with self.subTest(name):
                if is_reader:
                    self.assertAllowed(client, 'query', 'set', 'lifetime')
                    self.assertEqual(self.shop.page().strip(), '<p>page</p>')
                else:
                    self.assertForbidden(client, 'query', 'set', 'lifetime')
                    with self.assertRaises(Unauthorized):
                        self.shop.page()

    def test_nobody_but_the_manager_by_default(self):
        client = self.configure('permission="shop.UseCache"')
        for name in None, 'tom', 'rita', 'sam':
            self.logIn(name)
            self.assertForbidden(client, 'query')
        self.logIn('boss')
        self.assertAllowed(client, 'query', 'invalidateAll')

    def test_what_is_not_in_the_interface(self):
        client = self.configure('permission="zope.Public"')
        self.logIn('boss')
        self.assertForbidden(
            client, '_state', 'after_fork', '__class__', 'resetCounts')

    def test_the_declarations_of_the_class(self):
        """Without a permission it is View, which is everybody's."""
        client = self.configure()
        self.assertAllowed(client, 'query', 'set', 'invalidateAll')
        self.assertEqual(self.shop.page().strip(), '<p>page</p>')
        self.app.manage_permission('View', ['Manager'])
        self.assertForbidden(client, 'query')

    def test_parts(self):
        client = self.configure('''
            permission="zope2.Private" readPermission="zope2.Public"
            writePermission="shop.UseCache"''')
        self.app.manage_permission('Shop: Use the cache', ['Reader'])
        self.assertAllowed(client, 'query', 'queryMany', 'timeout')
        self.assertForbidden(client, 'set', 'invalidateAll', 'getStatistics')
        self.logIn('rita')
        self.assertAllowed(client, 'query', 'set', 'getOrCreate')
        self.assertForbidden(client, 'invalidateAll', 'getStatistics')

    def test_a_part_without_permission_is_closed(self):
        client = self.configure('readPermission="zope.Public"')
        self.logIn('boss')
        self.assertAllowed(client, 'query')
        self.assertForbidden(client, 'set', 'invalidateAll', 'getPools')

    def test_the_site_decides(self):
        """Where a request is in a site, it is the permission there.

        Users of a folder that is no site have no rights at the root.
        """
        client = self.configure('permission="shop.UseCache"')
        self.app.manage_permission('Shop: Use the cache', ['Visitor'])
        self.shop.manage_permission('Shop: Use the cache', ['Reader'])
        self.logIn('sam')
        self.assertForbidden(client, 'query')
        zope.interface.alsoProvides(self.shop, ISite)
        self.shop.setSiteManager(zope.component.getGlobalSiteManager())
        setSite(self.shop)
        self.assertAllowed(client, 'query')
        self.logIn('tom')
        self.assertForbidden(client, 'query')

    def test_local_roles(self):
        client = self.configure('permission="shop.UseCache"')
        self.app.manage_permission('Shop: Use the cache', ['Reader'])
        self.logIn('tom')
        self.assertForbidden(client, 'query')
        self.app.manage_setLocalRoles('tom', ['Reader'])
        self.assertAllowed(client, 'query')

    def test_without_a_request(self):
        client = self.configure('permission="shop.UseCache"')
        self.app.manage_permission('Shop: Use the cache', ['Reader'])
        clearRequest()
        self.logIn('rita')
        self.assertForbidden(client, 'query')

    def test_nothing_can_be_set(self):
        client = self.configure('permission="zope.Public"')
        from AccessControl.ZopeGuards import full_write_guard
        self.logIn('boss')
        with self.assertRaisesRegex(TypeError, 'attribute-less object'):
            full_write_guard(client).lifetime = 5

    def test_trusted_code(self):
        client = self.configure('permission="zope2.Private"')
        self.assertEqual(client.query('front'), 'page')
        client.lifetime = 60
        self.assertEqual(client.lifetime, 60)
        self.assertTrue(IUltraMemcacheClient.providedBy(client))
        self.assertEqual(type(client).__name__, 'FakeUltraMemcacheClient')

    def test_what_an_application_has_declared_in_addition(self):
        load(ZOPE + PACKAGE + f'''
            <class class="{__name__}.Own">
              <require permission="zope2.Public" attributes="query own" />
            </class>
            <p01:memcache name="declared" factory="{__name__}.Own" />
            <p01:memcache readPermission="zope2.Public"
                factory="{__name__}.Own" />''', package='')
        get = zope.component.getUtility
        self.assertAllowed(get(IMemcacheClient, 'declared'), 'query', 'own')
        self.assertAllowed(get(IMemcacheClient), 'query')
        self.assertForbidden(get(IMemcacheClient), 'own')

    def test_two_clients(self):
        """The permissions of one are not those of the other."""
        load(ZOPE + PACKAGE + f'''
            <p01:memcache name="open" permission="zope.Public"
                factory="{FAKE}" />
            <p01:memcache name="closed" permission="zope2.Private"
                factory="{FAKE}" />''', package='')
        get = zope.component.getUtility
        self.assertAllowed(get(IMemcacheClient, 'open'), 'query')
        self.assertForbidden(get(IMemcacheClient, 'closed'), 'query')

    def test_the_classic_client(self):
        load(ZOPE + PACKAGE + '''
            <p01:memcache permission="zope.Public"
                factory="p01.memcache.client.MemcacheClient" />''', package='')
        client = zope.component.getUtility(IMemcacheClient)
        self.assertIsInstance(client, MemcacheClient)
        self.assertAllowed(client, 'query')

    def test_a_transactional_client(self):
        client = self.configure(
            'permission="shop.UseCache" transactional="true"')
        self.assertForbidden(client, 'query')
        self.app.manage_permission('Shop: Use the cache', ['Reader'])
        self.logIn('rita')
        self.assertAllowed(client, 'query')
        self.assertEqual(self.shop.page().strip(), '<p>page</p>')

    def test_a_region(self):
        """It has the permissions of its client."""
        load(ZOPE + PACKAGE + f'''
            <p01:memcache permission="zope2.Private"
                readPermission="zope.Public" factory="{FAKE}" />
            <p01:memcacheRegion name="pages" />''', package='')
        region = zope.component.getUtility(IMemcacheClient, 'pages')
        self.assertAllowed(region, 'query')
        self.assertForbidden(region, 'set')

    def test_classes_keep_their_declarations(self):
        self.configure('permission="zope2.Private"')
        client = UltraMemcacheClient()
        self.assertEqual(type(client), UltraMemcacheClient)
        self.assertFalse(hasattr(client, '__parent__'))

    def test_a_script(self):
        self.configure('permission="shop.UseCache"')
        self.app.manage_permission('Shop: Use the cache', ['Reader'])
        script = PythonScript('front')
        script.write(SCRIPT)
        self.shop._setObject('front', script)
        self.logIn('tom')
        with self.assertRaises(Unauthorized):
            self.shop.front()
        self.logIn('rita')
        self.assertEqual(self.shop.front(), 'page')

    def test_a_class_with_slots(self):
        self.app.manage_permission('View', ['Reader'])
        client = self.configure(
            'permission="zope.Public"', f'{__name__}.Slotted')
        self.assertAllowed(client, 'query')


class RolesTest(AccessControlTestCase):

    def test_an_unknown_permission(self):
        with self.assertRaisesRegex(Exception, 'Undefined permission'):
            self.configure('permission="shop.Unknown"')
