# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""memcache-client: how servers are, in a pipe and in a terminal."""

import json
import os
import signal
import time
import unittest

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.support.listener import Listener
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.terminal import MAIN
from p01.memcache.tests.support.terminal import Terminal
from p01.memcache.tests.support.terminal import call
from p01.memcache.tests.support.terminal import run
from p01.memcache.tests.support.terminal import start


NUMBER = (int, float)

# What --json promises of a server that is up.
SERVER = {
    'server': str, 'state': str, 'reason': type(None), 'seconds': float,
    'version': str, 'uptime': int, 'restarted': bool, 'hits': int,
    'misses': int, 'hitRate': NUMBER, 'hitRateNow': NUMBER,
    'getsPerSecond': NUMBER, 'setsPerSecond': NUMBER,
    'evictionsPerSecond': NUMBER, 'evictions': int, 'bytes': int,
    'maxBytes': int, 'items': int, 'connections': int, 'maxConnections': int,
    'refusedConnections': int, 'flushes': int}

ALL = {
    'time': float, 'up': int, 'down': int, 'hits': int, 'misses': int,
    'getsPerSecond': NUMBER, 'setsPerSecond': NUMBER,
    'evictionsPerSecond': NUMBER, 'evictions': int, 'bytes': int,
    'maxBytes': int, 'items': int, 'connections': int, 'hitRate': NUMBER,
    'hitRateNow': NUMBER, 'servers': list}


class Case(unittest.TestCase):

    def server(self, port=None):
        server = EmbeddedServer(**({} if port is None else {'port': port}))
        self.enterContext(server)
        return server

    def refusing(self):
        return self.enterContext(refusing())

    def assertOneLine(self, text):
        self.assertEqual(text.count('\n'), 1, text)
        self.assertTrue(text.rstrip('\n').isprintable(), text)


class PingTest(Case):

    def test_all_up(self):
        address = self.server().address
        status, output, errors = run('ping', '--servers', address)
        self.assertEqual((status, output, errors), (
            0, '1 of 1 servers up\n', ''))

    def test_some_down(self):
        address, down = self.server().address, self.refusing()
        status, output, errors = run(
            'ping', '--servers', f'{address},{down}')
        self.assertEqual((status, errors), (1, ''))
        self.assertOneLine(output)
        self.assertIn(f'1 of 2 servers up; {down} is down: ', output)

    def test_none_up(self):
        status, output, errors = run('ping', '--servers', self.refusing())
        self.assertEqual((status, errors), (2, ''))
        self.assertOneLine(output)

    def test_hanging(self):
        hanging = self.enterContext(Listener())
        hanging.ignore()
        began = time.monotonic()
        status, output, _ = run(
            'ping', '--servers', hanging.address, '--timeout', '0.3')
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual(status, 2)
        self.assertIn('no reply in time', output)

    def test_hanging_name_service(self):
        # The name is looked for at a server that never answers.
        hanging = self.enterContext(Listener())
        hanging.ignore()
        began = time.monotonic()
        status, _, errors = run(
            'ping', '--timeout', '0.3',
            '--servers', f'config://{hanging.address}')
        self.assertLess(time.monotonic() - began, 9)
        self.assertEqual(status, 2, errors)

    def test_proxies_answer(self):
        # They know no stats.
        server = self.enterContext(ScriptedServer(default=b'END\r\n'))
        status, *_ = run('ping', '--servers', server.address)
        self.assertEqual(status, 0)
        self.assertEqual(server.requests, [b'get p01.memcache\r\n'])

    def test_environment(self):
        address = self.server().address
        status, *_ = run('ping', env={'MEMCACHE_SERVERS': address})
        self.assertEqual(status, 0)
        # The command line wins.
        status, *_ = run('ping', '--servers', self.refusing(),
                         env={'MEMCACHE_SERVERS': address})
        self.assertEqual(status, 2)

    def test_errors_of_use(self):
        for words, text in (
                ((), 'COMMAND'),
                (('ping',), 'no servers: '),
                (('ping', '--servers', ' '), '--servers: must name a server'),
                (('ping', '--servers', 'a/b'), "server 'a/b': must be "),
                (('ping', '--servers', 'a', '--timeout', 'x'), "'x'"),
                (('ping', '--servers', 'a', '--timeout', 'nan'), "'nan'"),
                (('ping', '--servers', 'a', '--timeout', '0'), 'timeout'),
                (('ping', '--serv', 'a'), '--serv'),
                (('ping', '--servers', 'a', '--name', 'b'), '--name'),
                (('ping', '--servers', 'a', '--ca', '/nowhere'), 'caFile'),
                (('ping', '--servers', 'a', '--credentials', '/nowhere'),
                 'credentialsFile'),
                (('ping', '--servers', 'a\x1b[31mb'), r'\x1b[31m'),
                (('ping', '--servers', 'a', '\x1b[31mb'), r'\x1b[31m'),
                (('which', '--servers', 'a', '--wire', 'a\nb'), r'a\nb'),
                (('watch', '--servers', 'a', '--count', '0'), "'0'")):
            with self.subTest(words):
                status, output, errors = call(*words)
                self.assertEqual((status, output), (2, ''))
                self.assertOneLine(errors)
                self.assertTrue(errors.startswith('memcache-client: '))
                self.assertIn(text, errors)


class StatusTest(Case):

    layer = MemcachedLayer
    level = 2

    def setUp(self):
        self.address = self.layer.address
        client = MemcacheClient([self.address])
        self.addCleanup(client.close)
        client.set('key', 'value')
        client.query('key')
        self.client = client

    def status(self, *words, **kw):
        return run('status', '--servers', self.address, '--interval', '0.2',
                   *words, **kw)

    def test_json(self):
        with start('watch', '--servers', self.address, '--json', '--count',
                   '2', '--interval', '1') as process:
            process.stdout.readline()
            for key in 'key', 'key', 'key', 'nothing':
                self.client.query(key)
            self.client.set('key', 'value')
            found = json.loads(process.stdout.readline())
            self.assertEqual(process.wait(), 0)
        self.assertEqual(found.pop('events'), [])
        self.assertFits(found, ALL)
        [server] = found['servers']
        self.assertFits(server, SERVER)
        self.assertEqual(server['state'], 'up')
        self.assertAlmostEqual(server['hitRateNow'], 0.75)
        self.assertAlmostEqual(found['hitRateNow'], 0.75)
        # In a second, or more on a busy machine.
        self.assertTrue(0 < server['getsPerSecond'] < 4.2, server)
        self.assertAlmostEqual(
            server['getsPerSecond'], 4 * server['setsPerSecond'])

    def assertFits(self, found, schema):
        self.assertEqual(set(found), set(schema))
        for name, value in found.items():
            self.assertIsInstance(value, schema[name], name)

    def test_json_down(self):
        self.address = self.refusing()
        status, output, errors = self.status('--json')
        self.assertEqual((status, errors), (2, ''))
        found = json.loads(output)
        [server] = found['servers']
        self.assertEqual(set(server), set(SERVER))
        self.assertEqual((server['state'], found['down']), ('down', 1))
        self.assertIn('Connection refused', server['reason'])

    def test_pipe(self):
        status, output, errors = self.status()
        self.assertEqual((status, errors), (0, ''))
        self.assertNotIn('\x1b', output)
        self.assertIn(self.address, output)

    def test_some_down(self):
        down = self.refusing()
        self.address += f' {down}'
        status, output, _ = self.status()
        self.assertEqual(status, 1)
        self.assertIn('1 of 2 servers up', output)
        self.assertIn(f'{down}: ConnectError: ', output)

    def test_terminal(self):
        for width in 40, 80, 200:
            with self.subTest(width):
                terminal = Terminal(
                    'status', '--servers', self.address, '--interval', '0.2',
                    width=width)
                self.assertEqual(terminal.end(), 0)
                self.assertIn('\x1b[32m', terminal.output)  # green
                self.assertIn(self.address, terminal.text)
                self.assertLessEqual(
                    max(map(len, terminal.text.splitlines())), width)
                # What is most important comes first.
                self.assertIn('hits now', terminal.text)
                self.assertIs('version' in terminal.text, width == 200)

    def test_no_colour(self):
        terminal = Terminal('status', '--servers', self.address,
                            '--interval', '0', NO_COLOR='1')
        self.assertEqual(terminal.end(), 0)
        self.assertNotRegex(terminal.output, r'\x1b\[[0-9;]*3[0-9]')

    def test_ascii(self):
        terminal = Terminal(
            'watch', '--servers', self.address, '--interval', '0.1',
            '--count', '3', PYTHONIOENCODING='ascii')
        self.assertEqual(terminal.end(), 0)
        self.assertTrue(terminal.output.isascii())

    def test_without_rich(self):
        main = f'import sys; sys.modules["rich"] = None; {MAIN}'
        status, output, errors = self.status(main=main)
        self.assertEqual((status, output), (2, ''))
        self.assertOneLine(errors)
        self.assertIn('rich is needed', errors)
        self.assertIn('the extra "console"', errors)
        self.assertEqual(self.status('--json', main=main)[0], 0)
        status, *_ = run('watch', '--servers', self.address, '--count', '1',
                         main=main)
        self.assertEqual(status, 0)

    def test_hostile_server(self):
        hostile = b''.join((
            b'STAT version \x1b[31m\xff\xe2\x80\xae\r\n',
            b'STAT uptime -1\r\n', b'STAT get_hits 1e9\r\n',
            b'STAT get_misses ' + b'9' * 400 + b'\r\n',
            b'STAT bytes \xd9\xa1\r\n', b'END\r\n'))
        server = self.enterContext(ScriptedServer(default=hostile))
        self.address = server.address
        for words in (), ('--json',):
            status, output, errors = self.status(
                *words, env={'COLUMNS': '250'})
            self.assertEqual((status, errors), (0, ''))
            self.assertTrue(output.replace('\n', '').isprintable(), output)
        self.assertIsNone(json.loads(output)['servers'][0]['hits'])

    def test_hostile_error(self):
        server = self.enterContext(ScriptedServer(
            default=b'SERVER_ERROR \x1b]0;title\x07\r\n'))
        self.address = server.address
        status, output, _ = self.status()
        self.assertEqual(status, 2)
        self.assertIn(r'\x1b]0;title', output)
        self.assertTrue(output.replace('\n', '').isprintable(), output)


class WatchTest(Case):

    def watch(self, *words, interval='0.1'):
        return start('watch', '--interval', interval, *words)

    def test_events(self):
        first, other = self.server(), EmbeddedServer()
        with other:
            address, port = other.address, other.address.split(':')[1]
            process = self.watch(
                '--json', '--servers', f'{first.address} {address}',
                '--timeout', '1')
            self.addCleanup(process.communicate)
            self.addCleanup(process.kill)
            self.assertEqual(self.next(process)['up'], 2)
        down = self.event(process)
        self.assertEqual(down['up'], 1)
        self.assertIn(f'{address} is down: ', down['events'][0])
        time.sleep(1.2)
        self.server(port=int(port))
        up = self.event(process)
        self.assertEqual(up['up'], 2)
        self.assertRegex(up['events'][0], (
            f'{address} is up again, after [0-9] s; it has restarted, and was'
            ' empty'))
        client = MemcacheClient([first.address])
        self.addCleanup(client.close)
        client.invalidateAll()
        self.assertEqual(
            self.event(process)['events'], [f'{first.address} was flushed'])

    def test_flushed_while_away(self):
        # A site flushes a server that has missed changes, once it is back.
        def statistics(flushes):
            return b'STAT uptime 99\r\nSTAT cmd_flush %d\r\nEND\r\n' % flushes

        server = self.enterContext(ScriptedServer(
            statistics(0), None, None, default=statistics(1)))
        process = self.watch('--json', '--servers', server.address)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertIn('is down: ', self.event(process)['events'][0])
        self.assertEqual(self.event(process)['events'], [
            f'{server.address} is up again, after 0 s',
            f'{server.address} was flushed'])

    def next(self, process):
        return json.loads(process.stdout.readline())

    def event(self, process):
        """Return the next look that shows something."""
        while True:
            look = self.next(process)
            if look['events']:
                return look

    def test_interrupted(self):
        address = self.server().address
        terminal = Terminal(
            'watch', '--servers', address, '--interval', '0.1')
        terminal.wait_for('100 %')
        terminal.type('\x03')
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn('Traceback', terminal.output)
        # The former screen is back, the cursor, too, and what was seen last.
        _, _, after = terminal.output.rpartition('\x1b[?1049l')
        self.assertIn('\x1b[?25h', terminal.output)
        self.assertIn(address, after)

    def test_ended(self):
        address = self.server().address
        terminal = Terminal(
            'watch', '--servers', address, '--interval', '0.1')
        terminal.wait_for('100 %')
        os.kill(terminal.pid, signal.SIGTERM)
        self.assertEqual(terminal.end(), 128 + signal.SIGTERM)
        self.assertNotIn('Traceback', terminal.output)
        self.assertIn('\x1b[?1049l', terminal.output)

    def test_interrupted_at_once(self):
        address = self.server().address
        for pause in 0.1, 0.2, 0.3, 0.5:
            with self.subTest(pause):
                terminal = Terminal(
                    'status', '--servers', address, '--interval', '20')
                time.sleep(pause)
                terminal.type('\x03')
                self.assertIn(terminal.end(), (130, -signal.SIGINT))

    def test_reader_gone(self):
        with self.watch('--servers', self.server().address) as process:
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual(process.stderr.read(), '')
            self.assertEqual(process.wait(), 141)

    def test_widths(self):
        address, down = self.server().address, self.refusing()
        for width in 40, 80, 200:
            with self.subTest(width):
                terminal = Terminal(
                    'watch', '--servers', f'{address} {down}', '--count', '2',
                    '--interval', '0.1', width=width)
                self.assertEqual(terminal.end(), 1)
                _, _, after = terminal.text.rpartition('server ')
                self.assertLessEqual(
                    max(map(len, after.splitlines())), width)
                self.assertIn('is down', after)


class IncidentTest(Case):

    layer = MemcachedLayer
    level = 2

    def test_frozen(self):
        with Memcached() as memcached, start(
                'watch', '--interval', '0.1', '--timeout', '0.5',
                '--servers', memcached.address) as process:
            process.stdout.readline()
            memcached.freeze()
            self.read(process, 'is down: ReceiveTimeout')
            memcached.thaw()
            self.assertNotIn(
                'restarted', self.read(process, 'is up again'))
            process.kill()

    def read(self, process, text):
        while True:
            line = process.stdout.readline()
            if text in line or not line:
                self.assertIn(text, line)
                return line
