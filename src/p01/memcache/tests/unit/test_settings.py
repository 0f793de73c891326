# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The settings of a client as attributes, in subclasses and for mocks, too."""

import copy
import itertools
import sys
import unittest
from ssl import create_default_context
from unittest import mock

from zope import schema

from p01.memcache.attributes import settings
from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.uclient import UltraMemcacheClient


class IExtended(IUltraMemcacheClient):

    extra = schema.Int(title='Extra', required=False)


class ExtendedClient(UltraMemcacheClient):

    _interface = IExtended
    lifetime = 60  # the constructor's default counts

    def __init__(self, *args, extra=None, **kw):
        if extra is not None:
            self.extra = extra
        super().__init__(*args, **kw)


class DoublingClient(UltraMemcacheClient):

    @property
    def timeout(self):
        return 2 * self._half

    @timeout.setter
    def timeout(self, timeout):
        self._half = timeout


class AttributesTest(unittest.TestCase):

    def test_settings_of_a_subclass(self):
        client = ExtendedClient()
        self.assertIsNone(client.extra)
        self.assertEqual(client.lifetime, 3600)
        client.extra = 3
        with self.assertRaises(TypeError):
            client.extra = '4'
        self.assertEqual(client.extra, 3)
        self.assertEqual(ExtendedClient(extra=5).extra, 5)

    def test_a_property_of_a_subclass(self):
        client = DoublingClient(timeout=1)
        self.assertEqual((client.timeout, client._timeout), (2, 2))
        client.timeout = 3
        self.assertEqual((client.timeout, client._timeout), (6, 6))
        with self.assertRaises(ValueError):
            client.timeout = -1
        self.assertEqual((client.timeout, client._timeout), (6, 6))

    def test_they_can_be_mocked(self):
        for factory in MemcacheClient, UltraMemcacheClient:
            client = factory(namespace='a')
            key = client.buildKey('key')
            with mock.patch.object(client, 'namespace', 'b'):
                self.assertNotEqual(client.buildKey('key'), key)
            self.assertEqual(client.buildKey('key'), key)

    def test_no_file_is_read_before_they_are_checked_together(self):
        with (mock.patch('p01.memcache.trust.credentials.read') as read,
              self.assertRaisesRegex(ValueError, 'needs a username')):
            UltraMemcacheClient(credentialsFile=__file__, password='secret')
        read.assert_not_called()


class PoolsTest(unittest.TestCase):
    """What `IUltraMemcacheSettings` says of connections."""

    def setUp(self):
        self.server = EmbeddedServer()
        self.server.start()
        self.addCleanup(self.server.stop)

    def kept(self, **values):
        """Return the names whose new values keep the connection."""
        names = set()
        for name, value in values.items():
            client = UltraMemcacheClient([self.server.address])
            self.addCleanup(client.close)
            client.set('key', 'value')
            setattr(client, name, value)
            [*_, (_, pool)] = client.getPools()
            if pool['idle']:
                names.add(name)
        return names

    def test_settings_of_a_connection(self):
        self.assertEqual(self.kept(
            connectTimeout=1, delay=1, retries=1, pooltime=5, maxAge=5,
            blacktime=4, maxPoolSize=5,
            ssl_context=create_default_context()), set())

    def test_all_others(self):
        values = {
            'debug': 1, 'slow': 1, 'pickleProtocol': 2, 'lifetime': 5,
            'namespace': 'shop', 'keyScheme': 'strict', 'generations': True,
            'serializer': 'json', 'allow': [], 'compress': 1000,
            'maxValueSize': 1000, 'timeout': 1, 'distribution': 'modulo',
            'failover': True, 'refresh': 1, 'handover': 1, 'drained': [],
            'servers': ['127.0.0.1:1', self.server.address]}
        self.assertEqual(self.kept(**values), {*values})


class CopyTest(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)

    def test_a_copy(self):
        for factory in MemcacheClient, UltraMemcacheClient:
            client = factory(['127.0.0.1:1'], namespace='a')
            other = copy.copy(client)
            other.namespace = 'b'
            self.assertNotEqual(client.buildKey('key'), other.buildKey('key'))
            del client
            with self.assertLogs('p01.memcache'):
                self.assertIsNone(other.query('key'))


class HandlersTest(unittest.TestCase):
    """A signal handler assigns to a setting in the middle of a change."""

    def test_no_change_is_lost(self):
        change = settings.Configured._replace.__code__
        for point in itertools.count():
            client = UltraMemcacheClient()
            if not self.set_at(point, change, client):
                break  # there are no more calls
            self.assertEqual((client.lifetime, client.debug), (5, 1), point)
            self.assertEqual(
                (client._state.settings.lifetime,
                 client._state.settings.debug), (5, 1), point)
        self.assertGreater(point, 5)

    def set_at(self, point, change, client):
        """Assign, and assign another at that call; return whether there is
        one.
        """
        count = 0

        def trace(frame, event, arg):
            nonlocal count
            if is_within(frame, change):
                count += 1
                if count == point + 1:
                    sys.settrace(None)
                    client.debug = 1
                    sys.settrace(trace)

        former = sys.gettrace()
        sys.settrace(trace)
        try:
            client.lifetime = 5
        finally:
            sys.settrace(former)
        return count > point


def is_within(frame, code):
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False
