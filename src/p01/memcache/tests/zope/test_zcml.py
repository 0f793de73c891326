# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The ZCML directive, the package's ZCML files and their permissions."""

import os
import socket
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import zope.component
import zope.component.testing
from zope import schema
from zope.component import getUtility
from zope.component import queryUtility
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.interface import implementer
from zope.interface.interfaces import IMethod
from zope.security.checker import Checker
from zope.security.checker import ProxyFactory
from zope.security.checker import getCheckerForInstancesOf
from zope.security.checker import undefineChecker
from zope.security.interfaces import ForbiddenAttribute
from zope.security.interfaces import IPermission
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized
from zope.security.proxy import Proxy

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IMemcacheFlusher
from p01.memcache.interfaces import IMemcacheReader
from p01.memcache.interfaces import IMemcacheStatistics
from p01.memcache.interfaces import IMemcacheWriter
from p01.memcache.interfaces import ISerializer
from p01.memcache.interfaces import ITransactional
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheReader
from p01.memcache.interfaces import IUltraMemcacheStatistics
from p01.memcache.testing import Pickable
from p01.memcache.tests.support.zcml import PACKAGE
from p01.memcache.tests.support.zcml import SITE
from p01.memcache.tests.support.zcml import Recorder
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import fail
from p01.memcache.tests.support.zcml import load
from p01.memcache.tests.support.zcml import logIn
from p01.memcache.tests.support.zcml import setUpZCML
from p01.memcache.tests.support.zcml import tearDownZCML
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.zcml import IMemcacheDirective


CLASSIC = 'factory="p01.memcache.client.MemcacheClient"'


# The attributes of the directive for each part of a client.
OWN_PERMISSION = {
    'read': 'readPermission',
    'write': 'writePermission',
    'flush': 'flushPermission',
    'statistics': 'statisticsPermission',
}

# The methods of each part. Its other names are attributes, which belong to
# reading.
METHODS = {
    'read': {'buildKey', 'region', 'query', 'queryMany', 'gets'},
    'write': {
        'set', 'add', 'replace', 'append', 'prepend', 'touch',
        'queryAndTouch', 'cas', 'increment', 'decrement', 'setMany',
        'invalidate', 'invalidateMany', 'invalidateDependencies',
        'immediate', 'invalidateUnchanged',
        'getOrCreate', 'getOrCreateMany', 'lookUp'},
    'flush': {'invalidateNamespace', 'invalidateAll', 'close'},
    'statistics': {'getStatistics', 'getUnreadable', 'getCounts',
                   'getHistory', 'getSlowest', 'getRegions'},
}

# The latter if zope.security is compiled.
NO_INTERACTION = NoInteraction, AttributeError

# The line of the first directive after SITE and PACKAGE.
LINE = 7

# Run by another interpreter: here zope.component.testing has switched on the
# dispatch of events, and zope.security is already imported.
THREE_LINES = """
import sys
from zope.component import getUtility
from zope.configuration import xmlconfig
from zope.event import notify

if '--no-security' in sys.argv:
    sys.modules['zope.security'] = None

xmlconfig.string(sys.argv[1])

from p01.memcache.event import InvalidateCacheEvent
from p01.memcache.interfaces import IMemcacheClient

client = getUtility(IMemcacheClient)
keys = []
client.invalidate = keys.append
notify(InvalidateCacheEvent('key'))
print(type(client).__name__, client.namespace, keys)
"""


@implementer(ISerializer)
class TextSerializer:

    def dumps(self, key, obj):
        return obj.encode(), 0

    def loads(self, key, data, flags):
        return data.decode()


serializer = TextSerializer()


class Slotted(UltraMemcacheClient):
    """A client that cannot have zope.security's attribute."""

    def __setattr__(self, name, value):
        if name == '__Security_checker__':
            raise AttributeError(name)
        super().__setattr__(name, value)


class Declared(UltraMemcacheClient):
    """A client whose class is declared by an application."""


def makeClient(lifetime, servers=('127.0.0.1:11211',)):
    return UltraMemcacheClient(servers=servers, lifetime=lifetime)


def ours(factory):
    return f'factory="{__name__}.{factory}"'


class DirectiveTests(ZCMLTestCase):

    def test_nothing_but_the_directive(self):
        load('<p01:memcache />')
        client = getUtility(IMemcacheClient)
        self.assertIs(type(client), UltraMemcacheClient)
        for name, field in schema.getFields(IUltraMemcacheClient).items():
            self.assertEqual(getattr(client, name), field.default, name)

    def test_registered_once_as_IMemcacheClient(self):
        load('<p01:memcache />')
        registered = [
            (registration.provided, registration.name, registration.component)
            for registration
            in zope.component.getGlobalSiteManager().registeredUtilities()
            if IMemcacheClient.providedBy(registration.component)]
        client = getUtility(IMemcacheClient)
        self.assertEqual(registered, [(IMemcacheClient, '', client)])

    def test_every_attribute_of_the_client(self):
        self.assertEqual(
            set(IMemcacheDirective.names(all=True)),
            {'factory', 'name', 'permission',
             *OWN_PERMISSION.values(),
             *schema.getFields(ITransactional),
             *schema.getFields(IUltraMemcacheClient)})
        load('''<p01:memcache
            name="all" servers=" a:1  [::1]:2
                                 c " debug="1" pickleProtocol="2"
            lifetime="4" namespace="shop 1" keyScheme="strict"
            generations="true" serializer="pickle"
            allow=" shop.model
                   datetime.date " compress="100" maxValueSize="1000"
            slow="0.75"
            timeout="0.5" connectTimeout="0.25" delay="6"
            retries="7" pooltime="8.5" maxAge="9" blacktime="1e1"
            refresh="12" handover="13.5" drained="c"
            maxPoolSize="11"
            distribution="modulo" failover="yes" />''')
        client = getUtility(IMemcacheClient, 'all')
        values = {
            'servers': ['a:1', '[::1]:2', 'c'],
            'debug': 1,
            'pickleProtocol': 2,
            'lifetime': 4,
            'namespace': 'shop 1',
            'keyScheme': 'strict',
            'generations': True,
            'serializer': 'pickle',
            'allow': ['shop.model', 'datetime.date'],
            'compress': 100,
            'maxValueSize': 1000,
            'slow': 0.75,
            'timeout': 0.5,
            'connectTimeout': 0.25,
            'delay': 6.0,
            'retries': 7,
            'pooltime': 8.5,
            'maxAge': 9.0,
            'refresh': 12.0,
            'handover': 13.5,
            'drained': ['c'],
            'blacktime': 10.0,
            'maxPoolSize': 11,
            'distribution': 'modulo',
            'failover': True,
            # Files and secrets are tested with the features that need them.
            **dict.fromkeys((
                'secretsFile', 'secretsVariable', 'caFile', 'certFile',
                'keyFile', 'username', 'password', 'credentialsFile')),
        }
        # Compared as text, since 6 equals 6.0 and Fraction(6).
        self.assertEqual(
            {name: repr(getattr(client, name))
             for name in schema.getFields(IUltraMemcacheClient)},
            {name: repr(value) for name, value in values.items()})

    def test_the_directives_fields_are_those_of_the_interface(self):
        for name, field in schema.getFields(IUltraMemcacheClient).items():
            attribute = IMemcacheDirective[name]
            self.assertEqual(attribute.title, field.title)
            self.assertEqual(attribute.description, field.description)
            self.assertFalse(attribute.required, name)
            # The interface's own field is unchanged.
            self.assertIs(field.interface.get(name), field)

    def test_only_given_attributes_reach_the_factory(self):
        load(f'<p01:memcache {ours("Recorder")} />')
        load(f'<p01:memcache {ours("Recorder")} name="some" delay="1"'
             ' servers="a b" permission="zope.View" />')
        self.assertEqual(
            Recorder.made, [{}, {'delay': 1, 'servers': ['a', 'b']}])
        self.assertIs(type(getUtility(IMemcacheClient)), Recorder)

    def test_transactional_without_its_package(self):
        with (mock.patch.dict(sys.modules, {
                'p01.memcache.transactional': None}),
              self.assertRaisesRegex(
                  ConfigurationError, 'the extra "transaction" installs')):
            load('<p01:memcache transactional="true" />')
        load('<p01:memcache transactional="false" />')

    def test_options_of_transactions_without_them(self):
        for option in 'database="main"', 'holdTime="5"', 'holdOrFail="true"':
            with (self.subTest(option), self.assertRaisesRegex(
                    ConfigurationError,
                    option.partition('=')[0] + ': no effect unless')):
                load(f'<p01:memcache {option} />')

    def test_classic_client(self):
        load(f'<p01:memcache {CLASSIC} namespace="shop" lifetime="5" />')
        client = getUtility(IMemcacheClient)
        self.assertIs(type(client), MemcacheClient)
        self.assertEqual((client.namespace, client.lifetime), ('shop', 5))

    def test_callable_as_factory(self):
        load(f'<p01:memcache {ours("makeClient")} lifetime="5"'
             ' permission="zope.View" />')
        self.assertEqual(getUtility(IMemcacheClient).lifetime, 5)

    def test_serializer_of_the_application(self):
        utility = f'''<utility
            component="{__name__}.serializer" name="text"
            provides="p01.memcache.interfaces.ISerializer" />'''
        client = '<p01:memcache serializer="text" />'
        load(utility + client)
        self.assertEqual(getUtility(IMemcacheClient).serializer, 'text')
        tearDownZCML()
        # It is looked up when the client is made.
        with self.assertRaisesRegex(ConfigurationError, "serializer 'text'"):
            load(client + utility)

    def test_no_connection_is_made(self):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            load(f'<p01:memcache servers="127.0.0.1:{port}" />'
                 f'<p01:memcache servers="127.0.0.1:{port}" name="classic"'
                 f' {CLASSIC} />')
            with self.assertRaises(BlockingIOError):
                listener.accept()

    def test_names(self):
        load('<p01:memcache lifetime="1" />'
             '<p01:memcache lifetime="2" name="pages" />'
             f'<p01:memcache lifetime="3" name="images" {CLASSIC} />')
        self.assertEqual(
            {name: client.lifetime for name, client
             in zope.component.getUtilitiesFor(IMemcacheClient)},
            {'': 1, 'pages': 2, 'images': 3})

    def test_same_name_twice(self):
        for name in '', 'name="pages"':
            with self.assertRaises(ConfigurationConflictError) as caught:
                load(f'<p01:memcache {name} />\n<p01:memcache {name} />')
            for line in LINE, LINE + 1:
                self.assertIn(
                    f'File "site.zcml", line {line}.0', str(caught.exception))
            self.assertIsNone(queryUtility(IMemcacheClient))

    def test_overridden_client_is_not_made(self):
        with tempfile.TemporaryDirectory() as folder:
            product = os.path.join(folder, 'product.zcml')
            with open(product, 'w') as f:
                f.write(SITE % f'<p01:memcache {ours("Recorder")} />')
            load(f'<include file="{product}" />'
                 f'<p01:memcache {ours("Recorder")} lifetime="5" />')
        self.assertEqual(Recorder.made, [{'lifetime': 5}])


class ErrorTests(ZCMLTestCase):

    def assertRefused(self, attributes, *words):
        with self.assertRaises(ConfigurationError) as caught:
            load(f'<p01:memcache {attributes} />')
        text = str(caught.exception)
        for word in (f'File "site.zcml", line {LINE}.0', *words):
            self.assertIn(word, text)
        self.assertIsNone(queryUtility(IMemcacheClient))
        return text

    def test_values(self):
        for name, value, *words in (
                ('servers', '', 'servers []', 'short'),
                ('servers', 'a:70000', "'a:70000'", 'between 1 and 65535'),
                ('servers', 'b a:0', "'a:0'", 'between 1 and 65535'),
                ('servers', 'a:x', "'a:x'", 'must be host, host:port'),
                ('servers', 'a b a:11211', "'a:11211'", 'named twice'),
                ('debug', 'yes', "debug 'yes'", 'a whole number'),
                ('debug', '-1', 'debug -1', 'at least 0'),
                ('pickleProtocol', '99', 'pickleProtocol 99', 'at most'),
                ('pickleProtocol', '-2', 'pickleProtocol -2', 'at least -1'),
                ('lifetime', 'x', "lifetime 'x'", 'a whole number'),
                ('lifetime', '', "lifetime ''", 'a whole number'),
                ('lifetime', '1.5', "lifetime '1.5'", 'a whole number'),
                ('lifetime', '-1', 'lifetime -1', 'at least 0'),
                ('namespace', 'a&#10;b', r"namespace 'a\nb'", 'Constraint'),
                ('timeout', 'nan', 'timeout nan', 'at least 0.001'),
                ('timeout', 'inf', 'timeout inf', 'at most 86400'),
                ('timeout', '9' * 400, 'timeout inf', 'at most 86400'),
                ('timeout', '0', 'timeout 0', 'at least 0.001'),
                ('timeout', '1/2', "timeout '1/2'", 'must be a number'),
                ('timeout', '1/0', "timeout '1/0'", 'must be a number'),
                ('delay', '-0.1', 'delay -0.1', 'at least 0'),
                ('retries', '0', 'retries 0', 'at least 1'),
                ('pooltime', '86401', 'pooltime 86401', 'at most 86400'),
                ('maxAge', '-1', 'maxAge -1', 'at least 0'),
                ('blacktime', '1,5', "blacktime '1,5'", 'must be a number'),
                ('maxPoolSize', '-1', 'maxPoolSize -1', 'at least 1')):
            with self.subTest(name=name, value=value[:10]):
                self.assertRefused(
                    f'{name}="{value}"', f"Invalid value for '{name}'",
                    *words)

    def test_unknown_attribute(self):
        self.assertRefused('maxPoolSzie="5"', 'maxPoolSzie')

    def test_attribute_that_the_factory_does_not_take(self):
        self.assertRefused(
            f'{CLASSIC} lifetime="5" maxPoolSize="5"',
            'p01.memcache.client.MemcacheClient', "'maxPoolSize'")

    def test_attribute_that_the_factory_needs(self):
        self.assertRefused(ours('makeClient'), 'makeClient', "'lifetime'")

    def test_values_are_checked_for_every_factory(self):
        self.assertRefused(
            f'{ours("Recorder")} lifetime="-1"', 'lifetime -1', 'at least 0')
        self.assertEqual(Recorder.made, [])

    def test_factories(self):
        for factory in '*', 'p01.memcache.client', 'p01.memcache.nope':
            with self.subTest(factory=factory):
                self.assertRefused(f'factory="{factory}"', 'factory')

    def test_factory_that_fails(self):
        self.assertRefused(
            f'factory="{fail.__module__}.fail"', 'ValueError: cannot be made')

    def test_permissions(self):
        for name in 'permission', *OWN_PERMISSION.values():
            with self.subTest(name=name):
                self.assertRefused(f'{name}="nope"', f"'{name}'", 'nope')
                # Whether the permission exists is only known in the end.
                with self.assertRaises(ConfigurationError) as caught:
                    load(f'<p01:memcache {name}="zope.Nope" />')
                text = str(caught.exception)
                self.assertIn(f'line {LINE}.0', text)
                self.assertIn("'Undefined permission ID', 'zope.Nope'", text)
                tearDownZCML()


class SecurityTests(ZCMLTestCase):

    def client(self, attributes=''):
        load('<include package="zope.security" />'
             f'<p01:memcache {attributes} />')
        client = getUtility(IMemcacheClient)
        client.query = lambda key: key.upper()
        return ProxyFactory(client)

    def test_trusted_code_needs_nothing(self):
        load('<p01:memcache permission="zope.View" />')
        client = getUtility(IMemcacheClient)
        self.assertEqual(len(client.buildKey('key')), 32)
        client.lifetime = 5
        logIn()
        self.assertEqual(client.lifetime, 5)

    def test_declarations(self):
        for attributes in '', CLASSIC:
            with self.subTest(attributes=attributes):
                client = self.client(attributes)
                logIn('zope.ManageServices')
                self.assertRaises(Unauthorized, lambda c=client: c.query)
                self.assertRaises(Unauthorized, lambda c=client: c.lifetime)
                logIn('zope.View')
                self.assertEqual(client.query('key'), 'KEY')
                self.assertEqual(client.lifetime, 3600)
                with self.assertRaises(Unauthorized):
                    client.lifetime = 5
                logIn('zope.ManageServices')
                client.lifetime = 5
                logIn('zope.View', 'zope.ManageServices')
                self.assertEqual(client.lifetime, 5)
                self.assertRaises(
                    ForbiddenAttribute, lambda c=client: c._state)
                with self.assertRaises(ForbiddenAttribute):
                    client.query = None
                tearDownZCML()

    def test_declarations_cover_the_interfaces(self):
        load('')
        for factory, interface in (
                (MemcacheClient, IMemcacheClient),
                (UltraMemcacheClient, IUltraMemcacheClient)):
            checker = getCheckerForInstancesOf(factory)
            self.assertEqual(
                checker.get_permissions,
                dict.fromkeys(interface.names(all=True), 'zope.View'))
            self.assertEqual(
                checker.set_permissions,
                dict.fromkeys(
                    schema.getFieldNames(interface), 'zope.ManageServices'))

    def test_permission_of_the_directive(self):
        for attributes in '', CLASSIC, f'{ours("makeClient")} lifetime="5"':
            with self.subTest(attributes=attributes):
                client = self.client(
                    attributes + ' permission="zope.Security"')
                logIn('zope.View', 'zope.ManageServices')
                self.assertRaises(Unauthorized, lambda c=client: c.query)
                logIn('zope.Security')
                self.assertEqual(client.query('key'), 'KEY')
                self.assertRaises(
                    ForbiddenAttribute, lambda c=client: c._state)
                # As for any utility that is protected by a permission.
                with self.assertRaises(ForbiddenAttribute):
                    client.lifetime = 5
                tearDownZCML()

    def test_permission_covers_the_pooled_clients_own_names(self):
        client = self.client('permission="zope.View"')
        logIn()
        self.assertRaises(Unauthorized, lambda: client.getPools)
        logIn('zope.View')
        self.assertEqual(len(client.getPools()), 1)
        self.assertEqual(client.timeout, 3)

    def test_public(self):
        client = self.client('permission="zope.Public"')
        self.assertEqual(client.query('key'), 'KEY')

    def test_thread_without_interaction(self):
        for attributes in '', 'permission="zope.View"':
            client = self.client(attributes)
            with self.assertRaises(NO_INTERACTION) as caught:
                client.query('key')
            self.assertNotIsInstance(caught.exception, ForbiddenAttribute)


class PartTests(unittest.TestCase):
    """The parts that the clients' interfaces consist of."""

    def check(self, interface, parts, methods):
        # A new method that is in no part, or is not listed above, fails here.
        everything = [
            name for part in parts for name in part.names(all=True)]
        self.assertEqual(sorted(everything), sorted(interface.names(all=True)))
        for part, of_part in zip(parts, methods, strict=True):
            self.assertTrue(interface.extends(part))
            self.assertEqual(
                {name for name, description
                 in part.namesAndDescriptions(all=True)
                 if IMethod.providedBy(description)}, of_part)
        for part in parts[1:]:
            self.assertTrue(all(
                IMethod.providedBy(part[name])
                for name in part.names(all=True)))

    def test_of_all_clients(self):
        self.check(
            IMemcacheClient,
            (IMemcacheReader, IMemcacheWriter, IMemcacheFlusher,
             IMemcacheStatistics), METHODS.values())

    def test_of_the_pooled_client(self):
        self.check(
            IUltraMemcacheClient,
            (IUltraMemcacheReader, IMemcacheWriter, IMemcacheFlusher,
             IUltraMemcacheStatistics),
            [*list(METHODS.values())[:-1],
             METHODS['statistics'] | {'getPools', 'getServers'}])


class OwnPermissionTests(ZCMLTestCase):
    """Reading, writing, flushing and statistics can be granted separately."""

    factory = MemcacheClient
    interface = IMemcacheClient
    statistics = METHODS['statistics']

    def setUp(self):
        super().setUp()
        self.parts = {**METHODS, 'statistics': self.statistics}
        self.parts['read'] = set(self.interface.names(all=True)).difference(
            *(self.parts[part] for part in ('write', 'flush', 'statistics')))

    def client(self, attributes=''):
        """Register a client with these attributes, and return it."""
        tearDownZCML()
        setUpZCML(self)
        permissions = ''.join(
            f'<permission id="shop.{id}" title="{id}" />'
            for id in ('read', 'write', 'flush', 'statistics', 'use'))
        factory = f'{self.factory.__module__}.{self.factory.__name__}'
        load(f'{permissions}'
             f'<p01:memcache factory="{factory}" {attributes} />')
        return getUtility(IMemcacheClient)

    def names(self, client):
        """Return all names and an unknown one, but not those of any object."""
        nothing = Checker({})
        names = {'nope', *dir(client), *IUltraMemcacheClient.names(all=True)}
        for name in sorted(names):
            try:
                nothing.check_getattr(client, name)
            except ForbiddenAttribute:
                yield name

    def ask(self, client, change=False):
        """Return the names that are allowed, and those with a permission."""
        proxied = ProxyFactory(client)
        allowed, unauthorized = set(), set()
        for name in self.names(client):
            try:
                if change:
                    setattr(proxied, name, getattr(client, name, None))
                else:
                    getattr(proxied, name)
            except Unauthorized:
                unauthorized.add(name)
            except ForbiddenAttribute:
                pass
            else:
                allowed.add(name)
        return allowed, unauthorized

    def check(self, attributes, required):
        """Each name requires the permission in `required`, or is closed."""
        client = self.client(attributes)
        for id in {*required.values(), 'zope.ManageSite'}:
            logIn(id)
            allowed = {name for name in required if required[name] == id}
            self.assertEqual(
                self.ask(client), (allowed, set(required) - allowed), id)
        logIn('zope.View', 'zope.ManageServices', *required.values())
        self.assertEqual(self.ask(client, change=True), (set(), set()))

    def require(self, *parts, permission=None):
        """Return the expected permission of each name."""
        required = {} if permission is None else dict.fromkeys(
            self.interface.names(all=True), permission)
        for part in parts:
            required.update(dict.fromkeys(self.parts[part], f'shop.{part}'))
        return required

    def test_names(self):
        client = self.client()
        names = set(self.names(client))
        self.assertLess({
            '__dict__', '__init__', '__reduce_ex__', '__setattr__',
            '__getattribute__', '_timeout', '_state', 'after_fork', 'nope',
            'password', 'getPools', *self.interface.names(all=True)}, names)

    def test_one_part(self):
        for part, name in OWN_PERMISSION.items():
            with self.subTest(part=part):
                self.check(f'{name}="shop.{part}"', self.require(part))

    def test_all_parts(self):
        attributes = ' '.join(
            f'{name}="shop.{part}"' for part, name in OWN_PERMISSION.items())
        required = self.require(*OWN_PERMISSION)
        self.check(attributes, required)
        self.check(attributes + ' permission="shop.use"', required)

    def test_permission_alone(self):
        self.check(
            'permission="shop.use"', self.require(permission='shop.use'))

    def test_permission_is_that_of_the_other_parts(self):
        for part, name in OWN_PERMISSION.items():
            with self.subTest(part=part):
                self.check(f'permission="shop.use" {name}="shop.{part}"',
                           self.require(part, permission='shop.use'))

    def test_the_same_permission_for_several(self):
        required = self.require('read', 'flush')
        self.check('readPermission="shop.use" flushPermission="shop.use"',
                   dict.fromkeys(required, 'shop.use'))

    def test_public(self):
        client = self.client(
            'readPermission="zope.Public" flushPermission="shop.flush"')
        # A public name does not even need an interaction.
        self.assertEqual(ProxyFactory(client).lifetime, 3600)
        logIn()
        self.assertEqual(
            self.ask(client), (self.parts['read'], self.parts['flush']))

    def test_public_but_for_one_part(self):
        client = self.client(
            'permission="zope.Public" flushPermission="shop.flush"')
        logIn()
        self.assertEqual(
            self.ask(client),
            (set(self.interface.names(all=True)) - self.parts['flush'],
             self.parts['flush']))

    def test_declarations(self):
        client = self.client()
        names = set(self.interface.names(all=True))
        fields = set(schema.getFieldNames(self.interface))
        for id, reads, changes in (
                ('zope.View', names, set()),
                ('zope.ManageServices', set(), fields),
                ('zope.ManageSite', set(), set())):
            with self.subTest(id=id):
                logIn(id)
                self.assertEqual(self.ask(client), (reads, names - reads))
                self.assertEqual(
                    self.ask(client, change=True), (changes, fields - changes))

    def test_trusted_code_needs_nothing(self):
        client = self.client('readPermission="shop.read"')
        logIn()
        self.assertIs(type(client), self.factory)
        client.lifetime = 5
        self.assertEqual(client.lifetime, 5)
        client.close()


class PooledOwnPermissionTests(OwnPermissionTests):

    factory = UltraMemcacheClient
    interface = IUltraMemcacheClient
    statistics = METHODS['statistics'] | {'getPools', 'getServers'}

    def test_a_factory_that_declares_less(self):
        # It makes the pooled client, but does not declare its interface.
        load(f'<p01:memcache {ours("makeClient")} lifetime="5"'
             ' readPermission="zope.View" statisticsPermission="zope.View" />')
        client = getUtility(IMemcacheClient)
        logIn('zope.View')
        self.assertEqual(self.ask(client), (
            set(IMemcacheReader.names(all=True)) | METHODS['statistics'],
            set()))

    def test_a_client_that_takes_no_checker(self):
        load(f'<p01:memcache {ours("Slotted")} readPermission="zope.View"'
             ' />')
        client = getUtility(IMemcacheClient)
        self.assertIs(type(client), Proxy)
        logIn()
        self.assertRaises(Unauthorized, lambda: client.query)
        logIn('zope.View')
        self.assertEqual(len(client.buildKey('key')), 32)
        self.assertRaises(ForbiddenAttribute, lambda: client.set)

    def test_the_parts_in_plain_zcml(self):
        self.addCleanup(undefineChecker, Declared)
        load(f'''
            <include package="zope.security" />
            <class class="{__name__}.Declared">
              <require permission="zope.View"
                  interface="p01.memcache.interfaces.IUltraMemcacheReader" />
              <require permission="zope.ManageSite"
                  interface="p01.memcache.interfaces.IMemcacheFlusher" />
            </class>
            <p01:memcache {ours("Declared")} />''')
        client = getUtility(IMemcacheClient)
        for id, mine, others in (
                ('zope.View', 'read', 'flush'),
                ('zope.ManageSite', 'flush', 'read')):
            logIn(id)
            self.assertEqual(
                self.ask(client), (self.parts[mine], self.parts[others]))


class ReturnedValueTests(ZCMLTestCase):
    """What an allowed method returns opens no way around.

    zope.security proxies it in turn. Containers can be read but not changed,
    and their items are proxied when they are taken out. An object without a
    declaration of its own allows nothing. Only immutable objects, such as
    text and numbers, are not proxied.
    """

    def setUp(self):
        super().setUp()
        server = EmbeddedServer()
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        load(f'<p01:memcache servers="{server.address}"'
             ' permission="zope.View" />'
             f'<p01:memcache servers="{server.address}"'
             f' permission="zope.View" name="classic" {CLASSIC} />')
        self.clients = [
            getUtility(IMemcacheClient, name) for name in ('', 'classic')]
        for client in self.clients:
            self.addCleanup(client.close)
        logIn('zope.View')

    def assertClosed(self, value, *names):
        self.assertIs(type(value), Proxy)
        for name in names:
            with self.assertRaises(ForbiddenAttribute, msg=name):
                getattr(value, name)

    def test_methods(self):
        for client in self.clients:
            for name in IMemcacheClient.names(all=True):
                if IMethod.providedBy(IMemcacheClient[name]):
                    self.assertClosed(
                        getattr(ProxyFactory(client), name), '__self__',
                        '__func__', '__globals__', '__code__')

    def test_attributes(self):
        for client in self.clients:
            self.assertClosed(
                ProxyFactory(client).servers, 'append', 'clear',
                '__setitem__')

    def test_text_and_numbers(self):
        for client in self.clients:
            for value in 'text', b'bytes', 1, 1.5, True, None:
                client.set('key', value)
                found = ProxyFactory(client).query('key', default='missing')
                self.assertIs(type(found), type(value))
                self.assertEqual(found, value)

    def test_containers(self):
        for client in self.clients:
            client.set('key', {'list': [Pickable('title')]})
            proxied = ProxyFactory(client)
            found, token = proxied.gets('key')
            self.assertEqual(token, client.gets('key')[1])
            for value in (
                    found, proxied.query('key'),
                    proxied.queryAndTouch('key'),
                    proxied.getOrCreate('key', dict),
                    proxied.queryMany(['key'])['key']):
                self.assertClosed(value, 'update', '__setitem__', 'pop')
                self.assertClosed(value['list'], 'append', '__setitem__')
                self.assertClosed(value['list'][0], 'title', '__dict__')
            self.assertClosed(proxied.gets('key'), '__reduce__')

    def test_what_a_factory_returned(self):
        for client in self.clients:
            made = []
            value = ProxyFactory(client).getOrCreate(
                'made', lambda made=made: made)
            self.assertClosed(value, 'append')
            client.invalidate('made')

    def test_statistics(self):
        for client in self.clients:
            found = ProxyFactory(client).getStatistics()
            self.assertClosed(found, 'append', '__setitem__')
            self.assertClosed(found[0][1], 'update', '__setitem__')
        found = ProxyFactory(self.clients[0]).getPools()
        self.assertClosed(found, 'append', '__setitem__')
        self.assertClosed(found[0][1], 'update', '__setitem__')


class PermissionDefinitionTests(ZCMLTestCase):
    """The package loads, wherever its permissions are defined, and when."""

    ids = 'zope.View', 'zope.ManageServices'

    def titles(self):
        return [getUtility(IPermission, id).title for id in self.ids]

    def test_no_other_package(self):
        load('')
        self.assertEqual(self.titles(), ['View', 'Manage Services'])

    def test_zope_security(self):
        security = '<include package="zope.security" />'
        for before, after in (security, ''), ('', security):
            load(after, before + PACKAGE)
            self.assertEqual(
                self.titles(),
                ['view-permission', 'manage-services-permission'])
            tearDownZCML()

    def test_zope_security_earlier(self):
        load('', '<include package="zope.security" />')
        titles = self.titles()
        load('')
        self.assertEqual(self.titles(), titles)

    def test_application(self):
        # In a separate file, so that neither definition overrides the other.
        own = '<include package="zope.security" file="meta.zcml" />'
        for id in self.ids:
            own += f'<permission id="{id}" title="Own" />'
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'own.zcml')
            with open(path, 'w') as f:
                f.write(SITE % own)
            include = f'<include file="{path}" />'
            for before, after in (include, ''), ('', include):
                load(after, before + PACKAGE)
                self.assertEqual(self.titles(), ['Own', 'Own'])
                tearDownZCML()


class FileTests(ZCMLTestCase):

    def test_each_file_alone(self):
        for name, defined in (
                ('meta.zcml', []),
                ('subscriber.zcml', []),
                ('permissions.zcml', []),
                ('memcache.zcml', [MemcacheClient]),
                ('ultramemcache.zcml', [UltraMemcacheClient]),
                ('configure.zcml', [MemcacheClient, UltraMemcacheClient])):
            with self.subTest(name=name):
                load('', f'<include package="p01.memcache" file="{name}" />')
                self.assertEqual(
                    [factory for factory
                     in (MemcacheClient, UltraMemcacheClient)
                     if getCheckerForInstancesOf(factory) is not None],
                    defined)
                tearDownZCML()

    def run_three_lines(self, *arguments, permission=''):
        zcml = SITE % (
            PACKAGE + f'<p01:memcache namespace="shop" {permission} />')
        return subprocess.run(
            [sys.executable, '-c', THREE_LINES, zcml, *arguments],
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            capture_output=True, text=True, timeout=60)

    def test_three_lines(self):
        done = self.run_three_lines()
        self.assertEqual(
            (done.stdout, done.stderr),
            ("UltraMemcacheClient shop ['key']\n", ''))

    def test_three_lines_without_zope_security(self):
        done = self.run_three_lines('--no-security')
        self.assertEqual(
            (done.stdout, done.stderr),
            ("UltraMemcacheClient shop ['key']\n", ''))

    def test_permission_without_zope_security(self):
        done = self.run_three_lines(
            '--no-security', permission='permission="zope.View"')
        self.assertEqual(done.returncode, 1)
        self.assertIn('the extra "security" installs', done.stderr)
        self.assertIn(f'line {LINE}.0', done.stderr)

    def test_permission_of_a_part_without_zope_security(self):
        for name in OWN_PERMISSION.values():
            with (mock.patch.dict(
                    sys.modules, {'zope.security.checker': None}),
                  self.assertRaisesRegex(
                    ConfigurationError, 'the extra "security" installs')):
                load(f'<p01:memcache {name}="zope.View" />')
            tearDownZCML()
