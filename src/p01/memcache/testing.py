# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Fakes, servers and test layers, for our tests and for applications' tests.

A fake is a client whose server is a dict. All else is the real client's: how
keys and pickles are made, what an argument may be, what is a miss.
"""

import contextlib
import io
import itertools
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import weakref
from time import monotonic

import zope.component

from p01.memcache import embedded
from p01.memcache import lease
from p01.memcache import protocol
from p01.memcache import token
from p01.memcache.address import parse
from p01.memcache.base import BaseClient
from p01.memcache.client import MemcacheClient
from p01.memcache.errors import ServerError
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.uclient import UltraMemcacheClient


# The server of a fake, in its tokens.
_HERE = 'fake'

# Seconds for a server to listen or to answer. It takes milliseconds.
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


class _Dialogue(embedded.Connection):
    """What the embedded server says, without a socket."""

    def __init__(self, storage):
        self.storage = storage
        self.buffer = bytearray()
        self.dialogue = self.converse()

    def reply(self, request):
        self.buffer += request
        return b''.join(itertools.takewhile(
            lambda piece: piece is not None, self.dialogue))


class FakeMemcached:
    """The server of a fake; ``cache`` is what it has stored.

    That is a dict of ``{wire key: (data, flags)}``. The keys are bytes, but a
    built key finds its item, too. A test may change it as it likes: what it
    has put there itself does not expire. Values of more than ``maxItemSize``
    bytes are refused.
    """

    maxItemSize = 1024 * 1024

    def __init__(self):
        self.cache = _Cache()
        self._shown = {}  # what we have put there ourselves
        self._storage = embedded.Storage(self.maxItemSize)
        self._lock = threading.Lock()

    def ask(self, request, keys, read, *args):
        """Return what ``read(reader, *args)`` makes of the server's reply."""
        with self._lock:
            self._storage.max_item_size = self.maxItemSize
            for key in keys:
                self._take_over(key)
            reply = _Dialogue(self._storage).reply(request)
            for key in keys:
                self._show(key)
        return read(io.BytesIO(reply), *args)

    def flush_all(self):
        with self._lock:
            self.cache.clear()
            self._storage.flush()

    def _take_over(self, key):
        item = self.cache.get(key)
        if item is None:
            self._storage.items.pop(key, None)
        elif item is not self._shown.get(key):
            self._storage.put(key, *item, math.inf)

    def _show(self, key):
        item = self._storage.find(key)
        if item is None:
            self.cache.pop(key, None)
            self._shown.pop(key, None)
        else:
            self.cache[key] = self._shown[key] = (item.value, item.flags)


#: The `FakeMemcached` of every fake client.
storage = weakref.WeakKeyDictionary()


def getFakeBackend(client):
    """Return the client's `FakeMemcached`."""
    return storage[client]


class _Gets(int):
    """A counter of a fake, and the client's method of the same name."""

    def __new__(cls, number, method):
        self = super().__new__(cls, number)
        self._method = method
        return self

    def __call__(self, key, raw=False, default=None):
        return self._method(key, raw, default)


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
        self._gets = self.hits = self.misses = self.sets = 0

    def getStatistics(self):
        return 'Testing Stats'

    @property
    def gets(self):
        return _Gets(self._gets, super().gets)

    def _note(self, wanted, found):
        with self._lock:
            self._gets += wanted
            self.hits += found
            self.misses += wanted - found

    def _retrieve_many(self, keys, deadline):
        found = storage[self].ask(
            protocol.get(keys), keys, protocol.read_values, keys, {})
        self._note(len(keys), len(found))
        return found, []

    def _retrieve(self, key, deadline):
        return self._retrieve_many([key], deadline)[0].get(key)

    def _retrieve_unique(self, key, deadline):
        found = storage[self].ask(
            protocol.gets(key), [key], protocol.read_unique, key)
        self._note(1, found is not None)
        return token.of(found, _HERE)

    def _change(self, key, request, expires, read, deadline, server=None,
                since=math.inf):
        if server not in (None, _HERE):
            return None
        with self._lock:
            self.sets += read is protocol.read_stored
        try:
            return storage[self].ask(request(expires), [key], read)
        except ServerError:
            storage[self].ask(
                protocol.delete(key), [key], protocol.read_deleted)
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
            except ServerError as error:
                replies[key] = error
        return replies

    def _renew(self, key, request, expires, read, deadline, *args):
        return storage[self].ask(request(expires), [key], read, *args)

    def _lend(self, key, grace, deadline):
        return lease.claim(self, key, _HERE, deadline)

    def _is_leased(self, key, deadline):
        return False

    def _flush(self, deadline):
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


def free_ports(count):
    """Return ports of 127.0.0.1 on which nothing listens."""
    with contextlib.ExitStack() as stack:
        probes = [
            stack.enter_context(socket.create_server(('127.0.0.1', 0)))
            for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def connect(address, timeout=_PATIENCE):
    """Return a plain socket that is connected to the server."""
    server = parse(address)
    if not server.is_unix:
        return socket.create_connection((server.host, server.port), timeout)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(server.host)
    except BaseException:
        sock.close()
        raise
    return sock


def _listens(address):
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    return True


def _flush(address):
    with connect(address) as sock, sock.makefile('rb') as replies:
        sock.sendall(b'flush_all\r\n')
        reply = replies.readline()
    if reply != b'OK\r\n':
        raise RuntimeError(f'{address} answered {reply!r} to flush_all')


class ServerProcess:
    """A server that is a process of its own, and a context manager.

    It listens on a free port of 127.0.0.1, and on the same one whenever it
    is started again; or on the unix socket ``path``. What it printed is in
    ``output`` once it is stopped. A subclass names the ``program``, which is
    its Debian package too, and its `arguments`.
    """

    program = port = path = process = None
    output = ''
    frozen = False
    _printed = None

    @property
    def address(self):
        if self.path is not None:
            return f'unix:{self.path}'
        return f'127.0.0.1:{self.port}'

    def find(self):
        """Return where the program is, or None."""
        return shutil.which(self.program)

    def arguments(self):
        """Return those which let the program serve the address."""
        raise NotImplementedError

    def start(self):
        """Return when it listens; one that runs is left as it is."""
        if self._runs():
            return
        # One that ended by itself may have left something.
        self.stop()
        command = self.find()
        if command is None:
            raise RuntimeError(
                f'There is no {self.program}: install it, with "apt-get'
                f' install {self.program}" for example, and put it on PATH.')
        if self.port is None and self.path is None:
            [self.port] = free_ports(1)
        # stop() closes it.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self.process = subprocess.Popen(
                (command, *self.arguments()), stdin=subprocess.DEVNULL,
                stdout=self._printed, stderr=subprocess.STDOUT)
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End it at once, also if it is frozen."""
        if self._printed is None:
            return
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._printed.seek(0)
        self.output = self._printed.read().decode(errors='replace')
        self._printed.close()
        self._printed = None
        self.frozen = False
        if self.path is not None and pathlib.Path(self.path).is_socket():
            os.unlink(self.path)

    def freeze(self):
        """Return when it does nothing any more, until it is thawed.

        The kernel still accepts connections for it, and what they send.
        """
        if not self._runs():
            raise RuntimeError(f'{self.program} does not run')
        # To one that is frozen nothing happens which could be waited for.
        if not self.frozen:
            self.process.send_signal(signal.SIGSTOP)
            os.waitpid(self.process.pid, os.WUNTRACED)
            self.frozen = True

    def thaw(self):
        """Let it go on; one that is not frozen is left as it is."""
        if self.frozen:
            self.process.send_signal(signal.SIGCONT)
            self.frozen = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def _runs(self):
        return self.process is not None and self.process.poll() is None

    def _wait(self):
        end = monotonic() + _PATIENCE
        while not _listens(self.address):
            # Nothing tells when it does, so look again; unless it has ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.005)
            if not self._runs():
                self.stop()
                raise RuntimeError(
                    f'{self.program} ended with status'
                    f' {self.process.returncode}: {self.output.strip()}')
            if monotonic() > end:
                raise RuntimeError(
                    f'{self.program} does not listen on {self.address}')


class Memcached(ServerProcess):
    """A memcached of one's own: ``with Memcached() as server: ...``

    The options are those of the command ``memcached``. It runs as the user
    ``nobody`` where we are root: the folder of ``path`` must be writable for
    that user, and the files that the options name must be readable.
    """

    program = 'memcached'

    def __init__(self, *options, port=None, path=None):
        self.options = options
        self.port = port
        self.path = path

    def arguments(self):
        if self.path is None:
            where = ('-l', '127.0.0.1', '-p', str(self.port), '-U', '0')
        else:
            where = ('-s', os.fspath(self.path), '-a', '0777')
        user = ('-u', 'nobody') if os.geteuid() == 0 else ()
        return (*where, *user, *self.options)


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


class _ClusterLayer:
    """A layer of zope.testrunner: some memcached for all of its tests.

    Before each test zope.testrunner has them restored. The ``addresses`` are
    known in the tests, not before.
    """

    __bases__ = ()

    def __init__(self, name, size):
        self.__name__ = name
        self.servers = [Memcached() for _ in range(size)]

    @property
    def addresses(self):
        return [server.address for server in self.servers]

    def setUp(self):
        # What cannot be set up is not torn down.
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._running = stack.pop_all()

    def tearDown(self):
        self._running.close()

    def restore(self):
        """Let all of them run, thawed and empty, whatever a test has done."""
        for server in self.servers:
            # Thawed it would do what it was sent, perhaps after the flush.
            if server.frozen:
                server.stop()
            server.start()
            _flush(server.address)

    testSetUp = restore


class _StandardPort(Memcached):
    """What listens on memcached's own port, or else a memcached there."""

    def __init__(self):
        super().__init__(port=11211)

    def start(self):
        if not _listens(self.address):
            super().start()


ClusterLayer = _ClusterLayer('ClusterLayer', 3)
EmbeddedLayer = ServerLayer('EmbeddedLayer', embedded.EmbeddedServer)
MemcachedLayer = ServerLayer('MemcachedLayer', Memcached)
StandardPortLayer = ServerLayer('StandardPortLayer', _StandardPort)
