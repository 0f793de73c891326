# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of reading: keys, and the values stored for them."""

from zope.interface import Interface

from p01.memcache.configuration.settings import IMemcacheSettings


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class ICacheKey(Interface):
    """The plain key that stands for an object, as a key or within one.

    An adapter makes it, of what is no plain data: a ``DateTime``, a message of
    zope.i18nmessageid, a content object. It is called with the object, without
    its security proxy, but with its acquisition wrapper, and returns a str,
    bytes, int, float, bool, date, datetime, time, timedelta or UUID, or a
    tuple, list, set, frozenset or dict; what is in these may have adapters,
    too. If it returns None, all is as without an adapter::

        @zope.component.adapter(DateTime)
        @zope.interface.implementer(ICacheKey)
        def keyOfDateTime(date):
            return 'DateTime', date.ISO8601()

    The object and what the adapter returns are the same key. So that it is not
    that of another object, begin it with a name, as above.

    Anything else, such as the object itself, is a ``SerializationError`` (a
    ``ValueError``). What the adapter raises is raised, or the cause of a
    ``SerializationError``. No adapter is asked for plain data of exactly the
    types above. Of a persistent object the interfaces of its class count, not
    its own: it is not loaded to find out that it has no adapter. All processes
    that share the cache need the same adapters: register them globally, not
    for a site.
    """


class IMemcacheReader(IMemcacheSettings):
    """Reads values, and shows how the client is configured."""

    def buildKey(key):
        """Return the memcached key for `key`, a str of hexadecimal digits.

        With the scheme "compatible" it is the MD5 (32 digits) of the
        namespace, followed by

        - the UTF-8 of a str,
        - bytes as they are,
        - the decimal digits of an int (True is 1),
        - the ``_p_oid`` of a persistent object that has one,
        - the pickle of anything else.

        ``1``, ``'1'`` and ``b'1'`` are the same key. Equal keys of the same
        types are the same key in every process: each part is pickled as an
        object of its own, and the members of a set in a fixed order. Only the
        order of the items of a dict counts. The members of an enum, classes,
        and instances of a class without ``__eq__`` equal only themselves,
        and one that occurs twice is pickled as one object. A key without
        equal parts, or whose equal parts are the same object in every
        process, is built as by the older releases.

        With the scheme "strict" it is the BLAKE2b (64 digits) of the length
        of the namespace, the namespace, and an encoding that keeps all keys
        distinct: ``1``, ``'1'``, ``b'1'``, ``True`` and ``1.0`` are five
        keys. Equal keys of the same types are the same key in every process,
        whatever the order of a dict or a set. A key is

        - a str, bytes, int, float, bool, None, date, datetime, time,
          timedelta or UUID,
        - a member of an enum that can be imported,
        - a persistent object with a ``_p_oid``; the name of its database, if
          it has one, is part of the key,
        - a tuple, list, set, frozenset or dict of these. A frozenset equals
          the set. A time or datetime is its local time and its offset.

        Anything else is a ``TypeError`` that names the place within the key.
        So is an instance of a subclass, as it may have more state than its
        base class.

        In both schemes a security proxy or an acquisition wrapper, such as
        that of the context of a view, counts as the object that it wraps, also
        within a key: ``('view', self.context)`` is a key. A pickled
        persistent object counts as its ``_p_oid``, if it has one. Any other
        object behind a security proxy that "strict" would not accept is a
        ``SerializationError``: its key would reveal its state to users that
        can guess it but may not read it.

        In both schemes an object that has an adapter to `ICacheKey` counts as
        what that returns, also within a key.

        The result of ``function.key(...)`` of a `cached` function has 64
        digits in both schemes, and equals no other key.

        NaN is a ``ValueError``. So is, in both schemes, an object that cannot
        be pickled and a str that cannot be encoded as UTF-8.
        """

    def region(name, lifetime=None, keyScheme=None, generations=None):
        """Return a region of this client: a client within it, for its own
        values.

        It is a client of the same class. It shares the connections, what is
        known of the servers, and what they have to make up for. Its settings
        are those of this client, also after they change; setting one there is
        setting it here. Only `lifetime`, `keyScheme` and `generations` may be
        its own: those that are given, or are set there. What is not given is
        as here.

        No key within it is the same in memcached as a key of this client, of
        another region, of a region within one, or of any other client,
        whatever the texts: it is built from the namespace, the names of the
        regions and the key, each with its length, and by another function than
        all other keys. It has 64 digits.

        `IMemcacheFlusher.invalidateNamespace` of a region concerns its own
        values, and that of this client not those of its regions. Dependencies
        are those of this client: `IMemcacheWriter.invalidateDependencies`,
        here or in one of the regions, concerns all of them.
        `IMemcacheFlusher.invalidateAll`, `IMemcacheFlusher.close` and
        `IMemcacheStatistics.getStatistics` concern the servers, as here.

        All processes that share the cache must use the same names and schemes.
        A name that is not a str is a ``TypeError``, an empty one a
        ``ValueError``. Another region with the same name has the same values.
        """

    def query(key, raw=False, default=None):
        """Return the value of `key`, or `default` on a miss.

        A stored None is returned as None.

        With `raw` the stored bytes are returned: those of a raw value, or the
        pickle, decompressed and without its signature. Any process that can
        write to memcached can store a raw value, also with "signed-pickle":
        never unpickle its bytes.

        A value that cannot be read (a broken pickle, a class that no longer
        exists, a wrong signature, the flags of another client) is a miss. It
        is notified as an `IUnreadableValueEvent` and counted by
        `IMemcacheStatistics.getUnreadable`.
        """

    def queryMany(keys, raw=False):
        """Return a dict of the keys that have a value, and their values.

        `keys` is an iterable of hashable keys; the dict has the same objects
        as its keys. The pooled client asks all servers at the same time, in
        batches of up to 1,000 keys per server; each batch is a round trip. If
        a server fails, the values that arrived in full are still returned.

        A single str, or a key that is not hashable, is a ``TypeError``. Keys
        that are equal in Python but not in memcached, such as 1 and 1.0, are a
        ``ValueError``.
        """

    def gets(key, raw=False, default=None):
        """Return ``(value, token)``, or ``(default, None)`` on a miss.

        The token is a str for `IMemcacheWriter.cas`, valid until the server
        restarts. A restarted server counts from the beginning, so an old token
        may match another value: do not keep one in a session. If the server
        does not support compare-and-swap (``memcached -C``), the token begins
        with ``0@`` and `cas` stores nothing. Otherwise like `query`.
        """
