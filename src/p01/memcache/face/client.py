# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The look-alike of ``memcache.Client``."""

import threading

from zope.component import getUtility
from zope.interface import implementer

from p01.memcache.errors import NotInvalidated
from p01.memcache.face import keys
from p01.memcache.face import servers as addresses
from p01.memcache.face.interfaces import IFace
from p01.memcache.face.values import Values
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.log import logger


@implementer(IFace)
class Client(Values, threading.local):
    """See `IFace`.

    Each thread that uses an instance runs ``__init__``, with the same
    arguments, and so has tokens of its own.
    """

    MemcachedKeyError = keys.MemcachedKeyError
    MemcachedKeyNoneError = keys.MemcachedKeyNoneError
    MemcachedKeyTypeError = keys.MemcachedKeyTypeError
    MemcachedKeyLengthError = keys.MemcachedKeyLengthError
    MemcachedKeyCharacterError = keys.MemcachedKeyCharacterError

    def __init__(self, servers=None, debug=0, pickleProtocol=0, *,
                 dead_retry=None, socket_timeout=None, flush_on_reconnect=0,
                 cache_cas=False, name=''):
        self._servers = servers
        self._name = name
        self.cache_cas = cache_cas
        self.reset_cas()

    @property
    def client(self):
        servers = self._servers
        if servers is None:
            return getUtility(IMemcacheClient, self._name)
        if IMemcacheClient.providedBy(servers):
            return servers
        return addresses.find(servers)

    def get_stats(self, stat_args=None):
        try:
            statistics = self.client.getStatistics(stat_args or None)
        except ValueError:
            return []
        return [(addresses.shown(server), values)
                for server, values in statistics if 'error' not in values]

    def flush_all(self):
        try:
            self.client.invalidateAll()
        except NotInvalidated as error:
            logger.warning('flush_all: %s', error)

    def disconnect_all(self):
        self.client.close()

    def forget_dead_hosts(self):
        """See `IFace`."""

    def debuglog(self, str):
        logger.debug('%s', str)
