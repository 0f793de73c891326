# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A server in trouble, and clients of it."""

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


SLACK = 0.05  # what an operation may take more than its time-out

READS = 20  # that must be right after a fault


class FaultCase(unittest.TestCase):
    """A server, a proxy in front of it, and clients with a short time-out."""

    timeout = 0.1

    def setUp(self):
        keep_quiet(self)
        self.spent = []
        self.server = self.start_server()
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        # It sees the server as it is, without the proxy.
        self.direct = self.client(self.server.address, timeout=PATIENCE)

    def start_server(self):
        return self.enterContext(EmbeddedServer())

    def client(self, address=None, **settings):
        # By default, no failure changes what the next operation does.
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

        Or not what `of` makes of their times.
        Where the machine was busy with something else, one of three tries
        has to hold, with what a bystander has lost added to the limit. What
        the scenario asserts has to hold each time.
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
        """Time enough for what is not being measured."""
        timeout, client.timeout = client.timeout, PATIENCE
        yield
        client.timeout = timeout

    def assertRight(self, client, reads=READS, threads=1):
        """All reads are right, now that there is time for them."""
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
    """The same as with TLS or gevent, where the lock is never kept."""

    level = 2

    def setUp(self):
        self.enterContext(
            mock.patch.object(
                connection, 'can_keep_lock', lambda sock: False))
        super().setUp()


class KeptLock:
    """Every request keeps the lock, in both ways by turns.

    Else it is soon released here, as the proxies need it to answer.
    """

    level = 2

    def setUp(self):
        ways = itertools.cycle((lockkeeping.LOOK, lockkeeping.SLEEP))
        self.enterContext(mock.patch.multiple(
            lockkeeping.LockKeeping, resting=1,
            choose=lambda keeping: next(ways)))
        super().setUp()


def on_each_stream(case):
    """Decorate a case: it holds on each kind of stream.

    For what a reply's bytes or a deadline decide.
    """
    for stream in PlainStream, KeptLock:
        variant(stream.__name__, stream)(case)
    return case


class OffsetCase(FaultCase):
    """Every kind of operation, for a fault at each byte of its reply."""

    #: The most offsets of one reply; a longer one is tried here and there.
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
        # Nobody knows whether it was stored, but it is never a part of it.
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
        """The length of the operation's request and of its reply."""
        sizes = {}
        for side in sizes.fromkeys(('request', 'reply')):
            sizes[side] = 0

            def measure(data, side=side):
                sizes[side] += len(data)
                return data

            self.proxy.once(Fault(side=side, swap=measure))
            # It does not fail now, as it would for the tests.
            with contextlib.suppress(AssertionError):
                operation(self, self.client(timeout=PATIENCE), 0)
        self.fill()
        return sizes['request'], sizes['reply']

    def offsets(self, size):
        return range(0, size, -(-size // self.most))


class ScriptedCase(FaultCase):
    """The server answers what the test says, and then is an honest one."""

    def start_server(self):
        return self.enterContext(ScriptedServer(default=honest))

    def check_read(self, answer, *, opened, result=None):
        """This answer to a read gives a miss, or the result."""
        self.check(
            lambda client: client.query(0, raw=True), answer, opened, result)

    def check(self, operation, answer, opened, result=None):
        """With this answer, and honest ones then, so many connect."""
        before = self.server.opened
        # Only what drops the connection may also have it wait in vain.
        stalls = opened == 2 and result is None
        client = self.client(
            self.server.address,
            timeout=self.timeout if stalls else PATIENCE)
        self.server.answers.append(answer)
        self.assertEqual(self.timed(operation, client), result)
        # A busy machine may have been too slow to even ask.
        self.server.answers.clear()
        self.assertRight(client)
        self.assertEqual(self.server.opened - before, opened)


@contextlib.contextmanager
def jump(hours):
    """The wall clock is that much ahead."""
    real = time.time
    module = mock.Mock(
        wraps=time, time=lambda: real() + hours * 3600)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch('time.time', module.time))
        # Those that hold on to the function itself jump as well.
        for name, part in list(sys.modules.items()):
            if name.startswith('p01.memcache.'):
                for attribute, value in list(vars(part).items()):
                    if value is real:
                        stack.enter_context(mock.patch.object(
                            part, attribute, module.time))
        yield
