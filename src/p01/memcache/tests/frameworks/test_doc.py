# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The examples of the documents about frameworks, and their set-up."""

import contextlib
import doctest
import logging
import unittest
from unittest import mock

import transaction
import zope.component
from persistent import Persistent
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.container.contained import Contained
from zope.container.folder import Folder
from zope.interface import alsoProvides
from zope.traversing.interfaces import IContainmentRoot

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.testing import free_ports
from p01.memcache.tests.frameworks.test_content import ZOPE
from p01.memcache.tests.support import zcml
from p01.memcache.tests.support.threads import at_once
from p01.memcache.tests.support.waits import until
from p01.memcache.tests.zope.test_doc import CHECKER
from p01.memcache.tests.zope.test_doc import FLAGS
from p01.memcache.tests.zope.test_doc import REFUSING
from p01.memcache.tests.zope.test_doc import Console
from p01.memcache.tests.zope.test_doc import closeUtilities
from p01.memcache.tests.zope.test_doc import tearDown


logger = logging.getLogger('p01.memcache')


class Item(Contained, Persistent):
    pass


def wait(condition):
    """Wait until the condition holds, and return True."""
    until(condition)
    return True


def setUp(test):
    """Start with a server of its own, nothing registered, and the log."""
    zcml.setUpZCML(test)
    test.cleanUp = contextlib.ExitStack()
    test.cleanUp.callback(zcml.tearDownZCML, test)
    test.cleanUp.callback(closeUtilities)
    console = Console()
    logger.addHandler(console)
    test.cleanUp.callback(logger.removeHandler, console)
    [port] = free_ports(1)
    server = test.cleanUp.enter_context(EmbeddedServer(port=port))
    test.globs.update(
        server=server, address=server.address, refusing=REFUSING, wait=wait)


def setUpPlone(test):
    setUp(test)

    def load(directives):
        """Each is an application of its own."""
        closeUtilities()
        zcml.tearDownZCML(test)
        zcml.load(directives, package='')

    test.globs.update(load=load, __name__=__name__)


def setUpZope(test):
    """Set up a site with a folder of shoes."""
    setUp(test)
    zcml.load(ZOPE + f'''
        {zcml.PACKAGE}
        <p01:memcache servers="{test.globs['address']}" namespace="shop"
            delay="0" blacktime="0.01" />''', package='')
    client = zope.component.getUtility(IMemcacheClient)
    client.timeout = 5
    db = DB(MappingStorage(), database_name='main')
    test.cleanUp.callback(db.close)
    test.cleanUp.callback(transaction.abort)
    root = db.open().root.root = Folder()
    alsoProvides(root, IContainmentRoot)
    root['shop'] = Folder()
    root['shop']['shoes'] = Folder()
    root['shop']['shoes']['boot'] = Item()
    transaction.commit()
    test.globs.update(root=root, Item=Item, load=zcml.load)


def setUpSnapshots(test):
    """Set up a database with a price, and requests to it."""
    setUp(test)
    # Its server is new, and shall not count as such.
    test.cleanUp.enter_context(mock.patch(
        'p01.memcache.snapshots.versions.SETTLED', 0))
    db = DB(MappingStorage())
    test.cleanUp.callback(db.close)
    test.cleanUp.callback(transaction.abort)

    @contextlib.contextmanager
    def request():
        """Handle a request: commit, or abort after an error."""
        connection = db.open()
        try:
            with transaction.manager:
                yield connection.root()
        finally:
            connection.close()

    def elsewhere(function, *args):
        """Call it in another thread, so in another transaction."""
        [result] = at_once(lambda _: function(*args), [1])
        return result

    with request() as root:
        root['price'] = 5
    test.globs.update(request=request, elsewhere=elsewhere)


def test_suite():
    return unittest.TestSuite(
        doctest.DocFileSuite(
            f'{name}.txt', package='p01.memcache', setUp=set_up,
            tearDown=tearDown, optionflags=FLAGS, checker=CHECKER)
        for name, set_up in (
            ('plone', setUpPlone), ('snapshots', setUpSnapshots),
            ('zope', setUpZope)))
