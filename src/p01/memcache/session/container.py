# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The container of sessions, a utility."""

import time

import transaction
from zope.component import getUtility
from zope.interface import implementer
from zope.location import Location
from zope.schema import ValidationError

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.log import LimitedLog
from p01.memcache.session.evictions import Evictions
from p01.memcache.session.interfaces import IMemcacheSessionDataContainer
from p01.memcache.session.manager import SessionManager


@implementer(IMemcacheSessionDataContainer)
class MemcacheSessionDataContainer(Location):
    """See `IMemcacheSessionDataContainer`."""

    def __init__(self, timeout=3600, resolution=600, name='', cacheName='',
                 lastOneWins=False):
        for attribute, value in (
                ('timeout', timeout), ('resolution', resolution),
                ('name', name), ('cacheName', cacheName),
                ('lastOneWins', lastOneWins)):
            try:
                IMemcacheSessionDataContainer[attribute].validate(value)
            except ValidationError as error:
                raise ValueError(
                    f'{attribute} {value!r}: {error.doc()}') from None
            setattr(self, attribute, value)
        self._log = LimitedLog()
        self._evictions = Evictions()

    def __getitem__(self, client_id):
        data = self._record(client_id).access()
        if data is None:
            raise KeyError(client_id)
        return data

    def get(self, client_id, default=None):
        try:
            return self[client_id]
        except KeyError:
            return default

    def __contains__(self, client_id):
        return self._record(client_id).data is not None

    def __setitem__(self, client_id, session_data):
        session_data.setLastAccessTime(int(time.time()))
        self._record(client_id).data = session_data

    def __delitem__(self, client_id):
        if client_id not in self:
            raise KeyError(client_id)
        self._record(client_id).remove()

    def _record(self, client_id):
        current = transaction.get()
        try:
            manager = current.data(self)
        except KeyError:
            client = getUtility(IMemcacheClient, self.cacheName)
            # A manager follows the transaction by itself.
            manager = SessionManager(
                self, client.immediate(), current, self._finished)
            current.set_data(self, manager)
        return manager.record(client_id)

    def _finished(self, client, lost):
        if lost:
            self._log.warn(
                'the changes of %s session(s) are lost: memcached does not'
                ' take them', lost)
        self._evictions.look(client)
