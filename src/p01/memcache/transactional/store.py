# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A store on top of another one: its changes follow the transaction."""

from os import getpid

from zope.interface import implementer

from p01.memcache.errors import MemcacheError
from p01.memcache.features.dependencies import Versions
from p01.memcache.store import AddVersion
from p01.memcache.store import IStore
from p01.memcache.transactional.changes import UNKNOWN
from p01.memcache.transactional.effects import limited
from p01.memcache.transactional.queue import Queue
from p01.memcache.transactional.queue import joined
from p01.memcache.wire.command import Delete
from p01.memcache.wire.limits import MAX_VALUE


class _Probe:
    """A synchronizer that asks for the transaction under way, if any.

    The manager's ``get()`` would begin one.
    """

    transaction = None

    def newTransaction(self, transaction):
        self.transaction = transaction


class _Own:
    """The server of a key that the transaction has changed."""

    def __init__(self, name):
        self.name = name

    def lends(self, deadline):
        return False

    def is_leased(self, key, deadline):
        return False


@implementer(IStore)
class TransactionalStore:
    """See `IStore`.

    While a transaction of the `manager` is under way, its changes go to its
    `Queue`, and its reads begin there. All else goes to the `store`.
    `report`, `begin` and `strict` are those of it. ``date(store, versions,
    has_changed, is_queued)`` returns the `Snapshots`, or None.
    """

    def __init__(self, manager, date, strict, store, report, begin):
        self._manager = manager
        self._store = store
        self._report = report
        self._begin = begin
        self._strict = strict
        self._snapshots = date(
            store, Versions(self), self.has_changed,
            lambda: self._changes() is not None)

    @property
    def lineage(self):
        return self._store.lineage

    def make_versions(self):
        return self._snapshots or Versions(self)

    def _under_way(self):
        """Return the transaction under way, or None."""
        probe = _Probe()
        self._manager.registerSynch(probe)
        self._manager.unregisterSynch(probe)
        return probe.transaction

    def _known(self, transaction):
        """Return the queue of the transaction, if it has one."""
        try:
            # All clients of one store share it.
            queue = transaction.data(self._store.lineage)
        except KeyError:
            return None
        return queue if queue.process == getpid() else None

    def _reads(self):
        """Return the changes in which a read begins, or None."""
        transaction = self._under_way() if joined else None
        queue = transaction and self._known(transaction)
        return queue and queue.changes or None

    def _changes(self):
        """Return the queue for a change, or None to make it at once."""
        transaction = self._under_way()
        if transaction is None:
            return None
        queue = self._known(transaction)
        if queue is None:
            queue = Queue(
                transaction, self._manager, self._store, self._report,
                self._begin, self._snapshots, self._strict)
            transaction.set_data(self._store.lineage, queue)
        elif not queue.is_over:
            queue.use(self._store)
        return None if queue.is_over else queue

    def transaction(self):
        transaction = self._under_way()
        if transaction is None:
            return None, False
        queue = self._known(transaction)
        if queue is not None and queue.is_over:
            return None, False
        return transaction, bool(
            queue and queue.changes or transaction._resources)

    def has_changed(self, keys):
        changes = self._reads()
        return changes is not None and any(
            changes.look(key) is not UNKNOWN for key in keys)

    # Reads

    def get(self, key, deadline, most=MAX_VALUE):
        changes = self._reads()
        item = UNKNOWN if changes is None else changes.look(key)
        if item is UNKNOWN:
            return self._store.get(key, deadline, most)
        return limited(item, most)

    def gets(self, key, deadline, most=MAX_VALUE):
        changes = self._reads()
        item = UNKNOWN if changes is None else changes.look(key)
        if item is UNKNOWN:
            return self._store.gets(key, deadline, most)
        return limited(item, most)

    def get_many(self, keys, deadline, most=MAX_VALUE):
        changes = self._reads()
        if changes is None:
            return self._store.get_many(keys, deadline, most)
        seen = {key: changes.look(key) for key in keys}
        others = [key for key, item in seen.items() if item is UNKNOWN]
        found, errors = {}, []
        if others:
            found, errors = self._store.get_many(others, deadline, most)
        found.update(
            (key, limited(item, most)) for key, item in seen.items()
            if item is not UNKNOWN and item is not None)
        return found, errors

    def server(self, key, deadline):
        changes = self._reads()
        if changes is None or changes.look(key) is UNKNOWN:
            return self._store.server(key, deadline)
        return _Own(changes.name)

    # Changes

    def run(self, command, deadline):
        queue = self._changes()
        if queue is None or _is_aside(queue, command):
            return self._store.run(command, deadline)
        return queue.put(command, deadline)

    def run_many(self, commands, deadline):
        queue = self._changes()
        if queue is None:
            return self._store.run_many(commands, deadline)
        replies, aside = {}, []
        for command in commands:
            if _is_aside(queue, command):
                aside.append(command)
                continue
            try:
                replies[command.key] = queue.put(command, deadline)
            except MemcacheError as error:
                replies[command.key] = error
        if aside:
            replies.update(self._store.run_many(aside, deadline))
        return replies

    def ask_all(self, command, deadline, pause=0):
        queue = self._changes() if command.removes else None
        if queue is None:
            return self._store.ask_all(command, deadline, pause)
        if pause:
            raise ValueError(
                f'delay {pause!r}: must be 0 in a transaction, as the end of'
                ' its commit would wait for it')
        queue.remove(command, deadline)
        return []

    def owe(self, key):
        queue = self._changes()
        if queue is None:
            self._store.owe(key)
        else:
            queue.remove(Delete(key))

    def owe_absent(self, key, deadline):
        self._store.owe_absent(key, deadline)

    def retire(self, successor):
        self._store.retire(successor)

    def close(self):
        self._store.close()


def _is_aside(queue, command):
    """Return whether the command is sent although others wait."""
    return (isinstance(command, AddVersion)
            and queue.changes.look(command.key) is UNKNOWN)
