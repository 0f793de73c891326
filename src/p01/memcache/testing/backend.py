# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The servers behind fake clients. Import them from `p01.memcache.testing`."""

import io
import math
import weakref

from p01.memcache import embedded
from p01.memcache.discovery.source import parse
from p01.memcache.features.lifetime import expiry
from p01.memcache.testing.counts import Counted
from p01.memcache.threads import fork
from p01.memcache.threads.turn import Turn
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Set


def _wire(key):
    return key.encode() if isinstance(key, str) else key


def _ascii(text):
    return text.encode('ascii') if isinstance(text, str) else text


class _Cache(dict):
    """A dict whose keys are bytes and may be looked up as str."""

    def __contains__(self, key):
        return super().__contains__(_wire(key))

    def __getitem__(self, key):
        return super().__getitem__(_wire(key))

    def __setitem__(self, key, value):
        super().__setitem__(_wire(key), value)

    def __delitem__(self, key):
        super().__delitem__(_wire(key))

    def get(self, key, default=None):
        return super().get(_wire(key), default)

    def pop(self, key, *default):
        return super().pop(_wire(key), *default)


class FakeMemcached(Counted):
    """The server behind fake clients; ``cache`` is what it has stored.

    That is a dict of ``{wire key: (data, flags)}``. The keys are bytes, but
    they can be looked up as str, like a built key. A test may change the dict
    freely; what it puts there does not expire. Values of more than
    ``maxItemSize`` bytes are refused.

    ``gets``, ``hits``, ``misses`` and ``sets`` count the requests of all of
    its clients.
    """

    maxItemSize = 1024 * 1024

    def __init__(self):
        self.cache = _Cache()
        self._shown = {}  # what the server itself has put into `cache`
        self._storage = embedded.Storage(self.maxItemSize)
        self.after_fork()
        self.resetCounts()
        fork.register(self)

    def after_fork(self):
        super().after_fork()
        # A lock would stay taken if a test interrupted the thread that has it.
        self._turn = Turn()

    def set(self, key, data, lifetime=0, flags=0):
        """Store data under a key on the wire; both are bytes, or ASCII."""
        key, data = _ascii(key), _ascii(data)
        self.count(sets=1)
        self.ask(Set(key, data, flags, expiry(lifetime)), key)
        return True

    def get(self, key):
        """Return the data of a key on the wire, or None."""
        key = _ascii(key)
        item = self.ask(Get(key), key)
        self.count(gets=1, hits=item is not None)
        return None if item is None else item.data

    def ask(self, command, *keys):
        """Return the reply to a command that concerns these keys."""
        with self._turn.by(math.inf):
            self._storage.max_item_size = self.maxItemSize
            for key in keys:
                self._take_over(key)
            session = embedded.Session(self._storage)
            session.receive(command.encode())
            reply = session.reply()
            for key in keys:
                self._show(key)
        return command.read(io.BytesIO(reply))

    def flush_all(self):
        with self._turn.by(math.inf):
            self.cache.clear()
            self._storage.flush()

    def _take_over(self, key):
        item = self.cache.get(key)
        if item is None:
            self._storage.items.pop(key, None)
        elif item is not self._shown.get(key):
            self._storage.put(key, embedded.Item(*item))

    def _show(self, key):
        item = self._storage.find(key)
        if item is None:
            self.cache.pop(key, None)
            self._shown.pop(key, None)
        else:
            self.cache[key] = self._shown[key] = (item.value, item.flags)


class Shared(dict):
    """A dict of servers' identities, each with their one `FakeMemcached`."""

    def of(self, identities):
        if identities not in self:
            self.setdefault(identities, FakeMemcached())
        return self[identities]


class _Storage(weakref.WeakKeyDictionary):
    """The `FakeMemcached` of every client that is faked.

    A fake client has its own. After `setUpFakeMemcached`, all clients of the
    same servers share one.
    """

    shared = None

    def __getitem__(self, client):
        # Read once: another thread may tear it down.
        shared = self.shared
        if shared is None:
            return super().__getitem__(client)
        return shared.of(tuple(
            parse(server).identity for server in client.servers))


#: See `_Storage`.
storage = _Storage()


def getFakeBackend(client):
    """Return the client's `FakeMemcached`."""
    return storage[client]
