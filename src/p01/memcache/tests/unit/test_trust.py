# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Files that are read again, and which proof a connection uses when."""

import contextlib
import gc
import os
import pathlib
import tempfile
import threading
import time
import traceback
import unittest
import weakref
from unittest import mock

from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import ReceiveError
from p01.memcache.secret import read_file
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import soon
from p01.memcache.threads.turn import MOMENT
from p01.memcache.trust import context
from p01.memcache.trust import credentials
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.renewable import Renewable
from p01.memcache.trust.trust import Trust


MODULE = 'p01.memcache.trust.renewable'
MINUTE = 60
HOUR = 3600


class RenewableCase(unittest.TestCase):
    """A file whose text is the value, and a clock that can be put forward."""

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.folder = pathlib.Path(folder)
        self.path = self.folder / 'file'
        self.ahead = 0
        self.enterContext(mock.patch(
            f'{MODULE}.monotonic',
            lambda: time.monotonic() + self.ahead))
        self.reads = 0

    def make(self, is_first):
        self.reads += 1
        text = read_file('secretsFile', str(self.path), is_first).strip()
        if not text:
            raise ValueError('secretsFile: it is empty')
        return text

    def renewable(self, text='one'):
        self.write(text)
        return Renewable({'secretsFile': str(self.path)}, self.make)

    def write(self, text):
        self.path.write_text(text)
        self.path.chmod(0o600)

    def replace(self, text):
        """Replace the file in one step."""
        other = self.folder / 'other'
        other.write_text(text)
        other.chmod(0o600)
        os.replace(other, self.path)

    def assertNothingLogged(self):
        return self.assertNoLogs('p01.memcache')

    def assertOneLine(self, words):
        """Expect one line, and return the context that checks it."""
        return OneLine(self, words)


class OneLine:

    def __init__(self, test, words):
        self._test = test
        self._words = words
        self._logs = test.assertLogs('p01.memcache', 'INFO')

    def __enter__(self):
        self._log = self._logs.__enter__()

    def __exit__(self, *exc_info):
        self._logs.__exit__(*exc_info)
        if exc_info[0] is None:
            [line] = self._log.output
            self._test.assertRegex(line, self._words)


class RenewableTest(RenewableCase):

    def test_it_is_not_read_without_a_change(self):
        file = self.renewable()
        self.ahead += 2  # it is, once more
        with self.assertNothingLogged():
            for _ in range(10):
                self.assertEqual(file.current(), 'one')
            with mock.patch('builtins.open') as opened:
                for _ in range(10):
                    self.ahead += HOUR
                    self.assertEqual(file.current(), 'one')
        opened.assert_not_called()
        self.assertEqual(self.reads, 1)

    def test_written_and_replaced(self):
        file = self.renewable()
        for change in self.write, self.replace:
            for text in 'two', 'three', '12345':
                with self.assertOneLine(
                        f"^INFO:p01.memcache:memcache secretsFile '{self.path}"
                        "': read again$"):
                    change(text)
                    self.assertEqual(file.current(), text)
                    self.assertEqual(file.current(), text)

    def test_a_link_that_is_swapped(self):
        # As Kubernetes does it: file -> ..data/file, ..data -> ..<date>.
        for date in '1', '2':
            (self.folder / date).mkdir()
            self.path = self.folder / date / 'file'
            self.write(f'of {date}')
        data = self.folder / '..data'
        data.symlink_to('1')
        self.path = self.folder / 'file'
        self.path.symlink_to('..data/file')
        file = Renewable({'secretsFile': str(self.path)}, self.make)
        self.assertEqual(file.current(), 'of 1')
        (self.folder / 'new').symlink_to('2')
        with self.assertOneLine('read again$'):
            os.replace(self.folder / 'new', data)
            self.assertEqual(file.current(), 'of 2')

    def test_the_same_again_is_no_news(self):
        file = self.renewable()
        with self.assertNothingLogged():
            for change in self.write, self.replace:
                change('one')
                self.assertEqual(file.current(), 'one')
        self.assertEqual(self.reads, 1)

    def test_a_change_that_its_status_does_not_show(self):
        """Within one tick of the clock of a coarse file system."""
        def look(path):
            return (0,)

        with mock.patch(f'{MODULE}._look', look):
            file = self.renewable()
            self.write('two')
            self.assertEqual(file.current(), 'one')
            self.ahead += 1
            with self.assertOneLine('read again$'):
                self.assertEqual(file.current(), 'two')
            self.write('six')
            self.ahead += HOUR
            self.assertEqual(file.current(), 'two')
            with self.assertOneLine('read again$'):
                self.assertEqual(file.renewed(), 'six')

    def test_an_older_file_in_its_place(self):
        file = self.renewable()
        self.write('two')
        os.utime(self.path, (0, 0))
        self.assertEqual(file.current(), 'two')

    def wrong(self):
        """Yield ways to make the file wrong, and words of the log."""
        yield self.path.unlink, 'No such file or directory'
        yield lambda: self.write(''), 'it is empty'
        yield lambda: self.path.write_bytes(b'\xff'), 'not UTF-8'
        yield lambda: self.write('x' * 70_000), 'more than 65536 characters'

        def huge():
            self.write('')
            os.truncate(self.path, 1 << 40)

        # It is not read to its end, within somebody's operation.
        yield huge, 'more than 2097152 bytes'

        def open_to_all():
            self.write('forged')
            self.path.chmod(0o666)

        yield open_to_all, 'others can write to it'

        def folder():
            self.path.unlink()
            self.path.mkdir()

        yield folder, 'it is not a file'

        def pipe():
            self.path.unlink()
            os.mkfifo(self.path)

        yield pipe, 'it is not a file'

    def test_a_file_that_is_wrong(self):
        file = self.renewable()
        for spoil, words in self.wrong():
            with self.subTest(words):
                spoil()
                # It may be half written.
                with self.assertNothingLogged():
                    for _ in range(3):
                        self.assertEqual(file.current(), 'one')
                        self.assertEqual(file.renewed(), 'one')
                with self.assertOneLine(f'^WARNING.*{words}; the former rema'):
                    for _ in range(10):
                        self.ahead += 1
                        self.assertEqual(file.current(), 'one')
                        self.assertEqual(file.renewed(), 'one')
                self.remove()
                self.write('one')
                with self.assertNothingLogged():
                    self.assertEqual(file.current(), 'one')
        # Another thing that is wrong with it then is not logged.
        with self.assertOneLine('^WARNING.*No such file'):
            for spoil in self.path.unlink, lambda: self.write(''):
                spoil()
                for _ in range(3):
                    self.assertEqual(file.current(), 'one')
                    self.ahead += 1
        with self.assertOneLine('^INFO.* read again$'):
            self.write('two')
            for _ in range(3):
                self.assertEqual(file.current(), 'two')
                self.ahead += 1
        # The next time it is logged again.
        with self.assertOneLine('^WARNING'):
            self.path.unlink()
            for _ in range(3):
                self.assertEqual(file.current(), 'two')
                self.ahead += 1
        # It is back, and was not replaced.
        with self.assertNothingLogged():
            self.write('two')
            self.assertEqual(file.current(), 'two')

    def remove(self):
        if self.path.is_dir():
            self.path.rmdir()
        elif self.path.exists():
            self.path.unlink()

    def test_written_before_it_is_read_at_first(self):
        for before in True, False:
            def make(is_first, before=before):
                if is_first and before:
                    self.write('two')
                value = self.make(is_first)
                if is_first and not before:
                    self.write('two')
                return value

            self.write('one')
            file = Renewable({'secretsFile': str(self.path)}, make)
            self.assertEqual(file.current(), 'two')

    def test_written_while_it_is_read(self):
        """What is read is not what was hashed."""
        file = self.renewable()
        make = self.make

        def write_first(is_first):
            self.write('three')
            return make(is_first)

        file._make = write_first
        with self.assertNothingLogged():
            self.write('two')
            self.assertEqual(file.current(), 'one')
        file._make = make
        with self.assertOneLine('read again$'):
            self.assertEqual(file.current(), 'three')
            self.ahead += 2
            self.assertEqual(file.current(), 'three')

    def test_only_the_mode_is_mended(self):
        file = self.renewable()
        self.write('two')
        self.path.chmod(0o662)
        self.assertEqual(file.current(), 'one')
        self.path.chmod(0o600)
        self.assertEqual(file.current(), 'two')

    def test_others_that_can_read_it_are_logged_once(self):
        self.path.write_text('one')
        self.path.chmod(0o644)
        with self.assertOneLine('^WARNING.*others can read it'):
            file = Renewable({'secretsFile': str(self.path)}, self.make)
        with self.assertOneLine('^INFO.*read again'):
            self.path.write_text('two')
            self.assertEqual(file.current(), 'two')

    def test_wrong_at_first(self):
        with self.assertRaisesRegex(ValueError, 'it is empty'):
            self.renewable('')

    def test_a_pipe_is_read_once(self):
        ours, theirs = os.pipe()
        os.write(theirs, b'one')
        os.close(theirs)
        self.path = pathlib.Path(f'/dev/fd/{ours}')
        file = Renewable({'secretsFile': str(self.path)}, self.make)
        with self.assertNothingLogged():
            for _ in range(3):
                self.ahead += HOUR
                self.assertEqual(file.current(), 'one')
                self.assertEqual(file.renewed(), 'one')
        os.close(ours)
        self.assertEqual(file.renewed(), 'one')
        self.assertEqual(self.reads, 1)

    def test_many_threads(self):
        file = self.renewable('text 0')
        for number in range(1, 21):
            with self.assertOneLine('read again'):
                self.replace(f'text {number}')
                found = set(at_once(lambda _: file.current(), range(16)))
                # On a busy machine the reader may take more than a moment.
                self.assertLessEqual(
                    found, {f'text {number - 1}', f'text {number}'})
                self.assertEqual(file.current(), f'text {number}')
        self.assertEqual(self.reads, 21)

    def test_a_slow_reader_holds_up_nobody(self):
        file = self.renewable()
        goes_on, reads = threading.Event(), threading.Event()
        make = self.make

        def wait(is_first):
            reads.set()
            self.assertTrue(goes_on.wait(PATIENCE))
            return make(is_first)

        file._make = wait
        self.write('two')
        reader = threading.Thread(target=file.current)
        reader.start()
        try:
            self.assertTrue(reads.wait(PATIENCE))
            start = time.monotonic()
            self.assertEqual(file.current(), 'one')
            self.assertLess(time.monotonic() - start, 1 + MOMENT)
        finally:
            goes_on.set()
            reader.join()
        self.assertEqual(file.current(), 'two')

    def test_interrupted(self):
        """It is read by the next that looks, and nothing stays taken."""
        file = self.renewable('secret-one')
        for step in ('hashlib.file_digest', f'{MODULE}.os.stat',
                     'p01.memcache.secret.os.fstat', f'{MODULE}._list'):
            text = f'secret-{step}'
            self.write(text)
            with self.subTest(step):
                with mock.patch(step, side_effect=KeyboardInterrupt):
                    with self.assertRaises(KeyboardInterrupt) as caught:
                        file.current()
                    error = caught.exception
                for frame, _ in traceback.walk_tb(error.__traceback__):
                    if frame.f_code.co_filename != __file__:
                        self.assertNotIn('secret-', repr(frame.f_locals))
                start = time.monotonic()
                self.assertEqual(file.current(), text)
                self.assertLess(time.monotonic() - start, MOMENT)

    def test_forked_while_another_thread_reads(self):
        file = self.renewable()
        self.write('two')
        with file._turn.by(soon()):
            child = os.fork()
            if not child:
                status = 1
                try:
                    status = file.current() != 'two'
                finally:
                    os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


REFUSED = AuthenticationError('not authenticated: no')


class TrustTest(RenewableCase):
    """With a server that knows some passwords."""

    def setUp(self):
        super().setUp()
        self.write('shop:one')
        self.trust = Trust(None, 'cache', credentials.read(str(self.path)))
        self.known = {'one'}
        self.tried = []
        self.happens = []

    def attempt(self, proof):
        password = proof.credentials.password.reveal()
        self.tried.append(password)
        if self.happens:
            self.happens.pop(0)()
        if password not in self.known:
            raise REFUSED

    def connect(self):
        """Return the passwords that are tried."""
        self.tried.clear()
        self.trust.convince(self.attempt)
        return self.tried

    def refused(self, error=AuthenticationError):
        with self.assertRaises(error):
            self.connect()
        return self.tried

    def test_no_change(self):
        self.assertEqual(self.connect(), ['one'])
        self.known = {'two'}
        self.assertEqual(self.refused(), ['one'])

    def test_the_file_first(self):
        self.connect()
        self.write('shop:two')
        for _ in range(3):
            self.assertEqual(self.connect(), ['two', 'one'])
        self.known = {'two'}
        for _ in range(2):
            self.assertEqual(self.connect(), ['two'])
        # It has followed, and the former one is forgotten.
        self.known = {'one'}
        self.assertEqual(self.refused(), ['two'])

    def test_a_server_that_does_not_follow_is_logged_once(self):
        self.enterContext(mock.patch(
            'p01.memcache.trust.trust.monotonic',
            lambda: time.monotonic() + self.ahead))
        self.connect()
        for password in 'two', 'three':
            self.write(f'shop:{password}')
            with self.assertOneLine('^INFO'):
                for _ in range(3):
                    self.assertEqual(self.connect(), [password, 'one'])
                    self.ahead += 25
            with self.assertOneLine(
                    '^WARNING.*memcached at cache refuses the password of the'
                    ' credentialsFile, and still accepts the former one$'):
                for _ in range(5):
                    self.ahead += MINUTE
                    self.assertEqual(self.connect(), [password, 'one'])
            self.known.add(password)
            self.assertEqual(self.connect(), [password])
            self.known = {'one'}
            self.write('shop:one')
            self.connect()

    def test_half_a_change(self):
        self.connect()
        for password in 't', 'tw', 'two':
            self.write(f'shop:{password}')
            self.assertEqual(self.connect(), [password, 'one'])

    def test_each_server_follows_at_its_own_time(self):
        file = credentials.read(str(self.path))
        early, late = trusts = [Trust(None, name, file) for name in 'ab']
        for self.trust in trusts:
            self.connect()
        self.write('shop:two')
        self.known, self.trust = {'two'}, early
        self.assertEqual(self.connect(), ['two'])
        self.known, self.trust = {'one'}, late
        self.assertEqual(self.connect(), ['two', 'one'])

    def test_the_server_first(self):
        self.known = {'two'}
        self.assertEqual(self.refused(), ['one'])
        self.assertFalse(self.trust.has_news())
        self.write('shop:two')
        self.assertTrue(self.trust.has_news())
        self.assertFalse(self.trust.has_news())
        self.assertEqual(self.connect(), ['two'])
        self.assertFalse(self.trust.has_news())

    def test_both_during_an_attempt(self):
        def switch():
            self.write('shop:two')
            self.known = {'two'}

        self.happens = [switch]
        self.assertEqual(self.connect(), ['one', 'two'])

    def test_the_server_follows_between_two_attempts(self):
        self.connect()
        self.write('shop:two')

        def nothing():
            """Refuse the new password, as before."""

        def switch():
            self.known = {'two'}

        self.happens = [nothing, switch]
        self.assertEqual(self.connect(), ['two', 'one', 'two'])

    def test_the_server_follows_and_another_thread_is_first(self):
        self.connect()
        self.write('shop:two')

        def follow():
            # This attempt was refused before.
            self.known = {'two'}
            self.trust.convince(self.attempt)
            raise REFUSED

        self.happens = [follow]
        self.assertEqual(self.connect(), ['two', 'two', 'one', 'two'])

    def test_neither_is_right(self):
        self.write('shop:two')
        self.known = {'three'}
        self.assertEqual(self.refused(), ['two'])
        self.known = {'one'}
        self.write('shop:one')
        self.connect()
        self.write('shop:two')
        self.known = {'three'}
        self.assertEqual(self.refused(), ['two', 'one', 'two'])

    def test_what_is_no_refusal(self):
        self.connect()
        self.write('shop:two')

        def late():
            raise ConnectTimeout('connection not accepted in time')

        self.happens = [late]
        self.assertEqual(self.refused(ConnectTimeout), ['two'])
        # Nor in the second attempt.
        self.happens = [lambda: None, late]
        self.assertEqual(self.refused(ConnectTimeout), ['two', 'one'])

    def test_another_failure_is_no_reason_for_the_former_password(self):
        self.connect()
        self.write('shop:two')
        for error in ConnectError('refused'), ReceiveError('closed'):
            def fail(error=error):
                raise error

            self.happens = [fail]
            self.assertEqual(self.refused(type(error)), ['two'])

    def test_a_wrong_file_is_no_news(self):
        self.known = {'two'}
        self.assertEqual(self.refused(), ['one'])
        self.write('nonsense')
        self.ahead += MINUTE
        self.assertFalse(self.trust.has_news())
        self.assertEqual(self.refused(), ['one'])

    def test_news_of_one_server_are_news_of_each(self):
        file = credentials.read(str(self.path))
        trusts = [Trust(credentials=file) for _ in range(3)]
        self.known = {'two'}
        for self.trust in trusts:
            self.refused()
        self.write('shop:two')
        for trust in trusts:
            self.assertTrue(trust.has_news())

    def test_changed_during_a_connection(self):
        began = time.monotonic()
        self.connect()
        self.assertFalse(self.trust.has_changed(began))
        self.write('shop:two')
        self.assertTrue(self.trust.has_changed(began))
        self.assertFalse(self.trust.has_changed(time.monotonic()))

    def test_without_files(self):
        tried = []

        def refuse(proof):
            tried.append(proof)
            raise REFUSED

        for trust in Trust(), Trust(Given('context'), 'a', Given('login')):
            tried.clear()
            with self.assertRaises(AuthenticationError):
                trust.convince(refuse)
            self.assertEqual(len(tried), 1)
            self.assertFalse(trust.has_news())
            self.assertFalse(trust.has_changed(0))

    def test_a_connection_is_not_kept_by_its_failure(self):
        """No cycle of frames and errors, which the collector would end."""
        class Connection:

            def connect(self, proof):
                raise AuthenticationError('no')

        self.write('shop:two')
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        connection = Connection()
        gone = mock.Mock()
        weakref.finalize(connection, gone)
        with contextlib.suppress(AuthenticationError):
            self.trust.convince(connection.connect)
        del connection
        gone.assert_called_once_with()


class ContextTest(unittest.TestCase):

    def test_only_the_authorities_of_the_system(self):
        made = context.read(None, None, None)
        self.assertIs(made.renewed(), made.current())
        self.assertIs(made.current(), made.value)
