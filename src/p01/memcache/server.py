# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One server: its pool of connections, its health, and its backlog."""

from time import monotonic

from p01.memcache import fork
from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.protocol import is_common


class Server:
    """Requests to one server, on the connections of a `Pool`."""

    def __init__(self, address, pool, keeping, health, backlog):
        self.address = address
        self.pool = pool
        self.health = health
        self.backlog = backlog
        self.opened = 0  # connections so far
        self._keeping = keeping
        self._heard = 0.0  # when the last one asked that got a reply
        fork.register(self)

    def __repr__(self):
        return f'<Server {self.address} {self.health.state}, {self.pool!r}>'

    def request(self, data, read, deadline, *args):
        """Send `data` and return what ``read(reader, *args)`` makes of it."""
        health = self.health
        if health.failures:
            deadline = health.admit(deadline)
        start = monotonic()
        connection = self.pool.take(deadline)
        try:
            # An event's handler may use the client: the connection is given
            # back before it is told.
            try:
                asked = monotonic()
                if not connection.is_ready():
                    self._connect(connection, deadline)
                reply = connection.request(data, read, deadline, *args)
            finally:
                if connection.dirty:
                    connection.abort()
                    self.pool.drop(connection)
                else:
                    self.pool.give(connection)
        except ServerError as error:
            error.server = self.address
            self._answered(asked)
            raise
        except MemcacheError as error:
            error.server = self.address
            if (isinstance(error, (ClientError, ServerBusy, ServerDown))
                    # That is how a proxy refuses what it does not know.
                    or (type(error) is ReceiveError and not is_common(read))
                    or not self._is_to_blame(start, asked, deadline)):
                health.undecided()
            else:
                health.failed(error)
            raise
        self._answered(asked)
        if self._keeping.active:
            self._keeping.give_way()
        return reply

    def _is_to_blame(self, start, asked, deadline):
        """Return whether a failure tells something about the server.

        Not where more time was spent waiting for a connection than was left
        for the server, and others had its answers meanwhile.
        """
        left = deadline - asked
        return left > 0 and (left >= asked - start or self._heard < start)

    def statistics(self):
        return {**self.pool.statistics(), 'opened': self.opened}

    def close(self):
        self.pool.close()

    def after_fork(self):
        self.pool.after_fork()

    def _connect(self, connection, deadline):
        # Whatever it is that came meanwhile, it is not used again.
        connection.close()
        self.health.admit_connect(deadline)
        connection.connect(deadline)
        self.health.connected()
        self.opened += 1

    def _answered(self, asked):
        self._heard = asked
        if self.health.failures:
            self.health.answered()
