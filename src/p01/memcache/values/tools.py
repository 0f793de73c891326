# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The tools of pickle: what it makes instances with, and never has as a value.
"""

import copyreg
from typing import Any
from typing import NoReturn

from p01.memcache.errors import ForbiddenGlobal
from p01.memcache.log import printable


Place = tuple[str, str]  # a module, and a name in it


def encode(text: str, encoding: str = 'latin1') -> bytes:
    """Make bytes, as the protocols do that have no opcode for them."""
    if type(text) is not str:
        refuse('to encode', text)
    check_encoding(encoding)
    return text.encode('latin1')


def check_encoding(encoding: object) -> None:
    # Another name would import a codec, or be cached as unknown for ever.
    if type(encoding) is not str or encoding not in ('latin1', 'latin-1'):
        raise forbidden('another encoding')


TOOLS: dict[Place, Any] = {
    ('_codecs', 'encode'): encode,
    ('builtins', 'getattr'): None,  # Allowlist.get_attribute
    ('builtins', 'object'): object,
    **{('copyreg', name): getattr(copyreg, name)
       for name in ('_reconstructor', '__newobj__', '__newobj_ex__')},
}


class Tool:
    """Stands for one of the tools while a pickle is read carefully."""

    def __init__(self, place: Place) -> None:
        self.place = place


def refuse(doing: str, obj: Any) -> NoReturn:
    # Not by its repr(), which a class may define.
    kind = obj if is_class(obj) else type(obj)
    place = (obj.place if kind is Tool
             else (kind.__module__, kind.__qualname__))
    raise forbidden(f'{doing} {".".join(place)}')


def forbidden(name: str) -> ForbiddenGlobal:
    return ForbiddenGlobal(f'{printable(name)} is not allowed')


def is_class(obj: object) -> bool:
    # Not isinstance(), which believes what an object says of its class.
    return issubclass(type(obj), type)
