# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An exchange with several servers at the same time, in one thread.

All are sent what is for them, and then the replies are read, of whichever
server is the first to send one. Steps that wait for a single server leave
time for the others.
"""

import selectors
from functools import partial
from time import monotonic

from p01.memcache.errors import MemcacheError


def share(deadline, count):
    """Return by when the first of `count` that need time must be done."""
    now = monotonic()
    return now + (deadline - now) / count


def count_down(work):
    """Yield how many are left, and the next of them."""
    return zip(range(len(work), 0, -1), list(work.items()), strict=True)


def detach(reply):
    """Have an error that is kept not keep the frames that it came through.

    They have all the values, and the connection, which would not be free for
    others when its next user is interrupted and drops it.
    """
    if isinstance(reply, MemcacheError):
        reply.__traceback__ = reply.__cause__ = reply.__context__ = None


def exchange(work, deadline):
    """Run each server's commands, all servers at the same time.

    `work` maps servers to their commands, see `Server.converse`. Returns a
    dict of each server and its replies or error.
    """
    results, pending, verdicts = {}, {}, []

    def go_on(server, conversation, step):
        try:
            pending[server] = conversation, *conversation.send(step)
        except StopIteration as end:
            results[server], failure, _ = end.value
            if failure is None:
                verdicts.append(server.answered)
            else:
                results[server] = failure.error
                verdicts.append(partial(server.judge, failure))
        except MemcacheError as error:
            # It was not asked, and no connection to it was had.
            results[server] = error
        if server in results:
            detach(results[server])
            pending.pop(server, None)

    try:
        # Always in the same order, so that two threads do not wait for the
        # connections that the other one has.
        for left, (server, commands) in count_down(work):
            go_on(server, server.converse(
                commands, share(deadline, left + len(pending)), deadline),
                None)
        while pending:
            for server in _ready(pending):
                # One that stops within a reply leaves time for the others.
                go_on(server, pending[server][0],
                      share(deadline, len(pending)))
    finally:
        for conversation, *_ in pending.values():
            conversation.close()
    for note in verdicts:
        note()
    return {server: results[server] for server in work}


def exchange_with(servers, ask, deadline, again=True):
    """Run the commands ``ask(server)`` of each, all at the same time.

    `Again`, where a used connection turned out to be closed, those that it
    returns then. Returns a dict of the servers and their replies or error.
    """
    results = exchange({server: ask(server) for server in servers}, deadline)
    lost = [server for server, reply in results.items()
            if isinstance(reply, MemcacheError) and reply.again]
    if again and lost:
        results.update(exchange_with(lost, ask, deadline, again=False))
    return results


def _ready(pending):
    """Wait; return those that have sent something, or whose time is over."""
    if len(pending) == 1:
        return list(pending)
    # At the time of the call: gevent has its own.
    selector = getattr(selectors, 'PollSelector', selectors.SelectSelector)
    with selector() as waiting:
        for server, (_, connection, _) in pending.items():
            waiting.register(connection, selectors.EVENT_READ, server)
        first = min(limit for *_, limit in pending.values())
        ready = [key.data for key, _ in
                 waiting.select(max(first - monotonic(), 0))]
    now = monotonic()
    return ready + [server for server, (*_, limit) in pending.items()
                    if limit <= now and server not in ready]
