# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Text from others: how it appears in a log and on a terminal."""

import io
import logging
import pickle
import unittest

import zope.event
from zope.interface import implementer

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import ISerializer
from p01.memcache.log import describe
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import getFakeBackend
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.uclient import UltraMemcacheClient


logger = logging.getLogger('p01.memcache')

# Text that would start a new line, or clear a terminal.
EVIL = ('\nWARNING root: all is well', '\r\nx', '\x1b[2J\x1b]0;title\x07',
        '\0', '\x85x', '\u2028x', '\u202ex', '\x9b2J', '\x08', '\ud800')


class Talkative:
    """Unpickling it raises an exception with the attacker's text."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return self.args


def fail(text, cause=None):
    raise ValueError(text) from cause


def fail_with_notes(text):
    error = ValueError(text)
    error.add_note(text)
    raise error


def fail_at(text):
    raise SyntaxError(text, (text, 1, 1, text))


def fail_in_another(text):
    try:
        fail(text)
    except ValueError:
        raise KeyError(text)  # noqa: B904


class LogCase(unittest.TestCase):

    def setUp(self):
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(logging.Formatter('LINE %(message)s'))
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)

    def assertHarmless(self, text, lines=1):
        """That many records are logged, each on a line that begins as ours."""
        written = self.stream.getvalue()
        self.stream.truncate(0)
        self.stream.seek(0)
        for line in written.split('\n'):
            self.assertTrue(line.isprintable(), ascii(line))
            self.assertRegex(
                line, r'^(LINE memcache|Traceback|  |[\w.]+: |$)')
        self.assertEqual(written.count('LINE'), lines)
        self.assertNotIn(text, written)
        return written


class ValueTest(LogCase):
    """The log of a pickle that cannot be read."""

    def read(self, data, **settings):
        client = FakeMemcacheClient(**settings)
        built = client.buildKey('key')
        getFakeBackend(client).cache[built] = data, 0
        self.assertIsNone(client.query('key'))

    def pickles(self, text):
        yield b"S'x'\nc" + text.encode('utf-8', 'replace') + b'\nx\n.'
        yield b"'" + text.encode('utf-8', 'replace')
        yield b'\x80\x04' + pickle.dumps(text)[2:-1] * 2 + b'\x93.'
        yield pickle.dumps({}) + text.encode('utf-8', 'surrogatepass')
        yield b'\x80\x04NX' + text.encode('utf-8', 'surrogatepass')
        yield b'\x80\x04N}' + pickle.dumps(text, 2)[2:-1] + b'NsQ.'
        yield b'P' + text.encode('utf-8', 'replace') + b'\n.'

    def raising(self, text):
        for call in (fail, fail_with_notes, fail_at, fail_in_another):
            yield pickle.dumps(Talkative(call, (text,)))
        yield pickle.dumps(Talkative(
            fail, (text, Talkative(ValueError, (text,)))))
        yield pickle.dumps(Talkative(getattr, (1, text)))
        yield pickle.dumps(Talkative(int, (text,)))

    def test_debug(self):
        for text in EVIL:
            for allow in None, []:
                for data in (*self.pickles(text), *self.raising(text)):
                    try:
                        pickle.loads(data)
                    except Exception:
                        self.read(data, debug=1, allow=allow)
                        self.assertIn(
                            'Traceback', self.assertHarmless(text))

    def test_without_debug(self):
        for text in EVIL:
            for data in self.raising(text):
                self.read(data)
                self.assertNotIn('Traceback', self.assertHarmless(text))

    def test_causes(self):
        self.read(pickle.dumps(Talkative(fail_in_another, ('why',))), debug=1)
        written = self.assertHarmless('\r')
        first, second, third = written.split('\n\n')
        self.assertIn('test_log.py", line', first)
        self.assertTrue(first.endswith('ValueError: why'), first)
        self.assertTrue(second.endswith("KeyError: 'why'"), second)
        self.assertIn("UnreadableValue: KeyError: 'why'", third)

    def test_endless_causes(self):
        error = ValueError('a')
        error.__cause__ = KeyError('b')
        error.__cause__.__cause__ = error
        logger.warning('memcache', exc_info=error)
        self.assertLess(len(self.assertHarmless('\r')), 2000)

    def test_the_record_holds_no_exception(self):
        with self.assertLogs(logger) as logs:
            self.read(b'\x80', debug=1)
        [record] = logs.records
        self.assertIsNone(record.exc_info)
        self.assertTrue(record.exc_text)

    def test_length(self):
        for text in 'x' * 10 ** 7, '\n' * 10 ** 7:
            self.read(pickle.dumps(Talkative(fail, (text,))), debug=1)
            self.assertLess(len(self.assertHarmless(text)), 10_000)


class SuggestionTest(LogCase):
    """Python suggests a name like the one that was not found."""

    def test_no_object_is_asked_for_its_names(self):
        asked = []

        class Instance:

            __slots__ = ()

            def __dir__(self):
                asked.append('dir')
                return ['x']

        for name in 'y', '\ud800', 'x' * 1000:
            try:
                getattr(Instance(), name)
            except AttributeError as error:
                self.assertIn('AttributeError: ', describe(error))
                logger.warning('memcache', exc_info=error)
                self.assertHarmless('\ud800')
        self.assertEqual(asked, [])

    def test_an_exception_without_text(self):
        class Silent(Exception):

            def __str__(self):
                raise KeyError

        self.assertEqual(
            describe(Silent()), 'Silent: <exception str() failed>')


class ListenerTest(LogCase):
    """A subscriber of an application that fails."""

    def test_subscriber(self):
        def listen(event):
            raise ValueError(EVIL[0]) from event.error

        zope.event.subscribers.append(listen)
        self.addCleanup(zope.event.subscribers.remove, listen)
        client = FakeMemcacheClient()
        getFakeBackend(client).cache[client.buildKey('key')] = b'x', 0
        client.query('key')
        self.assertIn('a subscriber of IUnreadableValueEvent failed',
                      self.assertHarmless(EVIL[0], 2))

    def test_an_error_without_text(self):
        class Silent(UnreadableValue):

            def __str__(self):
                raise KeyError(EVIL[0])

        @implementer(ISerializer)
        class Serializer:

            def dumps(self, key, obj):
                return b'', 0

            def loads(self, key, data, flags):
                raise Silent

        client = FakeMemcacheClient(serializer=Serializer())
        getFakeBackend(client).cache[client.buildKey('key')] = b'x', 0
        self.assertIsNone(client.query('key'))
        self.assertHarmless(EVIL[0])

    def test_any_record(self):
        for text in EVIL:
            logger.warning('memcache %s', text)
            self.assertHarmless(text)
            logger.warning('memcache' + text)
            self.assertHarmless(text)
            logger.warning('memcache %(a)s', {'a': MemcacheError(text)})
            self.assertHarmless(text)


class ServerTest(LogCase):
    """The log of what a server says."""

    def test_replies(self):
        for debug in 0, 1:
            for text in EVIL:
                data = text.encode('utf-8', 'surrogatepass')
                for reply in (
                        b'SERVER_ERROR ' + data, b'CLIENT_ERROR ' + data,
                        b'VALUE ' + data, b'ERROR ' + data, data,
                        b'END' + data, b'VALUE key 0 ' + data):
                    with ScriptedServer(reply + b'\r\n') as server:
                        client = UltraMemcacheClient(
                            [server.address], debug=debug, timeout=0.05)
                        self.assertIsNone(client.query('key'))
                        client.close()
                    self.assertHarmless(text, self.stream.getvalue().count(
                        'LINE'))
