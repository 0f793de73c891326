# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects as pickles."""

import io
import pickle
from collections.abc import Callable
from collections.abc import Iterable
from functools import partial
from typing import Any

from zope.interface import implementer

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import ISerializer
from p01.memcache.log import describe
from p01.memcache.values import unpickler
from p01.memcache.values.allowlist import Allowlist
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.unstorable import is_special
from p01.memcache.values.unstorable import refuse


# Types that hold nothing that would have to be refused.
SIMPLE: frozenset[type] = frozenset((str, bytes, int, float, bool, type(None)))


class _Pickler(pickle.Pickler):

    def reducer_override(self, obj: Any) -> Any:
        # pickle calls it for all objects that are not of its own types.
        kind: Any = type(obj)
        if is_special(kind):
            refuse(obj)
        return NotImplemented


def dumps(obj: object, protocol: int,
          pickler: type[pickle.Pickler] | None = None) -> bytes:
    """Return the pickle of the object, made by that class of picklers."""
    try:
        if pickler is None:
            return pickle.dumps(obj, protocol)
        file = io.BytesIO()
        pickler(file, protocol).dump(obj)
        return file.getvalue()
    except SerializationError:
        raise
    except Exception as error:
        raise SerializationError(
            f'a {type(obj).__name__} cannot be pickled: {describe(error)}'
        ) from error


@implementer(ISerializer)
class PickleSerializer:
    """See `ISerializer`, and `IMemcacheClient.allow`.

    `trusted` pickles come from a maker that is known, and means no harm.
    """

    def __init__(self, protocol: int = -1,
                 allow: Iterable[str] | None = None,
                 trusted: bool = False) -> None:
        self.protocol = protocol
        self.loads_plain: Callable[[bytes], Any] = pickle.loads
        if allow is not None:
            self.loads_plain = partial(
                unpickler.loads, allowlist=Allowlist(allow), trusted=trusted)

    def dumps(self, key: bytes, obj: object) -> tuple[bytes, int]:
        if type(obj) in SIMPLE:
            return pickle.dumps(obj, self.protocol), PLAIN
        return dumps(obj, self.protocol, _Pickler), PLAIN

    def loads(self, key: bytes, data: bytes, flags: int) -> Any:
        if flags != PLAIN:
            raise UnreadableValue(f'unknown flags {flags}')
        return self.loads_plain(data)
