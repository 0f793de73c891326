# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The canonical pickle of a key: equal keys have equal ones.

An ordinary pickle writes an object once, and refers to it where the same one
comes again. So those of ``(a, a)`` and ``(a, b)`` differ if `b` is another
object that is equal to `a`. Here each part is written as if it came for the
first time.

If all parts of a key differ, it has the pickle that it always had. So
references stay where every process has the same ones: to objects of which
there is only one, such as a class, a member of an enum, or an instance that is
equal to nothing but itself; and to the names of attributes, which Python
interns.
"""

import pickle
from typing import Any

from p01.memcache.keys.copies import Copies
from p01.memcache.keys.copies import EqualCopies
from p01.memcache.keys.copies import TooMany
from p01.memcache.keys.instance import InstancePickler


# In a key of more parts than this, equal ones are written once.
MOST = 10000


class Pickler(InstancePickler):
    """Pickles a key by what it is, and not by how it was built."""

    def __init__(self, file: Any, protocol: int) -> None:
        super().__init__(file, protocol)
        self._protocol = (
            pickle.HIGHEST_PROTOCOL if protocol < 0 else protocol)

    def dump(self, key: object) -> None:
        try:
            copy = Copies(self._protocol, MOST).of(key)
        except TooMany:
            copy = EqualCopies(self._protocol).of(key)
        super().dump(copy)
