# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The house: which room imports which, their sizes, and the path of a hit.

A room is a folder of the package, or a module at its top level.
"""

import ast
import io
import pathlib
import sys
import tokenize
import unittest

import p01.memcache
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire.command import Get


HOUSE = pathlib.Path(p01.memcache.__file__).parent
PACKAGE = 'p01.memcache.'

# From bottom to top: what each room may import, besides itself.
KNOWS = {
    'errors': '',
    'digest': '',
    'embedded': '',
    'configuration': '',
    'interfaces': 'configuration',
    'log': 'errors',
    'extra': '',
    'path': '',
    'event': 'interfaces',
    'secret': 'errors log',
    'threads': 'errors',
    'counts': 'errors threads',
    'trouble': 'counts errors event log threads',
    'wire': 'errors',
    'store': 'errors wire',
    'trust': 'errors log secret threads',
    'values': 'errors interfaces log path trust',
    'keys': 'digest errors interfaces log path values',
    'transport': 'errors secret threads trust wire',
    'health': 'errors log threads wire',
    'discovery': 'errors log threads transport trust wire',
    'cluster': 'counts digest errors event health log store threads transport'
               ' trust wire',
    'membership': 'cluster discovery errors event health log store threads'
                  ' transport trust wire',
    'classic': 'counts errors store threads transport wire',
    'leases': 'errors store threads values wire',
    'features': 'counts errors interfaces leases store threads values wire',
    'snapshots': 'errors features store values wire',
    'attributes': 'discovery.source features.lifetime interfaces secret'
                  ' threads transport.address wire.limits',
    'facade': 'attributes counts errors features interfaces keys leases log'
              ' secret store threads trouble values wire',
    'client': 'attributes classic discovery.source facade interfaces secret',
    'uclient': 'attributes facade interfaces membership secret',
    'decorator': 'attributes.arguments features.lifetime interfaces keys',
    'transactional': 'attributes errors event extra facade features interfaces'
                     ' log snapshots store values wire',
    'protection': '',
    'zcml': 'attributes.arguments interfaces protection secret transactional'
            ' uclient',
    'content': 'event interfaces values.unstorable',
    'plone': 'attributes.arguments content.identity errors extra interfaces'
             ' log zcml',
    'testing': 'attributes classic client cluster discovery embedded errors'
               ' facade features interfaces secret store threads transport'
               ' uclient wire',
    'face': 'errors interfaces log uclient',
    'ramcache': 'extra interfaces',
    'session': 'extra interfaces log',
    'dogpile': 'extra interfaces',
    'mcdutils': 'errors extra face interfaces log',
    'observed': 'interfaces log threads',
    'browser': 'errors extra log observed protection',
    'metrics': 'extra interfaces log observed',
    'stored': 'errors leases log values wire',
    'console': 'errors facade.state features interfaces log observed.clients'
               ' secret stored uclient values.unstorable wire',
    'demo': 'embedded errors interfaces log testing transport.address',
}

# One key on one healthy server.
CORE = ('errors.py', 'wire/*.py', 'transport/stream.py',
        'transport/connection.py', 'threads/pool.py')

NO_CODE = (
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
    tokenize.DEDENT, tokenize.ENDMARKER)

# Private names of libraries that have no public equivalent, or that are meant
# to be used.
FOREIGN = {'_Host', '_adapter', '_call', '_inverted_registry',
           '_load_connection', '_name_', '_p_jar', '_replace', '_resources',
           '_storage',
           '_store_connection_pool', '_synchs',
           '_type', '_value_'}


def modules():
    for path in sorted(HOUSE.rglob('*.py')):
        parts = path.relative_to(HOUSE).with_suffix('').parts
        if parts[0] not in ('tests', '__init__'):
            yield path, [part for part in parts if part != '__init__']


def imported(tree):
    """Yield the package's modules that are imported, and the names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield f'{node.module}.{name.name}'
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield name.name


def count_lines(pattern):
    return sum(len(path.read_text().splitlines())
               for path in HOUSE.glob(pattern))


def count_code(path):
    """Count the lines that are neither docstring, comment nor empty."""
    source = path.read_text()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in NO_CODE
             for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(
                node.value, ast.Constant):
            lines -= {*range(node.lineno, node.end_lineno + 1)}
    return len(lines)


def private(name):
    return name.startswith('_') and not name.endswith('__')


def taken(tree):
    """Yield the private names of others that a module uses.

    A class may use what it inherits.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            owner = node.value
            if isinstance(owner, ast.Call):
                owner = owner.func
            if not (isinstance(owner, ast.Name)
                    and owner.id in ('self', 'cls', 'super')):
                yield node.attr
    for name in imported(tree):
        if name.startswith(PACKAGE) and private(name.rpartition('.')[2]):
            yield name.rpartition('.')[2]


def defined(tree):
    """Return the names that a module defines or assigns, and its classes'."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(
                node.ctx, (ast.Store, ast.Del)):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.AnnAssign) and isinstance(
                node.target, ast.Name):
            names.add(node.target.id)
    return names


class RoomsTest(unittest.TestCase):

    def test_imports_go_down(self):
        self.assertEqual(
            {parts[0] for _, parts in modules()}, set(KNOWS))
        for path, (room, *_) in modules():
            allowed = [PACKAGE + name for name in (
                room, *KNOWS[room].split())]
            for name in imported(ast.parse(path.read_text())):
                if name.startswith(PACKAGE):
                    with self.subTest(path.name, imports=name):
                        self.assertTrue(any(
                            f'{name}.'.startswith(f'{known}.')
                            for known in allowed))

    def test_every_room_is_listed(self):
        rooms = list(KNOWS)
        for room, known in KNOWS.items():
            for name in known.split():
                self.assertLess(
                    rooms.index(name.split('.')[0]), rooms.index(room))

    def test_private_names_stay_at_home(self):
        for path, _ in modules():
            tree = ast.parse(path.read_text())
            with self.subTest(str(path.relative_to(HOUSE))):
                self.assertEqual(set(taken(tree)) - defined(tree) - FOREIGN,
                                 set())


class SizesTest(unittest.TestCase):

    def test_the_core(self):
        self.assertLessEqual(sum(
            count_code(path) for pattern in CORE
            for path in HOUSE.glob(pattern)), 1000)

    def test_rooms(self):
        for room in KNOWS:
            with self.subTest(room):
                self.assertLessEqual(count_lines(f'{room}/*.py'), 1300)

    def test_files(self):
        for path, _ in modules():
            with self.subTest(str(path.relative_to(HOUSE))):
                self.assertLessEqual(
                    len(path.read_text().splitlines()), 350)

    def test_classes(self):
        for path, _ in modules():
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    with self.subTest(node.name):
                        self.assertLessEqual(sum(
                            isinstance(step, ast.FunctionDef)
                            for step in node.body), 20)


class HitTest(unittest.TestCase):
    """The path of a `query` that finds a value."""

    def setUp(self):
        server = self.enterContext(EmbeddedServer())
        self.client = UltraMemcacheClient([server.address])
        self.addCleanup(self.client.close)
        self.client.set('key', 'value')
        self.client.query('key')

    def profile(self):
        """Return the code objects called, and the stack at the reply."""
        called, spine = [], []

        def note(frame, event, arg):
            if (event != 'call'
                    or not frame.f_code.co_filename.startswith(str(HOUSE))):
                return
            called.append(frame.f_code)
            if frame.f_code is Get.read.__code__:
                while frame.f_code is not self.profile.__code__:
                    spine.append(frame.f_code.co_qualname)
                    frame = frame.f_back

        sys.setprofile(note)
        try:
            value = self.client.query('key')
        finally:
            sys.setprofile(None)
        self.assertEqual(value, 'value')
        return called, spine

    def test_frames(self):
        # One that takes long, on a busy machine, is noted.
        called = min((self.profile()[0] for _ in range(9)), key=len)
        self.assertLessEqual(len(called), 24, called)

    def test_spine(self):
        _, spine = self.profile()
        self.assertTrue(spine)
        self.assertLessEqual(len(spine), 7, spine)
