# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of a container of sessions in memcached."""

from zope import schema
from zope.session.interfaces import ISessionDataContainer


class IMemcacheSessionDataContainer(ISessionDataContainer):
    """Keeps sessions in memcached, and follows the transaction.

    A session is read once in a transaction, with the first use. What is
    changed in it, also deep within a value, is stored with the commit and
    dropped by an abort; a savepoint can be rolled back to. A session object
    belongs to its transaction: keep none for the next one.

    Two transactions may change one session at the same time. If they change
    different keys, of one package or of two, both changes are kept. If they
    change the same key the second one gets a ``ConflictError``, so that the
    publisher tries the request again; see `lastOneWins`.

    The values of a session must be such as the client serializes: plain data
    for "json", and for pickles no persistent objects. Others are a
    ``SerializationError`` at the commit, which fails.

    Trouble with memcached is not trouble of the site. A session that cannot
    be read is as one that has expired, and changes that cannot be stored are
    lost, with a warning in the log. A server that has missed the change of a
    session loses it: nobody sees the old state.
    """

    timeout = schema.Int(
        title='Timeout',
        description=(
            'Seconds after which a session that is not used expires; 0 is '
            'never.'),
        default=3600,
        min=0)

    resolution = schema.Int(
        title='Resolution',
        description=(
            'Seconds for which the use of a session need not be noted. A '
            'session that only is read is stored again after so long, with a '
            'new lifetime; it expires up to so much later than `timeout`.'),
        default=600,
        min=0)

    name = schema.TextLine(
        title='Name',
        description=(
            'A text that separates the sessions of containers on the same '
            'client. All processes must use the same.'),
        default='')

    cacheName = schema.TextLine(
        title='Name of the client',
        description=(
            'The name of the IMemcacheClient utility. It is looked up '
            'whenever it is needed; if it does not exist, that is a '
            'ComponentLookupError.'),
        default='')

    lastOneWins = schema.Bool(
        title='The last one wins',
        description=(
            'Whether, instead of a ConflictError, the second of two changes '
            'of the same key is kept.'),
        default=False)

    def __getitem__(client_id):
        """Return the ``ISessionData`` of a client.

        A client without a session, or with one that has expired or is empty,
        is a ``KeyError``.
        """

    def __setitem__(client_id, session_data):
        """Give the client a new session, instead of what it has."""

    def __delitem__(client_id):
        """Remove the session, with all that others put into it meanwhile.

        It is a ``KeyError`` if there is none.
        """
