# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values that are as fresh as the snapshot of a transaction, with a ZODB.

Fault C of a site whose cache knows no snapshots is shown for a client without
transactions, and is gone for one with them.
"""

import contextlib
import logging
import threading
import time
import unittest
from unittest import mock

import transaction
import ZODB
from transaction.interfaces import TransientError
from ZODB.MappingStorage import MappingStorage

from p01.memcache.interfaces import INotHeldEvent
from p01.memcache.snapshots import entry
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import Memcached
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.matrix import POOLED_MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.frameworks.resource import Resource
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import until
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


logger = logging.getLogger('p01.memcache')


class Boom(Exception):
    """What a view raises."""


class Site(Scenario):
    """A price in a database, and pages with it."""

    def setUp(self):
        transaction.abort()
        self.addCleanup(transaction.abort)
        self.settle(0)
        super().setUp()
        self.cache = self.wrap(self.client)
        self.db = ZODB.DB(MappingStorage())
        self.addCleanup(self.db.close)
        self.opened = []
        self.addCleanup(lambda: [one.close() for one in self.opened])
        self.change(5, 'nothing')

    def settle(self, seconds):
        """Change for how long a server counts as new."""
        self.enterContext(mock.patch(
            'p01.memcache.snapshots.versions.SETTLED', seconds))

    def wrap(self, client):
        return Transactional(client)

    @contextlib.contextmanager
    def request(self, manager=None):
        """Handle a request: commit, or abort after an error."""
        if manager is None:
            manager = transaction.manager
        manager.begin()
        connection = self.db.open(manager)
        try:
            yield connection.root()
            manager.commit()
        except BaseException:
            manager.abort()
            raise
        finally:
            connection.close()

    def change(self, price, *names, **steps):
        with self.request() as root:
            root['price'] = price
            self.cache.invalidateDependencies(*names or ['price'])
            if steps:
                # Behind the database, and in front of the cache.
                Resource('\U0010fffe', **steps)

    def elsewhere(self, function, *args):
        """Call a function in another thread, so in another transaction."""
        [result] = at_once(lambda _: function(*args), [1])
        return result

    def page(self, root, computed=None):
        def compute():
            if computed is not None:
                computed.append(root['price'])
            return f'costs {root["price"]}'

        return self.cache.getOrCreate('page', compute, dependencies=['price'])

    def shown(self):
        """Return what a new request shows."""
        with self.request() as root:
            self.assertEqual(self.page(root), f'costs {root["price"]}')
            return root['price']

    def is_hit(self):
        with self.request() as root:
            computed = []
            self.assertEqual(
                self.page(root, computed), f'costs {root["price"]}')
            return not computed


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class FaultyScenario(Site):
    """Fault C, with dependencies as they are without snapshots."""

    def wrap(self, client):
        return client

    def test_an_older_snapshot_stores_its_value(self):
        with self.request() as root:
            self.elsewhere(self.change, 6)
            self.assertEqual(self.page(root), 'costs 5')
        with self.request() as root:
            self.assertEqual(root['price'], 6)
            self.assertEqual(self.page(root), 'costs 5')


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class SnapshotScenario(Site):

    def test_an_older_snapshot_stores_nothing(self):
        with self.request() as root:
            self.elsewhere(self.change, 6)
            self.assertEqual(self.page(root), 'costs 5')
        self.assertFalse(self.is_hit())
        self.assertTrue(self.is_hit())

    def test_an_older_snapshot_leaves_what_newer_ones_share(self):
        with self.request() as root:
            self.elsewhere(self.change, 6)
            self.elsewhere(self.shown)
            self.assertTrue(self.elsewhere(self.is_hit))
            self.assertEqual(self.page(root), 'costs 5')
            self.assertIsNone(self.cache.query('page'))
            self.assertEqual(self.cache.queryMany(['page']), {})
            self.assertEqual(self.cache.gets('page'), (None, None))
            with self.cache.lookUp('page', dependencies=['price']) as found:
                self.assertFalse(found.isHit)
                self.assertIsNone(found.store('costs 5'))
            self.assertEqual(self.cache.getOrCreateMany(
                ['page'], lambda keys: {'page': 'costs 5'},
                dependencies=['price']), {'page': 'costs 5'})
            # Also if it does not say what it would depend on.
            self.assertEqual(self.cache.getOrCreate(
                'page', lambda: 'costs 5'), 'costs 5')
            self.assertTrue(self.elsewhere(self.is_hit))
        self.assertTrue(self.is_hit())

    def test_a_value_outlives_other_commits(self):
        self.shown()
        with self.request() as root:
            self.elsewhere(self.change, 5, 'other')
            self.elsewhere(self.change, 5, 'another')
            computed = []
            self.page(root, computed)
            self.assertEqual(computed, [])
        self.assertTrue(self.is_hit())

    def test_each_way_to_store(self):
        def add(value):
            self.cache.invalidate('page')
            return self.cache.add('page', value, dependencies=['price'])

        def replace(value):
            return self.cache.replace('page', value, dependencies=['price'])

        def cas(value):
            _, token = self.cache.gets('page')
            if token is not None:
                self.cache.cas('page', value, token, dependencies=['price'])

        def set_one(value):
            return self.cache.set('page', value, dependencies=['price'])

        def set_many(value):
            self.cache.setMany({'page': value}, dependencies=['price'])

        for store in set_one, set_many, add, replace, cas:
            with self.subTest(store.__name__):
                self.change(5)
                with self.request() as root:
                    set_one('before')
                with self.request() as root:
                    self.assertEqual(self.cache.query('page'), 'before')
                    store('new')
                with self.request():
                    self.assertEqual(self.cache.query('page'), 'new')
                with self.request() as root:
                    self.elsewhere(self.change, root['price'] + 1)
                    store('old')
                with self.request():
                    self.assertIsNone(self.cache.query('page'))

    def test_what_the_transaction_itself_has_changed(self):
        self.shown()
        with self.request() as root:
            root['price'] = 6
            self.cache.invalidateDependencies('price')
            self.assertEqual(self.page(root), 'costs 6')
            self.assertIsNone(self.cache.query('page'))
            # Nobody else sees it yet.
            self.assertTrue(self.elsewhere(self.is_hit))
        self.assertFalse(self.is_hit())
        self.assertEqual(self.shown(), 6)

    def test_an_abort(self):
        self.shown()
        with contextlib.suppress(Boom), self.request() as root:
            root['price'] = 6
            self.cache.invalidateDependencies('price')
            self.page(root)
            raise Boom
        self.assertTrue(self.is_hit())

    def test_a_savepoint(self):
        self.shown()
        with self.request() as root:
            savepoint = transaction.savepoint()
            root['price'] = 6
            self.cache.invalidateDependencies('price')
            savepoint.rollback()
            self.assertEqual(self.page(root), 'costs 5')
        self.assertTrue(self.is_hit())

    def test_between_vote_and_end(self):
        self.shown()
        seen = []

        def look():
            # It sees the former snapshot, and nobody knows the next one yet.
            seen.append(self.elsewhere(self.is_hit))
            seen.append(self.elsewhere(self.is_hit))

        self.change(6, tpc_vote=look, tpc_finish=look)
        self.assertEqual(seen, [False] * 4)
        self.assertFalse(self.is_hit())
        self.assertTrue(self.is_hit())

    def test_a_vote_that_fails(self):
        self.shown()

        def fail():
            raise Boom

        with self.assertRaises(Boom):
            self.change(6, tpc_vote=fail)
        self.assertEqual(self.shown(), 5)
        self.assertTrue(self.is_hit())

    def test_a_finish_that_fails(self):
        """The database may have committed, or may commit yet."""
        def fail():
            raise Boom

        self.shown()
        with self.assertRaises(Boom):
            self.change(6, tpc_finish=fail)
        self.assertEqual(self.shown(), 6)
        self.assertFalse(self.is_hit())
        later = time.time() + 700
        with mock.patch('time.time', return_value=later):
            self.assertFalse(self.is_hit())
            self.assertTrue(self.is_hit())

    def test_a_process_that_dies(self):
        """What it holds is not cached until its mark is over."""
        def die():
            raise Boom

        for phase, price in ('tpc_vote', 5), ('tpc_finish', 6):
            with self.subTest(phase):
                self.assertEqual(self.shown(), 5)
                with self.dies(), contextlib.suppress(Boom):
                    self.change(6, **{phase: die})
                transaction.abort()
                self.assertEqual(self.shown(), price)
                self.assertFalse(self.is_hit())
                later = time.time() + 700
                with mock.patch('time.time', return_value=later):
                    self.assertFalse(self.is_hit())
                    self.assertTrue(self.is_hit())
                self.assertTrue(self.is_hit())

    def dies(self):
        """Return a context in which no transaction comes to its end."""
        return mock.patch(
            'p01.memcache.transactional.queue.send', lambda *args: None)

    def test_two_snapshots_at_the_same_time(self):
        """They do not share what they compute, as each sees its own."""
        self.shown()
        self.cache.invalidate('page')
        computing, shown = threading.Event(), []

        def compute(root):
            computing.set()
            time.sleep(0.1)
            return f'costs {root["price"]}'

        def work():
            with self.request() as root:
                shown.append((root['price'], self.cache.getOrCreate(
                    'page', lambda: compute(root), dependencies=['price'])))

        threads = []
        for price in 6, 7, 8:
            threads.append(threading.Thread(target=work))
            computing.clear()
            threads[-1].start()
            computing.wait(0.5)
            self.change(price)
        for thread in threads:
            thread.join()
        for price, value in shown:
            self.assertEqual(value, f'costs {price}')
        self.assertEqual(len(shown), 3)

    def test_callers_with_the_same_snapshot(self):
        """One of them computes, all others wait for it."""
        computed = []

        def compute(root):
            computed.append(root['price'])
            time.sleep(0.05)
            return root['price']

        def work(_):
            with self.request() as root:
                return self.cache.getOrCreate(
                    'page', lambda: compute(root), dependencies=['price'])

        for threads in 8, 64:
            self.change(6)
            computed.clear()
            self.assertEqual(at_once(work, range(threads)), [6] * threads)
            self.assertEqual(computed, [6])

    def test_two_that_hold_it(self):
        holds = [self.cache._state.versions.hold() for _ in 'ab']
        tags = self.cache._tags(['price'])
        deadline = time.monotonic() + 10
        self.shown()
        for hold in holds:
            self.assertEqual(hold.vote(tags, deadline), {})
        for hold in holds:
            self.assertFalse(self.is_hit())
            self.client._state.store.run_many(hold.ends(tags), deadline)
        self.assertFalse(self.is_hit())
        self.assertTrue(self.is_hit())

    def test_a_log_that_nobody_reads(self):
        [key] = entry.keys(self.cache._tags(['price']))
        sizes = []
        for price in range(200):
            self.change(price)
            sizes.append(len(self.stored(key.decode())[0]))
        self.assertGreater(max(sizes), entry.LONG / 2)
        self.assertLess(max(sizes), entry.LONG + 200)
        self.assertFalse(self.is_hit())
        self.assertTrue(self.is_hit())

    def test_an_invalidation_without_a_commit(self):
        """A former version never comes back with the same commit."""
        def at_once_():
            self.cache.invalidateDependencies('price')

        def in_a_transaction():
            with transaction.manager:
                self.cache.invalidateDependencies('price')

        for invalidate in at_once_, in_a_transaction:
            with self.subTest(invalidate.__name__):
                self.shown()
                self.assertTrue(self.is_hit())
                invalidate()
                self.assertFalse(self.is_hit())

    def test_without_a_database(self):
        """Dependencies work as they do without snapshots."""
        for run in contextlib.nullcontext, lambda: transaction.manager:
            with run():
                self.assertEqual(self.cache.getOrCreate(
                    'page', lambda: 'a', dependencies=['price']), 'a')
            with run():
                self.assertEqual(self.cache.query('page'), 'a')
                self.cache.invalidateDependencies('price')
                self.assertIsNone(self.cache.query('page'))
            self.assertIsNone(self.cache.query('page'))

    def test_outside_of_a_transaction(self):
        """A value that was stored within one is found."""
        self.shown()
        self.assertEqual(self.cache.query('page'), 'costs 5')
        self.assertEqual(self.cache.getOrCreate(
            'page', lambda: 'new', dependencies=['price']), 'costs 5')
        self.change(6)
        self.assertIsNone(self.cache.query('page'))
        self.assertEqual(self.cache.getOrCreate(
            'page', lambda: 'new', dependencies=['price']), 'new')
        self.assertEqual(self.cache.query('page'), 'new')
        self.assertFalse(self.is_hit())

    def test_a_value_of_another_kind(self):
        """What was stored without a snapshot is not one's own."""
        self.client.set('page', 'unknown', dependencies=['price'])
        with self.request() as root:
            self.assertIsNone(self.cache.query('page'))
            self.assertEqual(self.page(root), 'costs 5')
        self.assertTrue(self.is_hit())

    def test_grace(self):
        def page(root):
            return self.cache.getOrCreate(
                'page', lambda: f'costs {root["price"]}', lifetime=10,
                grace=100, dependencies=['price'])

        for price in 6, 7:
            self.change(price)
            for _ in range(2):
                with self.request() as root:
                    self.assertEqual(page(root), f'costs {price}')
        with self.request() as root:
            self.elsewhere(self.change, 8)
            self.assertEqual(page(root), 'costs 7')
        with self.request() as root:
            self.assertEqual(page(root), 'costs 8')

    def test_another_transaction_manager(self):
        manager = transaction.TransactionManager(explicit=True)
        cache = self.cache = Transactional(self.client, manager)
        with self.request(manager) as root:
            self.assertEqual(self.page(root), 'costs 5')
        with self.request(manager) as root:
            other = transaction.TransactionManager()
            connection = self.db.open(other)
            connection.root()['price'] = 6
            other.commit()
            connection.close()
            cache.invalidateDependencies('price')
        with self.request(manager) as root:
            self.assertEqual(self.page(root), 'costs 6')

    def test_evicted(self):
        [key] = entry.keys(self.cache._tags(['price']))
        page = self.cache._state.locate(
            self.cache.buildKey('page').encode(), time.monotonic() + 10)
        for lost in key.decode(), page.decode():
            self.shown()
            self.assertTrue(self.is_hit())
            self.lose(lost)
            self.assertFalse(self.is_hit())
            self.assertTrue(self.is_hit())

    def test_no_version(self):
        [key] = entry.keys(self.cache._tags(['price']))
        for data, flags in (
                (b'', 0), (b'nonsense', 0), (b'0' * 31, 0), (b'0' * 33, 0),
                (b'0' * 32, 1), (b' +', 0), (b'x' * 5000, 0)):
            with self.subTest(data=data):
                self.shown()
                self.plant(key.decode(), data, flags)
                self.assertFalse(self.is_hit())
                self.assertTrue(self.is_hit())

    def test_many_requests_at_once(self):
        def work(number):
            for step in range(15):
                with contextlib.suppress(TransientError):
                    if number % 4 == 0:
                        self.change(number * 100 + step)
                    else:
                        self.shown()

        for threads in 1, 8, 16:
            at_once(work, range(threads))
        self.shown()
        self.assertTrue(self.is_hit())


@matrix(*FAKES, slow=(*EMBEDDED, *MEMCACHED))
class RegionScenario(SnapshotScenario):
    """A region of a transactional client is one itself."""

    def wrap(self, client):
        return super().wrap(client).region('shop')


@matrix(*FAKES, slow=(*EMBEDDED, *MEMCACHED))
class SettingsScenario(SnapshotScenario):
    """With settings that change what is stored."""

    settings = {  # noqa: RUF012
        'keyScheme': 'strict', 'generations': True, 'namespace': 'shop',
        'serializer': 'signed-json', 'secretsVariable': 'P01_TEST_SECRET',
        'compress': 10}

    def setUp(self):
        self.enterContext(mock.patch.dict('os.environ', {
            'P01_TEST_SECRET': '0123456789abcdefghijklmnopqrstuvwxyz'}))
        super().setUp()


@matrix(POOLED_EMBEDDED, slow=[POOLED_MEMCACHED])
class NewScenario(Site):
    """The server has been started just now."""

    def test_nothing_is_stored_at_first(self):
        self.settle(10 ** 9)
        self.shown()
        self.assertFalse(self.is_hit())
        # Nor after a commit, or a commit that nobody has ended.
        self.change(6)
        self.assertFalse(self.is_hit())
        self.settle(0)
        self.assertFalse(self.is_hit())
        self.assertTrue(self.is_hit())

    def test_what_was_there_before(self):
        """Marks behind a version show that nothing was lost."""
        self.shown()
        self.settle(10 ** 9)
        self.assertTrue(self.is_hit())
        self.change(6)
        self.assertFalse(self.is_hit())
        self.assertTrue(self.is_hit())


class NotReachedTest(unittest.TestCase):
    """memcached cannot be reached while a transaction commits."""

    def setUp(self):
        transaction.abort()
        self.enterContext(mock.patch(
            'p01.memcache.snapshots.versions.SETTLED', 0))
        self.server = self.enterContext(Memcached())
        self.client = UltraMemcacheClient(
            [self.server.address], timeout=0.3, delay=0.1, blacktime=0.1)
        self.addCleanup(self.client.close)
        self.events = []
        self.enterContext(mock.patch(
            'p01.memcache.transactional.queue.notify', self.events.append))

    def start(self):
        """Start the server, and wait until it does not count as down."""
        self.server.start()
        with self.assertLogs('p01.memcache', 'DEBUG'):
            logger.debug('there may be none')
            until(lambda: self.client.set('key', 'value'))

    def commit(self, **options):
        cache = Transactional(self.client, **options)
        with transaction.manager:
            cache.invalidateDependencies('price')

    def test_the_commit_goes_on(self):
        for stop in self.server.stop, self.server.freeze:
            self.start()
            self.commit()
            self.assertEqual(self.events, [])
            stop()
            start = time.monotonic()
            with self.assertLogs('p01.memcache'):
                self.commit()
            # Not one time-out for the vote and another for the end.
            self.assertLess(time.monotonic() - start, 0.55)
            [event] = self.events
            self.assertTrue(INotHeldEvent.providedBy(event))
            self.assertEqual(len(event.keys), 1)
            self.events.clear()
            self.server.stop()

    def test_a_subscriber_that_fails(self):
        self.enterContext(mock.patch(
            'p01.memcache.transactional.queue.notify', side_effect=Boom))
        self.server.stop()
        with self.assertLogs('p01.memcache') as logs:
            self.commit()
        self.assertIn('a subscriber of INotHeldEvent failed', str(logs.output))

    def test_the_commit_fails(self):
        self.server.stop()
        with (self.assertRaises(TransientError),
              self.assertLogs('p01.memcache')):
            self.commit(holdOrFail=True)
        transaction.abort()
        self.assertEqual(self.events, [])
        self.start()
        self.commit(holdOrFail=True)

    def test_the_end_is_not_heard(self):
        """The entry stays: there may be marks of others."""
        cache = Transactional(self.client)
        [key] = entry.keys(cache._tags(['price']))
        with transaction.manager:
            cache.invalidateDependencies('price')
            Resource('\U0010fffe', tpc_finish=self.server.freeze)
        self.assertEqual(self.events, [])
        self.server.thaw()
        self.start()
        self.client.queryMany(range(10))
        data, _ = look(self.server.address, key.decode())
        self.assertRegex(data, rb' \+[0-9a-f]{24}')

    def test_it_is_owed(self):
        """This process removes what it could not hold, before it reads it."""
        db = ZODB.DB(MappingStorage())
        self.addCleanup(db.close)
        cache = Transactional(self.client)

        def page():
            with transaction.manager:
                connection = db.open()
                connection.root()
                try:
                    return cache.getOrCreate(
                        'page', lambda: time.monotonic(),
                        dependencies=['price'])
                finally:
                    connection.close()

        page()
        before = page()
        self.assertEqual(page(), before)
        self.server.freeze()
        with self.assertLogs('p01.memcache'):
            self.commit()
        self.server.thaw()
        end = time.monotonic() + 10
        while (after := page()) != page() and time.monotonic() < end:
            time.sleep(0.05)
        self.assertGreater(after, before)


class ArgumentsTest(unittest.TestCase):

    def test_wrong_arguments(self):
        client = FakeUltraMemcacheClient()
        for kind, options in (
                (ValueError, {'holdTime': 0}),
                (ValueError, {'holdTime': -1}),
                (TypeError, {'holdTime': '1'}),
                (TypeError, {'holdOrFail': 1}),
                (TypeError, {'database': 1})):
            with self.subTest(**options), self.assertRaisesRegex(
                    kind, next(iter(options))):
                Transactional(client, **options)

    def test_without_zodb(self):
        with mock.patch.dict('sys.modules', {
                'p01.memcache.snapshots.zodb': None}):
            client = Transactional(FakeUltraMemcacheClient())
            with transaction.manager:
                client.set('key', 1, dependencies=['a'])
            with transaction.manager:
                self.assertEqual(client.query('key'), 1)
                client.invalidateDependencies('a')
            self.assertIsNone(client.query('key'))
            with self.assertRaisesRegex(ValueError, 'database'):
                Transactional(FakeUltraMemcacheClient(), database='main')


@matrix(*FAKES)
class PriceScenario(Site):
    """What it costs, in requests."""

    def requests(self, function, *args):
        """Return the requests that are sent meanwhile."""
        sent = []
        store = type(self.cache._state.base)
        with contextlib.ExitStack() as stack:
            for name in ('get', 'gets', 'get_many', 'run', 'run_many',
                         'ask_all'):
                stack.enter_context(mock.patch.object(
                    store, name, self.noted(sent, name, vars(store)[name]
                                            if name in vars(store)
                                            else getattr(store, name))))
            function(*args)
        return sent

    def noted(self, sent, name, method):
        def note(*args):
            sent.append(name)
            return method(*args)

        return note

    def test_a_hit_costs_what_it_costs_without_snapshots(self):
        self.shown()
        with self.request() as root:
            self.assertEqual(
                self.requests(self.page, root), ['get_many', 'gets'])
            self.assertEqual(
                self.requests(self.cache.query, 'page'), ['get', 'get_many'])
            self.assertEqual(
                self.requests(self.cache.queryMany, ['page']),
                ['get_many', 'get_many'])

    def test_a_commit_costs_two_batches(self):
        for names in ['a'], ['a', 'b', 'c']:
            self.assertEqual(
                self.requests(self.change, 6, *names), ['run_many'] * 2)

    def test_an_abort_costs_nothing(self):
        def abort():
            with contextlib.suppress(Boom), self.request() as root:
                root['price'] = 7
                self.cache.invalidateDependencies('price')
                raise Boom

        self.assertEqual(self.requests(abort), [])


if __name__ == '__main__':
    unittest.main()
