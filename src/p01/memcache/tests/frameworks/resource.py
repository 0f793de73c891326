# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A data manager for tests: it may do something, or fail, in each phase."""

import transaction
from transaction.interfaces import ISavepointDataManager
from zope.interface import implementer


class Nothing:
    """The savepoint of a resource that has nothing to roll back."""

    def rollback(self):
        pass


@implementer(ISavepointDataManager)
class Resource:
    """Joins the transaction like a database that has been changed.

    `steps` are functions by the name of a phase, called without arguments.
    """

    def __init__(self, key='database', manager=transaction.manager, **steps):
        self.transaction_manager = manager
        self.phases = []
        self._key = key
        self._steps = steps
        manager.get().join(self)

    def _do(self, phase):
        self.phases.append(phase)
        self._steps.get(phase, int)()

    def sortKey(self):
        return self._key

    def savepoint(self):
        return Nothing()


def _phase(name):
    def method(self, txn):
        self._do(name)
    return method


for _name in ('abort', 'tpc_begin', 'commit', 'tpc_vote', 'tpc_finish',
              'tpc_abort'):
    setattr(Resource, _name, _phase(_name))
