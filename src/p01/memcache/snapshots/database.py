# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The database: all that the snapshots need to know of it."""

from zope.interface import Interface


class IDatabase(Interface):
    """A database with transactions, each of which sees a snapshot.

    A commit has an id of 8 bytes that is greater than all before. What either
    method raises is trouble of the database, and reaches the caller.
    """

    def snapshot():
        """Return the id of the last commit that the transaction sees.

        It sees all commits up to it, and none after. Returns None where no
        transaction of this thread reads the database.
        """

    def last():
        """Return the id of the last commit of the database, at this moment.

        Every commit that was finished before the call is that one or an
        earlier one. A view that may lag behind is not enough.
        """
