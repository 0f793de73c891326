# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""memcache-client: where a key is, what is there, and what removes it."""

import json
import pathlib
import pickle
import resource
import secrets
import tempfile
import time
import unittest
from fractions import Fraction

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import MemcachedLayer
from p01.memcache.tests.support.servers import ask
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.servers import plant
from p01.memcache.tests.support.servers import refusing
from p01.memcache.tests.support.terminal import Terminal
from p01.memcache.tests.support.terminal import call
from p01.memcache.tests.support.terminal import run
from p01.memcache.uclient import UltraMemcacheClient


class Case(unittest.TestCase):

    def setUp(self):
        self.address = self.find_server()
        self.client = self.make()

    def find_server(self):
        return self.enterContext(EmbeddedServer()).address

    def make(self, **settings):
        client = UltraMemcacheClient([self.address], **settings)
        self.addCleanup(client.close)
        return client

    def run_command(self, *words):
        status, output, errors = call(*words, '--servers', self.address)
        for text in output, errors:
            self.assertTrue(text.replace('\n', '').isprintable(), text)
        return status, output, errors

    def which(self, *words):
        """Return the status of `which`, and its rows as a dict."""
        status, output, errors = self.run_command('which', *words)
        self.assertEqual(errors, '')
        return status, {line[:12].rstrip(): line[12:]
                        for line in output.splitlines()}

    def get(self, *words):
        status, output, errors = self.run_command('get', *words)
        self.assertEqual(errors, '')
        return status, output


class WhichTest(Case):

    def test_value(self):
        built = self.client.set('key', {'a': 1})
        status, rows = self.which('key')
        self.assertEqual(status, 0)
        self.assertEqual(rows['built key'], built)
        self.assertEqual(rows['on the wire'], built)
        self.assertEqual(rows['server'], self.address)
        self.assertEqual(rows['value'], 'a pickle')
        self.assertEqual(rows['flags'], '0')
        # The embedded server does not know `me`.
        self.assertEqual(rows['expires'], 'the server does not say it')

    def test_none(self):
        status, rows = self.which('key')
        self.assertEqual((status, rows['value']), (1, 'none'))

    def test_keys_of_settings(self):
        for settings, options in (
                ({'namespace': 'shop'}, ('--namespace', 'shop')),
                ({'keyScheme': 'strict', 'namespace': 'shop'},
                 ('--key-scheme', 'strict', '--namespace', 'shop')),
                ({'generations': True}, ('--generations',))):
            with self.subTest(settings):
                client = self.make(**settings)
                client.set('key', 'value')
                self.assertEqual(self.which('key', *options)[0], 0)
                region = client.region('pages')
                region.set('other', 'value')
                status, rows = self.which(
                    'other', '--region', 'pages', *options)
                self.assertEqual(status, 0)
                self.assertEqual(rows['built key'], region.buildKey('other'))

    def test_built_key_and_wire(self):
        client = self.make(generations=True)
        built = client.set('key', 'value')
        _, rows = self.which(built, '--built', '--generations')
        self.assertEqual(rows['value'], 'a pickle')
        wire = rows['on the wire']
        self.assertNotEqual(wire, built)
        self.assertEqual(self.which(wire, '--wire')[0], 0)
        self.assertEqual(self.which(built, '--wire')[0], 1)

    def test_no_generation(self):
        status, rows = self.which('key', '--generations')
        self.assertEqual(status, 1)
        self.assertIn('no generation', rows['value'])
        # Looking has not made one.
        [(_, statistics)] = self.client.getStatistics()
        self.assertEqual(statistics['curr_items'], '0')

    def test_claim(self):
        with self.client.lookUp('key'):
            status, rows = self.which('key')
        self.assertEqual(status, 1)
        self.assertIn('none, but a claim', rows['value'])

    def test_layers(self):
        client = self.make(compress=10)
        client.set('key', 'x' * 1000, dependencies=['d'])
        status, rows = self.which('key')
        self.assertEqual((status, rows['value']), (0, 'a pickle'))
        self.assertIn('stamped with dependencies', rows['flags'])
        self.assertIn('compressed by ', rows['flags'])
        self.assertIn('below its layers', rows['size'])
        client.invalidateDependencies('d')
        status, rows = self.which('key')
        self.assertEqual(status, 1)
        self.assertIn('a miss: obsolete: 1 of its 1', rows['value'])
        self.assertEqual(self.run_command('get', 'key')[:2], (1, ''))

    def test_other_clients(self):
        plant(self.address, 'key', b'text', 16)
        _, rows = self.which('key', '--wire')
        self.assertIn('of another client', rows['value'])
        self.assertIn('flags 16', rows['value'])

    def test_server_down(self):
        down = self.enterContext(refusing())
        for command in 'which', 'get', 'delete':
            status, _, errors = call(command, 'key', '--servers', down)
            self.assertEqual(status, 2)
            self.assertIn(down, errors)
            self.assertEqual(errors.count('\n'), 1)

    def test_hostile_keys(self):
        for key in ('\x1b[31m', 'a\nb', '\udcff', 'ü' * 300, '--x', ''):
            for kind in (), ('--wire',), ('--built',):
                with self.subTest(repr(key), kind=kind):
                    status, _, errors = self.run_command(
                        'which', *kind, '--', key)[:3]
                    self.assertIn(status, (1, 2))
                    self.assertLessEqual(errors.count('\n'), 1)


class LifetimeTest(Case):

    layer = MemcachedLayer
    level = 2

    def find_server(self):
        return self.layer.address

    def test_lifetime(self):
        self.client.set('key', 'value', lifetime=100)
        _, rows = self.which('key')
        self.assertRegex(rows['expires'], 'in (100|9[5-9]) s')
        self.assertRegex(rows['last used'], '[0-5] s ago')
        self.client.set('key', 'value', lifetime=0)
        self.assertEqual(self.which('key')[1]['expires'], 'never')

    def test_a_lease_is_not_taken(self):
        wire = self.client.set('key', 'value').encode()
        self.assertEqual(ask(
            self.address, b'md %b I T30\r\n' % wire, b'\r\n'), b'HD\r\n')
        self.which('key')
        self.get('key')
        # The next caller still wins the right to compute it.
        self.assertIn(b' W', ask(
            self.address, b'mg %b s\r\n' % wire, b'\r\n'))


class GetTest(Case):

    def test_plain_data(self):
        for value, text in (
                ('text', "'text'\n"), (None, 'None\n'), (1, '1\n'),
                ({'a': [1, 2.5, b'b', ('ü', True)]},
                 "{'a': [1, 2.5, b'b', ('ü', True)]}\n"),
                ('\x1b[31m', "'\\x1b[31m'\n"),
                ({'x' * 30: ['y' * 60] * 3}, None)):
            with self.subTest(value):
                self.client.set('key', value)
                status, output = self.get('key')
                self.assertEqual(status, 0)
                if text is not None:
                    self.assertEqual(output, text)
                self.assertEqual(eval(output), value)

    def test_json(self):
        value = {'a': ['ü', '\x1b', '\x9b', 1]}
        self.make(serializer='json').set('key', value)
        status, output = self.get('key')
        self.assertEqual(status, 0)
        self.assertIn('"ü"', output)
        self.assertIn('\\x9b', output)

    def test_raw(self):
        for value, text in ((b'some text', 'some text\n'),
                            (b'two\nlines', 'two\nlines\n'), (b'', '\n'),
                            (b'\x1b]0;x\x07', '\\x1b]0;x\\x07\n'),
                            (b'\xff\xfe', "b'\\xff\\xfe'\n")):
            with self.subTest(value):
                self.client.set('key', value, raw=True)
                self.assertEqual(self.get('key'), (0, text))

    def test_none(self):
        self.assertEqual(self.get('key'), (1, ''))

    def test_nothing_is_executed(self):
        mark = pathlib.Path(self.enterContext(
            tempfile.TemporaryDirectory())) / 'mark'
        evil = (b'\x80\x04cposix\nsystem\n(X' + len(
            f'touch {mark}').to_bytes(4, 'little') + f'touch {mark}'.encode()
            + b'tR.')
        plant(self.address, 'key', evil)
        status, output = self.get('key', '--wire')
        self.assertEqual(status, 0)
        self.assertIn('posix.system', output)
        self.assertFalse(mark.exists())
        pickle.loads(evil)  # it would have been
        self.assertTrue(mark.exists())

    def test_objects_are_described(self):
        self.client.set('key', [Fraction(1, 3)])
        status, output = self.get('key')
        self.assertEqual(status, 0)
        self.assertIn('It refers to fractions.Fraction', output)

    def test_bombs(self):
        bomb = ['x']
        for _ in range(40):
            bomb = [bomb, bomb]
        deep = b'\x80\x04' + b'(' * 100000 + b'l' * 100000 + b'.'
        huge = b'\x80\x04\x8b\xff\xff\xff\x7f.'
        for data in (pickle.dumps(bomb), deep, huge, b'\x80.',
                     pickle.dumps(10 ** 10000)):
            with self.subTest(data[:20]):
                plant(self.address, 'key', data)
                began = time.monotonic()
                status, output = self.get('key', '--wire')
                self.assertEqual(status, 0)
                self.assertIn('A pickle of ', output)
                self.assertLess(time.monotonic() - began, 10)
        plant(self.address, 'key', b'[' * 100000, 1 << 11)
        self.assertEqual(self.get('key', '--wire')[0], 0)

    def test_memory(self):
        # The unpickler in C would reserve 8 bytes for each of them, and more.
        number = 30_000_000
        plant(self.address, 'key', b'\x80\x04Nr%b.' % number.to_bytes(
            4, 'little'))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertEqual(self.get('key', '--wire'), (0, 'None\n'))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertLess(after - before, 100_000)  # kB

    def test_deep(self):
        # Each line of it would be indented.
        count, depth = 100_000, 250
        for data, flags in (
                (b'\x80\x04%b%b%b.' % (
                    b'(' * depth, b'K\x01' * count, b'l' * depth), 0),
                (b'[' * depth + b'1,' * count + b'1' + b']' * depth,
                 1 << 11)):
            with self.subTest(flags=flags):
                plant(self.address, 'key', data, flags)
                began = time.monotonic()
                status, output = self.get('key', '--wire')
                self.assertEqual(status, 0)
                self.assertLessEqual(len(output), len(data) + 1)
                self.assertLess(time.monotonic() - began, 5)

    def test_nothing_is_cut(self):
        value = 'ab' * (3 << 20)
        self.make(serializer='json', compress=10).set('key', [value])
        status, output = self.get('key')
        self.assertTrue(json.loads(output) == [value])


class DeleteTest(Case):

    def test_delete(self):
        built = self.client.set('key', 'value')
        self.assertEqual(
            self.run_command('delete', 'key'), (0, 'removed\n', ''))
        self.assertIsNone(look(self.address, built))
        self.assertEqual(
            self.run_command('delete', 'key'), (1, 'there was none\n', ''))


class FlushTest(Case):

    def test_namespace(self):
        shop = self.make(namespace='shop', generations=True)
        other = self.make(namespace='other', generations=True)
        for client in shop, other:
            client.set('key', 'value')
        self.assertEqual(
            self.run_command('flush', '--namespace', 'shop', '--yes'),
            (0, "namespace 'shop' is empty\n", ''))
        self.assertIsNone(shop.query('key'))
        self.assertEqual(other.query('key'), 'value')

    def test_unknown_namespace(self):
        status, output, _ = self.run_command(
            'flush', '--namespace', 'shop', '--yes')
        self.assertEqual(status, 1)
        self.assertIn("namespace 'shop' has no generation", output)

    def test_nobody_to_ask(self):
        self.make(namespace='shop', generations=True).set('key', 'value')
        built = self.client.set('key', 'value')
        for what in ('--namespace', 'shop'), ('--all',):
            status, _, errors = run(
                'flush', *what, '--servers', self.address)
            self.assertEqual(status, 2)
            self.assertIn('needs --yes', errors)
        self.assertIsNotNone(look(self.address, built))

    def test_question(self):
        client = self.make(namespace='shop', generations=True)
        client.set('key', 'value')
        for answer, status in ('\r', 2), ('n\r', 2), ('y\r', 0):
            self.assertEqual(client.query('key'), 'value')
            terminal = Terminal('flush', '--namespace', 'shop', '--servers',
                                self.address)
            terminal.wait_for('[y/N] ')
            terminal.type(answer)
            self.assertEqual(terminal.end(), status)
        self.assertIsNone(client.query('key'))

    def test_stronger_question(self):
        built = self.client.set('key', 'value')
        for answer, status in ('y\r', 2), ('flush 2\r', 2), ('flush 1\r', 0):
            self.assertIsNotNone(look(self.address, built))
            terminal = Terminal('flush', '--all', '--servers', self.address)
            terminal.wait_for('Type "flush 1": ')
            terminal.type(answer)
            self.assertEqual(terminal.end(), status)
        self.assertIsNone(look(self.address, built))

    def test_all_some_down(self):
        down = self.enterContext(refusing())
        status, output, _ = call(
            'flush', '--all', '--yes', '--servers', f'{self.address} {down}')
        self.assertEqual(status, 1)
        self.assertIn(f'{down}: NOT empty: ', output)
        self.assertIn('1 of 2 servers are empty', output)

    def test_errors_of_use(self):
        for words in ((), ('--all', '--namespace', 'a'),
                      ('--namespace', 'a', '--delay', '1')):
            status, _, errors = self.run_command('flush', *words)
            self.assertEqual(status, 2)
            self.assertEqual(errors.count('\n'), 1)


ZCML = '''\
<configure xmlns:p01="http://namespaces.zope.org/p01"
           xmlns="http://namespaces.zope.org/zope">
  <include package="p01.memcache" />
  <p01:memcache servers="{address}" namespace="shop" generations="true"
      serializer="signed-json" secretsFile="secret"
      readPermission="zope.View" />
  <p01:memcacheRegion name="pages" />
  <p01:memcache name="classic" servers="{address}"
      factory="p01.memcache.client.MemcacheClient" />
</configure>
'''


class ZCMLTest(Case):

    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.secret = folder / 'secret'
        self.secret.write_text(secrets.token_hex(32))
        self.secret.chmod(0o600)
        self.file = folder / 'site.zcml'
        self.file.write_text(ZCML.format(address=self.address))
        self.client = self.make(
            namespace='shop', generations=True, serializer='signed-json',
            secretsFile=str(self.secret))

    def run_command(self, *words):
        return run(*words, '--zcml', str(self.file))

    def test_settings_and_secrets(self):
        self.client.set('key', {'a': 1})
        status, rows = self.which('key')
        self.assertEqual((status, rows['value']), (0, 'JSON'))
        self.assertIn('signed rightly', rows['flags'])
        status, output = self.get('key')
        self.assertEqual(json.loads(output), {'a': 1})

    def test_region(self):
        self.client.region('pages').set('key', 'value')
        self.assertEqual(self.which('key', '--name', 'pages')[0], 0)
        self.assertEqual(self.which('key')[0], 1)

    def test_classic(self):
        self.make().set('key', 'value')
        self.assertEqual(
            self.get('key', '--name', 'classic'), (0, "'value'\n"))

    def test_forged(self):
        wire = self.client.set('key', 'value')
        _, rows = self.which('key')
        wire = rows['on the wire']
        data, flags = look(self.address, wire)
        plant(self.address, wire, data[:-1] + b'!', flags)
        status, rows = self.which('key')
        self.assertEqual(status, 1)
        self.assertIn('a miss: forged: ', rows['value'])
        status, output, errors = self.run_command('get', 'key')
        self.assertEqual((status, output), (1, ''))
        self.assertIn('forged', errors)

    def test_flush(self):
        self.client.set('key', 'value')
        self.assertEqual(
            self.run_command('flush', '--namespace', '--yes'),
            (0, "namespace 'shop' is empty\n", ''))
        self.assertIsNone(self.client.query('key'))
        status, _, errors = self.run_command(
            'flush', '--namespace', '--yes', '--name', 'classic')
        self.assertEqual(status, 2)
        self.assertIn('must have generations', errors)

    def test_errors(self):
        for words, text in (
                (('--name', 'other'), "'classic', 'pages'"),
                (('--servers', 'a'), '--servers'),
                (('--namespace', 'a'), '--namespace'),
                (('--region', 'a'), '--region')):
            status, _, errors = self.run_command('which', 'key', *words)
            self.assertEqual(status, 2)
            self.assertIn(text, errors)
            self.assertEqual(errors.count('\n'), 1)

    def test_broken(self):
        secret = self.secret.read_text()
        for text in ('<configure', '<configure xmlns="x"><y /></configure>',
                     ZCML.format(address='a/b'),
                     ZCML.format(address='a').replace(
                         'secretsFile="secret"', f'username="{secret}"')):
            self.file.write_text(text)
            status, _, errors = self.run_command('ping')
            self.assertEqual(status, 2)
            self.assertEqual(errors.count('\n'), 1, errors)
            self.assertIn(str(self.file), errors)
            self.assertNotIn(secret, errors)

    def test_a_secret_that_others_can_read(self):
        self.secret.chmod(0o644)
        status, output, errors = self.run_command('ping')
        self.assertEqual((status, output), (0, '1 of 1 servers up\n'))
        self.assertIn('others can read it', errors)
        self.assertEqual(errors.count('\n'), 1)
