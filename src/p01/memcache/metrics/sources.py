# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Where the figures come from: the clients, their regions and servers."""

from zope.component import getUtilitiesFor

from p01.memcache.browser.asking import Asking
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheStatistics
from p01.memcache.log import LimitedLog
from p01.memcache.log import describe
from p01.memcache.log import printable


class Sources:
    """The clients that are observed: ``{name: client}``, or all utilities.

    Only `statistics` asks servers. What a client cannot tell is left out, and
    logged: monitoring goes on without it.
    """

    def __init__(self, clients=None):
        self._given = clients
        self._asking = Asking()
        self._log = LimitedLog()

    def clients(self):
        """Return ``{name: client}``, without regions that are utilities."""
        if self._given is not None:
            return dict(self._given)
        found = dict(getUtilitiesFor(IMemcacheClient))
        inner = {id(region) for client in found.values()
                 for _, region in self.told(regions, client)}
        return {name: client for name, client in found.items()
                if id(client) not in inner}

    def counts(self):
        """Return ``[((client, region), counts)]``; no region is ``''``."""
        return [
            ((printable(name), printable(region)), counts)
            for name, client in self.clients().items()
            for region, one in [('', client), *self.told(regions, client)]
            for counts in self.told(_counts, one)]

    def servers(self):
        """Return ``[((client, server), what is known of it)]``."""
        return [
            ((printable(name), printable(server['server'])), server)
            for name, client in self.clients().items()
            for server in self.told(servers, client)]

    def statistics(self, within):
        """Ask the servers, for so many seconds at most.

        Return ``[((client, server), values)]``, with no values if there was no
        answer.
        """
        clients = self.clients()
        answers = self._asking.ask(
            {name: client.getStatistics for name, client in clients.items()},
            within)
        return [
            ((printable(name), printable(server)), values)
            for name, client in clients.items()
            for server, values in answers[name] or [
                (server, {}) for server in self.told(_names, client)]]

    def told(self, ask, client):
        """Return what a client says, as a list; nothing if it fails."""
        try:
            return list(ask(client))
        except Exception as error:
            self._log.warn('The metrics lack a client: %s', describe(error))
            return []


def _counts(client):
    return [client.getCounts()]


def _names(client):
    return [server['server'] for server in servers(client)] or client.servers


def servers(client):
    """Return what a pooled client knows of its servers."""
    if IUltraMemcacheStatistics.providedBy(client):
        return client.getServers()
    return []


def regions(client, path=''):
    """Yield ``(name, region)`` of all regions; a ``/`` leads to an inner one.
    """
    for name, region in client.getRegions():
        yield path + name, region
        yield from regions(region, f'{path}{name}/')
