# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A watch over sources: it looks for their lists again and again.

A look takes its own time, in a thread of its own, which begins when an
operation finds that it is due, and ends with the look. So a process that does
nothing looks for nothing, and a fork finds no thread. If the process has been
idle, or stood still, the list may have changed long ago: then operations wait
for the look, for a part of their time.
"""

import _thread
import contextlib
import math
import threading
import weakref
from collections.abc import Callable
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from p01.memcache.discovery.source import Source
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import forget_traceback
from p01.memcache.log import logger
from p01.memcache.threads import fork
from p01.memcache.threads.mailbox import Mailbox
from p01.memcache.threads.turn import Turn
from p01.memcache.transport.address import Address


#: Seconds that a look may take, also beyond the time when it is due.
PATIENCE = 3

# Seconds between two looks at least, however often servers fail; and after a
# look at a source that had no list.
_LEAST, _AGAIN = 1, 5


class Follower(Protocol):

    def follow(self) -> None:
        """Use what has been found now, if that is something new."""


class _Look:
    """A look under way. It exists as long as its thread runs."""

    def __init__(self, since: float, is_overdue: bool) -> None:
        self.since = since
        self.is_overdue = is_overdue
        self.is_over = False
        self.thread: int | None = None
        # A mailbox of each thread that waits.
        self._waiting: list[Mailbox[None]] = []

    def wait(self, deadline: float) -> None:
        mailbox: Mailbox[None] = Mailbox()
        self._waiting.append(mailbox)
        if not self.is_over:
            with contextlib.suppress(IndexError):
                mailbox.get(deadline - monotonic())

    def end(self) -> None:
        self.is_over = True
        for mailbox in self._waiting:
            mailbox.put(None)


class Watch:
    """What the `sources` list, each looked at after `refresh` seconds.

    ``find(source, deadline)`` returns the addresses, or raises a
    `MemcacheError`: then those that were found before remain. ``found`` is a
    dict of the sources that have answered yet, and their addresses.
    """

    def __init__(self, sources: Sequence[Source], refresh: float,
                 find: Callable[[Source, float], list[Address]]) -> None:
        self.sources = sources
        self.found: dict[Source, list[Address]] = {}
        self._refresh = refresh
        self._find = find
        # A weak set cannot be iterated over while a thread adds to it.
        self._followers: set[weakref.ref[Follower]] = set()
        self._missing: set[Source] = set()  # could not be had the last time
        self._began = -math.inf  # the last look
        self._due = 0.0
        self._is_hurried = False  # since the last look began
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        # The thread of a look belongs to the parent.
        self._look: weakref.ref[_Look] | None = None
        self._beginning = Turn()

    def add(self, follower: Follower) -> None:
        """Have the follower hear of each change."""
        self._followers.add(
            weakref.ref(follower, self._followers.discard))

    def tick(self, deadline: float) -> None:
        """Begin a look if one is due; wait for it if it is overdue."""
        if monotonic() < self._due:
            return
        fork.notice()
        look = self._running() or self._begin()
        # A subscriber to the event of a change may use a client, too.
        if (look is not None and look.is_overdue
                and look.thread != threading.get_ident()):
            now = monotonic()
            look.wait(min(look.since + PATIENCE, (now + deadline) / 2))

    def wait(self) -> None:
        """Look for the first time."""
        self.tick(monotonic() + 2 * PATIENCE)

    def hurry(self) -> None:
        """Have the next operation look: a server has failed."""
        self._is_hurried = True
        self._due = min(self._due, self._began + _LEAST)

    def _running(self) -> _Look | None:
        look = self._look() if self._look is not None else None
        # The traceback of a log may keep one that is over.
        return None if look is None or look.is_over else look

    def _begin(self) -> _Look | None:
        with self._beginning.soon():
            now = monotonic()
            running = self._running()
            if running is not None or now < self._due:
                return running
            look = _Look(
                now, now > self._began + self._refresh + PATIENCE)
            self._look = weakref.ref(look)
            try:
                _thread.start_new_thread(self._run, (look,))
                return look
            except RuntimeError as error:  # no thread can be started
                self._due = now + _LEAST
                look.end()
                logger.warning('memcached servers: not looked for: %s', error)
        return None

    def _run(self, look: _Look) -> None:
        try:
            look.thread = threading.get_ident()
            # Only here: the start of the thread may have failed.
            self._began, self._is_hurried = look.since, False
            for left, source in zip(range(len(self.sources), 0, -1),
                                    self.sources, strict=True):
                now = monotonic()
                self._ask(source, now + max(
                    look.since + PATIENCE - now, 0) / left)
            for reference in list(self._followers):
                follower = reference()
                if follower is not None:
                    follower.follow()
        except Exception:
            logger.exception('memcached servers: not found')
        finally:
            pause = self._refresh
            if self._missing:
                pause = min(pause, _AGAIN)
            if self._is_hurried:
                pause = min(pause, _LEAST)
            self._due = look.since + pause
            look.end()

    def _ask(self, source: Source, deadline: float) -> None:
        try:
            servers = self._find(source, deadline)
        except MemcacheError as error:
            forget_traceback(error)
            if source not in self._missing:
                self._missing.add(source)
                logger.warning(
                    'memcached servers: no list from %s: %s', source, error)
            return
        self.found = {**self.found, source: servers}
        if source in self._missing:
            self._missing.discard(source)
            logger.warning('memcached servers: %s lists them again', source)
