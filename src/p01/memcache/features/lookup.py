# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A look-up: a value, or the right to compute it, in the hands of a caller."""

import contextlib
from os import getpid

from zope.interface import implementer

from p01.memcache.features.looking import MISSING
from p01.memcache.interfaces import ILookUp


@implementer(ILookUp)
class LookUp:
    """See `ILookUp`.

    It begins with what the computation has found. It is not there before: an
    error that is kept keeps the frames in which it came up, and what these
    refer to would not be dropped.
    """

    # On the class, too: Zope warns about a permission for an attribute that
    # only the instances have.
    isHit = False
    value = None

    def __init__(self, computation, builtKey, found):
        self._computation = computation
        self._builtKey = builtKey
        self._process = getpid()
        # One, until it ends; taking it is one step.
        self._rights = [builtKey] if found is MISSING else []
        self.isHit = found is not MISSING
        self.value = found if self.isHit else None

    @property
    def isAway(self):
        return not self.isHit and self._computation.is_away

    def store(self, value):
        self._take('store')
        return self._builtKey if self._computation.store(value) else None

    def release(self):
        self._take('release')
        self._give_back()

    def _take(self, what):
        try:
            self._rights.pop()
        except IndexError:
            raise RuntimeError(
                f'key {self._builtKey}: nothing to {what}, the look-up '
                + ('is a hit' if self.isHit else 'has ended')) from None

    def _give_back(self):
        # In a forked child it is the parent's.
        if getpid() == self._process:
            self._computation.release()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if self._rights:
            self.release()

    def __del__(self):
        # Also if an exception came up on the way. When the interpreter ends,
        # what is needed may be gone.
        with contextlib.suppress(Exception):
            self._give_back()
