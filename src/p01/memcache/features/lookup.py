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
    """See `ILookUp`."""

    isHit = False
    value = None

    def __init__(self, computation, builtKey):
        self._computation = computation
        self._builtKey = builtKey
        self._process = getpid()
        self._rights = []  # one, until it ends; taking it is one step

    def begin(self):
        """Look; this is no part of the interface."""
        try:
            value = self._computation.begin()
        except BaseException:
            self._give_back()
            raise
        if value is MISSING:
            self._rights.append(self._builtKey)
        else:
            self.isHit, self.value = True, value

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
