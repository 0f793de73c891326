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
import reprlib
import types
from _compat_pickle import IMPORT_MAPPING
from _compat_pickle import NAME_MAPPING
from io import BytesIO

from p01.memcache.errors import ForbiddenGlobal


def _refuse(doing, obj):
    # It is not made whole before it is cut.
    raise ForbiddenGlobal(f'{doing} {reprlib.repr(obj)}')


def _for_classes(make, count):
    """Return the function, for classes as its first arguments.

    Of an instance it would call something.
    """
    def checked(*args):
        for arg in args[:count]:
            if not isinstance(arg, type):
                _refuse('to call', arg)
        return make(*args)

    return checked


# The types of plain data: pickle has no opcodes for some, and the older of its
# protocols name them to make instances of their subclasses; and what these do
# that with.
_STANDARD = {
    ('builtins', kind.__name__): kind for kind in (
        bool, bytearray, bytes, complex, dict, float, frozenset, int, list,
        object, range, set, slice, str, tuple)
} | {
    ('copyreg', '_reconstructor'): _for_classes(copyreg._reconstructor, 2),
    ('copyreg', '__newobj__'): _for_classes(copyreg.__newobj__, 1),
    ('copyreg', '__newobj_ex__'): _for_classes(copyreg.__newobj_ex__, 1),
}


def _encode(text, encoding='latin1'):
    """What bytes are made with by protocols that have no bytes."""
    if encoding != 'latin1':
        _refuse('encoding', encoding)
    return text.encode('latin1')


# A flag of the types that cannot be changed, as those written in C.
_IMMUTABLE = 1 << 8

# What a pickle did not make, wherever it has it from.
_SHARED = (
    type, enum.Enum, types.FunctionType, types.MethodType, types.ModuleType)


# What is looked up in an instance to change it.
_CALLED = frozenset(('__setstate__', 'append', 'extend', 'add'))


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
            return _CarefulUnpickler(BytesIO(data), self).load()
        if self._trusted:
            return _Unpickler(BytesIO(data), self.find_global).load()
        # In most pickles there is nothing that could be changed.
        try:
            return _Unpickler(BytesIO(data), self._find_immutable).load()
        except _Mutable:
            return _CarefulUnpickler(BytesIO(data), self).load()

    def _find_immutable(self, module, name):
        found = self.find_global(module, name)
        if isinstance(found, type) and found.__flags__ & _IMMUTABLE:
            return found
        raise _Mutable

    def find_global(self, module, name):
        """Return the global, if it is allowed."""
        # As they are called in pickles for Python 2.
        mapped = NAME_MAPPING.get(
            (module, name), (IMPORT_MAPPING.get(module, module), name))
        for place in (module, name), mapped:
            if place in _STANDARD:
                return _STANDARD[place]
            if place == ('_codecs', 'encode'):
                return _encode
            if place == ('builtins', 'getattr'):
                return self.get_attribute
            if '.'.join(place) in self._names:
                found = _resolve(*place)
                # A name in the list may be a module's: not that for itself.
                if not isinstance(found, types.ModuleType):
                    return found
            if place[0] in self._names:
                found = _find_class(*place)
                if found is not None:
                    return found
        raise ForbiddenGlobal('.'.join(mapped))

    def get_attribute(self, owner, name):
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


def _find_class(module, name):
    """Return a class that is defined in the module, or None.

    Not what the module has imported. Nothing on the way is asked for an
    attribute, which might import a module, or do what a property does. No
    class of classes: it makes classes, and may keep a list of them.
    """
    found = importlib.import_module(module)
    for part in name.split('.'):
        found = vars(found).get(part)
        if not issubclass(type(found), type) or found.__module__ != module:
            return None
    if found.__qualname__ != name or issubclass(found, type):
        return None
    return found


class _Mutable(Exception):
    """The pickle names what could be changed."""


class _Unpickler(pickle.Unpickler):

    def __init__(self, file, find):
        super().__init__(file)
        self._find = find

    def find_class(self, module, name):
        return self._find(module, name)


class _CarefulUnpickler(pickle._Unpickler):
    """Does not change what the pickle did not make.

    In Python, and many times slower: that of C has no place for this.
    """

    def __init__(self, file, allowed):
        super().__init__(file)
        self._allowed = allowed
        self._found = {}  # id -> what was found by a name

    def find_class(self, module, name):
        found = self._allowed.find_global(module, name)
        if found == self._allowed.get_attribute:
            found = self._get_attribute
        return self._keep(found)

    def _get_attribute(self, owner, name):
        return self._keep(self._allowed.get_attribute(owner, name))

    def _keep(self, found):
        self._found[id(found)] = found
        return found

    def get_extension(self, code):
        raise ForbiddenGlobal(f'extension {code}')

    def _check_changed(self, changed):
        if isinstance(changed, _SHARED) or id(changed) in self._found:
            _refuse('to change', changed)
        # What would be called to change it must be its class's.
        own = getattr(changed, '__dict__', ())
        if not _CALLED.isdisjoint(own):
            raise ForbiddenGlobal(f'to call what a {type(changed)} has')

    def _check_called(self, called):
        # Not an instance that can be called, or has something of that name.
        if id(called) not in self._found:
            _refuse('to call', called)

    def load_reduce(self):
        self._check_called(self.stack[-2])
        super().load_reduce()

    def load_newobj(self):
        self._check_called(self.stack[-2])
        super().load_newobj()

    def load_newobj_ex(self):
        self._check_called(self.stack[-3])
        super().load_newobj_ex()

    def load_obj(self):
        self._check_called(self.stack[0])  # behind the mark
        super().load_obj()

    def load_build(self):
        self._check_changed(self.stack[-2])
        super().load_build()

    def load_append(self):
        self._check_changed(self.stack[-2])
        super().load_append()

    def load_setitem(self):
        self._check_changed(self.stack[-3])
        super().load_setitem()

    # What is changed by several items stands in front of their mark.

    def load_appends(self):
        self._check_changed(self.metastack[-1][-1])
        super().load_appends()

    def load_setitems(self):
        self._check_changed(self.metastack[-1][-1])
        super().load_setitems()

    def load_additems(self):
        self._check_changed(self.metastack[-1][-1])
        super().load_additems()

    dispatch = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.OBJ[0]: load_obj,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.SETITEM[0]: load_setitem,
        pickle.APPENDS[0]: load_appends,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
    }
