# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Threads that use a client all the time, and note what goes wrong."""

import threading
import time

from p01.memcache.tests.support.waits import until


class Load:
    """Threads that set and read keys of their own, within a ``with``.

    ``rounds`` is how many times all is well. ``failed`` lists the operations
    that failed, ``wrong`` the values that were not the last ones, ``longest``
    is the longest operation in seconds.
    """

    def __init__(self, client, threads=8, name='load'):
        self._client = client
        self._name = name
        self._ends = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,))
            for number in range(threads)]
        self._rounds = [0] * threads
        self.failed = []
        self.wrong = []
        self.longest = 0

    @property
    def rounds(self):
        return sum(self._rounds)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *exc_info):
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, rounds=20):
        """Wait until each thread has done so many more rounds."""
        goal = [done + rounds for done in self._rounds]
        until(lambda: all(done >= wanted for done, wanted in zip(
            self._rounds, goal, strict=True)))

    def key(self, number):
        return f'{self._name} of thread {number}'

    def _run(self, number):
        key = self.key(number)
        while not self._ends.is_set():
            value = f'{key} in round {self._rounds[number]}'
            if self._timed(self._client.set, key, value) is None:
                self.failed.append((time.monotonic(), 'set'))
            else:
                found = self._timed(self._client.query, key)
                if found is None:
                    self.failed.append((time.monotonic(), 'query'))
                elif found != value:
                    self.wrong.append(found)
            self._rounds[number] += 1

    def _timed(self, operation, *args):
        start = time.monotonic()
        result = operation(*args)
        self.longest = max(self.longest, time.monotonic() - start)
        return result
