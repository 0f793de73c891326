# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`getOrCreate`: a value above maxValueSize, and a server that is cut off.

The value is not stored, and the claim or the old value cannot be removed
either. The caller gets the value all the same.
"""

import re
import socket
import unittest

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.uclient import UltraMemcacheClient


load_tests = run_in(Replies)


PATIENCE = 5  # seconds
MOST = 1000  # bytes of a value
LARGE = 'x' * 2 * MOST
GIANT = 'x' * 900_000  # a value this large is not received
PASS = Fault()
CUT = Fault(then='rst', side='request')


class TooLargeTest(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.server = self.enterContext(EmbeddedServer())
        self.proxy = self.enterContext(FaultProxy(self.server.address))
        self.client = self.make_client(self.proxy, maxValueSize=MOST)
        self.other = self.make_client(self.server)
        # The client asks only once which commands the server knows.
        self.client.getOrCreate('another', lambda: 1)

    def make_client(self, server, **settings):
        client = UltraMemcacheClient(
            [server.address], timeout=PATIENCE, delay=0, blacktime=0,
            **settings)
        self.addCleanup(client.close)
        return client

    def compute(self):
        """A factory, during which the server is lost."""
        self.proxy.refuse()
        self.proxy.cut()
        return LARGE

    def revive(self):
        self.proxy.accept()
        self.client.query('another')

    def ask(self, request):
        """Return the reply of the server, without a client."""
        host, port = self.server.address.split(':')
        with socket.create_connection((host, int(port)), PATIENCE) as direct:
            direct.sendall(request + b'\r\n')
            return direct.recv(1 << 16)

    @property
    def wire(self):
        return self.client.buildKey('key').encode()

    def age(self):
        """Let the lifetime of the value end, but not its grace."""
        [fresh] = re.findall(
            rb'fresh:[^ ]+', self.ask(b'get ' + self.wire))
        self.assertEqual(self.ask(b'delete ' + fresh), b'DELETED\r\n')
        self.assertEqual(
            self.ask(b'touch %b 30' % self.wire), b'TOUCHED\r\n')

    def assertNothingLeft(self):
        """Neither a value nor a claim."""
        self.assertEqual(self.ask(b'get ' + self.wire), b'END\r\n')

    def check(self, factory, **kw):
        self.assertEqual(self.client.getOrCreate('key', factory, **kw), LARGE)

    def check_next(self, **kw):
        self.revive()
        self.assertEqual(
            self.client.getOrCreate('key', lambda: 'small', **kw), 'small')

    def test_the_claim_cannot_be_removed(self):
        for kw in {}, {'grace': 60}, {'dependencies': ['a']}:
            with self.subTest(**kw):
                self.check(self.compute, **kw)
                self.revive()
                self.client.invalidate('key')
                self.check_next(**kw)
                self.client.invalidate('key')

    def test_the_right_to_renew_cannot_be_given_back(self):
        self.client.getOrCreate('key', lambda: 'old', grace=60)
        self.age()
        self.check(self.compute, grace=60)

    def test_nothing_is_left(self):
        for stored in None, LARGE * 2, GIANT:
            for kw in {}, {'grace': 60}, {'dependencies': ['a']}:
                if stored:
                    # Stored by a process with a larger bound.
                    self.assertTrue(self.other.set('key', stored))
                self.check(lambda: LARGE, **kw)
                self.assertNothingLeft()

    def test_a_value_that_cannot_be_removed(self):
        self.assertTrue(self.other.set('key', GIANT))
        # The first exchange reads it, the second one would remove it.
        before = self.proxy.exchanges
        self.proxy.once(PASS, CUT)
        self.check(lambda: LARGE)
        self.assertGreaterEqual(self.proxy.exchanges, before + 2)
        # So its removal is owed.
        self.check_next()

    def test_everything_fails_after_the_look(self):
        for stored in LARGE * 2, GIANT:
            self.assertTrue(self.other.set('key', stored))
            self.proxy.once(PASS)
            self.proxy.fault = CUT
            self.check(lambda: LARGE)
            self.proxy.clear()
            self.client.invalidate('key')
