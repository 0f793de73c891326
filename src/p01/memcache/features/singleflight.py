# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What one thread computes, and other threads of the process wait for."""

import collections
import contextlib

from p01.memcache.threads.mailbox import Mailbox


class Flight:
    """Tells the waiting threads how it ended. All its steps are calls of C.

    So it can be interrupted anywhere, and nobody waits for ever.
    """

    def __init__(self, key):
        self.key = key
        self.threads = set()  # that compute
        self._waiting = collections.deque()
        self.is_over = False

    def wait(self, seconds):
        """Return ``(data, flags)``, or None if there is none, or not yet."""
        mailbox = Mailbox()
        self._waiting.append(mailbox)
        if self.is_over:
            return None  # perhaps too late to be told
        try:
            return mailbox.get(seconds)
        except IndexError:
            return None

    def finish(self, found):
        """Give those who wait ``(data, flags)``, or None to look again."""
        self.is_over = True
        with contextlib.suppress(IndexError):  # another one is at it, too
            while True:
                self._waiting.popleft().put(found)
