# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Interrupting an operation at each of its steps, one after the other.

A `storm` strikes at random, and so hardly ever hits a rare step. Here each
step has its turn: a line of the package, or an instruction.
"""

import contextlib
import dis
import functools
import os
import sys
import threading

import p01.memcache


_FILES = (os.path.dirname(p01.memcache.__file__), contextlib.__file__)
_TESTS = os.path.join(_FILES[0], 'tests')


# Only a tracer's exceptions may get here: Python would go on handling the
# former one for ever.
_CLEANUP = frozenset(
    dis.opmap[name] for name in ('POP_EXCEPT', 'RERAISE', 'COPY')
    if name in dis.opmap)


def _is_cleanup(frame):
    return (frame.f_lineno is None
            or frame.f_code.co_code[frame.f_lasti] in _CLEANUP)


class _Tracer:

    def __init__(self, number, act, opcodes):
        self.left = number
        self._act = act
        self._opcodes = opcodes

    def trace(self, frame, event, arg):
        name = frame.f_code.co_filename
        if not name.startswith(_FILES) or name.startswith(_TESTS):
            return None
        if self._opcodes:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self._step

    def _step(self, frame, event, arg):
        if event == 'line' or event == 'opcode' and not _is_cleanup(frame):
            self.left -= 1
            if not self.left:
                # Nothing is traced in it, nor behind it.
                frame.f_trace = None
                sys.settrace(None)
                self._act()
        return self._step


def act_at(number, operation, act, opcodes=False):
    """Call `act` at a step of the operation; return whether it has that many.

    `act` may raise an exception, which ends the operation there.
    """
    tracer, former = _Tracer(number, act, opcodes), sys.gettrace()
    sys.settrace(tracer.trace)
    try:
        operation()
    finally:
        sys.settrace(former)
    return tracer.left <= 0


def in_a_thread(function):
    """Decorate a function: each call runs in a thread of its own.

    After a strike between two instructions, CPython may take an exception that
    was handled for the current one: in the whole thread, from then on.
    """
    @functools.wraps(function)
    def call(*args, **kw):
        results, errors = [], []

        def run():
            try:
                results.append(function(*args, **kw))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    return call
