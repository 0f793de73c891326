# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The demo, on a server that somebody else controls."""

import contextlib
import io
import pathlib
import pickle
import tempfile
import unittest

import zope.component
from zope.testing.cleanup import cleanUp

from p01.memcache import demo
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.testing import EmbeddedLayer
from p01.memcache.testing import connect
from p01.memcache.tests.support.layers import Commands
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer


load_tests = run_in(Commands)


class Evil:

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return pathlib.Path.touch, (self.mark,)


class DemoCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        cleanUp()
        self.addCleanup(cleanUp)

    def load(self, address):
        demo.load_zcml(address)
        client = zope.component.getUtility(IMemcacheClient)
        self.addCleanup(client.close)
        return client


class ValueTest(DemoCase):

    layer = EmbeddedLayer

    def visit(self, data, flags):
        """Return the count that a visitor sees with this in the cache."""
        cache = self.load(self.layer.address)
        with connect(self.layer.address) as sock:
            sock.sendall(b'set %b %d 0 %d\r\n%b\r\n' % (
                cache.buildKey('page-5').encode(), flags, len(data), data))
            self.assertEqual(sock.recv(99), b'STORED\r\n')
        visitor = demo.Visitor(0, 1)
        visitor.visit(cache, 5)
        return {name for name, count in visitor.counts.items() if count}

    def test_a_pickle_is_not_read(self):
        with tempfile.TemporaryDirectory() as folder:
            mark = pathlib.Path(folder, 'mark')
            data = pickle.dumps(Evil(mark))
            self.assertEqual(self.visit(data, 0), {'operations', 'misses'})
            self.assertFalse(mark.exists())
            pickle.loads(data)
            self.assertTrue(mark.exists())

    def test_a_value_of_another_page(self):
        for data in (b'[1]', b'"x"', b'{}', b'{"number": 5}', b'1',
                     b'{"number": "\\u001b[2J"}'):
            self.assertEqual(
                self.visit(data, 1 << 11), {'operations', 'wrong'})
        made = b'{"number":5,"title":"Page 5","prices":[0,1,2,3,4]}'
        self.assertEqual(self.visit(made, 1 << 11), {'operations', 'hits'})


class StatisticsTest(DemoCase):

    def show(self, value):
        reply = b''.join(
            b'STAT %b %b\r\n' % (name, value.encode())
            for name in (b'version', b'uptime', b'other'))
        with ScriptedServer(default=reply + b'END\r\n') as server:
            client = self.load(server.address)
            with contextlib.redirect_stdout(io.StringIO()) as output:
                demo.show({'operations': 1}, 1, client)
        for line in output.getvalue().splitlines():
            self.assertTrue(line.isprintable(), ascii(line))
            self.assertLess(len(line), 500)
        return output.getvalue()

    def test_numbers_are_formatted(self):
        self.assertRegex(self.show('12345'), r'says uptime +12,345\n')

    def test_statistics_are_escaped(self):
        for value in ('\x1b[2J', 'a\rb', 'x\x9b2J', '\u202e', '\u2028', '\x07',
                      '²', '٣', '9' * 1500, 'x' * 1500, '-', '', '\0'):
            self.assertIn('says version', self.show(value))
