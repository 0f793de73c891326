# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An item: what a server has under a key."""

from typing import NamedTuple


class Item(NamedTuple):
    """The bytes of a value, their flags, and the token to compare with.

    The token is None unless it was asked for. A reply has the server's unique
    number there, a store makes a token of it, see `p01.memcache.wire.cas`.
    """

    data: bytes
    flags: int
    token: int | str | None = None


class Announced(bytes):
    """Stands for a value that is too large: it has its length, and no bytes.
    """

    def __new__(cls, size):
        self = super().__new__(cls)
        self._size = size
        return self

    def __len__(self):
        return self._size

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__
