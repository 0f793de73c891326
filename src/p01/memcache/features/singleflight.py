# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Single flight: one thread computes, other threads wait for its result."""

import collections
import contextlib

from p01.memcache.threads.mailbox import Mailbox


class Flight:
    """A running computation, which hands its result to the waiting threads.

    Each of its steps is one call written in C. So it can be interrupted
    anywhere, and no thread waits for ever.
    """

    def __init__(self, key):
        self.key = key
        self.threads = set()  # those that compute
        self._waiting = collections.deque()
        self.is_over = False

    def wait(self, seconds):
        """Return ``(data, flags)``, or None for no result, or none in time."""
        mailbox = Mailbox()
        self._waiting.append(mailbox)
        if self.is_over:
            return None  # `finish` may have missed this mailbox
        try:
            return mailbox.get(seconds)
        except IndexError:
            return None

    def finish(self, found):
        """Give the waiting threads ``(data, flags)``, or None: look again."""
        self.is_over = True
        with contextlib.suppress(IndexError):  # two threads may be finishing
            while True:
                self._waiting.popleft().put(found)
