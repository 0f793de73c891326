# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Sessions of zope.session in memcached, and their transactions."""

import copy
import datetime
import doctest
import io
import itertools
import threading
import time
import unittest
from unittest import mock

import hypothesis
import transaction
import zope.component
import zope.component.testing
from hypothesis import strategies
from persistent import Persistent
from persistent.mapping import PersistentMapping
from transaction.interfaces import ISavepointDataManager
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError
from zope.configuration import xmlconfig
from zope.configuration.exceptions import ConfigurationError
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject
from zope.publisher.http import HTTPRequest
from zope.publisher.interfaces import IRequest
from zope.security.checker import ProxyFactory
from zope.security.interfaces import ForbiddenAttribute
from zope.session.http import CookieClientIdManager
from zope.session.interfaces import IClientId
from zope.session.interfaces import IClientIdManager
from zope.session.interfaces import ISession
from zope.session.interfaces import ISessionData
from zope.session.interfaces import ISessionDataContainer
from zope.session.session import ClientId
from zope.session.session import Session
from zope.session.session import SessionData
from zope.session.session import SessionPkgData

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.session import MemcacheSessionDataContainer
from p01.memcache.session import stored
from p01.memcache.session.interfaces import IMemcacheSessionDataContainer
from p01.memcache.session.manager import SessionManager
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.support import zcml
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


class Failing:
    """A resource that fails in one phase."""

    transaction_manager = transaction.manager

    def __init__(self, phase, key='~~'):
        self._phase = phase
        self._key = key

    def sortKey(self):
        return self._key

    def __getattr__(self, name):
        def method(*args):
            if name == self._phase:
                raise Failure(name)
        return method


class Failure(Exception):
    pass


class Content(Persistent):

    taken_apart = 0

    def __getstate__(self):
        Content.taken_apart += 1
        return super().__getstate__()


class SessionTestCase(unittest.TestCase):

    settings = {}

    def makeClient(self):
        self.server = self.enterContext(EmbeddedServer())
        return UltraMemcacheClient([self.server.address], **self.settings)

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)
        utility = self.makeClient()
        zope.component.provideUtility(utility, IMemcacheClient)
        self.client = utility.immediate()
        self.addCleanup(self.client.close)
        self.container = MemcacheSessionDataContainer()
        self.addCleanup(transaction.abort)

    def package(self, name='shop', client_id='anna', container=None):
        """Return the data of a package, as `Session` does it."""
        container = container or self.container
        try:
            data = container[client_id]
        except KeyError:
            data = container[client_id] = SessionData()
        try:
            return data[name]
        except KeyError:
            package = data[name] = SessionPkgData()
            return package

    def put(self, **values):
        self.package().update(values)
        transaction.commit()

    def found(self, name='shop', client_id='anna'):
        """Return what another transaction finds."""
        transaction.begin()
        data = self.container.get(client_id)
        found = None if data is None else dict(data.get(name, {}))
        transaction.abort()
        return found

    def elsewhere(self, function):
        """Run a function in another thread, in a transaction of its own."""
        errors = []

        def run():
            try:
                function()
                transaction.commit()
            except Exception as error:
                errors.append(error)
                transaction.abort()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]


class ContainerTest(SessionTestCase):

    def test_interfaces(self):
        # Not ISessionDataContainer, whose methods there begin with `self`.
        verifyObject(IMemcacheSessionDataContainer, self.container)
        verifyClass(ISavepointDataManager, SessionManager)

    def test_wrong_settings(self):
        for settings in (
                {'timeout': -1}, {'timeout': None}, {'timeout': 1.5},
                {'resolution': -1}, {'name': None}, {'cacheName': 5},
                {'lastOneWins': 'yes'}):
            [(name, value)] = settings.items()
            with self.assertRaisesRegex(ValueError, f'{name} {value!r}: '):
                MemcacheSessionDataContainer(**settings)

    def test_missing(self):
        with self.assertRaises(KeyError):
            self.container['anna']
        self.assertIsNone(self.container.get('anna'))
        self.assertNotIn('anna', self.container)
        with self.assertRaises(KeyError):
            del self.container['anna']

    def test_commit(self):
        self.put(color='red')
        self.assertEqual(self.found(), {'color': 'red'})
        data = self.container['anna']
        self.assertTrue(ISessionData.providedBy(data))
        self.assertIs(data, self.container['anna'])
        self.assertIs(data['shop'], self.container['anna']['shop'])

    def test_abort(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        transaction.abort()
        self.assertEqual(self.found(), {'color': 'red'})

    def test_all_kinds_of_values(self):
        values = {'a': 1, 'b': b'x', 'c': None, 'd': [1, {'x': (1, 2)}],
                  'e': 1.5, 'f': True, 'g': {1, 2},
                  'h': datetime.date(2026, 1, 2)}
        self.put(**values)
        self.assertEqual(self.found(), values)

    def test_change_in_place(self):
        self.put(cart=[['apples']])
        self.package()['cart'][0].append('pears')
        transaction.commit()
        self.assertEqual(self.found(), {'cart': [['apples', 'pears']]})

    def test_reading_writes_nothing(self):
        self.put(cart=[['apples']], user='anna')
        with mock.patch.object(self.client, 'cas') as cas:
            self.assertEqual(self.package()['cart'], [['apples']])
            transaction.commit()
        cas.assert_not_called()

    def test_nothing_is_stored_of_an_empty_session(self):
        self.package()
        with mock.patch.object(self.client, 'add') as add:
            transaction.commit()
        add.assert_not_called()
        self.assertIsNone(self.found())

    def test_1_and_true_differ(self):
        self.put(flag=1)
        self.put(flag=True)
        self.assertIs(self.found()['flag'], True)

    def test_delete_key(self):
        self.put(color='red', size='M')
        del self.package()['color']
        transaction.commit()
        self.assertEqual(self.found(), {'size': 'M'})

    def test_delete_package(self):
        self.put(color='red')
        self.package('news')['topic'] = 'zope'
        transaction.commit()
        del self.container['anna']['shop']
        transaction.commit()
        self.assertEqual(self.found(), {})
        self.assertEqual(self.found('news'), {'topic': 'zope'})

    def test_delete_session(self):
        self.put(color='red')
        del self.container['anna']
        self.assertNotIn('anna', self.container)
        transaction.commit()
        self.assertIsNone(self.found())
        self.put(color='blue')
        self.assertEqual(self.found(), {'color': 'blue'})

    def test_replace_session(self):
        self.put(color='red', size='M')
        self.container['anna'] = SessionData()
        self.package()['color'] = 'blue'
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue'})

    def test_foreign_data_stay_the_same_object(self):
        data = SessionData()
        self.container['anna'] = data
        self.assertIs(self.container['anna'], data)
        self.assertGreater(data.getLastAccessTime(), 0)

    def test_clients_and_containers_are_separate(self):
        self.put(color='red')
        self.assertIsNone(self.found(client_id='berta'))
        other = MemcacheSessionDataContainer(name='other')
        self.assertNotIn('anna', other)

    def test_named_client(self):
        container = MemcacheSessionDataContainer(cacheName='sessions')
        with self.assertRaises(zope.component.ComponentLookupError):
            container['anna']
        zope.component.provideUtility(
            self.client, IMemcacheClient, 'sessions')
        self.assertIsNone(container.get('anna'))

    def test_the_id_is_not_in_memcached(self):
        with mock.patch.object(
                self.client, 'add', wraps=self.client.add) as add:
            self.put(color='red')
        [key, data, lifetime] = add.call_args.args
        self.assertIn('anna', key)  # which is hashed
        self.assertNotIn('anna', repr(data))
        self.assertNotIn('anna', self.client.buildKey(key))

    def test_wrong_values_fail_the_vote(self):
        for value in lambda: None, PersistentMapping(), [PersistentMapping()]:
            with self.subTest(value):
                self.put(color='red')
                self.package().update(color='blue', wrong=value)
                with self.assertRaises(SerializationError):
                    transaction.commit()
                transaction.abort()
                self.assertEqual(self.found(), {'color': 'red'})

    def test_no_persistent_object_is_taken_apart(self):
        # It may lead to the whole database.
        self.put(color='red')
        self.package()['wrong'] = [Content()]
        with self.assertRaises(SerializationError):
            transaction.commit()
        self.assertEqual(Content.taken_apart, 0)

    def test_something_else_under_the_key(self):
        key = 'p01.memcache.session', '', 'anna'
        for other in 'text', 5, [1, 2, 3], {'a': 1}, [1, 'x', {'a': 5}]:
            with self.subTest(other):
                transaction.abort()
                self.client.set(key, other)
                self.assertIsNone(self.found())
                self.put(color='red')
                self.assertEqual(self.found(), {'color': 'red'})


class JSONTest(ContainerTest):

    settings = {'serializer': 'json', 'keyScheme': 'strict'}

    def test_all_kinds_of_values(self):
        values = {'a': 1, 'c': None, 'd': [1, {'x': [1, 2]}], 'e': 1.5}
        self.put(**values)
        self.assertEqual(self.found(), values)


class ConflictTest(SessionTestCase):

    def test_other_package(self):
        self.put(color='red')
        self.package()['color'] = 'blue'

        def other():
            self.package('news')['topic'] = 'zope'

        self.elsewhere(other)
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue'})
        self.assertEqual(self.found('news'), {'topic': 'zope'})

    def test_other_key(self):
        self.put(color='red', size='M', shape='round')
        del self.package()['color']

        def other():
            self.package().update(size='L', material='wood')
            del self.package()['shape']

        self.elsewhere(other)
        transaction.commit()
        self.assertEqual(self.found(), {'size': 'L', 'material': 'wood'})

    def test_same_key(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.package().update(color='green'))
        with self.assertRaisesRegex(ConflictError, "'color' of 'shop'"):
            transaction.commit()
        transaction.abort()
        self.assertEqual(self.found(), {'color': 'green'})
        self.assertTrue(issubclass(ConflictError, TransientError))
        self.assertTrue(ISessionDataContainer.providedBy(self.container))

    def test_same_key_in_place(self):
        self.put(cart=['apples'])
        self.package()['cart'].append('pears')
        self.elsewhere(lambda: self.package()['cart'].append('plums'))
        with self.assertRaises(ConflictError):
            transaction.commit()

    def test_same_key_last_one_wins(self):
        self.put(color='red', size='M')
        self.container.lastOneWins = True
        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.package().update(color='green', size='L'))
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue', 'size': 'L'})

    def test_same_value(self):
        self.put(color='red')
        # It may be a number that both have counted.
        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.package().update(color='blue', size='L'))
        with self.assertRaises(ConflictError):
            transaction.commit()

    def test_two_begin_a_session(self):
        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.package().update(size='L'))
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue', 'size': 'L'})

    def test_deleted_meanwhile(self):
        self.put(color='red', user='anna')
        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.container.__delitem__('anna'))
        with self.assertRaises(ConflictError):
            transaction.commit()
        transaction.abort()
        self.assertIsNone(self.found())

    def test_deleted_meanwhile_another_key(self):
        self.put(color='red', user='anna')
        self.package()['size'] = 'L'
        self.elsewhere(lambda: self.container.__delitem__('anna'))
        transaction.commit()
        self.assertEqual(self.found(), {'size': 'L'})

    def test_deletion_includes_what_others_do(self):
        self.put(color='red')
        del self.container['anna']
        self.elsewhere(lambda: self.package().update(size='L'))
        transaction.commit()
        self.assertIsNone(self.found())

    def test_lost_by_memcached_meanwhile(self):
        self.put(color='red', user='anna')
        self.package()['color'] = 'blue'
        self.client.invalidateAll()
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue', 'user': 'anna'})

    def test_retry_loses_nothing(self):
        self.put(number=0)
        rounds, workers = 10, 8

        def work():
            for _ in range(rounds):
                for attempt in transaction.manager.attempts(1000):
                    with attempt:
                        self.package()['number'] += 1

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.found(), {'number': rounds * workers})

    def test_many_threads_with_keys_of_their_own(self):
        rounds, workers = 5, 32
        errors = []

        def work(number):
            try:
                for _ in range(rounds):
                    package = self.package()
                    name = f'k{number}'
                    package[name] = package.get(name, 0) + 1
                    transaction.commit()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,))
                   for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual(
            self.found(), {f'k{n}': rounds for n in range(workers)})


class PhasesTest(SessionTestCase):

    def test_failures(self):
        for phase in 'tpc_begin', 'commit', 'tpc_vote', 'tpc_finish':
            for key in ' ', '~~':
                with self.subTest(phase, key=key):
                    transaction.abort()
                    self.client.invalidateAll()
                    self.put(cart=['apples'], color='red')
                    package = self.package()
                    package['cart'].append('pears')
                    del package['color']
                    package['size'] = 'L'
                    transaction.get().join(Failing(phase, key))
                    with self.assertRaises(Failure):
                        transaction.commit()
                    transaction.abort()
                    found = self.found()
                    if (phase, key) != ('tpc_finish', '~~'):
                        self.assertEqual(
                            found, {'cart': ['apples'], 'color': 'red'})

    def test_failure_with_a_new_session(self):
        self.package()['color'] = 'red'
        transaction.get().join(Failing('tpc_vote'))
        with self.assertRaises(Failure):
            transaction.commit()
        transaction.abort()
        self.assertIsNone(self.found())

    def test_failure_after_a_merge(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.package().update(size='L'))
        transaction.get().join(Failing('tpc_vote'))
        with self.assertRaises(Failure):
            transaction.commit()
        transaction.abort()
        self.assertEqual(self.found(), {'color': 'red', 'size': 'L'})

    def fail_after(self, function):
        """Fail after a vote, when another transaction has done something."""
        failing = Failing(None)

        def vote(txn):
            self.elsewhere(function)
            raise Failure

        failing.tpc_vote = vote
        transaction.get().join(failing)
        with self.assertRaises(Failure):
            transaction.commit()
        transaction.abort()

    def test_others_have_changed_other_keys_since(self):
        self.put(color='red', size='M')
        self.package().update(color='blue', shape='round')
        self.fail_after(lambda: self.package().update(
            size='L', material='wood'))
        self.assertEqual(self.found(), {
            'color': 'red', 'size': 'L', 'material': 'wood'})

    def test_others_have_changed_the_same_key_since(self):
        # They have seen what is about to be undone: all of it stays.
        self.put(apples=5, pears=5)
        self.package().update(apples=4, pears=6)
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            self.fail_after(lambda: self.package().update(apples=3, figs=1))
        self.assertEqual(self.found(), {'apples': 3, 'pears': 6, 'figs': 1})
        self.assertIn('aborted', logs.output[0])

    def test_others_have_removed_the_session_since(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        with self.assertLogs('p01.memcache', 'WARNING'):
            self.fail_after(lambda: self.container.__delitem__('anna'))
        self.assertIsNone(self.found())

    def test_memcached_has_lost_it_since(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        with self.assertNoLogs('p01.memcache', 'WARNING'):
            self.fail_after(self.client.invalidateAll)
        self.assertIsNone(self.found())

    def test_memcached_is_down_since(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            self.fail_after(self.server.stop)
        self.assertIn('aborted', logs.output[-1])

    def test_undo_fails(self):
        for result in (None, False), RuntimeError:
            transaction.abort()
            self.put(color='red')
            self.package()['color'] = 'blue'

            def fail(result=result):
                patch = mock.patch.object(
                    stored, 'write', **(
                        {'return_value': result}
                        if isinstance(result, tuple)
                        else {'side_effect': result}))
                patch.start()

            with self.subTest(result), \
                    self.assertLogs('p01.memcache', 'WARNING') as logs:
                self.fail_after(fail)
            mock.patch.stopall()
            self.assertIn('aborted', logs.output[0])
            self.client.invalidateAll()

    def test_a_removal_is_undone(self):
        self.put(color='red')
        del self.container['anna']
        transaction.get().join(Failing('tpc_vote'))
        with self.assertRaises(Failure):
            transaction.commit()
        transaction.abort()
        self.assertEqual(self.found(), {'color': 'red'})

    def test_interrupted(self):
        self.put(color='red')
        for number, (name, before) in enumerate(itertools.product(
                ('read', 'write'), (True, False))):
            with self.subTest(name, before=before):
                self.interrupt(number, name, before)
                self.assertEqual(self.found(), {'color': 'red'})
                self.assertEqual(self.found('news'), {'read': number})

    def interrupt(self, number, name, before):
        """Interrupt a vote, in which something must be merged."""
        original = getattr(stored, name)

        def interrupt(*args):
            setattr(stored, name, original)
            if not before:
                original(*args)
            raise KeyboardInterrupt

        self.package()['color'] = 'blue'
        self.elsewhere(lambda: self.package('news').update(read=number))
        with mock.patch.object(stored, name, interrupt), \
                self.assertRaises(KeyboardInterrupt):
            transaction.commit()
        transaction.abort()

    def test_interrupted_when_it_is_stored(self):
        self.put(color='red')
        original = self.client.cas

        def interrupt(*args):
            self.client.cas = original
            self.assertTrue(original(*args))
            raise KeyboardInterrupt

        self.package()['color'] = 'blue'
        self.client.cas = interrupt
        with self.assertRaises(KeyboardInterrupt):
            transaction.commit()
        transaction.abort()
        self.assertEqual(self.found(), {'color': 'red'})

    def test_savepoint(self):
        self.put(cart=['apples'])
        package = self.package()
        package['cart'].append('pears')
        savepoint = transaction.savepoint()
        package['cart'].append('plums')
        package['color'] = 'red'
        self.package('news')['topic'] = 'zope'
        inner = transaction.savepoint()
        package['cart'].append('grapes')
        inner.rollback()
        self.assertEqual(package['cart'], ['apples', 'pears', 'plums'])
        savepoint.rollback()
        self.assertIs(self.package(), package)
        self.assertEqual(dict(package), {'cart': ['apples', 'pears']})
        self.assertNotIn('news', self.container['anna'])
        transaction.commit()
        self.assertEqual(self.found(), {'cart': ['apples', 'pears']})

    def test_savepoint_before_the_first_use(self):
        self.put(cart=['apples'])
        savepoint = transaction.savepoint()
        package = self.package()
        package['cart'].append('pears')
        savepoint.rollback()
        self.assertEqual(dict(package), {'cart': ['apples']})
        package['color'] = 'red'
        transaction.commit()
        self.assertEqual(self.found(), {'cart': ['apples'], 'color': 'red'})

    def test_savepoint_and_a_new_session(self):
        savepoint = transaction.savepoint()
        self.package()['color'] = 'red'
        savepoint.rollback()
        self.assertNotIn('anna', self.container)
        transaction.commit()
        self.assertIsNone(self.found())

    def test_savepoint_and_a_removed_session(self):
        self.put(color='red')
        package = self.package()
        savepoint = transaction.savepoint()
        del self.container['anna']
        savepoint.rollback()
        self.assertIs(self.package(), package)
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'red'})

    def test_votes_last(self):
        order = []
        for key in 'Data.fs:1', '/var/Data.fs', 'zeo', 'ZODB':
            failing = Failing(None, key)
            failing.tpc_vote = lambda txn, key=key: order.append(key)
            transaction.get().join(failing)
        self.package()['color'] = 'red'
        with mock.patch.object(
                stored, 'write', side_effect=lambda *args: order.append('us')
                or ('change', True)):
            transaction.commit()
        self.assertEqual(len(order), 5)
        self.assertEqual(order[-1], 'us')

    def test_doomed(self):
        self.put(color='red')
        transaction.doom()
        self.package()['color'] = 'blue'
        with self.assertRaises(transaction.interfaces.DoomedTransaction):
            transaction.commit()
        transaction.abort()
        self.assertEqual(self.found(), {'color': 'red'})

    def test_hook_after_the_commit(self):
        seen = []
        self.put(color='red')

        def hook(success):
            seen.append(dict(self.package()))
            self.package()['color'] = 'blue'

        transaction.get().addAfterCommitHook(hook)
        self.package()['color'] = 'green'
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'green'})
        self.assertEqual(seen, [{'color': 'green'}])


class TimeTest(SessionTestCase):

    def setUp(self):
        super().setUp()
        self.container.timeout, self.container.resolution = 60, 10
        self.now = time.time()
        self.enterContext(mock.patch('time.time', lambda: self.now))

    def lifetimes(self, name):
        return mock.patch.object(
            self.client, name, wraps=getattr(self.client, name))

    def test_lifetime(self):
        with self.lifetimes('add') as add:
            self.put(color='red')
        self.assertEqual(add.call_args.args[2], 71)
        with self.lifetimes('cas') as cas:
            self.put(color='blue')
        self.assertEqual(cas.call_args.args[3], 71)

    def test_refreshed_at_its_resolution(self):
        self.put(color='red')
        self.now += 9
        with self.lifetimes('cas') as cas:
            self.assertEqual(self.package()['color'], 'red')
            transaction.commit()
            cas.assert_not_called()
            self.now += 3
            self.assertEqual(
                self.container['anna'].getLastAccessTime(), int(self.now))
            transaction.commit()
            cas.assert_called_once()
            self.assertEqual(cas.call_args.args[3], 71)
            self.now += 9
            self.package()
            transaction.commit()
            cas.assert_called_once()

    def test_two_refresh(self):
        self.put(color='red')
        self.now += 11
        self.package()
        self.elsewhere(self.package)
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'red'})

    def test_a_refresh_overwrites_nothing(self):
        self.put(color='red')
        self.now += 11
        self.package()
        self.elsewhere(lambda: self.package().update(color='blue'))
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue'})

    def test_expired(self):
        self.put(color='red')
        self.now += 69
        self.assertEqual(self.found(), {'color': 'red'})
        self.now += 5
        self.assertIsNone(self.found())
        self.put(size='L')
        self.assertEqual(self.found(), {'size': 'L'})

    def test_of_a_removed_session(self):
        self.put(color='red')
        del self.container['anna']
        with self.lifetimes('cas') as cas:
            transaction.commit()
        # As long as a request may last that has read it.
        self.assertEqual(cas.call_args.args[3], 600)

    def test_never(self):
        self.container.timeout = 0
        with self.lifetimes('add') as add:
            self.put(color='red')
        self.assertEqual(add.call_args.args[2], 0)
        self.now += 100000
        with self.lifetimes('cas') as cas:
            self.package()
            transaction.commit()
        cas.assert_not_called()
        self.assertEqual(self.found(), {'color': 'red'})


class TroubleTest(SessionTestCase):

    def test_down(self):
        self.put(color='red')
        self.server.stop()
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            self.assertNotIn('anna', self.container)
            self.package()['color'] = 'blue'
            transaction.commit()
        self.assertIn('1 session(s) are lost', logs.output[-1])

    def test_down_meanwhile(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        self.server.stop()
        with self.assertLogs('p01.memcache', 'WARNING') as logs:
            transaction.commit()
        self.assertIn('1 session(s) are lost', logs.output[-1])

    def test_a_lost_reply(self):
        self.put(color='red')
        cas = self.client.cas

        def lose(*args):
            self.assertTrue(cas(*args))

        self.package()['color'] = 'blue'
        with mock.patch.object(self.client, 'cas', lose):
            transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue'})

    def test_a_vote_does_not_wait_twice(self):
        self.put(color='red')
        self.package()['color'] = 'blue'
        now = 0

        def hang(*args):
            nonlocal now
            now += 3

        with mock.patch('time.monotonic', lambda: now), mock.patch.object(
                self.client, 'cas', side_effect=hang) as cas, \
                mock.patch.object(self.client, 'gets') as gets, \
                self.assertLogs('p01.memcache', 'WARNING'):
            transaction.commit()
        cas.assert_called_once()
        gets.assert_not_called()

    def test_strange_statistics(self):
        for statistics in [('one', {'evictions': 'x'})], [5]:
            with mock.patch.object(
                    self.client, 'getStatistics', lambda s=statistics: s), \
                    self.assertLogs('p01.memcache', 'ERROR'):
                self.put(color='red')
            self.container = MemcacheSessionDataContainer()

    def test_evictions(self):
        statistics = [('one', {'evictions': '5'}), ('two', {'error': 'down'})]
        now = time.monotonic()
        with mock.patch.object(
                self.client, 'getStatistics', lambda: statistics), \
                mock.patch('time.monotonic', lambda: now):
            with self.assertNoLogs('p01.memcache', 'WARNING'):
                self.put(color='red')
            statistics[0][1]['evictions'] = '8'
            with self.assertNoLogs('p01.memcache', 'WARNING'):
                self.put(color='blue')
            now += 60
            with self.assertLogs('p01.memcache', 'WARNING') as logs:
                self.put(color='green')
            now += 60
            with self.assertNoLogs('p01.memcache', 'WARNING'):
                self.put(color='red')
        self.assertIn('one has evicted 3 values', logs.output[0])


PLACES = strategies.sampled_from(
    [(package, key) for package in 'ab' for key in 'xyz'])
VALUES = strategies.one_of(
    strategies.none(), strategies.integers(0, 3), strategies.booleans(),
    strategies.text('ab', max_size=2),
    strategies.lists(strategies.integers(0, 2), max_size=2),
    strategies.dictionaries(
        strategies.text('k', max_size=1), strategies.floats(), max_size=2))
STATES = strategies.dictionaries(PLACES, VALUES)
# A change to Ellipsis deletes the key.
CHANGES = strategies.dictionaries(
    PLACES, strategies.one_of(VALUES, strategies.just(...)))


class ModelTest(SessionTestCase):
    """Two transactions, compared to what a dict would say."""

    def makeClient(self):
        return FakeUltraMemcacheClient()

    def change(self, changes):
        for (package, key), value in changes.items():
            data = self.package(package)
            if value is ...:
                data.pop(key, None)
            else:
                data[key] = copy.deepcopy(value)

    def all(self):
        transaction.begin()
        data = self.container.get('anna', {})
        found = {(package, key): value for package in data
                 for key, value in data[package].items()}
        transaction.abort()
        return found

    @hypothesis.settings(deadline=None, max_examples=150)
    @hypothesis.given(STATES, CHANGES, CHANGES, strategies.booleans(),
                      strategies.booleans())
    def test_two(self, state, ours, theirs, fails, lastOneWins):
        transaction.abort()
        self.client.invalidateAll()
        self.container.lastOneWins = lastOneWins
        self.change(state)
        transaction.commit()
        self.change(ours)
        self.elsewhere(lambda: self.change(theirs))
        expected = changed(state, theirs)
        places = [
            {place for place in changes
             if repr(state.get(place, ...)) != repr(changes[place])}
            for changes in (ours, theirs)]
        both = set.intersection(*places) and not lastOneWins
        if fails:
            transaction.get().join(Failing('tpc_vote'))
        try:
            transaction.commit()
        except ConflictError:
            self.assertTrue(both)
        except Failure:
            self.assertTrue(fails and not both)
        else:
            self.assertFalse(fails or both)
            expected = changed(
                expected, {place: ours[place] for place in places[0]})
        transaction.abort()
        self.assertEqual(repr(sorted(self.all().items())),
                         repr(sorted(expected.items())))


def changed(state, changes):
    return {place: value for place, value in {**state, **changes}.items()
            if value is not ...}


class Classic:

    def makeClient(self):
        self.server = self.enterContext(EmbeddedServer())
        return MemcacheClient([self.server.address])


class Fake:

    def makeClient(self):
        return FakeUltraMemcacheClient()


class Region:

    def makeClient(self):
        return super().makeClient().region('sessions', generations=True)


class Real:

    layer = MemcachedLayer
    level = 2

    def makeClient(self):
        client = UltraMemcacheClient([self.layer.address])
        client.invalidateAll()
        return client


class ClassicContainerTest(Classic, ContainerTest):
    pass


class ClassicConflictTest(Classic, ConflictTest):
    pass


class ClassicPhasesTest(Classic, PhasesTest):
    pass


class FakeContainerTest(Fake, ContainerTest):
    pass


class FakeConflictTest(Fake, ConflictTest):
    pass


class FakePhasesTest(Fake, PhasesTest):

    test_memcached_is_down_since = None


class TransactionalClient:

    def makeClient(self):
        return Transactional(super().makeClient())


class TransactionalContainerTest(TransactionalClient, ContainerTest):
    pass


class TransactionalConflictTest(TransactionalClient, ConflictTest):
    pass


class TransactionalPhasesTest(TransactionalClient, PhasesTest):
    pass


class RegionContainerTest(Region, ContainerTest):
    pass


class RegionConflictTest(Region, ConflictTest):
    pass


class RealContainerTest(Real, ContainerTest):
    pass


class RealConflictTest(Real, ConflictTest):
    pass


class RealPhasesTest(Real, PhasesTest):

    test_memcached_is_down_since = None


class ZopeSessionTest(SessionTestCase):
    """By the adapters of zope.session, and with its own tests."""

    def setUp(self):
        super().setUp()
        zope.component.provideAdapter(ClientId, (IRequest,), IClientId)
        zope.component.provideAdapter(Session, (IRequest,), ISession)
        zope.component.provideUtility(
            CookieClientIdManager(), IClientIdManager)

    def test_zcml(self):
        xmlconfig.string('''
            <configure xmlns="http://namespaces.zope.org/zope">
              <include package="p01.memcache.session" />
            </configure>''')
        request = HTTPRequest(io.BytesIO(), {}, None)
        ISession(request)['shop']['color'] = 'red'
        self.assertIsNone(ISession(request).get('news'))
        transaction.commit()
        self.assertEqual(ISession(request)['shop']['color'], 'red')
        self.assertEqual(dict(ISession(request).get('shop')), {'color': 'red'})
        container = zope.component.getUtility(ISessionDataContainer)
        self.assertIsInstance(container, MemcacheSessionDataContainer)
        self.assertEqual((container.timeout, container.resolution),
                         (3600, 600))
        other = HTTPRequest(io.BytesIO(), {}, None)
        self.assertIsNone(ISession(other).get('shop'))

    def test_directive(self):
        self.load('''
            <include package="p01.memcache.session" file="meta.zcml" />
            <p01:sessions
                timeout="60" resolution="5" name="all" lastOneWins="true" />
            <p01:sessions package="shop" cacheName="other" />''')
        container = zope.component.getUtility(ISessionDataContainer)
        self.assertEqual(
            [getattr(container, name) for name in (
                'timeout', 'resolution', 'name', 'cacheName', 'lastOneWins')],
            [60, 5, 'all', '', True])
        container = zope.component.getUtility(ISessionDataContainer, 'shop')
        self.assertEqual((container.timeout, container.cacheName),
                         (3600, 'other'))

    def test_wrong_directive(self):
        for attribute in 'timeout="-1"', 'resolution="x"', 'unknown="1"':
            with self.subTest(attribute), \
                    self.assertRaises(ConfigurationError) as caught:
                self.load(f'''
                    <include package="p01.memcache.session"
                        file="meta.zcml" />
                    <p01:sessions {attribute} />''')
            self.assertIn(attribute.partition('=')[0], str(caught.exception))

    def load(self, directives):
        xmlconfig.string(zcml.SITE % directives)

    def test_security(self):
        xmlconfig.string('''
            <configure xmlns="http://namespaces.zope.org/zope">
              <include package="zope.session" file="classes.zcml" />
              <include package="p01.memcache.session" />
            </configure>''')
        self.put(color='red')
        container = ProxyFactory(
            zope.component.getUtility(ISessionDataContainer))
        self.assertEqual(container.timeout, 3600)
        package = container['anna']['shop']
        self.assertEqual(package['color'], 'red')
        package['color'] = 'blue'
        with self.assertRaises(ForbiddenAttribute):
            container.timeout = 5
        transaction.commit()
        self.assertEqual(self.found(), {'color': 'blue'})


# The examples of zope.session, with our container instead of its own. Those
# of `PersistentSessionDataContainer.__getitem__` and `sweep` need its insides.
EXAMPLES = (
    'PersistentSessionDataContainer.__setitem__', 'RAMSessionDataContainer',
    'Session.get', 'Session.__getitem__', 'SessionData', 'SessionPkgData')


def examples():
    """Return a suite of zope.session's own examples."""
    def setUp(test):
        zope.component.testing.setUp(test)
        test.server = EmbeddedServer()
        test.server.start()
        test.client = UltraMemcacheClient([test.server.address])
        # It outlives the clean-up in the examples.
        test.globs.update(dict.fromkeys(
            ('PersistentSessionDataContainer', 'RAMSessionDataContainer'),
            lambda: container(test.client)))

    def container(client):
        zope.component.provideUtility(client, IMemcacheClient)
        return MemcacheSessionDataContainer()

    def tearDown(test):
        transaction.abort()
        test.client.close()
        test.server.stop()
        zope.component.testing.tearDown(test)

    suite = doctest.DocTestSuite(
        'zope.session.session', setUp=setUp, tearDown=tearDown)
    return unittest.TestSuite(
        test for test in suite
        if test.id().removeprefix('zope.session.session.') in EXAMPLES)


def load_tests(loader, tests, pattern):
    tests.addTest(examples())
    return tests
