# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The examples of console/README.txt."""

import doctest
import json
import unittest
from fractions import Fraction
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.support.terminal import call
from p01.memcache.tests.zope.test_doc import FLAGS
from p01.memcache.tests.zope.test_doc import REFUSING
from p01.memcache.tests.zope.test_doc import setUp
from p01.memcache.tests.zope.test_doc import tearDown
from p01.memcache.uclient import UltraMemcacheClient


def run(*words):
    status, output, errors = call(*words)
    print(output + errors, end='')
    if status:
        print('exit status', status)


def setUpConsole(test):
    setUp(test)
    server = test.cleanUp.enter_context(EmbeddedServer())
    test.cleanUp.enter_context(mock.patch.dict(
        'os.environ', MEMCACHE_SERVERS=server.address, COLUMNS='72'))
    test.cleanUp.enter_context(mock.patch('sys.stdin.isatty', lambda: False))
    client = UltraMemcacheClient([server.address])
    client.set('front-page', {'title': 'Shoes', 'prices': [79, 120]})
    client.set('third', Fraction(1, 3))
    # The generation of the other client was a miss, too.
    for key in 'nothing', *['front-page'] * 6:
        client.query(key)
    shop = UltraMemcacheClient(
        [server.address], namespace='shop', generations=True)
    shop.set('front-page', 'value')
    test.globs.update(
        client=client, address=server.address, refusing=REFUSING, run=run,
        json=lambda *words: json.loads(call(*words)[1]),
        shop=shop)


def test_suite():
    return unittest.TestSuite([doctest.DocFileSuite(
        'console/README.txt', package='p01.memcache', setUp=setUpConsole,
        tearDown=tearDown, optionflags=FLAGS)])
