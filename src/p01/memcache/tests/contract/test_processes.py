# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreate` in several processes, on a memcached."""

import itertools
import json
import logging
import mmap
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

from p01.memcache.client import MemcacheClient
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.contract.callers import Factory
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.storm import Struck
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Touch


KINDS = {
    'commands': UltraMemcacheClient,
    'claims': UltraMemcacheClient,
    'memcache': MemcacheClient,
}


def make_client(kind, address, timeout=PATIENCE, **settings):
    client = KINDS[kind]([address], **settings)
    if kind == 'memcache':
        client._timeout = timeout
    else:
        client.timeout = timeout
    if kind == 'claims':
        [server] = client._state.store.servers
        server._knows_meta = False
    return client


class Command:
    """What a process can be asked to do. Each result can be put into JSON."""

    def __init__(self, address):
        self._address = address

    def herd(self, kind, key, count, seconds):
        """Return how often the value was computed, and the values found."""
        client = make_client(kind, self._address)
        client.query(key)  # now it is connected
        barrier = threading.Barrier(count, timeout=PATIENCE)
        calls = []

        def factory():
            calls.append(1)
            time.sleep(seconds)
            return [os.getpid()]

        def work(number):
            barrier.wait()
            return client.getOrCreate(key, factory)

        with ThreadPoolExecutor(count) as executor:
            values = list(executor.map(work, range(count)))
        return len(calls), values

    def hang(self, kind, key):
        client = make_client(kind, self._address)

        def factory():
            print(json.dumps('computing'), flush=True)
            time.sleep(600)

        client.getOrCreate(key, factory)

    def storm(self, kind, path, number, processes, seconds):
        return Sources(
            path, number, processes, kind, self._address).storm(seconds)


def serve(address):
    """Run the commands on standard input, until it ends."""
    logging.getLogger('p01.memcache').addHandler(logging.NullHandler())
    command = Command(address)
    print(json.dumps('ready'), flush=True)
    for line in sys.stdin:
        name, *args = json.loads(line)
        print(json.dumps(getattr(command, name)(*args)), flush=True)


class Process:

    def __init__(self, test, address):
        self._process = subprocess.Popen(
            [sys.executable, '-c', 'import sys;'
             'from p01.memcache.tests.contract.test_processes import serve;'
             'serve(sys.argv[1])', address],
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.kill)

    def ask(self, *command):
        self._process.stdin.write(json.dumps(command) + '\n')
        self._process.stdin.flush()

    def answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError('the process has ended')
        return json.loads(line)

    def kill(self):
        self._process.kill()
        with self._process:
            pass  # close its files, and wait for its end


class Sources:
    """The sources of cached values, and the versions that must not be seen.

    The processes share a file. It holds the current version of each key's
    source and, for each process, the lowest version that a value may still
    have: the process has invalidated all lower ones.
    """

    keys = 12

    def __init__(self, path, number, processes, kind, address):
        self._number = number
        with open(path, 'r+b') as file:
            numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast('Q')
        self._versions, *self._floors = (
            numbers[start:start + self.keys]
            for start in range(0, self.keys * (processes + 1), self.keys))
        self._own = range(number, self.keys, processes)
        make = partial(make_client, kind, address, 0.5)
        plain = make()
        self._families = [
            (plain, {}), (plain, {'dependencies': ['all']}),
            (make(namespace='generations', generations=True), {})]
        self._chance = random.Random(number)
        self._errors = []
        self._counts = dict.fromkeys(
            ('made', 'read', 'changed', 'late', 'failed'), 0)

    @classmethod
    def size(cls, processes):
        return cls.keys * (processes + 1) * 8

    def storm(self, seconds):
        """Return the errors, and counts of what was done."""
        self._end = monotonic() + seconds
        threads = [threading.Thread(target=self._repeat, args=(work,))
                   for work in (self._change, *[self._read] * 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self._errors, self._counts

    def _repeat(self, work):
        while monotonic() < self._end and not self._errors:
            try:
                work(self._chance.randrange(self.keys))
            except Exception:
                self._errors.append(traceback.format_exc())

    def _family(self, key):
        return self._families[key % len(self._families)]

    def _make(self, key):
        version = self._versions[key]
        self._counts['made'] += 1
        chance = self._chance.random()
        time.sleep(0.7 if chance < 0.01 else chance * 0.01)
        if chance > 0.95:
            self._counts['failed'] += 1
            raise Struck
        return key, version

    def _read(self, key):
        client, kw = self._family(key)
        floor = max(floors[key] for floors in self._floors)
        if self._chance.random() < 0.3:
            value = client.query(key)
        else:
            try:
                value = client.getOrCreate(
                    key, partial(self._make, key), lifetime=1,
                    grace=self._chance.choice((None, 5)), **kw)
            except Struck:
                return
        self._counts['read'] += 1
        if value is not None and (value[0] != key or value[1] < floor):
            self._errors.append(f'{key}: {value}, must be from {floor} on')

    def _change(self, _):
        key = self._chance.choice(self._own)
        client, kw = self._family(key)
        self._versions[key] += 1
        obsolete, done = [key], True
        before = list(self._versions)
        chance = self._chance.random()
        if chance < 0.3:
            done = client.invalidate(key)
        elif chance < 0.5:
            done = not client.invalidateMany([key])
        elif chance < 0.9 or not kw and not client.generations:
            done = client.set(key, (key, self._versions[key]), **kw)
        else:
            # All keys of the family, also those of other processes.
            obsolete = range(
                key % len(self._families), self.keys, len(self._families))
            done = (client.invalidateDependencies('all') if kw
                    else client.invalidateNamespace())
        if done:
            self._counts['changed'] += 1
            for other in obsolete:
                self._floors[self._number][other] = before[other]
        time.sleep(self._chance.random() * 0.02)


class TestProcesses(unittest.TestCase):

    level = 2
    layer = MemcachedLayer
    count = 8

    def setUp(self):
        keep_quiet(self)
        self.client = make_client('commands', self.layer.address)
        self.addCleanup(self.client.close)
        self.client.invalidateAll()

    def processes(self, count):
        processes = [Process(self, self.layer.address) for _ in range(count)]
        for process in processes:
            self.assertEqual(process.answer(), 'ready')
        return processes

    # Fault 31

    def test_a_key_that_just_expired(self):
        processes = self.processes(self.count)
        for kinds in (['commands'], ['claims'], ['memcache'],
                      ['commands', 'claims'], ['commands', 'memcache']):
            with self.subTest(kinds=kinds):
                self.client.set('key', 'expired')
                wire = self.client.buildKey('key').encode()
                self.client._state.store.run(Touch(wire, -1), soon())
                for process, kind in zip(processes, itertools.cycle(kinds)):
                    process.ask('herd', kind, 'key', 13, 0.3)
                answers = [process.answer() for process in processes]
                self.assertEqual(sum(calls for calls, _ in answers), 1)
                values = {tuple(value) for _, values in answers
                          for value in values}
                self.assertEqual(len(values), 1)
                self.assertEqual(
                    [len(values) for _, values in answers],
                    [13] * self.count)

    def test_killed_while_it_computes(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                [process] = self.processes(1)
                process.ask('hang', kind, kind)
                self.assertEqual(process.answer(), 'computing')
                process.kill()
                client = make_client('commands', self.layer.address, 0.2)
                start = monotonic()
                factory = Factory('next')
                self.assertEqual(client.getOrCreate(kind, factory), 'next')
                waited = monotonic() - start
                self.assertGreater(waited, 0.19)
                self.assertLess(waited, 2)
                self.assertEqual(
                    self.client.getOrCreate(kind, Factory('never')), 'next')
                client.close()

    def test_no_caller_waits_longer_than_the_time_out(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                waited = min(self.wait(kind, number) for number in range(3))
                self.assertLessEqual(waited, 0.35)

    def wait(self, kind, number):
        """Return how long the last of some callers waited."""
        client = make_client(kind, self.layer.address, 0.3)
        self.addCleanup(client.close)
        key = f'{kind} {number}'
        wire = client.buildKey(key).encode()
        self.client._state.lending.lend(wire, 0, soon())
        begun = []

        def work(_):
            start = monotonic()
            client.getOrCreate(
                key, lambda: begun.append(monotonic() - start))

        with ThreadPoolExecutor(5) as executor:
            list(executor.map(work, range(5)))
        # Some may have found what the first one has stored.
        self.assertGreater(begun[0], 0.29)
        return max(begun)

    def test_lifetime_and_grace_end(self):
        # memcached's clock has a resolution of a second.
        kw = {'lifetime': 1, 'grace': 3}
        clients = [make_client(kind, self.layer.address) for kind in KINDS]
        for client in clients:
            self.addCleanup(client.close)
        for kind, client in zip(KINDS, clients, strict=True):
            client.getOrCreate(kind, Factory('old'), **kw)
        with ThreadPoolExecutor() as executor:
            factories, renewers = [], []
            for kind, client in zip(KINDS, clients, strict=True):
                until(lambda c=client, k=kind: c.query(k) is None)
                factories.append(factory := Factory('new', slow=True))
                create = partial(client.getOrCreate, kind, factory, **kw)
                while not factory.begun.wait(0.05):
                    # With meta commands this may take a moment longer.
                    renewers.append(executor.submit(create))
                self.assertEqual(client.getOrCreate(
                    kind, Factory('never'), **kw), 'old')
            late = []
            for kind, client in zip(KINDS, clients, strict=True):
                wire = client.buildKey(kind).encode()
                until(lambda c=client, w=wire: c._state.store.get(
                    w, soon()) is None)
                # The grace has ended: each caller may compute a value.
                late.append(executor.submit(
                    client.getOrCreate, kind, Factory('newer'), **kw))
            self.assertEqual(
                [future.result(PATIENCE) for future in late], ['newer'] * 3)
            for factory in factories:
                factory.go_on.set()
            values = [renewer.result(PATIENCE) for renewer in renewers]
            self.assertEqual(values.count('new'), 3)
            self.assertLessEqual(set(values), {'old', 'new'})
        self.assertEqual(
            [client.query(kind) for kind, client in zip(
                KINDS, clients, strict=True)], ['newer'] * 3)

    def test_storm(self):
        # No value is older than an invalidation that was acknowledged before
        # the value was requested.
        kinds = ['commands', 'claims', 'memcache', 'commands']
        processes = self.processes(len(kinds))
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(Sources.size(len(kinds)))
            for number, kind in enumerate(kinds):
                processes[number].ask(
                    'storm', kind, file.name, number, len(kinds), 5)
            answers = [process.answer() for process in processes]
        for errors, counts in answers:
            self.assertEqual(errors, [])
            self.assertGreater(counts['read'], 100, counts)
            self.assertGreater(counts['made'], 10, counts)
            self.assertGreater(counts['changed'], 10, counts)
