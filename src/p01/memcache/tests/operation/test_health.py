# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What load balancers ask: with which answer, how soon, and at what cost."""

import contextlib
import http.client
import threading
import time
import unittest

from p01.memcache.metrics.health import health
from p01.memcache.metrics.health import survey
from p01.memcache.testing import Memcached
from p01.memcache.tests.operation import layers
from p01.memcache.tests.operation import scenes
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import until
from p01.memcache.uclient import UltraMemcacheClient


HEALTH, STRICT = '/@@memcache-health', '/@@memcache-health?strict=1'


class FunctionTest(unittest.TestCase):

    def test_known(self):
        self.assertEqual(health(scenes.well()['']),
                         (True, '3 of 3 servers are up'))
        self.assertEqual(
            health(scenes.outage()['']),
            (False, '1 of 3 servers are not up: cache2:11211 is down, no'
             ' reply in time'))

    def test_states(self):
        for state, well in (('up', True), ('failing', False),
                            ('down', False), ('drained', True)):
            client = scenes.Pooled([scenes.server('a:1', state)])
            self.assertIs(health(client)[0], well, state)

    def test_classic(self):
        for answer, well in (scenes.statistics(), True), (
                {'error': 'refused'}, False):
            client = scenes.Classic(
                [scenes.server('a:1')], statistics={'a:1': answer})
            self.assertIs(health(client)[0], True)
            self.assertIs(health(client, 1)[0], well)

    def test_late(self):
        self.addCleanup(until, lambda: threading.active_count() == before)
        before = threading.active_count()
        clients = [scenes.Pooled([scenes.server('a:1')], stall=3)
                   for _ in range(3)]
        start = time.monotonic()
        self.assertEqual(survey(clients, 0.5),
                         [(False, 'no answer within 0.5 s')] * 3)
        self.assertLess(time.monotonic() - start, 1.5)
        # Without a question nobody waits.
        self.assertEqual(health(clients[0]), (True, '1 of 1 servers are up'))

    def test_many_ask(self):
        self.addCleanup(until, lambda: threading.active_count() == before)
        before = threading.active_count()
        asked = []

        class Client(scenes.Pooled):
            def getStatistics(self, name=None):
                asked.append(name)
                time.sleep(1)
                return []

        client = Client([scenes.server('a:1')])
        threads = [threading.Thread(target=health, args=(client, 0.5))
                   for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(asked), 1)

    def test_a_client_that_fails(self):
        class Client(scenes.Pooled):
            def getServers(self):
                raise RuntimeError('not now')

        self.assertEqual(
            health(Client()), (False, 'unknown: RuntimeError: not now'))


class OutageTest(unittest.TestCase):
    """Without any other traffic, as when the node is out of service."""

    def test_it_comes_back(self):
        with contextlib.ExitStack() as stack:
            memcached = stack.enter_context(Memcached())
            client = UltraMemcacheClient(
                [memcached.address], timeout=0.5, delay=0.1, blacktime=0.5)
            stack.callback(client.close)
            self.assertTrue(health(client, 1)[0])
            memcached.stop()
            until(lambda: not health(client, 1)[0])
            for _ in range(5):
                self.assertFalse(health(client, 1)[0])
            memcached.start()
            until(lambda: health(client, 1)[0])


class ViewCase(unittest.TestCase):

    def ask(self, path):
        answer = self.layer.site.page(path, login=None)
        self.assertEqual(
            answer.headers['Content-Type'].replace(' ', ''),
            'text/plain;charset=utf-8')
        self.assertEqual(answer.headers['Cache-Control'], 'no-store')
        return answer.status, answer.text


class WellTest(ViewCase):

    layer = layers.WELL

    def test_well(self):
        self.assertEqual(self.ask(HEALTH), (200, 'ok\n'))

    def test_metrics(self):
        path = '/@@memcache-metrics'
        page = self.layer.site.page(path)
        self.assertEqual(page.status, 200)
        self.assertRegex(
            page.headers['Content-Type'], '^text/plain; ?version=')
        self.assertIn('memcache_client_server_state{', page.text)
        self.assertEqual(self.layer.site.page(path, login=None).status, 401)
        page = self.layer.site.page(
            path, Accept='application/openmetrics-text; version=1.0.0')
        self.assertTrue(page.text.endswith('# EOF\n'))


class DegradedTest(ViewCase):

    layer = layers.OUTAGE

    def test_methods(self):
        """Load balancers ask by HEAD and OPTIONS, too."""
        for method, path, status in (
                ('HEAD', HEALTH, 200), ('HEAD', STRICT, 503),
                ('OPTIONS', HEALTH, 200), ('OPTIONS', STRICT, 503)):
            connection = http.client.HTTPConnection(
                '127.0.0.1', self.layer.site.port, timeout=30)
            self.addCleanup(connection.close)
            connection.request(method, path)
            answer = connection.getresponse()
            with self.subTest(f'{method} {path}'):
                self.assertEqual(answer.status, status)
                self.assertIn(answer.read(), (b'', b'degraded\n'))

    def test_many_at_once(self):
        self.assertEqual(
            at_once(lambda _: self.ask(STRICT), range(50)),
            [(503, 'degraded\n')] * 50)

    def test_in_service(self):
        self.assertEqual(self.ask(HEALTH), (200, 'degraded\n'))
        self.assertEqual(self.ask(HEALTH + '?strict='), (200, 'degraded\n'))

    def test_strict(self):
        self.assertEqual(self.ask(STRICT), (503, 'degraded\n'))


class HostileTest(ViewCase):

    layer = layers.HOSTILE

    def test_one_word(self):
        self.assertEqual(self.ask(STRICT), (503, 'degraded\n'))


class StalledTest(ViewCase):

    layer = layers.STALLED

    def test_at_once(self):
        start = time.monotonic()
        self.assertEqual(self.ask(HEALTH), (200, 'ok\n'))
        self.assertLess(time.monotonic() - start, 0.9)

    def test_strict(self):
        start = time.monotonic()
        self.assertEqual(self.ask(STRICT), (503, 'degraded\n'))
        self.assertLess(time.monotonic() - start, 3)


class NothingTest(ViewCase):

    layer = layers.NOTHING

    def test_no_client(self):
        self.assertEqual(self.ask(HEALTH), (200, 'ok\n'))
        self.assertEqual(self.ask(STRICT), (200, 'ok\n'))
