# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Tests with a client as the utility, of a server of their own."""

import unittest

import zope.component
import zope.component.testing

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


class UtilityTestCase(unittest.TestCase):

    keyScheme = 'compatible'

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)
        self.server = self.enterContext(EmbeddedServer())
        self.client = UltraMemcacheClient(
            [self.server.address], keyScheme=self.keyScheme)
        self.addCleanup(self.client.close)
        zope.component.provideUtility(self.client, IMemcacheClient)
