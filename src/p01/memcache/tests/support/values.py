# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values, keys and arguments that cause trouble, and a neutral default."""

import functools
import gc
import types
from unittest import mock

from p01.memcache.secret import Secret


# The default of reads: not a value, and equal to no value.
MISSING = mock.sentinel.MISSING


class Persistent:
    """Like a persistent object, as far as a key is concerned."""

    _p_oid = None

    def __init__(self, oid):
        self._p_oid = oid


class Unpicklable:

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error


def throw(error):
    raise error


class Thrower:
    """An object that raises when it is unpickled."""

    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        return throw, (self.error,)


INJECTIONS = (
    '1\r\nflush_all\r\n', '1 \r\nflush_all', '1 noreply', '0\r\n', '\n', '\0',
    '1\0', '-1', '+1', ' 1', '1 ', '', '\u0661', '\xb9', 'x' * 300)


def parts(thing):
    """Yield an object and all that a debugger would show within it."""
    seen, rest = {}, [thing]
    while rest:
        part = rest.pop()
        if id(part) in seen or isinstance(
                part, (type, types.ModuleType, types.FunctionType)):
            continue
        seen[id(part)] = part
        yield part
        rest += getattr(part, '__dict__', {}).values()
        if isinstance(part, functools.partial):
            rest += (part.args, part.keywords)
        elif not isinstance(part, Secret):
            rest += gc.get_referents(part)
