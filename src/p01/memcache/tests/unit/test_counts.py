# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a client counts, and says of its servers, when there is trouble."""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from p01.memcache.counts import counts
from p01.memcache.counts.counts import SLOT
from p01.memcache.counts.counts import Counts
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


# The answer of a server that does not answer.
SILENCE = [(b'', 2 * PATIENCE)]


# Asks a server twice; its parent stops it meanwhile.
STOPPED = '''
import logging
import sys
from p01.memcache.uclient import UltraMemcacheClient
logging.basicConfig()
client = UltraMemcacheClient([sys.argv[1]], timeout=0.4, slow=0.3, retries=1)
client.query('key')
print('begun', flush=True)
sys.stdin.readline()
client.query('key')
counts = client.getCounts()
print((client.getSlowest()[0]['phase'], counts['slow'], counts['errors'],
       client.getServers()[0]['state']))
'''


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


class ThreadsTest(unittest.TestCase):

    def test_threads(self):
        """No count and no slot is lost, and nothing fails, in any order."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        self.addCleanup(sys.setswitchinterval, interval)
        self.enterContext(mock.patch.object(counts, 'SLOT', 0.02))
        self.enterContext(mock.patch.object(counts, 'SLOTS', 5000))
        own, times, threads = Counts(), 60, 64
        own.limit_to(0.5)

        def use(number):
            for turn in range(times):
                own.begin()
                own.hits += 1
                own.misses += 2
                own.failed(ReceiveTimeout())
                own.times['query'][turn % 3] += 1
                own.keep(number + turn / times, 'query', 'key', None, 'other')
                for slot in own.history():
                    self.assertGreaterEqual(min(slot), 0)
                self.assertLessEqual(len(own.slowest()), counts.MOST)

        at_once(use, range(threads))
        numbers = own.as_dict()
        self.assertEqual(numbers['hits'], threads * times)
        self.assertEqual(
            numbers['errors'], {'ReceiveTimeout': threads * times})
        self.assertEqual(
            numbers['seconds']['query']['count'], threads * times)
        slots = own.history()
        self.assertEqual(
            [sum(slot[place] for slot in slots) for place in (1, 2, 3)],
            [threads * times, 2 * threads * times, threads * times])

    def test_the_slowest_are_kept(self):
        own = Counts()
        seconds = random.Random(1).sample(range(1, 1000), 500)
        at_once(lambda group: [
            own.keep(one, 'query', 'key', None, 'other') for one in group],
            [seconds[start::10] for start in range(10)])
        self.assertEqual(
            [one['seconds'] for one in own.slowest()],
            sorted(seconds, reverse=True)[:counts.MOST])


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

    def test_a_connection_of_the_pool(self):
        with EmbeddedServer() as server, FaultProxy(server.address) as proxy:
            client = self.connect(proxy, maxPoolSize=1)
            client.query('key')
            proxy.once(HOLD)
            first = threading.Thread(target=client.query, args=['first'])
            first.start()
            self.assertTrue(proxy.wait(lambda: proxy.stalled))
            second = threading.Thread(target=client.query, args=['second'])
            second.start()
            until(lambda: client.getServers()[0]['waiting'] == 1)
            time.sleep(0.1)
            proxy.release()
            for thread in first, second:
                thread.join()
            phases = {one['key']: (one['phase'], one['server'])
                      for one in client.getSlowest()}
            for key, phase in ('first', 'receive'), ('second', 'pool'):
                self.assertEqual(
                    phases[client.buildKey(key)], (phase, proxy.address))

    def test_another_caller(self):
        with EmbeddedServer() as server:
            client = self.connect(server)
            begun = threading.Event()

            def compute():
                begun.set()
                time.sleep(0.2)

            first = threading.Thread(
                target=client.getOrCreate, args=['key', compute])
            first.start()
            begun.wait(PATIENCE)
            client.getOrCreate('key', compute)
            first.join()
            # No server has made it wait.
            self.assertEqual(self.slowest(client), ('other', None))

    def test_a_handshake(self):
        with ScriptedServer(default=SILENCE) as server, \
                Certificates() as files:
            address = f'tls://{server.address}'
            client = self.connect(address, caFile=files.ca, timeout=0.2)
            client.query('key')
            phase, found = self.slowest(client)
            self.assertEqual(phase, 'connect')
            self.assertIn(server.address, found)

    def test_a_server_that_does_not_read(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            address = '127.0.0.1:{1}'.format(*server.getsockname())
            client = self.connect(address, timeout=0.2)
            client.maxValueSize = 1 << 28
            client.set('key', bytes(1 << 26), raw=True)
            self.assertEqual(client.getCounts()['timeouts'], 1)
            self.assertEqual(self.slowest(client), ('send', address))

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX) as server:
            server.bind(f'{folder}/socket')
            server.listen()
            client = self.connect(f'unix:{folder}/socket', timeout=0.1)
            client.query('key')
            self.assertEqual(
                self.slowest(client), ('receive', f'unix:{folder}/socket'))

    def test_a_signal_handler(self):
        """Its time is the operation's, where it comes up."""
        def handle(*args):
            time.sleep(0.2)
            client.query('handled')

        former = signal.signal(signal.SIGALRM, handle)
        self.addCleanup(signal.signal, signal.SIGALRM, former)
        with EmbeddedServer() as server, FaultProxy(server.address) as proxy:
            client = self.connect(proxy, slow=0.1)
            client.query('key')
            proxy.once(HOLD)
            threading.Timer(0.1, proxy.release).start()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            client.query('key')
            self.assertEqual(self.slowest(client), ('receive', proxy.address))
            found = client.getCounts()
            self.assertEqual((found['slow'], found['misses']), (1, 3))

    def test_a_process_that_is_stopped(self):
        """The pause is the operation's, too; but the server is well."""
        with EmbeddedServer() as server, FaultProxy(server.address) as proxy:
            process = subprocess.Popen(
                [sys.executable, '-c', STOPPED, proxy.address],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            self.assertEqual(process.stdout.readline(), 'begun\n')
            proxy.once(HOLD)
            process.stdin.write('go on\n')
            process.stdin.flush()
            self.assertTrue(proxy.wait(lambda: proxy.stalled))
            process.send_signal(signal.SIGSTOP)
            proxy.release()
            time.sleep(0.5)
            process.send_signal(signal.SIGCONT)
            found, log = process.communicate(timeout=2 * PATIENCE)
            self.assertEqual(found, "('receive', 1, {}, 'up')\n")
            self.assertEqual(log.count('slow'), 1, log)
