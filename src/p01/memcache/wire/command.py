# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A command of memcached's text protocol, which says all about itself.

A command is checked when it is made, with a ValueError for a key or a value
that memcached would misunderstand. `Command.encode` returns the request, and
`Command.read` reads the reply, see `p01.memcache.wire.replies`. What else the
layers above need to know of a command are the attributes of the class. The
commands are those of memcached's ``doc/protocol.txt``, under their names.
"""

import copy
import math

from p01.memcache.wire import replies
from p01.memcache.wire.limits import MAX_VALUE
from p01.memcache.wire.limits import check_key
from p01.memcache.wire.limits import check_value


class Command:
    """A request, and what has to be known of it to send it."""

    #: The key on the wire; None for a command to the server as a whole.
    key = None

    #: When what it stores expires, as memcached's ``exptime``; 0 for never.
    expires = 0

    #: Whether it changes the key's value. Then the key has to be removed
    #: where the outcome is not known.
    changes = False

    #: Whether it leaves nothing under the key, not even something to expire.
    removes = False

    #: Whether it does no harm to send it twice.
    repeats = False

    #: Whether proxies know it, too.
    everywhere = True

    #: The name of the one server on which it has a meaning, if there is one.
    only_at = None

    #: It must be sent on a connection made before this moment, on the clock
    #: of ``time.monotonic``.
    since = math.inf

    def encode(self):
        """Return the request as bytes."""
        raise NotImplementedError

    def read(self, reader):
        """Return what the reply says."""
        raise NotImplementedError

    def limited(self, seconds):
        """Return this command, of a value that expires by then at least."""
        other = copy.copy(self)
        other.expires = min(self.expires or seconds, seconds)
        return other


class Get(Command):

    repeats = True

    def __init__(self, key, most=MAX_VALUE):
        check_key(key)
        self.key = key
        self.most = most

    def encode(self):
        return b'get %b\r\n' % self.key

    def read(self, reader):
        """Return an `Item` or None."""
        return replies.read_item(reader, self.key, self.most)


class GetMany(Command):
    """`Get` of several keys; the items are put into the dict `found`."""

    repeats = True

    def __init__(self, keys, found, most=MAX_VALUE):
        for key in keys:
            check_key(key)
        self.keys = keys
        self.found = found
        self.most = most

    def encode(self):
        return b'get %b\r\n' % b' '.join(self.keys)

    def read(self, reader):
        return replies.read_values(
            reader, frozenset(self.keys), self.found, self.most)


class Gets(Get):

    everywhere = False

    def encode(self):
        return b'gets %b\r\n' % self.key

    def read(self, reader):
        """Return an `Item` with its unique number, or None."""
        return replies.read_unique(reader, self.key, self.most)


class GetAndTouch(Get):

    everywhere = False

    def __init__(self, key, expires, most=MAX_VALUE):
        super().__init__(key, most)
        self.expires = expires

    def encode(self):
        return b'gat %d %b\r\n' % (self.expires, self.key)


class Set(Command):

    changes = True
    word = b'set'
    read = staticmethod(replies.read_stored)

    def __init__(self, key, data, flags, expires):
        check_key(key)
        check_value(data)
        self.key = key
        self.data = data
        self.flags = flags
        self.expires = expires

    def encode(self):
        return b'%b %b %d %d %d\r\n%b\r\n' % (
            self.word, self.key, self.flags, self.expires, len(self.data),
            self.data)


class Add(Set):

    word = b'add'
    read = staticmethod(replies.read_stored_or_not)


class Replace(Add):

    word = b'replace'


class Append(Add):

    word = b'append'


class Prepend(Add):

    word = b'prepend'


class Cas(Set):
    """`Set`, if the value still has the unique number."""

    read = staticmethod(replies.read_compared)

    def __init__(self, key, data, flags, unique, expires, only_at=None,
                 since=math.inf):
        super().__init__(key, data, flags, expires)
        self.unique = unique
        self.only_at = only_at
        self.since = since

    def encode(self):
        return b'cas %b %d %d %d %d\r\n%b\r\n' % (
            self.key, self.flags, self.expires, len(self.data), self.unique,
            self.data)


class Touch(Command):

    repeats = True
    read = staticmethod(replies.read_touched)

    def __init__(self, key, expires):
        check_key(key)
        self.key = key
        self.expires = expires

    def encode(self):
        return b'touch %b %d\r\n' % (self.key, self.expires)


class Increment(Command):

    changes = True
    word = b'incr'
    read = staticmethod(replies.read_number)

    def __init__(self, key, delta):
        check_key(key)
        self.key = key
        self.delta = delta

    def encode(self):
        return b'%b %b %d\r\n' % (self.word, self.key, self.delta)


class Decrement(Increment):

    word = b'decr'


class Delete(Command):

    changes = removes = repeats = True
    read = staticmethod(replies.read_deleted)

    def __init__(self, key):
        check_key(key)
        self.key = key

    def encode(self):
        return b'delete %b\r\n' % self.key


class FlushAll(Command):

    changes = removes = repeats = True
    everywhere = False
    read = staticmethod(replies.read_ok)

    def encode(self):
        return b'flush_all\r\n'


class Stats(Command):

    repeats = True
    everywhere = False
    read = staticmethod(replies.read_stats)

    def encode(self):
        return b'stats\r\n'


class Authenticate(Command):
    """The first command to a server that was started with ``-Y``.

    Any other server stores it, as a value that has expired already.
    """

    read = staticmethod(replies.read_stored)

    def __init__(self, username, password):
        self.username = username
        self.password = password  # a `Secret`

    def encode(self):
        data = b'%b %b' % (
            self.username.encode(), self.password.reveal().encode())
        return b'set p01.memcache 0 -1 %d\r\n%b\r\n' % (len(data), data)
