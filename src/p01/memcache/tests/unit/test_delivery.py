# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How the time is shared when servers get deliveries, for many keys."""

from unittest import mock

from p01.memcache.cluster import cluster
from p01.memcache.cluster import fanout
from p01.memcache.errors import PoolTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.health import undelivered
from p01.memcache.tests.unit.test_cluster import ClusterCase
from p01.memcache.wire.command import Set


TIME = 12.0  # the time of an operation that begins at 0


class ByName:
    """A ring: the first byte of a key is the name of its server."""

    alike = False

    def __init__(self, servers):
        pass

    def find(self, key):
        return 'abcd'.index(key[:1].decode())

    def after(self, key, place):
        return ()


class DeliveryCase(ClusterCase):

    ring = ByName

    def setUp(self):
        super().setUp()
        self.now = 0.0
        for module in cluster, fanout, undelivered:
            self.enterContext(mock.patch.object(
                module, 'monotonic', lambda: self.now))

    def operations(self, *keys):
        yield lambda: self.cluster.get_many(keys, TIME)
        yield lambda: self.cluster.run_many(
            [Set(key, b'', 0, 0) for key in keys], TIME)


class ShareTest(DeliveryCase):

    def deliver(self, *took):
        """Make deliveries take that long; return their deadlines."""
        limits, took = [], iter(took)

        def deliver(server, key, deadline):
            limits.append(deadline)
            self.now += next(took)

        for server in self.servers:
            server.undelivered.add(server.address[:1].encode())
            server.undelivered.deliver = deliver
        return limits

    def test_each_delivery_has_its_share(self):
        # The last share is for the exchange itself.
        for operation in self.operations(b'a', b'b', b'c'):
            limits = self.deliver(0, 0, 0)
            operation()
            self.assertEqual(limits, [TIME / 4, TIME / 3, TIME / 2])

    def test_unused_time_goes_to_the_next_delivery(self):
        for operation in self.operations(b'a', b'b'):
            self.now = 0.0
            limits = self.deliver(TIME / 3, TIME / 3)
            operation()
            self.assertEqual(limits, [TIME / 3, TIME / 3 + TIME / 3])


class TroubleTest(DeliveryCase):

    keys = (b'a1', b'a2', b'a3')

    def check(self, error, read, changed, *others):
        """Deliveries fail with this error, and are tried for these keys.

        Afterwards the server gets no request, for any key.
        """
        def deliver(server, key, deadline):
            asked.append(key)
            self.now += TIME / 4
            raise error

        self.a.undelivered.deliver = deliver
        for operation, told in zip(
                self.operations(*self.keys, *others), (read, changed),
                strict=True):
            self.now, asked = 0.0, []
            for key in self.keys:
                self.a.undelivered.add(key)
            operation()
            self.assertEqual(asked, told)
            self.assertLog()

    def test_a_server_that_is_down_gets_one_delivery(self):
        self.check(ServerDown('down'), [b'a1'], [b'a1'])

    def test_a_server_that_refuses_gets_more_within_the_time(self):
        # Half of the time is for that. After a failed change the keys are
        # removed, which tries once more, in the other half.
        told = [b'a1', b'a2']
        self.check(ServerError('no'), told, told * 2)

    def test_any_other_failure_ends_it(self):
        self.check(PoolTimeout('no'), [b'a1'], [b'a1'], b'a9')
