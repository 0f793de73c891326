# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Keys by adapter, in both schemes and in regions."""

import datetime
import decimal
import enum
import pickle
import unittest

import zope.component
from Acquisition import Implicit
from persistent import Persistent
from zope.component.testing import PlacelessSetup
from zope.i18nmessageid import Message
from zope.interface import Interface
from zope.interface import alsoProvides
from zope.interface import classImplements
from zope.interface import classImplementsOnly
from zope.interface import implementedBy
from zope.interface import implementer
from zope.security.checker import Checker
from zope.security.proxy import Proxy

from p01.memcache.decorator import cached
from p01.memcache.errors import SerializationError
from p01.memcache.interfaces import ICacheKey
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.keys import compatible
from p01.memcache.keys import strict
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.tests.support.objects import Jar


class IDate(Interface):
    """Like Zope's DateTime."""


@implementer(IDate)
class Date:
    """Not plain data, and different for each process if pickled."""

    def __init__(self, text):
        self.text = text
        self.noise = object()

    def __reduce__(self):
        raise TypeError('cannot be pickled')

    def __eq__(self, other):
        return self.text == other.text

    def __hash__(self):
        return hash(self.text)


class Content(Persistent, Implicit):

    uid = None


class Folder(Implicit):

    path = '/folder'


class Colour(enum.Enum):

    RED = 1


def key_of_date(date):
    return 'Date', date.text


def buried(key):
    """Yield keys with the key within them, and what is around it."""
    for around in (
            lambda part: part, lambda part: (part, ), lambda part: (1, part),
            lambda part: [part, part], lambda part: ('a', ('b', [part])),
            lambda part: {'a': part}, lambda part: frozenset([part, 'a']),
            lambda part: {part: 1}, lambda part: (part, 'a', 'a')):
        yield around, around(key)


@cached()
def returns_date(date):
    return date.text


class AdaptedTest(PlacelessSetup, unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.clients = [
            FakeMemcacheClient(namespace='shop', keyScheme=scheme)
            for scheme in ('compatible', 'strict')]
        self.clients += [client.region('a') for client in self.clients]

    def adapt(self, adapter, *required):
        zope.component.provideAdapter(adapter, required, ICacheKey)

    def assertSame(self, key, plain):
        for client in self.clients:
            with self.subTest(client=client, scheme=client.keyScheme):
                self.assertEqual(
                    client.buildKey(key), client.buildKey(plain))

    def test_wherever_it_is(self):
        self.adapt(key_of_date, IDate)
        for around, key in buried(Date('today')):
            with self.subTest(key=around(1)):
                self.assertSame(key, around(('Date', 'today')))

    def test_each_kind_of_plain_data(self):
        for plain in (
                'text', b'bytes', 7, 0.5, True, (1, 'a'), [1], {1}, {},
                {1: 2}, datetime.date.today(), datetime.datetime.now(),
                datetime.timedelta(1)):
            hashable = not isinstance(plain, (set, list, dict))
            self.adapt(lambda date, plain=plain: plain, IDate)
            for around, key in buried(Date('today')):
                if hashable or around(1) not in ({1: 1}, {1, 'a'}):
                    with self.subTest(plain=plain, key=around(1)):
                        self.assertSame(key, around(plain))

    def test_the_operations(self):
        self.adapt(key_of_date, IDate)
        for client in self.clients:
            client.set(Date('today'), 1)
            self.assertEqual(client.query(Date('today')), 1)
            self.assertEqual(client.query(('Date', 'today')), 1)
            self.assertEqual(
                list(client.queryMany([Date('today')]).values()), [1])
            self.assertIs(client.invalidate(('Date', 'today')), True)

    def test_calls(self):
        self.adapt(key_of_date, IDate)
        zope.component.provideUtility(self.clients[0], IMemcacheClient)
        self.assertEqual(returns_date(Date('today')), 'today')
        self.assertEqual(
            returns_date.key(Date('today')),
            returns_date.key(('Date', 'today')))

    def test_messages(self):
        # They are texts, but not the whole of them.
        self.adapt(lambda message: (
            'message', message.domain, str.__str__(message), message.default),
            *zope.interface.implementedBy(Message) or (Message,))
        one, two = (Message('title', domain, 'Title') for domain in ('a', 'b'))
        for client in self.clients:
            self.assertNotEqual(client.buildKey(one), client.buildKey(two))
            self.assertNotEqual(
                client.buildKey((1, one)), client.buildKey((1, two)))
            self.assertEqual(
                client.buildKey((1, one)),
                client.buildKey((1, ('message', 'a', 'title', 'Title'))))

    def test_content(self):
        # The adapter comes before the _p_oid, and finds what is around it.
        self.adapt(
            lambda content: ('content', content.aq_parent.path, content.uid),
            Content)
        content = Content()
        content._p_oid, content.uid = b'12345678', 7
        for around, key in buried(content.__of__(Folder())):
            if around(1) not in ({1: 1}, {1, 'a'}):
                with self.subTest(key=around(1)):
                    self.assertSame(key, around(('content', '/folder', 7)))

    def test_persistent_objects_are_not_loaded(self):
        # Only an adapter that there is may load one.
        self.adapt(key_of_date, IDate)
        jar = Jar()
        for ghost in jar.ghost(), [jar.ghost()], ('a', jar.ghost()):
            for client in self.clients:
                client.buildKey(ghost)
        self.assertEqual(jar.loaded, [])

    def test_interfaces_of_a_persistent_object(self):
        class IMarked(Interface):
            pass

        content = Content()
        content._p_oid, content.uid = b'12345678', 7
        alsoProvides(content, IMarked)
        self.adapt(lambda content: ('marked', content.uid), IMarked)
        plain = content._p_oid
        self.assertEqual(
            self.clients[0].buildKey(content), self.clients[0].buildKey(plain))
        classImplements(Content, IMarked)
        try:
            self.assertSame(content, ('marked', 7))
        finally:
            classImplementsOnly(Content, implementedBy(Persistent))

    def test_security_proxied(self):
        # The adapter gets the object without it, and shows what it shows.
        self.adapt(key_of_date, IDate)
        proxied = Proxy(Date('today'), Checker({}))
        for around, key in buried(proxied):
            if around(1) not in ({1: 1}, {1, 'a'}):
                with self.subTest(key=around(1)):
                    self.assertSame(key, around(('Date', 'today')))
        wrapped = Proxy((1, Date('today')), Checker({}))
        self.assertSame(wrapped, (1, ('Date', 'today')))

    def test_members(self):
        self.adapt(lambda colour: ('colour', colour.name), Colour)
        self.assertSame((1, Colour.RED), (1, ('colour', 'RED')))

    def test_adapters_of_parts(self):
        self.adapt(lambda content: (Date(content.uid), 'content'), Content)
        self.adapt(key_of_date, IDate)
        content = Content()
        content.uid = 'today'
        self.assertSame((1, content), (1, (('Date', 'today'), 'content')))

    def test_classes(self):
        # Also those of which Python has a single object.
        self.adapt(lambda kind: f'class {kind.__name__}', type(Date))
        self.assertSame((1, Date), (1, 'class Date'))

    # How it fails

    def test_wrong_adapters(self):
        class Text(str):
            pass

        for wrong, what in (
                (lambda date: date, 'itself'), (lambda date: Text(), 'Text'),
                (lambda date: object(), 'object'),
                (lambda date: decimal.Decimal(1), 'Decimal'),
                (lambda date: Colour.RED, 'Colour')):
            self.adapt(wrong, IDate)
            for around, key in buried(Date('today')):
                for client in self.clients:
                    with (self.subTest(key=around(1), what=what),
                          self.assertRaisesRegex(
                              SerializationError,
                              'ICacheKey of a Date must be plain.*' + what)):
                        client.buildKey(key)

    def test_its_place(self):
        self.adapt(lambda date: date, IDate)
        with self.assertRaisesRegex(SerializationError, r'^key\[1\]\[0\]: '):
            strict.build((1, [Date('today')]), None)

    def test_an_object_that_says_that_it_is_a_key(self):
        @implementer(ICacheKey)
        class Key:
            pass

        for client in self.clients:
            with self.assertRaisesRegex(SerializationError, 'itself'):
                client.buildKey(('a', Key()))

    def test_adapters_that_raise(self):
        def fail(date):
            raise KeyError('no uid')

        self.adapt(fail, IDate)
        for client in self.clients:
            for around, key in buried(Date('today')):
                with (self.subTest(client=client, key=around(1)),
                      self.assertRaises((KeyError, SerializationError))
                      as caught):
                    client.buildKey(key)
                self.assertIn('no uid', str(caught.exception))

    def test_adapters_that_decline(self):
        # As for all adapters, None stands for none.
        self.adapt(lambda colour: None, Colour)
        for client in self.clients:
            before = client.buildKey((1, Colour.RED))
            zope.component.getGlobalSiteManager().unregisterAdapter(
                required=(Colour,), provided=ICacheKey)
            self.assertEqual(client.buildKey((1, Colour.RED)), before)

    def test_adapters_without_end(self):
        self.adapt(lambda date: (date,), IDate)
        for client in self.clients:
            self.assertRaises(ValueError, client.buildKey, Date('today'))

    # Without an adapter all is as before

    def test_without_adapters(self):
        keys = [
            'text', b'bytes', 7, True, None, 0.5, (1, 'a'), [], {1: 2},
            datetime.date(2026, 1, 1), decimal.Decimal(1), Colour.RED, Date,
            ('a', decimal.Decimal(1)), pickle, Message('title', 'domain')]
        before = []
        for key in keys:
            for scheme in compatible, strict:
                try:
                    before.append(
                        compatible.build(key, 'shop', 4)
                        if scheme is compatible else
                        strict.build(key, 'shop'))
                except (TypeError, ValueError) as error:
                    before.append(type(error))
        self.adapt(key_of_date, IDate)
        after = []
        for key in keys:
            for scheme in compatible, strict:
                try:
                    after.append(
                        compatible.build(key, 'shop', 4)
                        if scheme is compatible else
                        strict.build(key, 'shop'))
                except (TypeError, ValueError) as error:
                    after.append(type(error))
        self.assertEqual(before, after)

    def test_plain_data_are_not_adapted(self):
        def never(obj):
            raise AssertionError(obj)

        for kind in strict.TYPES:
            self.adapt(never, kind)
        for plain in (
                'text', b'bytes', 7, True, None, 0.5, (1, 'a'), ['a'], {1: 2},
                datetime.date(2026, 1, 1), datetime.datetime.now(),
                (datetime.time(1), datetime.timedelta(1), {1, 2})):
            for client in self.clients:
                client.buildKey(plain)
