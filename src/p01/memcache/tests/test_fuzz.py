# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command bin/fuzz: it attacks the parser, and finds faults."""

import contextlib
import importlib.util
import io
import random
import re
import signal
import sys
import unittest
from unittest import mock

from p01.memcache.errors import ProtocolError
from p01.memcache.tests.support.checkout import load_tool
from p01.memcache.tests.support.commands import find_commands
from p01.memcache.tests.support.layers import Commands
from p01.memcache.tests.support.layers import run_in
from p01.memcache.values import stamp
from p01.memcache.wire import cas
from p01.memcache.wire import reader
from p01.memcache.wire import replies


fuzz = load_tool('fuzz')
in_checkout = unittest.skipUnless(fuzz, 'bin/fuzz is for a checkout')


load_tests = run_in(Commands)


def run(*arguments):
    """Return the exit status of the command, and what it prints."""
    output = io.StringIO()
    with (contextlib.redirect_stdout(output),
          contextlib.redirect_stderr(output)):
        try:
            status = fuzz.main(arguments)
        except SystemExit as end:
            status = end.code
    return status, output.getvalue()


@in_checkout
class TargetTest(unittest.TestCase):

    def test_all_that_reads_a_reply(self):
        names = {
            name for name in vars(replies) if name.startswith('read_')}
        # The readers of these commands only call a function of those.
        commands = {
            class_.__name__ for class_ in find_commands()
            if 'read' in vars(class_)
            and class_.read not in vars(replies).values()
        } - {'Get', 'GetMany', 'Gets'}
        self.assertEqual(
            names | commands, set(fuzz.TARGETS) - {'cluster', 'read_classic'})

    def test_valid_replies(self):
        for number, target in enumerate(fuzz.TARGETS.values()):
            for reply, value in target.replies.items():
                kind, seen, _ = fuzz.outcome(target.read, io.BytesIO(reply))
                self.assertEqual((kind, seen), (None, value))
                for step in range(1, 12):
                    for rest in b'', b'\r\n', b'END\r\n', reply:
                        data = bytes((number, step)) + reply + rest
                        self.assertTrue(fuzz.examine(data), data)

    def test_other_seeds(self):
        for number in range(len(fuzz.TARGETS), len(fuzz.SEEDS)):
            for seed in fuzz.SEEDS[number]:
                self.assertTrue(fuzz.examine(bytes((number, 0)) + seed))

    def test_any_bytes(self):
        for data in b'', b'\0', b'\0\0', bytes(range(256)):
            self.assertFalse(fuzz.examine(data))

    def test_mutations_of_all_kinds(self):
        chance, valid, all_of = random.Random(1), set(), set()
        for _ in range(5000):
            data = fuzz.mutate(chance)
            all_of.add(data[0])
            if fuzz.examine(data):
                valid.add(data[0])
        self.assertEqual(all_of, set(range(len(fuzz.SEEDS))))
        self.assertEqual(valid, all_of)


class FaultyReader(reader.Reader):
    """A reader that does not check the end of a block of 5 bytes."""

    def read(self, size):
        data = super().read(size)
        if size == 5 and not self.is_empty():
            self.fill()
        return data


@in_checkout
class FaultTest(unittest.TestCase):
    """Faults put into the parser are found at once."""

    def assertFound(self, name=None, examined=30000):
        found, _ = fuzz.try_mutations(examined, 1)
        self.assertIsNotNone(found)
        if name is not None:
            self.assertEqual(fuzz.NAMES[found[0]], name)
        status, output = run('--input', found.hex())
        self.assertEqual(status, 1)
        self.assertIn('Traceback', output)
        self.assertIn(f'bin/fuzz --input {found.hex()}\n', output)
        return output

    def patch(self, place, name, value):
        self.enterContext(mock.patch.object(place, name, value))

    def test_none(self):
        self.assertIsNone(fuzz.try_mutations(3000, 1)[0])

    def test_a_number_that_is_too_large(self):
        self.patch(replies, 'MAX_NUMBER', 10 ** 20)
        self.assertFound()

    def test_a_value_that_does_not_end(self):
        self.patch(
            replies, 'read_block',
            lambda reader, size, *most: reader.read(size + 2)[:-2])
        self.assertFound()

    def test_bytes_that_are_left_over(self):
        self.patch(reader, 'Reader', FaultyReader)
        self.assertFound('read_block')

    def test_an_announced_size_is_allocated(self):
        def read(self, size):
            if size == 5:
                self._receive(1 << 30)
            return super(Greedy, self).read(size)

        Greedy = type('Greedy', (reader.Reader,), {'read': read})
        self.patch(reader, 'Reader', Greedy)
        self.assertIn('would be allocated', self.assertFound('read_block'))

    def test_another_exception(self):
        self.patch(replies, '_parse_number', lambda line: line.split()[:0])
        self.assertFound('read_number')

    def test_an_error_of_two_lines(self):
        self.patch(
            replies, 'unexpected', lambda line: ProtocolError('a\nb'))
        self.assertIn('does not fit', self.assertFound())

    def test_a_key_of_a_stamp(self):
        self.patch(stamp, 'is_stamp', re.compile(
            rb'[^ \n]+ [^ \n]+(?: [^ \n]+ [^ \n]+)*').fullmatch)
        self.assertFound('stamp.take')

    def test_a_token(self):
        self.patch(cas, 'MAX_NUMBER', 2 ** 70)
        self.assertFound('cas.parse')

    def test_an_endless_reply(self):
        armed = []
        self.patch(
            signal, 'setitimer', lambda timer, limit: armed.append(limit))

        def read_until_the_time_is_over(reader):
            signal.raise_signal(signal.SIGVTALRM)

        self.patch(replies, 'read_stats', read_until_the_time_is_over)
        output = self.assertFound('read_stats')
        self.assertIn(f'not examined within {fuzz.LIMIT} s', output)
        self.assertEqual(set(armed), {0, fuzz.LIMIT})

    def test_the_time_limit(self):
        def examine(data):
            while True:
                pass

        self.patch(fuzz, 'LIMIT', 0.01)
        self.patch(fuzz, 'examine', examine)
        with (fuzz.limited() as limited_examine,
              self.assertRaises(fuzz.TooSlow)):
            limited_examine(b'')


@in_checkout
class CommandTest(unittest.TestCase):

    def test_mutations(self):
        status, output = run('--mutations', '100', '--seed', '5')
        self.assertEqual(status, 0)
        self.assertRegex(
            output, r'\A100 mutated replies, --seed 5\n'
            r'\d+ of them valid, nothing found\n\Z')
        self.assertEqual(run('--mutations', '100', '--seed', '5')[1], output)

    def test_a_fault_is_reported(self):
        with mock.patch.object(replies, 'MAX_NUMBER', 10 ** 20):
            status, output = run('--mutations', '30000', '--seed', '1')
        self.assertEqual(status, 1)
        self.assertIn('Found: ', output)
        self.assertIn('something found\n', output)

    def test_no_fault_is_found(self):
        status, output = run('--input', '0b01')
        self.assertEqual(status, 0)
        self.assertIn('Nothing is wrong', output)

    def test_without_atheris(self):
        with mock.patch.dict(sys.modules, {'atheris': None}):
            status, output = run('--seconds', '1')
        self.assertEqual(status, 2)
        self.assertIn('p01.memcache[fuzz]', output)
        self.assertIn('--mutations', output)

    def test_wrong_arguments(self):
        for arguments in (
                ['--seconds', '0'], ['--seconds', '-1'], ['--seconds', 'x'],
                ['--mutations', '0'], ['--input', 'x'], ['x'],
                ['--seconds', '1', '--mutations', '1']):
            with self.subTest(arguments):
                status, output = run(*arguments)
                self.assertEqual(status, 2)
                self.assertIn('usage: ', output)


@in_checkout
class LongTest(unittest.TestCase):
    """A run of some seconds; the command itself has no limit."""

    level = 2

    def test_mutations(self):
        status, output = run('--mutations', '100000', '--seed', '1')
        self.assertEqual(status, 0, output)

    @unittest.skipUnless(
        importlib.util.find_spec('atheris'), 'there is no atheris')
    def test_guided(self):
        status, output = run('--seconds', '3', '--seed', '1')
        self.assertEqual(status, 0, output)
        [tried] = re.findall(r'\n(\d+) inputs tried, nothing found\n', output)
        self.assertGreater(int(tried), 1000)
