# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An application of Zope whose SESSION is that of Products.mcdutils."""

from OFS.Application import Application
from Products.mcdutils.proxy import MemCacheProxy
from Products.mcdutils.sessiondata import MemCacheSessionDataContainer
from Products.Sessions.BrowserIdManager import BrowserIdManager
from Products.Sessions.SessionDataManager import SessionDataManager
from Testing.makerequest import makerequest


def make_app(browser_id=None):
    """Return an application as another process has it."""
    app = makerequest(Application())
    app._setObject('proxy', MemCacheProxy('proxy'))
    container = MemCacheSessionDataContainer('container')
    container.proxy_path = 'proxy'
    app._setObject('container', container)
    app._setObject('browser_id_manager', BrowserIdManager(
        'browser_id_manager'))
    app._setObject('session_data_manager', SessionDataManager(
        'session_data_manager', path='/container', requestName='SESSION'))
    if browser_id is not None:
        app.REQUEST.browser_id_ = browser_id
    return app
