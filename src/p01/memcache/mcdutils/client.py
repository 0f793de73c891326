# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The look-alike as Products.mcdutils needs it, and its use.

That product stores an object of its own, which is persistent, and so none that
a client would serialize. Here it is taken apart: what is stored of a session
is a list of a mark, the time of its last use, and a dict.
"""

import time

from zope.component import queryUtility

from p01.memcache.errors import SerializationError
from p01.memcache.extra import extra
from p01.memcache.face import Client
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.log import logger


with extra('mcdutils'):
    from Products.mcdutils.mapping import MemCacheMapping
    from Products.mcdutils.proxy import MemCacheProxy


_MARK = 'p01.memcache.mcdutils'

# The use of a session is noted when so much of its lifetime is over.
_PART = 6


class SessionClient(Client):
    """A look-alike that stores sessions, and everything else as it is.

    A session expires when it was not used for the `lifetime` of the client.
    """

    def get(self, key, default=None):
        found = super().get(key, default)
        if _is_session(found):
            self._note_use(key, found)
        return _whole(found)

    def get_multi(self, keys, key_prefix=''):
        found = super().get_multi(keys, key_prefix)
        return {key: _whole(value) for key, value in found.items()}

    def _store(self, method, key, val, time, *token):
        if not isinstance(val, MemCacheMapping):
            return super()._store(method, key, val, time, *token)
        try:
            return super()._store(
                method, key, _parts(val.data), self.client.lifetime, *token)
        except SerializationError:
            # This is the end of a commit, which must not fail any more.
            logger.exception('the changes of a session are lost')
            return 0

    def _note_use(self, key, found):
        lifetime = self.client.lifetime
        if lifetime and time.time() - found[1] > lifetime / _PART:
            value, token = self.client.gets(key)
            if token is not None and _is_session(value):
                self.client.cas(key, _parts(value[2]), token)

    def _get_server(self, key):
        """Say that there is a server: if not, that is no reason to fail."""
        return self, key


def _parts(data):
    return [_MARK, int(time.time()), dict(data)]


def _is_session(found):
    return type(found) is list and len(found) == 3 and found[0] == _MARK


def _whole(found):
    """Return the object of Products.mcdutils, if it is a session."""
    if not _is_session(found):
        return found
    mapping = MemCacheMapping.__new__(MemCacheMapping)
    mapping.__setstate__(found[2])
    return mapping


def _client(proxy):
    if proxy._v_client is None:
        name = proxy.getId()
        if queryUtility(IMemcacheClient, name) is None:
            name = ''
        proxy._v_client = SessionClient(name=name)
    return proxy._v_client


def install():
    """Let every proxy of Products.mcdutils use the utility."""
    MemCacheProxy.client = property(_client)
