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
import itertools
import pickle
import re
import sys
import types
import weakref
from _compat_pickle import IMPORT_MAPPING
from _compat_pickle import NAME_MAPPING
from io import BytesIO

from p01.memcache.errors import ForbiddenGlobal


# The types of plain data: pickle has no opcodes for some of them, and names
# some where it makes instances of their subclasses.
_STANDARD = {
    ('builtins', kind.__name__): kind for kind in (
        bool, bytearray, bytes, complex, dict, float, frozenset, int, list,
        range, set, slice, str, tuple)}
_KINDS = frozenset(_STANDARD.values())

# What they are made of. Of an instance, or of instances in a list, many of
# them would call something: dict(x) calls x.keys().
_SCALARS = bool, complex, float, int, str
_SERIES = frozenset, list, set, tuple
_FORMS = {
    (bytearray, bytes), (bytearray, str, str), (complex, float, float),
    (range, int, int, int),
    *((kind,) for kind in _KINDS), *((kind, kind) for kind in _KINDS),
    *itertools.product(_SCALARS, repeat=2),
    *itertools.product(_SERIES, repeat=2)}


def _encode(text, encoding='latin1'):
    """What bytes are made with by protocols that have no bytes."""
    if type(text) is not str:
        _refuse('to encode', text)
    _check_encoding(encoding)
    return text.encode('latin1')


def _check_encoding(encoding):
    # Of another name a codec is imported, and remembered that there is none.
    if type(encoding) is not str or encoding not in ('latin1', 'latin-1'):
        raise ForbiddenGlobal('another encoding')


# What pickle makes instances with, and never has as a value.
_TOOLS = {
    ('_codecs', 'encode'): _encode,
    ('builtins', 'getattr'): None,  # Allowed.get_attribute
    ('builtins', 'object'): object,
    ('copyreg', '_reconstructor'): copyreg._reconstructor,
    ('copyreg', '__newobj__'): copyreg.__newobj__,
    ('copyreg', '__newobj_ex__'): copyreg.__newobj_ex__,
}


class _Tool:
    """Stands for one of `_TOOLS` while a pickle is read."""

    def __init__(self, place):
        self.place = place


def _refuse(doing, obj):
    # Not by its repr(), which a class may define.
    kind = obj if _is_class(obj) else type(obj)
    place = (obj.place if kind is _Tool
             else (kind.__module__, kind.__qualname__))
    raise ForbiddenGlobal(f'{doing} {".".join(place)}')


def _is_class(obj):
    # What isinstance() tells of an object, its class may define.
    return issubclass(type(obj), type)


def _made_by(called):
    """Return the standard type that reads the arguments, or None."""
    for base in called.__mro__ if _is_class(called) else ():
        if base in _KINDS:
            name = '__new__' if base.__init__ is object.__init__ else (
                '__init__')
            if getattr(called, name) is getattr(base, name):
                return base
    return None


# A flag of the types that cannot be changed, as those written in C.
_IMMUTABLE = 1 << 8

# What a pickle did not make, wherever it has it from.
_SHARED = (
    type, enum.Enum, types.FunctionType, types.MethodType, types.ModuleType)


# What is looked up in an instance to change it.
_CALLED = frozenset(('__setstate__', 'append', 'extend', 'add'))

# What attributes are pickled in, and those of slots, as a tuple of both.
_STATE = frozenset((dict, types.NoneType))

# A bytearray of less than 4 GB: what alone READONLY_BUFFER makes something
# else of, a memoryview.
_BYTEARRAY = re.compile(pickle.BYTEARRAY8 + rb'.{4}\0{4}', re.DOTALL)


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
            return self._load_carefully(data)
        if self._trusted:
            return _Unpickler(BytesIO(data), self.find_global).load()
        # In most pickles there is nothing that could be changed, or called.
        if not (pickle.READONLY_BUFFER in data and _BYTEARRAY.search(data)):
            try:
                return _Unpickler(BytesIO(data), self._find_immutable).load()
            except _Unsafe:
                pass
        return self._load_carefully(data)

    def _find_immutable(self, module, name):
        found = self.find_global(module, name)
        if (isinstance(found, type) and found.__flags__ & _IMMUTABLE
                and found is not object and found not in _KINDS
                and not issubclass(found, (bytearray, bytes, str))):
            return found
        raise _Unsafe

    def _load_carefully(self, data):
        unpickler = _CarefulUnpickler(BytesIO(data), self)
        value, tools = unpickler.load(), unpickler.tools
        # What is not gone with it is somewhere in the value.
        del unpickler
        for tool in tools:
            _refuse('as a value', tool)
        return value

    def find_global(self, module, name, tools=_TOOLS):
        """Return the global, if it is allowed."""
        # As they are called in pickles for Python 2.
        mapped = NAME_MAPPING.get(
            (module, name), (IMPORT_MAPPING.get(module, module), name))
        for place in (module, name), mapped:
            if place in _STANDARD:
                return _STANDARD[place]
            if place in tools:
                return tools[place] or self.get_attribute
            if '.'.join(place) in self._names:
                found = _resolve(*place)
                # A name in the list may be a module's: not that for itself,
                # nor what has the same name in the package of the module.
                if not isinstance(found, types.ModuleType) and not isinstance(
                        sys.modules.get('.'.join(place)), types.ModuleType):
                    return found
            if place[0] in self._names:
                found = _find_class(*place)
                if found is not None:
                    return found
        raise ForbiddenGlobal('.'.join(mapped))

    def get_attribute(self, owner, name):
        """What is in a class is pickled as: members, methods, classes."""
        if _is_class(owner) and type(name) is str:
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
        if not _is_class(found) or found.__module__ != module:
            return None
    if found.__qualname__ != name or issubclass(found, type):
        return None
    return found


class _Unsafe(Exception):
    """The pickle names what could be changed, or call something."""


class _Unpickler(pickle.Unpickler):

    def __init__(self, file, find):
        super().__init__(file)
        self._find = find

    def find_class(self, module, name):
        return self._find(module, name)


class _CarefulUnpickler(pickle._Unpickler):
    """Changes what the pickle has made, and calls what it has found by name.

    In Python, and many times slower: that of C has no place for this.
    """

    def __init__(self, file, allowed):
        super().__init__(file)
        self._allowed = allowed
        # By their id: what was found by a name, and the type that makes it.
        self._found = {}
        self._tools = {place: _Tool(place) for place in _TOOLS}
        self.tools = weakref.WeakSet(self._tools.values())

    def find_class(self, module, name):
        return self._keep(
            self._allowed.find_global(module, name, self._tools))

    def _keep(self, found):
        if id(found) not in self._found:
            self._found[id(found)] = found, _made_by(found)
        return found

    def get_extension(self, code):
        raise ForbiddenGlobal(f'extension {code}')

    # Calls

    def _check_called(self, called, args, more=()):
        # Not an instance that can be called, or has something of that name.
        if id(called) not in self._found:
            _refuse('to call', called)
        _, kind = self._found[id(called)]
        # The pickler writes no other; this would have its items asked for.
        if type(args) is not tuple:
            _refuse('as arguments', args)
        if kind is not None and kind is not slice:
            if more or (kind, *map(type, args)) not in _FORMS:
                _refuse('with such arguments', called)
            if len(args) == 2 and kind is bytearray:
                _check_encoding(args[1])

    def _check_class(self, kind, args=(), more=()):
        self._check_called(kind, args, more)
        if not _is_class(kind):
            _refuse('to call', kind)

    def _call(self, called, args):
        self._check_called(called, args)
        if type(called) is not _Tool:
            return called(*args)
        if called.place not in self._uses:
            _refuse('to call', called)
        return self._uses[called.place](self, *args)

    def _new(self, kind, args):
        self._check_class(kind, args)
        return kind.__new__(kind, *args)

    def _new_ex(self, kind, args, more):
        if type(more) is not dict:
            _refuse('as arguments', more)
        self._check_class(kind, args, more)
        return kind.__new__(kind, *args, **more)

    def _reconstruct(self, kind, base, state):
        self._check_class(kind)
        if base is self._tools['builtins', 'object']:
            base = object
        else:
            self._check_class(base, (state,))
        return copyreg._reconstructor(kind, base, state)

    def _get_attribute(self, owner, name):
        found = self._allowed.get_attribute(owner, name)
        # A member is not in the list, and so it is not called.
        return found if isinstance(found, enum.Enum) else self._keep(found)

    _uses = {
        ('_codecs', 'encode'): lambda self, *args: _encode(*args),
        ('builtins', 'getattr'): _get_attribute,
        ('copyreg', '_reconstructor'): _reconstruct,
        ('copyreg', '__newobj__'): lambda self, kind, *args: self._new(
            kind, args),
        ('copyreg', '__newobj_ex__'): _new_ex,
    }

    def load_reduce(self):
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self):
        args = self.stack.pop()
        self.stack[-1] = self._new(self.stack[-1], args)

    def load_newobj_ex(self):
        more, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self._new_ex(self.stack[-1], args, more)

    def _instantiate(self, kind, args):
        if args or hasattr(kind, '__getinitargs__'):
            self.append(self._call(kind, tuple(args)))
        else:
            self.append(self._new(kind, ()))

    # Changes

    def _check_changed(self, changed, kind=None):
        if issubclass(type(changed), _SHARED) or id(changed) in self._found:
            _refuse('to change', changed)
        # Of what is put into a bytearray, or a list's index, a number is made.
        if type(changed) in _KINDS and type(changed) is not kind:
            _refuse('to change in this way', changed)
        # What would be called to change it must be its class's.
        own = getattr(changed, '__dict__', ())
        if not _CALLED.isdisjoint(own):
            _refuse('to call what is in', changed)

    def load_build(self):
        changed, state = self.stack[-2:]
        self._check_changed(changed)
        if type(state) is not dict:
            parts = state if type(state) is tuple else (state,)
            # Without that method a state is attributes, and its items are
            # asked for.
            if not (_STATE.issuperset(map(type, parts))
                    or hasattr(changed, '__setstate__')):
                _refuse('as attributes', state)
        super().load_build()

    def load_append(self):
        self._check_changed(self.stack[-2], list)
        super().load_append()

    def load_setitem(self):
        self._check_changed(self.stack[-3], dict)
        super().load_setitem()

    # What is changed by several items stands in front of their mark.

    def load_appends(self):
        self._check_changed(self.metastack[-1][-1], list)
        super().load_appends()

    def load_setitems(self):
        self._check_changed(self.metastack[-1][-1], dict)
        super().load_setitems()

    def load_additems(self):
        self._check_changed(self.metastack[-1][-1], set)
        super().load_additems()

    def load_buffer(self):
        raise ForbiddenGlobal('a buffer')

    dispatch = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.SETITEM[0]: load_setitem,
        pickle.APPENDS[0]: load_appends,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
        pickle.NEXT_BUFFER[0]: load_buffer,
        pickle.READONLY_BUFFER[0]: load_buffer,
    }
