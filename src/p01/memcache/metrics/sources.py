# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Where the figures come from: the clients, their regions and servers."""

from p01.memcache.log import LimitedLog
from p01.memcache.log import describe
from p01.memcache.log import printable
from p01.memcache.observed.asking import Asking
from p01.memcache.observed.clients import regions
from p01.memcache.observed.clients import registered
from p01.memcache.observed.clients import servers


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
        return dict(registered())

    def counts(self):
        """Return ``[((client, region), counts)]``; no region is ``''``."""
        return [
            ((printable(name), printable('/'.join(names))), counts)
            for name, client in self.clients().items()
            for names, one in [((), client), *self.told(regions, client)]
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
