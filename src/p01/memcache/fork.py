# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects that start afresh in a forked child.

A child that used its parent's sockets would read replies meant for the
parent, and a lock that another thread held at the fork stays taken for ever.
"""

# Looking an address up imports this the first time. A child that is forked in
# the middle of it would wait for ever for the end of the import.
import encodings.idna  # noqa: F401
import os
import weakref


_known = weakref.WeakSet()


def register(obj):
    """Have ``obj.after_fork()`` called in every forked child."""
    _known.add(obj)


def _after_in_child():
    for obj in list(_known):
        obj.after_fork()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_in_child)
