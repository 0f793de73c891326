# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Clients for a test."""

import zope.event

from p01.memcache.tests.support.quiet import keep_quiet


class ClientCase:
    """A client with an empty server. A subclass chooses the client."""

    factory = None
    client = None

    def setUp(self):
        keep_quiet(self)
        self.events = []
        zope.event.subscribers.append(self.events.append)
        self.addCleanup(zope.event.subscribers.remove, self.events.append)
        self.client = self.makeClient()
        self.client.invalidateAll()

    def makeClient(self, **settings):
        client = self.factory(**settings)
        self.addCleanup(client.close)
        return client
