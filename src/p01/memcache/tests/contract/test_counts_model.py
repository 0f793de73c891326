# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Random operations, whose counts a simple model predicts from the results.

That the results are right is tested in `test_machine`.
"""

import random
from collections import Counter

from p01.memcache.tests.contract.matrix import CELLS
from p01.memcache.tests.contract.matrix import EMBEDDED
from p01.memcache.tests.contract.matrix import FAKES
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet


load_tests = run_in(Contract)

LARGEST = 1000
RAW, OBJECTS = ('a', 'b', 'c'), ('x', 'y', 'z')


@matrix(*FAKES, *EMBEDDED, slow=[
    cell for cell in CELLS if cell not in (*FAKES, *EMBEDDED)])
class CountsModelScenario:

    def setUp(self):
        super().setUp()
        keep_quiet(self)

    def begin(self, seed):
        self.client = self.makeClient(maxValueSize=LARGEST)
        self.client.invalidateAll()
        self.client = self.makeClient(maxValueSize=LARGEST)
        self.random = random.Random(seed)
        self.expected, self.commands = Counter(), Counter()
        self.token = None

    def data(self):
        """Return a value; one of ten is too large."""
        size = self.random.choice([0, 1, 5, 50, 500] * 2 + [LARGEST + 1])
        return b'1' * size

    def size(self, key):
        """Return the bytes of the value that is stored."""
        found = self.stored(self.client.buildKey(key))
        return None if found is None else len(found[0])

    def count(self, command, **numbers):
        self.commands[command] += 1
        self.expected.update(numbers)

    def looked(self, command, key, is_hit):
        if is_hit:
            self.count(command, hits=1, bytesRead=self.size(key))
        else:
            self.count(command, misses=1)

    def store(self, command, result, data, always=True):
        if len(data) > LARGEST:
            self.assertIsNone(result)
            self.expected.update(refused=1, ValueTooLarge=1)
            # Only what replaces a value has then something to do.
            self.commands[command] += always
        elif result:
            self.count(command, stored=1, bytesStored=len(data))
        else:
            self.count(command)

    # The operations

    def do_query(self, key):
        self.looked('query', key,
                    self.client.query(key, raw=True) is not None)

    def do_gets(self, key):
        value, token = self.client.gets(key, raw=True)
        self.token = token and (key, token)
        self.looked('gets', key, value is not None)

    def do_query_and_touch(self, key):
        self.looked('queryAndTouch', key, self.client.queryAndTouch(
            key, 60, raw=True) is not None)

    def do_query_many(self, key):
        found = self.client.queryMany(RAW, raw=True)
        self.count('queryMany', hits=len(found), misses=3 - len(found),
                   bytesRead=sum(map(self.size, found)))

    def do_set(self, key):
        data = self.data()
        self.store('set', self.client.set(key, data, raw=True), data)

    def do_set_many(self, key):
        values = {key: self.data() for key in RAW}
        lost = self.client.setMany(values, raw=True)
        sizes = [len(data) for key, data in values.items()
                 if key not in lost]
        self.count('setMany', stored=len(sizes), bytesStored=sum(sizes),
                   refused=len(lost), ValueTooLarge=len(lost))

    def do_add(self, key):
        data = self.data()
        self.store('add', self.client.add(key, data, raw=True), data, False)

    def do_replace(self, key):
        data = self.data()
        self.store('replace', self.client.replace(key, data, raw=True), data)

    def do_append(self, key):
        self.store('append', self.client.append(key, b'123'), b'123')

    def do_prepend(self, key):
        self.store('prepend', self.client.prepend(key, b'123'), b'123')

    def do_cas(self, key):
        if self.token:
            key, token = self.token
            data = self.data()
            self.store('cas', self.client.cas(key, data, token, raw=True),
                       data, False)

    def do_invalidate_unchanged(self, key):
        if self.token:
            self.count('invalidateUnchanged', invalidated=int(bool(
                self.client.invalidateUnchanged(*self.token))))

    def do_touch(self, key):
        self.client.touch(key, 60)
        self.count('touch')

    def do_increment(self, key):
        self.client.set('number', b'1', raw=True)
        self.count('set', stored=1, bytesStored=1)
        self.client.increment('number')
        self.client.decrement('number')
        self.commands.update(('increment', 'decrement'))

    def do_invalidate(self, key):
        self.client.invalidate(key)
        self.count('invalidate', invalidated=1)

    def do_invalidate_many(self, key):
        self.client.invalidateMany(RAW[:2] + OBJECTS[:2])
        self.count('invalidateMany', invalidated=4)

    def do_invalidate_dependencies(self, key):
        self.client.invalidateDependencies('one', 'two')
        self.count('invalidateDependencies', invalidated=1)

    def do_invalidate_all(self, key):
        if self.random.random() < 0.2:
            self.client.invalidateAll()
            self.count('invalidateAll', invalidated=1)

    def computed(self, key, value):
        """The caller has looked for a value that is not there."""
        self.expected.update(misses=1, computed=1)
        if len(value) > LARGEST:
            self.expected.update(refused=1, ValueTooLarge=1)
        else:
            self.expected.update(stored=1, bytesStored=self.size(key))

    def do_get_or_create(self, key):
        key = self.random.choice(OBJECTS)
        made = []

        def factory():
            made.append(self.data())
            return made[0]

        self.client.getOrCreate(key, factory)
        if made:
            self.commands['getOrCreate'] += 1
            self.computed(key, made[0])
        else:
            self.looked('getOrCreate', key, True)

    def do_get_or_create_many(self, key):
        made = {}

        def factory(keys):
            made.update((key, self.data()) for key in keys)
            return made

        self.client.getOrCreateMany(OBJECTS, factory)
        self.commands['getOrCreateMany'] += 1
        for key in OBJECTS:
            if key in made:
                self.computed(key, made[key])
            else:
                self.expected.update(hits=1, bytesRead=self.size(key))

    def do_look_up(self, key):
        key = self.random.choice(OBJECTS)
        look = self.client.lookUp(key)
        self.commands['lookUp'] += 1
        if look.isHit:
            self.expected.update(hits=1, bytesRead=self.size(key))
        elif self.random.random() < 0.5:
            value = self.data()
            look.store(value)
            self.computed(key, value)
        else:
            look.release()
            self.expected.update(misses=1, computed=1)

    def check(self, message):
        counts = self.client.getCounts()
        errors, seconds = counts.pop('errors'), counts.pop('seconds')
        self.assertEqual(counts.pop('unreadable'), {})
        self.assertEqual(counts.pop('timeouts'), 0)
        self.assertEqual(
            {name: number for name, number in {**counts, **errors}.items()
             if number}, dict(+self.expected), message)
        self.assertEqual(
            {name: times['count'] for name, times in seconds.items()},
            dict(+self.commands), message)

    def test_counts(self):
        operations = [getattr(self, name) for name in sorted(dir(self))
                      if name.startswith('do_')]
        for seed in range(3):
            self.begin(seed)
            done = []
            for _ in range(300):
                operation = self.random.choice(operations)
                done.append(operation.__name__)
                operation(self.random.choice(RAW))
                self.check(f'seed {seed}, after {done[-3:]}')
