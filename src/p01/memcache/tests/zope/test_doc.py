# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The documents' examples, and their set-up."""

import contextlib
import doctest
import logging
import os
import pathlib
import pickle
import re
import shutil
import signal
import sys
import tempfile
import threading
import unittest
import warnings
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from unittest import mock

import zope.component.testing
from zope.testing.renormalizing import RENormalizing
from zope.testing.wait import wait

from p01.memcache import testing
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.facade.client import BaseClient
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.tests.support import zcml
from p01.memcache.tests.support.certificates import Certificates
from p01.memcache.tests.support.certificates import share
from p01.memcache.tests.support.listener import full_backlog
from p01.memcache.tests.support.nutcracker import Nutcracker
from p01.memcache.tests.support.servers import look
from p01.memcache.tests.support.servers import plant
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.transport.connection import Connection


FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

# From Python 3.14 on, pickle notes where in the object an exception came up.
CHECKER = RENormalizing([(re.compile(r'\n *when serializing .*'), '')])

# A port on which nothing listens.
REFUSING = '127.0.0.1:1'

logger = logging.getLogger('p01.memcache')


class Console(logging.Handler):
    """Prints the log like the console of an application."""

    def __init__(self):
        super().__init__()
        self.shown = []
        self.setFormatter(logging.Formatter(logging.BASIC_FORMAT))

    def emit(self, record):
        # The current sys.stdout, not the one at the handler's creation.
        print(self.format(record), file=sys.stdout)
        self.shown.append(record.getMessage())

    def has(self, text):
        """Return whether the lines since the last call have the text."""
        shown, self.shown = self.shown, []
        return any(text in line for line in shown)


def inChild(function):
    """Return what `function` returns in a forked child of this process."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # There are other threads, but the child needs none of them.
        warnings.simplefilter('ignore', DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            signal.alarm(PATIENCE)
            os.write(writer, pickle.dumps(function()))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, 'rb') as file:
        result = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(result)


def roundTrips(function):
    """Return how often pooled clients wait for a server within `function`."""
    with mock.patch.object(
            Connection, 'send', autospec=True,
            side_effect=Connection.send) as send:
        function()
    return send.call_count


class Clock:
    """A monotonic clock that can be advanced."""

    def __init__(self):
        self._ahead = 0

    def __call__(self):
        return monotonic() + self._ahead

    def forward(self, seconds):
        self._ahead += seconds


class Customer(threading.Thread):
    """Takes an item out of a pool; its constructor returns once it waits."""

    def __init__(self, name, pool, deadline):
        super().__init__(name=name, daemon=True)
        self._pool = pool
        self._deadline = deadline
        waiting = len(pool._waiting)
        self.start()
        wait(lambda: len(pool._waiting) > waiting)

    def run(self):
        self._item = self._pool.take(self._deadline)

    def item(self):
        self.join(PATIENCE)
        return self._item


def setUp(test):
    """Set up a document that needs nothing; the others start with this."""
    zope.component.testing.setUp(test)
    test.cleanUp = contextlib.ExitStack()
    test.cleanUp.callback(zope.component.testing.tearDown, test)
    test.cleanUp.callback(close, test.globs)
    test.globs['wait'] = wait


def tearDown(test):
    test.cleanUp.close()


def close(names):
    for value in names.values():
        if isinstance(value, BaseClient):
            value.close()
        elif isinstance(value, (EmbeddedServer, testing.Memcached)):
            value.stop()
        elif isinstance(value, ThreadPoolExecutor):
            value.shutdown()


def closeUtilities():
    for client in zope.component.getAllUtilitiesRegisteredFor(IMemcacheClient):
        client.close()


def setUpServer(test):
    setUp(test)
    test.globs.update(address=testing.EmbeddedLayer.address, refusing=REFUSING)


def showLog(test):
    console = Console()
    logger.addHandler(console)
    test.cleanUp.callback(logger.removeHandler, console)
    test.globs['logged'] = console.has


def setUpConsole(test):
    setUpServer(test)
    showLog(test)
    test.globs['inChild'] = inChild


def setUpPlanting(test):
    setUpConsole(test)
    test.globs.update(plant=plant, look=look)


def setUpZCML(test):
    setUpConsole(test)
    zcml.setUpZCML(test)
    test.cleanUp.callback(zcml.tearDownZCML, test)


def setUpSecurity(test):
    """Set up a folder of its own, with the files of an application."""
    setUpConsole(test)
    zcml.setUpDocument(test)
    test.cleanUp.callback(zcml.tearDownZCML, test)
    folder = pathlib.Path(
        test.cleanUp.enter_context(tempfile.TemporaryDirectory()))
    test.cleanUp.enter_context(contextlib.chdir(folder))
    certificates = test.cleanUp.enter_context(Certificates())
    shutil.copy(certificates.ca, 'ca.pem')
    secret, new_secret = os.urandom(32).hex(), os.urandom(32).hex()
    for name, text in (
            ('memcached.auth', 'shop:password'), ('signing.secrets', secret),
            ('secrets', '')):
        (folder / name).write_text(text)
        share(folder / name)
    test.globs.update(
        plant=plant, look=look, secret=secret, new_secret=new_secret,
        secrets=str(folder / 'secrets'))


def setUpCluster(test):
    setUp(test)
    showLog(test)
    # A busy machine is not taken for a process that stood still.
    test.cleanUp.enter_context(
        mock.patch('p01.memcache.cluster.server._STILL', PATIENCE))
    test.cleanUp.callback(zcml.tearDownZCML, test)
    test.cleanUp.callback(closeUtilities)
    servers = testing.ClusterLayer.servers
    proxies = [test.cleanUp.enter_context(Nutcracker(
        testing.ClusterLayer.addresses, timeout=150)) for _ in range(2)]
    folder = test.cleanUp.enter_context(tempfile.TemporaryDirectory())
    os.chmod(folder, 0o755)
    secrets = pathlib.Path(folder, 'secrets')
    secrets.touch()
    share(secrets)
    test.globs.update(
        zip(('one', 'two', 'three'), servers, strict=True),
        proxies=proxies,
        certificates=test.cleanUp.enter_context(Certificates()),
        gone=test.cleanUp.enter_context(full_backlog()),
        secrets=str(secrets),
        load=zcml.load)


def setUpClock(test):
    """Set up a server of its own, whose clock can be advanced."""
    setUp(test)
    showLog(test)
    server = test.cleanUp.enter_context(EmbeddedServer())
    clock = test.cleanUp.enter_context(
        mock.patch('p01.memcache.embedded.clock.now', Clock()))
    test.globs.update(
        address=server.address, refusing=REFUSING, clock=clock,
        inChild=inChild, roundTrips=roundTrips)


def setUpOldServer(test):
    """Like `setUpClock`, with a server without the meta commands."""
    setUpClock(test)
    commands = test.cleanUp.enter_context(
        mock.patch.dict('p01.memcache.embedded.COMMANDS'))
    for command in b'mn', b'mg', b'ms', b'md', b'ma':
        del commands[command]


def setUpPool(test):
    setUp(test)
    clock = test.cleanUp.enter_context(
        mock.patch('p01.memcache.threads.pool.monotonic', Clock()))
    test.globs.update(clock=clock, Customer=Customer)


def document(name, setUp=setUp, tearDown=tearDown, layer=None, level=1):
    suite = doctest.DocFileSuite(
        name, package='p01.memcache', setUp=setUp, tearDown=tearDown,
        optionflags=FLAGS, checker=CHECKER, encoding='utf-8')
    suite.level = level
    if layer is not None:
        suite.layer = layer
    return suite


def test_suite():
    embedded = testing.EmbeddedLayer
    return unittest.TestSuite((
        document('README.txt', setUpZCML, layer=embedded),
        document('ultramemcache.txt', setUpConsole, layer=embedded),
        document('commands.txt', setUpClock),
        document('stampede.txt', setUpClock),
        # Its examples give the same results there.
        document('stampede.txt', setUpOldServer),
        document('invalidation.txt', setUpClock),
        document('cluster.txt', setUpCluster, layer=testing.ClusterLayer,
                 level=2),
        document('proxies.txt', setUpCluster, layer=testing.ClusterLayer,
                 level=2),
        document('security.txt', setUpSecurity, layer=embedded),
        document('client.txt', setUpServer, layer=embedded),
        document('zcml.txt', zcml.setUpDocument, zcml.tearDownZCML),
        document('upgrading.txt', setUpPlanting, layer=embedded),
        # It sets up the layers itself.
        document('testing.txt'),
        document('performance.txt', setUpServer, layer=embedded),
        document('pool.txt', setUpPool),
        document('protocol.txt'),
        document('load-testing.txt', layer=testing.StandardPortLayer,
                 level=2),
    ))
