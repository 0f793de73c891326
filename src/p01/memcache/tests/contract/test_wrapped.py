# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Acquisition-wrapped objects, as keys and as values.

The ``context`` of a view in Zope is one.
"""

import hashlib
import pickle

from Acquisition import Explicit
from Acquisition import ExplicitAcquisitionWrapper
from Acquisition import Implicit
from Acquisition import ImplicitAcquisitionWrapper
from Acquisition import aq_base
from persistent import Persistent

from p01.memcache.errors import SerializationError
from p01.memcache.testing import Pickable
from p01.memcache.tests.contract.matrix import CLASSIC_FAKE
from p01.memcache.tests.contract.matrix import all_but
from p01.memcache.tests.contract.matrix import matrix
from p01.memcache.tests.support.objects import Credulous
from p01.memcache.tests.support.objects import Jar
from p01.memcache.tests.support.objects import protect
from p01.memcache.tests.support.scenario import Scenario
from p01.memcache.values.unstorable import Proxy
from p01.memcache.values.unstorable import unwrapped


WRAPPED = r'is acquisition-wrapped: .* store aq_base of it'
PERSISTENT = r'is persistent: .* store its _p_oid'

OID = b'\0' * 7 + b'\7'


class Folder(Implicit, Persistent):
    """Like a folder of Zope."""

    title = 'title'


class Box(Explicit):
    """An object that is not persistent."""

    def __init__(self, title='box'):
        self.title = title


class Seen(Implicit):
    """An object that notes each attribute that is looked up."""

    def __init__(self):
        self.names = []

    def __getattr__(self, name):
        self.names.append(name)
        raise AttributeError(name)


def makeFolder():
    """Return a folder with an oid, within another folder with an oid."""
    root, folder = Folder(), Folder()
    root._p_oid, folder._p_oid = b'\0' * 8, OID
    folder._p_jar = Jar()
    return folder.__of__(root)


@matrix(CLASSIC_FAKE, slow=all_but(CLASSIC_FAKE))
class WrappedScenario(Scenario):

    def ways(self, obj):
        """Yield an object in wrappers and proxies, in every order."""
        root = Folder()
        root._p_oid = b'\0' * 8
        for wrap in ImplicitAcquisitionWrapper, ExplicitAcquisitionWrapper:
            yield wrap(obj, root)
            yield wrap(wrap(obj, root), Folder().__of__(root))
            yield wrap(protect(obj), root)
            yield protect(wrap(obj, root))
            yield protect(wrap(protect(wrap(obj, root)), root))

    def layers(self, obj):
        """Return the types of the layers around an object."""
        kinds = []
        while (inner := unwrapped(obj)) is not obj:
            kinds.append(type(obj))
            obj = inner
        return kinds

    def clients(self):
        for scheme in 'compatible', 'strict':
            for namespace in None, 'space':
                yield self.makeClient(keyScheme=scheme, namespace=namespace)

    def test_a_views_key(self):
        context = makeFolder()
        self.assertIs(type(context), ImplicitAcquisitionWrapper)
        for client in self.clients():
            key = 'view', context
            self.assertIsNotNone(client.set(key, 'page'))
            self.assertFound(client, key, 'page')
            # Another view's context has other wrappers.
            other = 'view', aq_base(context).__of__(Folder())
            self.assertFound(client, other, 'page')
            self.assertIs(client.invalidate(other), True)
            self.assertMiss(client, key)
            self.assertEqual(
                client.getOrCreate(key, lambda: 'new'), 'new')

    def test_persistent_keys(self):
        base = aq_base(makeFolder())
        for client in self.clients():
            for way in self.ways(base):
                for key, bare in [
                        (way, base), (('view', way), ('view', base)),
                        (['view', (way, {'a': way})],
                         ['view', (base, {'a': base})]),
                        ({'a': [way]}, {'a': [base]})]:
                    self.assertEqual(
                        client.buildKey(key), client.buildKey(bare))
        self.assertEqual(base._p_jar.loaded, [])

    def test_the_older_releases_keys(self):
        context = makeFolder()
        for key in context, aq_base(context):
            self.assertEqual(
                self.client.buildKey(key), hashlib.md5(OID).hexdigest())

    def test_other_keys(self):
        for client in self.clients():
            for bare in 'text', b'bytes', 5, None, ('a', 1), {'a': [1]}, 1.5:
                for way in self.ways(bare):
                    for key, same in ((way, bare), (['a', way], ['a', bare])):
                        self.assertEqual(
                            client.buildKey(key), client.buildKey(same))

    def test_keys_that_are_not_persistent(self):
        bare = Box()
        for way in self.ways(bare):
            for key, same in ((way, bare), (('view', way), ('view', bare)),
                              ([way, way], [bare, bare]),
                              (Pickable('a', way), Pickable('a', bare))):
                if Proxy in self.layers(way):
                    # With its key one could guess the state of the object.
                    with self.assertRaisesRegex(
                            SerializationError, 'Box is security-proxied'):
                        self.client.buildKey(key)
                    continue
                digest = hashlib.md5(pickle.dumps(same, -1)).hexdigest()
                self.assertEqual(self.client.buildKey(key), digest)
        strict = self.makeClient(keyScheme='strict')
        for way in self.ways(bare):
            with self.assertRaisesRegex(
                    TypeError, r'key\[1\]: .*\.Box has no stable identity'):
                strict.buildKey(('view', way))

    def test_new_persistent_objects(self):
        # Without a _p_oid they have no lasting identity.
        strict = self.makeClient(keyScheme='strict')
        with self.assertRaisesRegex(TypeError, 'added to a database first'):
            strict.buildKey(('view', Folder().__of__(makeFolder())))
        self.client.buildKey(('view', Folder().__of__(makeFolder())))

    def test_nothing_is_looked_up_in_the_wrapper(self):
        for client in self.clients():
            seen = Seen()
            wrapped = makeFolder().__of__(seen)
            client.buildKey(('view', wrapped))
            client.buildKey(wrapped)
            self.assertEqual(seen.names, [])

    # Values

    def assertRefused(self, client, value, reason):
        client.set('key', b'former', raw=True)
        client.invalidate('new')
        for store in (
                lambda: client.set('key', value),
                lambda: client.add('new', value),
                lambda: client.replace('key', value),
                lambda: client.setMany({'new': 1, 'key': value}),
                lambda: client.getOrCreate('new', lambda: value)):
            with self.assertRaisesRegex(SerializationError, reason):
                store()
        self.assertFoundRaw(client, 'key', b'former')
        self.assertMiss(client, 'new')

    def test_values(self):
        for wrapped, reason in [
                (makeFolder(), f'the Folder {PERSISTENT}'),
                (Folder().__of__(Box()), f'the Folder {PERSISTENT}'),
                (Box().__of__(makeFolder()), f'the Box {WRAPPED}'),
                (ImplicitAcquisitionWrapper('text', Box()),
                 f'the str {WRAPPED}'),
                (protect(makeFolder()), 'the Folder is security-proxied'),
                (Folder().__of__(Box()).__of__(makeFolder()),
                 f'the Folder {PERSISTENT}')]:
            for client in (
                    self.makeClient(), self.makeClient(pickleProtocol=0)):
                for value in (wrapped, [wrapped], {'a': (1, wrapped)},
                              Pickable('title', wrapped)):
                    self.assertRefused(client, value, reason)
            client = self.makeClient(serializer='json')
            self.assertRefused(client, wrapped, reason)
            self.assertRefused(client, {'a': [wrapped]}, reason)
            client = self.makeClient(serializer=Credulous())
            self.assertRefused(client, wrapped, reason)

    def test_without_the_wrapper(self):
        self.client.set('key', aq_base(Box('a box').__of__(makeFolder())))
        self.assertEqual(self.client.query('key').title, 'a box')

    def test_raw(self):
        with self.assertRaisesRegex(ValueError, 'must be bytes'):
            self.client.set(
                'key', ImplicitAcquisitionWrapper(b'x', Box()), raw=True)
