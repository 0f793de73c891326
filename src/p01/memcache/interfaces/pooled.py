# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of the pooled client, beyond that of every client."""

from p01.memcache.configuration.pooled import IUltraMemcacheSettings
from p01.memcache.interfaces.client import IMemcacheClient
from p01.memcache.interfaces.client import IMemcacheStatistics
from p01.memcache.interfaces.reading import IMemcacheReader


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class IUltraMemcacheReader(IMemcacheReader, IUltraMemcacheSettings):
    """Reads values, and shows how the connections are configured, too."""


class IUltraMemcacheStatistics(IMemcacheStatistics):
    """Shows the state of the connections, too."""

    def getPools():
        """Return a list of ``(server, {name: number})`` of connections.

        The names are ``active`` (in use), ``idle`` and ``opened`` (so far).
        """

    def getServers():
        """Return a list of dicts, one for each server. No server is asked.

        ``server`` is its address, and ``state`` is ``up``, ``failing`` (a
        failure or more, but fewer than `retries`), ``down`` or ``drained``;
        ``since`` is the number of seconds for which it has been in that state
        (0.0: since the client was made). ``reason`` is the last failure, None
        if the server is up. ``nextProbe`` is the number of seconds until it is
        tried again.

        Of its connections, ``active`` are in use, ``idle`` are not, ``opened``
        have been made and ``broken`` have been lost so far; ``waiting``
        threads wait for one. ``owed`` is the number of keys whose values have
        yet to be removed from it, -1 if it will be flushed. ``drained`` is
        True for the servers in the setting of that name, which come last.
        """


class IUltraMemcacheClient(
        IMemcacheClient, IUltraMemcacheReader, IUltraMemcacheStatistics):
    """Keeps a bounded pool of connections to each server.

    No operation takes longer than `timeout`, except for `getOrCreate`, and
    `invalidateAll` with a delay, which document their own bounds. A forked
    child makes its own connections, even if Python was not notified of the
    fork.

    The client remembers each change that a server missed, and removes the old
    value from that server before it reads the key there again. So this process
    never reads an outdated value, even if the server was away and comes back
    with its data. Above 10,000 such keys per server, the server is flushed
    instead, with the data of everyone else on it.
    """
