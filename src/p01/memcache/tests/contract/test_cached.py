# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The decorator `cached`."""

import functools
import itertools
import pickle
import unittest

import zope.component
from zope.component.testing import PlacelessSetup
from zope.interface.interfaces import ComponentLookupError
from zope.security.proxy import ProxyFactory

from p01.memcache.decorator import cached
from p01.memcache.event import InvalidateCacheEvent
from p01.memcache.event import invalidateCache
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.keys import strict
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.testing import getFakeBackend


def named(function):
    """Make it look like a function of a module, which is found by its name."""
    function.__qualname__ = function.__name__
    return function


def returns_value():
    return 'value'


def returns_first(first):
    return first


class TestCached(PlacelessSetup, unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.client = FakeMemcacheClient()
        zope.component.provideUtility(self.client, IMemcacheClient)
        self.calls = []

    def test_default_key(self):
        @cached()
        @named
        def function(a, b=2, *args, c=3, **kw):
            self.calls.append((a, b, args, c, kw))
            return [a, b, args, c, kw]

        self.assertEqual(function(1), [1, 2, (), 3, {}])
        for call in (
                lambda: function(1, 2), lambda: function(a=1),
                lambda: function(1, c=3), lambda: function(b=2, a=1)):
            self.assertEqual(call(), [1, 2, (), 3, {}])
        self.assertEqual(len(self.calls), 1)
        for number, call in enumerate((
                lambda: function(2), lambda: function(1, 3),
                lambda: function(1, 2, 3), lambda: function(1, c=4),
                lambda: function(1, x=1), lambda: function(1, y=1),
                lambda: function(1, x=1, y=1)), 2):
            call()
            self.assertEqual(len(self.calls), number)
        function(1, y=1, x=1)
        self.assertEqual(len(self.calls), number)

    def test_equal_arguments_are_the_same_key(self):
        # Whether they are identical does not matter.
        @cached()
        @named
        def function(a, b):
            self.calls.append((a, b))

        for scheme in 'compatible', 'strict':
            with self.subTest(scheme=scheme):
                self.client.keyScheme = scheme
                one, other = 'a b', ' '.join('ab')
                self.assertEqual(
                    self.client.buildKey(function.key(one, one)),
                    self.client.buildKey(function.key(one, other)))

    def test_keys_of_different_functions(self):
        def make(name):
            def function(a):
                self.calls.append(name)
                return name
            function.__qualname__ = name
            return cached()(function)

        self.assertEqual(make('one')(1), 'one')
        self.assertEqual(make('two')(1), 'two')

    def test_wrong_arguments_of_the_function(self):
        @cached()
        @named
        def function(a):
            raise AssertionError

        for call in (function, lambda: function(1, 2),
                     lambda: function(b=1), lambda: function.key()):
            with self.assertRaises(TypeError):
                call()

    def test_functions_that_share_a_name(self):
        # As in the idiom of functools.singledispatch.
        def _(user):
            return user

        _.__qualname__ = '_'
        with self.assertRaisesRegex(TypeError, 'it needs a key'):
            cached()(_)
        self.assertIsNotNone(cached(key=lambda user: user)(_))

    def test_a_security_proxied_call_key(self):
        client = FakeUltraMemcacheClient()
        key = strict.CallKey('0' * 64)
        self.assertEqual(
            client.buildKey(ProxyFactory(key)), client.buildKey(key))

    def test_an_explicit_key(self):
        @cached(key=lambda a, b: a)
        def function(a, b):
            self.calls.append(b)
            return b

        self.assertEqual(function('a', 1), 1)
        self.assertEqual(function('a', 2), 1)
        self.assertEqual(function(a='a', b=3), 1)
        self.assertEqual(self.client.query('a'), 1)
        self.assertEqual(function.key('a', 4), 'a')
        self.client.invalidate('a')
        self.assertEqual(function('a', 2), 2)

    def test_invalidating_a_call_by_its_key(self):
        @cached()
        @named
        def function(a, b=2):
            self.calls.append(a)

        function('a')
        self.client.invalidate(function.key(b=2, a='a'))
        function('a')
        self.assertEqual(self.calls, ['a', 'a'])
        function('a')
        self.assertEqual(self.calls, ['a', 'a'])

    def test_no_other_key_is_built_like_a_calls(self):
        # Elsewhere in the application, a visitor may choose a whole key.
        @cached()
        @named
        def function(a):
            self.calls.append(a)
            return 'secret'

        call = function.key('a')
        parts = (__name__, 'function', ('a',), [])
        texts = [
            strict.build(parts, None), strict.build(parts, 'space'),
            call.digest, f'C64:{call.digest}', f'space{call.digest}',
            f'5:spaceC64:{call.digest}', f's64:{call.digest}', repr(call)]
        for scheme, namespace in itertools.product(
                ('compatible', 'strict'), (None, 'space')):
            self.client.keyScheme = scheme
            self.client.namespace = namespace
            built = self.client.buildKey(call)
            self.assertRegex(built, r'\A[0-9a-f]{64}\Z')
            names = ['claim:', 'tag:', 'fresh:', 'generation:', '']
            for key in [
                    *texts, parts, (call,), [call],
                    *[name + built for name in names],
                    *[text.encode() for text in texts]]:
                with self.subTest(scheme=scheme, key=key):
                    self.assertNotEqual(self.client.buildKey(key), built)
                    self.client.set(key, 'poison')
            self.assertEqual(function('a'), 'secret')
            for key in [*texts, parts]:
                self.assertEqual(self.client.query(key), 'poison')
        # The key of a call is the same in both schemes.
        self.assertEqual(self.calls, ['a'] * 2)

    def test_a_calls_key_is_a_value(self):
        @cached()
        @named
        def function(a):
            self.calls.append(a)
            return a

        call = function.key('a')
        self.assertEqual(call, pickle.loads(pickle.dumps(call)))
        self.assertEqual({call: 1}, {function.key('a'): 1})
        self.assertNotEqual(call, function.key('b'))
        function('a')
        self.assertEqual(
            self.client.queryMany([call, 'a']), {call: 'a'})
        for forget in (
                self.client.invalidate,
                lambda key: self.client.invalidateMany([key]),
                lambda key: invalidateCache(InvalidateCacheEvent(key))):
            forget(function.key('a'))
            self.assertIsNone(self.client.query(call))
            function('a')
        self.assertEqual(self.calls, ['a'] * 4)
        # Both clients, with either scheme, have the same key for a call.
        self.assertEqual(
            self.client.buildKey(call),
            FakeUltraMemcacheClient(keyScheme='strict').buildKey(call))

    def test_methods(self):
        calls = self.calls

        class Shop:

            def __init__(self, name):
                self.name = name

            @cached(key=lambda self, item: ('price', self.name, item))
            def price(self, item):
                calls.append(item)
                return self.name, item

        self.assertEqual(Shop('a').price('x'), ('a', 'x'))
        self.assertEqual(Shop('a').price(item='x'), ('a', 'x'))
        self.assertEqual(Shop('b').price('x'), ('b', 'x'))
        self.assertEqual(calls, ['x', 'x'])
        self.assertEqual(
            Shop.price.key(Shop('a'), 'x'), ('price', 'a', 'x'))

    def test_arguments(self):
        seen = []
        self.client.getOrCreate = lambda *args: seen.append(args)

        @cached(5, key=lambda a: 'key', grace=6, dependencies=iter(['b']))
        def function(a):
            return a

        @cached(lifetime=7, key=lambda a: 'key', grace=8,
                dependencies=lambda a: (f'user:{a}',))
        def other(a):
            return a

        function(1)
        other(a=2)
        for args, lifetime, grace, dependencies, value in zip(
                seen, (5, 7), (6, 8), (('b',), ('user:2',)), (1, 2),
                strict=True):
            key, factory, *rest = args
            self.assertEqual(rest, [lifetime, grace, dependencies])
            self.assertEqual((key, factory()), ('key', value))

    def test_dependencies(self):
        @cached(dependencies=lambda user: [f'user:{user}'])
        @named
        def function(user):
            self.calls.append(user)
            return user

        def use():
            return [function(1), function(2), len(self.calls)]

        self.assertEqual(use(), [1, 2, 2])
        self.assertEqual(use(), [1, 2, 2])
        self.client.invalidateDependencies('user:1')
        self.assertEqual(use(), [1, 2, 3])

    def test_wrong_dependencies(self):
        for wrong in 'user', [1], lambda: 'user':
            with self.assertRaises(TypeError):
                cached(dependencies=wrong)(returns_value)()

    def test_a_name(self):
        other = FakeMemcacheClient()
        zope.component.provideUtility(other, IMemcacheClient, 'other')

        @cached(key=lambda: 'key', name='other')
        def function():
            return 'value'

        function()
        self.assertEqual(other.query('key'), 'value')
        self.assertIsNone(self.client.query('key'))

    def test_without_a_utility(self):
        # It is looked up at each call, so it may be registered later.
        for name in '', 'other':
            function = cached(name=name)(returns_value)
            zope.component.getGlobalSiteManager().unregisterUtility(
                provided=IMemcacheClient)
            with self.assertRaises(ComponentLookupError):
                function()
            zope.component.provideUtility(self.client, IMemcacheClient, name)
            self.assertEqual(function(), 'value')

    def test_wrong_arguments(self):
        # At decoration, and not when the function is called.
        for wrong in (
                {'lifetime': '60'}, {'lifetime': -1}, {'lifetime': True},
                {'lifetime': 'front'}, {'grace': -1}, {'key': 'front'},
                {'dependencies': 'user'}, {'dependencies': 7}):
            with (self.subTest(wrong=wrong),
                    self.assertRaisesRegex(
                        (TypeError, ValueError), next(iter(wrong)))):
                cached(**wrong)
        with self.assertRaises(TypeError):
            cached(60, 'front')

    def test_functions_that_are_not_found_by_name(self):
        # Two of them would have the same key.
        def make(language):
            @cached()
            def title():
                return language
            return title

        with self.assertRaisesRegex(TypeError, 'make.<locals>.title'):
            make('en')
        with self.assertRaisesRegex(TypeError, 'lambda'):
            cached()(lambda: 1)

    def test_uncacheable_functions(self):
        async def coroutine():
            pass

        def generator():
            yield

        async def both():
            yield

        for wrong in (coroutine, generator, both, 5, max, None,
                      classmethod(returns_value), functools.partial(int)):
            with (self.subTest(wrong=wrong),
                    self.assertRaisesRegex(TypeError, 'must be a function')):
                cached(key=lambda: 'key')(wrong)

    def test_arguments_that_cannot_form_a_key(self):
        function = cached()(returns_first)
        for wrong in object(), len, [float('nan')]:
            with (self.subTest(wrong=wrong),
                    self.assertRaisesRegex(
                        (TypeError, ValueError), 'returns_first')):
                function(wrong)
        self.assertEqual(getFakeBackend(self.client).cache, {})

    def test_without_parentheses(self):
        with self.assertRaisesRegex(TypeError, '@cached'):
            @cached
            def function():
                pass

    def test_it_looks_like_the_function(self):
        @cached()
        @named
        def function(a):
            """Documented."""
            return a

        self.assertEqual(
            (function.__name__, function.__doc__),
            ('function', 'Documented.'))
        self.assertEqual(function.__wrapped__(1), 1)
        self.assertEqual(getFakeBackend(self.client).cache, {})

    def test_errors(self):
        @cached()
        @named
        def function():
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            function()
