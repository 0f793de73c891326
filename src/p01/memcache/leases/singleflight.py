# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Single flight: one thread computes, other threads wait for its result."""

import collections
import contextlib
import threading

from p01.memcache.threads.mailbox import Mailbox


_local = threading.local()


def me():
    """Return an object that stands for this thread.

    Not its number, which another thread gets when this one has ended: what it
    looked up may outlive it.
    """
    try:
        return _local.me
    except AttributeError:
        return _local.__dict__.setdefault('me', object())


class Flight:
    """A running computation, which hands its result to the waiting threads.

    Each of its steps is one call written in C. So it can be interrupted
    anywhere, and no thread waits for ever.
    """

    def __init__(self, key, view=None):
        self.key = key
        self.view = view
        self.callers = set()  # the threads that compute, see `me`
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


class Caller:
    """A caller's part in the flights of its process, a dict by their keys.

    ``flight`` is its own, with which it waits, or computes if it is the first.
    Callers with another `view` do not join them, see `IVersions`.
    """

    def __init__(self, flights, view=None):
        self._flights = flights
        self._view = view
        self.flight = Flight(None)

    def join(self, key):
        """Return the flight of the callers that see the key in this state.

        A caller that finds another state, for example after an invalidation,
        must not get a value that was computed before.
        """
        if self.flight.key != key or self.flight.is_over:
            self.leave(self.flight, None)
            self.flight = Flight(key, self._view)
        flight = self._flights.setdefault(key, self.flight)
        return flight if flight.view == self._view else self.flight

    def leave(self, flight, found):
        if self._flights.get(flight.key) is flight:
            self._flights.pop(flight.key, None)
        flight.finish(found)
