# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Every contract of the package."""

import math
import pickle

from zope import schema
from zope.interface import Attribute
from zope.interface import Interface


class Unshown(schema.TextLine):
    """A text that no error shows: it may be a secret in the wrong place."""


class File(Unshown):
    """The path of a file. In ZCML it may be relative to that file's folder."""


class ISerializer(Interface):
    """Makes bytes of objects, and objects of bytes.

    An application registers its own as a utility with a name, which is what
    `IMemcacheClient.serializer` names.
    """

    def dumps(key, obj):
        """Return ``(data, flags)`` for the object.

        ``data`` is bytes. ``flags`` is an int that tells `loads`, and other
        clients, what they are; those of an application's serializer are made
        of the bits 0 to 5 and 12 to 15, the others are this package's. 0 is
        what a pickle has.

        `key` is what `IMemcacheClient.buildKey` made, as bytes. It stands for
        the namespace, too.

        For an object that it does not take it raises an exception, which the
        caller of `IMemcacheClient.set` gets as a ``SerializationError``.
        """

    def loads(key, data, flags):
        """Return the object.

        Whatever it raises makes the value a miss. It is asked for values with
        flags of other clients, too: these it must not take for its own.
        """


class SerializerName(schema.TextLine):
    """The name of a serializer; or the `ISerializer` itself."""

    def _validate(self, value):
        if not ISerializer.providedBy(value):
            super()._validate(value)


class IMemcacheReader(Interface):
    """Tells the values that are stored, and how the client is set up.

    An attribute can be set at any time, under the same rules as the argument
    of that name of the constructor; the operations after that follow it. That
    an argument has no effect without another one is an error of the
    constructor only.
    """

    servers = schema.List(
        title='Servers',
        description=(
            'Addresses of the servers, each of them once, however it is '
            'spelled: host, host:port, [ip6]:port or unix:/path, and for the '
            'pooled client also tls://host:port. The port is 11211 by '
            'default. A name stands for one server, and may end with a dot; '
            'an ip6 may have a zone, as in [fe80::1%eth0]. A server that '
            'is to have more of the keys than others has a weight at its '
            'end, from 1 to 65535: host:port/?2 is twice the 1 that is the '
            'default. Every process that shares the cache must name the same '
            'servers in the same order, and in the same words.'),
        value_type=schema.TextLine(),
        min_length=1,
        default=['127.0.0.1:11211'])

    debug = schema.Int(
        title='Debug',
        description=(
            'Other than 0: log every operation that went wrong, with its '
            'traceback, instead of once a minute or once per change of a '
            "server's state. With any value, what others have written is "
            'escaped there, and the record has the traceback as its exc_text: '
            'no exception, which a handler might write as it is.'),
        min=0,
        default=0)

    pickleProtocol = schema.Int(
        title='Pickle protocol',
        description=(
            'Pickle protocol of values, and of keys that are pickled; -1 is '
            'the highest that the interpreter has.'),
        min=-1,
        max=pickle.HIGHEST_PROTOCOL,
        default=-1)

    lifetime = schema.Int(
        title='Lifetime',
        description=(
            'Seconds until a value expires, where `set` is not told. It may '
            'expire up to a second earlier, see there. 0 never expires.'),
        min=0,
        default=3600)

    namespace = schema.TextLine(
        title='Namespace',
        description=(
            'Text in front of every key, to keep applications on the same '
            'servers apart. Nothing separates it from the key: namespace '
            '"a" with key "bc" is namespace "ab" with key "c", unless '
            'keyScheme is "strict".'),
        required=False,
        default=None)

    keyScheme = schema.Choice(
        title='Key scheme',
        description=(
            'How keys are built, see `buildKey`. "compatible" is what all '
            'releases of this package did. "strict" keeps all keys apart, and '
            'refuses those that would differ between processes. Every '
            'process that shares the cache must have the same.'),
        values=('compatible', 'strict'),
        default='compatible')

    generations = schema.Bool(
        title='Generations',
        description=(
            'Whether `invalidateNamespace` can be used. A key on the wire '
            "then ends with the namespace's generation, which is stored in "
            'memcached. Reading asks for it together with the values; '
            'everything else needs one more round trip. Where it cannot be '
            'read, what was to be changed cannot be remembered, and so the '
            'whole namespace is invalidated when its server is back. Every '
            'process that shares the cache must have the same.'),
        default=False)

    serializer = SerializerName(
        title='Serializer',
        description=(
            'What turns objects into bytes: "pickle", which all releases of '
            'this package used; "json", for None, bool, int, float, str, and '
            'lists and dicts of these; the name of an `ISerializer` utility '
            'that is registered before the client is made; or an '
            '`ISerializer`. A name behind "signed-", as in "signed-pickle": '
            'only what was signed for its key with one of the secrets is '
            'read. What another serializer has stored is a miss. With '
            'raw=True nothing is serialized, nor signed. See security.txt.'),
        min_length=1,
        default='pickle')

    secretsFile = File(
        title='Secrets file',
        description=(
            'A file of secrets for signatures, separated by blanks or new '
            'lines. Each has at least 32 bytes and 8 different characters, '
            'and does not begin with #. The first one signs, all of '
            'them verify. The file is read when the client is made, or an '
            'attribute of the serializer is set; if that fails, the former '
            'secrets stay. One that others can write to is refused; that they '
            'can read or replace it is logged. See security.txt.'),
        min_length=1,
        required=False)

    secretsVariable = Unshown(
        title='Secrets variable',
        description=(
            'The name of an environment variable that has these secrets, '
            'instead of the file.'),
        min_length=1,
        required=False)

    allow = schema.List(
        title='Allow',
        description=(
            'What pickles may name, anything else is a miss: modules '
            '("shop.model"), for the classes that are defined in them, or '
            'names ("shop.model.Item", "shop.model.load"). None, bool, int, '
            'float, complex, str, bytes, bytearray, tuple, list, dict, set, '
            'frozenset, range and slice are always allowed, made of one '
            'another alone. With None every pickle is read. It is for '
            '"pickle" and "signed-pickle".'),
        value_type=schema.DottedName(),
        required=False,
        default=None)

    compress = schema.Int(
        title='Compress',
        description=(
            'Bytes from which on a value is compressed, where that makes it '
            'smaller: by zstandard if that is installed (the extra "zstd"), '
            'otherwise by zlib. Install it for all processes, or for none: '
            'without it, what it has compressed is a miss. None compresses '
            'nothing. Raw values are not compressed.'),
        min=1,
        required=False,
        default=None)

    maxValueSize = schema.Int(
        title='Largest value',
        description=(
            'The most bytes of a value, as they are before they are '
            'compressed. A larger one is not stored, which is logged, and '
            'what it was to replace is removed; found in memcached it is a '
            'miss. What is announced as larger is not received, but ends '
            'the connection: for `queryMany` the values behind it are asked '
            'for again, ten times at most, and then are misses.'),
        min=1,
        max=1 << 30,
        default=1 << 26)

    def buildKey(key):
        """Return the memcached key for `key`, a str of hexadecimal digits.

        With the scheme "compatible" they are the MD5 (32 digits) of the
        namespace and then of

        - a str's UTF-8,
        - bytes as they are,
        - an int's decimal digits (True is 1),
        - the ``_p_oid`` of a persistent object that has got one,
        - the pickle of anything else.

        A security proxy, or an acquisition wrapper as that of the context of
        a view, counts as what is behind it, also within a key: with both
        schemes ``('view', self.context)`` is a key. In a pickle a persistent
        object that has got its ``_p_oid`` stands for that. Any other object
        that is behind a security proxy, and would not be a key with the
        scheme "strict", is a ``SerializationError``: a key would show what is
        in it to those who may not see it, but can guess it.

        So ``1``, ``'1'`` and ``b'1'`` are the same key. Equal keys of the
        same types have equal pickles, in every process: each part is pickled
        as if it were an object of its own, and a set in one order. What
        remains is the order of a dict's items, which counts. A member of an
        enum, a class, or an instance of a class without ``__eq__`` is itself
        alone, and one object in a pickle. Where no two parts of a key are
        equal, or only those that are the same object in every process, the
        key is that of the older releases.

        With the scheme "strict" they are the BLAKE2b (64 digits) of the
        namespace, with its length, and of an encoding that keeps all keys
        apart: ``1``, ``'1'``, ``b'1'``, ``True`` and ``1.0`` are five keys.
        Equal keys of the same types are the same key in every process,
        whatever the order of a dict or a set. A key is

        - a str, bytes, int, float, bool, None, date, datetime, time,
          timedelta or UUID,
        - a member of an enum that can be imported,
        - a persistent object that has got its ``_p_oid``; the name of its
          database counts, where it has one,
        - a tuple, list, set, frozenset or dict of these. A frozenset is as
          the set. A time or datetime is its local time and its offset.

        Anything else is a ``TypeError`` that tells where in the key it
        stands, and so is an instance of a subclass, which may be more than
        its base shows.

        What ``function.key(...)`` of a function that is `cached` returns has
        64 digits with both schemes, and is the key of nothing else.

        NaN is a ``ValueError``. So is, with both schemes, what cannot be
        pickled, and a str that has no UTF-8.
        """

    def query(key, raw=False, default=None):
        """Return the value stored for `key`, or `default` if there is none.

        A value that was stored as None is returned as None; only a miss is
        `default`. With `raw`, the stored bytes are returned: those of a raw
        value, or the pickle, without its signature and not compressed. The
        bytes of a raw value are anybody's, also with "signed-pickle": they
        are not to be unpickled.

        A value that cannot be read (a broken pickle, a class that is gone, a
        wrong signature, flags of another client) is a miss that is told as an
        `IUnreadableValueEvent`, and counted by `getUnreadable`.
        """

    def queryMany(keys, raw=False):
        """Return a dict of the keys and values that there are.

        The keys are those of the caller, each one hashable. The pooled client
        asks all servers at the same time, each for up to 1,000 keys in a
        turn. Each turn is a round trip. What arrived whole is returned, also
        where a server failed after that.

        A single str is a ``TypeError``, and so is a key that cannot be in a
        dict. Keys that are equal in Python, but not to memcached (1 and 1.0),
        are a ``ValueError``.
        """

    def gets(key, raw=False, default=None):
        """Return ``(value, token)``, or ``(default, None)`` if there is none.

        The token is a str for `cas`, and good as long as the server runs. One
        that was started anew counts from the beginning, so that an old token
        may fit another value: do not keep one in a session. Of a server that
        cannot compare and swap (memcached -C), it begins with ``0@``, and
        `cas` stores nothing. Otherwise this is `query`.
        """


class IMemcacheWriter(Interface):
    """Changes the values that it is told, and their lifetimes.

    `queryAndTouch` and `getOrCreate` return the value as well.
    """

    def set(key, data, lifetime=None, raw=False, dependencies=()):
        """Store `data` and return the built key, or None if it isn't stored.

        `lifetime` is a number of seconds, not negative, and is rounded up to
        whole seconds; None means the client's, 0 never expires. memcached
        counts the seconds of its own clock as they begin: a value lives for
        up to a second less than its lifetime, and with a lifetime of 1 it may
        be gone at once. Use 2 or more where it has to be there at all.

        Above 30 days memcached is given the time at which the value expires,
        which is made of this machine's clock. So the lifetime is wrong by as
        much as this clock differs from that of the server, and where it is
        behind by more than the lifetime the value is gone at once. memcached
        counts to the 19th of January 2038: a value must expire before, or
        never. Anything else is a ``ValueError``.

        `data` is serialized, see `serializer`; what cannot be is a
        ``SerializationError`` (a ``ValueError``). So is an object with a
        security proxy, which would come back without it, and a persistent
        object; to the serializers of this package also where it is part of
        the value. With `raw`, it is bytes, stored as they are; anything else
        is a ``ValueError``.

        None says that no server acknowledged the value: `query` may give an
        older one, or none. Where it is larger than `maxValueSize`, or the
        server refused it (as it does if it is larger than the server's item
        size, 1 MiB by default), an older value is removed.

        `dependencies` are up to 100 str, such as ``('path:/shop', 'user:7')``:
        the value is a miss after `invalidateDependencies` of one of them.
        Their versions are read first, one round trip, and compared whenever
        the value is read, one more for all values of a `queryMany`. They are
        those of now: what was computed before, from something that was
        invalidated meanwhile, is taken for new. `getOrCreate` reads them
        before it computes.
        """

    def add(key, data, lifetime=None, raw=False):
        """Store `data` unless there is a value.

        Returns True if it is stored, False if there is a value, None if
        nobody knows. The arguments are those of `set`.

        As a lock it holds for the lifetime less a second, and no longer than
        memcached keeps the value; commands.txt has how to give it back, and
        what it cannot promise. To have one caller compute a value there is
        `getOrCreate`.

        It may be False where `query` is a miss: memcached has values that
        depend on something invalidated, or are in their grace; and while a
        value is computed for `getOrCreate` there is a claim in its place. The
        claim of a process that has died lasts for ten minutes. `replace`,
        `append`, `prepend` and `touch` find these, too. None of them stores
        dependencies.
        """

    def replace(key, data, lifetime=None, raw=False):
        """Store `data` if there is a value.

        Returns True if it is stored, False if there was no value, None if
        nobody knows. The arguments are those of `set`.
        """

    def append(key, data):
        """Put bytes behind a raw value, which keeps its lifetime.

        Returns True if that was done, False if there is no value, or it would
        be too large for the server, None if nobody knows. `data` that is not
        bytes is a ``ValueError``. It would break a value that is pickled, or
        that has dependencies; and what grows beyond `maxValueSize` is a miss.
        """

    def prepend(key, data):
        """Put bytes in front of a raw value, as `append` does behind it."""

    def touch(key, lifetime=None):
        """Give the value a new lifetime, which begins now.

        Returns True if that was done, False if there is no value, None if
        nobody knows. The lifetime is that of `set`.
        """

    def queryAndTouch(key, lifetime=None, raw=False, default=None):
        """Return the value as `query` does, and give it a new lifetime.

        This is memcached's command ``gat``, which some proxies do not know:
        with them it is always a miss.
        """

    def cas(key, data, token, lifetime=None, raw=False):
        """Store `data` if the value is still the one that `gets` returned.

        Returns True if it is stored; False if the value was changed by
        another; None if there is no value any more, or the key is on another
        server now, or nobody knows. Then begin anew with `gets`. None, and a
        line in the log, where the server cannot compare and swap. Anything
        that is not a token is a ``ValueError``. A token that is older than
        the server's last start may fit another value, see `gets`. The other
        arguments are those of `set`.
        """

    def increment(key, delta=1, initial=None, lifetime=None):
        """Add `delta` to a counter and return its new value, an int.

        A counter is a raw value of decimal digits, so ``query(key, raw=True)``
        reads it, and ``set(key, b'5', raw=True)`` sets it. It has 64 bits,
        and begins at 0 again above 2 ** 64 - 1.

        Where there is none it is set to `initial`, for `lifetime` seconds, and
        `initial` is returned; with None there is still none, and None is
        returned. It is also returned where the value is not a number, and
        where nobody knows what became of the counter, which is then removed
        rather than wrong.

        `delta` and `initial` are int from 0 to 2 ** 64 - 1, anything else is a
        ``ValueError``.
        """

    def decrement(key, delta=1, initial=None, lifetime=None):
        """Subtract `delta` from a counter, as `increment` adds it.

        A counter does not go below 0. memcached leaves blanks behind a number
        that has become shorter: ``query(key, raw=True)`` may return b'9 '.
        """

    def setMany(mapping, lifetime=None, raw=False):
        """Store the values, and return a list of the keys that aren't stored.

        `mapping` maps keys to values. If one of them cannot be built, or not
        be pickled, nothing is sent. Keys that are the same to memcached (1
        and '1', see `buildKey`) are a ``ValueError``. The rest is as with
        `set`, for each key.

        The pooled client sends each server up to 500 keys, or 64 KiB (16 KiB
        over TLS), in a turn, and all servers at the same time. Each turn is
        a round trip. A larger value has a turn of its own.
        """

    def invalidate(key):
        """Remove the value of `key`.

        Returns True if it is gone or wasn't there, None if its server could
        not be told: then the old value may be seen until it expires.
        """

    def invalidateMany(keys):
        """Remove the values, return a list of the keys that aren't removed.

        That is, whose server could not be told, see `invalidate`. A single str
        is a ``TypeError``. It takes turns as `setMany` does.
        """

    def invalidateDependencies(*dependencies):
        """Make all values that depend on one of them misses, at once.

        It does not matter how many there are. Dependencies belong to the
        client's namespace. Returns True, or None if a server could not be
        told. What is not a str is a ``TypeError``.
        """

    def getOrCreate(key, factory, lifetime=None, grace=None, dependencies=()):
        """Return the value of `key`, or what ``factory()`` returns.

        What it returns is serialized and stored, for `lifetime` seconds (see
        `set`). One caller computes it, among all threads of all processes
        that share the cache, and the others wait for it. Whoever has waited
        for the client's time-out computes it, too, and what is ready first is
        stored. The caller of the factory gets the very object that it has
        returned, all others get a copy.

        To find the value, or to wait for it, takes one time-out at most. The
        factory takes as long as it takes. To store what it returned, or to
        give the right to compute back, may take one time-out more.

        `grace` is the number of seconds, after the lifetime, for which callers
        that give a `grace` are served the former value at once, while one of
        them computes a new one. Everybody else does not see it any more. With
        a lifetime of 0 it has no effect.

        To memcached 1.6 a value is old that has less than the caller's `grace`
        seconds to live: with another one it is renewed too early, or too late.
        So use one `grace` for a key. memcached counts whole seconds: the
        renewal may begin about a second after `query` misses.

        What the factory raises goes to its caller, and the next one may
        compute. A process that dies while it computes holds up the others
        for the time-out. Where the key (or a dependency of the value) was
        invalidated meanwhile, what was computed is returned to the caller of
        the factory and not stored; neither is what took longer than ten
        minutes, or longer than the grace of the value that it renews.
        `dependencies` are those of `set`, with the versions that they had
        before the factory was called.

        Without a server that answers, one thread of the process computes at a
        time, and those who wait for it get what it returned.

        A factory that asks for its own key is a ``RuntimeError``, one that
        cannot be called a ``TypeError``, and a value that cannot be serialized
        a ``SerializationError``. One that is larger than `maxValueSize` is
        returned and not stored, so each caller computes it.

        The right to compute is a claim that is added in the key's place; the
        right to renew is lent by memcached 1.6, with its meta commands, and
        is a claim, too, on older servers and proxies. Which of the two it is,
        is found out once for each server. A right that is not given back ends
        by itself: to compute what is missing, after ten minutes; to renew a
        value, after a minute. It ends as well when memcached is restarted: a
        value that was set meanwhile stays.

        A server that cannot compare and swap lends nothing, and that is logged
        once: one thread of each process computes, and what was computed is
        stored whatever happened meanwhile.
        """


class IMemcacheFlusher(Interface):
    """Empties the cache, and lets go of its servers."""

    def invalidateNamespace():
        """Make all values of the client's namespace misses, at once.

        Other namespaces are not touched, and the server is not flushed: the
        namespace has a new generation, which never was before, not even if
        memcached loses it. The former values are never read again, and make
        room when memcached needs it.

        Returns True, or None if its server could not be told. Without
        `generations` it is a ``ValueError``.
        """

    def invalidateAll():
        """Remove all values from all servers, those of other namespaces too.

        A server that could not be told may still have old values: that is a
        `p01.memcache.errors.NotInvalidated`, raised when all have been asked,
        whose ``errors`` maps those servers' addresses to their errors.
        """

    def close():
        """Close the connections that are not in use.

        The client can be used on, it connects anew.
        """


class IMemcacheStatistics(Interface):
    """Tells how the servers do, and what was wrong with values."""

    def getStatistics():
        """Return a list of ``(server, {name: value})``, both of them str.

        The names are those of memcached's command ``stats``. A server that
        does not answer has the single name ``error``.
        """

    def getUnreadable():
        """Return a dict of what made values unreadable, and how often.

        That is, a miss, since the client was made. The keys are the names of
        `p01.memcache.errors.UnreadableValue` and its subclasses:
        ``ForgedValue`` for a wrong, missing or moved signature,
        ``ForbiddenGlobal`` for what `allow` does not list, ``ValueTooLarge``.
        """


class IMemcacheClient(
        IMemcacheReader, IMemcacheWriter, IMemcacheFlusher,
        IMemcacheStatistics):
    """Caches Python objects in memcached servers.

    A client is shared by all threads of a process. Trouble with a cache is
    never trouble of its user: a server that is down, slow, or talks nonsense
    is a miss for `query` and None for `set` and `invalidate`, and a line in
    the log ``p01.memcache``. A wrong argument is a ``ValueError`` or
    ``TypeError`` at once, before anything is sent.

    What it can do is said by the interfaces that it inherits. They are parts,
    so that code that is not trusted can be given one and not another; see
    zcml.txt.
    """


class IUltraMemcacheReader(IMemcacheReader):
    """Tells how the connections are set up, too.

    Setting `servers`, or an attribute of the connections (all below, other
    than `timeout`), makes new pools, and forgets what was known about the
    servers, other than what they were not told. Operations under way end on
    the former connections.
    """

    timeout = schema.Real(
        title='Time-out',
        description=(
            'Seconds that an operation may take in all: to wait for a free '
            'connection, to connect, to send and to receive. `getOrCreate` '
            'may take longer. For a site with few threads cluster.txt has '
            'smaller values of this and of the next ones, and the reasons.'),
        min=0.001,
        max=86400,
        constraint=math.isfinite,
        default=3)

    delay = schema.Real(
        title='Delay',
        description=(
            'Seconds between a failed connect and the next try. Meanwhile '
            'operations that would have to connect fail at once. Then one at '
            'a time tries.'),
        min=0,
        max=86400,
        constraint=math.isfinite,
        default=3)

    retries = schema.Int(
        title='Retries',
        description=(
            'Failures in a row after which a server is marked down. What '
            'many threads see at a time is one failure; that of a connection '
            'which was used before is none.'),
        min=1,
        default=3)

    pooltime = schema.Real(
        title='Pool time',
        description=(
            'Seconds for which a connection may be idle. It is not used '
            'after that, and closed with the next operation.'),
        min=0,
        max=86400,
        constraint=math.isfinite,
        default=60)

    maxAge = schema.Real(
        title='Most age',
        description=(
            'Seconds after which a connection is not used any more, however '
            'busy it is. The next one asks for the addresses of the '
            "server's name again: so the client follows a name that moves "
            'to another machine.'),
        min=0,
        max=86400,
        constraint=math.isfinite,
        default=300)

    blacktime = schema.Real(
        title='Black-list time',
        description=(
            'Seconds for which a server that is marked down is left alone. '
            'Then one operation is let through, and decides whether it is '
            'up again.'),
        min=0,
        max=86400,
        constraint=math.isfinite,
        default=60)

    maxPoolSize = schema.Int(
        title='Pool size',
        description=(
            'The most connections to one server. Whoever needs one more '
            'waits, first come, first served.'),
        min=1,
        default=50)

    distribution = schema.Choice(
        title='Distribution',
        description=(
            'Which server has a key. "ketama" is what libmemcached does with '
            'weighted ketama: when a server is added, few keys move. '
            '"modulo" is what python-memcached does, and so '
            '`p01.memcache.client.MemcacheClient`. "roundrobin" sends each '
            'operation to the next server, which is right for proxies that '
            'have the same servers behind them, and for nothing else.'),
        values=('ketama', 'modulo', 'roundrobin'),
        default='ketama')

    failover = schema.Bool(
        title='Fail-over',
        description=(
            'Whether the keys of a server that is down go to the next one, '
            'with a lifetime that ends when the server is asked again. '
            'Otherwise they are misses. See cluster.txt for what that costs. '
            'Proxies ("roundrobin") stand in for each other anyway.'),
        default=False)

    ssl_context = Attribute(
        'An ``ssl.SSLContext`` for the servers that are tls://, instead of '
        'the three files. It cannot be given in ZCML. One that does not '
        'verify certificates and the names of hosts is refused; its '
        '``hostname_checks_common_name`` is set to False.')

    caFile = File(
        title='CA file',
        description=(
            'Certificates (PEM) of the authorities that are trusted to sign '
            'those of servers; by default those of the system. The '
            'certificate and the name of the host, which must be a subject '
            'alternative name, are always verified.'),
        min_length=1,
        required=False)

    certFile = File(
        title='Certificate file',
        description=(
            'The certificate (PEM) that the client shows to servers which '
            'ask for one.'),
        min_length=1,
        required=False)

    keyFile = File(
        title='Key file',
        description=(
            "The certificate's private key (PEM), not encrypted, where it is "
            'not in the same file.'),
        min_length=1,
        required=False)

    username = Unshown(
        title='User name',
        description=(
            "For servers that ask for it, with memcached's ASCII "
            'authentication (-Y). 1 to 127 bytes, without blanks and colons.'),
        required=False)

    password = schema.Password(
        title='Password',
        description=(
            'It is written, not read: the attribute shows as <secret>. '
            'Without tls:// it crosses the network as it is.'),
        required=False)

    credentialsFile = File(
        title='Credentials file',
        description=(
            'A file whose first line is user:password, instead of these two, '
            'so that the secret need not stand in ZCML. It is read when the '
            'client is made, or this is set. One that others can write to '
            'is refused; that they can read or replace it is logged.'),
        min_length=1,
        required=False)


class IUltraMemcacheStatistics(IMemcacheStatistics):
    """Tells how the connections do, too."""

    def getPools():
        """Return a list of ``(server, {name: number})``: its connections.

        The names are ``active`` (in use), ``idle`` and ``opened`` (so far).
        """


class IUltraMemcacheClient(
        IMemcacheClient, IUltraMemcacheReader, IUltraMemcacheStatistics):
    """Keeps a bounded pool of connections to each server.

    No operation takes longer than `timeout`, but for `getOrCreate`, which
    tells how long it takes. In a forked child it makes connections of its
    own, also where Python does not hear of the fork.

    What could not be set or invalidated is remembered, and the server is
    told to forget it before this client reads that key from it again. So
    none of the older values is ever read by this process, even if the server
    was away and comes back with its data. There is a bound of 10,000 keys to
    a server; above that it is flushed, with all that others have there.
    """


class IServerEvent(Interface):
    """The state of a server of a pooled client has changed.

    It is notified once per change, in the thread that found out, which waits
    for the handlers. What one of them raises is logged.
    """

    server = Attribute("The server's address, as it is configured.")

    reason = Attribute('What happened, in words for a person.')


class IServerDownEvent(IServerEvent):
    """A server was marked down, and is not asked for `blacktime` seconds."""


class IServerUpEvent(IServerEvent):
    """A server that was marked down has answered."""


class IInvalidateCacheEvent(Interface):
    """Something that is cached has changed.

    Notify it with ``zope.event.notify``, the package's handler does the rest.
    """

    key = Attribute('The key to invalidate, see `IMemcacheClient.buildKey`.')

    cacheName = Attribute(
        'The name of the utility to invalidate it in, or None for every '
        '`IMemcacheClient` there is. A name that is not registered is a '
        '``zope.interface.interfaces.ComponentLookupError``.')


class IUnreadableValueEvent(Interface):
    """A stored value could not be read. It was a miss.

    It is notified in the thread that found out, which waits for the handlers.
    What one of them raises is logged.
    """

    client = Attribute('The client.')

    key = Attribute('The key, as it was given to the client.')

    error = Attribute('The `p01.memcache.errors.UnreadableValue`.')
