# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The events that the package sends, or handles."""

from zope.interface import Attribute
from zope.interface import Interface


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class IServerEvent(Interface):
    """The state of a server of a pooled client has changed.

    Sent once per change, in the thread that detects it; that thread waits for
    the handlers. An exception of a handler is logged.
    """

    server = Attribute("The server's address, as configured.")

    reason = Attribute('What happened, in human-readable words.')


class IServerDownEvent(IServerEvent):
    """A server was marked down. It is not used for `blacktime` seconds."""


class IServerUpEvent(IServerEvent):
    """A server that was marked down has answered."""


class IServersChangedEvent(Interface):
    """The list of servers of a pooled client has changed.

    By an assignment to its `servers` or `drained`, or because another list was
    found where `servers` says to look. Sent once per change and client, in the
    thread that makes it, when the new list is in force; that thread waits for
    the handlers. An exception of a handler is logged.
    """

    servers = Attribute('The addresses of the servers in use, a list.')

    came = Attribute('The addresses of those that were not used before.')

    went = Attribute(
        'The addresses of those that are not used any more. A machine that '
        'was replaced under its name is in both.')


class IInvalidateCacheEvent(Interface):
    """Something that is cached has changed.

    Send it with ``zope.event.notify``; the handler of the package
    invalidates the key.
    """

    key = Attribute('The key to invalidate, see `IMemcacheReader.buildKey`.')

    cacheName = Attribute(
        'The name of the utility in which to invalidate the key; None for '
        'all registered `IMemcacheClient` utilities. A name that is not '
        'registered is a '
        '``zope.interface.interfaces.ComponentLookupError``.')


class INotHeldEvent(Interface):
    """A transaction commits, but memcached has not heard of what it changes.

    Until its invalidations are delivered, another transaction may be given
    values that are older than its snapshot. Sent in the thread that commits,
    which waits for the handlers. An exception of a handler is logged.
    """

    keys = Attribute('The keys on the wire of the dependencies, a list.')

    error = Attribute('The `p01.memcache.errors.MemcacheError` of one.')


class IUnreadableValueEvent(Interface):
    """A stored value could not be read, and was a miss.

    Sent in the thread that read it; that thread waits for the handlers. An
    exception of a handler is logged.
    """

    client = Attribute('The client.')

    key = Attribute('The key, as it was passed to the client.')

    error = Attribute('The `p01.memcache.errors.UnreadableValue`.')
