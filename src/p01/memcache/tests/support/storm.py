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
    """What strikes; as KeyboardInterrupt it is no ``Exception``."""


class Storm:
    """Threads that repeat an operation, and exceptions that end it anywhere.

    ``errors`` has the tracebacks of whatever else ended an operation.
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
        # A socket that is struck while it is made cannot be closed by us.
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
        """Let so many exceptions strike.

        However long they take in all: it is the next one that must come.
        """
        # Else it would mostly wait until a thread lets go of the interpreter.
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
        # The last one may strike anywhere behind the loop, or not at all.
        with contextlib.suppress(self._kind):
            while not self.stopping:
                self._work(this)
            end = monotonic() + 0.1
            while not self._ready[this] and monotonic() < end:
                pass

    def _work(self, this):
        """Operate until an exception strikes, or the storm is over."""
        try:
            self._ready[this] = True
            struck = None
            while not self.stopping:
                self._operation()
                self.operations += 1
                if self._ready[this]:
                    continue
                # What it has called may have taken the exception for its own.
                struck = struck or monotonic()
                if monotonic() - struck > 0.1:
                    return
        except self._kind:
            # It is not struck again before it is ready again.
            pass
        except BaseException as error:
            # Within a pickler it was taken for a fault of the object.
            if not isinstance(error.__cause__, self._kind):
                self.errors.append(traceback.format_exc())
                self.stopping = True
