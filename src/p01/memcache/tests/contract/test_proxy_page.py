# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What proxies.txt says of twemproxy and mcrouter, tried.

mcrouter is a script, see `p01.memcache.tests.support.mcrouter`.
"""

import json
import os
import pathlib
import re
import tempfile
import unittest
import unittest.mock
from time import monotonic

import p01.memcache.uclient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import ServerError
from p01.memcache.testing import ClusterLayer
from p01.memcache.testing import Memcached
from p01.memcache.testing import MemcachedLayer
from p01.memcache.testing import connect
from p01.memcache.tests.support.mcrouter import Mcrouter
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.scripted import hit
from p01.memcache.tests.support.scripted import wire_key
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire import command
from p01.memcache.wire import meta


PAGE = (pathlib.Path(p01.memcache.uclient.__file__).parent
        / 'proxies.txt').read_text()

KEY = b'key'

#: Each command of the client, as the first word of its request names it.
COMMANDS = (
    command.Get(KEY), command.GetMany([KEY], {}), command.Gets(KEY),
    command.GetAndTouch(KEY, 60), command.Set(KEY, b'1', 0, 60),
    command.Add(KEY, b'1', 0, 60), command.Replace(KEY, b'1', 0, 60),
    command.Append(KEY, b'1', 0, 60), command.Prepend(KEY, b'1', 0, 60),
    command.Cas(KEY, b'1', 0, 5, 60), command.Discard(KEY, b'', 0, 5, 60),
    command.Touch(KEY, 60), command.Increment(KEY, 1),
    command.Decrement(KEY, 1), command.Delete(KEY), command.FlushAll(),
    command.Stats(), meta.NoOperation(), meta.GetOrRenew(KEY, 0),
    meta.GetOrRenew(KEY, 9), meta.AddNumbered(KEY, b'1', 0, 60),
    meta.IsLeased(KEY), meta.MakeStale(KEY, 5))

# A login is no command that a proxy could pass on to all its servers.
LOGIN = command.Authenticate


def subclasses(kind):
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def table():
    """Return what the page says of each command: {word: (two answers)}."""
    return {word: answers for word, *answers in re.findall(
        r'^``(\w+)`` +(yes|no|its own) +(yes|no|its own) ', PAGE,
        re.MULTILINE)}


def blocks():
    """Return the indented blocks of the page, without their indentation."""
    return [re.sub('^  ', '', block, flags=re.MULTILINE) for block in
            re.findall(r'::\n\n((?:  .*\n|\n)+)', PAGE)]


def understood(address, what):
    """Return whether the server understands the command."""
    with connect(address) as sock, sock.makefile('rb') as replies:
        sock.sendall(what.encode())
        try:
            what.read(replies)
        except MemcacheError:
            # Either proxy closes the connection, but for a `flush_all`.
            return False
        # It is still usable.
        sock.sendall(b'get other\r\n')
        return replies.readline() == b'END\r\n'


class CommandsTest(unittest.TestCase):
    """Which command each of them refuses."""

    level = 2
    layer = MemcachedLayer

    def check(self, address, column):
        said = table()
        for what in COMMANDS:
            word = what.encode().split()[0].decode()
            with self.subTest(type(what).__name__):
                self.assertEqual(
                    understood(address, what), said[word][column] != 'no')

    def test_all_commands_are_in_the_table(self):
        known = {type(what) for what in COMMANDS} | {LOGIN}
        self.assertEqual(
            {each for each in subclasses(command.Command)
             if each.__module__ in (command.__name__, meta.__name__)
             and each.encode is not command.Command.encode}, known)
        self.assertEqual(
            {what.encode().split()[0].decode() for what in COMMANDS},
            set(table()))

    def test_memcached_knows_them_all(self):
        for what in COMMANDS:
            self.assertTrue(understood(self.layer.address, what), what)

    def test_twemproxy(self):
        proxy = self.enterContext(Nutcracker([self.layer.address]))
        self.check(proxy.address, 0)

    def test_mcrouter(self):
        proxy = self.enterContext(Mcrouter.of(self.layer.address))
        self.check(proxy.address, 1)

    def test_what_proxies_know_is_marked(self):
        # Elsewhere a connection that is closed is the server's failure.
        for what in COMMANDS:
            word = what.encode().split()[0].decode()
            if 'no' in table()[word] and not isinstance(what, (
                    meta.GetOrRenew, meta.AddNumbered, meta.IsLeased,
                    meta.MakeStale)):  # follow only after NoOperation
                self.assertFalse(what.everywhere, what)


class PlacesTest(unittest.TestCase):
    """Whether twemproxy and the client agree on the server of each key."""

    level = 2
    layer = ClusterLayer
    keys = range(2000)

    def agreed(self, addresses, **settings):
        """Return the share of keys that are found without the proxy."""
        proxy = self.enterContext(Nutcracker(
            addresses, **{**settings, 'timeout': 1000 * PATIENCE}))
        direct = UltraMemcacheClient(addresses, timeout=PATIENCE)
        behind = UltraMemcacheClient(
            [proxy.address], distribution='roundrobin', timeout=PATIENCE)
        for client in direct, behind:
            self.addCleanup(client.close)
        self.assertEqual(behind.setMany({key: key for key in self.keys}), [])
        found = len(direct.queryMany(self.keys))
        direct.invalidateAll()
        direct.setMany({key: key for key in self.keys})
        agreed = found, len(behind.queryMany(self.keys))
        direct.invalidateAll()
        return min(agreed) / len(self.keys)

    def test_md5(self):
        self.assertEqual(self.agreed(self.layer.addresses), 1)

    def test_weights(self):
        self.assertEqual(self.agreed([
            f'{address}/?{weight}' for address, weight in zip(
                self.layer.addresses, (6, 3, 2), strict=True)]), 1)

    def test_a_unix_socket(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o777)  # memcached may run as another user
        local = self.enterContext(Memcached(path=f'{folder}/socket'))
        self.assertEqual(
            self.agreed([*self.layer.addresses, local.address]), 1)

    def test_others_agree_by_chance(self):
        for settings in (
                {'hash': 'fnv1a_64'}, {'hash': 'murmur'},
                {'distribution': 'modula'}, {'distribution': 'random'}):
            with self.subTest(settings):
                self.assertAlmostEqual(
                    self.agreed(self.layer.addresses, **settings), 1 / 3,
                    delta=0.1)

    def test_the_configuration_on_the_page(self):
        [text] = [block for block in blocks() if 'ketama' in block]
        settings = dict(re.findall(r'^  (\w+): (\S+)$', text, re.MULTILINE))
        del settings['listen']
        weights = re.findall(r'^   - .*:11211:(\d)$', text, re.MULTILINE)
        self.assertEqual(len(weights), 3)
        self.assertEqual(self.agreed([
            f'{address}/?{weight}' for address, weight in zip(
                self.layer.addresses, weights, strict=True)], **settings), 1)


class ClusterCase(unittest.TestCase):
    """Some servers, and clients that reach them with and without a proxy."""

    level = 2
    layer = ClusterLayer
    timeout = PATIENCE
    keys = range(100)

    def setUp(self):
        keep_quiet(self)

    def client(self, proxy, **settings):
        client = UltraMemcacheClient(
            [proxy.address], distribution='roundrobin', **{
                'timeout': self.timeout, 'retries': 1, **settings})
        self.addCleanup(client.close)
        return client

    def direct(self, server):
        client = UltraMemcacheClient([server.address], timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def on(self, server):
        return set(self.direct(server).queryMany(self.keys))

    def assertUp(self, client):
        [server] = client._state.base.servers
        self.assertEqual(
            (server.health.state, server.health.doubts), ('up', 0))


class FailingMixin:
    """One of the servers behind a proxy fails."""

    def setUp(self):
        super().setUp()
        self.behind = self.client(self.proxy())
        self.assertEqual(self.behind.setMany(dict.fromkeys(self.keys, 1)), [])
        self.lost = self.layer.servers[1]
        self.away = self.on(self.lost)
        self.assertGreater(len(self.away), 10)

    def check(self):
        for _ in range(2):
            found = self.behind.queryMany(self.keys)
            self.assertEqual(set(found), set(self.keys) - self.away)
        [away, *_] = self.away
        self.assertIsNone(self.behind.query(away))
        self.assertIsNone(self.behind.invalidate(away))
        # Also when something is owed.
        self.assertEqual(set(self.behind.queryMany(self.keys)),
                         set(self.keys) - self.away)
        self.assertUp(self.behind)

    def test_stopped(self):
        self.lost.stop()
        self.check()

    def test_frozen(self):
        self.lost.freeze()
        self.check()
        self.lost.thaw()

    def test_behind_two_proxies(self):
        both = self.client(self.address, timeout=PATIENCE)
        both.servers = [self.address.address, self.proxy().address]
        self.lost.stop()
        for _ in both.servers:
            self.assertEqual(set(both.queryMany(self.keys)),
                             set(self.keys) - self.away)

    def test_values_that_are_too_large(self):
        self.behind.set(0, 'x' * 5000)
        self.behind.maxValueSize = 2000
        self.away = self.on(self.lost)
        self.lost.stop()
        for _ in range(3):
            self.assertEqual(set(self.behind.queryMany(self.keys)),
                             set(self.keys) - self.away - {0})
        self.assertUp(self.behind)

    def test_a_miss_is_asked_for_once(self):
        [server] = self.behind._state.base.servers
        asked = []
        send = type(server).converse

        def converse(server, *args, **kw):
            asked.append(args)
            return send(server, *args, **kw)

        with unittest.mock.patch.object(type(server), 'converse', converse):
            self.assertEqual(self.behind.queryMany(['never', 'stored']), {})
        self.assertEqual(len(asked), 1)

    def test_invalidated_meanwhile(self):
        [away, *_] = self.away
        self.lost.freeze()
        self.assertIsNone(self.behind.invalidate(away))
        self.lost.thaw()
        self.assertIsNone(self.behind.query(away))
        self.assertNotIn(away, self.on(self.lost))

    def test_namespaces_and_flushes(self):
        client = self.client(
            self.address, generations=True, namespace='one',
            timeout=PATIENCE)
        for key in 'a', 'b':
            client.set(key, 1)
        client.invalidateNamespace()
        self.assertEqual(client.queryMany(['a', 'b']), {})
        with self.assertRaises(NotInvalidated):
            client.invalidateAll()
        client.set('a', 2)
        self.assertEqual(client.query('a'), 2)


class TwemproxyFailingTest(FailingMixin, ClusterCase):

    def proxy(self):
        self.address = self.enterContext(
            Nutcracker(self.layer.addresses, timeout=500))
        return self.address

    def test_ejected(self):
        # Why `auto_eject_hosts` is off.
        proxy = self.enterContext(Nutcracker(
            self.layer.addresses, timeout=100, auto_eject_hosts='true',
            server_retry_timeout=300, server_failure_limit=1))
        client = self.client(proxy)
        [away, *_] = self.away
        self.lost.freeze()
        self.assertIsNone(client.query(away))
        self.assertIsNotNone(client.set(away, 'new'))
        self.assertEqual(client.query(away), 'new')
        self.lost.thaw()
        end = monotonic() + PATIENCE
        while client.query(away) == 'new' and monotonic() < end:
            pass
        self.assertEqual(client.query(away), 1)

    def test_statistics(self):
        [(_, statistics)] = self.behind.getStatistics()
        self.assertIn('error', statistics)


class McrouterFailingTest(FailingMixin, ClusterCase):

    def proxy(self):
        self.address = self.enterContext(
            Mcrouter.of(*self.layer.addresses, asynclog=False))
        return self.address

    def test_deletions_that_are_spooled(self):
        # Why `--asynclog-disable` is necessary.
        first, _, last = self.layer.addresses
        line = self.enterContext(FaultProxy(self.lost.address))
        [away, *_] = self.away
        for asynclog, seen in (False, None), (True, 1):
            self.direct(self.lost).set(away, 1)
            proxy = self.enterContext(
                Mcrouter.of(first, line.address, last, asynclog=asynclog))
            client = self.client(proxy)
            line.refuse()
            self.assertIs(bool(client.invalidate(away)), asynclog)
            line.accept()
            self.assertEqual(client.query(away), seen)
            self.assertEqual(proxy.spooled, [
                client.buildKey(away).encode()] * asynclog)

    def test_statistics(self):
        [(_, statistics)] = self.behind.getStatistics()
        self.assertIn('mcrouter', statistics['version'])
        [(_, statistics)] = self.behind.getStatistics('items')
        self.assertEqual(
            statistics, {'error': 'CLIENT_ERROR bad stats command'})

    def test_flush(self):
        proxy = self.enterContext(
            Mcrouter.of(*self.layer.addresses, flush=True))
        self.client(proxy).invalidateAll()
        for server in self.layer.servers:
            self.assertEqual(self.on(server), set())


class RoutesTest(unittest.TestCase):
    """The routes of mcrouter, on two pools."""

    def setUp(self):
        keep_quiet(self)
        self.servers = [self.enterContext(EmbeddedServer()) for _ in range(2)]
        self.here, self.there = self.servers

    def client(self, route):
        proxy = self.enterContext(Mcrouter({'pools': {
            name: {'servers': [server.address]} for name, server in zip(
                ('here', 'there'), self.servers, strict=True)},
            'route': route}, asynclog=False))
        client = UltraMemcacheClient(
            [proxy.address], distribution='roundrobin', timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def direct(self, server):
        client = UltraMemcacheClient([server.address], timeout=PATIENCE)
        self.addCleanup(client.close)
        return client

    def page_route(self):
        [*_, text] = [block for block in blocks() if '"pools"' in block]
        return json.loads(text)['route']

    def test_the_simple_configuration(self):
        [text, _] = [block for block in blocks() if '"pools"' in block]
        configuration = json.loads(text)
        configuration['pools']['shop']['servers'] = [
            server.address for server in self.servers]
        proxy = self.enterContext(Mcrouter(configuration))
        client = UltraMemcacheClient(
            [proxy.address], distribution='roundrobin', timeout=PATIENCE)
        self.addCleanup(client.close)
        values = {key: key for key in range(100)}
        client.setMany(values)
        self.assertEqual(client.queryMany(values), values)

    def test_both_pools_are_changed(self):
        client = self.client(self.page_route())
        client.set('key', 1)
        for server in self.servers:
            self.assertEqual(self.direct(server).query('key'), 1)
        self.assertTrue(client.invalidate('key'))
        for server in self.servers:
            self.assertIsNone(self.direct(server).query('key'))

    def test_an_invalidation_that_one_pool_misses(self):
        client = self.client(self.page_route())
        for key in 'key', 'other':
            client.set(key, 1)
        self.there.stop()
        self.assertIsNone(client.invalidate('key'))
        self.direct(self.here).set('key', 'by another process')
        self.assertIsNone(client.query('key'))
        self.assertEqual(client.query('other'), 1)
        self.there.start()
        self.assertIsNone(client.query('key'))
        self.assertIsNone(self.direct(self.here).query('key'))
        self.assertTrue(client.set('key', 2))
        self.assertEqual(client.query('key'), 2)

    def test_other_changes_are_here_only(self):
        client = self.client(self.page_route())
        client.set('key', 1)
        _, token = client.gets('key')
        self.assertTrue(client.cas('key', 2, token))
        self.assertEqual(self.direct(self.there).query('key'), 1)

    def test_failover(self):
        proxy = self.enterContext(FaultProxy(self.here.address))
        self.servers[0] = proxy
        client = self.client({
            'type': 'FailoverRoute',
            'children': ['PoolRoute|here', 'PoolRoute|there']})
        client.set('key', 'old')
        proxy.refuse()
        self.assertIsNotNone(client.set('key', 'new'))
        self.assertEqual(client.query('key'), 'new')
        proxy.accept()
        self.assertEqual(client.query('key'), 'old')

    def test_warm_up(self):
        client = self.client({
            'type': 'WarmUpRoute', 'cold': 'PoolRoute|here',
            'warm': 'PoolRoute|there', 'exptime': 60})
        self.direct(self.there).set('key', 'old')
        self.assertEqual(client.query('key'), 'old')
        self.assertTrue(client.invalidate('key'))
        self.assertEqual(client.query('key'), 'old')

    def test_prefixes(self):
        client = self.client('PoolRoute|here')
        # No key of the client is one on the wire.
        key = '/region/cluster/key'
        self.assertIsNotNone(client.set(key, 1))
        self.assertEqual(client.query(key), 1)
        with self.assertRaisesRegex(ServerError, 'No rh found'):
            client._state.base.get(key.encode(), soon())


class AgainTest(unittest.TestCase):
    """Each key is asked for on its own after an error, if there is time."""

    error = b'SERVER_ERROR failed\r\n'

    def requests(self, *answers, **settings):
        """Return the values of two keys, and how many requests that took."""
        server = self.enterContext(ScriptedServer(
            *answers, default=lambda request: hit(wire_key(request), b'1')))
        client = UltraMemcacheClient([server.address], **{
            'timeout': PATIENCE, 'distribution': 'roundrobin', **settings})
        self.addCleanup(client.close)
        found = client.queryMany(['a', 'b'], raw=True)
        return list(found.values()), len(server.requests)

    def setUp(self):
        keep_quiet(self)

    def test_at_once(self):
        self.assertEqual(self.requests(self.error), ([b'1', b'1'], 3))

    def test_an_error_again(self):
        self.assertEqual(self.requests(self.error, self.error), ([b'1'], 3))

    def test_late(self):
        self.assertEqual(self.requests(
            [(b'', 0.6), (self.error, 0)], timeout=1), ([], 1))

    def test_a_server_is_not_asked_again(self):
        self.assertEqual(
            self.requests(self.error, distribution='ketama'), ([], 1))

    def test_other_failures(self):
        for answer in b'CLIENT_ERROR no\r\n', b'nonsense\r\n':
            self.assertEqual(self.requests(answer), ([], 1))
