# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The list of the globals that a pickle may name.

Nothing is imported, looked up or called before its name is found in the list.
"""

import enum
import functools
import importlib
import sys
import types
from _compat_pickle import IMPORT_MAPPING
from _compat_pickle import NAME_MAPPING
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from p01.memcache.values.tools import TOOLS
from p01.memcache.values.tools import Place
from p01.memcache.values.tools import forbidden
from p01.memcache.values.tools import is_class


# The types of plain data, which are always allowed: pickle has no opcodes for
# some of them, and names others to make instances of their subclasses.
STANDARD: dict[Place, type] = {
    ('builtins', kind.__name__): kind for kind in (
        bool, bytearray, bytes, complex, dict, float, frozenset, int, list,
        range, set, slice, str, tuple)}
KINDS = frozenset(STANDARD.values())


class Allowlist:
    """Modules and names, see `IMemcacheClient.allow`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def find_global(self, module: str, name: str,
                    tools: Mapping[Place, Any] = TOOLS) -> Any:
        """Return the global, or raise `ForbiddenGlobal`."""
        # Pickles for Python 2 have the names of Python 2.
        mapped = NAME_MAPPING.get(
            (module, name), (IMPORT_MAPPING.get(module, module), name))
        for place in (module, name), mapped:
            if place in STANDARD:
                return STANDARD[place]
            if place in tools:
                return tools[place] or self.get_attribute
            if '.'.join(place) in self._names:
                found = _resolve(*place)
                # A name in the list may be that of a module: it allows neither
                # the module itself, nor its namesake in the package.
                if not isinstance(found, types.ModuleType) and not isinstance(
                        sys.modules.get('.'.join(place)), types.ModuleType):
                    return found
            if place[0] in self._names:
                found = _find_class(*place)
                if found is not None:
                    return found
        raise forbidden('.'.join(mapped))

    def get_attribute(self, owner: Any, name: object) -> Any:
        """Return what a class has: a member, a method or a class."""
        if is_class(owner) and type(name) is str:
            if (isinstance(owner, enum.EnumMeta)
                    and name in owner.__members__):
                return owner.__members__[name]
            return self.find_global(
                owner.__module__, f'{owner.__qualname__}.{name}')
        raise forbidden('builtins.getattr')


def _resolve(module: str, name: str) -> Any:
    return functools.reduce(
        getattr, name.split('.'), importlib.import_module(module))


def _find_class(module: str, name: str) -> type | None:
    """Return a class that is defined in the module, or None.

    What the module has imported does not count. Nothing on the way is asked
    for an attribute, which might import a module or run a property. Nor does a
    metaclass count: it makes classes, and may keep a list of them.
    """
    found: Any = importlib.import_module(module)
    for part in name.split('.'):
        found = vars(found).get(part)
        if not is_class(found) or found.__module__ != module:
            return None
    if found.__qualname__ != name or issubclass(found, type):
        return None
    return found
