# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Attacks the parser with broken replies, and compares it with a second one.

The second parser, the models, is written in a different way, for data that has
arrived completely. Both must agree on each input: on the value or the error,
and on where the reply ends. See `examine`.

The command ``bin/fuzz`` makes the inputs. With ``--mutations`` it changes
valid replies at random. With ``--seconds`` atheris changes them, guided by the
code that they reach.
"""

import argparse
import contextlib
import importlib.util
import io
import ipaddress
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from functools import partial
from typing import NamedTuple

from p01.memcache.classic import host
from p01.memcache.classic import store
from p01.memcache.discovery import endpoint
from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.errors import UnreadableValue
from p01.memcache.transport.address import Address
from p01.memcache.values import stamp
from p01.memcache.wire import batch
from p01.memcache.wire import cas
from p01.memcache.wire import command
from p01.memcache.wire import meta
from p01.memcache.wire import reader
from p01.memcache.wire import replies
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_LINE
from p01.memcache.wire.limits import MAX_STATISTICS
from p01.memcache.wire.limits import MAX_VALUE


# The requested keys; one of them is a prefix of another.
KEY = b'key'
KEYS = KEY, b'k', b'a:longer/key'

# Seconds for one input, which takes microseconds.
LIMIT = 10

# The most bytes of an input: enough for a line that is too long.
LONGEST = 4096

# The most that a server can make us read beyond a reply.
AHEAD = MAX_LINE + reader.SIZE

# Seconds for the command to start and end its process.
PATIENCE = 60

# The parser's modules: atheris watches which of their lines are reached.
PARSER = (
    host, store, endpoint, batch, command, meta, reader, replies, stamp, cas)


# The models


class Text:
    """A reply that has arrived completely."""

    def __init__(self, data):
        self.data = data
        self.place = 0

    def line(self):
        line, end, _ = self.data[self.place:].partition(b'\n')
        if len(line + end) > MAX_LINE or (
                not end and len(line) == MAX_LINE):
            raise ProtocolError('too long')
        if not end:
            raise ReceiveError('cut')
        if not line.endswith(b'\r'):
            raise ProtocolError('a bad end')
        self.place += len(line + end)
        return line[:-1]

    def block(self, size):
        if size > MAX_VALUE:
            raise ProtocolError('too large')
        start, self.place = self.place, self.place + size + 2
        if self.place > len(self.data):
            self.place = len(self.data)
            raise ReceiveError('cut')
        if self.data[self.place - 2:self.place] != b'\r\n':
            raise ProtocolError('a bad end')
        return self.data[start:start + size]


def refuse(line):
    for beginning, kind in (
            (b'SERVER_ERROR ', ServerError),
            (b'ERROR Too many open connections', ServerBusy),
            (b'CLIENT_ERROR ', ClientError)):
        if line[:len(beginning)] == beginning:
            raise kind(line)
    raise (ClientError if line == b'ERROR' else ProtocolError)(line)


def is_number(word, digits=20):
    return 0 < len(word) <= digits and not word.strip(b'0123456789')


def to_unique(word):
    if not is_number(word) or int(word) >= 1 << 64:
        raise ProtocolError(word)
    return int(word)


def is_wrong_value(line, count):
    """Return whether the line does not begin a value, with `count` words."""
    words = line.split(b' ')
    return (len(words) != count or words[0] != b'VALUE'
            or not is_number(words[2], 10) or not is_number(words[3], 10))


def model_values(keys, text, found):
    while (line := text.line()) != b'END':
        if is_wrong_value(line, 4):
            refuse(line)
        _, key, flags, size = line.split(b' ')
        if key not in keys or key in found:
            raise ProtocolError(key)
        found[key] = Item(text.block(int(size)), int(flags))
    return found


def model_unique(text, found):
    line = text.line()
    if line == b'END':
        return None
    if is_wrong_value(line, 5):
        refuse(line)
    _, key, flags, size, unique = line.split(b' ')
    unique = to_unique(unique)
    if key != KEY:
        raise ProtocolError(key)
    data = text.block(int(size))
    if (line := text.line()) != b'END':
        refuse(line)
    return Item(data, int(flags), unique)


def model_leased(text, found):
    line = text.line()
    if line == b'EN':
        return None
    if line.startswith(b'EN k') and b' ' not in line[4:] and line[4:]:
        if line[4:] != KEY:
            raise ProtocolError(line)
        return None
    if not line.startswith(b'VA '):
        refuse(line)
    words = dict(zip(('size', 'f', 'c', 'k'), line.split(b' ')[1:],
                     strict=False))
    marks = line.split(b' ')[5:]
    if (len(words) < 4 or any(mark not in (b'W', b'X', b'Z') for mark in marks)
            or any(words[name][:1] != name.encode() for name in 'fck')
            or not is_number(words['size'], 10)
            or not is_number(words['f'][1:], 10)
            or words['k'] != b'k' + KEY):
        raise ProtocolError(line)
    unique = to_unique(words['c'][1:])
    data = text.block(int(words['size']))
    right = (
        meta.Right.OURS if b'W' in marks
        else meta.Right.THEIRS if b'Z' in marks else meta.Right.NOBODYS)
    return meta.Leased(Item(data, int(words['f'][1:]), unique), right)


def model_added(text, found):
    line = text.line()
    state, *words = line.split(b' ')
    unique = words.pop(0) if len(words) == 2 else b'c0'
    if (state not in (b'HD', b'NS') or len(words) != 1
            or words[0][:1] != b'k' or not words[0][1:]
            or unique[:1] != b'c' or not is_number(unique[1:])):
        refuse(line)
    if words[0][1:] != KEY:
        raise ProtocolError(line)
    return None if state == b'NS' else to_unique(unique[1:])


def model_is_leased(text, found):
    line = text.line()
    if line == b'EN':
        return True
    word, *words = line.split(b' ')
    size, marks = b''.join(words[:1]), words[1:]
    if word != b'HD' or not re.fullmatch(rb's[0-9]{1,10}', size) or any(
            mark not in (b'W', b'X', b'Z') for mark in marks):
        refuse(line)
    return marks != [] or int(size[1:]) > 0


def model_number(text, found):
    line = text.line()
    if line == b'NOT_FOUND':
        return None
    if line == b'CLIENT_ERROR cannot increment or decrement non-numeric value':
        return replies.NOT_A_NUMBER
    number = line.rstrip(b' ')
    if not is_number(number) or int(number) >= 1 << 64:
        refuse(line)
    return int(number)


def model_statistics(text, found):
    statistics = {}
    while (line := text.line()) != b'END':
        if line[:5] != b'STAT ':
            refuse(line)
        name, *value = line[5:].decode('utf-8', 'replace').split(' ', 1)
        statistics[name] = ''.join(value)
        if len(statistics) > MAX_STATISTICS:
            raise ProtocolError('too many')
    return statistics


def model_one_of(outcomes, text, found):
    line = text.line()
    if line not in outcomes:
        refuse(line)
    return outcomes[line]


def is_name(word):
    labels = word.removesuffix('.').split('.')
    return (len('.'.join(labels)) <= 253
            and all(0 < len(label) < 64 for label in labels)
            and not re.search('[^0-9A-Za-z_.-]', word))


def is_ip(word, versions):
    try:
        return ipaddress.ip_address(word).version in versions
    except ValueError:
        return False


def model_cluster(text, found):
    line = text.line()
    words = line.split(b' ')
    if (len(words) != 4 or words[:2] != [b'CONFIG', b'cluster']
            or not is_number(words[2], 10) or not is_number(words[3], 10)):
        refuse(line)
    if int(words[3]) > 1 << 20:
        raise ProtocolError('too large')
    data = text.block(int(words[3]))
    if (line := text.line()) != b'END':
        refuse(line)
    version, *nodes = re.split(b'\r?\n', data)
    if (not is_number(version) or nodes[1:] not in ([], [b''])
            or not nodes or b'\r' in nodes[0]):
        raise ProtocolError(data)
    servers = []
    for node in filter(None, nodes[0].split(b' ')):
        host, ip, port, *more = *node.decode('latin-1').split('|'), '', ''
        bare = host or ip
        if (more != ['', ''] or not is_number(port.encode('latin-1'), 5)
                or not 0 < int(port) < 65536
                or not (is_name(bare) or is_ip(bare, [6]))
                or ip and not is_ip(ip, [4, 6]) or '%' in ip):
            raise ProtocolError(node)
        shown = f'[{bare}]' if ':' in bare else bare
        servers.append(Address(
            f'{shown}:{int(port)}', bare, int(port),
            at='' if ip == bare else ip))
    return servers


def model_each(outcomes, text, found):
    for key in KEYS:
        try:
            found[key] = model_one_of(outcomes, text, found)
        except ServerError as error:
            found[key] = error


# The targets


class ClassicHost:
    """A host of the classic client, after the request was sent.

    All else is what python-memcached reads from.
    """

    readline = host.Host.readline
    read_block = host.Host.read_block

    def __init__(self, reader):
        self._reader = reader

    def _receive(self):
        return self._reader

    def send_cmd(self, command):
        pass


class ClassicClient(store._Client):

    def set_servers(self, servers):
        self.servers = self.buckets = servers


def read_classic(reader):
    """Let python-memcached read the value of `KEY`."""
    return ClassicClient([ClassicHost(reader)]).get_multi([KEY])


class Target(NamedTuple):
    """A reader of replies, its model, and valid replies.

    ``read(reader, found)`` is tested against ``model(text, found)``. The
    ``replies`` are bytes, and the values that they stand for.
    """

    read: object
    model: object
    replies: dict


def simple(read, outcomes):
    """Return a target that reads one line."""
    return Target(
        lambda reader, found: read(reader), partial(model_one_of, outcomes),
        {line + b'\r\n': value for line, value in outcomes.items()})


def leased(data, flags, unique, right):
    return meta.Leased(Item(data, flags, unique), right)


STORED = {b'STORED': True}
BLOCK = b'\0END\r\nVALUE key 0 1\r\nx\r\nEND\r\n \xff'
SIZED = len(BLOCK), BLOCK
WIDE = b'x' * (MAX_LINE - len(b'STAT a \r\n'))

TARGETS = {
    'read_values': Target(
        lambda reader, found: replies.read_values(
            reader, frozenset(KEYS), found),
        partial(model_values, KEYS), {
            b'END\r\n': {},
            b'VALUE key 0 0\r\n\r\nEND\r\n': {KEY: Item(b'', 0)},
            b'VALUE key 64 %d\r\n%b\r\nVALUE k 4294967295 3\r\nabc\r\n'
            b'VALUE a:longer/key 1 2\r\n\r\n\r\nEND\r\n' % SIZED: {
                KEY: Item(BLOCK, 64), b'k': Item(b'abc', 2 ** 32 - 1),
                b'a:longer/key': Item(b'\r\n', 1)},
        }),
    'read_item': Target(
        lambda reader, found: replies.read_item(reader, KEY),
        lambda text, found: model_values([KEY], text, {}).get(KEY), {
            b'END\r\n': None,
            b'VALUE key 64 %d\r\n%b\r\nEND\r\n' % SIZED: Item(BLOCK, 64),
        }),
    'read_unique': Target(
        lambda reader, found: replies.read_unique(reader, KEY),
        model_unique, {
            b'END\r\n': None,
            b'VALUE key 64 %d 18446744073709551615\r\n%b\r\nEND\r\n' % SIZED:
                Item(BLOCK, 64, 2 ** 64 - 1),
            b'VALUE key 0 0 1\r\n\r\nEND\r\n': Item(b'', 0, 1),
        }),
    'read_block': Target(
        lambda reader, found: replies.read_block(reader, 5),
        lambda text, found: text.block(5),
        {b'a\r\nbc\r\n': b'a\r\nbc'}),
    'read_stored': simple(replies.read_stored, STORED),
    'read_stored_or_not': simple(
        replies.read_stored_or_not, {**STORED, b'NOT_STORED': False}),
    'read_discarded': simple(
        replies.read_discarded,
        {**STORED, b'EXISTS': False, b'NOT_FOUND': True}),
    'read_compared': simple(
        replies.read_compared,
        {**STORED, b'EXISTS': False, b'NOT_FOUND': None}),
    'read_touched': simple(
        replies.read_touched, {b'TOUCHED': True, b'NOT_FOUND': False}),
    'read_deleted': simple(
        replies.read_deleted, {b'DELETED': True, b'NOT_FOUND': False}),
    'read_ok': simple(replies.read_ok, {b'OK': True}),
    'read_no_operation': simple(replies.read_no_operation, {b'MN': True}),
    'read_number': Target(
        lambda reader, found: replies.read_number(reader),
        model_number, {
            b'0\r\n': 0,
            b'18446744073709551615\r\n': 2 ** 64 - 1,
            b'9  \r\n': 9,
            b'NOT_FOUND\r\n': None,
            b'CLIENT_ERROR cannot increment or decrement non-numeric value'
            b'\r\n': replies.NOT_A_NUMBER,
        }),
    'Batch': Target(
        lambda reader, found: batch.Batch.of(
            [command.Set(key, b'', 0, 0) for key in KEYS], found,
        ).read(reader),
        partial(model_each, STORED), {
            b'STORED\r\nSTORED\r\nSTORED\r\n': None,
            b'STORED\r\nSERVER_ERROR out of memory\r\nSTORED\r\n': None,
        }),
    'read_stats': Target(
        lambda reader, found: replies.read_stats(reader),
        model_statistics, {
            b'END\r\n': {},
            b'STAT pid 1\r\nSTAT version 1.6.18 a b\r\nSTAT \xff\r\nSTAT  \r\n'
            b'END\r\n': {'pid': '1', 'version': '1.6.18 a b', '\ufffd': '',
                         '': ''},
            # a line of the greatest length
            b'STAT a %b\r\nEND\r\n' % WIDE: {'a': WIDE.decode()},
        }),
    'GetOrRenew': Target(
        lambda reader, found: meta.GetOrRenew(KEY, 0).read(reader),
        model_leased, {
            b'EN\r\n': None,
            b'EN kkey\r\n': None,
            b'VA 0 f0 c1 kkey W\r\n\r\n': leased(b'', 0, 1, meta.Right.OURS),
            b'VA 0 f0 c1 kkey Z\r\n\r\n': leased(b'', 0, 1, meta.Right.THEIRS),
            b'VA %d f64 c18446744073709551615 kkey X Z\r\n%b\r\n' % SIZED:
                leased(BLOCK, 64, 2 ** 64 - 1, meta.Right.THEIRS),
            b'VA 3 f4294967295 c2 kkey\r\nabc\r\n':
                leased(b'abc', 2 ** 32 - 1, 2, meta.Right.NOBODYS),
        }),
    'AddNumbered': Target(
        lambda reader, found: meta.AddNumbered(KEY, b'', 0, 0).read(reader),
        model_added, {
            b'HD c18446744073709551615 kkey\r\n': 2 ** 64 - 1,
            b'HD kkey\r\n': 0,
            b'NS c0 kkey\r\n': None,
        }),
    'IsLeased': Target(
        lambda reader, found: meta.IsLeased(KEY).read(reader),
        model_is_leased, {
            b'EN\r\n': True,
            b'HD s0\r\n': False,
            b'HD s3\r\n': True,
            b'HD s0 W\r\n': True,
            b'HD s3 X Z\r\n': True,
        }),
    'MakeStale': simple(
        meta.MakeStale(KEY, 1).read, {b'HD': True, b'EX': False, b'NF': None}),
    'cluster': Target(
        lambda reader, found: endpoint.parse(
            endpoint.GetCluster().read(reader), False),
        model_cluster, {
            b'CONFIG cluster 0 3\r\n1\n\n\r\nEND\r\n': [],
            b'CONFIG cluster 0 59\r\n12\na.example|10.0.0.1|11211 '
            b'10.0.0.2|10.0.0.2|11212 |::1|1\n\r\nEND\r\n': [
                Address('a.example:11211', 'a.example', 11211, at='10.0.0.1'),
                Address('10.0.0.2:11212', '10.0.0.2', 11212),
                Address('[::1]:1', '::1', 1)],
            b'CONFIG cluster 0 9\r\n7\r\na.b||9\r\nEND\r\n': [
                Address('a.b:9', 'a.b', 9)],
        }),
    'read_classic': Target(
        lambda reader, found: read_classic(reader),
        lambda text, found: model_values([KEY], text, {}), {
            b'END\r\n': {},
            b'VALUE key 0 0\r\n\r\nEND\r\n': {KEY: Item(b'', 0)},
            b'VALUE key 64 %d\r\n%b\r\nEND\r\n' % SIZED: {
                KEY: Item(BLOCK, 64)},
        }),
}


# The examination


def wrong(what, *args):
    raise AssertionError(what % args) from None


class Feed:
    """Gives a `Reader` the bytes, in pieces of a size."""

    def __init__(self, data, step):
        self._data = data
        self._step = step
        self.place = 0

    def __call__(self, size):
        if size > reader.PIECE:
            wrong('%d bytes would be allocated', size)
        piece = self._data[self.place:self.place + min(size, self._step)]
        if not piece:
            raise ReceiveError('the end')
        self.place += len(piece)
        return piece


def outcome(read, source):
    """Return the class of the error or None, the value, and what was found.
    """
    found, kind, value = {}, None, None
    try:
        value = read(source, found)
    except MemcacheError as error:
        # Its text is written to the log.
        if not str(error).isprintable():
            wrong('an error that does not fit on a line: %r', str(error))
        kind = type(error)
    # Only the class of an error is compared.
    return kind, value, {
        key: type(data) if isinstance(data, Exception) else data
        for key, data in found.items()}


def examine_reply(target, data, step):
    """Let the target read what may be a reply, with other data after it.

    Returns whether it is a reply. An `AssertionError` tells what is wrong.
    """
    text = Text(data)
    expected = outcome(target.model, text)
    rest = data[text.place:]
    # After a refusal, too, the connection is used again.
    is_whole = expected[0] in (None, ServerError)

    file = io.BytesIO(data)
    seen = outcome(target.read, file)
    if seen != expected:
        wrong('of a file %r was read, and not %r', seen, expected)
    if is_whole and file.read() != rest:
        wrong('of a file not %r was left', rest)

    feed = Feed(data, step)
    stream = reader.Reader(feed)

    def read(stream, found):
        stream.data = feed(reader.SIZE)  # like a connection
        return target.read(stream, found)

    seen = outcome(read, stream)
    if seen != expected:
        wrong('in pieces of %d bytes %r was read, and not %r', step, seen,
              expected)
    if feed.place - text.place > AHEAD:
        wrong('in pieces of %d bytes %d more were read', step,
              feed.place - text.place)
    if is_whole:
        try:
            left = stream.read(len(rest))
        except ReceiveError:
            left = None
        if left != rest or not stream.is_empty():
            wrong('in pieces of %d bytes not %r was left', step, rest)

    if is_whole:
        for cut in text.place - 1, step % text.place:
            seen, *_ = outcome(target.read, io.BytesIO(data[:cut]))
            if seen is not ReceiveError:
                wrong('of only %d bytes %r was made', cut, seen)
    return expected[0] is None


HEX = frozenset(b'0123456789abcdef')


def examine_stamp(data):
    """Let a stamp be taken off the data."""
    try:
        versions, rest = stamp.take(data)
    except UnreadableValue:
        return False
    line = data[:len(data) - len(rest)]
    words = line[:-1].split(b' ')
    if line[-1:] != b'\n' or b'\n' in line[:-1] or not data.endswith(rest):
        wrong('a stamp %r was taken', line)
    if dict(zip(words[::2], words[1::2], strict=True)) != versions:
        wrong('versions %r were taken from %r', versions, line)
    for key, version in versions.items():
        kind, _, digits = key.partition(b':')
        sizes = {b'tag': (32, 64), b'fresh': (16,)}.get(kind, ())
        if len(digits) not in sizes or not HEX.issuperset(digits):
            wrong('a key %r was taken', key)
        if len(version) != 16 or not HEX.issuperset(version):
            wrong('a version %r was taken', version)
    return True


def examine_token(data):
    """Let a token be parsed."""
    text = data.decode('utf-8', 'replace')
    number, at, server = text.partition('@')
    right = (at != '' and is_number(number.encode())
             and int(number) < 1 << 64)
    try:
        parsed = cas.parse(text)
    except ValueError:
        parsed = None
    if parsed != ((int(number), server) if right else None):
        wrong('a token was taken for %r', parsed)
    return right


EXAMINATIONS = [
    *(partial(examine_reply, target) for target in TARGETS.values()),
    lambda data, step: examine_stamp(data),
    lambda data, step: examine_token(data),
]
NAMES = [*TARGETS, 'stamp.take', 'cas.parse']

# Valid inputs, for each of them.
SEEDS = [
    *(tuple(target.replies) for target in TARGETS.values()),
    (b'tag:%b 0123456789abcdef\ndata' % (b'0a' * 16),
     b'fresh:%b %b tag:%b %b\n\r\n\n' % (
         b'1' * 16, b'1' * 16, b'2' * 64, b'3' * 16)),
    (b'1@127.0.0.1:11211', b'18446744073709551615@fake'),
]


def examine(data):
    """Examine an input: a target's number, the size of a piece, and a reply.

    Returns whether the reply is valid. An `AssertionError`, or any other
    exception, tells what is wrong.
    """
    if len(data) < 2:
        return False
    return EXAMINATIONS[data[0] % len(EXAMINATIONS)](
        data[2:], data[1] or reader.SIZE)


def describe(data):
    """Return two lines: the input's target, and how to repeat it."""
    if len(data) < 2:
        return f'{data!r}, which is no input\n'
    name, step = NAMES[data[0] % len(NAMES)], data[1] or reader.SIZE
    return (f'{name}, in pieces of {step} bytes: {data[2:]!r}\n'
            f'bin/fuzz --input {data.hex()}')


# Mutations


def flip_bit(data, start, end, word):
    flipped = bytes(byte ^ 1 << end % 8 for byte in data[start:start + 1])
    return data[:start] + flipped + data[start + 1:]


def replace_number(data, start, end, word):
    parts = re.split(rb'(\d+)', data)
    if len(parts) > 1:
        parts[1 + 2 * (start % (len(parts) // 2))] = word
    return b''.join(parts)


# Each changes a reply, given a piece of it and a word.
EDITS = (
    flip_bit,
    replace_number,
    lambda data, start, end, word: data[:start] + data[end:],
    lambda data, start, end, word: data[:end] + data[start:],
    lambda data, start, end, word: data[:start] + word + data[start:],
    lambda data, start, end, word: data[:start] + word + data[end:],
    lambda data, start, end, word: data[:start],
    lambda data, start, end, word: data + word,
)

NUMBERS = (
    b'0', b'1', b'9', b'-1', b'+1', b'1e3', b'0x1', b'\xd9\xa1', b'4294967296',
    b'1073741824', b'1073741825', b'8589934592', b'9' * 10, b'9' * 11,
    b'9' * 20, b'9' * 21, b'18446744073709551615', b'18446744073709551616',
    b'0' * 19 + b'1')

WORDS = (
    *NUMBERS, b'\r\n', b'\n', b'\r', b' ', b'\0', b'\xff', b'@', b'-',
    b'VALUE ', b'VALUE key 0 1\r\nx\r\n', b'VALUE other 0 1\r\nx\r\n', b'END',
    b'STAT ', b'STAT a 1\r\n', b'VA ', b'HD', b'EN', b' W', b' X', b' Z',
    b' f0', b' c1', b' kkey', b'key', b'k', b'STORED\r\n', b'NOT_FOUND\r\n',
    b'ERROR\r\n',
    b'SERVER_ERROR out of memory\r\n', b'SERVER_ERROR \x1b[2J',
    b'CLIENT_ERROR line too long\r\n', b'ERROR Too many open connections\r\n',
    b'x' * 250, b' ' * 300, b'x' * MAX_LINE,
    *sorted({reply for replies in SEEDS for reply in replies}))


def mutate(chance):
    """Return an input, made from a valid one by some edits."""
    target = chance.randrange(len(SEEDS))
    data = chance.choice(SEEDS[target])
    for _ in range(chance.randrange(5)):
        # Most pieces are short, like the parts of a reply that matter.
        start = chance.randrange(len(data) + 1)
        end = min(start + chance.choice((1, 1, 2, 5, 50)), len(data))
        word = chance.choice(chance.choice((NUMBERS, WORDS)))
        data = chance.choice(EDITS)(data, start, end, word)
    step = chance.choice((0, 1, 2, chance.randrange(256)))
    return bytes((target, step)) + data


class TooSlow(BaseException):
    """The examination of an input took too long."""


@contextlib.contextmanager
def limited():
    """Yield a function that examines an input within a limit of time.

    The limit is in CPU time of this process, as the machine may be busy.
    """
    def interrupt(*args):
        raise TooSlow(f'not examined within {LIMIT} s')

    def limited_examine(data):
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
        return examine(data)

    former = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        yield limited_examine
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)


def try_mutations(count, seed):
    """Return the bad input, or None, and how many inputs were valid."""
    chance, valid = random.Random(seed), 0
    with limited() as limited_examine:
        for _ in range(count):
            data = mutate(chance)
            try:
                valid += limited_examine(data)
            except (Exception, TooSlow):
                return data, valid
    return None, valid


# atheris

# It must see the parser before any other module imports it.
CHILD = '''\
import sys
import atheris
with atheris.instrument_imports(include=sys.argv.pop(1).split(',')):
    import fuzz
atheris.Setup(sys.argv, fuzz.examine)
atheris.Fuzz()
'''


def has_atheris():
    return importlib.util.find_spec('atheris') is not None


def try_guided(seconds, seed):
    """Return the bad input, or None, and how many inputs were tried.

    A RuntimeError tells why it could not be run.
    """
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory()))
        corpus = folder / 'corpus'
        corpus.mkdir()
        for target, replies in enumerate(SEEDS):
            for number, reply in enumerate(replies):
                (corpus / f'{target}-{number}').write_bytes(
                    bytes((target, number)) + reply)
        words = folder / 'words'
        words.write_text(''.join(
            '"{}"\n'.format(''.join(f'\\x{byte:02x}' for byte in word))
            for word in WORDS))
        output = stack.enter_context(open(folder / 'output', 'w+b'))
        # atheris ends its process itself, so it gets one of its own.
        child = stack.enter_context(subprocess.Popen(
            (sys.executable, '-P', '-c', CHILD,
             ','.join(module.__name__ for module in PARSER),
             f'-max_total_time={seconds}', f'-seed={seed}',
             f'-max_len={LONGEST}', f'-timeout={LIMIT}',
             '-rss_limit_mb=512', '-print_final_stats=1', f'-dict={words}',
             f'-artifact_prefix={folder}/found-', str(corpus)),
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT))
        stack.callback(child.kill)
        try:
            status = child.wait(seconds + LIMIT + PATIENCE)
        except subprocess.TimeoutExpired:
            status = 'of no kind: it did not end'
        output.seek(0)
        said = output.read().decode(errors='replace')
        found = [file.read_bytes() for file in folder.glob('found-*')]
    tried = [line.split()[1] for line in said.splitlines()
             if line.startswith('stat::number_of_executed_units:')]
    if not found and (status != 0 or not tried):
        raise RuntimeError(f'atheris ended with status {status}:\n{said}')
    return found[0] if found else None, int((tried or [0])[0])


# The command


def number(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog='fuzz', description='Has the parser read replies that no server'
        ' should send, and compares what it makes of them with what a second,'
        ' simple parser does. The exit status is 1 if they differ, and what'
        ' they differ about is printed, with the arguments that repeat it.')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--seconds', metavar='N', type=number, default=60,
        help='seconds to run, guided by the code that replies reach (default:'
        ' 60; needs atheris, the extra "fuzz" of the package)')
    what.add_argument(
        '--mutations', metavar='N', type=number,
        help='how many valid replies to change at random (a million take about'
        ' a minute)')
    what.add_argument(
        '--input', metavar='HEX', type=bytes.fromhex,
        help='an input that was found before')
    parser.add_argument(
        '--seed', metavar='N', type=number,
        help='a number that makes a run repeat the one with the same seed')
    return parser.parse_args(arguments)


def report(data):
    """Print what is wrong with an input. Returns the exit status."""
    with limited() as limited_examine:
        try:
            limited_examine(data)
        except (Exception, TooSlow):
            print(f'Found: {describe(data)}\n{traceback.format_exc()}')
            return 1
    print(f'Nothing is wrong with {describe(data)}')
    return 0


def main(arguments=None):
    given = parse_arguments(arguments)
    if given.input is not None:
        return report(given.input)
    seed = given.seed or random.randrange(1, 2 ** 31)
    if given.mutations:
        print(f'{given.mutations} mutated replies, --seed {seed}', flush=True)
        found, valid = try_mutations(given.mutations, seed)
        tried = f'{valid} of them valid'
    elif has_atheris():
        print(f'{given.seconds} seconds of atheris, --seed {seed}', flush=True)
        found, tried = try_guided(given.seconds, seed)
        tried = f'{tried} inputs tried'
    else:
        print('--seconds needs atheris: install p01.memcache[fuzz] where it'
              ' exists (Linux on x86_64), or try --mutations', file=sys.stderr)
        return 2
    if found is not None:
        # Alone it may pass, if the problem was time or memory.
        report(found)
    print(f'{tried}, {"nothing" if found is None else "something"} found')
    return 0 if found is None else 1


if __name__ == '__main__':
    sys.exit(main())
