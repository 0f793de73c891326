# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The public path of the interfaces, whichever module defines them."""

import importlib
import pickle
import pkgutil
import unittest

from zope import schema
from zope.interface.interface import InterfaceClass
from zope.interface.interfaces import IMethod

from p01.memcache import interfaces


PATH = 'p01.memcache.interfaces'
PUBLIC = {name: getattr(interfaces, name) for name in interfaces.__all__}


class PublicPathTest(unittest.TestCase):

    def test_every_interface_is_public(self):
        found = set()
        for module in pkgutil.iter_modules(interfaces.__path__, PATH + '.'):
            found.update(
                name for name, value in vars(
                    importlib.import_module(module.name)).items()
                if isinstance(value, InterfaceClass)
                and value.__module__.startswith('p01.'))
        self.assertLess(found, set(PUBLIC))

    def test_they_are_known_by_it(self):
        for name, value in PUBLIC.items():
            with self.subTest(name):
                self.assertEqual(
                    (value.__module__, value.__name__), (PATH, name))
                if isinstance(value, InterfaceClass):
                    self.assertEqual(value.__identifier__, f'{PATH}.{name}')

    def test_they_are_pickled_by_it(self):
        for name, value in PUBLIC.items():
            with self.subTest(name):
                data = pickle.dumps(value, 0)
                self.assertIn(f'c{PATH}\n{name}\n'.encode(), data)
                self.assertIs(pickle.loads(data), value)

    def test_everything_is_documented(self):
        for name, value in PUBLIC.items():
            self.assertTrue(value.__doc__.strip(), name)
            if not isinstance(value, InterfaceClass):
                continue
            for part, what in value.namesAndDescriptions(all=True):
                with self.subTest(name, part=part):
                    text = (what.description if isinstance(what, schema.Field)
                            else what.__doc__)
                    self.assertTrue(text.strip())
                    self.assertTrue(
                        IMethod.providedBy(what) or text.endswith('.'))


class SecondsTest(unittest.TestCase):

    def test_bounds(self):
        field = interfaces.Seconds(title='Pause')
        for value in 0, 0.5, 86400:
            field.validate(value)
        for value in -1, 86400.5, float('nan'), float('inf'):
            with self.subTest(value), self.assertRaises(
                    schema.ValidationError):
                field.validate(value)
