# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Security-proxied and persistent objects, as keys and as values.

The scenario is run for the fakes and the real clients, on the embedded server
and (level 2) on memcached.
"""

import os
import subprocess
import sys
import unittest
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

from persistent import Persistent
from persistent.mapping import PersistentMapping
from zope.security.checker import ProxyFactory

from p01.memcache.errors import SerializationError
from p01.memcache.testing import Pickable
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import all_but
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.objects import Credulous
from p01.memcache.tests.support.objects import Item
from p01.memcache.tests.support.objects import Jar
from p01.memcache.tests.support.objects import protect
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scenario import Scenario


SECRETS = 'P01_MEMCACHE_TEST_PROXIED_SECRETS'

PROXIED = 'is security-proxied: .* remove the proxy first'
PERSISTENT = 'is persistent: .* store its _p_oid'

# Run by another interpreter, without zope.security.
WITHOUT = """
import sys
for name in (
        'zope.security', 'zope.security.proxy', 'persistent', 'Acquisition'):
    sys.modules[name] = None
from p01.memcache.values import unstorable
from p01.memcache.testing import FakeMemcacheClient
for scheme in 'compatible', 'strict':
    client = FakeMemcacheClient(keyScheme=scheme)
    for serializer in 'pickle', 'json':
        client.serializer = serializer
        client.set(('key', 1), {'a': [1]})
        assert client.query(('key', 1)) == {'a': [1]}
    client.serializer = 'pickle'
    client.set('key', {1, object})
    assert client.query('key') == {1, object}
    try:
        client.set('key', lambda: None)
    except ValueError:
        pass
    else:
        raise AssertionError
assert 'zope.security' not in sorted(filter(sys.modules.get, sys.modules))
print('all is well')
"""


class Text(str):
    pass


class Colour(Enum):
    RED = 1


class Whole:
    """An object with another object as an attribute."""

    def __init__(self, part):
        self.part = part


class Reduced:
    """An object that is pickled as another object."""

    def __init__(self, part):
        self.part = part

    def __reduce__(self):
        return Whole, (self.part,)


@matrix(CLASSIC_FAKE, slow=all_but(CLASSIC_FAKE))
class ProxiedScenario(Scenario):

    def serializers(self):
        yield self.makeClient()
        yield self.makeClient(pickleProtocol=0)
        yield self.makeClient(pickleProtocol=2, compress=1)
        yield self.makeClient(allow=[__name__])
        os.environ[SECRETS] = os.urandom(32).hex()
        self.addCleanup(os.environ.pop, SECRETS, None)
        yield self.makeClient(
            serializer='signed-pickle', secretsVariable=SECRETS)

    # Values

    def assertRefused(self, client, value, reason, place=''):
        """No method stores the value, and nothing changes."""
        client.set('key', b'former', raw=True)
        token = client.gets('key', raw=True)[1]
        client.invalidate('new')
        for store in (
                lambda: client.set('key', value),
                lambda: client.set('key', value, dependencies=['one']),
                lambda: client.add('new', value),
                lambda: client.replace('key', value),
                lambda: client.cas('key', value, token),
                lambda: client.setMany({'new': 1, 'key': value}),
                lambda: client.getOrCreate('new', lambda: value)):
            with self.assertRaisesRegex(SerializationError, reason):
                store()
        self.assertFoundRaw(client, 'key', b'former')
        self.assertMiss(client, 'new')
        self.assertIs(client.cas('key', b'x', token, raw=True), True)

    def within(self, part):
        return [
            part, [part], (1, part), {'a': {'b': part}}, {'a': [1, [part]]},
            Whole(part), Whole([part]), Reduced(part),
            [Pickable('title', {'a': part})]]

    def test_values(self):
        values = [
            protect([1]), protect('text'), protect(5), protect(Pickable()),
            protect(None), ProxyFactory(Pickable()),
            protect(Pickable(), '__reduce__', '__reduce_ex__', '__class__',
                    '__getstate__', 'title'), protect(protect([1]))]
        for client in self.serializers():
            for value in values:
                self.assertRefused(client, value, PROXIED)
            for value in self.within(values[0]) + [
                    {protect('a'): 1}, {protect('a')},
                    frozenset({protect('a')})]:
                self.assertRefused(client, value, 'the (list|str) ' + PROXIED)

    def test_persistent_values(self):
        jar = Jar()
        added, ghost = Item(), jar.ghost()
        added._p_jar, added._p_oid = jar, b'\0' * 8
        for client in self.serializers():
            for value in Item(), PersistentMapping(), added, ghost:
                self.assertRefused(
                    client, value, f'the {type(value).__name__} {PERSISTENT}')
            for value in self.within(ghost):
                self.assertRefused(client, value, f'the Item {PERSISTENT}')
            self.assertRefused(client, protect(ghost), f'the Item {PROXIED}')
        self.assertEqual(jar.loaded, [])
        self.assertIsNone(ghost._p_changed)

    def test_json(self):
        client = self.makeClient(serializer='json')
        for value, place in [
                (protect([1]), 'value'), (protect('a'), 'value'),
                ([protect('a')], r'value\[0\]'),
                ({'a': [1, protect(None)]}, r"value\['a'\]\[1\]")]:
            self.assertRefused(client, value, f'{place}: the .* {PROXIED}')
        self.assertRefused(client, {protect('a'): 1}, 'its key .* not a str')
        self.assertRefused(
            client, {'a': Item()}, rf"value\['a'\]: the Item {PERSISTENT}")

    def test_an_applications_serializer(self):
        client = self.makeClient(serializer=Credulous())
        self.assertRefused(client, protect([1]), PROXIED)
        self.assertRefused(client, Item(), PERSISTENT)

    def test_raw(self):
        self.client.set('key', b'former', raw=True)
        for value in (protect(b'x'), protect(b'x', '__class__', '__len__'),
                      Item()):
            for store in (
                    lambda value: self.client.set('key', value, raw=True),
                    lambda value: self.client.add('k', value, raw=True),
                    lambda value: self.client.setMany(
                        {'key': value}, raw=True),
                    lambda value: self.client.append('key', value),
                    lambda value: self.client.prepend('key', value)):
                with self.assertRaisesRegex(ValueError, 'must be bytes'):
                    store(value)
        self.assertFoundRaw(self.client, 'key', b'former')

    def test_classes(self):
        for client in self.serializers():
            for value in Item, [Item], Persistent, {'a': PersistentMapping}:
                if client.allow:
                    continue
                client.set('key', value)
                self.assertFound(client, 'key', value)

    def test_values_that_were_proxied(self):
        client = self.client
        client.set('key', [1])
        self.assertFound(client, 'key', [1])
        # A proxied key finds the same value.
        self.assertEqual(client.query(protect('key')), [1])
        self.assertEqual(client.queryMany(['key']), {'key': [1]})
        self.assertIsNotNone(client.set(protect('other'), 1))
        self.assertFound(client, 'other', 1)
        self.assertEqual(client.getOrCreate(protect('key'), self.fail), [1])
        self.assertIs(client.invalidate(protect('key')), True)
        self.assertMiss(client, 'key')

    # Keys

    def assertSameKey(self, client, key, bare):
        self.assertEqual(client.buildKey(key), client.buildKey(bare))

    def test_keys(self):
        shared = ['shared']
        cases = [
            (protect(bare), bare) for bare in (
                'text', 'ü', b'bytes', 5, True, None, 1.5, ('a', 1), ['a'],
                {'a': [1]}, {1}, frozenset({1}), (shared, shared))]
        cases += [
            (protect(protect('text')), 'text'),
            (('view', protect('a')), ('view', 'a')),
            (['view', (protect(1), [protect(2)])], ['view', (1, [2])]),
            ({'a': protect('b')}, {'a': 'b'}),
            ({protect('a'): 'b'}, {'a': 'b'}),
            ({'a': {'b': {protect('c')}}}, {'a': {'b': {'c'}}}),
            (protect({'a': protect(['b'])}), {'a': ['b']}),
            (protect([protect(shared), protect(shared)]), [shared, shared]),
            ((protect(shared), shared), (shared, shared)),
            (frozenset({protect('a')}), frozenset({'a'}))]
        # And any other object whose equality reveals its whole state.
        cases += [
            (wrap(protect(bare)), wrap(bare))
            for bare in (
                date(2026, 1, 2), timedelta(1), UUID(int=7), Colour.RED,
                datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1))))
            for wrap in (lambda key: key, lambda key: ('view', [key]))]
        for scheme in 'compatible', 'strict':
            for namespace in None, 'space':
                client = self.makeClient(
                    keyScheme=scheme, namespace=namespace)
                for key, bare in cases:
                    with self.subTest(scheme=scheme, bare=bare):
                        self.assertSameKey(client, key, bare)
        self.assertEqual(shared, ['shared'])

    def test_keys_with_a_part_that_occurs_often(self):
        bare = (('a',),)
        key = (protect(bare[0]),)
        for _ in range(40):
            key, bare = (key, key), (bare, bare)
        self.assertSameKey(self.client, key, bare)

    def test_keys_of_other_types(self):
        # Without permission to see an object's state, one could guess it.
        for key in (Text('text'), Pickable('title'), Whole('part'), Item(),
                    Decimal(1)):
            hidden = [
                [protect(key)], ('view', {1: (protect(key),)}),
                protect([key]), protect({'a': (1, {2: key})}),
                [protect(protect(key))], protect([protect([key])]),
                Whole(protect(key)), [Reduced([protect(key)])],
                [1, 1, protect(key), *range(20000)]]
            if not isinstance(key, str):
                hidden += [protect(key), protect(protect(key))]
            for wrong in hidden:
                with self.assertRaisesRegex(
                        SerializationError, r'is security-proxied, and a key'):
                    self.client.buildKey(wrong)
            # Without a proxy it is a key, as always.
            self.client.buildKey([key, protect('a')])
            self.client.buildKey([protect(['a']), key])
        self.assertSameKey(self.client, protect(Text('text')), 'text')
        self.assertSameKey(self.client, [protect(Whole)], [Whole])
        strict = self.makeClient(keyScheme='strict')
        for key in Text('text'), Pickable('title'):
            for wrong in key, protect(key), [protect(key)]:
                with self.assertRaisesRegex(TypeError, type(key).__name__):
                    strict.buildKey(wrong)

    def test_persistent_objects_as_keys(self):
        jar = Jar()
        ghost = jar.ghost()
        for scheme in 'compatible', 'strict':
            client = self.makeClient(keyScheme=scheme)
            built = client.buildKey(ghost)
            self.assertSameKey(client, protect(ghost), ghost)
            self.assertSameKey(client, protect(protect(ghost)), ghost)
            self.assertSameKey(
                client, ('view', protect(ghost)), ('view', ghost))
            ghost._p_activate()
            self.assertEqual(client.buildKey(ghost), built)
            ghost._p_deactivate()
            jar.loaded.clear()
            client.set(ghost, 'value')
            self.assertEqual(client.query(protect(ghost)), 'value')
        self.assertEqual(jar.loaded, [])
        self.assertIsNone(ghost._p_changed)
        self.assertEqual(
            self.client.buildKey(ghost), self.client.buildKey(ghost._p_oid))

    def test_keys_that_contain_themselves(self):
        key = []
        key.append(protect(key))
        bare = []
        bare.append(bare)
        self.assertSameKey(self.client, key, bare)
        strict = self.makeClient(keyScheme='strict')
        for wrong in key, bare:
            with self.assertRaises(ValueError):
                strict.buildKey(wrong)

    def test_keys_that_cannot_be_built(self):
        for scheme in 'compatible', 'strict':
            client = self.makeClient(keyScheme=scheme)
            for key in lambda: None, '\udc80':
                for wrong in key, protect(key), [protect(key)]:
                    if wrong == ['\udc80'] and scheme == 'compatible':
                        continue
                    with self.assertRaises((ValueError, TypeError)):
                        client.buildKey(wrong)

    def test_dependencies(self):
        for proxied in protect('one'), protect(Text('one')):
            with self.assertRaisesRegex(TypeError, 'must be a str'):
                self.client.set('key', 1, dependencies=[proxied])


class WithoutTest(unittest.TestCase):

    level = 2

    def test_without_zope_security(self):
        keep_quiet(self)
        done = subprocess.run(
            [sys.executable, '-c', WITHOUT], capture_output=True, text=True,
            timeout=60, env={**os.environ,
                             'PYTHONPATH': os.pathsep.join(sys.path)})
        self.assertEqual(
            (done.stdout, done.stderr), ('all is well\n', ''))
