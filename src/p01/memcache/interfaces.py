# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Every contract of the package."""

import math
import pickle

from zope import schema
from zope.interface import Attribute
from zope.interface import Interface


class File(schema.TextLine):
    """The path of a file. In ZCML it may be relative to that file's folder."""


class IMemcacheClient(Interface):
    """Caches Python objects in memcached servers.

    A client is shared by all threads of a process. Trouble with a cache is
    never trouble of its user: a server that is down, slow, or talks nonsense
    is a miss for `query` and None for `set` and `invalidate`, and a line in
    the log ``p01.memcache``. A wrong argument is a ``ValueError`` or
    ``TypeError`` at once, before anything is sent.

    An attribute can be set at any time, under the same rules as the argument
    of that name of the constructor; the operations after that follow it. That
    an argument has no effect without another one is an error of the
    constructor only.
    """

    servers = schema.List(
        title='Servers',
        description=(
            'Addresses of the servers, each of them once: host, host:port, '
            '[ip6]:port or unix:/path, and for the pooled client also '
            'tls://host:port. The port is 11211 by default. A server that '
            'is to have more of the keys than others has a weight at its '
            'end: host:port/?2 is twice the 1 that is the default. Every '
            'process that shares the cache must name the same servers in '
            'the same order, and in the same words.'),
        value_type=schema.TextLine(),
        min_length=1,
        default=['127.0.0.1:11211'])

    debug = schema.Int(
        title='Debug',
        description=(
            'Other than 0: log every operation that went wrong, with its '
            'traceback, instead of once a minute or once per change of a '
            "server's state."),
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
            'Seconds until a value expires, where `set` is not told. '
            '0 never expires.'),
        min=0,
        default=3600)

    namespace = schema.TextLine(
        title='Namespace',
        description=(
            'Text in front of every key, to keep applications on the same '
            'servers apart. Nothing separates it from the key: namespace '
            '"a" with key "bc" is namespace "ab" with key "c".'),
        required=False,
        default=None)

    def buildKey(key):
        """Return the memcached key for `key`: 32 hexadecimal digits, a str.

        They are the MD5 of the namespace and then of

        - a str's UTF-8,
        - bytes as they are,
        - an int's decimal digits (True is 1),
        - the ``_p_oid`` of a persistent object that has got one,
        - the pickle of anything else.

        So ``1``, ``'1'`` and ``b'1'`` are the same key. A pickle is only good
        as a key where equal objects have equal pickles: a dict's depends on
        the order of its items, a set's on the process.

        A key that cannot be pickled, or a str that has no UTF-8, is a
        ``ValueError``.
        """

    def set(key, data, lifetime=None, raw=False):
        """Store `data` and return the built key, or None if it isn't stored.

        `lifetime` is a number of seconds, not negative, and is rounded up to
        whole seconds; None means the client's, 0 never expires. memcached
        counts to the 19th of January 2038: a value must expire before, or
        never. Anything else is a ``ValueError``.

        `data` is pickled; what cannot be is a ``SerializationError`` (a
        ``ValueError``). With `raw`, it is bytes, stored as they are; anything
        else is a ``ValueError``, and so is a value of more than 1 GiB.

        None says that no server acknowledged the value: `query` may give an
        older one, or none. Where the server refused it (as it does if it is
        larger than the server's item size, 1 MiB by default), an older value
        is removed.
        """

    def query(key, raw=False, default=None):
        """Return the value stored for `key`, or `default` if there is none.

        A value that was stored as None is returned as None; only a miss is
        `default`. With `raw`, the stored bytes are returned: those of a raw
        value, or the pickle.

        A value that cannot be read (a broken pickle, a class that is gone,
        flags of another client) is a miss that is told as an
        `IUnreadableValueEvent`.
        """

    def invalidate(key):
        """Remove the value of `key`.

        Returns True if it is gone or wasn't there, None if its server could
        not be told: then the old value may be seen until it expires.
        """

    def invalidateAll():
        """Remove all values from all servers, those of other namespaces too.

        A server that could not be told may still have old values: that is a
        `p01.memcache.errors.NotInvalidated`, raised when all have been asked,
        whose ``errors`` maps those servers' addresses to their errors.
        """

    def getStatistics():
        """Return a list of ``(server, {name: value})``, both of them str.

        The names are those of memcached's command ``stats``. A server that
        does not answer has the single name ``error``.
        """

    def close():
        """Close the connections that are not in use.

        The client can be used on, it connects anew.
        """


class IUltraMemcacheClient(IMemcacheClient):
    """Keeps a bounded pool of connections to each server.

    No operation takes longer than `timeout`. In a forked child it makes
    connections of its own.

    Setting `servers`, or an attribute of the connections (all below, other
    than `timeout`), makes new pools, and forgets what was known about the
    servers, other than what they were not told. Operations under way end on
    the former connections.

    What could not be set or invalidated is remembered, and the server is
    told to forget it before this client reads that key from it again. So
    none of the older values is ever read by this process, even if the server
    was away and comes back with its data. There is a bound of 10,000 keys to
    a server; above that it is flushed, with all that others have there.
    """

    timeout = schema.Real(
        title='Time-out',
        description=(
            'Seconds that an operation may take in all: to wait for a free '
            'connection, to connect, to send and to receive.'),
        min=0.001,
        max=86400,
        constraint=math.isfinite,
        default=3)

    delay = schema.Real(
        title='Delay',
        description=(
            'Seconds between a failed connect and the next try. Meanwhile '
            'operations that would have to connect fail at once.'),
        min=0,
        max=86400,
        constraint=math.isfinite,
        default=3)

    retries = schema.Int(
        title='Retries',
        description=(
            'Failures in a row after which a server is marked down.'),
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
            'The most connections to one server. Who needs one more waits, '
            'first come, first served.'),
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
        'the three files. It cannot be given in ZCML.')

    caFile = File(
        title='CA file',
        description=(
            'Certificates (PEM) of the authorities that are trusted to sign '
            'those of servers; by default those of the system. The '
            'certificate and the name of the host are always verified.'),
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

    username = schema.TextLine(
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
            'client is made, or this is set.'),
        min_length=1,
        required=False)

    def getPools():
        """Return a list of ``(server, {name: number})``: its connections.

        The names are ``active`` (in use), ``idle`` and ``opened`` (so far).
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
    """A stored value could not be read. It was a miss."""

    client = Attribute('The client.')

    key = Attribute('The key, as it was given to the client.')

    error = Attribute('The `p01.memcache.errors.UnreadableValue`.')
