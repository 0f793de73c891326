# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Random sequences of operations of two clients, compared with a dict.

Every result is compared with that of a model. Nothing expires here, and no
server is lost: both have tests of their own.
"""

import pickle
import re
from collections import Counter
from typing import Any
from typing import NamedTuple

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import Bundle
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import initialize
from hypothesis.stateful import invariant
from hypothesis.stateful import multiple
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import run_state_machine_as_test

from p01.memcache.tests.contract.matrix import CELLS
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.examples import settings
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.values import MISSING


load_tests = run_in(Contract)


KEYS = 'one', ('two', 2)
TAGS = ('x', 'y', 'z')

# A client that only reads, besides the two that are tested.
OBSERVER = 2

clients = st.integers(0, 1)
keys = st.sampled_from(KEYS)
values = st.none() | st.integers(-9, 9) | st.text('ab', max_size=3)
# Without a dot, so that they are no pickles.
data = st.text('059x', max_size=3).map(str.encode)
tags = st.just([]) | st.lists(
    st.sampled_from(TAGS), max_size=2, unique=True)
lifetimes = st.sampled_from((None, 0, 600))
deltas = st.integers(0, 120)


class Entry(NamedTuple):
    """What is stored under a key."""

    value: Any
    raw: bool
    versions: dict  # versions of the dependencies, by tag
    unique: int


class Model:
    """A server, its clients, and the dependencies, as dicts."""

    def __init__(self):
        self.entries = {}
        self.versions = Counter()
        self._stored = 0

    def put(self, key, value, raw=False, versions=()):
        self._stored += 1
        self.entries[key] = Entry(value, raw, dict(versions), self._stored)

    def now(self, tags):
        return {tag: self.versions[tag] for tag in tags}

    def is_valid(self, entry):
        return all(self.versions[tag] == version
                   for tag, version in entry.versions.items())

    def find(self, key, raw):
        """Return what a read finds; a raw read also finds a pickle."""
        entry = self.entries.get(key)
        if entry is None or not self.is_valid(entry) or entry.raw > raw:
            return MISSING
        return entry.value if entry.raw or not raw else pickle.dumps(
            entry.value, -1)

    def join(self, key, join):
        """Change the stored bytes, if there are any."""
        if key not in self.entries:
            return False
        self.put(key, join(self.entries[key].value), True)
        return True

    def count(self, key, count, initial):
        entry = self.entries.get(key)
        if entry is None:
            if initial is not None:
                self.put(key, b'%d' % initial, True)
            return initial
        if not entry.raw or entry.versions:
            return None
        number = re.match(rb'\d+(?= |\Z)', entry.value)
        if number is None or int(number[0]) >= 2 ** 64:
            return None
        result = count(int(number[0])) % 2 ** 64
        self.put(key, (b'%d' % result).ljust(len(entry.value)), True)
        return result


class Machine(RuleBasedStateMachine):

    tokens = Bundle('tokens')

    def __init__(self, test):
        super().__init__()
        self.test = test
        self.model = Model()

    @initialize(generations=st.booleans())
    def begin(self, generations):
        self.clients = self.test.clients[generations]
        self.clients[0].invalidateAll()

    def expect(self, result, expected):
        self.test.assertEqual(result, expected)
        self.test.assertIs(type(result), type(expected))

    # storing

    @rule(at=clients, key=keys, value=values, lifetime=lifetimes, tags=tags)
    def set(self, at, key, value, lifetime, tags):
        client = self.clients[at]
        self.expect(
            client.set(key, value, lifetime, dependencies=tags),
            client.buildKey(key))
        self.model.put(key, value, False, self.model.now(tags))

    @rule(at=clients, key=keys, data=data, lifetime=lifetimes, tags=tags)
    def set_raw(self, at, key, data, lifetime, tags):
        client = self.clients[at]
        self.expect(
            client.set(key, data, lifetime, True, tags), client.buildKey(key))
        self.model.put(key, data, True, self.model.now(tags))

    @rule(at=clients, key=keys, value=values)
    def add(self, at, key, value):
        added = key not in self.model.entries
        self.expect(self.clients[at].add(key, value), added)
        if added:
            self.model.put(key, value)

    @rule(at=clients, key=keys, value=values)
    def replace(self, at, key, value):
        replaced = key in self.model.entries
        self.expect(self.clients[at].replace(key, value), replaced)
        if replaced:
            self.model.put(key, value)

    @rule(at=clients, key=keys, data=data, before=st.booleans())
    def append_or_prepend(self, at, key, data, before):
        entry = self.model.entries.get(key)
        if entry is not None and (not entry.raw or entry.versions):
            # It would break a pickle, and the stamp of the dependencies.
            return
        client = self.clients[at]
        self.expect(
            (client.prepend if before else client.append)(key, data),
            self.model.join(key, lambda former:
                            data + former if before else former + data))

    @rule(at=clients, pairs=st.dictionaries(keys, values))
    def set_many(self, at, pairs):
        self.expect(self.clients[at].setMany(pairs), [])
        for key, value in pairs.items():
            self.model.put(key, value)

    @rule(at=clients, key=keys, delta=deltas, initial=st.none() | deltas,
          down=st.booleans())
    def increment_or_decrement(self, at, key, delta, initial, down):
        client = self.clients[at]
        result = (client.decrement if down else client.increment)(
            key, delta, initial)
        counted = self.model.count(key, lambda number:
                                   max(0, number - delta) if down
                                   else number + delta, initial)
        self.expect(result, counted)
        if counted is None:
            return
        # Where a number gets shorter, memcached pads it with blanks; but not
        # while it is still busy with another connection's look at it.
        padded = self.model.entries[key].value
        stored = client.query(key, True)
        self.test.assertIn(stored, (padded, padded.rstrip()))
        self.model.put(key, stored, True)

    @rule(at=clients, key=keys, value=values, tags=tags)
    def get_or_create(self, at, key, value, tags):
        found = self.model.find(key, False)
        computed = []

        def factory():
            computed.append(value)
            return value

        self.expect(
            self.clients[at].getOrCreate(key, factory, dependencies=tags),
            value if found is MISSING else found)
        self.expect(computed, [value] if found is MISSING else [])
        if computed:
            self.model.put(key, value, False, self.model.now(tags))

    # reading

    @rule(at=clients, key=keys, raw=st.booleans())
    def query(self, at, key, raw):
        self.expect(
            self.clients[at].query(key, raw, MISSING),
            self.model.find(key, raw))

    @rule(at=clients, keys=st.sets(keys), raw=st.booleans())
    def query_many(self, at, keys, raw):
        self.look(at, keys, raw)

    def look(self, at, keys, raw):
        found = {key: self.model.find(key, raw) for key in keys}
        self.expect(
            self.clients[at].queryMany(keys, raw),
            {key: value for key, value in found.items()
             if value is not MISSING})

    @rule(at=clients, key=keys, raw=st.booleans(), lifetime=lifetimes)
    def query_and_touch(self, at, key, raw, lifetime):
        self.expect(
            self.clients[at].queryAndTouch(key, lifetime, raw, MISSING),
            self.model.find(key, raw))

    @rule(at=clients, key=keys, lifetime=lifetimes)
    def touch(self, at, key, lifetime):
        self.expect(
            self.clients[at].touch(key, lifetime), key in self.model.entries)

    # comparing

    @rule(target=tokens, at=clients, key=keys, raw=st.booleans())
    def gets(self, at, key, raw):
        found, token = self.clients[at].gets(key, raw, MISSING)
        self.expect(found, self.model.find(key, raw))
        if found is MISSING:
            self.expect(token, None)
            return multiple()
        return key, token, self.model.entries[key].unique

    @rule(at=clients, of=tokens, value=values)
    def cas(self, at, of, value):
        key, token, unique = of
        entry = self.model.entries.get(key)
        expected = None if entry is None else entry.unique == unique
        self.expect(self.clients[at].cas(key, value, token), expected)
        if expected:
            self.model.put(key, value)

    # invalidation

    @rule(at=clients, key=keys)
    def invalidate(self, at, key):
        self.expect(self.clients[at].invalidate(key), True)
        self.model.entries.pop(key, None)

    @rule(at=clients, keys=st.sets(keys))
    def invalidate_many(self, at, keys):
        self.expect(self.clients[at].invalidateMany(keys), [])
        for key in keys:
            self.model.entries.pop(key, None)

    @rule(at=clients, tags=tags)
    def invalidate_dependencies(self, at, tags):
        self.expect(self.clients[at].invalidateDependencies(*tags), True)
        self.model.versions.update(tags)

    @precondition(lambda self: self.clients[0].generations)
    @rule(at=clients)
    def invalidate_namespace(self, at):
        self.expect(self.clients[at].invalidateNamespace(), True)
        self.model.entries.clear()

    @invariant()
    def is_seen_by_another(self):
        """After each operation, a third client finds what the model has."""
        self.look(OBSERVER, KEYS, True)

    def teardown(self):
        for at in 0, 1, OBSERVER:
            self.look(at, KEYS, False)
        self.expect(self.clients[0].invalidateAll(), None)
        self.model.entries.clear()
        for at in 0, 1, OBSERVER:
            self.look(at, KEYS, True)


class Long:
    """More and longer sequences, for level 2."""

    examples = 100
    steps = 50


@matrix(*FAKES, *EMBEDDED)
@matrix(slow=CELLS, mixins=[Long])
class MachineScenario(ClientCase):

    examples = 25
    steps = 40

    def test_any_sequence(self):
        # The clients have been used before, like those of a site.
        self.clients = {
            generations: [
                self.makeClient(namespace='one', generations=generations)
                for _ in range(3)]
            for generations in (False, True)}
        run_state_machine_as_test(
            lambda: Machine(self), settings=hypothesis.settings(
                settings(self.examples), stateful_step_count=self.steps,
                report_multiple_bugs=False, phases=(
                    hypothesis.Phase.generate, hypothesis.Phase.shrink)))
