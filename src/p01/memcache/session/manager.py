# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The sessions of one container in one transaction."""

import transaction
from transaction.interfaces import IDataManagerSavepoint
from transaction.interfaces import ISavepointDataManager
from zope.interface import implementer

from p01.memcache.log import logger
from p01.memcache.session.record import Record


_JOINABLE = 'Active', 'Doomed'


@implementer(ISavepointDataManager)
class SessionManager:
    """Stores sessions in its vote, and takes that back if it must.

    Its vote is the last one: what may fail has voted by then. So hardly ever
    is something taken back, and a ``ConflictError`` comes early enough.
    In the end it calls `finished` with the client, and the number of sessions
    that memcached has not taken.
    """

    transaction_manager = transaction.manager

    def __init__(self, container, client, current, finished):
        self._container = container
        self._client = client
        self._transaction = current
        self._finished = finished
        self._records = {}
        self._lost = 0
        self._joined = False
        # A rollback to a savepoint from before the first use ends that.
        current.addBeforeCommitHook(self._join)

    def record(self, client_id):
        """Return the `Record` of the session of a client."""
        self._join()
        record = self._records.get(client_id)
        if record is None:
            container = self._container
            record = self._records[client_id] = Record(
                self._client,
                ('p01.memcache.session', container.name, client_id), container)
        return record

    def _join(self):
        # At other times, as in a hook after the commit, nothing is stored.
        if not self._joined and self._transaction.status in _JOINABLE:
            self._transaction.join(self)
            self._joined = True

    def sortKey(self):
        return f'~p01.memcache.session:{self._container.name}:{id(self)}'

    def savepoint(self):
        return Savepoint(self._records)

    def abort(self, transaction):
        # The transaction goes on if this is a rollback.
        self._joined = False
        for record in self._records.values():
            record.restore(record.initial)

    def tpc_begin(self, transaction):
        """All is done in the vote."""

    def commit(self, transaction):
        """All is done in the vote."""

    def tpc_vote(self, transaction):
        for record in self._records.values():
            self._lost += not record.store()

    def tpc_finish(self, transaction):
        try:
            self._finished(self._client, self._lost)
        except Exception:  # nothing may fail here
            logger.exception('the statistics of memcached are not as expected')

    def tpc_abort(self, transaction):
        for record in self._records.values():
            try:  # nothing may fail here, either
                is_gone, error = record.undo(), None
            except Exception as failure:
                is_gone, error = False, failure
            if not is_gone:
                logger.warning(
                    'a session may have the changes of a transaction that was'
                    ' aborted', exc_info=error)


@implementer(IDataManagerSavepoint)
class Savepoint:

    def __init__(self, records):
        self._records = records
        self._states = {client_id: record.state()
                        for client_id, record in records.items()}

    def rollback(self):
        for client_id, record in self._records.items():
            record.restore(self._states.get(client_id, record.initial))
