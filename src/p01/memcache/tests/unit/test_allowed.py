# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The allow-list: pickles that may name only what is in it.

Those that name anything else must leave no mark: no file, import or attribute.
"""

import contextlib
import copyreg
import dataclasses
import datetime
import decimal
import encodings
import enum
import importlib
import os
import pathlib
import pickle
import struct
import sys
import tempfile
import time
import unittest
import uuid
import zoneinfo
from typing import NamedTuple
from unittest import mock

from p01.memcache.errors import ForbiddenGlobal
from p01.memcache.testing import FakeMemcacheClient
from p01.memcache.testing import getFakeBackend
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.values import MISSING
from p01.memcache.values import allowlist
from p01.memcache.values import careful
from p01.memcache.values import tools
from p01.memcache.values.allowlist import Allowlist
from p01.memcache.values.unpickler import loads


HERE = __name__
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

# Modules of an application. The last one reveals that it was imported.
MODEL = """
import enum, os
from os.path import join
from decimal import Decimal
from p01shop import modelx

class Item:
    price = 5
    limit = [5]

    class Part:
        pass

    @staticmethod
    def check(title='default'):
        return title

    @classmethod
    def load(cls, title):
        return title

class Role(enum.Enum):
    USER = 'user'
    ADMIN = 'admin'

    def __call__(self):
        Registry.seen.append('member')

class Palette(dict, enum.Enum):
    MAIN = {'bg': 'white'}

class Registry:
    seen = []

    @classmethod
    def add(cls, *items):
        cls.seen.extend(items)

    append = extend = __setitem__ = add

class Plugin(type):
    made = []

    def __init__(cls, *args):
        Plugin.made.append(cls)

    def __setitem__(cls, *item):
        Plugin.made.append(item)

class Own(metaclass=Plugin):
    pass

class Caller:

    def __call__(self, *args, **kw):
        Registry.seen.append('called')

    def __init__(self):
        self.__new__ = self.__init__ = self.__call__

    def __getattr__(self, name):
        return self.__call__

class Special:
    pass

for name in ('bool bytes call complex contains eq fspath float getitem index'
             ' int iter len length_hint next repr round str trunc').split():
    def method(self, *args, name=name):
        Registry.seen.append(name)
        raise ValueError

    setattr(Special, f'__{name}__', method)

Special.__hash__ = object.__hash__
Special.keys = Special.items = Special.__iter__

class Told:

    @staticmethod
    def use(argument):
        list(argument)

for name in ('init getattribute setstate setitem hash eq iter del').split():
    def method(self, *args, name=name):
        Registry.seen.append(name)
        if name == 'getattribute':
            return object.__getattribute__(self, *args)
        if name == 'hash':
            return 5
        if name == 'eq':
            return False
        if name == 'iter':
            return iter(())

    setattr(Told, f'__{name}__', method)

def __new__(cls, *args):
    Registry.seen.append('new')
    return object.__new__(cls)

Told.__new__ = __new__
Told.append = lambda self, item: Registry.seen.append('append')
Told.extend = lambda self, items: Registry.seen.append('extend')
Told.add = lambda self, item: Registry.seen.append('add')

class Slots:
    __new__ = __new__
    __slots__ = ('other',)

    def __getattr__(self, name):
        Registry.seen.append('getattr')
        raise AttributeError

    def __setattr__(self, name, value):
        Registry.seen.append('setattr')
        object.__setattr__(self, name, value)

    def set_price(self, value):
        Registry.seen.append('setter')

    price = property(None, set_price)
    __del__ = Told.__del__

class Speaking(str):

    def __eq__(self, other):
        Registry.seen.append('eq')

    def encode(self, *args):
        Registry.seen.append('encode')

    __hash__ = str.__hash__

class Lazy:

    def __get__(self, instance, owner=None):
        Registry.seen.append('asked')
        return Item

class Holder:
    lazy = Lazy()

Item.default = Item()

def load(title='default'):
    return title

def remove(path='default'):
    open(path, 'w').close()

Alias = modelx.Item
Same = Item
"""
MODULES = {
    '__init__': '',
    'model': MODEL,
    'modelx': 'class Item: pass',
    'evil': 'open({mark!r}, "w").close()\nclass Item: pass',
}
ALLOW = ['p01shop.model', 'p01shop.model.load', 'p01shop.model.Item.check']


class Colour(enum.Enum):
    RED = 1
    GREEN = 'green'


class Number(enum.IntEnum):
    ONE = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Plain:

    def __init__(self, value=None):
        self.value = value

    def __eq__(self, other):
        return type(self) is type(other) and vars(self) == vars(other)

    class Nested:

        def __eq__(self, other):
            return type(self) is type(other)


class Slots:
    __slots__ = ('a', 'b')

    def __eq__(self, other):
        return type(self) is type(other) and self.a == other.a


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Data:
    name: str
    more: list


@dataclasses.dataclass(slots=True)
class SlotData:
    name: str
    more: list


@dataclasses.dataclass(slots=True, frozen=True)
class FrozenData:
    name: str


class Dict(dict):
    pass


class List(list):
    pass


class Set(set):
    pass


class Text(str):
    pass


class Bytes(bytes):
    pass


class ByteArray(bytearray):
    pass


class Tuple(tuple):
    pass


class Integer(int):

    def __reduce__(self):
        return Integer, (str(int(self)),)


class Mapping(dict):

    def __init__(self, items, more):
        super().__init__(items)

    def __reduce__(self):
        return Mapping, (list(self.items()), None)


class WithArguments:

    def __init__(self, value):
        self.value = value

    def __getnewargs_ex__(self):
        return (), {'value': self.value}

    def __new__(cls, value):
        return super().__new__(cls)

    def __eq__(self, other):
        return type(self) is type(other) and self.value == other.value


class WithState:

    def __getstate__(self):
        return [1]

    def __setstate__(self, state):
        self.state = state

    def __eq__(self, other):
        return type(self) is type(other)


class Reduced:

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return make, (self.value,)

    def __eq__(self, other):
        return type(self) is type(other) and self.value == other.value


def make(value):
    return Reduced(value)


# Values that need no list, and values that are read with one.
STANDARD = [
    None, True, False, 0, -1, 2 ** 70, 1.5, float('inf'), 1 + 2j, '', 'ü', b'',
    bytes(range(256)), bytearray(b'x\0'), (), (1,), (1, 2, 3, 4), [], [1], {},
    {'a': 1}, set(), {1}, frozenset(), frozenset({1}), range(1, 9, 2),
    slice(1, 2), bool, int, float, str, bytes, tuple, list, dict, set,
    {'a': [({1}, frozenset({(b'x', None)}), {'b': bytearray(b'y')})]},
]
LISTED = [
    (['datetime'], [
        datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
        datetime.time(1), datetime.timedelta(1, 2, 3),
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        datetime.timezone(datetime.timedelta(hours=2), 'name')]),
    (['datetime.date'], [datetime.date(2026, 1, 2)]),
    (['decimal.Decimal'], [decimal.Decimal('1.50')]),
    (['uuid', 'uuid.SafeUUID'], [uuid.UUID(int=5)]),
    (['zoneinfo.ZoneInfo', 'zoneinfo.ZoneInfo._unpickle'],
     [zoneinfo.ZoneInfo('UTC')]),
    ([HERE], [
        Colour.RED, Colour.GREEN, Number.ONE, Access.READ,
        Access(0), Plain(), Plain([Plain('b')]), Plain.Nested(), Point(1, 2),
        Data('b', [1]), SlotData('b', [Data]), FrozenData('b'),
        Dict(a=Colour.RED), List([1, List()]), Set({1}), Text('b'),
        Bytes(b'b'), ByteArray(b'b'), Tuple((1,)), Integer(7),
        Mapping([(Point(1, 2), 3)], None),
        WithArguments('b'), WithState(), Plain, Colour,
        {Colour.RED: [Point(Plain(1), Access.READ)]}]),
    ([f'{HERE}.Reduced', f'{HERE}.make'], [Reduced('b'), make, [make, make]]),
    ([f'{HERE}.make'], [Reduced('b')]),
    ([f'{HERE}.Plain', f'{HERE}.Plain.Nested'], [Plain.Nested()]),
    ([f'{HERE}.Colour'], [Colour.RED]),
]


# The oldest protocols that can be tested for these: with older ones the pickle
# is different, or needs functools.partial.
WANTED = {SlotData: 2, FrozenData: 2, WithArguments: 4}


def string(text):
    data = text.encode('utf-8', 'surrogatepass')
    return b'X' + struct.pack('<I', len(data)) + data


def fragment(value):
    """Return the pickle of a value, as a part of another one."""
    return pickle.dumps(value, 2)[2:-1]


def by_stack(module, name):
    return string(module) + string(name) + b'\x93'


def by_line(module, name):
    return b'c%b\n%b\n' % (module.encode(), name.encode())


def calls(module, name, args):
    """Yield the pickles that call a global: (how, pickle)."""
    packed = fragment(args)
    parts = b''.join(map(fragment, args))
    stack = by_stack(module, name)
    yield 'reduced', b'\x80\x04' + stack + packed + b'R.'
    yield 'new', b'\x80\x04' + stack + packed + b'\x81.'
    yield 'new, ex', b'\x80\x04' + stack + packed + b'}\x92.'
    yield 'object', b'\x80\x04(' + stack + parts + b'o.'
    yield 'named', b'\x80\x04' + stack + b'.'
    yield 'remembered', b'\x80\x04' + stack + b'\x940h\0' + packed + b'R.'
    yield 'framed', b'\x80\x04\x95' + struct.pack('<Q', len(stack)) + (
        stack + packed + b'R.')
    try:
        line = by_line(module, name)
        line.decode('ascii')
    except UnicodeError:
        return
    if b'\n' not in module.encode() + name.encode():
        for start in b'', b'\x80\x02', b'\x80\x03':
            yield 'by line', start + line + packed + b'R.'
            yield 'instance', start + b'(' + parts + b'i' + line[1:] + b'.'


def few_calls(module, name, args):
    """Return a pickle that names it on the stack, and one by a line."""
    ways = dict(calls(module, name, args))
    return [(how, ways[how]) for how in ('reduced', 'instance')
            if how in ways]


class AllowedCase(unittest.TestCase):

    def setUp(self):
        keep_quiet(self)
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        self.mark = self.folder / 'mark'
        package = self.folder / 'p01shop'
        package.mkdir()
        for name, text in MODULES.items():
            (package / f'{name}.py').write_text(
                text.replace('{mark!r}', repr(str(self.mark))))
        self.enterContext(mock.patch.object(
            sys, 'path', [str(self.folder), *sys.path]))
        self.enterContext(mock.patch.object(sys, 'dont_write_bytecode', True))
        self.addCleanup(self.forget)
        self.usual = self.client()

    def forget(self):
        for name in [name for name in sys.modules
                     if name.partition('.')[0] == 'p01shop']:
            del sys.modules[name]

    def client(self, allow=ALLOW, **settings):
        client = FakeMemcacheClient(
            **{'allow': allow, 'debug': 1, **settings})
        self.addCleanup(client.close)
        return client

    def read(self, client, data):
        built = client.buildKey('key')
        getFakeBackend(client).cache[built] = data, 0
        return client.query('key', default=MISSING)

    def assertUnreadable(self, data, name, reason, client=None):
        """Reading is a miss, counted and logged; return what was logged."""
        client = client or self.usual
        before = client.getUnreadable()
        with self.assertLogs('p01.memcache', 'DEBUG') as log:
            self.assertEqual(self.read(client, data), MISSING)
        self.assertEqual(
            client.getUnreadable(), {**before, name: before.get(name, 0) + 1})
        [record] = log.records
        message = record.getMessage()
        self.assertIn(reason, message)
        self.assertTrue(message.isprintable(), ascii(message))
        self.assertFalse(self.mark.exists())
        return message

    def assertForbidden(self, data, path, client=None):
        return self.assertUnreadable(
            data, 'ForbiddenGlobal', f'{path} is not allowed', client)


class ForbiddenTest(AllowedCase):
    """Globals that are not in the list."""

    def gadgets(self):
        mark = str(self.mark)
        shell = f'touch {mark}'
        code = f'open({mark!r}, "w").close()'
        inner = b'\x80\x04' + by_stack('os', 'system') + fragment(
            (shell,)) + b'R.'
        return [
            ('os', 'system', (shell,)),
            ('os', 'open', (mark, 65)),
            ('posix', 'system', (shell,)),
            ('subprocess', 'Popen', (['touch', mark],)),
            ('subprocess', 'run', (['touch', mark],)),
            ('builtins', 'eval', (code,)),
            ('builtins', 'exec', (code,)),
            ('builtins', 'open', (mark, 'w')),
            ('builtins', 'compile', (code, '', 'exec')),
            ('builtins', '__import__', ('p01shop.evil',)),
            ('builtins', 'type', ('x',)),
            ('builtins', 'map', (None, [])),
            ('builtins', 'setattr', (None, 'a', 1)),
            ('builtins', 'object.__subclasses__', ()),
            ('builtins', 'set.__class__', ('x',)),
            ('io', 'open', (mark, 'w')),
            ('pathlib', 'Path', (mark,)),
            ('operator', 'attrgetter', ('system',)),
            ('operator', 'methodcaller', ('system',)),
            ('functools', 'partial', (1,)),
            ('functools', 'reduce', (1, [])),
            ('codecs', 'decode', (b'x', 'hex')),
            ('_codecs', 'decode', (b'x', 'hex')),
            ('importlib', 'import_module', ('p01shop.evil',)),
            ('runpy', 'run_module', ('p01shop.evil',)),
            ('pickle', 'loads', (inner,)),
            ('_pickle', 'loads', (inner,)),
            ('copyreg', 'add_extension', ('os', 'system', 250)),
            ('copyreg', 'pickle', (1, 2)),
            ('copyreg', 'constructor', (1,)),
            ('types', 'FunctionType', ()),
            ('sys', 'modules', ()),
            ('sys', 'exit', ()),
            ('collections', 'OrderedDict', ()),
            ('p01.memcache.values.allowlist', 'Allowlist', (['os'],)),
            ('p01shop.evil', 'Item', ()),
            ('__main__', 'x', ()),
        ]

    def test_gadgets(self):
        for module, name, args in self.gadgets():
            for how, data in calls(module, name, args):
                with self.subTest(module=module, name=name, how=how):
                    self.assertForbidden(data, f'{module}.{name}')
        self.assertNotIn('p01shop.evil', sys.modules)
        self.assertNotIn('p01shop', sys.modules)
        self.assertEqual(copyreg._extension_registry, {})

    def test_without_the_list_they_leave_a_mark(self):
        # The same pickles, read without the list.
        for module, name, args in self.gadgets()[:8]:
            with self.subTest(module=module, name=name):
                _, data = next(calls(module, name, args))
                found = pickle.loads(data)
                if name == 'Popen':
                    self.assertEqual(found.wait(), 0)
                elif name == 'open' and module == 'os':
                    os.close(found)
                elif name == 'open':
                    found.close()
                self.assertTrue(self.mark.exists())
                self.mark.unlink()

    def test_names_of_python_2(self):
        code = f'open({str(self.mark)!r}, "w")'
        for module, name, args, path in [
                ('__builtin__', 'eval', (code,), 'builtins.eval'),
                ('__builtin__', 'apply', (), 'builtins.apply'),
                ('__builtin__', 'reduce', (), 'functools.reduce'),
                ('__builtin__', 'file', (), 'builtins.file'),
                ('copy_reg', 'pickle', (), 'copyreg.pickle'),
                ('commands', 'getoutput', ('touch x',),
                 'subprocess.getoutput'),
                ('cPickle', 'loads', (b'N.',), 'pickle.loads')]:
            for how, data in calls(module, name, args):
                with self.subTest(module=module, name=name, how=how):
                    self.assertForbidden(data, path)

    def test_detours_around_allowed_names(self):
        for module, name in [
                ('p01shop.model', 'os.system'),
                ('p01shop.model', 'os'),
                ('p01shop.model', 'join'),
                ('p01shop.model', 'enum'),
                ('p01shop.model', 'Decimal'),
                ('p01shop.model', 'Alias'),
                ('p01shop.model', 'modelx.Item'),
                ('p01shop.model', 'Same'),
                ('p01shop.model', 'remove'),
                ('p01shop.model', 'load.__globals__'),
                ('p01shop.model', 'load.__class__'),
                ('p01shop.model', 'Item.load'),
                ('p01shop.model', 'Item.price'),
                ('p01shop.model', 'Item.limit'),
                ('p01shop.model', 'Item.limit.append'),
                ('p01shop.model', 'Item.__class__'),
                ('p01shop.model', 'Item.__subclasses__'),
                ('p01shop.model', 'Item.check.__globals__'),
                ('p01shop.model', 'Item.__init__'),
                ('p01shop.model', 'Role.USER'),
                ('p01shop.model', '__builtins__'),
                ('p01shop.model', '__loader__'),
                ('p01shop', 'model'),
                ('p01shop', 'model.Item.load'),
                ('p01shop', 'evil'),
                ('p01shop.modelx', 'Item'),
                ('p01shop.mode', 'l.Item'),
                ('p01shop.model.Item', 'x'),
                ('p01shop.model.Item', 'Part'),
                ('p01shop.model.sub', 'Item'),
                ('p01shop.nowhere', 'Item'),
                ('p01shop/model', 'Item'),
                ('P01shop.model', 'Item'),
                ('p01shop.model.', 'Item'),
                ('.p01shop.model', 'Item'),
                ('p01shop..model', 'Item'),
                (' p01shop.model', 'Item'),
                ('p01shop.model ', 'Item'),
                ('.', 'model')]:
            for how, data in few_calls(module, name, (str(self.mark),)):
                with self.subTest(module=module, name=name, how=how):
                    self.assertForbidden(data, f'{module}.{name}')
        self.assertNotIn('p01shop.evil', sys.modules)

    def test_malformed_names(self):
        for name in ('', '.', 'Item.', '.Item', 'Item..Part', 'Nothing', ' ',
                     'Item\0', '<locals>', 'load.<locals>.x'):
            for how, data in few_calls('p01shop.model', name, ()):
                with self.subTest(name=name, how=how):
                    client = self.client()
                    self.assertEqual(self.read(client, data), MISSING)
                    self.assertEqual(sum(client.getUnreadable().values()), 1)
        for name in 'p01shop.model.Item', '':
            for how, data in calls('', name, ()):
                with self.subTest(name=name, how=how):
                    self.assertEqual(self.read(self.client(), data), MISSING)
        client = self.client(['p01shop.nowhere'])
        self.assertUnreadable(
            by_line('p01shop.nowhere', 'Item') + b'.', 'UnreadableValue',
            'p01shop.nowhere', client)

    def test_a_module_is_not_a_value(self):
        # Otherwise its globals could be changed.
        importlib.import_module('p01shop.model')
        for data in (by_line('p01shop', 'model') + b'.',
                     b'\x80\x04' + by_stack('p01shop', 'model') + b'.'):
            self.assertForbidden(data, 'p01shop.model')

    def test_forbidden_names_in_the_log(self):
        for name in ('a\nb', 'a\r\nWARNING:root:all is well', '\x1b[2Jx',
                     '\u2028', '\u202e', '\0', '\x85', '\t', '\ud800',
                     'x' * 100_000, '\n' * 100_000, '%s %d %(x)s', '{0}'):
            for module, own in (name, 'x'), ('os', name):
                with self.subTest(name=name[:20]):
                    message = self.assertUnreadable(
                        b'\x80\x04' + by_stack(module, own) + b'.',
                        'ForbiddenGlobal', 'is not allowed')
                    self.assertLess(len(message), 1000)
        message = self.assertForbidden(
            b'\x80\x04' + by_stack('os', 'größe') + b'.', 'os.größe')
        self.assertNotIn('\\', message)

    def test_globals_of_the_wrong_type(self):
        for data in (
                b'\x80\x04NN\x93.', b'\x80\x04K\1K\2\x93.',
                b'\x80\x04C\2osC\6system\x93.', b'\x80\x04' + string('os')
                + b']\x93.', b'\x80\x04\x93.'):
            client = self.client()
            self.assertEqual(self.read(client, data), MISSING)
            self.assertEqual(client.getUnreadable(), {'UnreadableValue': 1})

    def test_persistent_ids(self):
        for data in b'Pos.system\n.', b'\x80\x02X\1\0\0\0aQ.', b'N(Q.':
            client = self.client()
            self.assertEqual(self.read(client, data), MISSING)
            self.assertEqual(client.getUnreadable(), {'UnreadableValue': 1})

    def test_getattr(self):
        # Members of an enum are pickled with getattr.
        self.client().query('key')
        item, load = (by_line('p01shop.model', name)
                      for name in ('Item', 'load'))
        role = by_line('p01shop.model', 'Role')
        for name, owner, path in [
                ('__subclasses__', item, 'p01shop.model.Item.__subclasses__'),
                ('__init__', item, 'p01shop.model.Item.__init__'),
                ('load', item, 'p01shop.model.Item.load'),
                ('__class__', item, 'p01shop.model.Item.__class__'),
                ('__members__', role, 'p01shop.model.Role.__members__'),
                ('_member_map_', role, 'p01shop.model.Role._member_map_'),
                ('__globals__', load, 'builtins.getattr'),
                ('__init__', b'cbuiltins\nobject\n', 'builtins.getattr'),
                ('__self__', b'cbuiltins\ngetattr\n', 'builtins.getattr'),
                ('__class__', b'N', 'builtins.getattr'),
                ('__class__', item + b')\x81', 'builtins.getattr'),
                ('value', role + fragment(('user',)) + b'R',
                 'builtins.getattr')]:
            for module in 'builtins', '__builtin__':
                with self.subTest(name=name, path=path):
                    self.assertForbidden(
                        by_line(module, 'getattr') + b'(' + owner
                        + fragment(name) + b'tR.', path)
        # A name that is no str, or with a default.
        for arguments in item + b'K\1', item + fragment('x') + b'N':
            client = self.client()
            self.assertEqual(self.read(
                client, by_line('builtins', 'getattr') + b'(' + arguments
                + b'tR.'), MISSING)

    def test_the_function_that_makes_bytes(self):
        encode = by_line('_codecs', 'encode')
        for encoding in 'rot13', 'hex', 'idna', 'latin1 ', '':
            client = self.client()
            self.assertEqual(self.read(
                client, encode + fragment(('x', encoding)) + b'R.'), MISSING)
            self.assertEqual(client.getUnreadable(), {'ForbiddenGlobal': 1})
        self.assertEqual(self.read(
            self.client(), encode + fragment(('ü', 'latin1')) + b'R.'),
            b'\xfc')

    def test_the_arguments_that_make_bytes(self):
        from p01shop import model
        encode = by_line('_codecs', 'encode')
        text = by_line('p01shop.model', 'Speaking') + b')\x81'
        for arguments in text + b'\x85', text * 2 + b'\x86', (
                fragment('x') + text + b'\x86'):
            for call in (b'R', b'\x81'):
                self.assertUnreadable(
                    b'\x80\x04' + encode + arguments + call + b'.',
                    'ForbiddenGlobal', 'is not allowed')
        self.assertEqual(model.Registry.seen, [])

    def test_no_decision_is_cached(self):
        client = self.client()
        for module, name in [('os', 'system'), ('p01shop.model', 'remove')]:
            for _ in range(3):
                with self.assertRaises(ForbiddenGlobal):
                    client._state.codec.loads(
                        b'key', by_line(module, name) + b'.', 0, False)
        self.assertEqual(client.query('key', default=MISSING), MISSING)

    def test_a_changed_list(self):
        client = self.client([])
        data = pickle.dumps(datetime.date(2026, 1, 2))
        self.assertEqual(self.read(client, data), MISSING)
        client.allow = ('datetime',)
        self.assertEqual(client.allow, ['datetime'])
        self.assertEqual(self.read(client, data), datetime.date(2026, 1, 2))
        for wrong in 'datetime', ['a b'], [''], [1]:
            with self.assertRaisesRegex((TypeError, ValueError), 'allow'):
                client.allow = wrong
            self.assertEqual(
                self.read(client, data), datetime.date(2026, 1, 2))
        client.allow = []
        self.assertEqual(self.read(client, data), MISSING)
        client.allow = None
        self.assertEqual(self.read(client, data), datetime.date(2026, 1, 2))

    def test_the_list_is_copied(self):
        allow = ['datetime']
        client = self.client(allow)
        allow.append('os.system')
        client.allow.append('os.system')
        self.assertForbidden(by_line('os', 'system') + b'.', 'os.system',
                             client)


class ExtensionTest(AllowedCase):
    """Globals that are named by an extension code."""

    def setUp(self):
        super().setUp()
        copyreg.add_extension('os', 'system', 0x32)
        self.addCleanup(copyreg.remove_extension, 'os', 'system', 0x32)
        self.arguments = fragment((f'touch {self.mark}',))

    def numbers(self):
        return [b'\x82\x32', b'\x83\x32\0', b'\x84\x32\0\0\0']

    def cache(self):
        """Fill copyreg's cache, as any part of the process may do."""
        pickle.loads(b'\x80\x02\x82\x32.')
        self.assertIn(0x32, copyreg._extension_cache)

    def test_extensions(self):
        for prepare in (lambda: None), self.cache:
            prepare()
            for number in self.numbers():
                for end in b'.', self.arguments + b'R.':
                    client = self.client()
                    self.assertEqual(
                        self.read(client, b'\x80\x02' + number + end), MISSING)
                    self.assertEqual(
                        client.getUnreadable(), {'ForbiddenGlobal': 1})
        self.assertFalse(self.mark.exists())

    def test_hidden_behind_a_frame(self):
        # pickletools and the C unpickler disagree on where bytes end that are
        # cut by the end of their frame.
        self.cache()
        call = b'\x82\x32' + self.arguments + b'R.'
        for cut in 1, 2, 3:
            for size in range(1, 120):
                head = b'B' + bytes([size, 0, 0])[:cut]
                for zeros in range(3, 6):
                    data = (b'\x80\x04\x95' + struct.pack('<Q', len(head))
                            + head + bytes(zeros) + b'0' + call + b'N.' * 60)
                    with contextlib.suppress(Exception):
                        loads(data, Allowlist([]))
                    self.assertFalse(self.mark.exists(), (cut, size, zeros))

    def test_unknown_numbers(self):
        self.assertEqual(
            self.read(self.client(), b'\x80\x02\x82\x33.'), MISSING)
        copyreg.remove_extension('os', 'system', 0x32)
        self.addCleanup(copyreg.add_extension, 'os', 'system', 0x32)
        for number in self.numbers():
            self.assertEqual(
                self.read(self.client(), b'\x80\x02' + number + b'.'), MISSING)

    def test_other_values(self):
        for protocol in PROTOCOLS:
            client = self.client([HERE], pickleProtocol=protocol)
            for value in [1, ['x'], {'b': Plain('b')}, Colour.RED, {1}, b'x']:
                client.set('key', value)
                self.assertEqual(client.query('key'), value)


class ChangeTest(AllowedCase):
    """A pickle cannot change what it may name."""

    def changes(self, target, **state):
        """Yield pickles that set attributes of the target."""
        packed = fragment(state)
        yield target + b'N' + packed + b'\x86b.'
        yield target + packed + b'b.'
        yield target + packed + b'N\x86b.'
        yield target + b'q\x630N0h\x63' + packed + b'b.'
        yield b'(' + target + b'p77\n' + packed + b'bl.'

    def assertUnchanged(self, target, look, **state):
        before = look()
        for number, data in enumerate(self.changes(target, **state)):
            with self.subTest(target=target, number=number):
                client = self.client([*ALLOW, 'p01shop.model.Item.limit'])
                self.assertEqual(
                    self.read(client, b'\x80\x02' + data), MISSING)
                self.assertEqual(sum(client.getUnreadable().values()), 1)
                self.assertEqual(look(), before)

    def test_a_class(self):
        from p01shop import model
        self.assertUnchanged(
            by_line('p01shop.model', 'Item'), lambda: model.Item.price,
            price=0)
        self.assertUnchanged(
            by_line('p01shop.model', 'Item.Part'),
            lambda: vars(model.Item.Part).get('x'), x=1)
        self.assertUnchanged(
            by_line('p01shop.model', 'Item'), lambda: model.Item.__module__,
            __module__='os', __qualname__='system')

    def test_an_enum(self):
        from p01shop import model
        user = by_line('p01shop.model', 'Role') + fragment(('user',))
        for target in (
                user + b'R', user + b'\x81',
                by_line('builtins', 'getattr') + b'('
                + by_line('p01shop.model', 'Role') + fragment('USER') + b'tR',
                by_line('copyreg', '__newobj__') + b'('
                + by_line('p01shop.model', 'Role') + fragment('user') + b'tR'):
            self.assertUnchanged(
                target, lambda: (model.Role.USER.value, model.Role.USER.name),
                _value_='admin', _name_='ADMIN')
        self.assertUnchanged(
            by_line('p01shop.model', 'Role'),
            lambda: model.Role._member_names_, _member_names_=[])

    def test_items(self):
        from p01shop import model
        for name, state in (
                ('Registry', lambda: [*model.Registry.seen]),
                ('Own', lambda: [*model.Plugin.made]),
                ('Item.limit', lambda: [*model.Item.limit])):
            before, found = state(), by_line('p01shop.model', name)
            for change in (
                    b'N' + b'a', b'(N' + b'e', b'(NN' + b'e', b'NN' + b's',
                    b'(NN' + b'u', b'(NNNN' + b'u', b'(N' + b'\x90'):
                client = self.client([*ALLOW, 'p01shop.model.Item.limit'])
                self.assertUnreadable(
                    b'\x80\x04' + found + change + b'.', 'ForbiddenGlobal',
                    'to change', client)
                self.assertEqual(state(), before)
        user = by_line('p01shop.model', 'Palette') + b'}\x85R'
        for change in fragment('bg') + b'Ns', b'(' + fragment('bg') + b'Nu':
            self.read(self.usual, b'\x80\x04' + user + change + b'.')
            self.assertUnreadable(
                b'\x80\x04' + by_line('builtins', 'getattr') + b'('
                + by_line('p01shop.model', 'Palette') + fragment('MAIN')
                + b'tR' + change + b'.', 'ForbiddenGlobal', 'to change')
        self.assertEqual(model.Palette.MAIN, {'bg': 'white'})

    def test_an_instance_that_is_listed(self):
        from p01shop import model
        client = self.client([*ALLOW, 'p01shop.model.Item.default'])
        for found in (
                by_line('p01shop.model', 'Item.default'),
                by_line('builtins', 'getattr') + b'('
                + by_line('p01shop.model', 'Item') + fragment('default')
                + b'tR'):
            self.assertUnreadable(
                b'\x80\x04' + found + fragment({'price': 0}) + b'b.',
                'ForbiddenGlobal', 'to change', client)
        self.assertEqual(vars(model.Item.default), {})

    def test_a_class_of_classes(self):
        from p01shop import model
        before = [*model.Plugin.made]
        for _, data in calls('p01shop.model', 'Plugin', ('Own', (), {})):
            self.assertForbidden(data, 'p01shop.model.Plugin')
        self.assertEqual(model.Plugin.made, before)

    def test_an_instance_is_not_called(self):
        from p01shop import model
        item = by_line('p01shop.model', 'Caller') + b')\x81'
        for call in (
                item + b')R', item + b')\x81', item + b')}\x92',
                b'(' + item + b'o', b'(' + item + b'No',
                by_line('copyreg', '__newobj__') + b'(' + item + b'tR',
                by_line('copyreg', '__newobj_ex__') + b'(' + item + b')}tR',
                by_line('copyreg', '_reconstructor') + b'('
                + by_line('p01shop.model', 'Item') + item + b'NtR'):
            self.assertUnreadable(
                b'\x80\x04' + call + b'.', 'ForbiddenGlobal', 'to call')
        member = (by_line('builtins', 'getattr') + b'('
                  + by_line('p01shop.model', 'Role') + fragment('USER')
                  + b'tR')
        for call in b')R', b')\x81', b')}\x92':
            self.assertUnreadable(
                b'\x80\x04' + member + call + b'.', 'ForbiddenGlobal',
                'to call')
        # Nor by a name that its class does not have.
        for name, change in (
                ('__setstate__', b'Nb'), ('append', b'Na'),
                ('extend', b'(Ne'), ('add', b'(N\x90')):
            target = by_line('p01shop.model', 'Item') + b')\x81}'
            self.assertUnreadable(
                b'\x80\x04' + target + fragment(name) + item + b'sb' + change
                + b'.', 'ForbiddenGlobal', 'to call')
        self.assertEqual(model.Registry.seen, [])

    def test_no_code_of_the_application_is_called(self):
        from p01shop import model
        for name in 'Holder.lazy', 'Holder.lazy.Part', 'os.path.join':
            for data in by_stack, by_line:
                self.assertForbidden(
                    b'\x80\x04' + data('p01shop.model', name) + b'.',
                    f'p01shop.model.{name}')
        self.assertEqual(model.Registry.seen, [])

    def test_many_names(self):
        # The list is not searched for each instance.
        data = pickle.dumps([Plain(Plain()) for _ in range(20_000)], 1)
        start = time.thread_time()
        self.assertEqual(
            len(self.read(self.client([HERE]), data)), 20_000)
        self.assertLess(time.thread_time() - start, 5)

    def test_a_function(self):
        from p01shop import model
        for state in ({'__defaults__': ('evil',)}, {'mark': 1}):
            for name, function in [
                    ('load', model.load), ('Item.check', model.Item.check)]:
                self.assertUnchanged(
                    b'\x8c' + bytes([13]) + b'p01shop.model\x8c'
                    + bytes([len(name)]) + name.encode() + b'\x93',
                    lambda function=function: (
                        function.__defaults__, vars(function).copy()),
                    **state)
            self.assertUnchanged(
                by_line('builtins', 'getattr') + b'('
                + by_line('p01shop.model', 'Item') + fragment('check') + b'tR',
                lambda: (model.Item.check.__defaults__,
                         vars(model.Item.check).copy()), **state)

    def test_a_module(self):
        from p01shop import model
        for data in (by_line('p01shop', 'model'),
                     b'\x8c\x07p01shop\x8c\x05model\x93'):
            self.assertUnchanged(data, lambda: model.Item, Item=None)

    def test_the_modules_that_read_every_pickle(self):
        for module, name, function in [
                ('copyreg', '_reconstructor', copyreg._reconstructor),
                ('copyreg', '__newobj__', copyreg.__newobj__),
                ('copyreg', '__newobj_ex__', copyreg.__newobj_ex__),
                ('_codecs', 'encode', tools.encode),
                ('builtins', 'getattr', Allowlist.get_attribute)]:
            for state in ({'__defaults__': ('evil',)}, {'__name__': 'evil'},
                          {'__module__': 'os'}, {'mark': 1}):
                self.assertUnchanged(
                    by_line(module, name),
                    lambda function=function: (
                        function.__defaults__, function.__name__,
                        function.__module__, vars(function).copy()), **state)
        for name in 'set', 'object', 'range':
            self.assertUnchanged(by_line('builtins', name), lambda: 0, x=1)

    def test_an_instance_of_the_pickle_is_changed(self):
        # The instance comes from the pickle itself.
        for allow in [HERE], [f'{HERE}.Plain']:
            found = self.read(self.client(allow), pickle.dumps(Plain('b')))
            self.assertEqual(found, Plain('b'))

    def test_safe_pickles_are_read_in_c(self):
        # If nothing can be changed, no Python code runs for each opcode.
        with mock.patch.object(careful, 'CarefulUnpickler') as unpickler:
            for value in [1, 'b'], {datetime.date(2026, 1, 2): b'b'}:
                self.assertEqual(self.read(
                    self.client(['datetime']), pickle.dumps(value)), value)
            unpickler.assert_not_called()
            self.read(self.client([HERE]), pickle.dumps(Plain('b')))
            unpickler.assert_called()


class PlainTest(AllowedCase):
    """The standard types: what they make, and from which arguments."""

    def setUp(self):
        super().setUp()
        from p01shop import model
        self.seen = model.Registry.seen

    def assertNone(self, data, allow=ALLOW):
        """Reading is a miss, and no code of the application was called."""
        client = self.client(allow)
        self.assertEqual(self.read(client, data), MISSING)
        self.assertEqual(client.getUnreadable(), {'ForbiddenGlobal': 1})
        self.assertEqual(self.seen, [])

    def makers(self, name, *arguments):
        """Yield pickles that call a type with the arguments."""
        kind = by_line('builtins', name)
        args = b'(' + b''.join(arguments) + b't'
        for make in (
                kind + args + b'R', kind + args + b'\x81',
                kind + args + b'}\x92', b'(' + kind + args[1:-1] + b'o',
                args[:-1] + b'ibuiltins\n' + name.encode() + b'\n',
                by_line('copyreg', '__newobj__') + b'(' + kind + args[1:]
                + b'R',
                by_line('copyreg', '__newobj_ex__') + b'(' + kind + args
                + b'}tR'):
            yield b'\x80\x04' + make + b'.'

    def test_codecs(self):
        module, unknown = 'encodings.cp1026', 'p01_memcache_codec'
        before = dict(encodings._cache)
        for name in 'cp1026', unknown:
            for kind, content in [
                    ('str', b'x'), ('bytes', 'x'), ('bytearray', 'x')]:
                for data in self.makers(
                        kind, fragment(content), fragment(name)):
                    self.assertNone(data, [])
                self.assertNone(
                    b'\x80\x04' + by_line('builtins', kind) + b')'
                    + fragment({'encoding': name}) + b'\x92.', [])
        self.assertNotIn(module, sys.modules)
        self.assertEqual(encodings._cache, before)

    def test_special_methods(self):
        special = by_line('p01shop.model', 'Special') + b')\x81'
        for _, name in allowlist.STANDARD:
            if name == 'slice':
                continue  # partial keeps its arguments
            series = 'list', 'tuple', 'set', 'frozenset'
            for kept_by, argument in [
                    ((), special), ((), special * 2),
                    (series, special + b'\x85'),
                    (series, b']' + special + b'a'),
                    (('dict',), b'}N' + special + b's')]:
                for data in self.makers(name, argument):
                    if name in kept_by:
                        self.read(self.client(), data)
                        self.assertEqual(self.seen, [])
                    else:
                        self.assertNone(data)

    def test_callable_instances(self):
        mapping = (
            by_line('p01shop.model', 'Item') + b')\x81}' + fragment('keys')
            + by_line('p01shop.model', 'Caller') + b')\x81sb')
        for data in self.makers('dict', mapping):
            self.assertNone(data)

    def test_codecs_of_subclasses(self):
        before = dict(encodings._cache)
        for name, content in [
                ('Text', b'x'), ('Bytes', 'x'), ('ByteArray', 'x')]:
            kind = by_line(HERE, name)
            args = fragment((content, 'cp1026'))
            for make in (
                    kind + args + b'R', kind + args + b'\x81',
                    kind + b')' + fragment({'encoding': 'cp1026'}) + b'\x92',
                    kind + args + b'}\x92'):
                self.assertNone(b'\x80\x04' + make + b'.', [HERE])
        self.assertEqual(encodings._cache, before)

    def test_nested_objects(self):
        special = by_line('p01shop.model', 'Special') + b')\x81'
        array = b'\x96\1\0\0\0\0\0\0\0x'
        for data in (
                array + special + b'a', array + b'(' + special * 2 + b'e',
                array + special * 2 + b's', b']' + special * 2 + b's',
                b']Na(' + special * 2 + b'u', b']' + b'(' + special + b'\x90',
                b'}' + special + b'a', b'\x8f' + special * 2 + b's'):
            self.assertNone(b'\x80\x05' + data + b'.')

    def test_subclasses(self):
        special = by_line('p01shop.model', 'Special') + b')\x81'
        for base, name in [('dict', 'Dict'), ('list', 'List'), ('str', 'Text'),
                           ('set', 'Set')]:
            self.assertNone(
                by_line('copyreg', '_reconstructor') + b'('
                + by_line(HERE, name) + by_line('builtins', base) + special
                + b'tR.', [*ALLOW, HERE])

    def test_arguments_that_are_not_a_tuple(self):
        special = by_line('p01shop.model', 'Special') + b')\x81'
        item = by_line('p01shop.model', 'Item')
        for data in (
                item + special + b'R', item + special + b'\x81',
                item + special + b'}\x92', item + b')' + special + b'\x92',
                item + b')\x81' + special + b'b',
                item + b')\x81' + special + b'N\x86b',
                item + b')\x81N' + special + b'\x86b',
                by_line('copyreg', '__newobj_ex__') + b'(' + item + special
                + b'}tR',
                by_line('copyreg', '__newobj_ex__') + b'(' + item + b')'
                + special + b'tR'):
            self.assertNone(b'\x80\x04' + data + b'.')

    def test_what_is_refused_is_not_asked_for_its_name(self):
        special = by_line('p01shop.model', 'Special') + b')\x81'
        for data in special + b')R', special + b')\x81', (
                by_line('p01shop.model', 'Item') + b')\x81}'
                + fragment('append') + special + b'sb' + special + b'a'):
            self.assertNone(b'\x80\x04' + data + b'.')

    def test_memory(self):
        # Memory that a few bytes would take.
        for name, argument in [
                ('bytes', 1 << 24), ('bytearray', 1 << 24),
                ('list', range(1 << 20)), ('tuple', range(1 << 20)),
                ('set', range(1 << 20))]:
            for data in self.makers(name, fragment(argument)):
                self.assertNone(data, [])

    def test_buffers(self):
        for data in (
                b'\x96\1\0\0\0\0\0\0\0x\x98',
                b']\x96\1\0\0\0\0\0\0\0x\x98a',
                by_line('builtins', 'bytearray') + b'C\1x\x85R\x98',
                b'\x95\2\0\0\0\0\0\0\0]\x96\1\0\0\0\0\0\0\0x\x98a'):
            self.assertNone(b'\x80\x05' + data + b'.', [])
        self.assertEqual(
            self.read(self.client([]), b'\x80\x05\x97.'), MISSING)
        # Buffers in the pickle itself are read.
        for value in [bytearray(b'\x98')], b'\x96\0\0\0\0\0\0\0\0\x98':
            self.assertEqual(
                self.read(self.client([]), pickle.dumps(value)), value)

    def test_functions_that_pickles_use(self):
        for module, name in tools.TOOLS:
            for how in by_stack, by_line:
                tool = how(module, name)
                for data in (
                        tool, tool + b'\x85', b']' + tool + b'a',
                        b'}' + tool + b'Ns', b']' + tool + b'q\x070h\x07a',
                        tool + b'q\x07N\x86'):
                    self.assertNone(b'\x80\x04' + data + b'.', [])
                    self.assertNone(
                        b'\x80\x04' + by_line('p01shop.model', 'Item')
                        + b')\x81}' + fragment('x') + data + b'sb.')
        for protocol in PROTOCOLS:
            for value in object(), [object], {'x': object()}:
                self.assertNone(pickle.dumps(value, protocol), [])

    def test_members_of_sets(self):
        for protocol in PROTOCOLS:
            for value in (
                    {Colour.RED, Colour.GREEN}, frozenset({Text('b')}),
                    slice(Colour.RED, Plain, None)):
                client = self.client([HERE], pickleProtocol=protocol)
                client.set('key', value)
                self.assertEqual(client.query('key'), value)


class CalledTest(AllowedCase):
    """A pickle can call what security.txt lists, and no more."""

    def called(self, *ways):
        from p01shop import model
        for data in ways:
            self.read(self.client([*ALLOW, 'p01shop.model.Told.use']),
                      b'\x80\x04' + data + b'.')
        seen = set(model.Registry.seen)
        model.Registry.seen.clear()
        return seen

    def test_what_is_called(self):
        told = by_line('p01shop.model', 'Told')
        made = told + b')\x81'
        self.assertEqual(self.called(told + b')R'), {
            'new', 'init', 'del'})
        self.assertEqual(self.called(made + b'N' + b'b'), {
            'new', 'getattribute', 'setstate', 'del'})
        self.assertEqual(
            self.called(made + b'Na', made + b'(NNe', made + b'(N\x90',
                        made + b'NNs', made + b'(NNu'),
            {'new', 'getattribute', 'append', 'extend', 'add', 'setitem',
             'del'})
        # Two of them, equal ones.
        pair = made + b'q\x07N' + made + b'N'
        self.assertEqual(
            self.called(b'}(' + pair + b'u', b'\x8f(' + made * 2 + b'\x90',
                        b'(' + made * 2 + b'\x91'),
            {'new', 'hash', 'eq', 'del'})
        self.assertEqual(
            self.called(by_line('p01shop.model', 'Told.use') + made
                        + b'\x85R'), {'new', 'iter', 'del'})
        slots = by_line('p01shop.model', 'Slots') + b')\x81N'
        self.assertEqual(
            self.called(slots + fragment({'price': 1, 'other': 1})
                        + b'\x86b'),
            {'new', 'getattr', 'setattr', 'setter', 'del'})


class AllowedTest(AllowedCase):
    """Values that the list allows, or that need no list."""

    def test_standard_types(self):
        for protocol in PROTOCOLS:
            client = self.client([], pickleProtocol=protocol)
            for value in STANDARD:
                with self.subTest(protocol=protocol, value=value):
                    client.set('key', value)
                    found = client.query('key', default=MISSING)
                    self.assertEqual(found, value)
                    self.assertIs(type(found), type(value))
            self.assertEqual(client.getUnreadable(), {})

    def test_listed(self):
        for allow, values in LISTED:
            for protocol in PROTOCOLS:
                client = self.client(allow, pickleProtocol=protocol)
                for value in values:
                    with self.subTest(allow=allow, protocol=protocol,
                                      value=value):
                        if protocol < WANTED.get(type(value), 0):
                            continue
                        self.assertIsNotNone(client.set('key', value))
                        found = client.query('key', default=MISSING)
                        self.assertEqual(found, value)
                        self.assertIs(type(found), type(value))
                self.assertEqual(client.getUnreadable(), {})

    def test_a_combination_of_flags(self):
        value = Access.READ | Access.WRITE
        allow = [HERE]
        if b'or_' in pickle.dumps(value):
            # In the first releases of Python 3.11, such as that of Debian 12,
            # it is made from its members again.
            self.assertForbidden(
                pickle.dumps(value), '_operator.or_', self.client(allow))
            allow.append('_operator.or_')
        for protocol in PROTOCOLS:
            client = self.client(allow, pickleProtocol=protocol)
            self.assertIsNotNone(client.set('key', value))
            self.assertIs(client.query('key'), value)
            self.assertEqual(client.getUnreadable(), {})

    def test_a_method_by_its_name(self):
        data = pickle.dumps(zoneinfo.ZoneInfo('UTC'))
        for allow, path in [
                (['zoneinfo.ZoneInfo._unpickle'], 'zoneinfo.ZoneInfo'),
                (['zoneinfo'], 'zoneinfo.ZoneInfo._unpickle')]:
            self.assertForbidden(data, path, self.client(allow))

    def test_not_without_the_list(self):
        for _, values in LISTED:
            for value in values:
                with self.subTest(value=value):
                    client = self.client([])
                    self.assertEqual(
                        self.read(client, pickle.dumps(value)), MISSING)
                    self.assertEqual(
                        client.getUnreadable(), {'ForbiddenGlobal': 1})

    def test_slots(self):
        value = Slots()
        value.a = value.b = 'b'
        for protocol in PROTOCOLS[2:]:
            self.assertEqual(self.read(
                self.client([HERE]), pickle.dumps(value, protocol)), value)

    def test_recursive(self):
        for protocol in PROTOCOLS:
            value = Plain()
            value.value = [value, 'b']
            found = self.read(
                self.client([HERE]), pickle.dumps(value, protocol))
            self.assertIs(found.value[0], found)

    def test_pickles_of_python_2(self):
        for data, value in [
                (b'c__builtin__\nset\np0\n((lp1\nI1\natp2\nRp3\n.', {1}),
                (b"(dp0\nS'a'\np1\nVb\np2\ns.", {'a': 'b'}),
                (b'c__builtin__\nbytearray\n(Vx\nS"latin-1"\ntR.',
                 bytearray(b'x')),
                (b'ccopy_reg\n_reconstructor\n(c' + HERE.encode()
                 + b'\nPlain\nc__builtin__\nobject\nNtR(dS"value"\nS"b"\nsb.',
                 Plain('b'))]:
            self.assertEqual(self.read(self.client([HERE]), data), value)

    def test_as_raw_it_is_not_read(self):
        client = self.client([])
        data = b'\x80\x04' + by_stack('os', 'system') + b'.'
        getFakeBackend(client).cache[client.buildKey('key')] = data, 0
        self.assertEqual(client.query('key', raw=True), data)
        self.assertEqual(client.getUnreadable(), {})

    def test_signed(self):
        serializer = FakeMemcacheClient(
            serializer='signed-pickle', allow=[HERE, 'datetime'],
            secretsFile=self.secrets(), debug=1)
        for _, values in LISTED:
            for value in values:
                if type(value).__module__ not in (HERE, 'datetime'):
                    continue
                serializer.set('key', value)
                if isinstance(value, Reduced) or value is make:
                    self.assertEqual(serializer.query('key'), None)
                else:
                    self.assertEqual(serializer.query('key'), value)
        self.assertEqual(set(serializer.getUnreadable()), {'ForbiddenGlobal'})

    def secrets(self):
        path = self.folder / 'secrets'
        path.write_text(os.urandom(32).hex())
        path.chmod(0o600)
        return str(path)
