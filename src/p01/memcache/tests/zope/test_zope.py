# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The package's ZCML under Zope's directives, those of Products.Five.

These tests are run without Zope, which would take 70 more eggs. So `Five` does
what AccessControl's directive does. For Zope itself see the tests of
``frameworks``.
"""

import warnings

from zope.schema import getFieldNames
from zope.security.checker import getCheckerForInstancesOf
from zope.security.checker import undefineChecker
from zope.security.metaconfigure import ClassDirective

from p01.memcache.client import MemcacheClient
from p01.memcache.features.lookup import LookUp
from p01.memcache.interfaces import ILookUp
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.tests.support.zcml import PACKAGE
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.uclient import UltraMemcacheClient


CLASSES = {
    MemcacheClient: IMemcacheClient,
    UltraMemcacheClient: IUltraMemcacheClient,
}

DIRECTIVES = f"""
<include package="zope.security" file="meta.zcml" />
<meta:directives
    xmlns:meta="http://namespaces.zope.org/meta"
    namespace="http://namespaces.zope.org/zope">
  <meta:complexDirective
      name="class"
      schema="zope.security.metadirectives.IClassDirective"
      handler="{__name__}.Five">
    <meta:subdirective
        name="require"
        schema="zope.security.metadirectives.IRequireSubdirective" />
  </meta:complexDirective>
</meta:directives>
"""


class Five(ClassDirective):
    """Zope's own declaration: it protects attributes of a class."""

    declared = []  # noqa: RUF012
    told = []  # noqa: RUF012

    def require(self, _context, permission=None, attributes=None,
                interface=None, set_schema=None, **kw):
        class_ = self._ClassDirective__class
        if set_schema:
            warnings.warn(
                'The set_schema option of the <require /> directive is not'
                f' supported in Zope 2. Ignored for {class_}', stacklevel=3)
        for each in interface or ():
            for name in each.names(all=True):
                self.declared.append((class_, name, permission))
                if not hasattr(class_, name):
                    self.told.append((class_, name))


class FiveTest(ZCMLTestCase):

    def setUp(self):
        super().setUp()
        Five.declared.clear()
        Five.told.clear()

    def test_there_is_no_warning(self):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            load('', DIRECTIVES + PACKAGE)
        self.assertEqual([str(each.message) for each in caught], [])
        self.assertEqual(Five.told, [])

    def test_there_is_no_warning_as_an_error(self):
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            load('', DIRECTIVES + PACKAGE)

    def test_zopes_own_protection_remains(self):
        load('', DIRECTIVES + PACKAGE)
        self.assertEqual(sorted(Five.declared, key=str), sorted((
            (class_, name, permission)
            for class_, interface, permission in (
                *((*each, 'zope.View') for each in CLASSES.items()),
                (LookUp, ILookUp, 'zope.Public'))
            for name in interface.names(all=True)), key=str))
        # Nor does zope.security get a new checker.
        for class_ in CLASSES:
            self.assertIsNone(getCheckerForInstancesOf(class_))

    def test_an_applications_own_warning_is_shown(self):
        with self.assertWarnsRegex(UserWarning, 'set_schema .* Ignored'):
            load(f'''
                <class class="{__name__}.Own">
                  <require permission="zope.View"
                      set_schema="p01.memcache.interfaces.IMemcacheClient" />
                </class>''', DIRECTIVES + PACKAGE)

    def test_a_class_of_an_application(self):
        load(f'''
            <class class="{__name__}.Own">
              <require permission="zope.View"
                  interface="p01.memcache.interfaces.IUltraMemcacheClient" />
            </class>''', DIRECTIVES + PACKAGE)
        self.assertEqual(Five.told, [])


class Own(UltraMemcacheClient):
    """A client of an application."""


class CheckerTest(ZCMLTestCase):
    """zope.security's protection stays the same."""

    def permissions(self, class_):
        checker = getCheckerForInstancesOf(class_)
        return dict(checker.get_permissions), dict(checker.set_permissions)

    def test_permissions(self):
        load('')
        for class_, interface in CLASSES.items():
            self.assertEqual(self.permissions(class_), (
                dict.fromkeys(interface.names(all=True), 'zope.View'),
                dict.fromkeys(
                    getFieldNames(interface), 'zope.ManageServices')))

    def test_an_application_has_precedence(self):
        load('''
            <include package="zope.security" />
            <class class="p01.memcache.client.MemcacheClient">
              <require permission="zope.ManageSite"
                  interface="p01.memcache.interfaces.IMemcacheClient"
                  set_schema="p01.memcache.interfaces.IMemcacheReader" />
            </class>''')
        self.assertEqual(self.permissions(MemcacheClient), (
            dict.fromkeys(IMemcacheClient.names(all=True), 'zope.ManageSite'),
            dict.fromkeys(getFieldNames(IMemcacheClient), 'zope.ManageSite')))

    def test_a_class_like_ours(self):
        self.addCleanup(undefineChecker, Own)
        load(f'''
            <class class="{__name__}.Own">
              <require like_class="p01.memcache.uclient.UltraMemcacheClient" />
            </class>''')
        self.assertEqual(
            self.permissions(Own), self.permissions(UltraMemcacheClient))
