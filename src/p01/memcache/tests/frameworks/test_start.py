# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The start of Zope, with the package's ZCML."""

import os
import subprocess
import sys
import unittest


STARTED = """
import logging
import warnings

from Zope2.App import zcml

told = []
logging.getLogger().addHandler(logging.Handler())
logging.Handler.emit = lambda self, record: told.append(record.getMessage())
warnings.simplefilter('always')
warnings.showwarning = lambda message, *args: told.append(str(message))

import Products.Five
for name in 'meta.zcml', 'configure.zcml':
    zcml.load_config(name, Products.Five)
told.clear()

import p01.memcache
for name in 'meta.zcml', 'configure.zcml':
    zcml.load_config(name, p01.memcache)
from p01.memcache.uclient import UltraMemcacheClient
from zope.security.checker import getCheckerForInstancesOf

assert getCheckerForInstancesOf(UltraMemcacheClient) is None
for name in 'query', 'timeout', 'ssl_context':
    assert getattr(UltraMemcacheClient, name + '__roles__')

zcml.load_string('''
    <configure xmlns:p01="http://namespaces.zope.org/p01"
               xmlns="http://namespaces.zope.org/zope">
      <include package="p01.memcache.plone" />
      <p01:memcache name="declared" />
      <p01:memcache name="own" permission="zope2.View"
          transactional="true" />
      <p01:dependencies for="*" />
      <p01:memoize lifetime="60" />
    </configure>''')
print(told)
"""


class ZopeTest(unittest.TestCase):

    def test_start(self):
        done = subprocess.run(
            [sys.executable, '-c', STARTED], capture_output=True, text=True,
            timeout=120, env={
                **os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
        self.assertEqual((done.stdout, done.stderr), ('[]\n', ''))
