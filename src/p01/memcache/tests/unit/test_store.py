# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The store's interface, and its rule for changes with unknown outcomes."""

import unittest

from zope.interface.verify import verifyObject

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Set


class InterfaceTest(unittest.TestCase):

    def test_stores(self):
        for factory in (UltraMemcacheClient, MemcacheClient,
                        FakeUltraMemcacheClient, FakeMemcacheClient):
            with self.subTest(factory.__name__):
                client = factory()
                self.addCleanup(client.close)
                verifyObject(IStore, client._state.store)


class ScriptedStore(Store):
    """Gives scripted replies by key, and notes what it has to do."""

    def __init__(self, replies=None, trouble=None, absent=None):
        self.replies = replies or {}
        self.trouble = trouble
        self.absent = absent or {}
        self.owed = []
        self.removed = []

    def owe(self, key):
        self.owed.append(key)

    def run(self, command):
        return self._change('server', command, 0)

    def _ask(self, server, command, deadline):
        reply = self.replies[command.key]
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def _ask_many(self, commands, replies, deadline):
        replies.update(self.replies)
        if self.trouble is not None:
            raise self.trouble
        return self.absent

    def _remove(self, keys, deadline):
        self.removed += keys
        raise ReceiveTimeout('late')


class RuleTest(unittest.TestCase):

    def test_a_change_that_succeeds(self):
        store = ScriptedStore({b'a': True})
        self.assertIs(store.run(Set(b'a', b'', 0, 0)), True)
        self.assertEqual((store.owed, store.removed), ([], []))

    def test_an_unknown_outcome(self):
        for error in ReceiveTimeout('late'), KeyboardInterrupt():
            store = ScriptedStore({b'a': error})
            with self.assertRaises(type(error)):
                store.run(Delete(b'a'))
            self.assertEqual((store.owed, store.removed), ([b'a'], []))

    def test_a_refused_change(self):
        store = ScriptedStore({b'a': ServerError('no')})
        # The error of the removal is the more serious one.
        with self.assertRaises(ReceiveTimeout):
            store.run(Set(b'a', b'', 0, 0))
        self.assertEqual((store.owed, store.removed), ([b'a'], [b'a']))

    def test_a_change_that_was_not_sent(self):
        store = ScriptedStore({b'a': LeaseLost('over')})
        with self.assertRaises(LeaseLost):
            store.run(Set(b'a', b'', 0, 0))
        self.assertEqual((store.owed, store.removed), ([], []))

    def test_many(self):
        replies = {b'done': True, b'late': ReceiveTimeout('late'),
                   b'refused': ServerError('no')}
        store = ScriptedStore(replies)
        self.assertEqual(
            store.run_many([Set(key, b'', 0, 0) for key in replies], 0),
            replies)
        self.assertEqual(store.owed, [b'late', b'refused'])
        self.assertEqual(store.removed, [b'refused'])

    def test_many_are_interrupted(self):
        store = ScriptedStore({b'done': True}, KeyboardInterrupt())
        with self.assertRaises(KeyboardInterrupt):
            store.run_many(
                [Set(key, b'', 0, 0) for key in (b'done', b'open')], 0)
        self.assertEqual(store.owed, [b'open'])

    def test_many_of_an_absent_server(self):
        # It was done on the stand-in, and its own server owes it.
        error = ServerDown('down')
        store = ScriptedStore({b'a': True}, absent={b'a': error})
        self.assertEqual(store.run_many([Delete(b'a')], 0), {b'a': error})
        self.assertEqual(store.owed, [])

    def test_an_error_is_a_reply(self):
        store = ScriptedStore({b'a': MemcacheError('no')})
        [reply] = store.run_many([Delete(b'a')], 0).values()
        self.assertIsInstance(reply, MemcacheError)
