# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One server: conversations with it, its pool of connections and its health.
"""

import math
from collections.abc import Iterable
from os import getpid
from time import monotonic
from typing import Any

from p01.memcache.cluster.connections import Connections
from p01.memcache.cluster.conversation import Conversation
from p01.memcache.cluster.conversation import Failure
from p01.memcache.counts import steps
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.errors import is_closed
from p01.memcache.health.health import Health
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.threads import fork
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.lockkeeping import RELEASE
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.trust.trust import NO_TRUST
from p01.memcache.trust.trust import Trust
from p01.memcache.wire.batch import MOST_BYTES
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Get
from p01.memcache.wire.meta import IsLeased
from p01.memcache.wire.meta import NoOperation


# Seconds. A wait without a last look that ends so much later than the deadline
# shows that this process stood still.
_STILL = 0.05

#: A key without a value, to see whether a server answers.
NO_KEY = b'p01.memcache'


class Server:
    """One server of a cluster."""

    def __init__(self, address: str, pool: Connections,
                 keeping: LockKeeping, health: Health,
                 undelivered: Undelivered, batch: int = MOST_BYTES,
                 trust: Trust = NO_TRUST,
                 connect_timeout: float | None = None) -> None:
        self.address = address
        self.batch = batch  # bytes to send at once
        self.pool = pool
        self.health = health
        self.undelivered = undelivered
        #: Its name in tokens, which is the same for all proxies.
        self.name = undelivered.name
        self.opened = 0  # connections so far
        self.broken = 0  # of these
        self._keeping = keeping
        self._trust = trust
        self._connect_timeout = (
            math.inf if connect_timeout is None else connect_timeout)
        self._knows_meta: bool | None = None  # not asked yet
        fork.register(self)

    def __repr__(self) -> str:
        return f'<Server {self.address} {self.health.state}, {self.pool!r}>'

    def run(self, command: Command, deadline: float) -> Any:
        """Return the server's reply to the command."""
        again = False
        while True:
            try:
                # With no other conversation to run it never yields.
                self.converse(
                    (command,), math.inf, deadline, again).send(None)
            except StopIteration as end:
                replies, failure, asked = end.value
            if failure is None:
                if self.health.doubts:
                    self.health.answered()
                if self._keeping.way is not RELEASE and self.opened > 1:
                    self._keeping.give_way(asked)
                return replies[0]
            self.judge(failure)
            try:
                if not (failure.error.again and command.repeats):
                    raise failure.error
                deadline, again = failure.deadline, True
            finally:
                # Its traceback leads back here.
                del failure

    def converse(self, commands: Iterable[Command], step: float,
                 deadline: float, again: bool = False,
                 since: float = math.inf) -> Conversation:
        """Run some commands on one connection, step by step.

        A generator that yields where it would wait for a reply, so that other
        servers have their turn, unless `step` is infinite. `step`, and then
        what it is sent, is by when the next step must be done. A failure is
        for `judge`, as soon as the connections to other servers are back in
        their pools: a subscriber to the event may need them. A command that
        is sent `again` was admitted before, and keeps its deadline. Other
        servers are being asked since the time `since`.
        """
        replies: list[Any] = []
        command = None
        if getpid() != fork.process:
            fork.notice()
        if self.health.doubts and not again:
            deadline = self.health.admit(deadline, self._trust.has_news())
        start = monotonic()
        made = asked = None
        connection = self.pool.take(min(step, deadline))
        try:
            try:
                if connection.dirty or not connection.is_usable(start):
                    made = monotonic()
                    self._connect(connection, made, min(step, deadline))
                for command in commands:
                    if connection.dirty:
                        made = monotonic()
                        self._connect(connection, made, min(step, deadline))
                    elif replies and not connection.is_quiet():
                        raise ProtocolError('more than was asked for')
                    if connection.since > command.since:
                        raise LeaseLost('the connections have ended')
                    connection.send(command.encode(), min(step, deadline))
                    asked = monotonic()
                    if step != math.inf:
                        step = yield connection, deadline
                    replies.append(connection.receive(
                        command.read, min(step, deadline)))
            finally:
                if connection.dirty:
                    # Otherwise it has not been connected.
                    if asked or not made:
                        self.broken += 1
                    connection.abort()
                    self.pool.drop(connection)
                else:
                    self.pool.give(connection)
        except MemoryError:
            return replies, Failure(
                LocalError('no memory'), connection, command, since, start,
                made, asked, deadline), asked
        except MemcacheError as error:
            return replies, Failure(
                error, connection, command, since, start, made, asked,
                deadline), asked
        except BaseException:
            # It has decided nothing, another one may.
            self.health.undecided()
            raise
        return replies, None, asked

    def judge(self, failure: Failure) -> None:
        """Note what the failure of a conversation says about the server."""
        error, health = failure.error, self.health
        made, asked = failure.made, failure.asked
        began = made or asked or failure.start
        error.server = self.address
        if isinstance(error, (SendError, ReceiveError)):
            steps.note('send' if isinstance(error, SendError) else 'receive',
                       self.address, asked or began)
        if not made and is_closed(error):
            # Others that are as old may have been closed, too.
            self.pool.close()
            error.again = not failure.connection.heard
        elif made and is_closed(error) and self._trust.has_changed(made):
            error.again = not failure.connection.heard
            health.undecided()
            return
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

    def _is_no_news(self, failure: Failure, began: float) -> bool:
        """Return whether the failure says nothing about the server."""
        error, command, deadline = (
            failure.error, failure.command, failure.deadline)
        return (
            isinstance(error, (ClientError, LeaseLost, ServerBusy, ServerDown))
            # This is how a proxy refuses a command that it does not know.
            or (type(error) is ReceiveError
                and command is not None and not command.everywhere)
            # This process stood still, or waited longer for a connection than
            # the server had time left; or others took most of the time.
            or (failure.asked or began) >= deadline
            or began - failure.start > deadline - began
            or began - failure.since > 3 * (deadline - began)
            or (isinstance(error, (ConnectTimeout, SendTimeout))
                and monotonic() > deadline + _STILL))

    def answered(self) -> None:
        """Note a reply: the server is well."""
        if self.health.doubts:
            self.health.answered()

    def run_uncommon(self, command: Command, deadline: float) -> Any:
        """Run a command that proxies do not know.

        They close the connection, but answer other commands. If they close it
        a second time, this is taken for a refusal, a `ClientError`.
        """
        if self.health.is_down:
            self._look(deadline)  # a proxy would not answer the command
        for _ in range(2):
            try:
                return self.run(command, deadline)
            except ReceiveTimeout:
                raise
            except ReceiveError as error:
                refusal = str(error)
            self._look(deadline)
        raise ClientError(refusal)

    def _look(self, deadline: float) -> None:
        """Raise a `MemcacheError` unless the server answers."""
        self.run(Get(NO_KEY), deadline)

    def lends(self, deadline: float) -> bool:
        """Return whether it knows the meta commands; it is asked once."""
        if self._knows_meta is None:
            try:
                self._knows_meta = self.run_uncommon(NoOperation(), deadline)
            except (ClientError, ServerError):
                self._knows_meta = False
        return self._knows_meta

    def is_leased(self, key: bytes, deadline: float) -> bool | None:
        """Return whether an empty value is a claim; None if not known."""
        if not self.lends(deadline):
            return None
        leased: bool = self.run(IsLeased(key), deadline)
        return leased

    def forget_meta(self) -> None:
        """Ask again: it turned out to know other commands now."""
        self._knows_meta = None

    def statistics(self) -> dict[str, int]:
        return {**self.pool.statistics(), 'opened': self.opened}

    def describe(self) -> dict[str, Any]:
        """See `IUltraMemcacheStatistics.getServers`."""
        health = self.health
        state, changed = health.state, health.changed_at
        return {
            'server': self.address, 'state': state,
            'since': monotonic() - changed if changed else 0.0,
            'reason': None if state == 'up' else health.reason,
            'nextProbe': health.pause,
            **self.statistics(), 'waiting': self.pool.waiting,
            'broken': self.broken, 'owed': self.undelivered.owed,
            'drained': False}

    def close(self) -> None:
        self.pool.close()

    def after_fork(self) -> None:
        self.pool.after_fork()

    def _connect(self, connection: Connection, now: float,
                 deadline: float) -> None:
        # Whatever has arrived meanwhile, it is not used again.
        connection.close()
        self.health.admit_connect(deadline)
        limit = now + self._connect_timeout
        try:
            try:
                connection.connect(min(limit, deadline))
            finally:
                steps.note('connect', self.address, now)
        except (ConnectTimeout, SendTimeout, ReceiveTimeout) as error:
            if limit >= deadline:
                raise
            if monotonic() > limit + _STILL:
                raise LocalError('this process stood still') from error
            # The login's time-outs, too: no connection has been made.
            raise ConnectTimeout(
                f'no connection within {self._connect_timeout:g} seconds:'
                f' {error}') from error
        self.health.connected()
        self.opened += 1
