# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a ZODB says of its snapshots, by each kind of storage."""

import tempfile
import threading
import unittest

import transaction
import ZEO
import ZODB
from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from zope.interface.verify import verifyObject

from p01.memcache.snapshots import zodb
from p01.memcache.snapshots.database import IDatabase
from p01.memcache.tests.support.threads import at_once


class StorageCase(unittest.TestCase):

    def setUp(self):
        transaction.abort()
        self.addCleanup(transaction.abort)
        self.database = zodb.ZODB()
        self.db = self.open_db()

    def open_db(self, **kw):
        db = ZODB.DB(self.make(), **kw)
        self.addCleanup(db.close)
        return db

    def open(self, db=None, manager=None):
        connection = (db or self.db).open(manager)

        def close():
            connection.transaction_manager.abort()
            connection.close()

        self.addCleanup(close)
        return connection

    def elsewhere(self, number, db=None):
        """Commit in another transaction; return the id of the commit."""
        manager = transaction.TransactionManager()
        connection = (db or self.db).open(manager)
        root = connection.root()
        root['number'] = number
        manager.commit()
        tid = root._p_serial
        connection.close()
        return tid


class Storages:
    """A scenario for each kind of storage."""

    def test_a_snapshot(self):
        first = self.elsewhere(1)
        root = self.open().root()
        transaction.begin()
        self.assertEqual(self.database.snapshot(), first)
        self.assertEqual(self.database.last(), first)
        second = self.elsewhere(2)
        self.assertEqual(self.database.snapshot(), first)
        self.assertEqual(self.database.last(), second)
        self.assertEqual(root['number'], 1)
        transaction.begin()
        self.assertEqual(self.database.snapshot(), second)
        self.assertEqual(root['number'], 2)

    def test_what_it_commits_itself(self):
        root = self.open().root()
        transaction.begin()
        root['number'] = 3
        before = self.database.snapshot()
        self.assertEqual(self.database.last(), before)
        transaction.commit()
        self.assertEqual(self.database.last(), root._p_serial)
        transaction.begin()
        self.assertEqual(self.database.snapshot(), root._p_serial)
        self.assertGreater(self.database.snapshot(), before)

    def test_an_abort(self):
        root = self.open().root()
        transaction.begin()
        root['number'] = 3
        before = self.database.snapshot()
        transaction.abort()
        self.assertEqual(self.database.last(), before)

    def test_no_connection(self):
        self.assertIsNone(self.database.snapshot())
        connection = self.db.open()
        self.assertIsNotNone(self.database.snapshot())
        # Another thread has its own.
        self.assertEqual(
            at_once(lambda _: self.database.snapshot(), [1]), [None])
        transaction.abort()
        connection.close()
        self.assertIsNone(self.database.snapshot())

    def test_explicit_transactions(self):
        manager = transaction.TransactionManager(explicit=True)
        database = zodb.ZODB(manager=manager)
        first = self.elsewhere(1)
        connection = self.open(manager=manager)
        manager.begin()
        self.assertEqual(database.snapshot(), first)
        second = self.elsewhere(2)
        self.assertEqual(database.snapshot(), first)
        self.assertEqual(connection.root()['number'], 1)
        manager.commit()
        manager.begin()
        self.assertEqual(database.snapshot(), second)
        self.assertEqual(connection.root()['number'], 2)

    def test_two_connections(self):
        """One of them may see less than the other."""
        first = self.elsewhere(1)
        transaction.begin()
        self.open()
        second = self.elsewhere(2)
        other = self.open()
        self.assertEqual(self.database.snapshot(), first)
        transaction.begin()
        self.assertEqual(self.database.snapshot(), second)
        self.assertEqual(other.root()['number'], 2)

    def test_a_moment_in_the_past(self):
        first = self.elsewhere(1)
        at = self.elsewhere(2)
        connection = self.db.open(before=at)
        self.addCleanup(connection.close)
        self.assertEqual(connection.root()['number'], 1)
        self.assertGreaterEqual(self.database.snapshot(), first)
        self.assertLess(self.database.snapshot(), at)
        self.assertEqual(self.database.last(), at)
        transaction.abort()

    def test_many_commits(self):
        """The last commit is never earlier than one that has returned."""
        self.open()
        done, wrong = threading.Event(), []

        def commit(number):
            for step in range(30):
                tid = self.elsewhere(number * 1000 + step)
                if zodb.last(self.db.storage) < tid:
                    wrong.append(tid)
            done.set()

        thread = threading.Thread(target=commit, args=(1,))
        thread.start()
        last = b''
        while not done.is_set():
            now = self.database.last()
            self.assertGreaterEqual(now, last)
            last = now
        thread.join()
        self.assertEqual(wrong, [])


class FileTest(Storages, StorageCase):

    def make(self):
        return FileStorage(f'{self.folder}/data.fs')

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        super().setUp()


class MappingTest(Storages, StorageCase):

    def make(self):
        return MappingStorage()


class DemoTest(Storages, StorageCase):

    def make(self):
        base = MappingStorage()
        db = ZODB.DB(base)
        self.before = self.elsewhere(0, db)
        return DemoStorage(base=base)

    def test_nothing_was_changed(self):
        self.open()
        self.assertEqual(self.database.last(), self.before)
        self.assertEqual(self.database.snapshot(), self.before)


class ZEOTest(Storages, StorageCase):
    """Two clients of one server: each lags behind the other."""

    def setUp(self):
        self.address, stop = ZEO.server(threaded=True)
        self.addCleanup(stop)
        super().setUp()
        self.other = self.open_db()

    def make(self):
        return ZEO.client(self.address)

    def elsewhere(self, number, db=None):
        tid = super().elsewhere(number, self.other)
        # `test_a_snapshot` wants it in the next snapshot.
        self.db.storage.ping()
        return tid

    def test_what_a_client_has_not_heard_of(self):
        self.open()
        transaction.begin()
        before = self.database.snapshot()
        # As long as nothing arrives.
        cache = self.db.storage._cache
        last = cache.getLastTid()
        cache.getLastTid = lambda: last
        tid = super().elsewhere(2, self.other)
        self.assertEqual(self.db.lastTransaction(), before)
        self.assertEqual(self.database.last(), tid)


class RelStorageTest(Storages, StorageCase):

    keep_history = False

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        super().setUp()

    def make(self):
        options = Options(keep_history=self.keep_history)
        return RelStorage(
            Sqlite3Adapter(self.folder, pragmas={}, options=options),
            options=options)

    def test_a_moment_in_the_past(self):
        if self.keep_history:
            super().test_a_moment_in_the_past()

    def test_read_only(self):
        tid = self.elsewhere(1)
        options = Options(keep_history=self.keep_history, read_only=True)
        db = ZODB.DB(RelStorage(
            Sqlite3Adapter(self.folder, pragmas={}, options=options),
            options=options))
        self.addCleanup(db.close)
        self.assertEqual(zodb.last(db.storage), tid)
        tid = self.elsewhere(2)
        self.assertEqual(zodb.last(db.storage), tid)

    def test_connections_are_used_again(self):
        pool = self.db.storage._store_connection_pool
        self.open()
        for _ in range(5):
            self.database.last()
            count = pool.pooled_connection_count
        self.assertEqual(count, pool.pooled_connection_count)

    def test_between_two_transactions(self):
        """It sees no snapshot until the next one begins."""
        manager = transaction.TransactionManager(explicit=True)
        database = zodb.ZODB(manager=manager)
        self.elsewhere(1)
        self.open(manager=manager)
        manager.begin()
        self.assertIsNotNone(database.snapshot())
        manager.abort()
        self.assertIsNone(database.snapshot())
        manager.begin()


class HistoryTest(RelStorageTest):

    keep_history = True


class DatabaseTest(StorageCase):

    def make(self):
        return MappingStorage()

    def test_interface(self):
        verifyObject(IDatabase, self.database)

    def test_several_databases(self):
        databases = {}
        for name in 'main', 'temporary':
            db = ZODB.DB(
                MappingStorage(), database_name=name, databases=databases)
            self.addCleanup(db.close)
        main, temporary = databases['main'], databases['temporary']
        self.elsewhere(1, main)
        connection = self.open(main)
        self.assertIsNotNone(self.database.snapshot())
        other = connection.get_connection('temporary')
        self.elsewhere(2, temporary)
        transaction.begin()
        # The other one was opened by it.
        self.assertEqual(self.database.snapshot(), main.lastTransaction())
        self.assertEqual(self.database.last(), main.lastTransaction())
        for name, one in ('main', connection), ('temporary', other):
            database = zodb.ZODB(name)
            self.assertEqual(
                database.last(), databases[name].lastTransaction())
            transaction.begin()
            self.assertEqual(database.snapshot(), database.last())
            self.assertIs(one.db(), databases[name])
        self.assertIsNone(zodb.ZODB('another').snapshot())
        self.open(temporary)
        with self.assertRaisesRegex(
                ValueError, 'there are main, temporary; name'):
            self.database.snapshot()

    def test_a_storage_around_another(self):
        """As zc.zlibstorage is, with and without snapshots of its own."""
        class Wrapper:

            def __init__(self, base):
                self.base = base

            def __getattr__(self, name):
                return getattr(self.base, name)

        tid = self.elsewhere(1)
        self.assertEqual(zodb.last(Wrapper(Wrapper(self.db.storage))), tid)
        connection = self.open()
        transaction.begin()

        class Instance(Wrapper):

            def __getattr__(self, name):
                raise AttributeError(name)

        self.assertEqual(zodb._seen(Instance(connection._storage)), tid)

    def test_an_unknown_storage(self):
        class Unknown:
            pass

        for question in zodb.last, zodb._seen:
            with self.assertRaisesRegex(TypeError, 'storage Unknown: '):
                question(Unknown())


if __name__ == '__main__':
    unittest.main()
