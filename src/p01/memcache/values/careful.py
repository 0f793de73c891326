# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The careful unpickler, which changes nothing that it has found by a name.

A pickle can set attributes, also those of a class, for all its instances.
"""

import enum
import pickle
import types
from io import BytesIO
from typing import Any

from p01.memcache.values.allowlist import KINDS
from p01.memcache.values.allowlist import Allowlist
from p01.memcache.values.calls import Calls
from p01.memcache.values.tools import forbidden
from p01.memcache.values.tools import refuse


# What no pickle makes, wherever it comes from.
_SHARED = (
    type, enum.Enum, types.FunctionType, types.MethodType, types.ModuleType)

# What is looked up in an instance to change it.
_CALLED = frozenset(('__setstate__', 'append', 'extend', 'add'))

# What attributes are pickled in; with slots, as a tuple of both.
_STATE = frozenset((dict, types.NoneType))


def loads(data: bytes, allowlist: Allowlist) -> Any:
    """Return what the pickle stands for, or raise `ForbiddenGlobal`."""
    unpickler = CarefulUnpickler(BytesIO(data), allowlist)
    value, tools = unpickler.load(), unpickler.tools
    # A tool that outlives it is somewhere in the value.
    del unpickler
    for tool in tools:
        refuse('as a value', tool)
    return value


# The one in Python, and many times slower: that in C has no hooks for this.
_Unpickler: Any = pickle._Unpickler


class CarefulUnpickler(_Unpickler):
    """Changes what the pickle has made, and calls what it has found by name.
    """

    def __init__(self, file: BytesIO, allowlist: Allowlist) -> None:
        super().__init__(file)
        self._calls = Calls(allowlist)
        self._found = self._calls.found
        self.tools = self._calls.tools

    def find_class(self, module: str, name: str) -> Any:
        return self._calls.find(module, name)

    def get_extension(self, code: int) -> None:
        raise forbidden(f'extension {code}')

    # Calls

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._calls.call(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._calls.new(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        more, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self._calls.new_ex(self.stack[-1], args, more)

    def _instantiate(self, kind: Any, args: list) -> None:
        if args or hasattr(kind, '__getinitargs__'):
            self.append(self._calls.call(kind, tuple(args)))
        else:
            self.append(self._calls.new(kind, ()))

    # Changes

    def _check_changed(self, changed: Any, kind: type | None = None) -> None:
        if issubclass(type(changed), _SHARED) or id(changed) in self._found:
            refuse('to change', changed)
        # What is put into a bytearray, or is the index of a list, would be
        # asked for its number.
        if type(changed) in KINDS and type(changed) is not kind:
            refuse('to change in this way', changed)
        # What is called to change it must come from its class.
        own = getattr(changed, '__dict__', ())
        if not _CALLED.isdisjoint(own):
            refuse('to call what is in', changed)

    def load_build(self) -> None:
        changed, state = self.stack[-2:]
        self._check_changed(changed)
        if type(state) is not dict:
            parts = state if type(state) is tuple else (state,)
            # Without that method the state holds attributes, and would be
            # iterated.
            if not (_STATE.issuperset(map(type, parts))
                    or hasattr(changed, '__setstate__')):
                refuse('as attributes', state)
        super().load_build()

    def load_append(self) -> None:
        self._check_changed(self.stack[-2], list)
        super().load_append()

    def load_setitem(self) -> None:
        self._check_changed(self.stack[-3], dict)
        super().load_setitem()

    # What several items are put into is below their mark.

    def load_appends(self) -> None:
        self._check_changed(self.metastack[-1][-1], list)
        super().load_appends()

    def load_setitems(self) -> None:
        self._check_changed(self.metastack[-1][-1], dict)
        super().load_setitems()

    def load_additems(self) -> None:
        self._check_changed(self.metastack[-1][-1], set)
        super().load_additems()

    def load_buffer(self) -> None:
        raise forbidden('a buffer')

    dispatch = {
        **_Unpickler.dispatch,
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
