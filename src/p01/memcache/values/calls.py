# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The calls that a pickle may make: of what, and with which arguments."""

import enum
import itertools
import weakref
from collections.abc import Callable
from typing import Any

from p01.memcache.values.allowlist import KINDS
from p01.memcache.values.allowlist import Allowlist
from p01.memcache.values.tools import TOOLS
from p01.memcache.values.tools import Place
from p01.memcache.values.tools import Tool
from p01.memcache.values.tools import check_encoding
from p01.memcache.values.tools import encode
from p01.memcache.values.tools import is_class
from p01.memcache.values.tools import refuse


# What the standard types are made of. With an instance as the argument, or
# with instances in a list, many would call it: dict(x) calls x.keys().
_SCALARS = bool, complex, float, int, str
_SERIES = frozenset, list, set, tuple
_FORMS: set[tuple[type, ...]] = {
    (bytearray, bytes), (bytearray, str, str), (complex, float, float),
    (range, int, int, int),
    *((kind,) for kind in KINDS), *((kind, kind) for kind in KINDS),
    *itertools.product(_SCALARS, repeat=2),
    *itertools.product(_SERIES, repeat=2)}


class Calls:
    """Calls what one pickle has found by its name, with harmless arguments.

    The tools are found as a stand-in each. tools are those that still
    exist: once the pickle is read, they are somewhere in its value.
    """

    def __init__(self, allowlist: Allowlist) -> None:
        self._allowlist = allowlist
        # Its id: what was found, and the type that reads its arguments.
        self.found: dict[int, tuple[Any, type | None]] = {}
        self._tools = {place: Tool(place) for place in TOOLS}
        self.tools = weakref.WeakSet(self._tools.values())

    def find(self, module: str, name: str) -> Any:
        return self._keep(
            self._allowlist.find_global(module, name, self._tools))

    def _keep(self, found: Any) -> Any:
        if id(found) not in self.found:
            self.found[id(found)] = found, _made_by(found)
        return found

    def call(self, called: Any, args: Any) -> Any:
        self._check(called, args)
        if type(called) is not Tool:
            return called(*args)
        if called.place not in self._uses:
            refuse('to call', called)
        return self._uses[called.place](self, *args)

    def new(self, kind: Any, args: Any) -> Any:
        self._check_class(kind, args)
        return kind.__new__(kind, *args)

    def new_ex(self, kind: Any, args: Any, more: Any) -> Any:
        if type(more) is not dict:
            refuse('as arguments', more)
        self._check_class(kind, args, more)
        return kind.__new__(kind, *args, **more)

    def _check(self, called: Any, args: Any, more: Any = ()) -> None:
        # No instance that can be called, or has an attribute of that name.
        if id(called) not in self.found:
            refuse('to call', called)
        _, kind = self.found[id(called)]
        # A pickler writes no other type; that would be iterated.
        if type(args) is not tuple:
            refuse('as arguments', args)
        if kind is not None and kind is not slice:
            if more or (kind, *map(type, args)) not in _FORMS:
                refuse('with such arguments', called)
            if len(args) == 2 and kind is bytearray:
                check_encoding(args[1])

    def _check_class(self, kind: Any, args: Any = (), more: Any = ()) -> None:
        self._check(kind, args, more)
        if not is_class(kind):
            refuse('to call', kind)

    # What the tools do

    def _new(self, kind: Any, *args: Any) -> Any:
        return self.new(kind, args)

    def _reconstruct(self, kind: Any, base: Any, state: Any) -> Any:
        self._check_class(kind)
        if base is self._tools['builtins', 'object']:
            base = object
        else:
            self._check_class(base, (state,))
        return TOOLS['copyreg', '_reconstructor'](kind, base, state)

    def _get_attribute(self, owner: Any, name: Any) -> Any:
        found = self._allowlist.get_attribute(owner, name)
        # A member is not in the list, and so it is not called.
        return found if isinstance(found, enum.Enum) else self._keep(found)

    # Of the class, not bound: an instance in a cycle would outlive its pickle.
    _uses: dict[Place, Callable[..., Any]] = {
        ('_codecs', 'encode'): lambda self, *args: encode(*args),
        ('builtins', 'getattr'): _get_attribute,
        ('copyreg', '_reconstructor'): _reconstruct,
        ('copyreg', '__newobj__'): _new,
        ('copyreg', '__newobj_ex__'): new_ex,
    }


def _made_by(called: Any) -> type | None:
    """Return the standard type that reads the arguments, or None."""
    for base in called.__mro__ if is_class(called) else ():
        if base in KINDS:
            name = '__new__' if base.__init__ is object.__init__ else (
                '__init__')
            if getattr(called, name) is getattr(base, name):
                return base
    return None
