# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Asynchronous exceptions that strike threads in the middle of their work."""

import contextlib
import ctypes
import random
import sys
import threading
import traceback
import warnings
from time import monotonic

from p01.memcache.tests.support.waits import PATIENCE


class Struck(BaseException):
    """The exception that strikes; like KeyboardInterrupt no ``Exception``."""


class Storm:
    """Threads that repeat an operation, and exceptions that interrupt it.

    ``errors`` has the tracebacks of all other exceptions.
    """

    def __init__(self, operation, threads, kind=Struck):
        self.stopping = False
        self.errors = []
        self.operations = 0
        self._operation = operation
        self._kind = kind
        self._ready = {}  # thread -> may be struck
        self._threads = [
            threading.Thread(target=self._run, daemon=True)
            for _ in range(threads)]

    def __enter__(self):
        # We cannot close a socket whose creation was interrupted.
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter('ignore', ResourceWarning)
        for thread in self._threads:
            self._ready[thread] = False
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self.stopping = True
        for thread in self._threads:
            thread.join(12 * PATIENCE)
            if thread.is_alive():
                self.errors.append('a thread does not end')
        self._warnings.__exit__(*exc_info)

    def strike(self, times):
        """Let that many exceptions strike.

        There is no limit to the time of all, only to that of the next one.
        """
        # Otherwise it would mostly wait for the interpreter lock.
        former = sys.getswitchinterval()
        sys.setswitchinterval(former / 10)
        try:
            self._strike(times)
        finally:
            sys.setswitchinterval(former)

    def _strike(self, times):
        end = monotonic() + 12 * PATIENCE
        pause = threading.Event()
        chance = random.Random(0)
        while times:
            thread = chance.choice(self._threads)
            if self._ready[thread]:
                self._ready[thread] = False
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident),
                    ctypes.py_object(self._kind))
                times -= 1
                end = monotonic() + 12 * PATIENCE
            elif monotonic() > end or not thread.is_alive():
                self.errors.append('a thread does not go on')
                return
            pause.wait(chance.random() * 0.001)

    def _run(self):
        this = threading.current_thread()
        # The last one may strike anywhere after the loop, or not at all.
        with contextlib.suppress(self._kind):
            while not self.stopping:
                self._work(this)
            end = monotonic() + 0.1
            while not self._ready[this] and monotonic() < end:
                pass

    def _work(self, this):
        """Repeat the operation until it is struck, or the storm ends."""
        try:
            self._ready[this] = True
            struck = None
            while not self.stopping:
                self._operation()
                self.operations += 1
                if self._ready[this]:
                    continue
                # Something that it called may have swallowed the exception.
                struck = struck or monotonic()
                if monotonic() - struck > 0.1:
                    return
        except self._kind:
            # It is not struck again before it is ready again.
            pass
        except BaseException as error:
            # Within a pickler it looks like a failure of the object.
            if not isinstance(error.__cause__, self._kind):
                self.errors.append(traceback.format_exc())
                self.stopping = True
