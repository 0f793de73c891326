# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A memcached fails under load: each look says so within a minute, and that
it is over: the page, the command, the metrics, and the log.
"""

import contextlib
import html
import io
import re
import tempfile
import unittest

from p01.memcache.console.main import execute
from p01.memcache.testing import Memcached
from p01.memcache.tests.operation.processes import Toolkit
from p01.memcache.tests.support.waits import until


MINUTE = 60


class OperatorTest(unittest.TestCase):

    level = 2

    def setUp(self):
        self.servers = [
            self.enterContext(Memcached()) for _ in range(3)]
        self.site = self.enterContext(Toolkit(
            self.enterContext(tempfile.TemporaryDirectory()), 'shop',
            *[server.address for server in self.servers]))
        self.looks = {
            'page': self.page, 'command': self.command,
            'metrics': self.metrics, 'log': self.site.log.read_text}
        until(lambda: 'All 3 servers are up' in self.page())

    def page(self):
        return html.unescape(self.site.page().text)

    def command(self):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            execute(['status', '--timeout', '1', '--servers', ' '.join(
                server.address for server in self.servers)])
        return output.getvalue()

    def metrics(self):
        return self.site.page('/@@memcache-metrics').text

    def see(self, **patterns):
        """Wait until each look shows its pattern."""
        unseen = dict(patterns)

        def all_seen():
            for name, pattern in list(unseen.items()):
                if re.search(pattern, self.looks[name]()):
                    del unseen[name]
            return not unseen

        try:
            until(all_seen, MINUTE)
        except AssertionError:
            self.fail({name: (pattern, self.looks[name]())
                       for name, pattern in unseen.items()})

    def check(self, fail, recover, reason):
        server = self.servers[1]
        address = re.escape(server.address)
        state = r'memcache_client_server_state\{.*' + address + '.*"%s"} 1.0'
        fail(server)
        # What happened ...
        self.see(page=f'{address} (is|has been) down.*: {reason}',
                 command=f'{address} +DOWN(.*\n)*{address}: .*{reason}',
                 metrics=state % 'down',
                 log=f'{address} is down: {reason}')
        # ... and whether it is over.
        recover(server)
        self.see(page=f'{address} has been up again for(.*\n)*.*'
                      'All 3 servers are up',
                 command=f'{address} +up',
                 metrics=state % 'up',
                 log=f'{address} is up again')

    def test_stopped(self):
        self.check(Memcached.stop, Memcached.start, 'cannot connect')

    def test_frozen(self):
        self.check(Memcached.freeze, Memcached.thaw, 'no reply in time')
