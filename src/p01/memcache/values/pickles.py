# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects as pickles."""

import io
import pickle

from zope.interface import implementer

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import describe
from p01.memcache.interfaces import ISerializer
from p01.memcache.values.allowlist import Allowed
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.unstorable import is_special
from p01.memcache.values.unstorable import refuse


# What holds nothing that would have to be refused.
SIMPLE = frozenset((str, bytes, int, float, bool, type(None)))


class _Pickler(pickle.Pickler):

    def reducer_override(self, obj):
        # It is asked for all objects that are not of pickle's own types.
        if is_special(type(obj)):
            refuse(obj)
        return NotImplemented


def dumps(obj, protocol, pickler=None):
    """Return the pickle of anything, by a subclass of ``pickle.Pickler``."""
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
    """See `ISerializer`. Of `allow`, see `IMemcacheClient`."""

    def __init__(self, protocol=-1, allow=None, trusted=False):
        self._protocol = protocol
        self._loads = (
            pickle.loads if allow is None else Allowed(allow, trusted).loads)

    def dumps(self, key, obj):
        pickler = None if type(obj) in SIMPLE else _Pickler
        return dumps(obj, self._protocol, pickler), PLAIN

    def loads(self, key, data, flags):
        if flags != PLAIN:
            raise UnreadableValue(f'unknown flags {flags}')
        return self._loads(data)
