# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Unpicklers that find no globals but those of an allowlist.

The fast one, in C, reads what cannot do harm; the careful one the rest.
"""

import copyreg
import pickle
import re
from io import BytesIO
from typing import Any

from p01.memcache.values import careful
from p01.memcache.values.allowlist import KINDS
from p01.memcache.values.allowlist import Allowlist


# A flag of types that cannot be changed, such as those written in C.
_IMMUTABLE = 1 << 8

# A bytearray of less than 4 GB: only of that READONLY_BUFFER makes something
# else, a memoryview.
_BYTEARRAY = re.compile(pickle.BYTEARRAY8 + rb'.{4}\0{4}', re.DOTALL)


def loads(data: bytes, allowlist: Allowlist, trusted: bool = False) -> Any:
    """Return what the pickle stands for, or raise `ForbiddenGlobal`."""
    if copyreg._inverted_registry:  # type: ignore[attr-defined]
        # The unpickler in C does not ask for an extension that was used
        # before.
        return careful.loads(data, allowlist)
    if trusted:
        return _Unpickler(BytesIO(data), allowlist).load()
    # In most pickles there is nothing that could be changed, or called.
    if not (pickle.READONLY_BUFFER in data and _BYTEARRAY.search(data)):
        try:
            return _PlainUnpickler(BytesIO(data), allowlist).load()
        except _Unsafe:
            pass
    return careful.loads(data, allowlist)


class _Unpickler(pickle.Unpickler):
    """For trusted pickles."""

    def __init__(self, file: BytesIO, allowlist: Allowlist) -> None:
        super().__init__(file)
        self._allowlist = allowlist

    def find_class(self, module: str, name: str) -> Any:
        return self._allowlist.find_global(module, name)


class _Unsafe(Exception):
    """The pickle names what could be changed, or call something."""


class _PlainUnpickler(_Unpickler):
    """For pickles that name nothing but types that cannot be changed."""

    def find_class(self, module: str, name: str) -> type:
        found = self._allowlist.find_global(module, name)
        if (isinstance(found, type) and found.__flags__ & _IMMUTABLE
                and found is not object and found not in KINDS
                and not issubclass(found, (bytearray, bytes, str))):
            return found
        raise _Unsafe
