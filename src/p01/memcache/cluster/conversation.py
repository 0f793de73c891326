# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A conversation with a server: what it yields, and how it ends."""

from collections.abc import Generator
from typing import Any
from typing import NamedTuple

from p01.memcache.errors import MemcacheError
from p01.memcache.transport.connection import Connection
from p01.memcache.wire.command import Command


class Failure(NamedTuple):
    """How a conversation failed, and when it reached each step."""

    error: MemcacheError
    connection: Connection
    command: Command | None  # the last one
    since: float             # began to ask other servers, too
    start: float             # began to wait for a connection
    made: float | None       # began to connect; None for a used connection
    asked: float | None      # the last request was sent
    deadline: float


#: The replies so far, a failure, and when the last request was sent.
Outcome = tuple[list[Any], Failure | None, float | None]

#: Yields a connection and by when its reply must have arrived, and is sent by
#: when the next step must be done. See `Server.converse`.
Conversation = Generator[tuple[Connection, float], Any, Outcome]
