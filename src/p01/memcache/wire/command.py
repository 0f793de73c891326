# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands of memcached's text protocol, each of which describes itself.

A command is checked when it is made: a key or a value that memcached would
misunderstand is a ValueError. `Command.encode` returns the request, and
`Command.read` reads the reply, see `p01.memcache.wire.replies`. The
attributes of the class tell the layers above what else they need to know. The
names are those of memcached's ``doc/protocol.txt``.
"""

import copy
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Self

from p01.memcache.wire import replies
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE
from p01.memcache.wire.limits import STATISTICS
from p01.memcache.wire.limits import check_key
from p01.memcache.wire.reader import Readable


class Command:
    """A request, and what its sender needs to know of it."""

    #: The key on the wire; None for a command to the server as a whole.
    key: Any = None

    #: When the value expires, as memcached's ``exptime``; 0 for never.
    expires: int = 0

    #: Whether it changes the key's value. Then the key has to be removed
    #: where the outcome is not known.
    changes: bool = False

    #: Whether it leaves nothing under the key, not even something to expire.
    removes: bool = False

    #: Whether sending it twice does no harm.
    repeats: bool = False

    #: Whether proxies know it, too.
    everywhere: bool = True

    #: The name of the one server on which it has a meaning, if there is one.
    only_at: str | None = None

    #: It may only be sent on a connection that was made before this moment, on
    #: the clock of ``time.monotonic``.
    since: float = math.inf

    #: The reply to most commands of the kind, which says True; if any.
    usual: bytes = b''

    #: ``read(reader)`` returns what the reply says.
    read: Callable[[Readable], Any]

    def encode(self) -> bytes:
        """Return the request as bytes."""
        raise NotImplementedError

    def limited(self, seconds: int) -> Self:
        """Return this command for a value that lasts no longer than that."""
        other = copy.copy(self)
        other.expires = min(self.expires or seconds, seconds)
        return other


class Keyed(Command):
    """A command that needs nothing but a key; `Get` does the same itself."""

    def __init__(self, key: bytes) -> None:
        check_key(key)
        self.key = key


class Get(Command):

    repeats = True

    def __init__(self, key: bytes, most: int = MAX_VALUE) -> None:
        check_key(key)
        self.key = key
        self.most = most

    def encode(self) -> bytes:
        return b'get %b\r\n' % self.key

    def read(self, reader: Readable) -> Any:
        """Return an `Item` or None."""
        return replies.read_item(reader, self.key, self.most)


class GetMany(Command):
    """`Get` of several keys; the items are put into the dict `found`."""

    repeats = True

    def __init__(self, keys: Sequence[bytes], found: dict[bytes, Item],
                 most: int = MAX_VALUE) -> None:
        for key in keys:
            check_key(key)
        self.keys = keys
        self.found = found
        self.most = most

    def encode(self) -> bytes:
        return b'get %b\r\n' % b' '.join(self.keys)

    def read(self, reader: Readable) -> dict[bytes, Item]:
        return replies.read_values(
            reader, frozenset(self.keys), self.found, self.most)


class Gets(Get):

    everywhere = False

    def encode(self) -> bytes:
        return b'gets %b\r\n' % self.key

    def read(self, reader: Readable) -> Item | None:
        """Return an `Item` with its unique number, or None."""
        return replies.read_unique(reader, self.key, self.most)


class GetAndTouch(Get):

    everywhere = False

    def __init__(
            self, key: bytes, expires: int, most: int = MAX_VALUE) -> None:
        super().__init__(key, most)
        self.expires = expires

    def encode(self) -> bytes:
        return b'gat %d %b\r\n' % (self.expires, self.key)


class Set(Command):

    changes = True
    usual = b'STORED\r\n'
    form = b'set %b %d %d %d\r\n%b\r\n'
    read = staticmethod(replies.read_stored)

    def __init__(
            self, key: bytes, data: bytes, flags: int, expires: int) -> None:
        check_key(key)
        if len(data) > MAX_VALUE:
            # A server that does not take its length for a number would take
            # the value for commands.
            raise ValueError(
                f'a value of {len(data)} bytes: must be {MAX_VALUE} at most')
        self.key = key
        self.data = data
        self.flags = flags
        self.expires = expires

    def encode(self) -> bytes:
        data = self.data
        return self.form % (
            self.key, self.flags, self.expires, len(data), data)


class Add(Set):

    form = b'add %b %d %d %d\r\n%b\r\n'
    read = staticmethod(replies.read_stored_or_not)


class Replace(Add):

    form = b'replace %b %d %d %d\r\n%b\r\n'


class Append(Add):

    form = b'append %b %d %d %d\r\n%b\r\n'


class Prepend(Add):

    form = b'prepend %b %d %d %d\r\n%b\r\n'


class Cas(Set):
    """`Set`, if the value still has the unique number."""

    read = staticmethod(replies.read_compared)

    def __init__(self, key: bytes, data: bytes, flags: int, unique: int,
                 expires: int, only_at: str | None = None,
                 since: float = math.inf) -> None:
        super().__init__(key, data, flags, expires)
        self.unique = unique
        self.only_at = only_at
        self.since = since

    def encode(self) -> bytes:
        return b'cas %b %d %d %d %d\r\n%b\r\n' % (
            self.key, self.flags, self.expires, len(self.data), self.unique,
            self.data)


class Discard(Cas):
    """`Cas` with a value that has expired already: nothing is left."""

    read = staticmethod(replies.read_discarded)


class Touch(Keyed):

    repeats = True
    read = staticmethod(replies.read_touched)

    def __init__(self, key: bytes, expires: int) -> None:
        super().__init__(key)
        self.expires = expires

    def encode(self) -> bytes:
        return b'touch %b %d\r\n' % (self.key, self.expires)


class Increment(Keyed):

    changes = True
    form = b'incr %b %d\r\n'
    read = staticmethod(replies.read_number)

    def __init__(self, key: bytes, delta: int) -> None:
        super().__init__(key)
        self.delta = delta

    def encode(self) -> bytes:
        return self.form % (self.key, self.delta)


class Decrement(Increment):

    form = b'decr %b %d\r\n'


class Delete(Keyed):

    changes = removes = repeats = True
    usual = b'DELETED\r\n'
    read = staticmethod(replies.read_deleted)

    def encode(self) -> bytes:
        return b'delete %b\r\n' % self.key


class FlushAll(Command):

    changes = removes = repeats = True
    everywhere = False
    read = staticmethod(replies.read_ok)

    def encode(self) -> bytes:
        return b'flush_all\r\n'


class Stats(Command):
    """The server's statistics, or those of the `STATISTICS` of a name."""

    repeats = True
    everywhere = False
    read = staticmethod(replies.read_stats)

    def __init__(self, name: str | None = None) -> None:
        if name not in (None, *STATISTICS):
            raise ValueError(f'name {name!r}: must be one of {STATISTICS}')
        # Of a name that equals one, nothing else gets onto the wire.
        self.topic = ''.join(
            f' {known}' for known in STATISTICS if known == name).encode()

    def encode(self) -> bytes:
        return b'stats%b\r\n' % self.topic


class Authenticate(Command):
    """The first command to a server that was started with ``-Y``.

    Any other server stores it, as a value that has expired already.
    """

    read = staticmethod(replies.read_stored)

    def __init__(self, username: str, password: Any) -> None:
        self.username = username
        self.password = password  # a `Secret`

    def encode(self) -> bytes:
        data = b'%b %b' % (
            self.username.encode(), self.password.reveal().encode())
        return b'set p01.memcache 0 -1 %d\r\n%b\r\n' % (len(data), data)
