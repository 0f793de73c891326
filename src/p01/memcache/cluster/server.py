# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One server: its pool of connections, its health, and its backlog."""

import math
from functools import partial
from time import monotonic

from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.errors import is_closed
from p01.memcache.threads import fork
from p01.memcache.transport.lockkeeping import RELEASE
from p01.memcache.wire.protocol import get
from p01.memcache.wire.protocol import is_common
from p01.memcache.wire.protocol import may_repeat
from p01.memcache.wire.protocol import no_operation
from p01.memcache.wire.protocol import read_no_operation
from p01.memcache.wire.protocol import read_values


# Seconds behind the deadline after which a wait that knows no last look tells
# that this process stood still.
_STILL = 0.05

# A key that nobody has, to see whether a server answers.
_NO_KEY = b'p01.memcache'


class Server:
    """Requests to one server, on the connections of a `Pool`."""

    def __init__(self, address, pool, keeping, health, backlog):
        self.address = address
        self.pool = pool
        self.health = health
        self.backlog = backlog
        self.opened = 0  # connections so far
        self._keeping = keeping
        self._knows_meta = None
        fork.register(self)

    def __repr__(self):
        return f'<Server {self.address} {self.health.state}, {self.pool!r}>'

    def request(self, data, read, deadline, *args, since=math.inf):
        """Send `data` and return what ``read(reader, *args)`` makes of it.

        It is sent on a connection that was made before `since`, or else not
        at all: that is a `LeaseLost`.
        """
        fork.notice()
        if self.health.doubts:
            deadline = self.health.admit(deadline)
        while True:
            start = monotonic()
            made = asked = None
            connection = self.pool.take(deadline)
            try:
                # An event's handler may use the client: the connection is
                # given back before it is notified.
                try:
                    if not connection.is_ready(start):
                        made = monotonic()
                        self._connect(connection, deadline)
                    if connection.since > since:
                        raise LeaseLost('the connections have ended')
                    connection.send(data, deadline)
                    asked = monotonic()
                    reply = connection.receive(read, deadline, *args)
                finally:
                    self._give_back(connection)
            except MemoryError:
                error = LocalError('no memory')
                self._failed(error, connection, read, start, made, asked,
                             deadline)
                raise error from None
            except MemcacheError as error:
                self._failed(error, connection, read, start, made, asked,
                             deadline)
                if error.again and may_repeat(read):
                    continue
                raise
            except BaseException:
                # It has decided nothing, another one may.
                self.health.undecided()
                raise
            self._answered()
            if self._keeping.way != RELEASE and self.opened > 1:
                self._keeping.give_way(asked)
            return reply

    def converse(self, requests, step, deadline):
        """Make some requests on one connection, while others are made too.

        A generator. Each request is ``(data, read, *args)``, as above. Where a
        reply has to be waited for, it yields the connection and by when the
        reply must be there. `step`, and what it is sent then, is when the next
        step must be done. It returns a list of the replies, or an error, and
        what is to be called when the other servers' connections are given
        back, too: it tells of the health, and a handler may need them.
        """
        replies, read = [], None
        fork.notice()
        if self.health.doubts:
            deadline = self.health.admit(deadline)
        start = monotonic()
        made = asked = None
        connection = self.pool.take(min(step, deadline))
        try:
            try:
                if not connection.is_ready(start):
                    made = monotonic()
                    self._connect(connection, min(step, deadline))
                for data, read, *args in requests:
                    if connection.dirty:
                        made = monotonic()
                        self._connect(connection, min(step, deadline))
                    elif replies and not connection.is_quiet():
                        raise ProtocolError('more than was asked for')
                    connection.send(data, min(step, deadline))
                    asked = monotonic()
                    step = yield connection, deadline
                    replies.append(connection.receive(
                        read, min(step, deadline), *args))
            finally:
                self._give_back(connection)
        except MemoryError:
            error = LocalError('no memory')
        except MemcacheError as trouble:
            error = trouble
        except BaseException:
            self.health.undecided()
            raise
        else:
            return replies, self._answered
        return error, partial(
            self._failed, error, connection, read, start, made, asked,
            deadline)

    def request_uncommon(self, data, read, deadline, *args):
        """Request what proxies do not know.

        They close the connection, and then answer what they know. Closed a
        second time, this is taken for a refusal, a `ClientError`.
        """
        if self.health.is_down:
            self._look(deadline)  # of this a proxy tells that it is back
        for _ in range(2):
            try:
                return self.request(data, read, deadline, *args)
            except ReceiveTimeout:
                raise
            except ReceiveError as error:
                refusal = str(error)
            self._look(deadline)
        raise ClientError(refusal)

    def _look(self, deadline):
        """Raise a `MemcacheError` unless the server answers."""
        self.request(get([_NO_KEY]), read_values, deadline, [_NO_KEY], {})

    def knows_meta(self, deadline):
        """Return whether it knows the meta commands; it is asked once."""
        if self._knows_meta is None:
            try:
                self._knows_meta = self.request_uncommon(
                    no_operation(), read_no_operation, deadline)
            except (ClientError, ServerError):
                self._knows_meta = False
        return self._knows_meta

    def forget_meta(self):
        """It turned out to know other commands than it did before."""
        self._knows_meta = None

    def _give_back(self, connection):
        if connection.dirty:
            connection.abort()
            self.pool.drop(connection)
        else:
            self.pool.give(connection)

    def _failed(self, error, connection, read, start, made, asked, deadline):
        """Tell the health what has failed on a connection.

        It was waited for from `start`, and `made` then, unless it was a used
        one; the request was on its way at `asked`.
        """
        error.server = self.address
        health, began = self.health, made or asked or start
        if not made and is_closed(error):
            # What has befallen it may have befallen all that are as old.
            self.pool.close()
            error.again = not connection.heard
        if isinstance(error, ServerError):
            self._answered()
        elif isinstance(error, LocalError) and began < deadline:
            health.hindered(error)
        elif (isinstance(error, (ClientError, LeaseLost, ServerBusy,
                                 ServerDown))
                # That is how a proxy refuses what it does not know.
                or (type(error) is ReceiveError and not is_common(read))
                # This process stood still, or waited longer for a connection
                # than was left for the server.
                or (asked or began) >= deadline
                or began - start > deadline - began
                or (isinstance(error, (ConnectTimeout, SendTimeout))
                    and monotonic() > deadline + _STILL)):
            health.undecided()
        elif made:
            health.failed(error, made)
        else:
            self.pool.close()
            health.doubted(error, began)

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

    def _answered(self):
        if self.health.doubts:
            self.health.answered()
