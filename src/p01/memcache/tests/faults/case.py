# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Base classes: a faulty server, and clients of it."""

import contextlib
import itertools
import sys
import time
import unittest
from unittest import mock

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import NotInvalidated
from p01.memcache.testing import Memcached
from p01.memcache.tests.support.bystander import Bystander
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import honest
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.variants import variant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.transport import connection
from p01.memcache.transport import lockkeeping
from p01.memcache.uclient import UltraMemcacheClient


SLACK = 0.05  # by how much an operation may exceed its time-out

READS = 20  # reads that must be right after a fault


class FaultCase(unittest.TestCase):
    """A server, a proxy in front of it, and clients with a short time-out."""

    timeout = 0.1

    def setUp(self):
        keep_quiet(self)
        self.spent = []
        self.server = self.start_server()
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        # A client that reaches the server without the proxy.
        self.direct = self.client(self.server.address, timeout=PATIENCE)

    def start_server(self):
        return self.enterContext(EmbeddedServer())

    def client(self, address=None, **settings):
        # By default, a failure has no effect on the next operation.
        client = UltraMemcacheClient(
            [address or self.proxy.address],
            **{'timeout': self.timeout, 'retries': 10 ** 6, 'delay': 0,
               'blacktime': 0, **settings})
        self.addCleanup(client.close)
        return client

    def value(self, key):
        return b'value of ' + self.direct.buildKey(key).encode()

    def fill(self, *keys):
        for key in keys or range(READS):
            self.assertTrue(self.direct.set(key, self.value(key), raw=True))

    def timed(self, function, *args, **kw):
        start = time.monotonic()
        try:
            return function(*args, **kw)
        finally:
            self.spent.append(time.monotonic() - start)

    def assertInTime(self, scenario, limit=None, of=max):
        """No timed operation takes longer than the limit.

        `of` reduces their times to the one that is compared. As the machine
        may be busy, one of three tries is enough, and the time that a
        bystander has lost is added to the limit. What the scenario itself
        asserts has to hold each time.
        """
        limit = self.timeout + SLACK if limit is None else limit
        for _ in range(3):
            self.spent.clear()
            with Bystander() as bystander:
                scenario()
            took = of(self.spent)
            lost = of(bystander.lates or [0])
            if took <= limit + lost:
                return
        self.fail(f'took {took:.4f} s, {limit:.4f} s are allowed, and'
                  f' {lost:.4f} s for what else the machine had to do')

    @contextlib.contextmanager
    def patience(self, client):
        """Give the client enough time for what is not measured."""
        timeout, client.timeout = client.timeout, PATIENCE
        yield
        client.timeout = timeout

    def assertRight(self, client, reads=READS, threads=1):
        """All reads are right, given enough time."""
        def read(_):
            for key in range(reads):
                self.assertEqual(client.query(key, raw=True), self.value(key))

        with self.patience(client):
            if threads > 1:
                at_once(read, range(threads))
            else:
                read(None)


class OnMemcached:
    """The same on memcached."""

    level = 2
    options = ()

    def start_server(self):
        return self.enterContext(Memcached(*self.options))


class PlainStream:
    """The same on a stream that never keeps the lock, as TLS or gevent do."""

    level = 2

    def setUp(self):
        self.enterContext(
            mock.patch.object(
                connection, 'can_keep_lock', lambda sock: False))
        super().setUp()


class KeptLock:
    """Every request keeps the lock, in both ways by turns.

    By itself it would soon be released, as the proxies need it to answer.
    """

    level = 2

    def setUp(self):
        ways = itertools.cycle((lockkeeping.LOOK, lockkeeping.SLEEP))
        self.enterContext(mock.patch.multiple(
            lockkeeping.LockKeeping, resting=1,
            choose=lambda keeping: next(ways)))
        super().setUp()


def on_each_stream(case):
    """Decorate a case: it also runs on each kind of stream.

    This is for behaviour that depends on a reply's bytes or on a deadline.
    """
    for stream in PlainStream, KeptLock:
        variant(stream.__name__, stream)(case)
    return case


class OffsetCase(FaultCase):
    """Every kind of operation, with a fault at each byte of its reply."""

    #: The most offsets to try; of a longer reply only some are.
    most = 25

    def setUp(self):
        super().setUp()
        self.fill()

    # The operations; each asserts that it failed as documented.

    def hit(self, client, i):
        self.assertIsNone(client.query(i % READS, raw=True))

    def miss(self, client, i):
        self.assertEqual(client.query('nothing', default='none'), 'none')

    def store(self, client, i):
        key = f'store {i}'
        self.assertIsNone(client.set(key, self.value(key), raw=True))
        # It is unknown whether it was stored, but never a part of it was.
        self.assertIn(
            self.direct.query(key, raw=True), (None, self.value(key)))

    def delete(self, client, i):
        self.assertIsNone(client.invalidate('nothing'))

    def flush(self, client, i):
        with self.assertRaises(NotInvalidated) as caught:
            client.invalidateAll()
        self.assertEqual(list(caught.exception.errors), client.servers)

    def statistics(self, client, i):
        [(address, statistics)] = client.getStatistics()
        self.assertEqual(address, client.servers[0])
        self.assertEqual(list(statistics), ['error'])

    operations = hit, miss, store, delete, flush, statistics

    def settle(self, client):
        """Let the client repeat a flush that was not acknowledged."""
        with self.patience(client):
            client.query('nothing')
        self.fill()

    def sizes(self, operation):
        """Return the lengths of the operation's request and of its reply."""
        sizes = {}
        for side in sizes.fromkeys(('request', 'reply')):
            sizes[side] = 0

            def measure(data, side=side):
                sizes[side] += len(data)
                return data

            self.proxy.once(Fault(side=side, swap=measure))
            # Without a fault the operation succeeds, so its assertions fail.
            with contextlib.suppress(AssertionError):
                operation(self, self.client(timeout=PATIENCE), 0)
        self.fill()
        return sizes['request'], sizes['reply']

    def offsets(self, size):
        return range(0, size, -(-size // self.most))


class ScriptedCase(FaultCase):
    """A server that gives the test's answers, and then honest ones."""

    def start_server(self):
        return self.enterContext(ScriptedServer(default=honest))

    def check_read(self, answer, *, opened, result=None):
        """A read that gets this answer is a miss, or has the result."""
        self.check(
            lambda client: client.query(0, raw=True), answer, opened, result)

    def check(self, operation, answer, opened, result=None):
        """After this answer, and then honest ones, `opened` have connected."""
        before = self.server.opened
        # Only an answer that drops the connection may make it wait in vain.
        stalls = opened == 2 and result is None
        client = self.client(
            self.server.address,
            timeout=self.timeout if stalls else PATIENCE)
        self.server.answers.append(answer)
        self.assertEqual(self.timed(operation, client), result)
        # On a busy machine, the request may never have been sent.
        self.server.answers.clear()
        self.assertRight(client)
        self.assertEqual(self.server.opened - before, opened)


@contextlib.contextmanager
def jump(hours):
    """Set the wall clock ahead."""
    real = time.time
    module = mock.Mock(
        wraps=time, time=lambda: real() + hours * 3600)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch('time.time', module.time))
        # Modules that have imported the function itself jump, too.
        for name, part in list(sys.modules.items()):
            if name.startswith('p01.memcache.'):
                for attribute, value in list(vars(part).items()):
                    if value is real:
                        stack.enter_context(mock.patch.object(
                            part, attribute, module.time))
        yield
