# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The queue of a transaction: its changes to a store, sent after its commit.

As a data manager it finishes behind all others. So the database has committed
by the time that the first change is sent.
"""

import contextlib
import math
from os import getpid
from time import monotonic

from transaction.interfaces import IDataManagerSavepoint
from transaction.interfaces import ISavepointDataManager
from transaction.interfaces import TransactionFailedError
from zope.interface import implementer

from p01.memcache.transactional.batches import send
from p01.memcache.transactional.changes import Changes


# It sorts behind all other text.
_LAST = '\U0010ffff p01.memcache'


@implementer(ISavepointDataManager)
class Queue:
    """Joins the transaction with the first change.

    `store` is where they are sent to. ``report(error, message, *args)``
    reports what fails, and ``begin()`` is called before anything is sent.
    """

    def __init__(self, transaction, manager, store, report, begin):
        self.transaction_manager = manager
        #: A forked child has a copy, and must not send it once more.
        self.process = getpid()
        #: Whether it has been sent. What changes after that is sent at once.
        self.is_over = False
        self._transaction = transaction
        self._store = store
        self._report = report
        self._begin = begin
        self._drop()

    def _drop(self):
        self._is_joined = False
        #: See `Changes`.
        self.changes = Changes(self._store)

    def put(self, command, deadline):
        """Return the reply to a command, as the transaction sees it."""
        reply = self.changes.put(command, deadline)
        self._join()
        return reply

    def remove(self, command, deadline=-math.inf):
        """Add a command that removes a key, or everything."""
        self.changes.remove(command, deadline)
        self._join()

    def _join(self):
        if self._is_joined or not self.changes:
            return
        try:
            self._transaction.join(self)
        except TransactionFailedError:
            pass  # it can only be aborted
        except ValueError:
            # It is being committed, or has been: a hook of it is running.
            self._transaction.addAfterCommitHook(self._complete)
        self._is_joined = True

    def _complete(self, committed):
        if committed:
            self.tpc_finish(self._transaction)
        else:
            self._drop()

    # See `ISavepointDataManager`.

    def abort(self, transaction):
        self._drop()

    def tpc_begin(self, transaction):
        pass

    def commit(self, transaction):
        pass

    def tpc_vote(self, transaction):
        pass

    def tpc_finish(self, transaction):
        self.is_over = True
        changes = self.changes
        self._drop()
        # The database has committed: nothing may fail any more.
        with contextlib.suppress(Exception):
            if changes and getpid() == self.process:
                self._begin()
                send(changes.commands, self._store, self._report,
                     monotonic() + changes.seconds)

    tpc_abort = abort

    def sortKey(self):
        return f'{_LAST} {id(self)}'

    def savepoint(self):
        return Savepoint(self.changes, len(self.changes))


@implementer(IDataManagerSavepoint)
class Savepoint:
    """The first so many changes."""

    def __init__(self, changes, size):
        self._changes = changes
        self._size = size

    def rollback(self):
        self._changes.truncate(self._size)
