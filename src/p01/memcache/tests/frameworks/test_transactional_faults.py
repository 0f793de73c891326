# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Faults of a site whose cache does not know transactions, with a ZODB.

Each is shown for a client that does not follow the transaction, and is gone
for one that does.
"""

import contextlib
from random import Random

import transaction
import ZODB
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.tests.support.threads import at_once
from p01.memcache.transactional import Transactional


class Boom(Exception):
    """What a view raises."""


class Site(Scenario):
    """A price in a database, and a cache of it."""

    def setUp(self):
        transaction.abort()
        self.addCleanup(transaction.abort)
        super().setUp()
        self.cache = self.wrap(self.client)
        self.database = ZODB.DB(MappingStorage())
        self.addCleanup(self.database.close)
        with self.request() as root:
            root['price'] = 5

    @contextlib.contextmanager
    def request(self):
        """Handle a request in this thread: commit, or abort after an error.
        """
        connection = self.database.open()
        try:
            with transaction.manager:
                yield connection.root()
        finally:
            connection.close()

    def price(self, root):
        return self.cache.getOrCreate('price', lambda: root['price'])

    def shown(self, _=None):
        """Return what another request shows."""
        with self.request() as root:
            return self.price(root)

    def elsewhere(self):
        [shown] = at_once(self.shown, [1])
        return shown

    # A

    def compute_and_abort(self):
        with contextlib.suppress(Boom), self.request() as root:
            root['price'] = 999
            self.assertEqual(self.price(root), 999)
            raise Boom

    # B

    def invalidate_before_the_commit(self):
        self.assertEqual(self.shown(), 5)
        with self.request() as root:
            root['price'] = 6
            self.cache.invalidate('price')
            self.assertEqual(self.elsewhere(), 5)

    def retry(self):
        """The first attempt conflicts with another request."""
        attempts = []
        for attempt in transaction.manager.attempts():
            connection = self.database.open()
            with attempt:
                root = connection.root()
                root['price'] = 100 + len(attempts)
                self.cache.invalidate('price')
                shown = self.price(root)
                if not attempts:
                    at_once(self.change, [7])
                attempts.append(shown)
            connection.close()
        return attempts

    def change(self, price):
        with self.request() as root:
            root['price'] = price
            self.cache.invalidate('price')


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class FaultyScenario(Site):
    """What happens without transactions."""

    def wrap(self, client):
        return client

    def test_a_value_of_an_aborted_transaction(self):
        self.compute_and_abort()
        self.assertEqual(self.shown(), 999)

    def test_an_invalidation_before_the_commit(self):
        self.invalidate_before_the_commit()
        self.assertEqual(self.shown(), 5)


@matrix(*FAKES, *EMBEDDED, slow=MEMCACHED)
class RightScenario(Site):
    """What happens with transactions."""

    def wrap(self, client):
        return Transactional(client)

    def test_a_value_of_an_aborted_transaction(self):
        self.compute_and_abort()
        self.assertEqual(self.shown(), 5)

    def test_an_invalidation_before_the_commit(self):
        self.invalidate_before_the_commit()
        self.assertEqual(self.shown(), 6)

    def test_a_retry(self):
        self.assertEqual(self.shown(), 5)
        self.assertEqual(self.retry(), [100, 101])
        self.assertEqual(self.shown(), 101)
        with self.request() as root:
            self.assertEqual(root['price'], 101)

    def test_a_conflict_without_a_retry(self):
        with self.assertRaises(ConflictError), self.request() as root:
            root['price'] = 100
            self.cache.invalidate('price')
            self.price(root)
            at_once(self.change, [7])
        self.assertEqual(self.shown(), 7)

    def test_a_savepoint(self):
        with self.request() as root:
            root['price'] = 6
            savepoint = transaction.savepoint()
            root['price'] = 7
            self.assertEqual(self.price(root), 7)
            savepoint.rollback()
            self.assertEqual(self.price(root), 6)
        self.assertEqual(self.shown(), 6)

    def test_a_request_that_only_reads(self):
        """It shares what it computes at once."""
        with self.request() as root:
            self.assertEqual(self.price(root), 5)
            self.assertEqual(self.client.query('price'), 5)

    def test_many_requests_at_once(self):
        """Nobody sees what is not committed, whatever others do meanwhile."""
        states = {5: 'committed'}

        def write(random, number):
            with self.request() as root:
                price = root['price'] = number
                states[price] = 'pending'
                if random.random() < 0.5:
                    self.cache.invalidate('price')
                self.assertEqual(self.cache.getOrCreate(
                    ('own', number), lambda: root['price']), price)
                if random.random() < 0.3:
                    savepoint = transaction.savepoint()
                    root['price'] = -1
                    self.cache.invalidate('price')
                    self.assertEqual(self.price(root), -1)
                    savepoint.rollback()
                self.cache.invalidate('price')
                self.assertEqual(self.price(root), price)
                if random.random() < 0.3:
                    raise Boom
                states[price] = 'committing'

        def work(thread):
            random = Random(thread)
            for step in range(40):
                if random.random() < 0.5:
                    number = thread * 1000 + step
                    with contextlib.suppress(ConflictError, Boom):
                        write(random, number)
                else:
                    with self.request() as root:
                        seen = self.price(root)
                    self.assertIn(states.get(seen), (
                        'committing', 'committed'))

        at_once(work, range(1, 9))
