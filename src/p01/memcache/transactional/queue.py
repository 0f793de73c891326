# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The queue of a transaction: its changes to a store, sent after its commit.

As a data manager it finishes behind all others. So the database has committed
by the time that the first change is sent.
"""

import contextlib
import math
import weakref
from os import getpid
from time import monotonic

from transaction.interfaces import IDataManagerSavepoint
from transaction.interfaces import ISavepointDataManager
from transaction.interfaces import TransactionFailedError
from transaction.interfaces import TransientError
from zope.event import notify
from zope.interface import implementer

from p01.memcache.errors import MemcacheError
from p01.memcache.event import NotHeldEvent
from p01.memcache.log import logger
from p01.memcache.transactional.batches import send
from p01.memcache.transactional.changes import Changes


# It sorts behind all other text.
_LAST = '\U0010ffff p01.memcache'


#: The queues of this process that have changes. Mostly there are none, and to
#: read from it takes less time than to ask for the transaction under way.
joined = weakref.WeakSet()


class NotHeld(TransientError, MemcacheError):
    """A transaction fails, as memcached has not heard of what it changes."""


@implementer(ISavepointDataManager)
class Queue:
    """Joins the transaction with the first change.

    `store` is where they are sent to. ``report(error, message, *args)``
    reports what fails, and ``begin()`` is called before anything is sent. The
    dependencies are held in the `snapshots`, if there are any; with `strict`
    the vote fails where memcached cannot be reached.
    """

    def __init__(
            self, transaction, manager, store, report, begin, snapshots=None,
            strict=False):
        self.transaction_manager = manager
        #: A forked child has a copy, and must not send it once more.
        self.process = getpid()
        #: Whether it has been sent. What changes after that is sent at once.
        self.is_over = False
        self._transaction = transaction
        self._store = store
        self._report = report
        self._begin = begin
        self._snapshots = snapshots
        self._strict = strict
        self._hold = None  # a `Hold`, between vote and end
        self._held = set()  # the tags that it holds
        self._drop()

    def _drop(self):
        self._is_joined = self._has_voted = False
        joined.discard(self)
        #: See `Changes`.
        self.changes = Changes(self._store)

    def use(self, store):
        """Send the changes to this store, which has replaced the former."""
        self._store = self.changes.store = store

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
        joined.add(self)
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
        changes, hold = self.changes, self._take_hold()
        self._drop()
        self._send(changes, hold.ends(changes.tags) if hold else [])

    def tpc_begin(self, transaction):
        pass

    def commit(self, transaction):
        # Not only in the vote: there the database may hold a lock by now.
        self._hold_tags()

    def tpc_vote(self, transaction):
        self._hold_tags()  # what has been added meanwhile
        self._has_voted = True

    def _hold_tags(self):
        """Hold the dependencies that are not held yet."""
        tags = [tag for tag in self.changes.tags if tag not in self._held]
        if not tags or self._snapshots is None or getpid() != self.process:
            return
        if self._hold is None:
            self._hold = self._snapshots.hold()
        start = monotonic()
        errors = self._hold.vote(tags, start + self.changes.seconds)
        # All of the commit has the time of one operation.
        self.changes.seconds += start - monotonic()
        self._held.update(tags)
        if errors:
            self._fail(errors)

    def _fail(self, errors):
        """Tell that dependencies are not held."""
        [error, *_] = errors.values()
        if self._strict:
            raise NotHeld(f'dependencies: not held: {error}') from error
        self._report(error, '%s: not held', 'dependencies')
        try:
            notify(NotHeldEvent(list(errors), error))
        except Exception:
            # This is no reason for the transaction to fail.
            logger.exception('memcache: a subscriber of INotHeldEvent failed')

    def tpc_finish(self, transaction):
        self.is_over = True
        changes, commands = self.changes, self.changes.commands
        if changes.tags and self._snapshots:
            hold = self._take_hold() or self._snapshots.hold()
            commands = commands + hold.ends(changes.tags)
        self._drop()
        self._send(changes, commands)

    def _take_hold(self):
        hold, self._hold, self._held = self._hold, None, set()
        return hold

    def _send(self, changes, commands):
        # The database has committed: nothing may fail any more.
        with contextlib.suppress(Exception):
            if commands and getpid() == self.process:
                self._begin()
                send(commands, self._store, self._report,
                     monotonic() + changes.seconds)

    def tpc_abort(self, transaction):
        if not self._has_voted:
            self.abort(transaction)
            return
        # It votes last. What fails afterwards is the finish of another
        # resource. The database may have finished before it, or may finish
        # yet, so that what is held stays held for its time.
        changes, _ = self.changes, self._take_hold()
        self._drop()
        self._send(changes, changes.removals)

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
