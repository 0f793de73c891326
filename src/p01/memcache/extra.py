# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The extra that a package belongs to, named by the error without it."""

from contextlib import contextmanager


@contextmanager
def extra(name):
    """Have the error of an import that fails name the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        error.msg += f'; the extra "{name}" of p01.memcache installs it'
        raise
