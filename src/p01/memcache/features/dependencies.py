# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Dependencies: reads the current version of each, and makes missing ones.

Each version is stored under a key of its own. Removing that key makes every
value obsolete that depends on it: the next caller that needs a version makes
one that never existed before. So a version that memcached loses does no harm.
For how a value notes its versions, see `p01.memcache.values.stamp`.

`IVersions` is the seam to what else a version may be.
"""

from zope.interface import Interface
from zope.interface import implementer

from p01.memcache.errors import MemcacheError
from p01.memcache.store import AddVersion
from p01.memcache.store import first_of
from p01.memcache.values import stamp
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire.command import Delete


class Outdated(MemcacheError):
    """What a transaction sees of the database is not what others see.

    It sees an older snapshot, or what it sees is being changed. So what it
    computes is not stored. That is no trouble, and only logged with `debug`.
    """

    expected = True


class IVersions(Interface):
    """The versions of dependencies, which are given by their keys.

    A deadline is a moment of ``time.monotonic``.
    """

    def read(keys, deadline):
        """Return a dict of the keys that have a version, and a list of errors.

        The keys are those of a stamp. A value is obsolete unless all of its
        versions are in the dict.
        """

    def current(tags, deadline):
        """Return the versions for the stamp of a value that is yet to be made.

        Missing ones are made. Raises a `MemcacheError` in trouble, or
        `Outdated`: nothing may be stored.
        """

    def first(tags, deadline):
        """Return what is to be known of the tags before a value is looked for.

        That is a dict of versions, which may be empty. It raises like
        `current`.
        """

    def view():
        """Return what the caller sees of that on which values depend.

        Callers with the same view may use each other's results.
        """

    def is_ahead(versions, deadline):
        """Return whether a stamp is right, but not for this caller."""

    def forget(tags, deadline):
        """Make all values obsolete that depend on one of the tags.

        Returns a dict of the tags, and the reply or `MemcacheError` of each.
        """


@implementer(IVersions)
class Versions:
    """Random versions, each of which has never been before."""

    def __init__(self, store):
        self._store = store

    def read(self, keys, deadline):
        # A dated version is for transactions.
        keys = [key for key in keys if not key.startswith(stamp.TID)]
        return read(self._store, keys, deadline) if keys else ({}, [])

    def current(self, tags, deadline):
        return current(self._store, tags, deadline)

    def first(self, tags, deadline):
        return {}

    def view(self):
        return None

    def is_ahead(self, versions, deadline):
        return False

    def forget(self, tags, deadline):
        return self._store.run_many(list(map(Delete, tags)), deadline)


def is_version(item):
    return item is not None and stamp.is_version(item.data, item.flags)


def read(store, keys, deadline):
    """Return a dict of the keys that have a version, and a list of errors."""
    items, errors = store.get_many(keys, deadline, stamp.VERSION)
    return {key: item.data for key, item in items.items()
            if is_version(item)}, errors


def current(store, keys, deadline):
    """Return a dict of the keys' versions; missing ones are made."""
    versions, errors = read(store, keys, deadline)
    if errors:
        raise first_of(errors)
    missing = {key: stamp.make() for key in keys if key not in versions}
    if missing:
        replies = store.run_many(
            [AddVersion(key, version, PLAIN, 0)
             for key, version in missing.items()], deadline)
        errors = [reply for reply in replies.values()
                  if isinstance(reply, MemcacheError)]
        if errors:
            replies.clear()
            raise first_of(errors)
        versions.update(
            (key, missing[key]) for key, added in replies.items() if added)
    late = [key for key in keys if key not in versions]
    if late:
        # Another client was faster, or what is stored is not a version.
        items, errors = store.get_many(late, deadline, stamp.VERSION)
        if errors:
            raise first_of(errors)
        for key in late:
            if not is_version(items.get(key)):
                if key in items:  # otherwise it was invalidated just now
                    store.run(Delete(key), deadline)
                raise MemcacheError(f'no version of {key.decode()}')
            versions[key] = items[key].data
    return versions
