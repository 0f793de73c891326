# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command stats."""

import re

from p01.memcache.tests.embedded.conversation import K251
from p01.memcache.tests.embedded.conversation import OnEmbedded
from p01.memcache.tests.embedded.conversation import OnMemcached
from p01.memcache.tests.embedded.conversation import ServerCase
from p01.memcache.tests.embedded.conversation import metaSet
from p01.memcache.tests.embedded.conversation import setCommand


class Statistics(ServerCase):
    """What each command counts."""

    def test_statistics(self):
        version = self.client.ask(b'version\r\n', b'\r\n')
        before = self.client.statistics()
        for name in ('pid', 'uptime', 'time', 'pointer_size',
                     'curr_connections', 'total_connections', 'curr_items',
                     'total_items', 'bytes', 'limit_maxbytes', 'threads',
                     'evictions', 'bytes_read', 'bytes_written'):
            self.assertRegex(before[name], r'\A\d+\Z', name)
        self.assertRegex(before['version'], r'\A\d+\.\d+\.\d+')
        self.check((setCommand(b'u', b'x'), b'STORED\r\n'))
        unique = self.cas(b'u')
        for request, changes in (
                (setCommand(b'a', b'x'), 'cmd_set total_items'),
                (setCommand(b'a', b'x', command=b'add'), 'cmd_set'),
                (setCommand(b'b', b'x', command=b'append'), 'cmd_set'),
                (setCommand(b'a', b'x', command=b'append'),
                 'cmd_set total_items'),
                (b'set a 0 0 1\r\nxyz\r\n', 'cmd_set'),
                (b'set a x 0 1\r\nxyz\r\n', ''),
                (b'get a b c\r\n',
                 'cmd_get cmd_get cmd_get get_hits get_misses get_misses'),
                (b'gets a\r\n', 'cmd_get get_hits'),
                (b'gat 0 a b\r\n',
                 'cmd_touch cmd_touch touch_hits touch_misses'),
                (b'touch a 0\r\n', 'cmd_touch touch_hits'),
                (b'touch b 0\r\n', 'cmd_touch touch_misses'),
                (b'incr a 1\r\n', ''),
                (b'delete a\r\n', 'delete_hits'),
                (b'delete a\r\n', 'delete_misses'),
                (b'get %b\r\n' % K251, ''),
                (setCommand(b'n', b'9'), 'cmd_set total_items'),
                (b'incr n 1\r\n', 'incr_hits total_items'),
                (b'decr n 1\r\n', 'decr_hits'),
                (b'incr b 1\r\n', 'incr_misses'),
                (b'decr b 1\r\n', 'decr_misses'),
                (setCommand(b'n', b'x', 0, 0, b'cas', b' 0'),
                 'cmd_set cas_badval'),
                (setCommand(b'b', b'x', 0, 0, b'cas', b' 0'),
                 'cmd_set cas_misses'),
                (setCommand(b'u', b'x', 0, 0, b'cas', b' %d' % unique),
                 'cmd_set cas_hits total_items'),
                (setCommand(b'a', b'v' * 1048576), 'store_too_large'),
                (b'mg m v\r\n', 'cmd_get get_misses'),
                (b'mg m T5\r\n', 'cmd_get get_misses'),
                (b'mg m N5\r\n', 'cmd_get get_hits total_items'),
                (b'mg m\r\n', 'cmd_get get_hits'),
                (b'mg m T5 N5\r\n', 'cmd_touch touch_hits'),
                (b'mg m Z\r\n', ''),
                (metaSet(b'm', b'5'), 'cmd_set total_items'),
                (metaSet(b'm', b'5', b'C0'), 'cmd_set cas_badval'),
                (metaSet(b'm', b'5', b'C1 I'),
                 'cmd_set cas_hits total_items'),
                (metaSet(b'm', b'5', b'Z'), ''),
                (b'ma m\r\n', 'incr_hits'),
                (b'ma m MD\r\n', 'decr_hits'),
                (b'ma m C1\r\n', ''),
                (b'md m I\r\n', ''),
                (b'md m C0\r\n', 'delete_misses'),
                (b'md m\r\n', 'delete_hits'),
                (b'md m I\r\n', 'delete_misses'),
                (b'ma m MD\r\n', 'decr_misses'),
                (b'ma m N5\r\n', 'total_items'),
                (b'mn\r\n', ''),
                (b'flush_all 0\r\n', 'cmd_flush'),
                (b'flush_all x\r\n', 'cmd_flush'),
                (b'bogus\r\n', ''),
                (b'version\r\n', '')):
            with self.subTest(request=request[:50]):
                before = self.client.statistics()
                self.client.ask(request + b'version\r\n', version)
                after = self.client.statistics()
                counters = {
                    name: int(after[name]) - int(value)
                    for name, value in before.items()
                    if name in after and re.match(
                        'cmd_|total_items|store_|.*_(hits|misses|badval)$',
                        name)}
                expected = dict.fromkeys(counters, 0)
                for name in changes.split():
                    expected[name] += 1
                self.assertEqual(counters, expected)

    def test_stats_reset(self):
        self.check((b'get a\r\n', b'END\r\n'),
                   (setCommand(b'a', b'x'), b'STORED\r\n'),
                   (b'stats reset\r\n', b'RESET\r\n'))
        statistics = self.client.statistics()
        for name in 'cmd_get', 'get_misses', 'cmd_set', 'total_items':
            self.assertEqual(statistics[name], '0', name)
        self.assertNotEqual(statistics['curr_items'], '0')

    def test_other_stats(self):
        for topic in b'settings', b'items', b'slabs', b'sizes', b'conns':
            reply = self.client.ask(b'stats %b\r\n' % topic)
            self.assertRegex(reply, rb'\A(STAT \S+ .*\r\n)*END\r\n\Z')
        settings = self.client.ask(b'stats settings\r\n')
        self.assertIn(b'STAT item_size_max 1048576\r\n', settings)
        self.check((b'stats bogus\r\n', b'ERROR\r\n'),
                   (b'stats sizes\r\n',
                    b'STAT sizes_status disabled\r\nEND\r\n'))


class EmbeddedStatistics(Statistics, OnEmbedded):
    pass


class MemcachedStatistics(Statistics, OnMemcached):
    pass
