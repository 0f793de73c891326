# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of a client as a whole, and of its parts for operators."""

from zope.interface import Interface

from p01.memcache.interfaces.reading import IMemcacheReader
from p01.memcache.interfaces.writing import IMemcacheWriter


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class IMemcacheFlusher(Interface):
    """Empties the cache, and closes connections."""

    def invalidateNamespace():
        """Make every value of the client's namespace a miss, at once.

        Other namespaces are untouched, and the server is not flushed: the
        namespace gets a new generation, which has never been used before, not
        even if memcached loses it. The former values are never read again;
        memcached reclaims their memory when it needs it.

        Returns True, or None if the server could not be reached. Without
        `generations` it is a ``ValueError``.
        """

    def invalidateAll(delay=0):
        """Remove all values from all servers, of all namespaces.

        All servers are asked. If some cannot be reached they may still have
        old values: `p01.memcache.errors.NotInvalidated` is raised, whose
        ``errors`` maps the addresses of these servers to their errors.

        With a `delay`, in seconds, they are emptied one after the other, that
        far apart, so that a database need not answer all misses at once. These
        are the servers that the client has when the method is called. It
        returns after the last one: with three servers after twice the delay,
        plus what each of them needs, up to one time-out. Until its turn a
        server has its former values; after that, nothing that was stored there
        before. If the method is interrupted, the pooled client makes up for it
        on each server that it uses.

        Where `generations` are on, all values of a namespace miss as soon as
        the one server is flushed that has its generation; so do all values
        with a dependency whose version is there.

        The delay is a number of seconds, a day at most. It is a
        ``ValueError`` in a transaction of a transactional client, whose
        `immediate` takes it, and with proxies ("roundrobin").
        """

    def close():
        """Close the connections that are not in use.

        The client remains usable; it connects again when it needs to.
        """


class IMemcacheStatistics(Interface):
    """Shows the state of the servers, and what the client has done."""

    def getStatistics(name=None):
        """Return a list of ``(server, {name: value})``, all of them str.

        The names are those of memcached's command ``stats``, or of its
        ``stats items``, ``slabs``, ``settings``, ``sizes`` or ``conns``, if
        `name` is one of these words; any other is a ``ValueError``. A server
        that refuses, or does not answer, has the single name ``error``.

        ``sizes`` is counted by servers with ``-o track_sizes`` alone; others
        answer ``sizes_status: disabled``. memcached before 1.4.27 walks
        through all of its items, and answers nobody else meanwhile.
        """

    def getUnreadable():
        """Return a dict of ``{reason: number}`` of unreadable values.

        It counts since the client was made. The reasons are the names of
        `p01.memcache.errors.UnreadableValue` and its subclasses:
        ``ForgedValue`` for a wrong, missing or moved signature,
        ``ForbiddenGlobal`` for a name that `allow` does not list,
        ``ValueTooLarge``.
        """

    def getCounts():
        """Return a dict of what this client has done since it was made.

        It counts this client, or region, alone: a client does not count what
        its regions do. Clients that are the same region of the same client
        count together, as long as there is one of them: keep one, or the
        counts begin again at 0. `IMemcacheWriter.immediate` counts with its
        client. A forked child begins at 0. All numbers are exact, in any
        number of threads.

        ``hits``, ``misses``
            Keys that were looked for: found, or not. A failed read is a miss.
        ``errors``, ``timeouts``
            How often something failed, as a dict by the name of the error in
            `p01.memcache.errors`, and how many of these are time-outs. Each
            key of a change of many counts. ``ServerDown`` was not even tried,
            as the server is known to be down: it took no time.
        ``unreadable``
            As `getUnreadable`.
        ``stored``, ``refused``
            Values that were stored, and those that the server refused, or
            that are too large.
        ``invalidated``
            Keys that were invalidated. A call for dependencies, a namespace,
            or everything counts as one.
        ``computed``, ``waited``, ``stale``
            Of `getOrCreate`, `getOrCreateMany` and `lookUp`: values that the
            caller had to compute; keys for which it waited for another caller;
            values that were served after their lifetime.
        ``bytesRead``, ``bytesStored``
            Bytes of values as they are in memcached, without keys and stamps.
            A value that another thread of the process computed is not read.
        ``seconds``
            How long operations took, as a dict by the name of the method:
            ``count``, ``sum``, and ``buckets``, which maps a number of seconds
            to how many operations took no longer; the last one is infinity.
            The time of factories does not count, nor does `ILookUp.store`.
        ``slow``
            Operations that took longer than the setting `slow`.

        A change in a transaction of a transactional client counts when it is
        called for, not when it is sent.
        """

    def getHistory():
        """Return a list of ``(seconds ago, hits, misses, errors)``.

        It covers the last ten minutes in slots of ten seconds, oldest first.
        ``seconds ago`` is when a slot began; the last slot is still open.
        """

    def getSlowest():
        """Return a list of the slowest operations of the last ten minutes.

        These are 20 at most, slowest first, of those that took more than a
        millisecond. Each is a dict of its ``seconds``; ``ago``, the seconds
        since it ended; ``command``, the name of the method; ``key``, the built
        key, or ``'3 keys'``; ``server``, None if unknown, or if there were
        several; and ``phase``, what it waited for most: ``pool``, a free
        connection; ``connect``; ``send``; ``receive``, the reply and its
        conversion into an object; or ``other``, another caller that computes
        the value. The seconds include those of a signal handler, and those
        for which the process was stopped.
        """

    def getRegions():
        """Return a list of the regions of this client, as (name, client).

        These are the regions in use, each name once. A region may have
        regions of its own.
        """


class IMemcacheClient(
        IMemcacheReader, IMemcacheWriter, IMemcacheFlusher,
        IMemcacheStatistics):
    """Caches Python objects in memcached servers.

    All threads of a process share a client. Trouble with the cache never
    reaches its user: a server that is down, slow or talking nonsense is a miss
    for `query`, None for `set` and `invalidate`, and a line in the log
    ``p01.memcache``. A wrong argument is a ``ValueError`` or ``TypeError`` at
    once, before anything is sent.

    A transactional client, see transactions.txt, sends what is changed in a
    transaction after its commit; until then a reply is what the transaction
    sees.

    The interfaces that it extends are its parts, so that untrusted code can be
    granted one part and not another; see zcml.txt.
    """
