# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Events and their handlers."""

import zope.component
import zope.component.event  # makes `notify` call the registered handlers
from zope.interface import implementer

from p01.memcache.interfaces import IInvalidateCacheEvent
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import INotHeldEvent
from p01.memcache.interfaces import IServerDownEvent
from p01.memcache.interfaces import IServersChangedEvent
from p01.memcache.interfaces import IServerUpEvent
from p01.memcache.interfaces import IUnreadableValueEvent


@implementer(IInvalidateCacheEvent)
class InvalidateCacheEvent:
    """See `IInvalidateCacheEvent`."""

    def __init__(self, key, cacheName=None):
        self.key = key
        self.cacheName = cacheName


def clientsOf(cacheName):
    """Return the utility of that name, or all of them if it is None."""
    if cacheName is not None:
        return [zope.component.getUtility(IMemcacheClient, cacheName)]
    return zope.component.getAllUtilitiesRegisteredFor(IMemcacheClient)


@zope.component.adapter(IInvalidateCacheEvent)
def invalidateCache(event):
    """Invalidate the event's key in the utility that it names, or in all."""
    for client in clientsOf(event.cacheName):
        client.invalidate(event.key)


@implementer(INotHeldEvent)
class NotHeldEvent:
    """See `INotHeldEvent`."""

    def __init__(self, keys, error):
        self.keys = keys
        self.error = error


@implementer(IUnreadableValueEvent)
class UnreadableValueEvent:
    """See `IUnreadableValueEvent`."""

    def __init__(self, client, key, error):
        self.client = client
        self.key = key
        self.error = error


class _ServerEvent:

    def __init__(self, server, reason):
        self.server = server
        self.reason = reason


@implementer(IServerDownEvent)
class ServerDownEvent(_ServerEvent):
    """See `IServerDownEvent`."""


@implementer(IServerUpEvent)
class ServerUpEvent(_ServerEvent):
    """See `IServerUpEvent`."""


@implementer(IServersChangedEvent)
class ServersChangedEvent:
    """See `IServersChangedEvent`."""

    def __init__(self, servers, came, went):
        self.servers = servers
        self.came = came
        self.went = went
