# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What the clients never do: send undocumented requests, or wait for ever.

A proxy records every byte that every public method of both clients sends, to
servers that are well, that fail, or that are down for a while. The requests
must match `REQUESTS`, word for word; so none of them has a ``noreply``.

Level 1 runs on the embedded server, level 2 on memcached, too.
"""

import collections
import contextlib
import itertools
import math
import re
import socket
import threading
import unittest
from unittest import mock

from zope import schema
from zope.interface.interfaces import IMethod

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import NotInvalidated
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.tests.faults.case import SLACK
from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import OnMemcached
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.proxy import TWICE
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.scripted import request_size
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.uclient import UltraMemcacheClient


# The first line of each request. python-memcached leaves a blank at the end of
# its ``set``. No meta command has the flag q.
REQUESTS = {
    re.match(rb'\w+', line)[0]: re.compile(
        line.replace(b'<key>', rb'[!-~]{1,250}').replace(b'<n>', rb'\d{1,20}')
        + rb'\r\n')
    for line in (
        rb'get( <key>)+',
        rb'gets <key>',
        rb'gat <n> <key>',
        rb'set <key> <n> <n> <n> ?',
        rb'add <key> <n> <n> <n>',
        rb'replace <key> <n> <n> <n>',
        rb'append <key> <n> <n> <n>',
        rb'prepend <key> <n> <n> <n>',
        rb'cas <key> <n> <n> <n> <n>',
        rb'touch <key> <n>',
        rb'incr <key> <n>',
        rb'decr <key> <n>',
        rb'delete <key>',
        rb'flush_all',
        rb'stats',
        rb'mn',
        rb'mg <key>( s| v f c k( R<n>)?)',
        rb'ms <key> <n> F<n> T<n> c k ME',
        rb'md <key> I C<n>',
    )
}

# Text that looks like a command, or an option of one, but is data.
EVIL = b'noreply\r\nflush_all\r\n'

_numbers = itertools.count()


def create(client, **kw):
    # A new key: no call waits for a right that an earlier call has lost.
    return client.getOrCreate(f'made {next(_numbers)}', lambda: 'made', **kw)


def create_many(client):
    keys = [f'made {next(_numbers)}' for _ in range(2)]
    return list(client.getOrCreateMany(
        keys, lambda keys: dict.fromkeys(keys, 'made')).values())


def look_up(client):
    with client.lookUp(f'made {next(_numbers)}') as found:
        found.store('made')
    return found.isHit


def renew_in_vain(client):
    """Get the right to renew a value, and give it back."""
    key = f'old {next(_numbers)}'
    client.getOrCreate(key, lambda: 'old', lifetime=10, grace=30)
    with contextlib.suppress(Interrupted):
        client.getOrCreate(key, interrupt, grace=60)


class Interrupted(Exception):
    pass


def interrupt():
    raise Interrupted


# Every public method, and what it returns if the server does not answer.
USES = {
    'buildKey': (
        lambda client: client.buildKey('key'),
        lambda client: client.buildKey('key')),
    'query': (lambda client: client.query('key'), None),
    'queryMany': (lambda client: client.queryMany(['key', 'other']), {}),
    'gets': (lambda client: client.gets('key'), (None, None)),
    'set': (
        lambda client: client.set('key', 'new', dependencies=['tag']), None),
    'add': (lambda client: client.add('new', 'new'), None),
    'replace': (lambda client: client.replace('key', 'new'), None),
    'append': (lambda client: client.append('raw', EVIL), None),
    'prepend': (lambda client: client.prepend('raw', EVIL), None),
    'touch': (lambda client: client.touch('key', 60), None),
    'queryAndTouch': (lambda client: client.queryAndTouch('key', 60), None),
    'cas': (
        lambda client: client.cas('key', 'new', f'1@{client.servers[0]}'),
        None),
    'increment': (lambda client: client.increment('counter', 1, 5), None),
    'decrement': (lambda client: client.decrement('counter', 1, 5), None),
    'immediate': (lambda client: client.immediate() is client, True),
    'setMany': (
        lambda client: client.setMany({'key': 1, 'other': 2}),
        ['key', 'other']),
    'invalidate': (lambda client: client.invalidate('key'), None),
    'invalidateMany': (
        lambda client: client.invalidateMany(['key', 'other']),
        ['key', 'other']),
    'invalidateDependencies': (
        lambda client: client.invalidateDependencies('tag', 'other'), None),
    'invalidateNamespace': (
        lambda client: client.invalidateNamespace(), None),
    'invalidateAll': (lambda client: client.invalidateAll(), None),
    'getStatistics': (lambda client: client.getStatistics(), None),
    'getUnreadable': (lambda client: client.getUnreadable(), {}),
    'getCounts': (lambda client: client.getCounts()['slow'], 0),
    'getHistory': (lambda client: client.getHistory()[0][1], 0),
    'getSlowest': (lambda client: len(client.getSlowest()) <= 20, True),
    'getRegions': (lambda client: client.getRegions(), []),
    'getServers': (lambda client: len(client.getServers()), 1),
    'getOrCreate': (create, 'made'),
    'getOrCreateMany': (create_many, ['made', 'made']),
    'lookUp': (look_up, False),
    'region': (lambda client: client.region('region').query('key'), None),
    'invalidateUnchanged': (
        lambda client: client.invalidateUnchanged('key', '1@a'), None),
    'close': (lambda client: client.close(), None),
    'getPools': (lambda client: len(client.getPools()), 1),
}

# Other uses of some of them, which send other requests.
MORE = (
    lambda client: client.set('raw', EVIL, raw=True),
    lambda client: client.query('raw', raw=True),
    lambda client: client.set('empty', b'', raw=True),
    lambda client: client.query('empty', raw=True),
    lambda client: client.increment('counter'),
    lambda client: client.setMany(dict.fromkeys(range(20), EVIL)),
    lambda client: client.queryMany(range(20)),
    lambda client: create(client, grace=30, dependencies=['tag']),
    renew_in_vain,
)


def methods(interface):
    return {name for name, description
            in interface.namesAndDescriptions(all=True)
            if IMethod.providedBy(description)}


def split(stream):
    """Return the first lines of the requests in a stream."""
    lines = []
    while stream:
        size = request_size(stream)
        assert size, f'not a whole request: {stream[:99]!r}'
        lines.append(bytes(stream[:stream.index(b'\n') + 1]))
        stream = stream[size:]
    return lines


def command_of(line):
    """Return the command of a request; fail if it is not documented."""
    command = line.split()[0]
    if command not in REQUESTS or not REQUESTS[command].fullmatch(line):
        raise AssertionError(f'not documented: {line!r}')
    return command


class RecordingProxy(FaultProxy):
    """Remembers what each connection has sent."""

    def __init__(self, upstream):
        super().__init__(upstream)
        self._streams = {}

    async def _pass(self, side, data, exchange, sink):
        if side == 'request':
            # There is one call for each connection.
            self._streams.setdefault(exchange, bytearray()).extend(data)
        await super()._pass(side, data, exchange, sink)

    def commands(self):
        """Count the commands, once all connections are closed."""
        assert self.wait(lambda: self.current == 0)
        return collections.Counter(
            command_of(line) for stream in self._streams.values()
            for line in split(stream))


class RecorderTest(unittest.TestCase):
    """The recorder notices what it should."""

    def test_undocumented_requests(self):
        for line in (
                b'set k 0 0 1 noreply\r\n', b'delete k noreply\r\n',
                b'flush_all noreply\r\n', b'flush_all 10\r\n', b'mg k q\r\n',
                b'mg k v f c k N30\r\n', b'md k I C1 q\r\n', b'ms k 1\r\n',
                b'incr k 1 noreply\r\n', b'touch k 1 noreply\r\n',
                b'cas k 0 0 1 1 noreply\r\n', b'verbosity 1\r\n',
                b'stats reset\r\n', b'quit\r\n', b'delete k\n'):
            with self.assertRaises(AssertionError, msg=line):
                command_of(line)

    def test_values_are_not_taken_for_requests(self):
        self.assertEqual(
            split(b'set k 0 0 20\r\n%b\r\ndelete k\r\n' % EVIL),
            [b'set k 0 0 20\r\n', b'delete k\r\n'])

    def test_every_method_is_used(self):
        self.assertEqual(set(USES), methods(IUltraMemcacheClient))


class PromiseCase(FaultCase):

    interface = IUltraMemcacheClient

    def uses(self):
        """Return the names of the client's methods."""
        return [name for name in USES if name in methods(self.interface)]


class ClassicMixin:
    """The same with the classic client, whose time-out cannot be set."""

    interface = IMemcacheClient

    def client(self, address=None, timeout=None, **settings):
        factory = type('Impatient', (MemcacheClient,), {
            '_timeout': timeout or self.timeout, '_retry': 0})
        client = factory([address or self.proxy.address], **settings)
        self.addCleanup(client.close)
        return client


class SentCase(PromiseCase):
    """No noreply, no flush without a call for it, no UDP."""

    timeout = 0.05
    settings = (
        {}, {'generations': True},
        {'generations': True, 'keyScheme': 'strict', 'namespace': 'shop'})
    expected = set(REQUESTS)

    def setUp(self):
        super().setUp()
        self.kinds = []
        me, init = threading.get_ident(), socket.socket.__init__

        def record(sock, *args, **kw):
            init(sock, *args, **kw)
            if threading.get_ident() == me:
                self.kinds.append(sock.type)

        self.enterContext(
            mock.patch.object(socket.socket, '__init__', record))

    def use(self, client, *names):
        for name in names:
            if name == 'invalidateNamespace' and not client.generations:
                continue
            with contextlib.suppress(NotInvalidated):
                USES[name][0](client)

    @contextlib.contextmanager
    def recording(self):
        """Yield a proxy, then check and count the requests through it."""
        with RecordingProxy(self.server.address) as proxy:
            self.kinds.clear()
            yield proxy
            self.assertEqual(set(self.kinds), {socket.SOCK_STREAM})
            self.sent = proxy.commands()

    def harmless(self):
        return [name for name in self.uses()
                if name not in ('invalidateAll', 'getStatistics')]

    def check_fault(self, fault, names=None, **settings):
        """Let each operation fail, at each of its steps in turn."""
        with self.recording() as proxy:
            client = self.client(proxy.address, **settings)
            for name in names or self.harmless():
                for befall in self.always, self.once, self.second:
                    befall(proxy, fault)
                    self.use(client, name)
                    proxy.clear()
                    proxy.release(drop=True)
                    # It connects again, and delivers what is owed.
                    client.query('key')
            client.close()
            proxy.cut()
        self.assertLessEqual(set(self.sent), self.expected)
        self.assertIn(b'get', self.sent)
        if not names:
            self.assertNotIn(b'flush_all', self.sent)
            self.assertNotIn(b'stats', self.sent)

    def always(self, proxy, fault):
        proxy.fault = fault

    def once(self, proxy, fault):
        proxy.once(fault)

    def second(self, proxy, fault):
        proxy.once(None, fault)


class SentTest(SentCase):

    def test_all_is_well(self):
        expected = self.expected - {b'flush_all', b'stats'}
        for settings in self.settings:
            with self.subTest(settings), self.recording() as proxy:
                client = self.client(
                    proxy.address, timeout=PATIENCE, **settings)
                self.use(client, *self.harmless())
                for use in MORE:
                    use(client)
                client.close()
            self.assertEqual(set(self.sent), expected)

    def test_flush(self):
        with self.recording() as proxy:
            client = self.client(proxy.address, timeout=PATIENCE)
            for _ in range(3):
                client.invalidateAll()
            client.close()
        self.assertEqual(self.sent, {b'flush_all': 3})

    def test_statistics(self):
        with self.recording() as proxy:
            client = self.client(proxy.address, timeout=PATIENCE)
            client.getStatistics()
            client.close()
        self.assertEqual(self.sent, {b'stats': 1})

    def test_the_name_of_a_host(self):
        with self.recording() as proxy:
            client = self.client(
                proxy.address.replace('127.0.0.1', 'localhost'),
                timeout=PATIENCE)
            self.assertIsNotNone(client.set('key', 'value'))
            self.assertEqual(client.query('key'), 'value')
            client.close()
        self.assertEqual(self.sent, {b'set': 1, b'get': 1})

    def test_the_server_is_down(self):
        for settings in self.settings[:2]:
            with self.recording() as proxy:
                client = self.client(proxy.address, **settings)
                client.query('key')
                proxy.refuse()
                proxy.cut()
                self.use(client, *self.harmless())
                proxy.accept()
                for key in 'key', 'other', 'new', 'raw', 'counter':
                    client.query(key)
                self.use(client, *self.harmless())
                client.close()
            self.assertGreater(self.sent[b'set'], 0)
            self.assertLessEqual(
                set(self.sent), self.expected - {b'flush_all', b'stats'})


class ClassicSentTest(ClassicMixin, SentTest):

    # It asks for no lease, but it recognizes those of others.
    expected = set(REQUESTS) - {b'mn', b'ms', b'md'}


class SentRealTest(OnMemcached, SentTest):
    pass


class ClassicSentRealTest(OnMemcached, ClassicSentTest):
    pass


class FailingTest(SentCase):

    level = 2

    def test_faults(self):
        faults = (
            Fault(then='rst'), Fault(after=3, then='fin'),
            Fault(then='rst', side='request'), TWICE,
            *[Fault(swap=lambda reply, line=line: line) for line in (
                b'ERROR\r\n', b'CLIENT_ERROR bad command line format\r\n',
                b'SERVER_ERROR out of memory storing object\r\n',
                b'NOT_FOUND\r\n', b'STORED\r\n', b'END\r\n', b'\0\xff\r\n')])
        for settings in self.settings:
            for fault in faults:
                with self.subTest(settings, fault=fault):
                    self.check_fault(fault, **settings)

    def test_it_hangs(self):
        self.check_fault(HOLD, generations=True)

    def test_flush_and_statistics(self):
        for fault in Fault(then='rst'), HOLD:
            self.check_fault(fault, names=['getStatistics', 'query'])
            self.assertNotIn(b'flush_all', self.sent)
            self.check_fault(fault, names=['invalidateAll'])
            # One for each call, and one that the pooled client owes then.
            self.assertIn(self.sent[b'flush_all'], range(3, 7))


class ClassicFailingTest(ClassicMixin, FailingTest):

    expected = ClassicSentTest.expected


class TimeTest(unittest.TestCase):
    """All time-outs are finite, by default and with any other setting."""

    clients = (
        (MemcacheClient, IMemcacheClient),
        (UltraMemcacheClient, IUltraMemcacheClient))

    def times(self, interface):
        """Return the names of the settings in seconds."""
        return [name for name, field in schema.getFieldsInOrder(interface)
                if isinstance(field, schema.Real)
                and not isinstance(field, schema.Int) or name == 'lifetime']

    def test_names(self):
        self.assertEqual(self.times(IMemcacheClient), ['slow', 'lifetime'])
        self.assertEqual(
            self.times(IUltraMemcacheClient),
            ['slow', 'lifetime', 'timeout', 'connectTimeout', 'delay',
             'pooltime', 'maxAge', 'blacktime', 'refresh', 'handover'])

    def test_defaults(self):
        for factory, interface in self.clients:
            client = factory()
            for name in self.times(interface):
                with self.subTest(factory=factory, name=name):
                    value = getattr(client, name)
                    self.assertEqual(value, interface[name].default)
                    if value is None:
                        continue  # then another one is the limit
                    self.assertGreater(value, 0)
                    self.assertTrue(math.isfinite(value))

    def test_the_classic_client(self):
        client = MemcacheClient()
        [server] = client._state.store.servers
        for value in (client._timeout, client._retry, server.socket_timeout,
                      server.dead_retry):
            self.assertGreater(value, 0)
            self.assertTrue(math.isfinite(value))

    def test_refused(self):
        for factory, interface in self.clients:
            client = factory()
            for name in self.times(interface):
                former = getattr(client, name)
                wrong = [math.inf, -math.inf, math.nan, -1]
                if interface[name].required:
                    wrong.append(None)
                for value in wrong:
                    with self.subTest(factory=factory, name=name, value=value):
                        with self.assertRaisesRegex(
                                (TypeError, ValueError), name):
                            factory(**{name: value})
                        with self.assertRaisesRegex(
                                (TypeError, ValueError), name):
                            setattr(client, name, value)
                        self.assertEqual(getattr(client, name), former)

    def test_0_seconds_is_not_for_ever(self):
        for value in 0, 0.0:
            with self.assertRaisesRegex(ValueError, 'timeout'):
                UltraMemcacheClient(timeout=value)


class HungTest(PromiseCase):
    """No operation waits for a server for longer than the time-out."""

    level = 2

    def outcome(self, name, client):
        use, _ = USES[name]
        if name == 'invalidateAll':
            with self.assertRaises(NotInvalidated):
                self.timed(use, client)
        elif name == 'getStatistics':
            [(_, found)] = self.timed(use, client)
            self.assertEqual(list(found), ['error'])
        else:
            return self.timed(use, client)

    def check(self, fault, used=False, **settings):
        names = self.uses()
        creating = ['getOrCreate', 'getOrCreateMany', 'lookUp']
        for name in creating:
            names.remove(name)
        if not settings.get('generations'):
            names.remove('invalidateNamespace')

        def scenario(names=names):
            clients = {name: self.client(**settings) for name in names}
            for client in clients.values() if used else ():
                with self.patience(client):
                    client.query('key')
            self.proxy.fault = fault
            try:
                found = at_once(
                    lambda name: self.outcome(name, clients[name]), names)
            finally:
                self.proxy.clear()
                self.proxy.release(drop=True)
                for client in clients.values():
                    client.close()
            for name, value in zip(names, found, strict=True):
                expected = USES[name][1]
                if callable(expected):
                    expected = expected(clients[name])
                self.assertEqual(value, expected, name)

        self.assertInTime(scenario)
        # One request to look for the value, one to store it.
        self.assertInTime(
            lambda: scenario(creating),
            2 * self.timeout + SLACK)

    def test_no_reply(self):
        self.check(HOLD)

    def test_no_reply_on_a_connection_in_use(self):
        self.check(HOLD, used=True)

    def test_half_a_reply(self):
        self.check(Fault(after=2, then='stall'), used=True)

    def test_generations(self):
        self.check(HOLD, generations=True)

    def test_drip(self):
        self.check(Fault(size=1, pause=0.04))


class ClassicHungTest(ClassicMixin, HungTest):

    @contextlib.contextmanager
    def patience(self, client):
        client._timeout = PATIENCE
        yield
        del client._timeout
