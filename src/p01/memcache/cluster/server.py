# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One server: conversations with it, its pool of connections and its health.
"""

from time import monotonic
from typing import NamedTuple

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
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.lockkeeping import RELEASE
from p01.memcache.wire.batch import MOST_BYTES
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Get
from p01.memcache.wire.meta import IsLeased
from p01.memcache.wire.meta import NoOperation


# Seconds behind the deadline after which a wait without a last look shows
# that this process stood still.
_STILL = 0.05

# A key that nobody has, to see whether a server answers.
_NO_KEY = b'p01.memcache'


class Failure(NamedTuple):
    """How a conversation has failed, and when it got how far."""

    error: MemcacheError
    connection: Connection
    command: Command | None  # the last one
    start: float             # began to wait for a connection
    made: float | None       # began to connect; None for a used connection
    asked: float | None      # the last request was sent
    deadline: float


class Server:
    """One server of a cluster."""

    def __init__(self, address, pool, keeping, health, undelivered,
                 batch=MOST_BYTES):
        self.address = address
        self.batch = batch  # bytes to send at once
        self.pool = pool
        self.health = health
        self.undelivered = undelivered
        self.opened = 0  # connections so far
        self._keeping = keeping
        self._knows_meta = None  # not asked yet
        fork.register(self)

    def __repr__(self):
        return f'<Server {self.address} {self.health.state}, {self.pool!r}>'

    @property
    def name(self):
        """What tokens call it: with proxies all servers have one name."""
        return self.undelivered.name

    def run(self, command, deadline):
        """Return what the server replies to the command."""
        again = False
        while True:
            conversation = self.converse(
                (command,), deadline, deadline, again)
            try:
                conversation.send(None)
                conversation.send(deadline)
            except StopIteration as end:
                replies, failure, asked = end.value
            finally:
                # Interrupted in between, it has the connection: an exception
                # that is kept must not keep that.
                conversation.close()
            if failure is None:
                if self.health.doubts:
                    self.health.answered()
                if self._keeping.way != RELEASE and self.opened > 1:
                    self._keeping.give_way(asked)
                return replies[0]
            self.judge(failure)
            try:
                if not (failure.error.again and command.repeats):
                    raise failure.error
                deadline, again = failure.deadline, True
            finally:
                # It leads back here by its traceback.
                del failure

    def converse(self, commands, step, deadline, again=False):
        """Run some commands on one connection, while others are run too.

        A generator. Where a reply has to be waited for, it yields the
        connection and by when the reply must be there. `step`, and what it is
        sent then, is when the next step must be done. Returns a list of the
        replies, None or a `Failure`, and when the last request was sent. The
        failure is for `judge`, as soon as other servers' connections are given
        back, too: a handler of its event may need them. What is asked `again`
        was admitted before, and keeps the deadline that it had then.
        """
        replies, command = [], None
        fork.notice()
        if self.health.doubts and not again:
            deadline = self.health.admit(deadline)
        start = monotonic()
        made = asked = None
        connection = self.pool.take(min(step, deadline))
        try:
            try:
                if connection.dirty or not connection.is_usable(start):
                    made = monotonic()
                    self._connect(connection, min(step, deadline))
                for command in commands:
                    if connection.dirty:
                        made = monotonic()
                        self._connect(connection, min(step, deadline))
                    elif replies and not connection.is_quiet():
                        raise ProtocolError('more than was asked for')
                    if connection.since > command.since:
                        raise LeaseLost('the connections have ended')
                    connection.send(command.encode(), min(step, deadline))
                    asked = monotonic()
                    step = yield connection, deadline
                    replies.append(connection.receive(
                        command.read, min(step, deadline)))
            finally:
                if connection.dirty:
                    connection.abort()
                    self.pool.drop(connection)
                else:
                    self.pool.give(connection)
        except MemoryError:
            return replies, Failure(
                LocalError('no memory'), connection, command, start, made,
                asked, deadline), asked
        except MemcacheError as error:
            return replies, Failure(
                error, connection, command, start, made, asked,
                deadline), asked
        except BaseException:
            # It has decided nothing, another one may.
            self.health.undecided()
            raise
        return replies, None, asked

    def judge(self, failure):
        """Note what the failure of a conversation says of the server."""
        error, health = failure.error, self.health
        made, asked = failure.made, failure.asked
        began = made or asked or failure.start
        error.server = self.address
        if not made and is_closed(error):
            # What has befallen it may have befallen all that are as old.
            self.pool.close()
            error.again = not failure.connection.heard
        if isinstance(error, ServerError):
            self.answered()
        elif isinstance(error, LocalError) and began < failure.deadline:
            health.hindered(error)
        elif self._is_no_news(failure, began):
            health.undecided()
        elif made:
            health.failed(error, made)
        else:
            self.pool.close()
            health.doubted(error, began)

    def _is_no_news(self, failure, began):
        """Return whether the failure says nothing of the server's health."""
        error, command, deadline = (
            failure.error, failure.command, failure.deadline)
        return (
            isinstance(error, (ClientError, LeaseLost, ServerBusy, ServerDown))
            # That is how a proxy refuses what it does not know.
            or (type(error) is ReceiveError
                and command is not None and not command.everywhere)
            # This process stood still, or waited longer for a connection
            # than was left for the server.
            or (failure.asked or began) >= deadline
            or began - failure.start > deadline - began
            or (isinstance(error, (ConnectTimeout, SendTimeout))
                and monotonic() > deadline + _STILL))

    def answered(self):
        """The server has replied: it is well."""
        if self.health.doubts:
            self.health.answered()

    def run_uncommon(self, command, deadline):
        """Run a command that proxies do not know.

        They close the connection, and then answer what they know. Closed a
        second time, this is taken for a refusal, a `ClientError`.
        """
        if self.health.is_down:
            self._look(deadline)  # of this a proxy tells that it is back
        for _ in range(2):
            try:
                return self.run(command, deadline)
            except ReceiveTimeout:
                raise
            except ReceiveError as error:
                refusal = str(error)
            self._look(deadline)
        raise ClientError(refusal)

    def _look(self, deadline):
        """Raise a `MemcacheError` unless the server answers."""
        self.run(Get(_NO_KEY), deadline)

    def lends(self, deadline):
        """Return whether it knows the meta commands; it is asked once."""
        if self._knows_meta is None:
            try:
                self._knows_meta = self.run_uncommon(NoOperation(), deadline)
            except (ClientError, ServerError):
                self._knows_meta = False
        return self._knows_meta

    def is_leased(self, key, deadline):
        """Return whether an empty value is a claim; None if not known."""
        if not self.lends(deadline):
            return None
        return self.run(IsLeased(key), deadline)

    def forget_meta(self):
        """It turned out to know other commands than it did before."""
        self._knows_meta = None

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
