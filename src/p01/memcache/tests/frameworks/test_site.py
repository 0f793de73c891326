# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A real Zope, served by waitress, and what goes wrong around its cache."""

import contextlib
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from p01.memcache.testing import Memcached
from p01.memcache.tests.frameworks.visitors import Visitors
from p01.memcache.tests.frameworks.zopeprocess import ZEO
from p01.memcache.tests.frameworks.zopeprocess import Zope


# The values for a site of four threads, see zope.txt.
DELAY = 1
BLACK_TIME = 10

# Seconds that a busy machine may need to come back.
BUSY = 3
SITE = f'''
    <p01:memcache servers="{{address}}" timeout="0.5" delay="{DELAY}"
        blacktime="{BLACK_TIME}" maxPoolSize="5" {{attributes}} />
    <p01:dependencies for="*" />
    {{chooser}}'''

OURS = '<include package="p01.memcache.plone" />'
THEIRS = f'''
    <utility component="{__package__}.site.views.choose"
        provides="plone.memoize.interfaces.ICacheChooser" />'''


class SiteLayer:
    """A memcached for the tests of a Zope, which each have their own."""

    __bases__ = ()
    __name__ = 'SiteLayer'

    def __init__(self):
        self.memcached = Memcached()

    def setUp(self):
        self.memcached.start()

    def tearDown(self):
        self.memcached.stop()


SITE_LAYER = SiteLayer()


class ZopeTestCase(unittest.TestCase):

    layer = SITE_LAYER
    level = 2
    attributes, chooser = '', OURS

    def setUp(self):
        self.memcached = self.layer.memcached
        self.memcached.stop()
        self.memcached.start()
        self.zope = self.start()
        self.browser = self.zope.browser()
        self.addCleanup(self.browser.close)
        self.browser.read('change', value=5)

    def start(self, **kw):
        """Return a Zope that has been started."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        return self.enterContext(Zope(folder, SITE.format(
            address=self.memcached.address, attributes=self.attributes,
            chooser=self.chooser), **kw))

    def compute_and_fail(self):
        """A: return the page after a failed request has computed it."""
        status, _ = self.browser.open('fail', value=999)
        self.assertEqual(status, 500)
        return self.browser.read()

    def read_before_the_commit(self, **how):
        """B: return the page that was computed between an invalidation and
        its commit.
        """
        self.assertEqual(self.browser.read(), '5')
        with self.held('change', value=7, hold=1, **how):
            self.assertEqual(self.browser.read(), '5')
        self.assertEqual(self.browser.read(bare=1), '7')
        return self.browser.read()

    def read_in_an_old_snapshot(self):
        """C: return the page that was last computed in a transaction that had
        begun before the change.
        """
        with self.held('late'):
            self.browser.read('change', value=7)
        self.assertEqual(self.browser.read(bare=1), '7')
        return self.browser.read()

    def compute_at_once(self, name):
        """D: return the results of a memoized function that all threads of
        the Zope ask for.
        """
        def visit(number):
            browser = self.zope.browser()
            try:
                return browser.read('memoized', name=name)
            finally:
                browser.close()

        with ThreadPoolExecutor(4) as threads:
            return set(threads.map(visit, range(4)))

    @contextlib.contextmanager
    def held(self, page, **form):
        """A request that is on its way, and released in the end."""
        browser = self.zope.browser()
        self.addCleanup(browser.close)
        thread = threading.Thread(
            target=browser.read, args=(page,), kwargs=form)
        thread.start()
        # It cannot be seen when it is there.
        time.sleep(0.5)
        try:
            yield
        finally:
            self.browser.read('release')
            thread.join()


class ContentTest(ZopeTestCase):
    """Events of content invalidate what depends on it."""

    def test_events(self):
        read = self.browser.read
        self.assertEqual(read('add', name='one'), 'one')
        self.assertEqual(read('names'), 'one')
        self.assertEqual(read('add', name='two'), 'one two')
        self.assertEqual(read('names'), 'one two')
        self.assertEqual(read('remove', name='one'), 'two')
        self.assertEqual(read('names'), 'two')


class FaultsTest(ZopeTestCase):
    """What happens without transactions, and with plone.memoize's adapter."""

    chooser = THEIRS

    def test_a_page_of_an_aborted_request(self):
        self.assertEqual(self.compute_and_fail(), '999')

    def test_an_aborted_event(self):
        self.browser.read('add', name='one')
        self.browser.open('add', name='two', fail=1)
        self.assertEqual(self.browser.read('names', bare=1), 'one')
        self.assertEqual(self.browser.read('names'), 'one two')

    def test_a_page_from_before_the_commit(self):
        self.assertEqual(self.read_before_the_commit(), '5')

    def test_an_event(self):
        self.assertEqual(self.read_before_the_commit(event=1), '5')

    def test_an_old_snapshot(self):
        self.assertEqual(self.read_in_an_old_snapshot(), '5')

    def test_a_memoized_function(self):
        self.assertNotEqual(self.compute_at_once('one'), {'1'})


class TransactionalTest(ZopeTestCase):

    attributes = 'transactional="true"'

    def test_a_page_of_an_aborted_request(self):
        self.assertEqual(self.compute_and_fail(), '5')

    def test_a_page_from_before_the_commit(self):
        self.assertEqual(self.read_before_the_commit(), '7')

    def test_an_event(self):
        self.assertEqual(self.read_before_the_commit(event=1), '7')

    def test_an_old_snapshot(self):
        self.assertEqual(self.read_in_an_old_snapshot(), '7')

    def test_a_memoized_function(self):
        # On a busy machine the others may not wait long enough.
        self.assertTrue(any(
            self.compute_at_once(name) == {'1'} for name in 'abc'))

    def test_an_aborted_event(self):
        read = self.browser.read
        self.assertEqual(read('add', name='one'), 'one')
        self.assertEqual(read('names'), 'one')
        status, _ = self.browser.open('add', name='two', fail=1)
        self.assertEqual(status, 500)
        self.assertEqual(read('names', bare=1), 'one')
        self.assertEqual(read('names'), 'one')

    def test_two_zopes(self):
        """Each page is what its own transaction sees, in both of them.

        Whatever happens to memcached, and if one of them is killed.
        """
        folder = self.enterContext(tempfile.TemporaryDirectory())
        zeo = self.enterContext(ZEO(folder))
        one, two, three = zopes = [
            self.start(zeo=zeo.address) for _ in range(3)]
        server = self.memcached
        with Visitors(*zopes, pages=5, work=2000, compare=1) as visitors:
            for happen in (
                    server.freeze, server.thaw, server.stop, server.start,
                    server.stop, server.start):
                happen()
                time.sleep(1.5)
            time.sleep(BLACK_TIME)
            self.assertEqual(visitors.errors, [])
            start = time.monotonic()
            three.stop()
            time.sleep(2)
            self.assertNotEqual(visitors.errors, [])
            self.assertGreater(
                len(visitors.between(start, time.monotonic())), 50)
        self.assertEqual(visitors.stale, [])


class OutageTest(ZopeTestCase):
    """memcached is stopped, killed and restarted under 16 visitors."""

    attributes = 'transactional="true"'

    def median(self, visitors):
        """Return the median of the answers in the next second."""
        start = time.monotonic()
        time.sleep(1)
        return visitors.median(start, start + 1)

    def test_outages(self):
        server, work = self.memcached, 20_000
        with Visitors(self.zope, work=work, bare=1) as visitors:
            time.sleep(1)
            slow = self.median(visitors)
        with Visitors(self.zope, work=work) as visitors:
            time.sleep(1)
            quick = self.median(visitors)
            # The factor by which they differ below.
            self.assertLess(3 * quick, slow)
            # What happens, and how quick the answers are a `DELAY` later: as
            # without a cache, or as with it.
            for happen, usual in (
                    (server.freeze, slow), (server.thaw, None),
                    (self.restart, quick),
                    (server.stop, slow), (server.start, None),
                    (self.restart, quick), (self.restart, quick)):
                happen()
                if usual is None:
                    # It was marked down.
                    time.sleep(BLACK_TIME)
                    usual = quick
                with self.subTest(happen.__name__):
                    time.sleep(DELAY)
                    # Or somewhat later, on a busy machine.
                    self.assertTrue(any(
                        self.median(visitors) < 3 * usual
                        for _ in range(BUSY)))
        self.assertEqual((visitors.errors[:5], visitors.stale[:5]), ([], []))

    def restart(self):
        self.memcached.stop()
        self.memcached.start()
