# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An exchange with several servers at the same time, in one thread.

Each server is sent its request, and then the replies are read in the order in
which they arrive. Steps that wait for a single server leave time for the
others.
"""

import selectors
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from p01.memcache.cluster.conversation import Conversation
from p01.memcache.cluster.server import Server
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import forget_traceback
from p01.memcache.transport.connection import Connection
from p01.memcache.wire.command import Command


K = TypeVar('K')
V = TypeVar('V')


# The least part of the time that is left for one server. Of hundreds, hardly
# one needs time: an equal share would not do for a healthy one to connect.
_PARTS = 8


def share(deadline: float, count: int) -> float:
    """Return by when the first of `count` that need time must be done."""
    now = monotonic()
    return now + (deadline - now) / min(count, _PARTS)


def count_down(work: Mapping[K, V]) -> Iterator[tuple[int, tuple[K, V]]]:
    """Yield how many are left, and the next of them."""
    return zip(range(len(work), 0, -1), list(work.items()), strict=True)


class _Pending(NamedTuple):
    """A conversation that waits for a reply until a limit."""

    conversation: Conversation
    connection: Connection
    limit: float


def exchange(work: Mapping[Server, Iterable[Command]],
             deadline: float) -> dict[Server, Any]:
    """Run each server's commands, all servers at the same time.

    Returns a dict of each server and its list of replies, or its error.
    """
    results: dict[Server, Any] = {}
    pending: dict[Server, _Pending] = {}
    verdicts: list[Callable[[], None]] = []
    begin = monotonic()

    def go_on(server: Server, conversation: Conversation,
              step: float | None) -> None:
        try:
            pending[server] = _Pending(conversation, *conversation.send(step))
            return
        except StopIteration as end:
            results[server], failure, _ = end.value
            if failure is None:
                verdicts.append(server.answered)
            else:
                results[server] = failure.error
                verdicts.append(partial(server.judge, failure))
                forget_traceback(failure.error)
        except MemcacheError as error:
            # It got no connection, and sent nothing.
            results[server] = error
            forget_traceback(error)
        pending.pop(server, None)

    try:
        # Always in the same order, so that no two threads wait for each
        # other's connections.
        for left, (server, commands) in count_down(work):
            go_on(server, server.converse(
                commands, share(deadline, left + len(pending)), deadline,
                since=begin), None)
        while pending:
            for server in _ready(pending):
                # One that stops within a reply leaves time for the others.
                go_on(server, pending[server].conversation,
                      share(deadline, len(pending)))
    finally:
        for left_over in pending.values():
            left_over.conversation.close()
    for note in verdicts:
        note()
    return {server: results[server] for server in work}


def exchange_with(servers: Iterable[Server],
                  ask: Callable[[Server], Iterable[Command]],
                  deadline: float, again: bool = True) -> dict[Server, Any]:
    """Run the commands ``ask(server)`` of each, all at the same time.

    `Again`, where a used connection turned out to be closed, those that it
    returns then. Returns a dict of each server and its replies or error.
    """
    results = exchange({server: ask(server) for server in servers}, deadline)
    lost = [server for server, reply in results.items()
            if isinstance(reply, MemcacheError) and reply.again]
    if again and lost:
        results.update(exchange_with(lost, ask, deadline, again=False))
    return results


def _ready(pending: Mapping[Server, _Pending]) -> list[Server]:
    """Wait; return servers that have sent something or whose time is up."""
    if len(pending) == 1:
        return list(pending)
    arrived = [server for server, one in pending.items()
               if one.connection.has_input()]
    if arrived and monotonic() < min(one.limit for one in pending.values()):
        return arrived  # as mostly: asking the other servers took a while
    # Looked up at the time of the call: gevent has its own.
    selector = getattr(selectors, 'PollSelector', selectors.SelectSelector)
    with selector() as waiting:
        for server, one in pending.items():
            waiting.register(one.connection, selectors.EVENT_READ, server)
        first = min(one.limit for one in pending.values())
        ready = [key.data for key, _ in
                 waiting.select(max(first - monotonic(), 0))]
    now = monotonic()
    return ready + [server for server, one in pending.items()
                    if one.limit <= now and server not in ready]
