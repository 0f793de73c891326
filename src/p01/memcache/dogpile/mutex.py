# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The mutex of a key: one thread of one process creates its value."""

import threading
import time
import uuid

from dogpile.cache.api import CacheMutex


# Seconds between two looks at a lock that another process holds.
_SHORTEST, _LONGEST = 0.01, 0.25


class Mutex(CacheMutex):
    """A lock in memcached, behind one that the threads of the process share.

    A region makes one for all of its threads. It is released by the thread
    that acquired it, or by that of an asynchronous creator.

    The lock in memcached ends after `timeout` seconds, if its process dies; a
    second is added, as memcached may end it so much early. While memcached is
    down there is none: then a value is created once in each process.
    """

    def __init__(self, backend, key, timeout):
        self._backend = backend
        self._key = 'p01.memcache.dogpile.mutex', key
        self._timeout = timeout
        self._local = threading.Lock()
        self._mine = None

    def acquire(self, wait=True):
        if not self._local.acquire(wait):
            return False
        acquired = False
        try:
            acquired = self._acquire(wait)
        finally:
            if not acquired:
                self._local.release()
        return acquired

    def _acquire(self, wait):
        mine, pause = uuid.uuid4().hex, _SHORTEST
        client = self._backend.client.immediate()
        # None is trouble: go on without.
        while client.add(self._key, mine, self._timeout + 1) is False:
            if not wait:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
        self._mine = mine
        return True

    def release(self):
        mine, self._mine = self._mine, None
        try:
            client = self._backend.client.immediate()
            holder, token = client.gets(self._key)
            # It may have ended, and be that of another process.
            if token is not None and holder == mine:
                client.invalidateUnchanged(self._key, token)
        finally:
            self._local.release()

    def locked(self):
        client = self._backend.client.immediate()
        return self._local.locked() or client.query(self._key) is not None
