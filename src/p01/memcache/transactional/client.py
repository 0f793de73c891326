# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The transactional client: another one, whose changes follow transactions."""

from functools import partial

import transaction
from transaction.interfaces import ITransactionManager

from p01.memcache.attributes.arguments import check_attribute
from p01.memcache.facade.client import BaseClient
from p01.memcache.facade.deriving import derive
from p01.memcache.interfaces import ITransactional
from p01.memcache.snapshots.database import IDatabase
from p01.memcache.snapshots.versions import Snapshots
from p01.memcache.transactional.store import TransactionalStore


def Transactional(client, manager=None, database=None, holdTime=600,
                  holdOrFail=False):
    """Return a client like this one, whose changes follow the transaction.

    What changes the cache while a transaction is under way is sent after its
    commit, in the order in which it was asked for, and dropped when the
    transaction, or the attempt, is aborted. Until then only the transaction
    itself sees it. Without a transaction under way it is sent at once.

    With ZODB, values with dependencies are exactly as fresh as the
    transaction's snapshot, see snapshots.txt.

    `client` is one of this package's, or a fake, which stays as it is. The two
    share their connections and settings. `manager` is the transaction manager,
    by default that of the thread. For the others see `ITransactional`.
    """
    if not isinstance(client, BaseClient):
        raise TypeError(
            f'client {client!r}: must be one of this package, or a fake')
    if manager is None:
        manager = transaction.manager
    elif not ITransactionManager.providedBy(manager):
        raise TypeError(f'manager {manager!r}: must be a transaction manager')
    for name in ('holdTime', 'holdOrFail'):
        check_attribute(ITransactional[name], locals()[name])
    if database is None or isinstance(database, str):
        database = _find(database, manager)
    elif not IDatabase.providedBy(database):
        raise TypeError(
            f'database {database!r}: must be a name, or an IDatabase')

    def date(*args):
        return database and Snapshots(database, *args, life=holdTime)

    return derive(client, _wrap=partial(
        TransactionalStore, manager, date, holdOrFail))


def _find(name, manager):
    """Return the `IDatabase` of ZODB, None without ZODB."""
    try:
        from p01.memcache.snapshots.zodb import ZODB
    except ImportError:
        if name is not None:
            raise ValueError(
                f'database {name!r}: needs ZODB, which the extra "zodb"'
                ' installs') from None
        return None
    return ZODB(name, manager)
