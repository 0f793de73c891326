# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The page in a real Zope, of a client with a real memcached."""

import contextlib
import tempfile
import time
import unittest

from p01.memcache.testing import Memcached
from p01.memcache.tests.operation.processes import ZopeSite
from p01.memcache.uclient import UltraMemcacheClient


EMPTY = '/@@memcache-empty'

DIRECTIVES = '''
    <include package="p01.memcache" file="health.zcml" />
    <include package="p01.memcache" file="prometheus.zcml" />
    <p01:memcache servers="{address}" generations="true" timeout="0.5"
        namespace="site" blacktime="3" />
    <p01:memcacheRegion name="prices" lifetime="60" />'''


class ZopeLayer:

    __bases__ = ()
    __name__ = 'ZopeLayer'

    def setUp(self):
        with contextlib.ExitStack() as stack:
            self.memcached = stack.enter_context(Memcached())
            self.site = stack.enter_context(self.another())
            self._stack = stack.pop_all()

    @contextlib.contextmanager
    def another(self):
        with (tempfile.TemporaryDirectory() as folder,
              ZopeSite(folder, DIRECTIVES.format(
                  address=self.memcached.address)) as site):
            yield site

    def tearDown(self):
        self._stack.close()


ZOPE_LAYER = ZopeLayer()


class ZopeTest(unittest.TestCase):

    layer = ZOPE_LAYER

    def setUp(self):
        self.site, self.memcached = self.layer.site, self.layer.memcached

    def test_nobody(self):
        for path in '/@@memcache', EMPTY + '?client=':
            self.assertEqual(self.site.page(path, login=None).status, 401)

    def test_health(self):
        for path in '/@@memcache-health', '/@@memcache-health?strict=1':
            answer = self.site.page(path, login=None)
            self.assertEqual((answer.status, answer.text), (200, 'ok\n'))
            self.assertEqual(answer.headers['Cache-Control'], 'no-store')
            self.assertTrue(
                answer.headers['Content-Type'].startswith('text/plain'))

    def test_metrics(self):
        path = '/@@memcache-metrics'
        self.assertEqual(self.site.page(path, login=None).status, 401)
        answer = self.site.page(path)
        self.assertEqual(answer.status, 200)
        self.assertRegex(
            answer.headers['Content-Type'], '^text/plain; ?version=')
        self.assertIn('# TYPE memcache_client_errors_total', answer.text)

    def test_page(self):
        self.site.page('/@@read?value=1')
        page = self.site.page('/@@memcache?slabs=1')
        self.assertEqual(page.status, 200, page.text)
        for part in ('The server is up', self.memcached.address, 'prices',
                     'namespace site', 'Slabs of'):
            self.assertIn(part, page.text)
        self.assertEqual(page.headers['Content-Type'],
                         'text/html; charset=utf-8')
        self.assertIn("default-src 'none'",
                      page.headers['Content-Security-Policy'])

    def test_empty(self):
        for path in '', '&region:list=prices':
            question = self.site.page(f'{EMPTY}?client={path}')
            self.assertEqual(question.status, 200, question.text)
            form = self.site.fields(question)
            nobody = self.site.page(EMPTY, login=None, form=form)
            self.assertEqual(nobody.status, 401)
            forged = self.site.page(EMPTY, form=form[:-1])
            self.assertEqual(forged.status, 403)
            self.assertNotIn('Done', forged.text)
            done = self.site.page(EMPTY, form=form)
            self.assertEqual(done.status, 200)
            self.assertIn('Done', done.text)

    def test_processes_take_turns(self):
        with self.layer.another() as other:
            form = self.site.fields(self.site.page(f'{EMPTY}?client='))
            self.assertIn('Done', other.page(EMPTY, form=form).text)

    def test_nothing_below_is_published(self):
        for page in '/@@memcache', EMPTY:
            for name in ('ask', 'clients', 'here', 'index', 'update', 'token',
                         'context', 'request', 'aq_parent', '__call__'):
                self.assertNotEqual(
                    self.site.page(f'{page}/{name}?client=').status, 200)

    def test_a_user_that_is_a_field(self):
        # Fields of the form are attributes of the request.
        other = 'principal.id:record', 'other'
        question = self.site.page(f'{EMPTY}?client=&principal.id:record=other')
        self.assertEqual(question.status, 200, question.text)
        form = self.site.fields(question)
        self.assertIn('Done', self.site.page(EMPTY, form=form).text)
        self.assertIn(
            'Done', self.site.page(EMPTY, form=[*form, other]).text)
        self.assertEqual(
            self.site.page(f'{EMPTY}?client=&principal=other').status, 200)

    def test_the_namespace_is_empty(self):
        self.site.page('/@@change?value=5')
        self.assertEqual(self.site.page('/@@read').text, '5')
        # Behind the back of the cache.
        before = self.items('cmd_set')
        self.site.page(EMPTY, form=self.site.fields(
            self.site.page(f'{EMPTY}?client=')))
        self.assertEqual(self.site.page('/@@read').text, '5')
        self.assertGreater(self.items('cmd_set'), before)

    def items(self, name):
        client = UltraMemcacheClient([self.memcached.address])
        self.addCleanup(client.close)
        [(_, values)] = client.getStatistics()
        return int(values[name])

    def test_a_memcached_that_is_frozen(self):
        self.site.page()
        self.memcached.freeze()
        try:
            start = time.monotonic()
            page = self.site.page()
            self.assertLess(time.monotonic() - start, 3)
            self.assertIn('has not answered this page', page.text)
            self.assertIn(self.memcached.address, page.text)
        finally:
            self.memcached.thaw()
