# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The globals that a pickle may name: what is allowed, and nothing else.

Nothing is imported, looked up or called before its name was found in the list.
And what was found is not changed: a pickle can set attributes, also those of
a class, for all its instances.
"""

import copyreg
import enum
import functools
import importlib
import pickle
import types
from _compat_pickle import IMPORT_MAPPING
from _compat_pickle import NAME_MAPPING
from io import BytesIO

from p01.memcache.errors import ForbiddenGlobal


# The types of plain data: pickle has no opcodes for some, and the older of its
# protocols name them to make instances of their subclasses; and what these do
# that with. It calls nothing but classes, and those were looked up here.
_STANDARD = {
    ('builtins', kind.__name__): kind for kind in (
        bool, bytearray, bytes, complex, dict, float, frozenset, int, list,
        object, range, set, slice, str, tuple)
} | {
    ('copyreg', '_reconstructor'): copyreg._reconstructor,
    ('copyreg', '__newobj__'): copyreg.__newobj__,
    ('copyreg', '__newobj_ex__'): copyreg.__newobj_ex__,
}


def _encode(text, encoding='latin1'):
    """What bytes are made with by protocols that have no bytes."""
    if encoding != 'latin1':
        raise ForbiddenGlobal(f'encoding {encoding!r:.100}')
    return text.encode('latin1')


# A flag of the types that cannot be changed, as those written in C.
_IMMUTABLE = 1 << 8

# What a pickle did not make, wherever it has it from.
_SHARED = (
    type, enum.Enum, types.FunctionType, types.MethodType, types.ModuleType)


class Allowed:
    """A list of modules and names, see `IMemcacheClient.allow`.

    With `trusted`, who has made the pickles is known, and means no harm.
    """

    def __init__(self, names, trusted=False):
        self._names = frozenset(names)
        self._trusted = trusted

    def loads(self, data):
        """Return what the pickle stands for, or raise `ForbiddenGlobal`."""
        if copyreg._inverted_registry:
            # An extension that was used before is found by that of C without
            # being asked for by its name.
            return _CarefulUnpickler(BytesIO(data), self.find_global).load()
        if self._trusted:
            return _Unpickler(BytesIO(data), self.find_global).load()
        try:
            return _Unpickler(BytesIO(data), self._find_immutable).load()
        except _Mutable:
            return _CarefulUnpickler(BytesIO(data), self.find_global).load()

    def _find_immutable(self, module, name):
        found = self.find_global(module, name)
        if isinstance(found, type) and found.__flags__ & _IMMUTABLE:
            return found
        raise _Mutable

    def find_global(self, module, name):
        """Return the global, if it is allowed."""
        # As they are called in pickles for Python 2.
        module, name = NAME_MAPPING.get(
            (module, name), (IMPORT_MAPPING.get(module, module), name))
        place = module, name
        if place in _STANDARD:
            return _STANDARD[place]
        if place == ('_codecs', 'encode'):
            return _encode
        if place == ('builtins', 'getattr'):
            return self._get
        path = f'{module}.{name}'
        if path in self._names:
            found = _resolve(module, name)
            # A name in the list may be a module's: that is not for itself.
            if not isinstance(found, types.ModuleType):
                return found
        if module in self._names:
            found = _resolve(module, name)
            # Not what the module has imported, nor what can be called.
            if (isinstance(found, type) and found.__module__ == module
                    and found.__qualname__ == name):
                return found
        raise ForbiddenGlobal(path)

    def _get(self, owner, name):
        """What is in a class is pickled as: members, methods, classes."""
        if isinstance(owner, type) and isinstance(name, str):
            if (isinstance(owner, enum.EnumMeta)
                    and name in owner.__members__):
                return owner.__members__[name]
            return self.find_global(
                owner.__module__, f'{owner.__qualname__}.{name}')
        raise ForbiddenGlobal('builtins.getattr')


def _resolve(module, name):
    return functools.reduce(
        getattr, name.split('.'), importlib.import_module(module))


class _Mutable(Exception):
    """The pickle names what could be changed."""


class _Unpickler(pickle.Unpickler):

    def __init__(self, file, find):
        super().__init__(file)
        self._find = find

    def find_class(self, module, name):
        return self._find(module, name)


class _CarefulUnpickler(pickle._Unpickler):
    """In Python, and many times slower, as that of C has no place for this."""

    def __init__(self, file, find):
        super().__init__(file)
        self._find = find
        self._found = []

    def find_class(self, module, name):
        self._found.append(self._find(module, name))
        return self._found[-1]

    def get_extension(self, code):
        raise ForbiddenGlobal(f'extension {code}')

    def load_build(self):
        changed = self.stack[-2]
        if isinstance(changed, _SHARED) or any(
                changed is found for found in self._found):
            raise ForbiddenGlobal(f'to change {changed!r:.100}')
        super().load_build()

    dispatch = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}
