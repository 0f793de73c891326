# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Fake clients, without a network. Import them from `p01.memcache.testing`.

Only their store is fake. All else is that of the real clients: how keys and
pickles are made, which arguments are valid, what counts as a miss.
"""

import weakref
from functools import partial
from types import SimpleNamespace

import zope.component
from zope.interface import implementer
from zope.interface.interfaces import IMethod

from p01.memcache.attributes.settings import Part
from p01.memcache.classic.store import ClassicStore
from p01.memcache.client import MemcacheClient
from p01.memcache.cluster.cluster import Cluster
from p01.memcache.discovery.watch import Watch
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.secret import discreet
from p01.memcache.store import IStore
from p01.memcache.store import Store
from p01.memcache.testing.backend import FakeMemcached
from p01.memcache.testing.backend import Shared
from p01.memcache.testing.backend import storage
from p01.memcache.testing.counts import Counted
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.wire import cas
from p01.memcache.wire.batch import get_all
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Gets
from p01.memcache.wire.command import Set
from p01.memcache.wire.command import Stats
from p01.memcache.wire.limits import MAX_VALUE


def _torn_down():
    # A thread may outlive its test.
    return ServerDown('the fake has been torn down')


class _Server:
    """The one server of a `FakeStore`, which has no meta commands."""

    name = 'fake'

    def lends(self, deadline):
        return False

    def is_leased(self, key, deadline):
        return False


@implementer(IStore)
class FakeStore(Store):
    """A `FakeMemcached` as a store; ``find()`` returns it.

    Requests are counted by the `FakeMemcached`, and also by `count`, if it is
    given. `servers` are the real ones, which are never connected to.
    """

    _server = _Server()

    def __init__(self, find, addresses, count=None, servers=()):
        self.servers = servers
        self._find = find
        self._addresses = addresses
        self._count = count

    def _counted(self, backend, **numbers):
        backend.count(**numbers)
        if self._count is not None:
            self._count(**numbers)

    def server(self, key, deadline):
        return self._server

    def address(self, key):
        return self._addresses[0] if len(self._addresses) == 1 else None

    def get(self, key, deadline, most=MAX_VALUE):
        return self._get(Get(key, most))

    def gets(self, key, deadline, most=MAX_VALUE):
        item = self._get(Gets(key, most))
        if item is None:
            return None
        return item._replace(token=cas.make(item.token, self._server.name))

    def _get(self, command):
        backend = self._find()
        item = backend.ask(command, command.key)
        self._counted(backend, gets=1, hits=item is not None)
        return item

    def get_many(self, keys, deadline, most=MAX_VALUE):
        backend, found = self._find(), {}
        for command in get_all(keys, found, most):
            backend.ask(command, *command.keys)
        self._counted(backend, gets=len(keys), hits=len(found))
        return found, []

    def run(self, command, deadline):
        if command.only_at not in (None, self._server.name):
            return None
        ask = self._change if command.changes else self._ask
        return ask(self._server, command, deadline)

    def _ask(self, server, command, deadline):
        backend = self._find()
        if command.changes:
            self._counted(backend, sets=type(command) is Set)
        return backend.ask(command, command.key)

    def _ask_many(self, commands, replies, deadline):
        for command in commands:
            try:
                replies[command.key] = self._ask(
                    self._server, command, deadline)
            except (ServerDown, ServerError) as error:
                replies[command.key] = error
        return {}

    def _remove(self, keys, deadline):
        for key in keys:
            self._find().ask(Delete(key), key)

    def ask_all(self, command, deadline, pause=0, also=()):
        # All of the servers are one.
        if command.removes:
            self._find().flush_all()
        return [(address, {}) for address in self._addresses]

    def owe(self, key):
        """No-op: a fake never fails to change something."""

    def owe_absent(self, key, deadline):
        """No-op: no server stands in for another one."""

    def close(self):
        """No-op: there is nothing to close."""


class _Gets(int):
    """The counter ``gets`` of a fake client, and its method ``gets``, in one.
    """

    def __new__(cls, number, method):
        self = super().__new__(cls, number)
        self._method = method
        return self

    def __call__(self, key, raw=False, default=None):
        return self._method(key, raw, default)


class _Fake(Counted):
    """A client that is always faked, and counts its requests.

    ``gets``, ``hits``, ``misses`` and ``sets`` are what its servers would have
    counted for this client and its regions. A region has none of its own.
    """

    @discreet
    def __init__(self, *args, **kw):
        self.resetCounts()
        super().__init__(*args, **kw)
        storage[self] = FakeMemcached()

    def after_fork(self):
        Counted.after_fork(self)
        super(Counted, self).after_fork()

    @property
    def gets(self):
        return _Gets(self._requests.gets, super(Counted, self).gets)

    def _copy(self):
        # It has the store of this one, which counts the requests of both.
        other, own = super()._copy(), storage.get(self)
        other.resetCounts()
        if own is not None:
            storage[other] = own
        return other

    def getStatistics(self, name=None):
        Stats(name)  # a wrong name is the same error as with real servers
        return 'Testing Stats'

    def _make_store(self, settings, changed, former):
        # Wrong settings raise the same errors as with real servers.
        serving = former and former.serving
        [known] = serving.parts if serving else [None]
        real = super()._make_store(
            settings, changed, known and SimpleNamespace(serving=known))
        if real is known:
            return serving
        client = weakref.ref(self)

        def find():
            try:
                return storage[client()]
            except KeyError:
                raise _torn_down() from None

        return Part(
            lambda settings, store: FakeStore(
                find, settings.servers,
                lambda **numbers: client().count(**numbers), store.servers),
            settings, real)


class FakeMemcacheClient(_Fake, MemcacheClient):
    """A `MemcacheClient` without a server."""


class FakeUltraMemcacheClient(_Fake, UltraMemcacheClient):
    """An `UltraMemcacheClient` without a server."""

    # Nor does it look for one.
    _make_watch = staticmethod(lambda *args: None)


# The real stores, and by class the methods that are replaced while faked.
_STORES = Cluster, ClassicStore
_former = {}

# For each set-up, the former shared backends and the former unnamed utility.
_setUps = []


def _shared(identities):
    shared = storage.shared
    if shared is None:
        raise _torn_down()
    return shared.of(identities)


def _redirect(name):
    def method(store, *args):
        fake = FakeStore(partial(_shared, store.identities), store.addresses)
        return getattr(fake, name)(*args)
    return method


def _fake_all():
    """Keep all clients from the network, also those that exist already."""
    for class_ in (*_STORES, Watch, MemcacheClient, UltraMemcacheClient):
        if class_ in _STORES:
            methods = {
                name: _redirect(name)
                for name, what in IStore.namesAndDescriptions()
                if IMethod.providedBy(what) and name not in (
                    'close', 'retire')}
        elif class_ is Watch:
            methods = {'tick': lambda watch, deadline: None}
        else:
            methods = {'getStatistics': _Fake.getStatistics}
        _former[class_] = {
            name: vars(class_).get(name) for name in methods}
        for name, method in methods.items():
            setattr(class_, name, method)


def _unfake_all():
    for class_, methods in _former.items():
        for name, method in methods.items():
            if method is None:
                delattr(class_, name)  # it is inherited
            else:
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
    """Keep all clients from the network, until `tearDownFakeMemcached`.

    It fakes every `MemcacheClient` and `UltraMemcacheClient`, also those that
    exist already. Clients of the same servers share a `FakeMemcached`, which
    is empty at first. The unnamed utility is a `FakeMemcacheClient`.
    """
    _set_up(FakeMemcacheClient)


def setUpFakeUltraMemcached(test=None):
    """Like `setUpFakeMemcached`, with a `FakeUltraMemcacheClient` as utility.
    """
    _set_up(FakeUltraMemcacheClient)


def tearDownFakeMemcached(test=None):
    """Undo the last set-up, of either kind; if there is none, do nothing.

    The former unnamed utility is restored, unless the registry has been
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
