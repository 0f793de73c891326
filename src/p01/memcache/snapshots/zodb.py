# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""ZODB as a database with snapshots (the extra "zodb").

What a connection sees, and what the storage has committed, ZODB tells only by
names that are private. They are all in here.
"""

import transaction
from ZODB.Connection import Connection
from ZODB.utils import p64
from ZODB.utils import u64
from ZODB.utils import z64
from zope.interface import implementer

from p01.memcache.snapshots.database import IDatabase


@implementer(IDatabase)
class ZODB:
    """See `IDatabase`.

    The connections are those that follow the transaction `manager`, by default
    that of the thread. `name` is that of the database, if there are several;
    by default the one whose connection has opened the others'.
    """

    def __init__(self, name=None, manager=None):
        self._name = name
        self._manager = transaction.manager if manager is None else manager

    def snapshot(self):
        tid = None
        for connection in self._connections():
            seen = _seen(connection._storage)
            # Two connections of one transaction may see different commits.
            if seen is not None and (tid is None or seen < tid):
                tid = seen
        return tid

    def last(self):
        [connection, *_] = self._connections()
        return last(connection.db().storage)

    def _connections(self):
        """Return a list of the thread's open connections to the database."""
        # That of a thread is a local, with a manager.
        manager = getattr(self._manager, 'manager', self._manager)
        synchs = [ref() for ref in manager._synchs.as_weakref_list()]
        connections = [synch for synch in synchs
                       if isinstance(synch, Connection)]
        name = self._name
        if name is None:
            if len(connections) < 2:
                return connections
            name = _find_main(connections)
        return [connection for connection in connections
                if connection.db().database_name == name]


def _find_main(connections):
    """Return the name of the database from which the others were opened."""
    names = {next(iter(connection.connections))
             for connection in connections}
    if len(names) > 1:
        raise ValueError(
            f'database: there are {", ".join(sorted(names))}; name the one'
            ' that dependencies are about')
    return names.pop()


def _seen(storage):
    """Return the last commit that the storage of a connection shows."""
    # The storage of ZODB's own snapshots, or of a moment in the past.
    for name in ('_start', '_before'):
        if hasattr(storage, name):
            before = getattr(storage, name)
            return None if before is None else p64(u64(before) - 1)
    if _kind(storage) == 'relstorage.storage.RelStorage':
        # Between two transactions its view of the database floats.
        return (storage.lastTransaction()
                if storage._load_connection.active else None)
    return _seen(_unwrapped(storage))


def last(storage):
    """Return the last commit of the storage, by any of its clients."""
    kind = _kind(storage)
    if kind is None:
        return last(_unwrapped(storage))
    return _LAST[kind](storage)


def _of_process(storage):
    return storage.lastTransaction()


def _of_demo(storage):
    tid = last(storage.changes)
    return last(storage.base) if tid == z64 else tid


def _of_server(storage):
    # The client itself knows only what the server has told it by now.
    return storage._call('lastTransaction')


def _of_sql(storage):
    # Not by a connection for loads: it has a snapshot, perhaps of a replica
    # that lags. Without write access there is no other.
    poller = storage._adapter.poller
    if storage.isReadOnly():
        with storage._load_connection.isolated_connection() as cursor:
            return p64(poller.get_current_tid(cursor))
    with storage._store_connection_pool.borrowing() as connection:
        return p64(poller.get_current_tid(connection.cursor))


# How each class of storage is asked.
_LAST = {
    'ZODB.FileStorage.FileStorage.FileStorage': _of_process,
    'ZODB.MappingStorage.MappingStorage': _of_process,
    'ZODB.DemoStorage.DemoStorage': _of_demo,
    'ZEO.ClientStorage.ClientStorage': _of_server,
    'relstorage.storage.RelStorage': _of_sql,
}


def _kind(storage):
    """Return the name of its class in `_LAST`, or None."""
    for base in type(storage).__mro__:
        name = f'{base.__module__}.{base.__name__}'
        if name in _LAST:
            return name
    return None


def _unwrapped(storage):
    """Return the storage that another one wraps, as zc.zlibstorage does."""
    try:
        return storage.base
    except AttributeError:
        raise TypeError(
            f'storage {type(storage).__name__}: cannot be asked for its'
            ' snapshots') from None
