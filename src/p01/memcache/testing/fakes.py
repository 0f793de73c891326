# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Clients whose server is a dict. Their place is `p01.memcache.testing`.

All else is the real clients': how keys and pickles are made, what an argument
may be, what is a miss.
"""

import math

import zope.component

from p01.memcache.client import MemcacheClient
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.facade.base import BaseClient
from p01.memcache.features import lease
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.secret import discreet
from p01.memcache.testing.backend import FakeMemcached
from p01.memcache.testing.backend import Shared
from p01.memcache.testing.backend import storage
from p01.memcache.threads.turn import Turn
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire import cas
from p01.memcache.wire import protocol


# The server of a fake, in its tokens.
_HERE = 'fake'


def _backend(client):
    try:
        return storage[client]
    except KeyError:
        # Its thread goes on where the test has ended.
        raise ServerDown('its fake was torn down meanwhile') from None


class _Faked:
    """Where a client would talk to its servers, ask the backend."""

    def getStatistics(self):
        return 'Testing Stats'

    def _counted(self, gets=0, hits=0, sets=0):
        """The backend has counted it."""

    def _retrieve_many(self, keys, deadline, most):
        backend, found = _backend(self), {}
        for request, *reading in protocol.get_all(keys, found, most):
            backend.ask(request, keys, *reading)
        for each in backend.count, self._counted:
            each(gets=len(keys), hits=len(found))
        return found, []

    def _retrieve(self, key, deadline):
        return self._retrieve_many(
            [key], deadline, self._codec.most)[0].get(key)

    def _retrieve_unique(self, key, deadline):
        backend = _backend(self)
        found = backend.ask(
            protocol.gets(key), [key], protocol.read_unique, key,
            self._codec.most)
        for each in backend.count, self._counted:
            each(gets=1, hits=found is not None)
        return cas.of(found, _HERE)

    def _change(self, key, request, expires, read, deadline, server=None,
                since=math.inf):
        if server not in (None, _HERE):
            return None
        backend = _backend(self)
        for each in backend.count, self._counted:
            each(sets=read is protocol.read_stored)
        try:
            return backend.ask(request(expires), [key], read)
        except ServerError:
            backend.ask(protocol.delete(key), [key], protocol.read_deleted)
            raise

    def _store(self, key, data, flags, expires, deadline):
        # Not that of MemcacheClient, which would ask python-memcached.
        BaseClient._store(self, key, data, flags, expires, deadline)

    def _change_many(self, changes, request, expires, read, deadline):
        requests = {key: request(key, *arguments, expires)
                    for key, arguments in changes.items()}
        replies = {}
        for key, change in requests.items():
            try:
                replies[key] = self._change(
                    key, lambda expires, change=change: change, expires, read,
                    deadline)
            except (ServerError, ServerDown) as error:
                replies[key] = error
        return replies

    def _renew(self, key, request, expires, read, deadline, *args):
        return _backend(self).ask(request(expires), [key], read, *args)

    def _lend(self, key, grace, deadline):
        return lease.claim(self, key, _HERE, deadline)

    def _is_leased(self, key, deadline):
        return False

    def _owe(self, key):
        """It never fails to change something."""

    def _owe_absent(self, key, deadline):
        """No server stands in for it."""

    def _flush(self, deadline):
        _backend(self).flush_all()
        return [(server, None) for server in self.servers]

    def _statistics(self, deadline):
        return [(server, {}) for server in self.servers]


class _Gets(int):
    """A counter of a fake, and the client's method of the same name."""

    def __new__(cls, number, method):
        self = super().__new__(cls, number)
        self._method = method
        return self

    def __call__(self, key, raw=False, default=None):
        return self._method(key, raw, default)


class _Fake(_Faked):
    """A client that is always faked, and counts.

    ``gets``, ``hits``, ``misses`` and ``sets`` are its own requests, as the
    servers would have seen them.
    """

    @discreet
    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        storage[self] = FakeMemcached()
        self._turn = Turn()
        self.resetCounts()

    def resetCounts(self):
        self._gets = self.hits = self.misses = self.sets = 0

    @property
    def gets(self):
        return _Gets(self._gets, super().gets)

    def _counted(self, gets=0, hits=0, sets=0):
        with self._turn.by(math.inf):
            self._gets += gets
            self.hits += hits
            self.misses += gets - hits
            self.sets += sets


class FakeMemcacheClient(_Fake, MemcacheClient):
    """A `MemcacheClient` without a server."""


class FakeUltraMemcacheClient(_Fake, UltraMemcacheClient):
    """An `UltraMemcacheClient` without a server."""


# What is in place of the real methods, and what was there, by class.
_METHODS = {name: method for name, method in vars(_Faked).items()
            if callable(method)}
_former = {}

# For each set-up: the backends, and the unnamed utility, that were before.
_setUps = []


def _fake_all():
    """Have no client of these classes, and of theirs, reach a network.

    Those that were made before are among them.
    """
    for class_ in MemcacheClient, UltraMemcacheClient:
        _former[class_] = {
            name: vars(class_)[name] for name in _METHODS
            if name in vars(class_)}
        for name, method in _METHODS.items():
            setattr(class_, name, method)


def _unfake_all():
    for class_, methods in _former.items():
        for name in _METHODS:
            delattr(class_, name)
        for name, method in methods.items():
            setattr(class_, name, method)
    _former.clear()


def _set_up(factory):
    registry = zope.component.getGlobalSiteManager()
    _setUps.append((
        storage.shared,
        registry.utilities.registered((), IMemcacheClient)))
    storage.shared = Shared()
    if not _former:
        _fake_all()
    zope.component.provideUtility(factory(), IMemcacheClient)


def setUpFakeMemcached(test=None):
    """Have no client reach a network, until `tearDownFakeMemcached`.

    That is, of the classes `MemcacheClient` and `UltraMemcacheClient`, whoever
    makes it, and when. Clients of the same servers share a `FakeMemcached`,
    which is empty at first. A `FakeMemcacheClient` is the unnamed utility.
    """
    _set_up(FakeMemcacheClient)


def setUpFakeUltraMemcached(test=None):
    """Do the same; a `FakeUltraMemcacheClient` is the unnamed utility."""
    _set_up(FakeUltraMemcacheClient)


def tearDownFakeMemcached(test=None):
    """Undo the last set-up, of either kind; if there is none, do nothing.

    The unnamed utility is the one that was before, unless the registry was
    emptied meanwhile.
    """
    if not _setUps:
        return
    storage.shared, former = _setUps.pop()
    if not _setUps:
        _unfake_all()
    registry = zope.component.getGlobalSiteManager()
    if registry.utilities.registered((), IMemcacheClient) is None:
        return
    if former is None:
        registry.unregisterUtility(provided=IMemcacheClient)
    else:
        zope.component.provideUtility(former, IMemcacheClient)


tearDownFakeUltraMemcached = tearDownFakeMemcached
