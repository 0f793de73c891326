# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of a look-up, the split form of `getOrCreate`."""

from zope.interface import Attribute
from zope.interface import Interface


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class ILookUp(Interface):
    """What `IMemcacheWriter.lookUp` found: a value, or the right to compute.

    A hit has ended already. A miss ends with `store` or `release`, once: to
    end it twice, or to end a hit, is a ``RuntimeError``. A miss that is
    dropped without that is released: when it is garbage-collected, as with
    its thread, or at the end of its ``with`` block, with or without an
    exception. (An exception that is kept, with its traceback, keeps the
    look-ups of its frames. So use ``with``.)

    Another thread may end a miss. To a forked child it belongs no more: there,
    `release` does nothing, and the parent may still store.
    """

    isHit = Attribute('Whether there is a value: True or False.')

    value = Attribute('The value of a hit; None for a miss.')

    isAway = Attribute(
        'Whether it is a miss because a server did not answer. Then nothing '
        'will be stored.')

    def store(value):
        """Store the value that was computed, and end the look-up.

        It is stored with the lifetime, grace and dependencies of the look-up.
        The callers that wait for it get it.

        Returns the built key, or None if it is not stored: see `set`; and if
        the key, or a dependency, was changed or invalidated since it was
        looked up, if the right has ended (see `getOrCreate`), or if another
        caller was faster. If only a dependency was invalidated, the built key
        is returned, and the value is a miss nevertheless.

        A value that cannot be serialized is a ``SerializationError``, and
        ends the look-up as well.
        """

    def release():
        """End the look-up without a value; the next caller may compute it."""

    def __enter__():
        """Return the look-up itself."""

    def __exit__(kind, error, traceback):
        """Release the right, if the look-up has not ended."""
