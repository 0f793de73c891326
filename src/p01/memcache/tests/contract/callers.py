# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Callers of `getOrCreate`, in threads of their own, and factories."""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

from p01.memcache.features.computing import Computation
from p01.memcache.features.many import OneOfMany
from p01.memcache.tests.support.quiet import keep_quiet
from p01.memcache.tests.support.waits import PATIENCE
from p01.memcache.tests.support.waits import until


SHORT = 0.2  # seconds of a wait that is in vain


class Factory:
    """Returns a value, or raises an error, and counts its calls.

    A `slow` one sets ``begun``, and then waits for ``go_on``.
    """

    def __init__(self, value='computed', slow=False):
        self.value = value
        self.calls = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()
        if not slow:
            self.go_on.set()
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.calls += 1
        self.begun.set()
        if not self.go_on.wait(PATIENCE):
            raise AssertionError('the factory was never told to go on')
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def strike(ident, error):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(error))


class Callers:
    """Calls in threads of their own."""

    def setUp(self):
        super().setUp()
        keep_quiet(self)
        self._executor = ThreadPoolExecutor(120)
        self._local = threading.local()
        self.addCleanup(self._executor.shutdown)

    def begin(self, client, factory, key='key', **kw):
        """Return the future of a call in a thread of its own."""
        def call():
            self._local.call = object()
            return client.getOrCreate(key, factory, **kw)

        return self._executor.submit(call)

    def computing(self, client, factory, **kw):
        """Like `begin`, but return only once the factory has begun."""
        future = self.begin(client, factory, **kw)
        self.assertTrue(factory.begun.wait(PATIENCE))
        return future

    def lookers(self, client):
        """Return a list that records each look of the client's calls."""
        looks = []

        def noting(look):
            def looked(computation, *args):
                try:
                    return look(computation, *args)
                finally:
                    if computation._state is client._state:
                        looks.append(getattr(self._local, 'call', None))

            return looked

        for kind, name in (Computation, '_look'), (OneOfMany, 'take'):
            self.enterContext(mock.patch.object(
                kind, name, noting(getattr(kind, name))))
        return looks

    def waiting(self, client, number, factory, **kw):
        """Return futures of that many calls, once all of them have looked."""
        looks = self.lookers(client)
        futures = [self.begin(client, factory, **kw) for _ in range(number)]
        until(lambda: len(set(looks)) >= number)
        return futures

    def results(self, futures):
        return [future.result(PATIENCE) for future in futures]
