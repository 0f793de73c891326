# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How a client follows transactions."""

from zope import schema
from zope.interface import Interface

from p01.memcache.configuration.field import Seconds


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class ITransactional(Interface):
    """The arguments of `p01.memcache.transactional.Transactional`.

    They are attributes of the ZCML directive, as is ``transactional``.
    """

    transactional = schema.Bool(
        title='Transactional',
        description=(
            'Whether what changes the cache in a transaction is sent after '
            'its commit, and dropped by an abort (the extra "transaction").'),
        default=False)

    database = schema.TextLine(
        title='Database',
        description=(
            'The name of the ZODB database that dependencies are about, if '
            'it is not the first one. Values with dependencies are exactly as '
            "fresh as a transaction's snapshot of it, see snapshots.txt. In "
            'Python it may be an IDatabase, too.'),
        required=False,
        default=None)

    holdTime = Seconds(
        title='Hold time',
        description=(
            'For how many seconds values are not stored after a process died '
            'in its commit. No commit may take longer, and the clocks of all '
            'machines must agree within that time.'),
        min=1,
        default=600)

    holdOrFail = schema.Bool(
        title='Hold or fail',
        description=(
            'Whether a transaction that has invalidated dependencies fails, '
            'and may be tried again, if its commit cannot reach memcached. '
            'Otherwise the commit goes on, with an INotHeldEvent.'),
        default=False)
