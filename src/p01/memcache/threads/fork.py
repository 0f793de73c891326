# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects that start afresh in a forked child.

A child that used its parent's sockets would read replies meant for the
parent, and a lock that another thread held at the fork stays taken for ever.

Python hears of its own forks alone. uWSGI, and other programs with Python in
them, fork without a word: so the process is compared, too, whenever a
connection, or a lock that is waited for, is about to be used.
"""

# Looking an address up imports this the first time. A child that is forked in
# the middle of it would wait for ever for the end of the import.
import encodings.idna  # noqa: F401
import os
import threading
import weakref
from os import getpid
from typing import Protocol

from p01.memcache.threads.lock import run_locked


class Starter(Protocol):
    """Starts afresh in a forked child."""

    def after_fork(self) -> None: ...


_known: weakref.WeakSet[Starter] = weakref.WeakSet()


def register(obj: Starter) -> None:
    """Have ``obj.after_fork()`` called in every forked child."""
    _known.add(obj)


def notice() -> None:
    """Start afresh if this is a child of which Python has not heard."""
    process = getpid()
    if process != _process:
        # One for each process: its parent's may be taken for ever.
        run_locked(_starting.setdefault(process, threading.RLock()),
                   _start_afresh_once, process)


def _start_afresh_once(process: int) -> None:
    if process != _process:
        _start_afresh()


def _start_afresh() -> None:
    global _process
    for obj in list(_known):
        obj.after_fork()
    # Other threads of the child wait until all is done.
    _process = getpid()


_process = getpid()
_starting: dict[int, threading.RLock] = {}

if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_start_afresh)
