# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The storage of the embedded server: its items, and rules for a change."""

import collections

from p01.memcache.embedded import clock
from p01.memcache.embedded.replies import EX
from p01.memcache.embedded.replies import HD
from p01.memcache.embedded.replies import NF
from p01.memcache.embedded.replies import NS
from p01.memcache.embedded.replies import TOO_LARGE
from p01.memcache.embedded.replies import Refused
from p01.memcache.embedded.syntax import stored_number


#: The bytes that memcached's bookkeeping adds to an item; they count for the
#: size limit.
ITEM_OVERHEAD = 48 + 8 + len('\0') + len('\r\n')
#: The bytes that flags take, if there are any.
FLAGS_SIZE = 4


def item_size(key, flags, length):
    """Return the bytes of an item in memcached, by its own arithmetic."""
    return ITEM_OVERHEAD + len(key) + length + (FLAGS_SIZE if flags else 0)


class Item:
    """A value, and what memcached knows about it.

    `expires` and `used` are moments of the clock, `cas` is the unique number.
    Only the meta commands show the rest: whether the item was `fetched`,
    whether it is `stale`, its `token` (see `meta.WON`), and whether its key
    was written in base64 (`binary`).
    """

    __slots__ = ('value', 'flags', 'expires', 'cas', 'used', 'fetched',
                 'stale', 'token', 'binary')

    def __init__(self, value, flags=0, expires=clock.NEVER, cas=None):
        self.value = value
        self.flags = flags
        self.expires = expires
        self.cas = cas
        self.used = clock.now()
        self.fetched = False
        self.stale = False
        self.token = b''
        self.binary = False

    def use(self):
        self.used = clock.now()
        self.fetched = True

    def invalidate(self):
        """Let the next client that asks renew the item."""
        self.stale = True
        self.token = b''

    def seconds_idle(self):
        return int(clock.now() - self.used)

    def seconds_left(self):
        return clock.seconds_left(self.expires)


class Storage:
    """The items, and all else that the connections of one run share.

    `max_item_size` is the limit of an item in bytes, with memcached's own
    bookkeeping, and `cluster` is what `config get cluster` lists. A delayed
    flush is due at the moment `flush_at`. The set `connections` holds those
    that are open.
    """

    def __init__(self, max_item_size, cluster=()):
        self.max_item_size = max_item_size
        self.cluster = cluster
        self.items = {}
        self.connections = set()
        self.counters = collections.Counter()
        self.started = clock.now()
        self.flush_at = clock.NEVER
        self.last_unique = 1

    def find(self, key):
        """The living item of a key, or None: every access begins here."""
        now = clock.now()
        if self.flush_at <= now:
            self.flush()
        item = self.items.get(key)
        if item is not None and item.expires <= now:
            del self.items[key]
            item = None
        return item

    def put(self, key, item):
        """Make the item that of the key, and return it."""
        if item.cas is None:
            item.cas = self.next_unique()
        self.items[key] = item
        self.counters['total_items'] += 1
        return item

    def next_unique(self):
        self.last_unique += 1
        return self.last_unique

    def store(self, mode, key, new, cas=0, invalidate=False, vivify=None):
        """Store an item if the mode lets it; the code says what happened.

        To `invalidate` means to accept a value that comes late, but as stale.
        With a lifetime to `vivify` there need not be a value to append to.
        """
        old = self.find(key)
        if mode == 'cas':
            code = self._compare(old, cas, invalidate)
            if code != HD:
                return code
            if cas != old.cas:
                new.expires, new.token = old.expires, old.token
                new.stale = True
        elif mode in ('append', 'prepend'):
            if old is not None:
                return self._extend(mode, key, new, old, cas)
            if vivify is None:
                return NS
            new.expires = vivify
        elif mode != 'set' and (mode == 'add') != (old is None):
            return NS
        self.put(key, new)
        return HD

    def _compare(self, old, cas, invalidate):
        if old is not None and cas != old.cas and not (
                invalidate and 0 < cas < old.cas):
            self.counters['cas_badval'] += 1
            return EX
        self.count('cas', old)
        return NF if old is None else HD

    def _extend(self, mode, key, new, old, cas):
        if cas and cas != old.cas:
            return EX
        new.flags, new.expires = old.flags, old.expires
        new.value = (old.value + new.value if mode == 'append'
                     else new.value + old.value)
        if not self.fits(key, new.flags, len(new.value)):
            return NS
        self.put(key, new)
        return HD

    def calculate(self, command, key, item, delta):
        """Return the item that has the sum or the difference."""
        number = stored_number(item.value)
        self.count(command, item)
        number = ((number + delta) % 2**64 if command == 'incr'
                  else max(number - delta, 0))
        digits = b'%d' % number
        if len(digits) > len(item.value):
            return self.put(key, Item(digits, item.flags, item.expires))
        # memcached writes the digits over the old ones.
        item.value = digits.ljust(len(item.value))
        item.cas = self.next_unique()
        return item

    def fits(self, key, flags, length):
        return item_size(key, flags, length) <= self.max_item_size

    def admit(self, key, flags, length, replaces):
        """Refuse a value that is too large, before it comes.

        A command that replaces the old value drops it even so: nobody wants
        to see it again.
        """
        if not self.fits(key, flags, length):
            self.counters['store_too_large'] += 1
            if replaces:
                self.items.pop(key, None)
            raise Refused(TOO_LARGE)
        self.counters['cmd_set'] += 1

    def count_fetch(self, command, found):
        self.counters[f'cmd_{command}'] += 1
        self.count(command, found)

    def count(self, command, found):
        self.counters[f'{command}_{"hits" if found else "misses"}'] += 1

    def flush(self):
        self.items.clear()
        self.flush_at = clock.NEVER

    def sweep(self):
        """Drop the items that have expired."""
        for key in list(self.items):
            self.find(key)
