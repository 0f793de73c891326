# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Layers of zope.testrunner, each with servers that its tests share."""

import contextlib

from p01.memcache import embedded
from p01.memcache.testing.processes import Memcached
from p01.memcache.testing.processes import connect
from p01.memcache.testing.processes import listens


# The public path: objects are pickled, and layers are found, by it.
__name__ = 'p01.memcache.testing'


def _flush(address):
    with connect(address) as sock, sock.makefile('rb') as replies:
        sock.sendall(b'flush_all\r\n')
        reply = replies.readline()
    if reply != b'OK\r\n':
        raise RuntimeError(f'{address} answered {reply!r} to flush_all')


class ServerLayer:
    """A layer of zope.testrunner: one server for all of the layer's tests.

    Its ``address`` is known once the layer is set up.
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

    They are restored before each test. Their ``addresses`` are known once the
    layer is set up.
    """

    __bases__ = ()

    def __init__(self, name, size):
        self.__name__ = name
        self.servers = [Memcached() for _ in range(size)]

    @property
    def addresses(self):
        return [server.address for server in self.servers]

    def setUp(self):
        # zope.testrunner does not tear down a layer whose set-up has failed.
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._running = stack.pop_all()

    def tearDown(self):
        self._running.close()

    def restore(self):
        """Make all of them run, and empty them, whatever a test has done."""
        for server in self.servers:
            # Once thawed, it would carry out the requests that have piled up,
            # perhaps after the flush.
            if server.frozen:
                server.stop()
            server.start()
            _flush(server.address)

    testSetUp = restore


class _StandardPort(Memcached):
    """The memcached that listens on the standard port; else one is started."""

    def __init__(self):
        super().__init__(port=11211)

    def start(self):
        if not listens(self.address):
            super().start()


ClusterLayer = _ClusterLayer('ClusterLayer', 3)
EmbeddedLayer = ServerLayer('EmbeddedLayer', embedded.EmbeddedServer)
MemcachedLayer = ServerLayer('MemcachedLayer', Memcached)
StandardPortLayer = ServerLayer('StandardPortLayer', _StandardPort)
