# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pages of the site."""

from persistent.mapping import PersistentMapping
from Products.Five import BrowserView
from Products.mcdutils.proxy import MemCacheProxy
from Products.mcdutils.sessiondata import MemCacheSessionDataContainer
from Products.Sessions.BrowserIdManager import BrowserIdManager
from Products.Sessions.SessionDataManager import SessionDataManager
from zope.component import getUtility
from zope.session.interfaces import ISessionDataContainer
from zope.session.session import SessionData
from zope.session.session import SessionPkgData


class Sessions(BrowserView):

    def _package(self):
        """Return what `ISession` would return for a client with that id."""
        client_id = self.request.form['id']
        container = getUtility(ISessionDataContainer)
        data = container.get(client_id)
        if data is None:
            data = container[client_id] = SessionData()
        if 'visits' not in data:
            data['visits'] = SessionPkgData()
        return data['visits']

    def count(self):
        """Count a visit, in the session and in the database.

        With "fail", the request then fails.
        """
        package = self._package()
        name = self.request.form.get('name', 'all')
        package[name] = package.get(name, 0) + 1
        visits = self.context._p_jar.root().setdefault(
            'visits', PersistentMapping())
        visits[name] = visits.get(name, 0) + 1
        if 'fail' in self.request.form:
            raise RuntimeError('this page fails')
        return str(package[name])

    def counted(self):
        """Return the visits, as the session and the database know them."""
        name = self.request.form.get('name', 'all')
        visits = self.context._p_jar.root().get('visits', {})
        return f'{self._package().get(name, 0)} {visits.get(name, 0)}'

    def install(self):
        """Make what Zope's SESSION needs."""
        root = self.context
        for name in 'proxy', 'container', 'browser_id_manager', 'sessions':
            if name in root.objectIds():
                root._delObject(name)
        root._setObject('proxy', MemCacheProxy('proxy'))
        root._setObject('container', MemCacheSessionDataContainer('container'))
        root.container.proxy_path = 'proxy'
        root._setObject(
            'browser_id_manager', BrowserIdManager('browser_id_manager'))
        root._setObject('sessions', SessionDataManager(
            'sessions', path='/container', requestName='SESSION'))
        return 'installed'

    def SESSION(self):
        """Count a visit in Zope's session."""
        session = self.request['SESSION']
        session['visits'] = session.get('visits', 0) + 1
        return str(session['visits'])
