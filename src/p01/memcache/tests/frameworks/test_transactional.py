# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Clients whose changes follow the transaction, on each kind of server."""

import contextlib
import os
import pickle
import threading
import unittest
from time import monotonic
from unittest import mock

import transaction
import zope.component
import zope.component.testing
from transaction.interfaces import DoomedTransaction
from transaction.interfaces import IDataManagerSavepoint
from transaction.interfaces import ISavepointDataManager
from transaction.interfaces import TransactionFailedError
from transaction.interfaces import TransientError
from zope.event import notify
from zope.interface.interfaces import IMethod
from zope.interface.verify import verifyObject

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import SerializationError
from p01.memcache.event import InvalidateCacheEvent
from p01.memcache.event import invalidateCache
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.leases.claim import is_watch
from p01.memcache.leases.claim import make_mark
from p01.memcache.leases.claim import make_watch
from p01.memcache.leases.lease import Lending
from p01.memcache.store import Fill
from p01.memcache.store import IStore
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import getFakeBackend
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.frameworks.resource import Resource
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.values import MISSING
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.transactional import Transactional
from p01.memcache.transactional.batches import batches
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.flags import CLAIM
from p01.memcache.wire.command import Append
from p01.memcache.wire.command import Cas
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll
from p01.memcache.wire.command import Set
from p01.memcache.wire.command import Touch


class Boom(Exception):
    """What a test raises."""


def boom():
    raise Boom


class TransactionCase(Scenario):
    """The client ``cache`` follows the transaction, ``client`` does not."""

    def setUp(self):
        transaction.abort()
        self.addCleanup(transaction.abort)
        super().setUp()
        self.cache = Transactional(self.client)

    def found(self, key, client=None):
        return (client or self.client).query(key, default=MISSING)

    def assertOthersFind(self, **values):
        """Check what the others find, by key."""
        self.assertEqual(
            {key: self.found(key) for key in values}, values)

    def assertFinds(self, **values):
        """Check what the transaction itself finds, by any way to read."""
        for key, value in values.items():
            self.assertFound(self.cache, key, value)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class OutcomeScenario(TransactionCase):
    """What becomes of the changes of a transaction."""

    def setUp(self):
        super().setUp()
        self.client.setMany({'old': 1, 'gone': 1})

    def change(self):
        self.assertEqual(
            self.cache.set('old', 2), self.cache.buildKey('old'))
        self.assertIs(self.cache.invalidate('gone'), True)
        self.assertEqual(self.cache.setMany({'new': 2}), [])
        self.assertFinds(old=2, gone=MISSING, new=2)
        self.assertOthersFind(old=1, gone=1, new=MISSING)

    def assertChanged(self):
        self.assertOthersFind(old=2, gone=MISSING, new=2)

    def assertUnchanged(self):
        self.assertOthersFind(old=1, gone=1, new=MISSING)
        self.assertFinds(old=1, gone=1, new=MISSING)

    def test_without_a_transaction(self):
        self.cache.set('old', 2)
        self.cache.invalidate('gone')
        self.cache.setMany({'new': 2})
        self.assertChanged()
        # Nor did it begin one.
        self.assertIsNone(transaction.manager.manager._txn)

    def test_commit(self):
        transaction.begin()
        self.change()
        transaction.commit()
        self.assertChanged()
        self.assertIsNone(transaction.manager.manager._txn)

    def test_abort(self):
        transaction.begin()
        self.change()
        transaction.abort()
        self.assertUnchanged()

    def test_begin_aborts(self):
        transaction.begin()
        self.change()
        transaction.begin()
        self.assertUnchanged()
        transaction.commit()
        self.assertUnchanged()

    def test_a_transaction_that_has_begun_by_itself(self):
        transaction.get()
        self.change()
        transaction.commit()
        self.assertChanged()

    def test_several_in_turn(self):
        for number in range(3):
            with transaction.manager:
                self.cache.set('new', number)
            self.assertOthersFind(new=number)
            with self.assertRaises(Boom), transaction.manager:
                self.cache.set('new', -1)
                boom()
            self.assertOthersFind(new=number)

    def test_retries(self):
        tries = []

        def work():
            tries.append(self.found('new', self.cache))
            self.cache.set('new', len(tries))
            self.cache.increment('count', initial=1)
            if len(tries) < 3:
                raise TransientError

        transaction.manager.run(work)
        self.assertEqual(tries, [MISSING] * 3)
        self.assertOthersFind(new=3)
        self.assertEqual(self.client.query('count', raw=True), b'1')

    def test_attempts(self):
        tries = []
        for attempt in transaction.manager.attempts():
            with attempt:
                tries.append(self.found('new', self.cache))
                self.cache.set('new', len(tries))
                if len(tries) < 2:
                    Resource(tpc_vote=self.conflict)
        self.assertEqual(tries, [MISSING] * 2)
        self.assertOthersFind(new=2)

    def conflict(self):
        raise TransientError

    def test_doom(self):
        transaction.begin()
        self.cache.set('old', 2)
        transaction.doom()
        self.cache.invalidate('gone')
        self.cache.set('new', 2)
        self.assertFinds(old=2, gone=MISSING, new=2)
        with self.assertRaises(DoomedTransaction):
            transaction.commit()
        transaction.abort()
        self.assertUnchanged()

    def test_another_resource_fails(self):
        for phase in 'tpc_begin', 'commit', 'tpc_vote':
            with self.subTest(phase):
                transaction.begin()
                Resource(**{phase: boom})
                self.change()
                with self.assertRaises(Boom):
                    transaction.commit()
                # The transaction can only be aborted; until then it is there.
                self.cache.set('new', 3)
                self.cache.invalidate('old')
                with self.assertRaises(TransactionFailedError):
                    transaction.commit()
                self.assertOthersFind(old=1, gone=1, new=MISSING)
                transaction.abort()
                self.assertUnchanged()

    def test_the_finish_of_another_resource_fails(self):
        """The database may have finished before: what it changes is removed.
        """
        transaction.begin()
        Resource('a')
        Resource('b', tpc_finish=boom)
        self.change()
        self.cache.add('more', 1)
        self.cache.getOrCreate('computed', lambda: 1)
        with self.assertRaises(Boom):
            transaction.commit()
        self.assertOthersFind(
            old=MISSING, gone=MISSING, new=MISSING, more=MISSING,
            computed=MISSING)
        transaction.abort()
        self.assertOthersFind(old=MISSING)

    def test_servers_change_within(self):
        """All goes to those of the last change."""
        if 'Fake' in type(self).__name__:
            self.skipTest('it has no servers')
        with EmbeddedServer() as server:
            transaction.begin()
            self.cache.set('new', 1)
            former = self.cache.servers
            self.addCleanup(self.client._state.base.close)
            self.client.servers = [server.address]
            self.assertEqual(self.cache.servers, [server.address])
            self.cache.set('new', 2)
            self.assertEqual(self.cache.query('new'), 2)
            transaction.commit()
            self.assertOthersFind(new=2)
            self.cache.servers = former
            self.assertOthersFind(new=MISSING)

    def test_an_abort_of_another_resource_fails(self):
        transaction.begin()
        Resource(abort=boom)
        self.change()
        with self.assertRaises(Boom):
            transaction.abort()
        self.assertUnchanged()

    def test_the_others_commit_first(self):
        """The greatest sort key that we know of begins with tildes."""
        transaction.begin()
        seen = []
        for key in '~~~sql', '\uffff', '':
            Resource(key, tpc_finish=lambda: seen.append(self.found('old')))
        self.change()
        transaction.commit()
        self.assertEqual(seen, [1, 1, 1])
        self.assertChanged()

    def test_an_unpicklable_value(self):
        """It is refused at once, long before the finish."""
        transaction.begin()
        with self.assertRaises(SerializationError):
            self.cache.set('new', lambda: 1)
        with self.assertRaises(SerializationError):
            self.cache.setMany({'old': 2, 'new': lambda: 1})
        with self.assertRaises(ValueError):
            self.cache.set('new', 1, raw=True)
        transaction.commit()
        self.assertUnchanged()

    def test_errors_of_use(self):
        transaction.begin()
        for wrong in (lambda: self.cache.set('new', 1, -1),
                      lambda: self.cache.increment('new', -1),
                      lambda: self.cache.cas('new', 1, 'no token'),
                      lambda: self.cache.invalidateNamespace()):
            with self.assertRaises(ValueError):
                wrong()
        transaction.commit()
        self.assertUnchanged()

    def test_a_value_that_is_too_large(self):
        for size, key in (1 << 21, 'old'), (1 << 27, 'gone'):
            with self.subTest(size):
                transaction.begin()
                self.cache.set(key, b'x' * size, raw=True)
                self.assertOthersFind(**{key: 1})
                transaction.commit()
                self.assertOthersFind(**{key: MISSING})

    def test_own_manager(self):
        manager = transaction.TransactionManager(explicit=True)
        cache = Transactional(self.client, manager)
        cache.set('new', 1)
        self.assertOthersFind(new=1)
        manager.begin()
        cache.set('new', 2)
        self.assertOthersFind(new=1)
        # The thread's manager is another one.
        transaction.begin()
        transaction.commit()
        self.assertOthersFind(new=1)
        self.assertEqual(self.found('new', self.cache), 1)
        manager.commit()
        self.assertOthersFind(new=2)
        cache.set('new', 3)
        self.assertOthersFind(new=3)

    def test_two_clients_of_one_store(self):
        """They share their queue, so the order is right between them."""
        other = Transactional(self.client)
        transaction.begin()
        self.cache.set('new', 1)
        self.assertEqual(self.found('new', other), 1)
        other.set('new', 2)
        other.invalidate('old')
        self.assertFinds(new=2, old=MISSING)
        self.assertEqual(len(transaction.get()._resources), 1)
        self.cache.set('old', 3)
        transaction.commit()
        self.assertOthersFind(new=2, old=3)

    def test_no_wrapping_twice(self):
        cache = Transactional(Transactional(self.client))
        transaction.begin()
        cache.set('new', 1)
        self.assertOthersFind(new=MISSING)
        transaction.commit()
        self.assertOthersFind(new=1)

    def test_immediate(self):
        self.assertIs(self.client.immediate(), self.client)
        immediate = self.cache.immediate()
        self.assertIs(immediate, self.cache.immediate())
        self.assertIs(immediate, immediate.immediate())
        self.assertIs(type(immediate), type(self.cache))
        transaction.begin()
        self.cache.set('key', 'queued')
        immediate.set('key', 'at once')
        self.assertEqual(immediate.query('key'), 'at once')
        self.assertEqual(self.cache.query('key'), 'queued')
        region = self.cache.region('region')
        region.immediate().set('key', 'in the region')
        self.assertEqual(region.query('key'), 'in the region')
        self.assertEqual(immediate.query('key'), 'at once')
        self.cache.lifetime = 5
        self.assertEqual(immediate.lifetime, 5)
        transaction.abort()
        self.assertEqual(self.cache.query('key'), 'at once')

    def test_another_settings_change_within(self):
        transaction.begin()
        self.cache.set('new', 1)
        self.cache.lifetime = 7
        self.cache.set('old', 2)
        self.assertFinds(new=1, old=2)
        self.assertOthersFind(new=MISSING, old=1)
        transaction.commit()
        self.assertOthersFind(new=1, old=2)

    def test_nothing_is_joined_by_reads(self):
        transaction.begin()
        self.assertEqual(self.cache.queryMany(['old', 'new']), {'old': 1})
        self.assertEqual(self.cache.gets('old')[0], 1)
        self.cache.add('old', 2)
        self.cache.replace('new', 2)
        self.cache.increment('new')
        self.cache.getStatistics()
        self.assertEqual(transaction.get()._resources, [])


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class SavepointScenario(TransactionCase):

    def setUp(self):
        super().setUp()
        self.client.set('key', 0)
        transaction.begin()

    def test_rollback(self):
        self.cache.set('key', 1)
        savepoint = transaction.savepoint()
        self.cache.set('key', 2)
        self.cache.set('new', 2)
        savepoint.rollback()
        self.assertFinds(key=1, new=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1, new=MISSING)

    def test_rollback_to_before_the_first_change(self):
        savepoint = transaction.savepoint()
        for number in 1, 2:
            self.cache.set('key', number)
            savepoint.rollback()
            self.assertEqual(self.found('key', self.cache), 0)
            self.assertEqual(transaction.get()._resources, [])
        self.cache.set('new', 3)
        transaction.commit()
        self.assertOthersFind(key=0, new=3)

    def test_nested(self):
        self.cache.set('key', 1)
        outer = transaction.savepoint()
        self.cache.invalidate('key')
        inner = transaction.savepoint()
        self.cache.set('key', 3)
        self.cache.invalidateAll()
        self.assertFinds(key=MISSING)
        inner.rollback()
        self.assertFinds(key=MISSING)
        self.cache.add('key', 4)
        self.assertFinds(key=4)
        inner.rollback()
        self.assertFinds(key=MISSING)
        outer.rollback()
        self.assertFinds(key=1)
        self.assertFalse(inner.valid)
        self.cache.set('new', 5)
        outer.rollback()
        self.assertFinds(key=1, new=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1, new=MISSING)

    def test_no_rollback(self):
        self.cache.set('key', 1)
        transaction.savepoint()
        self.cache.set('new', 2)
        transaction.savepoint()
        transaction.commit()
        self.assertOthersFind(key=1, new=2)

    def test_tokens(self):
        self.cache.set('key', 1)
        _, token = self.cache.gets('key')
        savepoint = transaction.savepoint()
        self.cache.set('key', 2)
        self.assertIs(self.cache.cas('key', 3, token), False)
        savepoint.rollback()
        self.assertIs(self.cache.cas('key', 3, token), True)
        self.assertIs(self.cache.cas('key', 4, token), False)
        transaction.commit()
        self.assertOthersFind(key=3)

    def test_interfaces(self):
        self.cache.set('key', 1)
        [queue] = transaction.get()._resources
        verifyObject(ISavepointDataManager, queue)
        verifyObject(IDataManagerSavepoint, queue.savepoint())


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class OperationScenario(TransactionCase):
    """Every operation, as the transaction sees it and as others do."""

    def setUp(self):
        super().setUp()
        self.client.setMany({'key': 0, 'other': 0})
        self.client.set('raw', b'5', raw=True)
        transaction.begin()

    def raw(self, client):
        return client.query('raw', raw=True)

    def test_add(self):
        self.assertIs(self.cache.add('key', 1), False)
        self.assertIs(self.cache.add('new', 1), True)
        self.assertIs(self.cache.add('new', 2), False)
        self.cache.invalidate('key')
        self.assertIs(self.cache.add('key', 1), True)
        self.assertFinds(key=1, new=1)
        self.assertOthersFind(key=0, new=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1, new=1)

    def test_another_adds_first(self):
        """The server decides in the end."""
        self.assertIs(self.cache.add('new', 1), True)
        self.client.add('new', 2)
        transaction.commit()
        self.assertOthersFind(new=2)

    def test_replace(self):
        self.assertIs(self.cache.replace('new', 1), False)
        self.assertIs(self.cache.replace('key', 1), True)
        self.cache.invalidate('other')
        self.assertIs(self.cache.replace('other', 1), False)
        self.assertFinds(key=1, other=MISSING, new=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1, other=MISSING, new=MISSING)

    def test_append_and_prepend(self):
        self.assertIs(self.cache.append('new', b'1'), False)
        self.assertIs(self.cache.prepend('new', b'1'), False)
        self.assertIs(self.cache.append('raw', b'6'), True)
        self.assertIs(self.cache.prepend('raw', b'4'), True)
        self.assertEqual(self.raw(self.cache), b'456')
        self.assertEqual(self.raw(self.client), b'5')
        transaction.commit()
        self.assertEqual(self.raw(self.client), b'456')

    def test_counters(self):
        self.assertIsNone(self.cache.increment('new'))
        self.assertEqual(self.cache.increment('new', initial=8), 8)
        self.assertEqual(self.cache.increment('new', 4), 12)
        self.assertEqual(self.cache.decrement('new', 5), 7)
        self.assertEqual(self.cache.decrement('raw', 9), 0)
        self.assertEqual(self.cache.increment('raw', 2), 2)
        self.assertEqual(self.raw(self.client), b'5')
        # What another client adds meanwhile is not lost.
        self.client.increment('raw', 100)
        transaction.commit()
        self.assertEqual(self.client.increment('new', 0), 7)
        self.assertEqual(self.client.increment('raw', 0), 98)

    def test_counters_at_their_limits(self):
        self.client.set('raw', b'%d' % (2 ** 64 - 1), raw=True)
        self.assertEqual(self.cache.increment('raw', 3), 2)
        self.assertEqual(self.cache.increment('raw', 3), 5)
        self.assertIsNone(self.cache.increment('key'))  # a pickle
        for data in b'', b'-1', b'1x', b'%d' % 2 ** 64, b'1' * 21, b' 1':
            self.cache.set('wrong', data, raw=True)
            self.assertIsNone(self.cache.increment('wrong'))
        transaction.commit()
        self.assertEqual(self.client.increment('raw', 0), 5)

    def test_touch(self):
        self.assertIs(self.cache.touch('new', 600), False)
        self.assertIs(self.cache.touch('key', 600), True)
        self.assertEqual(self.cache.queryAndTouch('other', 600), 0)
        self.assertEqual(
            self.cache.queryAndTouch('new', 600, default=MISSING), MISSING)
        self.cache.set('new', 1)
        self.assertIs(self.cache.touch('new', 600), True)
        self.cache.invalidate('key')
        self.assertIs(self.cache.touch('key', 600), False)
        transaction.commit()
        self.assertOthersFind(key=MISSING, other=0, new=1)

    def test_cas(self):
        value, token = self.cache.gets('key')
        self.assertEqual(value, 0)
        self.assertIs(self.cache.cas('key', 1, token), True)
        self.assertFinds(key=1)
        self.assertOthersFind(key=0)
        self.assertIs(self.cache.cas('key', 2, token), False)
        _, token = self.cache.gets('key')
        self.assertIs(self.cache.cas('key', 3, token), True)
        self.assertIs(self.cache.cas('new', 3, token), None)
        self.cache.invalidate('key')
        self.assertIs(self.cache.cas('key', 4, token), None)
        self.cache.set('key', 5)
        transaction.commit()
        self.assertOthersFind(key=5)
        self.assertIs(self.cache.cas('key', 4, token), None)
        self.assertIs(self.client.cas('key', 4, token), None)
        self.assertOthersFind(key=5)

    def test_another_changes_it_before_a_cas(self):
        _, token = self.cache.gets('key')
        self.client.set('key', 1)
        self.assertIs(self.cache.cas('key', 2, token), False)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_another_changes_it_after_a_cas(self):
        _, token = self.cache.gets('key')
        self.assertIs(self.cache.cas('key', 2, token), True)
        self.client.set('key', 1)
        with self.assertLogs('p01.memcache') as log:
            transaction.commit()
        self.assertIn('another client has changed it', log.output[0])
        self.assertOthersFind(key=1)

    def test_invalidate_unchanged(self):
        for change, unchanged in (
                (lambda: None, True),
                (lambda: self.cache.set('key', 0), False)):
            _, token = self.cache.gets('key')
            change()
            self.assertIs(
                self.cache.invalidateUnchanged('key', token), unchanged)
            self.assertFinds(key=MISSING if unchanged else 0)
            self.assertIs(
                self.cache.invalidateUnchanged('key', token), unchanged)
            self.cache.set('key', 0)
        _, token = self.cache.gets('key')
        self.assertIs(self.cache.invalidateUnchanged('key', token), True)
        self.assertFinds(key=MISSING)
        self.assertOthersFind(key=0)
        _, token = self.cache.gets('other')
        self.assertIs(self.cache.invalidateUnchanged('other', token), True)
        transaction.commit()
        self.assertOthersFind(key=MISSING, other=MISSING)

    def test_another_changes_it_after_it_was_invalidated(self):
        _, token = self.cache.gets('key')
        self.assertIs(self.cache.invalidateUnchanged('key', token), True)
        self.client.set('key', 1)
        with self.assertLogs('p01.memcache') as log:
            transaction.commit()
        self.assertIn('another client has changed it', log.output[0])
        self.assertOthersFind(key=1)

    def test_many(self):
        self.assertEqual(self.cache.setMany({'a': 1, 'b': 2, 'key': 3}), [])
        self.assertEqual(self.cache.invalidateMany(['b', 'other']), [])
        names = 'a', 'b', 'key', 'other'
        self.assertEqual(self.cache.queryMany(names), {'a': 1, 'key': 3})
        self.assertEqual(self.client.queryMany(names), {'key': 0, 'other': 0})
        transaction.commit()
        self.assertEqual(self.client.queryMany(names), {'a': 1, 'key': 3})

    def test_invalidate_all(self):
        self.assertIsNone(self.cache.invalidateAll())
        self.assertFinds(key=MISSING, other=MISSING)
        self.cache.set('other', 1)
        self.assertFinds(other=1)
        self.assertIs(self.cache.add('key', 2), True)
        self.assertOthersFind(key=0, other=0)
        transaction.commit()
        self.assertOthersFind(key=2, other=1)
        self.assertIsNone(self.raw(self.client))

    def test_invalidate_all_with_a_delay(self):
        # The commit would have to wait.
        with self.assertRaisesRegex(
                ValueError, 'delay 60: must be 0 in a transaction'):
            self.cache.invalidateAll(delay=60)
        with self.assertRaisesRegex(ValueError, 'delay -1: must be a number'):
            self.cache.invalidateAll(delay=-1)
        self.assertFinds(key=0, other=0)
        self.assertIsNone(self.cache.immediate().invalidateAll(delay=60))
        self.assertOthersFind(key=MISSING, other=MISSING)
        transaction.abort()
        self.assertIsNone(self.cache.invalidateAll(delay=60))

    def test_dependencies(self):
        self.client.set('page', 1, dependencies=['x'])
        self.client.set('news', 1, dependencies=['y'])
        self.assertIs(self.cache.invalidateDependencies('x'), True)
        self.assertFinds(page=MISSING, news=1)
        self.assertOthersFind(page=1, news=1)
        self.cache.set('page', 2, dependencies=['x', 'y'])
        self.assertFinds(page=2)
        self.assertOthersFind(page=1)
        transaction.commit()
        self.assertOthersFind(page=2, news=1)
        self.client.invalidateDependencies('y')
        self.assertOthersFind(page=MISSING, news=MISSING)

    def test_dependencies_are_invalidated_meanwhile(self):
        self.cache.set('page', 1, dependencies=['x'])
        self.assertFinds(page=1)
        self.client.invalidateDependencies('x')
        self.assertFinds(page=MISSING)
        transaction.commit()
        self.assertOthersFind(page=MISSING)

    def test_dependencies_of_an_abort(self):
        self.client.set('page', 1, dependencies=['x'])
        self.cache.set('page', 2, dependencies=['x', 'new'])
        self.cache.invalidateDependencies('x')
        transaction.abort()
        self.assertOthersFind(page=1)
        self.client.set('news', 1, dependencies=['new'])
        self.assertOthersFind(news=1)

    def test_an_empty_value(self):
        """It is no claim, which would be a miss."""
        self.cache.set('raw', b'', raw=True)
        self.assertFoundRaw(self.cache, 'raw', b'')
        transaction.commit()
        self.assertFoundRaw(self.client, 'raw', b'')

    def test_the_largest_value(self):
        small = Transactional(self.makeClient(maxValueSize=10))
        small.set('raw', b'x' * 8, raw=True)
        small.append('raw', b'y' * 8)
        self.assertIsNone(self.raw(small))

    def test_conditions_with_dependencies(self):
        options = {'dependencies': ['x']}
        self.assertIs(self.cache.add('new', 1, **options), True)
        self.assertIs(self.cache.replace('key', 1, **options), True)
        _, token = self.cache.gets('other')
        self.assertIs(self.cache.cas('other', 1, token, **options), True)
        self.assertEqual(self.cache.setMany({'many': 1}, **options), [])
        values = {'new': 1, 'key': 1, 'other': 1, 'many': 1}
        self.assertFinds(**values)
        self.assertOthersFind(new=MISSING, key=0, other=0, many=MISSING)
        transaction.commit()
        self.assertOthersFind(**values)
        transaction.begin()
        self.cache.invalidateDependencies('x')
        self.assertFinds(**dict.fromkeys(values, MISSING))
        transaction.commit()
        self.assertOthersFind(**dict.fromkeys(values, MISSING))

    def test_order(self):
        """The same key again and again: the last change counts."""
        for number in range(50):
            self.cache.set('key', number)
            self.cache.invalidate('other')
            self.cache.increment('count', initial=1)
            self.cache.append('raw', b'%d' % (number % 10))
        self.cache.set('other', 'last')
        transaction.commit()
        self.assertOthersFind(key=49, other='last')
        self.assertEqual(self.client.increment('count', 0), 50)
        self.assertEqual(self.raw(self.client), b'5' + b'0123456789' * 5)

    def test_interfaces(self):
        self.assertIs(type(self.cache), type(self.client))
        verifyObject(self.interface, self.cache)
        verifyObject(IStore, self.cache._state.store)

    def test_wrong_arguments(self):
        for client in None, object(), type(self.client):
            with self.assertRaisesRegex(TypeError, '^client '):
                Transactional(client)
        with self.assertRaisesRegex(TypeError, '^manager 1: '):
            Transactional(self.client, 1)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED, settings={'generations': True})
class GenerationScenario(TransactionCase):

    def test_namespace(self):
        self.client.set('key', 0)
        transaction.begin()
        self.assertIs(self.cache.invalidateNamespace(), True)
        self.assertFinds(key=MISSING)
        self.assertOthersFind(key=0)
        self.cache.set('new', 1)
        self.assertFinds(new=1)
        self.assertOthersFind(key=0, new=MISSING)
        transaction.commit()
        self.assertOthersFind(key=MISSING, new=1)
        self.assertFinds(key=MISSING, new=1)

    def test_abort(self):
        self.client.set('key', 0)
        transaction.begin()
        self.cache.invalidateNamespace()
        self.cache.set('key', 1)
        transaction.abort()
        self.assertOthersFind(key=0)
        self.assertFinds(key=0)

    def test_others_have_invalidated_in_the_former_generation(self):
        transaction.begin()
        self.cache.invalidateNamespace()
        self.assertEqual(self.cache.getOrCreate('key', lambda: 1), 1)
        self.client.invalidate('key')
        self.assertFinds(key=1)
        transaction.commit()
        self.assertOthersFind(key=MISSING)

    def test_another_makes_the_next_generation(self):
        transaction.begin()
        self.cache.invalidateNamespace()
        self.cache.set('key', 1)
        self.client.invalidateNamespace()
        self.client.set('key', 2)
        transaction.commit()
        self.assertIn(self.found('key'), (1, MISSING))

    def test_set(self):
        transaction.begin()
        self.cache.set('key', 1)
        self.assertFinds(key=1)
        self.assertOthersFind(key=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class HookScenario(TransactionCase):
    """Changes that are made while the transaction ends."""

    def commit(self, add):
        """Commit a transaction that changes something at some moment."""
        self.client.set('key', 0)
        transaction.begin()
        add(transaction.get())
        transaction.commit()

    def test_before_the_commit(self):
        self.commit(lambda txn: txn.addBeforeCommitHook(
            self.cache.set, ('key', 1)))
        self.assertOthersFind(key=1)

    def test_after_the_commit(self):
        self.commit(lambda txn: txn.addAfterCommitHook(
            lambda committed: self.cache.set('key', 1)))
        self.assertOthersFind(key=1)

    def test_after_the_commit_of_other_changes(self):
        seen = []  # an exception in a hook would only be logged

        def note(committed):
            self.cache.set('key', 1)
            seen.extend((
                committed, self.found('new', self.cache), self.found('key')))

        def add(txn):
            self.cache.set('new', 1)
            txn.addAfterCommitHook(note)

        self.commit(add)
        self.assertEqual(seen, [True, 1, 1])
        self.assertOthersFind(key=1, new=1)

    def test_in_a_phase_of_another_resource(self):
        for phase in 'tpc_begin', 'commit', 'tpc_vote', 'tpc_finish':
            for joined in False, True:
                with self.subTest(phase, joined=joined):
                    self.client.set('new', 0)

                    def add(txn, phase=phase, joined=joined):
                        Resource(**{phase: lambda: self.late()})
                        if joined:
                            self.cache.set('new', 1)

                    self.commit(add)
                    self.assertOthersFind(key=1, new=int(joined))

    def late(self):
        self.cache.set('key', 1)
        self.assertFinds(key=1)
        self.assertOthersFind(key=0)

    def test_in_a_phase_of_another_resource_that_fails(self):
        self.client.set('key', 0)
        transaction.begin()
        Resource('a', commit=self.late)
        Resource('b', tpc_vote=boom)
        with self.assertRaises(Boom):
            transaction.commit()
        self.assertOthersFind(key=0)
        transaction.abort()
        self.assertOthersFind(key=0)

    def test_synchronizers(self):
        """After the completion there is no transaction any more, or none that
        could be aborted.
        """
        class Synchronizer:

            def newTransaction(self, txn):
                pass

            def beforeCompletion(self, txn):
                cache.set('before', 1)

            def afterCompletion(self, txn):
                cache.set('after', 1)

        cache, synchronizer = self.cache, Synchronizer()
        transaction.manager.registerSynch(synchronizer)
        self.addCleanup(transaction.manager.unregisterSynch, synchronizer)
        for end, value in (transaction.abort, MISSING), (
                transaction.commit, 1):
            transaction.begin()
            end()
            self.assertOthersFind(before=value, after=1)
            self.client.invalidateMany(['before', 'after'])

    def test_before_and_after_an_abort(self):
        for name in 'addBeforeAbortHook', 'addAfterAbortHook':
            with self.subTest(name):
                self.client.set('key', 0)
                transaction.begin()
                getattr(transaction.get(), name)(self.cache.set, ('key', 1))
                transaction.abort()
                self.assertOthersFind(key=0)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class EventScenario(TransactionCase):

    def setUp(self):
        super().setUp()
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)
        zope.component.provideUtility(self.cache, IMemcacheClient)
        zope.component.provideUtility(
            self.client, IMemcacheClient, name='plain')
        zope.component.provideHandler(invalidateCache)
        self.client.set('key', 0)

    def test_an_event_follows_the_transaction(self):
        for end, value in (transaction.abort, 0), (
                transaction.commit, MISSING):
            transaction.begin()
            notify(InvalidateCacheEvent('key', ''))
            self.assertFinds(key=MISSING)
            self.assertOthersFind(key=0)
            end()
            self.assertOthersFind(key=value)

    def test_without_a_transaction(self):
        notify(InvalidateCacheEvent('key', ''))
        self.assertOthersFind(key=MISSING)

    def test_a_client_that_is_not_transactional(self):
        transaction.begin()
        notify(InvalidateCacheEvent('key'))
        self.assertOthersFind(key=MISSING)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class ThreadScenario(TransactionCase):

    def test_each_thread_has_its_transaction(self):
        for threads in 8, 64:
            with self.subTest(threads):
                self.client.set('shared', -1)
                barrier = threading.Barrier(threads)

                def work(number, barrier=barrier):
                    with transaction.manager:
                        self.cache.set(('own', number), number)
                        self.cache.set('shared', number)
                        barrier.wait(PATIENCE)
                        seen = self.found('shared', self.cache)
                        others = self.found('shared')
                        barrier.wait(PATIENCE)
                        if number % 2:
                            transaction.doom()
                            transaction.abort()
                            transaction.begin()
                    return seen, others

                self.assertEqual(
                    at_once(work, range(threads)),
                    [(number, -1) for number in range(threads)])
                self.assertEqual(
                    self.client.queryMany(
                        [('own', number) for number in range(threads)]),
                    {('own', number): number
                     for number in range(0, threads, 2)})
                self.assertEqual(self.found('shared') % 2, 0)
                self.client.invalidateMany(
                    [('own', number) for number in range(threads)])

    def test_a_transaction_moves_to_another_thread(self):
        """The changes belong to the transaction."""
        manager = transaction.TransactionManager()
        cache = Transactional(self.client, manager)
        manager.begin()
        cache.set('key', 1)
        thread = threading.Thread(target=manager.commit)
        thread.start()
        thread.join(PATIENCE)
        self.assertOthersFind(key=1)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
@unittest.skipUnless(hasattr(os, 'fork'), 'no forks')
class ForkScenario(TransactionCase):

    def child(self, work):
        """Do it in a forked child; return what it returns, a number."""
        pid = os.fork()
        if not pid:
            status = 99
            with contextlib.suppress(BaseException):
                status = work()
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)

    def setUp(self):
        super().setUp()
        self.client.set('key', 0)
        transaction.begin()
        self.cache.set('key', 1)

    def test_a_child_aborts(self):
        def work():
            seen = self.found('key', self.cache)
            transaction.abort()
            return int(seen is MISSING)

        self.child(work)
        self.assertFinds(key=1)
        self.assertOthersFind(key=0)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_a_child_changes_something_itself(self):
        def work():
            self.cache.set('own', 1)
            transaction.commit()
            return 0

        self.assertEqual(self.child(work), 0)
        self.assertOthersFind(key=0)
        if 'Fake' not in type(self).__name__:
            self.assertOthersFind(own=1)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_a_child_commits(self):
        """It does not send what the parent has changed."""
        def work():
            transaction.commit()
            return 0

        self.assertEqual(self.child(work), 0)
        self.assertOthersFind(key=0)
        transaction.abort()
        self.assertOthersFind(key=0)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class FlushScenario(TransactionCase):

    def test_nothing_else(self):
        self.client.set('key', 0)
        transaction.begin()
        self.cache.invalidateAll()
        transaction.commit()
        self.assertOthersFind(key=MISSING)


class Sleeper:
    """A factory that does something in the middle of its computation."""

    def __init__(self, value, meanwhile=int):
        self.value = value
        self.meanwhile = meanwhile
        self.calls = 0

    def __call__(self):
        self.calls += 1
        self.meanwhile()
        return self.value


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class ComputingScenario(TransactionCase):
    """`getOrCreate` within a transaction."""

    def setUp(self):
        super().setUp()
        transaction.begin()

    def create(self, key, value, **options):
        return self.cache.getOrCreate(key, lambda: value, **options)

    def test_a_transaction_that_has_changed_nothing(self):
        self.assertEqual(self.create('key', 1), 1)
        self.assertOthersFind(key=1)
        self.assertEqual(transaction.get()._resources, [])
        transaction.abort()
        self.assertOthersFind(key=1)

    def test_nothing_is_computed_twice(self):
        """Without changes, callers wait for one another, as without
        transactions.
        """
        entered = threading.Event()

        def factory():
            entered.set()
            threading.Event().wait(0.05)
            return 1

        def first(_):
            with transaction.manager:
                return self.cache.getOrCreate('key', factory)

        def second(_):
            entered.wait(PATIENCE)
            with transaction.manager:
                return self.cache.getOrCreate('key', lambda: 2)

        self.assertEqual(
            at_once(lambda work: work(None), [first, *[second] * 7]), [1] * 8)

    def test_a_changed_database(self):
        Resource()
        for value, found in (1, 1), (2, 1):
            self.assertEqual(self.create('key', value), found)
        self.assertFinds(key=1)
        self.assertOthersFind(key=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_a_changed_database_and_an_abort(self):
        """Fault A."""
        Resource()
        self.create('key', 999)
        self.assertFinds(key=999)
        transaction.abort()
        self.assertFinds(key=MISSING)
        self.assertOthersFind(key=MISSING)
        # Nobody waits for it.
        self.assertEqual(self.client.getOrCreate('key', lambda: 5), 5)
        self.assertOthersFind(key=5)

    def test_a_changed_cache(self):
        self.cache.set('other', 1)
        self.create('key', 1)
        self.assertOthersFind(key=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1, other=1)

    def test_it_changes_while_it_computes(self):
        """Others get their own values, and this one is for nobody else."""
        factory = Sleeper(999, Resource)
        self.assertEqual(self.cache.getOrCreate('key', factory), 999)
        self.assertFinds(key=999)
        self.assertOthersFind(key=MISSING)
        self.assertEqual(self.create('key', 1), 999)
        self.assertEqual(self.client.getOrCreate('key', lambda: 5), 5)
        self.assertOthersFind(key=5)
        self.assertFinds(key=999)
        transaction.commit()
        self.assertOthersFind(key=5)

    def test_it_changes_while_it_computes_and_nobody_else(self):
        self.cache.getOrCreate('key', Sleeper(1, Resource))
        self.assertOthersFind(key=MISSING)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_it_changes_and_another_invalidates(self):
        for when in 'meanwhile', 'after':
            with self.subTest(when):
                transaction.begin()

                def change(when=when):
                    Resource()
                    if when == 'meanwhile':
                        self.client.invalidate('key')

                self.cache.getOrCreate('key', Sleeper(1, change))
                if when == 'after':
                    self.client.invalidate('key')
                self.assertFinds(key=1)
                transaction.commit()
                self.assertOthersFind(key=MISSING)

    def test_it_invalidates_the_key_while_it_computes(self):
        def change():
            self.cache.invalidate('key')

        self.cache.getOrCreate('key', Sleeper(1, change))
        self.assertFinds(key=1)
        self.assertEqual(self.client.getOrCreate('key', lambda: 5), 5)
        transaction.commit()
        self.assertOthersFind(key=MISSING)

    def test_it_changes_while_it_renews(self):
        self.client.getOrCreate('key', lambda: 0, lifetime=60, grace=60)
        fresh = next(key for key in self.stamps('key') if key.startswith(
            'fresh:'))
        self.lose(fresh)
        # To memcached with the meta commands it is due by the larger grace.
        self.assertEqual(self.cache.getOrCreate(
            'key', Sleeper(1, Resource), lifetime=60, grace=200), 1)
        self.assertFinds(key=1)
        transaction.commit()
        # Stored or not, the next caller may renew it.
        self.assertIn(self.client.getOrCreate(
            'key', lambda: 2, lifetime=60, grace=200), (1, 2))

    def stamps(self, key):
        data, _ = self.stored(self.client.buildKey(key))
        return data.partition(b'\n')[0].decode().split()[::2]

    def test_others_wait_while_it_changes(self):
        """They do not get what it has computed."""
        entered = threading.Event()

        def factory():
            entered.set()
            Resource()
            threading.Event().wait(0.1)
            return 999

        def work(_):
            with contextlib.suppress(Boom), transaction.manager:
                self.cache.getOrCreate('key', factory)
                boom()

        def other(_):
            entered.wait(PATIENCE)
            with transaction.manager:
                return self.cache.getOrCreate('key', lambda: 5)

        transaction.abort()
        self.assertEqual(
            at_once(lambda work: work(None), [work, *[other] * 7]),
            [None] + [5] * 7)
        self.assertOthersFind(key=5)

    def test_others_do_not_wait(self):
        """Not for a transaction that has changed something."""
        Resource()
        began = monotonic()
        factory = Sleeper(999, lambda: self.assertEqual(
            self.client.getOrCreate('key', lambda: 5), 5))
        self.assertEqual(self.cache.getOrCreate('key', factory), 999)
        self.assertLess(monotonic() - began, 1)
        transaction.commit()
        # Theirs was computed from what is committed by then, or not; in any
        # case it was stored later.
        self.assertOthersFind(key=5)

    def test_it_is_invalidated_by_others(self):
        """What was computed before is not stored, whenever that happens."""
        for when in 'before', 'meanwhile', 'after':
            with self.subTest(when):
                transaction.begin()
                Resource()
                if when == 'before':
                    self.client.invalidate('key')
                factory = Sleeper(1, lambda when=when: (
                    when == 'meanwhile' and self.client.invalidate('key')))
                self.cache.getOrCreate('key', factory)
                if when == 'after':
                    self.client.invalidate('key')
                self.assertFinds(key=1)
                transaction.commit()
                self.assertOthersFind(key=1 if when == 'before' else MISSING)
                self.client.invalidate('key')

    def test_a_newer_value_is_not_overwritten(self):
        Resource()
        self.create('key', 1)
        self.client.set('key', 2)
        transaction.commit()
        self.assertOthersFind(key=2)

    def test_two_transactions_compute(self):
        """The first one that commits, if none has invalidated it."""
        managers = [transaction.TransactionManager() for _ in 'ab']
        for number, manager in enumerate(managers):
            manager.begin()
            Resource(manager=manager)
            cache = Transactional(self.client, manager)
            self.assertEqual(
                cache.getOrCreate('key', lambda number=number: number),
                number)
        self.assertOthersFind(key=MISSING)
        managers[1].commit()
        self.assertOthersFind(key=1)
        managers[0].commit()
        self.assertOthersFind(key=1)

    def test_another_is_computing(self):
        """Its value is not waited for, and not overwritten."""
        def other(_):
            with transaction.manager:
                Resource()
                began = monotonic()
                self.assertEqual(self.create('key', 999), 999)
                self.assertLess(monotonic() - began, 1)
            self.assertOthersFind(key=MISSING)

        self.assertEqual(self.client.getOrCreate('key', Sleeper(
            5, lambda: at_once(other, [1]))), 5)
        self.assertOthersFind(key=5)

    def test_it_has_invalidated_the_key_itself(self):
        """Others may have changed the same: it sees that, but does not store.
        """
        self.client.set('key', 0)
        self.cache.invalidate('key')
        self.assertEqual(self.create('key', 1), 1)
        self.assertEqual(self.create('key', 2), 1)
        self.assertFinds(key=1)
        self.assertOthersFind(key=0)
        transaction.commit()
        self.assertOthersFind(key=MISSING)

    def test_it_has_set_the_key_itself(self):
        self.cache.set('key', 1)
        self.assertEqual(self.create('key', 2), 1)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_it_invalidates_what_it_has_computed(self):
        Resource()
        self.create('key', 1)
        self.cache.invalidate('key')
        self.assertFinds(key=MISSING)
        self.assertEqual(self.create('key', 2), 2)
        transaction.commit()
        self.assertOthersFind(key=MISSING)

    def test_dependencies(self):
        Resource()
        self.create('page', 1, dependencies=['x', 'y'])
        self.assertFinds(page=1)
        self.assertOthersFind(page=MISSING)
        transaction.commit()
        self.assertOthersFind(page=1)
        self.client.invalidateDependencies('y')
        self.assertOthersFind(page=MISSING)
        # An obsolete value is replaced.
        transaction.begin()
        Resource()
        self.create('page', 2, dependencies=['x', 'y'])
        transaction.commit()
        self.assertOthersFind(page=2)

    def test_dependencies_are_invalidated_by_others(self):
        Resource()
        self.create('page', 1, dependencies=['x'])
        self.client.invalidateDependencies('x')
        self.assertFinds(page=MISSING)
        transaction.commit()
        self.assertOthersFind(page=MISSING)

    def test_it_has_invalidated_dependencies_itself(self):
        self.client.set('page', 0, dependencies=['x'])
        self.cache.invalidateDependencies('x')
        self.assertEqual(self.create('page', 1, dependencies=['x']), 1)
        self.assertFinds(page=1)
        self.assertOthersFind(page=0)
        transaction.abort()
        self.assertOthersFind(page=0)

    def test_others_have_invalidated_the_same_dependencies(self):
        """What they have changed is not in the value, which is not stored."""
        self.cache.invalidateDependencies('x')
        self.assertEqual(self.create('page', 1, dependencies=['x']), 1)
        self.client.invalidateDependencies('x')
        transaction.commit()
        self.assertOthersFind(page=MISSING)

    def test_grace(self):
        Resource()
        self.create('page', 1, lifetime=60, grace=60, dependencies=['x'])
        self.assertEqual(self.create('page', 2, lifetime=60, grace=60), 1)
        self.assertFinds(page=1)
        self.assertOthersFind(page=MISSING)
        transaction.commit()
        self.assertOthersFind(page=1)
        self.assertEqual(
            self.client.getOrCreate('page', int, lifetime=60, grace=60), 1)

    def test_an_exception(self):
        Resource()
        with self.assertRaises(Boom):
            self.cache.getOrCreate('key', boom)
        self.assertEqual(self.create('key', 1), 1)
        transaction.commit()
        self.assertOthersFind(key=1)

    def test_a_value_that_cannot_be_stored(self):
        Resource()
        with self.assertRaises(SerializationError):
            self.create('key', boom.__globals__)
        small = Transactional(self.makeClient(maxValueSize=100))
        self.assertEqual(
            small.getOrCreate('large', lambda: 'x' * 1000), 'x' * 1000)
        transaction.commit()
        self.assertOthersFind(key=MISSING, large=MISSING)

    def test_its_own_key(self):
        def own():
            return self.cache.getOrCreate('key', own)

        def dirty():
            Resource()
            return self.cache.getOrCreate('key', dirty)

        for factory in own, dirty:
            with self.subTest(factory.__name__):
                with self.assertRaisesRegex(RuntimeError, 'asks for it'):
                    self.cache.getOrCreate('key', factory)
                Resource()
        self.assertEqual(self.create('key', 1), 1)

    def test_many(self):
        self.client.set('b', 2)
        asked = []

        def factory(keys):
            asked.append(list(keys))
            return {key: key for key in keys}

        Resource()
        self.assertEqual(
            self.cache.getOrCreateMany(['a', 'b', 'c'], factory),
            {'a': 'a', 'b': 2, 'c': 'c'})
        self.assertEqual(asked, [['a', 'c']])
        self.assertFinds(a='a', b=2, c='c')
        self.assertOthersFind(a=MISSING, b=2, c=MISSING)
        transaction.commit()
        self.assertOthersFind(a='a', b=2, c='c')

    def test_many_without_a_change(self):
        self.cache.getOrCreateMany(['a', 'b'], lambda keys: {
            key: key for key in keys})
        self.assertOthersFind(a='a', b='b')

    def test_many_while_it_changes(self):
        def factory(keys):
            Resource()
            return {key: key for key in keys}

        self.cache.getOrCreateMany(['a', 'b'], factory)
        self.assertFinds(a='a', b='b')
        self.assertOthersFind(a=MISSING, b=MISSING)

    def test_look_up(self):
        lookUp = self.cache.lookUp('key')
        self.assertFalse(lookUp.isHit)
        Resource()
        lookUp.store(1)
        self.assertFinds(key=1)
        self.assertOthersFind(key=MISSING)
        with self.cache.lookUp('other') as lookUp:
            self.assertEqual(
                lookUp.store(2), self.cache.buildKey('other'))
        self.assertFinds(other=2)
        self.assertOthersFind(other=MISSING)
        with self.cache.lookUp('released'):
            pass
        self.assertTrue(self.cache.lookUp('other').isHit)
        transaction.commit()
        self.assertOthersFind(key=1, other=2, released=MISSING)

    def test_a_look_up_outlives_its_transaction(self):
        """What was computed for an aborted transaction is not stored."""
        for change, begin in (
                (Resource, int), (Resource, transaction.begin),
                (int, transaction.begin), (int, int)):
            transaction.begin()
            change()
            lookUp = self.cache.lookUp('key')
            transaction.abort()
            begin()
            self.assertIsNone(lookUp.store(999))
            transaction.commit()
            self.assertOthersFind(key=MISSING)
            self.client.getOrCreate('key', lambda: 5)
            self.assertOthersFind(key=5)
            self.client.invalidate('key')

    def test_a_server_that_cannot_compare(self):
        """Nothing is known of what happens until the commit."""
        for token, error in (
                (self.uncounted, None), (self.refused, ClientError)):
            base = self.client._state.base
            with (self.subTest(error),
                  mock.patch.object(type(base), 'gets', token),
                  mock.patch.object(type(base.server(b'key', soon())), 'lends',
                                    return_value=False)):
                transaction.begin()
                Resource()
                self.create('key', 1)
                self.assertEqual(self.found('key', self.cache), 1)
                self.assertIsNone(
                    self.stored(self.client.buildKey('key')))
                transaction.commit()
                self.assertOthersFind(key=MISSING)

    @staticmethod
    def uncounted(store, key, deadline, most):
        item = store.get(key, deadline, most)
        return item and item._replace(token='0@server')

    @staticmethod
    def refused(store, key, deadline, most):
        raise ClientError('ERROR')

    def test_a_trace_of_a_transaction(self):
        """To readers it is a miss, and nobody waits for it."""
        Resource()
        self.create('key', 1)
        transaction.abort()
        self.assertIsNotNone(self.stored(self.client.buildKey('key')))
        self.assertMiss(self.client, 'key')
        self.assertIs(self.client.add('key', 2), False)
        began = monotonic()
        # One of them puts a claim in its place, and the others wait for it.
        [value] = set(at_once(lambda number: self.client.getOrCreate(
            'key', Sleeper(number, lambda: threading.Event().wait(0.1))),
            range(8)))
        self.assertOthersFind(key=value)
        self.assertLess(monotonic() - began, 1)
        self.client.invalidate('key')
        transaction.begin()
        Resource()
        self.create('key', 1)
        transaction.abort()
        self.assertEqual(self.client.getOrCreateMany(
            ['key', 'more'], lambda keys: dict.fromkeys(keys, 3)),
            {'key': 3, 'more': 3})

    def test_a_savepoint(self):
        Resource()
        savepoint = transaction.savepoint()
        self.create('key', 1)
        savepoint.rollback()
        self.assertFinds(key=MISSING)
        transaction.commit()
        self.assertOthersFind(key=MISSING)

    def test_a_server_that_is_restarted(self):
        """The value is not stored then: its watch is gone."""
        Resource()
        self.create('key', 1)
        self.client.invalidateAll()
        transaction.commit()
        self.assertOthersFind(key=MISSING)


class WatchTest(unittest.TestCase):

    def test_a_reader_that_knows_no_watches(self):
        self.assertIsNone(pickle.loads(make_watch()))
        self.assertNotEqual(make_watch(), make_watch())
        self.assertTrue(is_watch(make_watch()))
        self.assertFalse(is_watch(make_mark()))

    def test_it_is_taken_over_in_trouble(self):
        """Nobody waits for a claim that its client does not know of."""
        server = self.enterContext(EmbeddedServer())
        clients = [UltraMemcacheClient([server.address]) for _ in range(2)]
        for client in clients:
            self.addCleanup(client.close)
        cache = Transactional(clients[0])
        for error in MemcacheError('no reply in time'), KeyboardInterrupt():
            key = repr(error)
            transaction.begin()
            cache.set('another', 1)
            cache.lookUp(key)  # it leaves a watch
            transaction.abort()
            with (contextlib.suppress(KeyboardInterrupt),
                  mock.patch.object(Lending, '_confirm', side_effect=error)):
                clients[0].getOrCreate(key, lambda: 1)
            clients[0].query('another')  # what is owed goes first
            start = monotonic()
            with clients[1].lookUp(key) as lookUp:
                self.assertFalse(lookUp.isHit)
            self.assertLess(monotonic() - start, 1)


class BatchesTest(unittest.TestCase):

    def batches(self, *commands):
        return [list(batch.values()) for batch in batches(commands)]

    def test_nothing(self):
        self.assertEqual(self.batches(), [])

    def test_one_batch(self):
        commands = [Set(b'a', b'', 0, 0), Delete(b'b'), Touch(b'c', 1)]
        self.assertEqual(self.batches(*commands), [commands])

    def test_void_commands(self):
        last = Delete(b'a')
        for void in Set(b'a', b'', 0, 0), Delete(b'a'), Touch(b'a', 1):
            self.assertEqual(self.batches(*[void] * 50, last), [[last]])

    def test_commands_that_need_the_former_ones(self):
        first, *others = commands = [
            Set(b'a', b'', 0, 0), Append(b'a', b'', 0, 0), Touch(b'a', 1)]
        self.assertEqual(
            self.batches(Delete(b'b'), *commands, Delete(b'c')),
            [[mock.ANY, first], [others[0]], [others[1], mock.ANY]])

    def test_flush_all(self):
        flush, before, after = FlushAll(), Delete(b'a'), Delete(b'b')
        self.assertEqual(
            self.batches(before, flush, before, flush, after, before),
            [[flush], [after, before]])

    def test_on_one_server_only(self):
        before, after = Delete(b'a'), Delete(b'b')
        cas = Cas(b'c', b'', 0, 5, 0, 'server')
        self.assertEqual(
            self.batches(before, cas, after), [[before], [cas], [after]])
        self.assertEqual(
            self.batches(before, Fill(b'c', b'', 0, 0, 0, ''), after),
            [[before, after]])


# How each method is used.
USES = {
    'add': lambda cache: cache.add('new', 1),
    'append': lambda cache: cache.append('raw', b'1'),
    'buildKey': lambda cache: cache.buildKey('key'),
    'cas': lambda cache: cache.cas('key', 1, cache.gets('key')[1]),
    'close': lambda cache: cache.close(),
    'decrement': lambda cache: cache.decrement('raw'),
    'getCounts': lambda cache: cache.getCounts(),
    'getHistory': lambda cache: cache.getHistory(),
    'getOrCreate': lambda cache: cache.getOrCreate('new', lambda: 1),
    'getOrCreateMany': lambda cache: cache.getOrCreateMany(
        ['new'], lambda keys: dict.fromkeys(keys, 1)),
    'getPools': lambda cache: cache.getPools(),
    'getRegions': lambda cache: cache.getRegions(),
    'getServers': lambda cache: cache.getServers(),
    'getSlowest': lambda cache: cache.getSlowest(),
    'getStatistics': lambda cache: cache.getStatistics(),
    'getUnreadable': lambda cache: cache.getUnreadable(),
    'gets': lambda cache: cache.gets('key'),
    'immediate': lambda cache: cache.immediate().query('key'),
    'increment': lambda cache: cache.increment('new', initial=1),
    'invalidate': lambda cache: cache.invalidate('key'),
    'invalidateAll': lambda cache: cache.invalidateAll(),
    'invalidateDependencies': lambda cache: cache.invalidateDependencies('x'),
    'invalidateMany': lambda cache: cache.invalidateMany(['key']),
    'invalidateNamespace': lambda cache: cache.invalidateNamespace(),
    'invalidateUnchanged': lambda cache: cache.invalidateUnchanged(
        'key', cache.gets('key')[1]),
    'lookUp': lambda cache: cache.lookUp('new').store(1),
    'prepend': lambda cache: cache.prepend('raw', b'1'),
    'query': lambda cache: cache.query('key'),
    'queryAndTouch': lambda cache: cache.queryAndTouch('key', 60),
    'queryMany': lambda cache: cache.queryMany(['key']),
    'region': lambda cache: cache.region('news').set('key', 1),
    'replace': lambda cache: cache.replace('key', 1),
    'set': lambda cache: cache.set('key', 1, dependencies=['x']),
    'setMany': lambda cache: cache.setMany({'key': 1}),
    'touch': lambda cache: cache.touch('key', 60),
}


class EveryMethodTest(unittest.TestCase):
    """What every method leaves in the server, before and after an abort."""

    def test_all_of_them(self):
        self.assertEqual(set(USES), {
            name for name in IUltraMemcacheClient.names(all=True)
            if IMethod.providedBy(IUltraMemcacheClient[name])})
        for name, use in USES.items():
            with self.subTest(name):
                self.use(use)

    def use(self, use):
        client = FakeUltraMemcacheClient(generations=True)
        cache = Transactional(client)
        client.set('key', 0, dependencies=['x'])
        client.set('raw', b'5', raw=True)
        # Others use the region, too.
        client.region('news').set('other', 0)
        before = self.contents(client)
        transaction.begin()
        Resource()
        use(cache)
        self.assertEqual(self.contents(client), before)
        transaction.abort()
        self.assertEqual(self.contents(client), before)

    def contents(self, client):
        """Return what is there, without the traces of transactions."""
        return {key: item for key, item in getFakeBackend(
            client).cache.items() if item[1] != CLAIM}


class FakeTest(unittest.TestCase):

    def test_a_fake_counts_and_shows(self):
        cache = Transactional(FakeUltraMemcacheClient())
        cache.set('key', 1)
        cache.query('key')
        cache.query('new')
        self.assertEqual(
            (cache.gets, cache.hits, cache.misses, cache.sets), (2, 1, 1, 1))
        self.assertIn(cache.buildKey('key'), getFakeBackend(cache).cache)
        cache.resetCounts()
        with transaction.manager:
            cache.set('key', 2)
            cache.query('key')
            self.assertEqual(cache.sets + cache.gets, 0)
        self.assertEqual((cache.sets, cache.gets), (1, 0))


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class RegionScenario(TransactionCase):

    def test_regions_of_a_transactional_client(self):
        region, plain = self.cache.region('news'), self.client.region('news')
        plain.set('key', 0)
        transaction.begin()
        region.set('key', 1)
        self.cache.set('key', 2)
        region.region('old').set('key', 3)
        self.assertEqual(self.found('key', region), 1)
        self.assertEqual(self.found('key', plain), 0)
        self.assertOthersFind(key=MISSING)
        self.assertEqual(len(transaction.get()._resources), 1)
        transaction.commit()
        self.assertEqual(self.found('key', plain), 1)
        self.assertEqual(self.found('key', plain.region('old')), 3)
        self.assertOthersFind(key=2)

    def test_a_transactional_region(self):
        region = Transactional(self.client.region('news'))
        transaction.begin()
        region.set('key', 1)
        self.assertEqual(self.found('key', region), 1)
        self.assertEqual(
            self.found('key', self.client.region('news')), MISSING)
        transaction.commit()
        self.assertEqual(self.found('key', self.client.region('news')), 1)
