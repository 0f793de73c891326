# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Configuring a site by ZCML."""

import unittest

import zope.component
import zope.component.testing
from zope.configuration import xmlconfig
from zope.interface import implementer
from zope.security import management
from zope.security.checker import getCheckerForInstancesOf
from zope.security.checker import undefineChecker

from p01.memcache.client import MemcacheClient
from p01.memcache.features.lookup import LookUp
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


SITE = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:p01="http://namespaces.zope.org/p01"
    i18n_domain="p01">
%s
</configure>
"""

PACKAGE = """\
<include package="p01.memcache" file="meta.zcml" />
<include package="p01.memcache" />
"""


def load(directives, package=PACKAGE):
    xmlconfig.string(SITE % (package + directives), name='site.zcml')


_policy = management.getSecurityPolicy()


def setUpZCML(test):
    """Start with nothing registered, defined or granted."""
    zope.component.testing.setUp(test)


def setUpDocument(test):
    """Set up zcml.txt: each load() there is an application of its own."""
    def loadAfresh(directives):
        tearDownZCML(test)
        load(directives)

    setUpZCML(test)
    test.globs.update(load=loadAfresh, logIn=logIn)


def tearDownZCML(test=None):
    management.endInteraction()
    management.setSecurityPolicy(_policy)
    for client in MemcacheClient, UltraMemcacheClient, LookUp:
        if getCheckerForInstancesOf(client) is not None:
            undefineChecker(client)
    zope.component.testing.tearDown(test)


class Interaction:
    """An interaction that grants these permissions."""

    def __init__(self, permissions):
        self.permissions = permissions

    def checkPermission(self, permission, object):
        return permission in self.permissions


def logIn(*permissions):
    """From now on, grant untrusted code these permissions."""
    management.endInteraction()
    management.setSecurityPolicy(lambda: Interaction(permissions))
    management.newInteraction()


@implementer(IMemcacheClient)
class Recorder:
    """A factory, and the client it makes, which is none of ours."""

    made = []

    def __init__(self, **attributes):
        self.attributes = attributes
        self.made.append(attributes)


def fail(**attributes):
    raise ValueError('cannot be made')


class ZCMLTestCase(unittest.TestCase):

    def setUp(self):
        setUpZCML(self)
        self.addCleanup(tearDownZCML, self)
        Recorder.made.clear()
