# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Secrets: which are accepted, from which files, and that errors hide them.

An error tracker shows the local variables of every frame of an error, and of
the errors that caused it. They are searched, for each way to give a secret
wrongly.
"""

import base64
import itertools
import os
import pathlib
import tempfile
import unittest
from unittest import mock

from zope.configuration import xmlconfig
from zope.configuration.exceptions import ConfigurationError

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import SendError
from p01.memcache.secret import Secret
from p01.memcache.secret import discreet
from p01.memcache.secret import read_file
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.scripted import ScriptedServer
from p01.memcache.tests.support.zcml import PACKAGE
from p01.memcache.tests.support.zcml import SITE
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.transport.lockkeepingstream import LockKeepingStream
from p01.memcache.transport.stream import Stream
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Authenticate


HERE = os.path.dirname(discreet.__code__.co_filename)

# Of 32 bytes or more, and each also valid as a variable's or a file's name.
SECRET = 'qX7_secret_of_the_shop_0123456789'
VARIABLE = 'P01_MEMCACHE_TEST_SECRETS'

# The owner's, the group's, and everybody's.
MINE = 0o600, 0o400, 0o640, 0o440, 0o660, 0o620
READABLE = 0o644, 0o444, 0o604, 0o664
WRITABLE = 0o666, 0o602, 0o777, 0o622


WRONG = TypeError, ValueError


def shown(error, folder=''):
    """Return all that an error tracker would show of an error, as text.

    It shows the frames of the code in the folder, except of this file.
    """
    found, seen, errors = [], set(), [error]
    while errors:
        error = errors.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        found += [repr(error), str(error), repr(vars(error)), *map(
            repr, error.args)]
        errors += error.__cause__, error.__context__
        trace = error.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            name = frame.f_code.co_filename
            if name != __file__ and name.startswith(folder):
                found += [f'{frame.f_code.co_qualname} {name}={value!r}'
                          for name, value in frame.f_locals.items()]
            trace = trace.tb_next
    return '\n'.join(found)


class SecretCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.folder.chmod(0o755)
        self.enterContext(mock.patch.dict(os.environ))
        os.environ.pop(VARIABLE, None)

    def file(self, text, mode=0o600, name='secrets'):
        path = self.folder / name
        path.write_bytes(text.encode())
        path.chmod(mode)
        return str(path)

    def makers(self, path, login):
        """Yield functions that make clients which read the file."""
        for factory in MemcacheClient, UltraMemcacheClient:
            yield 'secretsFile', path, lambda factory=factory: factory(
                serializer='signed-json', secretsFile=path)
        yield 'credentialsFile', login, lambda: UltraMemcacheClient(
            credentialsFile=login)

    def client(self, *args, **settings):
        client = UltraMemcacheClient(*args, **settings)
        self.addCleanup(client.close)
        return client

    def assertHidden(self, error, folder=''):
        self.assertNotIn('qX7', shown(error, folder))

    def raised(self, kinds, function, *args, **kw):
        """Return what the function raises; assertRaises() clears its frames.
        """
        try:
            function(*args, **kw)
        except kinds as error:
            return error
        self.fail('nothing is raised')


@unittest.skipUnless(os.name == 'posix', 'files have no mode')
class AccessTest(SecretCase):
    """The file modes that the client accepts."""

    def files(self, mode):
        return self.makers(self.file(SECRET, mode),
                           self.file('shop:rosebud', mode, 'login'))

    def assertRefused(self, makers, word):
        for name, path, make in makers:
            with self.subTest(name):
                with self.assertRaises(ValueError) as caught:
                    make()
                for part in name, repr(path), word:
                    self.assertIn(part, str(caught.exception))

    def assertTaken(self, makers):
        for name, _, make in makers:
            with self.subTest(name), self.assertNoLogs('p01.memcache'):
                make().close()

    def test_others_cannot(self):
        for mode in MINE:
            self.assertTaken(self.files(mode))

    def test_others_can_read(self):
        for mode in READABLE:
            for name, path, make in self.files(mode):
                with (self.subTest(name, mode=oct(mode)),
                      self.assertLogs('p01.memcache', 'WARNING') as log):
                    make().close()
                [record] = log.records
                self.assertEqual(
                    record.getMessage(),
                    f'memcache {name} {path!r}: others can read it')

    def test_others_can_write(self):
        for mode in WRITABLE:
            self.assertRefused(self.files(mode), 'others can write to it')

    def test_the_mode_of_a_links_target_counts(self):
        """The mode of a link says nothing."""
        link = self.folder / 'link'
        link.symlink_to(self.file(SECRET, 0o666))
        with self.assertRaisesRegex(ValueError, 'can write to it'):
            read_file('secretsFile', str(link))

    def test_folders(self):
        folder = self.folder / 'folder'
        (folder / 'inner').mkdir(parents=True)
        makers = list(self.makers(
            self.file(SECRET, name='folder/inner/secrets'),
            self.file('shop:rosebud', name='folder/inner/login')))
        for part in folder, folder / 'inner':
            for mode in 0o777, 0o702:
                part.chmod(mode)
                for name, path, make in makers:
                    with self.subTest(name, mode=oct(mode)):
                        self.assertReplaceable(name, path, part, make)
            for mode in 0o1777, 0o755, 0o775:  # sticky, as /tmp
                part.chmod(mode)
                self.assertTaken(makers)

    def assertReplaceable(self, name, path, folder, read):
        with self.assertLogs('p01.memcache', 'WARNING') as log:
            read()
        [record] = log.records
        self.assertEqual(
            record.getMessage(),
            f'memcache {name} {path!r}: others can replace it, as they can'
            f' write to {str(folder)!r}')

    def test_the_folder_of_a_link(self):
        # Like a mounted secret of Kubernetes.
        (self.folder / '..2026').mkdir()
        self.file(SECRET, name='..2026/secrets')
        (self.folder / '..data').symlink_to('..2026')
        mount = self.folder / 'mount'
        mount.mkdir()
        (mount / 'secrets').symlink_to('../..data/secrets')
        path = str(mount / 'secrets')

        def read():
            self.assertEqual(read_file('secretsFile', path), SECRET)

        for mode in 0o755, 0o1777, 0o3777:
            mount.chmod(mode)
            with self.assertNoLogs('p01.memcache'):
                read()
        mount.chmod(0o777)
        self.assertReplaceable('secretsFile', path, mount, read)
        mount.chmod(0o755)
        (self.folder / '..2026').chmod(0o777)
        self.assertReplaceable(
            'secretsFile', path, self.folder / '..2026', read)

    def test_a_folder_that_is_closed(self):
        path = self.file(SECRET)
        with mock.patch.object(pathlib.Path, 'stat',
                               side_effect=PermissionError):
            self.assertEqual(read_file('secretsFile', path), SECRET)

    def test_a_change_that_is_refused(self):
        path = self.file(SECRET)
        client = MemcacheClient(serializer='signed-json', secretsFile=path)
        codec = client._state.codec
        os.chmod(path, 0o666)
        with self.assertRaises(ValueError):
            client.secretsFile = path
        self.assertIs(client._state.codec, codec)

    def test_elsewhere(self):
        path = self.file(SECRET, 0o666)
        with mock.patch('os.name', 'nt'):
            self.assertEqual(read_file('secretsFile', path), SECRET)

    def test_a_pipe(self):
        """Like the ``<(command)`` of a shell."""
        ours, theirs = os.pipe()
        os.write(theirs, SECRET.encode())
        os.close(theirs)
        try:
            self.assertEqual(
                read_file('secretsFile', f'/dev/fd/{ours}'), SECRET)
        finally:
            os.close(ours)


class RandomTest(SecretCase):

    def test_no_random_secret_is_refused(self):
        secrets = [
            encode(os.urandom(size)).decode()
            for encode in (base64.b16encode, base64.b32encode,
                           base64.b64encode, base64.urlsafe_b64encode,
                           lambda data: data.hex().encode())
            for size in (32, 33, 48, 64) for _ in range(50)]
        secrets += [os.urandom(16).hex() for _ in range(50)]
        os.environ[VARIABLE] = '\n'.join(secrets)
        client = self.client(
            serializer='signed-json', secretsVariable=VARIABLE)
        self.assertEqual(
            len(client._state.codec.signer.secrets.keys()), len(secrets))


class PipeTest(unittest.TestCase):

    @unittest.skipUnless(hasattr(os, 'mkfifo'), 'there are no pipes')
    def test_a_pipe_is_not_waited_for(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, 'pipe')
        os.mkfifo(path, 0o600)
        for name in 'credentialsFile', 'secretsFile':
            self.assertEqual(read_file(name, path), '')


class FrameTest(SecretCase):
    """What an error's frames and its context show."""

    def wrong(self):
        """Yield invalid arguments of a client that contain the secret."""
        login = {'username': 'shop'}
        for password in (
                f'{SECRET}\n', f'{SECRET} x', f'{SECRET}\ud800', SECRET * 9,
                SECRET.encode(), [SECRET], {SECRET: SECRET},
                Secret(SECRET + ' ')):
            yield {**login, 'password': password}
        login['password'] = SECRET
        for settings in (
                {'lifetime': -1}, {'servers': []}, {'servers': ['a:0']},
                {'username': 'a b'}, {'username': None}, {'nope': 1},
                {'serializer': 'unknown'}, {'caFile': '/nowhere'},
                {'credentialsFile': 'x'}, {'distribution': 'x'},
                {'maxValueSize': 0}, {'allow': ['a b']}, {'keyScheme': 5}):
            yield {**login, **settings}
        # In place of another argument.
        tls = {'servers': ['tls://127.0.0.1:1']}
        for text in (
                SECRET, f'shop:{SECRET}', SECRET + '\n', SECRET.encode(),
                [SECRET], f'{SECRET}/{SECRET}', f'/etc/{SECRET}/{SECRET}',
                SECRET + '\0', f'./{SECRET}', f'/etc/passwd/{SECRET}',
                f'-----BEGIN PRIVATE KEY-----\n{SECRET}\n', SECRET * 200):
            for name in 'secretsFile', 'secretsVariable':
                yield {'serializer': 'signed-json', name: text}
                yield {name: text}
            yield {'credentialsFile': text}
            for name in 'ssl_context', 'caFile', 'certFile':
                yield {**tls, name: text}
            yield {**tls, 'certFile': '/nowhere', 'keyFile': text}
        for username in (
                f'shop:{SECRET}', SECRET + '\n', SECRET.encode(), [SECRET],
                f'shop {SECRET}'):
            yield {'username': username, 'password': 'x'}
        for server in (
                f'shop:{SECRET}@host', f'shop:{SECRET}@host\n',
                f'shop:{SECRET}@host'.encode(), [f'shop:{SECRET}@host'],
                f'{SECRET}\n@host'):
            yield {'servers': [server]}
            yield {'servers': server}
            yield {'servers': (server,)}
        # In a file, or in the environment.
        for number, text in enumerate((
                f'shop {SECRET}', SECRET, f'shop:{SECRET} ', f'{SECRET}:',
                f'shop:{SECRET * 9}', f'shop:{SECRET}\0',
                f'# {SECRET}\n{SECRET}', f'qX7\n{SECRET}',
                f'{SECRET} qX7', 'qX7q' * 10, f'#{SECRET}',
                f'{SECRET} ' * 5000)):
            path = self.file(text, name=f'file {number}')
            if not text.startswith(f'shop:{SECRET}:'):
                yield {'credentialsFile': path}
            if text.split() != [SECRET] and 'shop' not in text and (
                    '\0' not in text) and not text.endswith(':'):
                yield {'serializer': 'signed-json', 'secretsFile': path}
            os.environ[f'{VARIABLE}_{number}'] = text.replace('\0', '')
        yield {'serializer': 'signed-json', 'secretsVariable': VARIABLE + '_6'}
        latin = self.folder / 'latin'
        latin.write_bytes(f'{SECRET}ü'.encode('latin-1'))
        latin.chmod(0o600)
        yield {'serializer': 'signed-json', 'secretsFile': str(latin)}
        yield {'credentialsFile': str(latin)}
        path = self.file(SECRET, 0o666, 'open')
        yield {'serializer': 'signed-json', 'secretsFile': path}
        yield {'credentialsFile': path}

    def test_constructor(self):
        for arguments in self.wrong():
            with self.subTest(str(arguments)[:300]):
                self.assertHidden(
                    self.raised(WRONG, UltraMemcacheClient, **arguments))

    def test_other_clients(self):
        for name in 'secretsFile', 'secretsVariable':
            for factory, text in itertools.product(
                    (MemcacheClient, FakeMemcacheClient,
                     FakeUltraMemcacheClient),
                    (SECRET, SECRET.encode(), SECRET + '\n')):
                self.assertHidden(self.raised(
                    WRONG, factory, serializer='signed-json',
                    **{name: text}))

    def test_attributes(self):
        os.environ[VARIABLE] = SECRET
        clients = {
            'password': self.client(username='shop', password=SECRET),
            'secretsVariable': self.client(
                serializer='signed-json', secretsVariable=VARIABLE),
            'secretsFile': self.client(
                serializer='signed-json',
                secretsFile=self.file(SECRET, name='right'))}
        clients['username'] = clients['password']
        tls = self.client(['tls://127.0.0.1:1'])
        # Each is valid on its own.
        right = 'x', SECRET, '/nowhere', f'# {SECRET}'
        tried = set()
        for arguments in self.wrong():
            *_, (name, value) = arguments.items()
            client = clients.get(name, tls)
            if name in ('nope', 'keyFile', 'username') or (
                    name == 'password' and value in right):
                continue
            tried.add(name)
            with self.subTest(name, value=str(value)[:100]):
                self.assertHidden(
                    self.raised(WRONG, setattr, client, name, value))
        self.assertLess({'password', 'credentialsFile', 'caFile', 'servers',
                         'ssl_context', *clients} - {'username'}, tried)

    def test_unreadable_file(self):
        for error in PermissionError(13, 'Permission denied', SECRET), OSError(
                5, 'Input/output error', SECRET):
            with mock.patch('builtins.open', side_effect=error):
                for name, _, make in self.makers(SECRET, SECRET):
                    with self.subTest(name):
                        told = self.raised(ValueError, make)
                        self.assertIn(error.strerror, str(told))
                        self.assertHidden(told)

    def test_interrupted(self):
        """An interrupt while the file is read."""
        with mock.patch('p01.memcache.trust.credentials.Credentials',
                        side_effect=KeyboardInterrupt):
            path = self.file(f'shop:{SECRET}')
            self.assertHidden(self.raised(
                KeyboardInterrupt, UltraMemcacheClient, credentialsFile=path))

    def missed(self, client):
        """Return the errors that make a query a miss."""
        errors, trouble = [], client._trouble
        report = trouble.report

        def note(error, *args):
            errors.append(error)
            report(error, *args)

        trouble.report = note
        with self.assertLogs('p01.memcache') as log:
            self.assertIsNone(client.query('key'))
        # Nor does the log show it, with the traceback.
        self.assertNotIn(SECRET, ''.join(log.output))
        return errors

    def test_the_server_refuses_the_password(self):
        """Errors that end a conversation in which the password was sent."""
        for answer in (
                b'CLIENT_ERROR authentication failure\r\n',
                b'SERVER_ERROR no\r\n', b'garbage\r\n', b'', None,
                lambda asked: asked):
            with self.subTest(answer), ScriptedServer(
                    default=answer) as server:
                client = self.client(
                    [server.address], username='shop', password=SECRET,
                    timeout=0.2, retries=1, debug=1)
                errors = self.missed(client)
                self.assertTrue(errors)
                for error in errors:
                    self.assertHidden(error)

    def test_the_connection_breaks(self):
        """While the password is being sent."""
        with ScriptedServer() as server:
            for stream in Stream, LockKeepingStream:
                self.enterContext(mock.patch.object(
                    stream, 'send', side_effect=SendError('it broke')))
            client = self.client([server.address], username='shop',
                                 password=SECRET, retries=1, debug=1,
                                 timeout=0.2)
            [error] = self.missed(client)
            self.assertIn('it broke', str(error))
            self.assertHidden(error)

    def test_interrupted_by_anything(self):
        with ScriptedServer(b'STORED\r\n') as server:
            for error in KeyboardInterrupt, SystemExit:
                client = self.client(
                    [server.address], username='shop', password=SECRET)
                with mock.patch.object(
                        Authenticate, 'read', side_effect=error):
                    self.assertHidden(
                        self.raised(error, client.query, 'key'))

    def test_what_was_handled_before_is_kept(self):
        def fail():
            mine = 'kept'
            raise LookupError(mine)

        try:
            fail()
        except LookupError as former:
            self.raised(ValueError, UltraMemcacheClient, lifetime=-1)
            frame = former.__traceback__.tb_next.tb_frame
            self.assertEqual(frame.f_locals, {'mine': 'kept'})

    def test_the_cause_stays(self):
        @discreet
        def fail(secret):
            try:
                raise OSError('no server')
            except OSError as error:
                raise AuthenticationError('refused') from error

        error = self.raised(AuthenticationError, fail, SECRET)
        self.assertIsInstance(error.__cause__, OSError)
        self.assertHidden(error)

    def test_the_search_finds_a_secret(self):
        """The search would find a secret that is shown."""
        error = self.raised(OSError, pathlib.Path(SECRET).read_text)
        self.assertIn(SECRET, shown(error))
        error = self.raised(ValueError, int, SECRET)
        error.__context__ = self.raised(
            TypeError, base64.b64decode, [SECRET])
        error.args = ()
        self.assertIn(SECRET, shown(error))


class ZCMLTest(SecretCase, ZCMLTestCase):

    def setUp(self):
        SecretCase.setUp(self)
        ZCMLTestCase.setUp(self)

    def refused(self, attributes):
        """Load a ZCML file, whose text errors can quote."""
        site = self.folder / 'site.zcml'
        site.write_text(SITE % (
            PACKAGE + '<include package="zope.security" />'
            f'<p01:memcache {attributes} />'))
        return self.raised(ConfigurationError, xmlconfig.file, str(site))

    def test_password(self):
        login = f'username="shop" password="{SECRET}"'
        for attributes in (
                f'{login} lifetime="-1"', f'{login} retires="1"',
                f'{login} factory="p01.nope"', f'{login} permission="nope"',
                f'{login} servers="a:0"', f'{login} secretsFile=""',
                f'{login} factory="p01.memcache.client.MemcacheClient"'):
            with self.subTest(attributes):
                self.assertHidden(self.refused(attributes), HERE)

    def test_password_that_was_read(self):
        """Once the client is made, not even other packages' frames have it.
        """
        login = f'username="shop" password="{SECRET}"'
        for attributes in (
                f'{login} permission="zope.Nope"',
                f'{login} caFile="/nowhere" servers="tls://a"',
                f'{login} secretsFile="/nowhere"',
                f'{login} credentialsFile="x"', f'password="{SECRET}"',
                f'{login} factory="p01.memcache.tests.support.zcml.fail"',
                f'username="" password="{SECRET}"',
                f'username="a b" password="{SECRET}"',
                f'username="shop" password="{SECRET} x"',
                f'username="shop" password="{SECRET}&#10;x"',
                f'username="shop" password="{SECRET * 9}"',
                f'{login} /><p01:memcache {login}'):
            with self.subTest(attributes[:200]):
                self.assertHidden(self.refused(attributes))

    def test_in_the_wrong_attribute(self):
        for attributes in (
                f'serializer="signed-json" secretsFile="{SECRET}"',
                f'serializer="signed-json" secretsVariable="{SECRET}"',
                f'secretsVariable="{SECRET}"', f'secretsFile="{SECRET}"',
                f'credentialsFile="shop:{SECRET}"',
                f'servers="tls://a" keyFile="{SECRET}"',
                f'servers="tls://a" certFile="x" keyFile="{SECRET}"',
                f'username="shop:{SECRET}" password="x"',
                f'secretsFile="{SECRET}" permission="zope.Nope"'):
            with self.subTest(attributes):
                self.assertHidden(self.refused(attributes))
        for attributes in (
                f'credentialsFile="{SECRET}&#10;{SECRET}"',
                f'username="shop&#10;{SECRET}" password="x"',
                f'servers="shop:{SECRET}@a"',
                f'credentialsFile="{SECRET}" factory="p01.memcache.client.'
                'MemcacheClient"'):
            with self.subTest(attributes):
                self.assertHidden(self.refused(attributes), HERE)

    def test_the_error_tells_the_place(self):
        error = self.refused('username="shop" password="x" serializer="x"')
        self.assertIn('site.zcml", line 7', str(error))
        self.assertNotIn('<p01:memcache', str(error))
        error = self.refused('serializer="x"')
        self.assertIn('<p01:memcache', str(error))
