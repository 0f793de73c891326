# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Fakes, servers and test layers, for our tests and for applications' tests.

A fake is a client whose server is a dict. All else is the real client's: how
keys and pickles are made, what an argument may be, what is a miss.
"""

import os
import shutil
import socket
import subprocess
import threading
import weakref
from time import monotonic

import zope.component

from p01.memcache.client import MemcacheClient
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.embedded import deadline
from p01.memcache.embedded import item_size
from p01.memcache.errors import ServerError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


# Seconds for a memcached to listen. It takes milliseconds.
_PATIENCE = 10


class Pickable:
    """Something that can be pickled."""

    def __init__(self, title='', value=None):
        self.title = title
        self.value = value

    def __repr__(self):
        return f'<{type(self).__name__} {self.title!r}>'


# The fakes


def _wire(key):
    return key.encode() if isinstance(key, str) else key


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


class _Item(tuple):
    """``(data, flags)``, with the time at which it expires."""


class FakeMemcached:
    """The server of a fake; ``cache`` is what it has stored.

    That is a dict of ``{wire key: (data, flags)}``. The keys are bytes, but a
    built key finds its item, too. A test may change it as it likes.
    """

    maxItemSize = 1024 * 1024

    def __init__(self):
        self.cache = _Cache()

    def set(self, key, data, flags, expires):
        if item_size(key, flags, len(data)) > self.maxItemSize:
            self.cache.pop(key, None)
            raise ServerError('SERVER_ERROR object too large for cache')
        item = _Item((bytes(data), flags))
        item.expires = deadline(expires)
        self.cache[key] = item

    def get(self, key):
        item = self.cache.get(key)
        # What a test has put there itself does not expire.
        if isinstance(item, _Item) and item.expires <= monotonic():
            self.cache.pop(key, None)
            return None
        return item

    def delete(self, key):
        self.cache.pop(key, None)

    def flush_all(self):
        self.cache.clear()


#: The `FakeMemcached` of every fake client.
storage = weakref.WeakKeyDictionary()


def getFakeBackend(client):
    """Return the client's `FakeMemcached`."""
    return storage[client]


class _Fake:
    """Where a client would talk to its servers, ask the backend.

    ``gets``, ``hits``, ``misses`` and ``sets`` count the requests that the
    servers would have seen.
    """

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        storage[self] = FakeMemcached()
        self._lock = threading.Lock()
        self.resetCounts()

    def resetCounts(self):
        self.gets = self.hits = self.misses = self.sets = 0

    def getStatistics(self):
        return 'Testing Stats'

    def _store(self, key, data, flags, expires):
        with self._lock:
            self.sets += 1
        storage[self].set(key, data, flags, expires)

    def _retrieve(self, key):
        found = storage[self].get(key)
        with self._lock:
            self.gets += 1
            if found is None:
                self.misses += 1
            else:
                self.hits += 1
        return found

    def _remove(self, key):
        storage[self].delete(key)

    def _flush(self):
        storage[self].flush_all()
        return [(server, None) for server in self.servers]


class FakeMemcacheClient(_Fake, MemcacheClient):
    """A `MemcacheClient` without a server."""


class FakeUltraMemcacheClient(_Fake, UltraMemcacheClient):
    """An `UltraMemcacheClient` without a server."""


def setUpFakeMemcached(test=None):
    """Register a `FakeMemcacheClient` as the unnamed utility."""
    zope.component.provideUtility(FakeMemcacheClient(), IMemcacheClient)


def setUpFakeUltraMemcached(test=None):
    """Register a `FakeUltraMemcacheClient` as the unnamed utility."""
    zope.component.provideUtility(FakeUltraMemcacheClient(), IMemcacheClient)


def tearDownFakeMemcached(test=None):
    """Unregister the unnamed utility."""
    zope.component.getGlobalSiteManager().unregisterUtility(
        provided=IMemcacheClient)


tearDownFakeUltraMemcached = tearDownFakeMemcached


# The servers


def _listens(port):
    try:
        socket.create_connection(('127.0.0.1', port), _PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


class Memcached:
    """A memcached of one's own: ``with Memcached() as server: ...``

    It listens on a free port of 127.0.0.1, and on the same one whenever it
    is started again. The options are those of the command ``memcached``.
    """

    process = None

    def __init__(self, *options, port=None):
        self.options = options
        self.port = port

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def start(self):
        """Return when it listens."""
        command = shutil.which('memcached')
        if command is None:
            raise RuntimeError(
                'There is no memcached: install it, with "apt-get install'
                ' memcached" for example, and put it on PATH.')
        if self.port is None:
            with socket.create_server(('127.0.0.1', 0)) as probe:
                self.port = probe.getsockname()[1]
        user = ('-u', 'nobody') if os.geteuid() == 0 else ()
        self.process = subprocess.Popen(
            (command, '-l', '127.0.0.1', '-p', str(self.port), '-U', '0',
             *user, *self.options))
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End it at once, also if it was frozen."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def _wait(self):
        end = monotonic() + _PATIENCE
        while not _listens(self.port):
            if monotonic() > end:
                raise RuntimeError(
                    f'memcached does not listen on {self.address}')
            # Nothing tells when it does, so look again; unless it has ended.
            try:
                status = self.process.wait(0.005)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f'memcached ended with status {status}')


# The layers


class ServerLayer:
    """A layer of zope.testrunner: one server for all of the layer's tests.

    Its ``address`` is known in the tests, not before.
    """

    __bases__ = ()

    def __init__(self, name, factory):
        self.__name__ = name
        self._factory = factory

    @property
    def address(self):
        return self._server.address

    def setUp(self):
        self._server = self._factory()
        self._server.start()

    def tearDown(self):
        self._server.stop()


class _StandardPort(Memcached):
    """What listens on memcached's own port, or else a memcached there."""

    def __init__(self):
        super().__init__(port=11211)

    def start(self):
        if not _listens(self.port):
            super().start()


EmbeddedLayer = ServerLayer('EmbeddedLayer', EmbeddedServer)
MemcachedLayer = ServerLayer('MemcachedLayer', Memcached)
StandardPortLayer = ServerLayer('StandardPortLayer', _StandardPort)
