# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a client counts, and says of its servers, when there is trouble."""

import os
import threading
import time
import unittest
from unittest import mock

from p01.memcache.counts import counts
from p01.memcache.counts.counts import SLOT
from p01.memcache.counts.counts import Counts
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


# The answer of a server that does not answer.
SILENCE = [(b'', 2 * PATIENCE)]


class TroubleCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)

    def connect(self, *servers, **settings):
        client = UltraMemcacheClient(
            [getattr(server, 'address', server) for server in servers],
            **{'timeout': 5, **settings})
        self.addCleanup(client.close)
        return client


class CountsTest(TroubleCase):

    def test_a_server_that_is_down(self):
        client = self.connect('127.0.0.1:1', retries=1, delay=0)
        client.query('key')
        client.query('key')
        client.set('key', 1)
        found = client.getCounts()
        self.assertEqual(
            found['errors'], {'ConnectError': 1, 'ServerDown': 2})
        self.assertEqual(
            (found['misses'], found['stored'], found['timeouts']), (2, 0, 0))

    def test_time_outs(self):
        with ScriptedServer(default=SILENCE) as server:
            client = self.connect(server, timeout=0.05, retries=9)
            client.query('key')
            found = client.getCounts()
            self.assertEqual(found['timeouts'], 1)
            self.assertEqual(found['errors'], {'ReceiveTimeout': 1})
            [server] = client.getServers()
            self.assertEqual((server['opened'], server['broken']), (1, 1))

    def test_refused(self):
        with EmbeddedServer(maxItemSize=1000) as server:
            client = self.connect(server)
            self.assertIsNone(client.set('key', 'x' * 5000))
            small = self.connect(server, maxValueSize=100)
            self.assertIsNone(small.set('key', 'x' * 500))
            for one in client, small:
                found = one.getCounts()
                self.assertEqual(
                    (found['stored'], found['refused']), (0, 1))

    def test_waited(self):
        with EmbeddedServer() as server:
            client = self.connect(server)
            begun, go_on = threading.Event(), threading.Event()

            def compute():
                begun.set()
                go_on.wait(10)
                return 'value'

            def get(found):
                found.append(client.getOrCreate('key', compute))

            found = []
            first = threading.Thread(target=get, args=[found])
            first.start()
            begun.wait(10)
            others = [threading.Thread(target=get, args=[found])
                      for _ in range(3)]
            for thread in others:
                thread.start()
            # They have looked, and wait.
            until(lambda: client.getCounts()['misses'] >= 1)
            go_on.set()
            for thread in first, *others:
                thread.join()
            self.assertEqual(found, ['value'] * 4)
            numbers = client.getCounts()
            self.assertEqual(numbers['computed'], 1)
            self.assertEqual(numbers['waited'] + numbers['hits'], 3)

    def test_a_value_of_another_thread_is_not_read(self):
        with EmbeddedServer() as server:
            client = self.connect(server)
            go_on = threading.Event()

            def compute():
                go_on.wait(10)
                return b'x' * 1000

            threads = [threading.Thread(
                target=client.getOrCreate, args=['key', compute])
                for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.2)
            go_on.set()
            for thread in threads:
                thread.join()
            found = client.getCounts()
            self.assertEqual(found['waited'] + found['hits'], 3)
            self.assertEqual(
                found['bytesRead'], found['hits'] * found['bytesStored'])

    def test_unreadable(self):
        with EmbeddedServer() as server:
            self.connect(server).set('key', 'a pickle')
            client = self.connect(server, serializer='json')
            client.query('key')
            found = client.getCounts()
            self.assertEqual(sum(found['unreadable'].values()), 1)
            self.assertEqual(found['unreadable'], client.getUnreadable())

    def test_a_forked_child_begins_at_zero(self):
        with EmbeddedServer() as server:
            client = self.connect(server)
            client.query('key')
            child = os.fork()
            if not child:
                os._exit(client.getCounts()['misses'])
            _, status = os.waitpid(child, 0)
            self.assertEqual(os.waitstatus_to_exitcode(status), 0)
            self.assertEqual(client.getCounts()['misses'], 1)


class HistoryTest(unittest.TestCase):

    def setUp(self):
        self.now = 1000.0
        self.enterContext(
            mock.patch.object(counts, 'monotonic', lambda: self.now))
        self.counts = Counts()

    def read(self, hits, misses, seconds=0):
        """Count as an operation does that ends so many seconds later."""
        self.now += seconds
        self.counts.begin()
        self.counts.hits += hits
        self.counts.misses += misses

    def test_slots(self):
        self.read(1, 2)
        self.read(3, 4, SLOT)
        self.read(5, 6, 3 * SLOT)
        self.assertEqual(
            [slot[1:] for slot in self.counts.history()],
            [(1, 2, 0), (3, 4, 0), (0, 0, 0), (0, 0, 0), (5, 6, 0)])

    def test_ten_minutes(self):
        for _ in range(200):
            self.read(1, 0, SLOT)
        history = self.counts.history()
        self.assertEqual(len(history), 60)
        self.assertEqual({slot[1] for slot in history}, {1})

    def test_the_first_operation_after_idleness(self):
        """It belongs to its own slot, not to the last one that had any."""
        operations = (
            lambda client: client.query('key'),
            lambda client: client.queryMany(['key']),
            lambda client: client.gets('key'),
            lambda client: client.lookUp('key').release(),
            lambda client: client.getOrCreate('key', str),
            lambda client: client.getOrCreateMany(['key'], dict.fromkeys))
        self.enterContext(mock.patch.object(counts, 'SLOT', 0.5))
        self.enterContext(
            mock.patch.object(counts, 'monotonic', time.monotonic))
        clients = [FakeUltraMemcacheClient() for _ in operations]
        for client in clients:
            client.query('other')
        time.sleep(0.6)
        for number, operation in enumerate(operations):
            client = clients[number]
            operation(client)
            (_, *first), *others = client.getHistory()
            with self.subTest(number):
                self.assertEqual(first, [0, 1, 0])
                self.assertEqual(sum(slot[2] for slot in others), 1)

    def test_after_idleness(self):
        self.read(7, 0)
        self.now += 3600
        self.assertEqual(
            {slot[1:] for slot in self.counts.history()}, {(0, 0, 0)})


class ServersTest(TroubleCase):

    def state(self, client):
        [server] = client.getServers()
        return server

    def test_up(self):
        with EmbeddedServer() as server:
            client = self.connect(server)
            client.query('key')
            self.assertEqual(self.state(client), {
                'server': server.address, 'state': 'up', 'since': 0.0,
                'reason': None, 'nextProbe': 0, 'active': 0, 'idle': 1,
                'waiting': 0, 'opened': 1, 'broken': 0, 'owed': 0,
                'drained': False})

    def test_down(self):
        with EmbeddedServer() as server:
            client = self.connect(
                server, retries=1, delay=0, blacktime=60)
            client.set('key', 1)
            server.stop()
            client.query('key')
            client.invalidate('key')
            found = self.state(client)
            self.assertEqual(
                (found['state'], found['owed']), ('down', 1))
            self.assertIn('cannot connect', found['reason'])
            self.assertTrue(0 < found['nextProbe'] <= 60)
            self.assertLess(found['since'], 30)

    def test_failing(self):
        client = self.connect('127.0.0.1:1', retries=5, delay=60)
        client.query('key')
        found = self.state(client)
        self.assertEqual(found['state'], 'failing')
        self.assertTrue(0 < found['nextProbe'] <= 60)

    def test_it_will_be_flushed(self):
        client = self.connect('127.0.0.1:1')
        with self.assertRaisesRegex(Exception, 'not invalidated'):
            client.invalidateAll()
        self.assertEqual(self.state(client)['owed'], -1)

    def test_drained(self):
        client = self.connect('127.0.0.1:1', '127.0.0.1:2')
        client.drained = ['127.0.0.1:1']
        self.assertEqual(
            [(one['server'], one['state'], one['drained'])
             for one in client.getServers()],
            [('127.0.0.1:2', 'up', False),
             ('127.0.0.1:1', 'drained', True)])

    def test_threads_that_wait(self):
        with ScriptedServer(default=SILENCE) as server:
            client = self.connect(server, maxPoolSize=1, timeout=2)
            threads = [
                threading.Thread(target=client.query, args=['key'])
                for _ in range(3)]
            for thread in threads:
                thread.start()
            until(lambda: self.state(client)['waiting'] == 2)
            self.assertEqual(self.state(client)['active'], 1)
            for thread in threads:
                thread.join()


class SlowTest(TroubleCase):
    """What a slow operation has waited for."""

    def slowest(self, client):
        slowest, *_ = client.getSlowest()
        return slowest['phase'], slowest['server']

    def test_the_reply(self):
        with ScriptedServer(default=SILENCE) as server:
            client = self.connect(server, timeout=0.1, slow=0.05)
            with self.assertLogs('p01.memcache') as logs:
                client.query('key')
            self.assertTrue(any('slow' in line for line in logs.output))
            self.assertEqual(
                self.slowest(client), ('receive', server.address))

    def test_the_connection(self):
        with full_backlog() as address:
            client = self.connect(address, timeout=0.1, slow=0.05)
            client.query('key')
            self.assertEqual(self.slowest(client), ('connect', address))
            self.assertEqual(client.getCounts()['slow'], 1)

    def test_a_factory_is_no_part_of_it(self):
        """Nor is what is waited for in it, however deep."""
        with ScriptedServer(default=SILENCE) as server:
            other = self.connect(
                server, timeout=0.1, connectTimeout=0.1, maxPoolSize=1)
            with EmbeddedServer() as embedded:
                client = self.connect(embedded, slow=0)

                def factory():
                    thread = threading.Thread(
                        target=other.query, args=['key'])
                    thread.start()
                    other.query('key')
                    thread.join()
                    return client.getOrCreate('inner', str)

                client.getOrCreate('outer', factory)
                for found in client.getSlowest():
                    self.assertEqual(
                        (found['phase'], found['server']),
                        ('receive', embedded.address))
                    self.assertLess(found['seconds'], 0.05)
