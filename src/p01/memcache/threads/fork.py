# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects that start afresh in a forked child.

A child that used its parent's sockets would read replies meant for the
parent, and a lock that another thread held at the fork stays taken for ever.

Python notices only its own forks. uWSGI, and other programs that embed Python,
fork without it: so before a connection, or a lock that is waited for, is used,
the process is compared, too.
"""

# The first look-up of an address imports this. A child that is forked in the
# middle of it would wait for ever for the end of the import.
import encodings.idna  # noqa: F401
import os
import threading
import weakref
from os import getpid
from typing import Protocol

from p01.memcache.threads.lock import run_locked


class Starter(Protocol):
    """An object that starts afresh in a forked child."""

    def after_fork(self) -> None: ...


_known: weakref.WeakSet[Starter] = weakref.WeakSet()


def register(obj: Starter) -> None:
    """Have ``obj.after_fork()`` called in every forked child."""
    _known.add(obj)


def notice() -> None:
    """Start afresh if this is a child whose fork Python did not notice."""
    here = getpid()
    if here != process:
        # One for each process: its parent's may be taken for ever.
        run_locked(_starting.setdefault(here, threading.RLock()),
                   _start_afresh_once, here)


def _start_afresh_once(here: int) -> None:
    if here != process:
        _start_afresh()


def _start_afresh() -> None:
    global process
    for obj in list(_known):
        obj.after_fork()
    # Other threads of the child wait until all is done.
    process = getpid()


#: The process for which all has started afresh.
process = getpid()

_starting: dict[int, threading.RLock] = {}

if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_start_afresh)
