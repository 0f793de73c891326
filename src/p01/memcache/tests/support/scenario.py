# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A scenario about values, for `matrix`."""

from unittest import mock

from p01.memcache.tests.support.clients import ClientCase
from p01.memcache.tests.support.values import MISSING


class Scenario(ClientCase):
    """A client, and others beside it on the same server."""

    settings = {}  # noqa: RUF012

    def makeClient(self, **settings):
        return super().makeClient(**{'debug': 1, **self.settings, **settings})

    def spy(self, owner, name):
        """Mock a method until the test ends; it still does its work."""
        return self.enterContext(mock.patch.object(
            owner, name, wraps=getattr(owner, name)))

    def reads(self, client, key):
        """Yield what each method that reads a value finds."""
        yield client.query(key, default=MISSING)
        found, token = client.gets(key, default=MISSING)
        self.assertEqual(found == MISSING, token is None)
        yield found
        yield client.queryAndTouch(key, 60, default=MISSING)
        found = client.queryMany([key, 'never stored'])
        self.assertLessEqual(set(found), {key})
        yield found.get(key, MISSING)

    def rawReads(self, client, key):
        yield client.query(key, raw=True, default=MISSING)
        yield client.gets(key, raw=True, default=MISSING)[0]
        yield client.queryAndTouch(key, 60, raw=True, default=MISSING)
        yield client.queryMany([key], raw=True).get(key, MISSING)

    def assertFound(self, client, key, value):
        self.assertEqual([*self.reads(client, key)], [value] * 4)

    def assertFoundRaw(self, client, key, data):
        self.assertEqual([*self.rawReads(client, key)], [data] * 4)

    def assertMiss(self, client, key):
        """Each way to read it is a miss, without a log entry or an event."""
        self.events.clear()
        self.assertFound(client, key, MISSING)
        self.assertFoundRaw(client, key, MISSING)
        self.assertEqual(self.events, [])

    def assertUnreadable(self, client, key, name, reason, raw=True):
        """Each way to read it is a miss, counted, logged and an event.

        Without `raw`, only those that would have unpickled it.
        """
        for read in (self.reads, self.rawReads)[:1 + raw]:
            self.events.clear()
            before = client.getUnreadable().get(name, 0)
            with self.assertLogs('p01.memcache', 'DEBUG') as log:
                self.assertEqual([*read(client, key)], [MISSING] * 4)
            self.assertEqual(client.getUnreadable()[name] - before, 4)
            self.assertEqual(
                [(event.client, event.key, type(event.error).__name__)
                 for event in self.events], [(client, key, name)] * 4)
            for record in log.records:
                message = record.getMessage()
                self.assertIn(client.buildKey(key), message)
                self.assertRegex(message, reason)
            self.assertEqual(len(log.records), 4)
