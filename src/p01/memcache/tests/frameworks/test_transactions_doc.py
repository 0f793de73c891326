# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The examples of transactions.txt."""

import unittest

import transaction

from p01.memcache import testing
from p01.memcache.tests.zope.test_doc import document
from p01.memcache.tests.zope.test_doc import setUpConsole


def setUp(test):
    transaction.abort()
    setUpConsole(test)
    test.cleanUp.callback(transaction.abort)


def test_suite():
    return unittest.TestSuite((
        document('transactions.txt', setUp, layer=testing.EmbeddedLayer),
    ))
