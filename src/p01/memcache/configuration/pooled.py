# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The settings of the pooled client: connections, servers, TLS, login."""

from zope import schema
from zope.interface import Attribute

from p01.memcache.configuration.field import Drained
from p01.memcache.configuration.field import File
from p01.memcache.configuration.field import Seconds
from p01.memcache.configuration.field import Unshown
from p01.memcache.configuration.settings import IMemcacheSettings


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class IUltraMemcacheSettings(IMemcacheSettings):
    """How the connections of a pooled client are configured, too.

    Setting `connectTimeout`, `delay`, `retries`, `pooltime`, `maxAge`,
    `blacktime`, `maxPoolSize`, or what TLS and the login need, makes new
    pools: the client forgets what it knew about the servers, except for the
    changes that they have missed. Operations under way finish on the former
    connections. All other settings keep the connections to the servers that
    stay.
    """

    timeout = Seconds(
        title='Time-out',
        description=(
            'Seconds that an operation may take in all: to wait for a '
            'connection, to connect, to send and to receive. getOrCreate may '
            'take longer. For a site with few threads see cluster.txt, which '
            'suggests smaller values of this and the next settings.'),
        min=0.001,
        default=3)

    connectTimeout = Seconds(
        title='Connect time-out',
        description=(
            'The most of the time-out, in seconds, that is spent to connect: '
            'to resolve the name, to reach its addresses, which share the '
            'time, for the TLS handshake and for the login. So a server that '
            'is gone costs an operation no more than that. Without it, or if '
            'it is longer, connecting may take as long as the operation.'),
        min=0.001,
        required=False,
        default=None)

    delay = Seconds(
        title='Delay',
        description=(
            'Seconds between a failed attempt to connect and the next one. '
            'Meanwhile operations that need a new connection fail at once. '
            'After that, one operation at a time tries.'),
        default=3)

    retries = schema.Int(
        title='Retries',
        description=(
            'Failures in a row after which a server is marked down. A failure '
            'that many threads see at the same time counts once; one of a '
            'connection that was used before does not count.'),
        min=1,
        default=3)

    pooltime = Seconds(
        title='Pool time',
        description=(
            'Seconds for which a connection may be idle. After that it is '
            'not used again, and is closed during the next operation.'),
        default=60)

    maxAge = Seconds(
        title='Maximum age',
        description=(
            'Seconds after which a connection is not used again, however '
            'busy it is. Its successor resolves the name of the server '
            'again, so the client follows a name that moves to another '
            'machine, and uses the passwords and certificates of that time.'),
        default=300)

    blacktime = Seconds(
        title='Black-list time',
        description=(
            'Seconds for which a server that is marked down is not used. '
            'After that, one operation decides whether it is up again.'),
        default=60)

    maxPoolSize = schema.Int(
        title='Pool size',
        description=(
            'The most connections to one server. A thread that needs one '
            'more waits, first come, first served.'),
        min=1,
        default=50)

    distribution = schema.Choice(
        title='Distribution',
        description=(
            'Which server a key is on. "ketama" is the weighted ketama of '
            'libmemcached: few keys move when a server is added. "modulo" is '
            'the distribution of python-memcached, and so of '
            'p01.memcache.client.MemcacheClient. "roundrobin" sends each '
            'operation to the next server: only for proxies in front of the '
            'same servers.'),
        values=('ketama', 'modulo', 'roundrobin'),
        default='ketama')

    failover = schema.Bool(
        title='Fail-over',
        description=(
            'Whether the keys of a server that is down move to the next '
            'one, with a lifetime that ends when the server is tried again. '
            'Otherwise they are misses. cluster.txt explains the costs. '
            'Proxies ("roundrobin") replace each other in any case.'),
        default=False)

    refresh = Seconds(
        title='Refresh',
        description=(
            'Seconds between two looks at the places where `servers` says to '
            'look for a list. It is also looked for when a server fails.'),
        min=0.1,
        default=30)

    handover = Seconds(
        title='Hand-over',
        description=(
            'Seconds after a change of the list of servers for which other '
            'processes may still use the former one. Meanwhile the keys that '
            'moved to another server are misses and are not stored, and a '
            'change to one of them removes it from both its servers. So '
            'nobody gets an outdated value, if all processes hear of the '
            'change within that time, less `timeout`. None stands for '
            '`refresh`, `timeout` and three seconds if a list was found, and '
            'for 0 if one was assigned. See cluster.txt.'),
        required=False,
        default=None)

    drained = Drained(
        title='Drained',
        description=(
            'Addresses of listed servers that are not used during a '
            'maintenance, as getPools() names them. Their keys move to the '
            'others. An address that is not listed has no effect.'),
        value_type=schema.TextLine(),
        default=[])

    ssl_context = Attribute(
        'An ``ssl.SSLContext`` for the servers with tls://, instead of the '
        'three files. ZCML cannot set it. A context that does not verify '
        'certificates and host names is rejected; its '
        '``hostname_checks_common_name`` is set to False.')

    caFile = File(
        title='CA file',
        description=(
            'Certificates (PEM) of the authorities trusted to sign server '
            "certificates; the default is the system's. The certificate and "
            'the host name, which must be a subject alternative name, are '
            'always verified. This file and the next two are read again '
            'before a new connection if they have changed, and after a failed '
            'handshake. If they are wrong then, the former ones remain in '
            'force. See security.txt.'),
        min_length=1,
        required=False)

    certFile = File(
        title='Certificate file',
        description=(
            'The certificate (PEM) of the client, for servers that ask for '
            'one.'),
        min_length=1,
        required=False)

    keyFile = File(
        title='Key file',
        description=(
            'The private key (PEM) of the certificate, unencrypted, if it is '
            'not in the same file.'),
        min_length=1,
        required=False)

    username = Unshown(
        title='User name',
        description=(
            "For servers with memcached's ASCII authentication (-Y). 1 to "
            '127 bytes, without blanks and colons.'),
        required=False)

    password = schema.Password(
        title='Password',
        description=(
            'It can be set but not read: the attribute shows <secret>. '
            'Without tls:// it crosses the network in clear text.'),
        required=False)

    credentialsFile = File(
        title='Credentials file',
        description=(
            'A file whose first line is user:password, instead of username '
            'and password, to keep the secret out of ZCML. A file that others '
            'can write to is rejected; one that others can read or replace is '
            'logged. It is read again before a new connection if it has '
            'changed, and after a refused login; if it is wrong then, the '
            'former content remains in force. A server that refuses a new '
            'password gets the one that it accepted last. See security.txt.'),
        min_length=1,
        required=False)
