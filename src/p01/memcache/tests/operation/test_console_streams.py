# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""memcache-client: odd streams and terminals, signals, and what hangs."""

import os
import signal
import subprocess
import sys
import time
import unittest

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.support.listener import Listener
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.terminal import LIMIT
from p01.memcache.tests.support.terminal import MAIN
from p01.memcache.tests.support.terminal import Terminal
from p01.memcache.tests.support.terminal import environment
from p01.memcache.tests.support.terminal import run
from p01.memcache.tests.support.terminal import start


# A name service that never answers: what is asked of it cannot be interrupted.
HANGING = ('import socket, time; socket.getaddrinfo = lambda *args, **kw:'
           f' time.sleep(60); {MAIN}')


class StreamsTest(unittest.TestCase):

    def setUp(self):
        self.address = self.enterContext(EmbeddedServer()).address

    def shell(self, words, streams):
        """Return the exit status, the output and the errors."""
        done = subprocess.run(
            ['/bin/sh', '-c', f'exec "$0" "$@" {streams}', sys.executable,
             '-c', MAIN, *words, '--servers', self.address],
            capture_output=True, env=environment(), encoding='utf-8',
            timeout=LIMIT, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_closed(self):
        for words, streams, status in (
                (('ping',), '>&-', 0), (('ping',), '2>&-', 0),
                (('get', 'key'), '<&- >&- 2>&-', 1),
                (('watch', '--count', '1'), '<&- >&- 2>&-', 0),
                (('status', '--interval', '0'), '>&-', 0),
                (('which', 'a b', '--wire'), '2>&-', 2)):
            with self.subTest(words, streams=streams):
                found, _, errors = self.shell(words, streams)
                self.assertEqual((found, errors), (status, ''))

    def test_closed_input(self):
        status, _, errors = self.shell(('flush', '--all'), '<&-')
        self.assertEqual(status, 2)
        self.assertIn('needs --yes', errors)
        self.assertEqual(errors.count('\n'), 1, errors)

    @unittest.skipUnless(os.path.exists('/dev/full'), 'there is no /dev/full')
    def test_full_disk(self):
        for words in (('ping',), ('status', '--interval', '0'),
                      ('status', '--interval', '0', '--json'),
                      ('watch', '--count', '1')):
            with self.subTest(words):
                status, _, errors = self.shell(words, '>/dev/full')
                self.assertEqual(status, 2)
                self.assertIn('No space left', errors)
                self.assertEqual(errors.count('\n'), 1, errors)
        # Nobody can be told, but for the status.
        status, *_ = self.shell(('which', 'a b', '--wire'), '2>/dev/full')
        self.assertEqual(status, 2)

    def test_reader_gone(self):
        reader, writer = os.pipe()
        os.close(reader)
        self.addCleanup(os.close, writer)
        for words in (('ping',), ('status', '--interval', '0'),
                      ('watch', '--count', '1')):
            with self.subTest(words):
                done = subprocess.run(
                    [sys.executable, '-c', MAIN, *words, '--servers',
                     self.address], stdout=writer, stderr=subprocess.PIPE,
                    env=environment(), timeout=LIMIT, check=False)
                self.assertEqual((done.returncode, done.stderr), (141, b''))

    def test_dumb_terminal(self):
        # It has no cursor that could be moved: watch prints lines.
        terminal = Terminal('watch', '--servers', self.address, '--interval',
                            '0.1', TERM='dumb')
        terminal.wait_for('1 of 1 servers up')
        terminal.type('\x03')
        self.assertEqual(terminal.end(), 0)
        self.assertNotIn('\x1b', terminal.output)

    def test_more_servers_than_lines(self):
        # What is down comes first, and what happened is not pushed out.
        servers = [self.enterContext(EmbeddedServer()).address
                   for _ in range(30)]
        down = self.enterContext(refusing())
        terminal = Terminal(
            'watch', '--servers', ','.join([*servers, down]), '--count', '2',
            '--interval', '0.1')
        self.assertEqual(terminal.end(), 1)
        [*_, last], [after] = (
            text.split('\x1b[H') for text in
            terminal.output.split('\x1b[?1049l'))
        self.assertIn('30 of 31 servers up', last)
        self.assertIn(f'{down} is down: ', last)
        self.assertIn('... and ', last)
        self.assertRegex(last.splitlines()[2], f'^{down} .*DOWN')
        for server in servers:
            self.assertIn(server, after)


class HangingTest(unittest.TestCase):

    def setUp(self):
        hanging = self.enterContext(Listener())
        hanging.ignore()
        self.address = hanging.address

    def test_interrupted(self):
        for words, status in (
                (('status',), 130), (('watch',), 0), (('ping',), 130),
                (('which', 'key'), 130), (('delete', 'key'), 130),
                (('flush', '--all', '--yes'), 130)):
            with self.subTest(words):
                terminal = Terminal(
                    *words, '--servers', self.address, '--timeout', '20')
                time.sleep(1)
                began = time.monotonic()
                terminal.type('\x03')
                self.assertEqual(terminal.end(), status)
                self.assertLess(time.monotonic() - began, 5)
                self.assertNotIn('Traceback', terminal.output)

    def test_ended(self):
        with start('ping', '--servers', self.address,
                   '--timeout', '20') as process:
            time.sleep(1)
            process.terminate()
            output, errors = process.communicate(timeout=5)
        self.assertEqual((output, errors), ('', ''))
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)

    def test_name_service(self):
        server = self.enterContext(EmbeddedServer()).address
        for words in ('ping',), ('status', '--interval', '0', '--json'):
            with self.subTest(words):
                began = time.monotonic()
                status, output, _ = run(
                    *words, '--servers', f'unheard-of {server}', '--timeout',
                    '1', main=HANGING)
                self.assertLess(time.monotonic() - began, 9)
                self.assertEqual(status, 2)
                self.assertIn('no answer in time', output)

    def test_many_servers(self):
        # Each of them has the whole time.
        servers = [self.enterContext(Listener()) for _ in range(30)]
        for server in servers:
            server.ignore()
        began = time.monotonic()
        status, output, _ = run(
            'ping', '--timeout', '1', '--servers',
            ','.join(server.address for server in servers))
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(status, 2)
        self.assertEqual(output.count('no reply in time'), 30)


class ListedTest(unittest.TestCase):

    level = 2

    def test_a_list_that_comes_later(self):
        server = self.enterContext(EmbeddedServer()).address
        data = '1\n|{}|{}\n'.format(*server.split(':')).encode()
        source = self.enterContext(ScriptedServer(None, default=(
            b'CONFIG cluster 0 %d\r\n%b\r\nEND\r\n' % (len(data), data))))
        with start('watch', '--servers', f'config://{source.address}',
                   '--interval', '0.2', '--timeout', '1') as process:
            self.addCleanup(process.kill)
            end = time.monotonic() + LIMIT
            line = ''
            while 'is listed now' not in line and time.monotonic() < end:
                line = process.stdout.readline()
            self.assertIn(f'{server} is listed now', line)
            process.kill()
