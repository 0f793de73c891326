# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The documents of the rooms that are built for frameworks."""

import io
import threading
import unittest
from unittest import mock

import transaction
import zope.component
from Products.mcdutils.proxy import MemCacheProxy
from zope.configuration import xmlconfig
from zope.publisher.http import HTTPRequest
from zope.publisher.interfaces import IRequest
from zope.session.http import CookieClientIdManager
from zope.session.interfaces import IClientId
from zope.session.interfaces import IClientIdManager
from zope.session.interfaces import ISession
from zope.session.session import ClientId
from zope.session.session import Session

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.session import evictions
from p01.memcache.tests.frameworks.mcdutilsapp import make_app
from p01.memcache.tests.support import zcml
from p01.memcache.tests.zope.test_doc import REFUSING
from p01.memcache.tests.zope.test_doc import document
from p01.memcache.tests.zope.test_doc import setUp
from p01.memcache.tests.zope.test_doc import showLog
from p01.memcache.uclient import UltraMemcacheClient


def load(directives):
    xmlconfig.string(zcml.SITE % directives)


def setUpRoom(test):
    """Register a client, of a server of its own."""
    setUp(test)
    test.cleanUp.callback(zcml.tearDownZCML, test)
    test.cleanUp.callback(transaction.abort)
    server = test.cleanUp.enter_context(EmbeddedServer())
    client = UltraMemcacheClient([server.address])
    test.cleanUp.callback(client.close)
    zope.component.provideUtility(client, IMemcacheClient)
    showLog(test)
    test.globs.update(
        load=load, address=server.address, refusing=REFUSING,
        stopServer=server.stop)
    return client


def setUpSession(test):
    client = setUpRoom(test)
    zope.component.provideAdapter(ClientId, (IRequest,), IClientId)
    zope.component.provideAdapter(Session, (IRequest,), ISession)
    zope.component.provideUtility(CookieClientIdManager(), IClientIdManager)
    request = HTTPRequest(io.BytesIO(), {}, None)

    def elsewhere(function):
        def run():
            function(ISession(request))
            transaction.commit()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    evicted = 0
    test.cleanUp.enter_context(mock.patch.object(evictions, 'PAUSE', 0))
    statistics = client.getStatistics

    def getStatistics():
        found = statistics()
        for _, numbers in found:
            if 'error' not in numbers:
                numbers['evictions'] = str(evicted)
        return found

    def evict(number):
        nonlocal evicted
        evicted += number

    client.getStatistics = getStatistics
    test.globs.update(
        request=request, elsewhere=elsewhere, evict=evict,
        client_id=str(IClientId(request)))


def setUpMcdutils(test):
    setUpRoom(test)
    test.cleanUp.callback(
        setattr, MemCacheProxy, 'client', MemCacheProxy.client)

    def newRequest(app):
        return make_app(app.browser_id_manager.getBrowserId())

    test.globs.update(app=make_app(), newRequest=newRequest)


def test_suite():
    return unittest.TestSuite((
        document('ramcache/README.txt', setUpRoom),
        document('session/README.txt', setUpSession),
        document('face/README.txt', setUpRoom),
        document('mcdutils/README.txt', setUpMcdutils),
        document('dogpile/README.txt', setUpRoom),
    ))
