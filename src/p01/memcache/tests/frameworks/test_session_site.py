# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Sessions of a real Zope, served by waitress."""

import http.client
import tempfile
import unittest

from p01.memcache.testing import Memcached
from p01.memcache.tests.frameworks.zopeprocess import Zope
from p01.memcache.tests.support.threads import at_once


SITE = '''
    <p01:memcache servers="{address}" timeout="0.5" delay="0.1" retries="1000"
        {attributes} />
    <include package="p01.memcache.session" />
    <include package="p01.memcache.mcdutils" />
    <include package="p01.memcache.tests.frameworks.sessionsite" />
'''


class Visitor:
    """A browser, with cookies."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection(
            '127.0.0.1', port, timeout=30)
        self._cookies = {}

    def open(self, page, **form):
        """Return the status of a page, and its text."""
        query = '&'.join(f'{name}={value}' for name, value in form.items())
        self._connection.request('GET', f'/@@{page}?{query}', headers={
            'Cookie': '; '.join(self._cookies.values())})
        response = self._connection.getresponse()
        for cookie in response.headers.get_all('Set-Cookie') or ():
            pair = cookie.partition(';')[0]
            self._cookies[pair.partition('=')[0]] = pair
        return response.status, response.read().decode()

    def close(self):
        self._connection.close()


class SiteTestCase(unittest.TestCase):

    level = 2
    attributes = ''

    def setUp(self):
        self.memcached = self.enterContext(Memcached())
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.zope = self.enterContext(Zope(folder, SITE.format(
            address=self.memcached.address, attributes=self.attributes)))

    def visitor(self):
        visitor = Visitor(self.zope.port)
        self.addCleanup(visitor.close)
        return visitor


class SessionTest(SiteTestCase):
    """zope.session."""

    def test_a_request_that_fails(self):
        visitor = self.visitor()
        self.assertEqual(visitor.open('count', id='anna'), (200, '1'))
        self.assertEqual(visitor.open('count', id='anna', fail=1)[0], 500)
        self.assertEqual(visitor.open('counted', id='anna'), (200, '1 1'))
        self.assertEqual(visitor.open('counted', id='berta'), (200, '0 1'))

    def test_requests_at_the_same_time(self):
        """Zope repeats a request, so session and database count the same."""
        def visit(visitor):
            return [visitor.open('count', id='anna')[0] for _ in range(15)]

        statuses = sum(at_once(
            visit, [self.visitor() for _ in range(8)]), [])
        status, text = self.visitor().open('counted', id='anna')
        # It gives up after some attempts.
        done = statuses.count(200)
        self.assertEqual((status, text), (200, f'{done} {done}'))
        self.assertGreater(done, 15)

    def test_other_keys_at_the_same_time(self):
        """The database has conflicts, the session needs none."""
        def visit(number):
            visitor = self.visitor()
            return [visitor.open('count', id='anna', name=f'n{number}')[0]
                    for _ in range(15)].count(200)

        done = at_once(visit, range(4))
        for number, times in enumerate(done):
            self.assertEqual(
                self.visitor().open('counted', id='anna', name=f'n{number}'),
                (200, f'{times} {times}'))

    def test_outages(self):
        visitor = self.visitor()
        self.assertEqual(visitor.open('count', id='anna'), (200, '1'))
        self.memcached.freeze()
        self.assertEqual(visitor.open('count', id='anna'), (200, '1'))
        self.memcached.thaw()
        self.memcached.stop()
        self.assertEqual(visitor.open('count', id='anna'), (200, '1'))
        self.memcached.start()
        self.assertEqual(visitor.open('counted', id='anna')[0], 200)


class TransactionalSessionTest(SessionTest):

    attributes = 'transactional="true"'


class ZopeSessionTest(SiteTestCase):
    """Zope's SESSION."""

    def setUp(self):
        super().setUp()
        self.assertEqual(self.visitor().open('install'), (200, 'installed'))

    def test_sessions(self):
        one, two = self.visitor(), self.visitor()
        self.assertEqual(one.open('SESSION'), (200, '1'))
        self.assertEqual(one.open('SESSION'), (200, '2'))
        self.assertEqual(two.open('SESSION'), (200, '1'))
        self.assertEqual(one.open('SESSION'), (200, '3'))

    def test_outages(self):
        visitor = self.visitor()
        self.assertEqual(visitor.open('SESSION'), (200, '1'))
        self.memcached.stop()
        self.assertEqual(visitor.open('SESSION'), (200, '1'))
        self.memcached.start()
        self.assertEqual(visitor.open('SESSION')[0], 200)
        self.assertEqual(visitor.open('SESSION')[0], 200)


class TransactionalZopeSessionTest(ZopeSessionTest):

    attributes = 'transactional="true"'
