# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""plone.memoize in memcached."""

import collections
import multiprocessing
import pathlib
import tempfile
import threading
import time
import unittest
import warnings
from concurrent.futures import ThreadPoolExecutor

import memcache
import transaction
import zope.component
from plone.memoize import ram
from plone.memoize.interfaces import ICacheChooser
from zope.component.hooks import setSite
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.interface.interfaces import ComponentLookupError
from zope.interface.verify import verifyObject

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.plone import EVERYTHING
from p01.memcache.plone import IMemoizeSettings
from p01.memcache.plone import MemoizeSettings
from p01.memcache.plone import chooseCache
from p01.memcache.plone import chooser
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.transactional import Transactional
from p01.memcache.uclient import UltraMemcacheClient


THREADS = 8

# How the function below is called.
NAME = f'{__name__}.compute'

calls = collections.Counter()
during = []  # functions that are called while it computes


@ram.cache(lambda method, key: key)
def compute(key):
    calls[key] += 1
    number = calls[key]
    for function in during:
        function()
    return number


class Site:

    def __init__(self, path):
        self.path = path

    def getPhysicalPath(self):
        return tuple(self.path.split('/'))

    def getSiteManager(self):
        return zope.component.getGlobalSiteManager()


class MemoizeTestCase(unittest.TestCase):

    def setUp(self):
        zope.component.testing.setUp(self)
        self.addCleanup(zope.component.testing.tearDown, self)
        calls.clear()
        during.clear()
        chooser._unstorable.clear()
        chooser._ram.invalidateAll()
        ram.global_cache.invalidateAll()
        self.server = self.enterContext(EmbeddedServer())
        self.client = UltraMemcacheClient([self.server.address])
        self.addCleanup(self.client.close)

    def leave(self):
        """Close what a thread has opened."""

    def useOurs(self, **settings):
        zope.component.provideUtility(self.client, IMemcacheClient)
        zope.component.provideUtility(chooseCache, ICacheChooser)
        if settings:
            zope.component.provideUtility(
                MemoizeSettings(**settings), IMemoizeSettings)

    def useTheirs(self):
        """Use plone.memoize's own adapter, as sites have always done."""
        client = memcache.Client([self.server.address])
        self.addCleanup(client.disconnect_all)
        self.leave = client.disconnect_all  # of the thread that calls it

        def choose(name):
            return ram.MemcacheAdapter(client, globalkey=name)

        zope.component.provideUtility(choose, ICacheChooser)


class FaultsTest(MemoizeTestCase):
    """The faults of two calls, `get` and `set`."""

    def stampede(self):
        """Return how often threads compute what they want at the same time.
        """
        barrier = threading.Barrier(THREADS)

        def visit(number):
            barrier.wait(10)
            try:
                return compute('page')
            finally:
                self.leave()

        # As if it took as long as it takes all threads to come.
        during.append(lambda: wait(lambda: calls['page'] == THREADS, 0.5))
        with ThreadPoolExecutor(THREADS) as threads:
            results = set(threads.map(visit, range(THREADS)))
        self.assertEqual(len(results), calls['page'])
        return calls['page']

    def test_theirs_computes_in_each_thread(self):
        self.useTheirs()
        self.assertEqual(self.stampede(), THREADS)

    def test_once(self):
        self.useOurs()
        self.assertEqual(self.stampede(), 1)

    def test_once_among_processes(self):
        self.useOurs()
        folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))

        def visit(number):
            # It stays at work until all have come.
            during.append(lambda: (
                (folder / f'computes{number}').touch(),
                wait(lambda: len(list(folder.glob('comes*'))) == 4, 5)))
            (folder / f'comes{number}').touch()
            compute('page')
            (folder / f'has{number}').touch()

        forks = multiprocessing.get_context('fork')
        with warnings.catch_warnings():
            # There are other threads, but the children need none of them.
            warnings.simplefilter('ignore', DeprecationWarning)
            processes = [forks.Process(target=visit, args=(number,))
                         for number in range(4)]
            for process in processes:
                process.start()
        for process in processes:
            process.join(30)
        self.assertEqual(len(list(folder.glob('has*'))), 4)
        self.assertEqual(len(list(folder.glob('computes*'))), 1)

    def flush_meanwhile(self):
        """Return what is found after an invalidation in a computation."""
        during.append(self.client.invalidateAll)
        compute('page')
        during.clear()
        return compute('page')

    def test_theirs_keeps_an_old_result(self):
        self.useTheirs()
        self.assertEqual(self.flush_meanwhile(), 1)

    def test_no_old_result(self):
        self.useOurs()
        self.assertEqual(self.flush_meanwhile(), 2)

    def test_no_old_result_of_the_function(self):
        self.useOurs()
        during.append(lambda: self.client.invalidateDependencies(NAME))
        self.assertEqual(compute('page'), 1)
        during.clear()
        self.assertEqual(compute('page'), 2)
        self.assertEqual(compute('page'), 2)


def wait(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


class ChooserTest(MemoizeTestCase):

    def test_hits(self):
        self.useOurs()
        self.assertEqual([compute('a'), compute('a'), compute('b')], [1, 1, 1])
        self.assertEqual(calls, {'a': 1, 'b': 1})

    def test_none_is_a_result(self):
        self.useOurs()
        cache = chooseCache('module.function')
        cache['key'] = None
        self.assertIsNone(cache['key'])
        self.assertIsNone(cache.get('key', 'default'))
        with self.assertRaises(KeyError):
            cache['other']

    def test_a_function_is_a_dependency(self):
        self.useOurs()
        other = chooseCache('module.other')
        other['key'] = 'result'
        compute('a')
        compute('b')
        self.client.invalidateDependencies(NAME)
        self.assertEqual([compute('a'), compute('b')], [2, 2])
        self.assertEqual(other.get('key'), 'result')
        self.client.invalidateDependencies(EVERYTHING)
        self.assertIsNone(other.get('key'))

    def test_the_idiom_of_add_ons(self):
        self.useOurs()
        compute('a')
        chooseCache(NAME).ramcache.invalidate('module.other')
        zope.component.getUtility(ICacheChooser)(NAME).ramcache.invalidate(
            NAME)
        self.assertEqual(compute('a'), 2)
        chooseCache('').ramcache.invalidateAll()
        self.assertEqual(compute('a'), 3)

    def test_sites(self):
        self.useOurs()
        self.addCleanup(setSite)
        for number, path in (1, '/one'), (2, '/two'), (1, '/one'):
            setSite(Site(path))
            self.assertEqual(compute('a'), number)
        setSite()
        self.assertEqual(compute('a'), 3)
        self.client.invalidateDependencies(NAME)
        setSite(Site('/one'))
        self.assertEqual(compute('a'), 4)

    def test_exception(self):
        """Nobody waits for a function that has failed."""
        self.useOurs()
        during.append(lambda: 1 / 0)
        with self.assertRaises(ZeroDivisionError):
            compute('a')
        during.clear()
        start = time.monotonic()
        with ThreadPoolExecutor(1) as thread:
            self.assertEqual(thread.submit(compute, 'a').result(), 2)
        self.assertLess(time.monotonic() - start, self.client.timeout / 2)

    def test_an_exception_that_is_kept(self):
        """Its traceback has the frame of the call."""
        self.useOurs()
        during.append(lambda: 1 / 0)
        with self.assertRaises(ZeroDivisionError) as caught:
            compute('a')
        kept = caught.exception
        during.clear()
        self.assertEqual(compute('a'), 2)
        del kept

    def test_recursion(self):
        """As with plone.memoize itself, the inner call computes, too."""
        self.useOurs()

        def call_again():
            if calls['a'] < 3:
                compute('a')

        during.append(call_again)
        self.assertEqual(compute('a'), 1)
        self.assertEqual(calls['a'], 3)

    def test_a_result_that_cannot_be_pickled(self):
        """It is kept in RAM, as without this package."""
        self.useOurs()

        @ram.cache(lambda method: 'key')
        def make():
            calls['make'] += 1
            return lambda: 'result'

        with self.assertLogs('p01.memcache', 'WARNING') as log:
            self.assertEqual(make()(), 'result')
        self.assertIn(f'the results of {__name__}.make stay in', log.output[0])
        self.assertEqual([make()(), make()()], ['result'] * 2)
        self.assertEqual(calls['make'], 2)

    def test_without_a_client(self):
        zope.component.provideUtility(chooseCache, ICacheChooser)
        self.assertEqual([compute('a'), compute('a')], [1, 1])

    def test_a_name_that_does_not_exist(self):
        self.useOurs(cacheName='pages')
        with self.assertRaises(ComponentLookupError):
            compute('a')

    def test_another_client(self):
        other = UltraMemcacheClient([self.server.address], namespace='other')
        self.addCleanup(other.close)
        zope.component.provideUtility(other, IMemcacheClient, 'other')
        self.useOurs(cacheName='other')
        compute('a')
        self.client.invalidateDependencies(NAME)
        self.assertEqual(compute('a'), 1)
        other.invalidateDependencies(NAME)
        self.assertEqual(compute('a'), 2)

    def test_lifetime_of_a_function(self):
        self.useOurs(lifetime=0)
        zope.component.provideUtility(
            MemoizeSettings(lifetime=2), IMemoizeSettings, NAME)
        other = chooseCache('module.other')
        other.get('key')
        other['key'] = 'result'
        compute('a')
        self.assertEqual(compute('a'), 1)
        time.sleep(2.1)
        self.assertEqual(compute('a'), 2)
        self.assertEqual(other.get('key'), 'result')

    def test_lifetime_without_a_look(self):
        self.useOurs(lifetime=2)
        chooseCache(NAME)['key'] = 'result'
        time.sleep(2.1)
        self.assertIsNone(chooseCache(NAME).get('key'))

    def test_grace(self):
        self.useOurs(lifetime=1, grace=60)
        self.assertEqual(compute('a'), 1)
        time.sleep(2.6)

        def look():
            with ThreadPoolExecutor(1) as thread:
                looks.append(thread.submit(compute, 'a').result())

        looks = []
        during.append(look)
        self.assertEqual(compute('a'), 2)
        # While it computed, another thread got the former result.
        self.assertEqual(looks, [1])

    def test_bad_settings(self):
        for settings, error in (
                ({'lifetime': -1}, ValueError),
                ({'grace': -1}, ValueError),
                ({'grace': None}, TypeError),
                ({'ram': float('nan')}, ValueError),
                ({'cacheName': 5}, TypeError)):
            with self.subTest(settings), self.assertRaises(error):
                MemoizeSettings(**settings)

    def test_interface(self):
        verifyObject(IMemoizeSettings, MemoizeSettings())
        self.assertTrue(ICacheChooser.providedBy(chooseCache))


class TransactionalTest(FaultsTest):
    """A client that follows transactions."""

    def setUp(self):
        super().setUp()
        self.plain = self.client
        self.client = Transactional(self.client)
        self.addCleanup(transaction.abort)

    def begin(self):
        """Begin a transaction that has changed something."""
        self.useOurs()
        transaction.begin()
        self.client.set('other', 'changed')

    def test_abort(self):
        self.begin()
        self.assertEqual([compute('a'), compute('a')], [1, 1])
        transaction.abort()
        self.assertEqual(compute('a'), 2)

    def test_commit(self):
        self.begin()
        compute('a')
        transaction.commit()
        self.assertEqual(compute('a'), 1)

    def test_nobody_else_gets_it(self):
        self.begin()
        compute('a')
        with ThreadPoolExecutor(1) as thread:
            self.assertEqual(thread.submit(compute, 'a').result(), 2)

    def test_a_function_is_emptied_by_the_commit(self):
        self.begin()
        transaction.commit()
        self.assertEqual(compute('a'), 1)
        transaction.begin()
        self.client.invalidateDependencies(NAME)
        with ThreadPoolExecutor(1) as thread:
            self.assertEqual(thread.submit(compute, 'a').result(), 1)
            transaction.commit()
            self.assertEqual(thread.submit(compute, 'a').result(), 2)

    def test_an_aborted_invalidation(self):
        self.useOurs()
        compute('a')
        transaction.begin()
        chooseCache(NAME).ramcache.invalidate(NAME)
        self.assertEqual(compute('a'), 2)
        transaction.abort()
        self.assertEqual(compute('a'), 1)


class AwayTest(MemoizeTestCase):
    """memcached is away."""

    def setUp(self):
        super().setUp()
        self.client.delay = self.client.blacktime = 0.01
        self.client.timeout = 0.5

    def test_each_call_computes(self):
        self.useOurs()
        compute('a')
        self.server.stop()
        self.assertEqual([compute('a'), compute('a')], [2, 3])

    def test_ram(self):
        self.useOurs(ram=60)
        compute('a')
        self.server.stop()
        self.assertEqual([compute('a'), compute('a')], [2, 2])
        self.assertEqual(compute('b'), 1)

    def test_ram_is_not_used_when_it_is_back(self):
        self.useOurs(ram=60)
        port = int(self.server.address.rpartition(':')[2])
        self.server.stop()
        compute('a')
        with EmbeddedServer(port=port):
            wait(lambda: self.client.set('key', 'value'), 5)
            self.assertEqual([compute('a'), compute('a')], [2, 2])

    def test_the_function_leaves_another_site(self):
        self.useOurs()
        first, second = Site('/first'), Site('/second')
        self.addCleanup(setSite)
        setSite(first)
        during.append(lambda: setSite(second))
        self.assertEqual(compute('a'), 1)
        during.clear()
        self.assertEqual(compute('a'), 2)  # that of the second site
        setSite(first)
        self.assertEqual(compute('a'), 1)

    def test_ram_keeps_what_callers_change(self):
        @ram.cache(lambda method: 'key')
        def results():
            return [1]

        self.useOurs(ram=60)
        self.server.stop()
        for _ in range(3):
            found = results()
            self.assertEqual(found, [1])
            found.append(2)

    def test_ram_ends(self):
        self.useOurs(ram=0.2)
        self.server.stop()
        self.assertEqual([compute('a'), compute('a')], [1, 1])
        time.sleep(0.25)
        self.assertEqual(compute('a'), 2)

    def test_ram_is_invalidated_in_this_process(self):
        self.useOurs(ram=60)
        self.server.stop()
        compute('a')
        chooseCache(NAME).ramcache.invalidate(NAME)
        self.assertEqual(compute('a'), 2)
        chooseCache(NAME).ramcache.invalidateAll()
        self.assertEqual(compute('a'), 3)

    def test_threads(self):
        self.useOurs(ram=60)
        self.server.stop()
        with ThreadPoolExecutor(THREADS) as threads:
            self.assertEqual(
                set(threads.map(compute, ['a'] * 4 * THREADS)), {1})


class ZCMLTest(ZCMLTestCase):

    def chosen(self):
        return zope.component.getUtility(ICacheChooser)

    def test_in_one_line(self):
        load('<include package="p01.memcache.plone" />', package='')
        self.assertIs(self.chosen(), chooseCache)

    def test_whatever_the_order(self):
        """plone.memoize registers its own."""
        lines = ['<include package="plone.memoize" />',
                 '<include package="p01.memcache.plone" />']
        for package in lines, lines[::-1]:
            with self.subTest(package):
                load(''.join(package), package='')
                self.assertIs(self.chosen(), chooseCache)

    def test_settings(self):
        load('''
            <include package="p01.memcache.plone" />
            <p01:memoize ram="60" />
            <p01:memoize function="module.function"
                lifetime="60" grace="600" cacheName="pages" />
            ''', package='')
        get = zope.component.getUtility
        self.assertEqual(vars(get(IMemoizeSettings)), {
            'lifetime': None, 'grace': 0, 'ram': 60, 'cacheName': ''})
        self.assertEqual(vars(get(IMemoizeSettings, 'module.function')), {
            'lifetime': 60, 'grace': 600, 'ram': 0, 'cacheName': 'pages'})

    def test_twice(self):
        with self.assertRaises(ConfigurationConflictError):
            load('''
                <include package="p01.memcache.plone" />
                <p01:memoize function="module.function" lifetime="60" />
                <p01:memoize function="module.function" lifetime="5" />
                ''', package='')

    def test_errors(self):
        for attribute, error in (
                ('lifetime="-1"', 'lifetime -1: Value is too small'),
                ('grace="soon"', "grace 'soon': must be a whole number"),
                ('ram="-1"', 'ram -1.0: Value is too small'),
                ('function="no name"', 'no name')):
            with self.subTest(attribute), self.assertRaisesRegex(
                    ConfigurationError, error):
                load(f'''
                    <include package="p01.memcache.plone" />
                    <p01:memoize {attribute} />''', package='')

    def test_autoinclude(self):
        """Plone needs no line at all: the egg is enough."""
        load('''
            <include package="plone.autoinclude" file="meta.zcml" />
            <autoIncludePlugins target="plone" />''', package='')
        self.assertIs(self.chosen(), chooseCache)
