# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Random operations in transactions, compared with a dict.

The sequences are those of `test_machine`, with commits, aborts and savepoints
in between. Two clients of one transaction see the model as it is now, a third
client sees it as it was committed.
"""

import copy
from typing import Any
from typing import NamedTuple

import hypothesis
import transaction
from hypothesis import strategies as st
from hypothesis.stateful import multiple
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import run_state_machine_as_test

from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import MEMCACHED
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.contract.test_machine import OBSERVER
from p01.memcache.tests.contract.test_machine import Long
from p01.memcache.tests.contract.test_machine import Machine
from p01.memcache.tests.contract.test_machine import clients
from p01.memcache.tests.contract.test_machine import keys
from p01.memcache.tests.contract.test_machine import tags
from p01.memcache.tests.contract.test_machine import values
from p01.memcache.tests.frameworks.resource import Resource
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.examples import settings
from p01.memcache.tests.support.values import MISSING
from p01.memcache.transactional import Transactional


class Moment(NamedTuple):
    """What a savepoint remembers."""

    savepoint: Any
    entries: dict
    versions: dict
    computed: list  # keys


class Transactions(Machine):

    def __init__(self, test):
        super().__init__(test)
        self.moments = []  # the first is that before the transaction
        self.computed = []  # keys of values that were computed after a change
        self.own = set()  # tokens of this transaction

    @property
    def is_under_way(self):
        return bool(self.moments)

    def note(self, savepoint):
        self.moments.append(Moment(
            savepoint, dict(self.model.entries),
            copy.copy(self.model.versions), list(self.computed)))

    def restore(self, moment):
        self.model.entries = dict(moment.entries)
        self.model.versions = copy.copy(moment.versions)

    def look(self, at, keys, raw):
        """The third client sees what was there before the transaction."""
        if at != OBSERVER or not self.is_under_way:
            super().look(at, keys, raw)
            return
        self.note(None)
        self.restore(self.moments[0])
        super().look(at, keys, raw)
        self.restore(self.moments.pop())

    @precondition(lambda self: not self.is_under_way)
    @rule(changed=st.booleans())
    def begin_transaction(self, changed):
        transaction.begin()
        if changed:
            Resource()
        self.note(None)

    @precondition(lambda self: self.is_under_way)
    @rule()
    def commit(self):
        transaction.commit()
        self.moments.clear()
        self.own.clear()
        for key in set(self.computed):
            # It is not stored if it depends on what has been invalidated.
            found = self.clients[OBSERVER].query(key, True, MISSING)
            if found is not MISSING:
                self.expect(found, self.model.find(key, True))
            self.clients[OBSERVER].invalidate(key)
            self.model.entries.pop(key, None)
        self.computed.clear()

    @precondition(lambda self: self.is_under_way)
    @rule()
    def abort(self):
        transaction.abort()
        self.forget(self.moments[0])
        self.moments.clear()
        self.own.clear()

    def forget(self, moment):
        """Roll the model back, and remove what is left of computations."""
        self.restore(moment)
        for key in self.computed[len(moment.computed):]:
            if key not in self.moments[0].entries:
                self.clients[OBSERVER].invalidate(key)
        del self.computed[len(moment.computed):]

    @precondition(lambda self: self.is_under_way)
    @rule()
    def savepoint(self):
        self.note(transaction.savepoint())

    @precondition(lambda self: len(self.moments) > 1)
    @rule(data=st.data())
    def rollback(self, data):
        number = data.draw(st.integers(1, len(self.moments) - 1))
        moment = self.moments[number]
        moment.savepoint.rollback()
        del self.moments[number + 1:]
        self.forget(moment)

    # What is different within a transaction

    @rule(at=clients, key=keys, value=values, tags=tags)
    def get_or_create(self, at, key, value, tags):
        _, is_dirty = self.clients[at]._state.store.transaction()
        found = self.model.find(key, False)
        super().get_or_create.__wrapped__(self, at, key, value, tags)
        if found is not MISSING or not self.is_under_way:
            return
        if is_dirty:
            self.computed.append(key)
        else:
            # It is stored at once.
            for moment in self.moments:
                moment.entries[key] = self.model.entries[key]

    @rule(at=clients, of=Machine.tokens, value=values)
    def cas(self, at, of, value):
        """What has no value of its own yet is not compared with others'."""
        key, token, unique = of
        if '@transaction-' not in token:
            super().cas.__wrapped__(self, at, of, value)
            return
        entry = self.model.entries.get(key)
        result = self.clients[at].cas(key, value, token)
        if result:
            self.test.assertIn(token, self.own)
            self.expect(entry.unique, unique)
            self.model.put(key, value)
        elif token in self.own:
            self.test.assertTrue(entry is None or entry.unique != unique)

    @rule(target=Machine.tokens, at=clients, key=keys, raw=st.booleans())
    def gets(self, at, key, raw):
        found = super().gets.__wrapped__(self, at, key, raw)
        if found != multiple():
            self.own.add(found[1])
        return found

    def teardown(self):
        if self.is_under_way:
            self.abort()
        super().teardown()


@matrix(*FAKES, *EMBEDDED)
@matrix(slow=[*FAKES, *EMBEDDED, *MEMCACHED], mixins=[Long])
class TransactionsScenario(ClientCase):

    examples = 25
    steps = 40

    def test_any_sequence(self):
        transaction.abort()
        self.addCleanup(transaction.abort)
        self.clients = {}
        for generations in False, True:
            plain = self.makeClient(namespace='one', generations=generations)
            self.clients[generations] = [
                Transactional(plain), Transactional(plain), plain]
        run_state_machine_as_test(
            lambda: Transactions(self), settings=hypothesis.settings(
                settings(self.examples), stateful_step_count=self.steps,
                report_multiple_bugs=False, phases=(
                    hypothesis.Phase.generate, hypothesis.Phase.shrink)))
