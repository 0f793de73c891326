# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pooled memcache client."""

import math
import ssl
from functools import partial
from time import monotonic

from zope.event import notify
from zope.interface import implementer

from p01.memcache.cluster.cluster import Cluster
from p01.memcache.cluster.health import Health
from p01.memcache.cluster.ring import DISTRIBUTIONS
from p01.memcache.cluster.server import Server
from p01.memcache.cluster.undelivered import Backlog
from p01.memcache.errors import AuthenticationError
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import ConnectTimeout
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendError
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.event import ServerDownEvent
from p01.memcache.event import ServerUpEvent
from p01.memcache.facade.base import BaseClient
from p01.memcache.features import lease
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.secret import discreet
from p01.memcache.threads import fork
from p01.memcache.threads.pool import Pool
from p01.memcache.transport import address
from p01.memcache.transport import credentials
from p01.memcache.transport import tls
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.values.flags import CLAIM
from p01.memcache.wire import cas
from p01.memcache.wire import meta
from p01.memcache.wire import protocol


def _tell(server, state, reason):
    event = ServerDownEvent if state == 'down' else ServerUpEvent
    notify(event(server, reason))


@implementer(IUltraMemcacheClient)
class UltraMemcacheClient(BaseClient):
    """See `IUltraMemcacheClient`."""

    _interface = IUltraMemcacheClient
    _told = (ServerDown, ConnectError, ConnectTimeout, AuthenticationError,
             SendError, SendTimeout, ReceiveError, ReceiveTimeout,
             ProtocolError)

    # What the connections depend on; for some of it files are read.
    _encrypting = frozenset(('ssl_context', 'caFile', 'certFile', 'keyFile'))
    _authenticating = frozenset(('username', 'password', 'credentialsFile'))
    _connecting = _encrypting | _authenticating | frozenset((
        'servers', 'retries', 'delay', 'blacktime', 'maxPoolSize',
        'pooltime', 'maxAge', 'distribution', 'failover'))

    @discreet
    def __init__(self, servers=('127.0.0.1:11211',), debug=0,
                 pickleProtocol=-1, lifetime=3600, namespace=None, timeout=3,
                 delay=3, retries=3, pooltime=60, blacktime=60,
                 maxPoolSize=50, *, keyScheme='compatible',
                 generations=False, serializer='pickle', secretsFile=None,
                 secretsVariable=None, allow=None, compress=None,
                 maxValueSize=1 << 26, distribution='ketama', failover=False,
                 ssl_context=None, caFile=None, certFile=None, keyFile=None,
                 username=None, password=None, credentialsFile=None,
                 maxAge=300):
        super().__init__(
            servers=servers, debug=debug, pickleProtocol=pickleProtocol,
            lifetime=lifetime, namespace=namespace, timeout=timeout,
            delay=delay, retries=retries, pooltime=pooltime,
            blacktime=blacktime, maxPoolSize=maxPoolSize, keyScheme=keyScheme,
            generations=generations, serializer=serializer,
            secretsFile=secretsFile, secretsVariable=secretsVariable,
            allow=allow, compress=compress, maxValueSize=maxValueSize,
            distribution=distribution, failover=failover,
            ssl_context=ssl_context, caFile=caFile, certFile=certFile,
            keyFile=keyFile, username=username, password=password,
            credentialsFile=credentialsFile, maxAge=maxAge)
        self._check_together()
        self._backlogs = {}
        self._health = {}
        fork.register(self)
        self._context = self._make_context()
        self._credentials = self._read_credentials()
        self._cluster = self._connect(None)
        self._is_made = True

    def _follow(self, name):
        super()._follow(name)
        if name not in self._connecting:
            return
        former = self._cluster
        if name in self._encrypting or name == 'servers':
            self._context = self._make_context()
        elif name in self._authenticating:
            self._credentials = self._read_credentials()
        self._cluster = self._connect(former)
        former.close()

    def getPools(self):
        return [
            (server.address, server.statistics())
            for server in self._cluster.servers]

    def close(self):
        self._cluster.close()

    def _check_together(self):
        """Raise a ValueError if an argument would have no effect."""
        def given(name):
            return getattr(self, name) is not None

        for name, other in (('password', 'username'), ('keyFile', 'certFile')):
            if given(name) and not given(other):
                raise ValueError(f'{name}: needs a {other}, too')
        for name in ('ssl_context', 'caFile', 'certFile'):
            if given(name) and not self._is_encrypted():
                raise ValueError(f'{name}: none of the servers is tls://')

    def _is_encrypted(self):
        return any(server.tls for server in address.parse_all(self.servers))

    def _connect(self, former):
        addresses = address.parse_all(self.servers)
        ring = DISTRIBUTIONS[self.distribution](addresses)
        servers, backlogs, healths = [], {}, {}
        for server in addresses:
            keeping = LockKeeping()
            connection = partial(
                Connection, Dialer(server), keeping, self.maxAge,
                self._context if server.tls else None, server.server_name,
                self._credentials)
            # What a server has not heard of, it must hear of also if it is
            # asked in another way now.
            owner = 'proxies' if ring.alike else server.place
            backlogs[owner] = (
                backlogs.get(owner) or self._backlogs.get(owner)
                or Backlog(server.text, flush=not ring.alike))
            healths[server.place] = health = Health(
                server.text, self.retries, self.delay, self.blacktime, _tell)
            if server.place in self._health:
                health.inherit(self._health[server.place])
            pool = Pool(connection, self.maxPoolSize, self.pooltime)
            servers.append(
                Server(server.text, pool, keeping, health, backlogs[owner]))
        cluster = Cluster(servers, ring, self.failover)
        if former is not None:
            cluster.inherit(former)
        self._backlogs, self._health = backlogs, healths
        return cluster

    def _make_context(self):
        context = self.ssl_context
        files = self.caFile, self.certFile, self.keyFile
        if context is None:
            return tls.make_context(*files) if self._is_encrypted() else None
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(
                'ssl_context: must be an SSLContext, not'
                f' {type(context).__name__}')
        if context.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise ValueError('ssl_context: is one for servers')
        if any(file is not None for file in files):
            raise ValueError('ssl_context: must not be given with files')
        return tls.check_context(context)

    def _read_credentials(self):
        if self.credentialsFile is None:
            if self.username is None:
                return None
            if self.password is None:
                raise ValueError('username: needs a password, too')
            return credentials.Credentials(self.username, self.password)
        if self.username is not None:
            raise ValueError(
                'credentialsFile: must not be given with a username')
        return credentials.read(self.credentialsFile)

    @property
    def _timeout(self):
        return self.timeout

    def _retrieve(self, key, deadline):
        wanted, found = (key,), {}
        self._cluster.server(key, deadline).request(
            protocol.get(wanted), protocol.read_values, deadline, wanted,
            found, self._codec.most)
        return found.get(key)

    def _retrieve_many(self, keys, deadline, most):
        return self._cluster.read_all(keys, deadline, most)

    def _retrieve_unique(self, key, deadline):
        server = self._cluster.server(key, deadline)
        found = server.request_uncommon(
            protocol.gets(key), protocol.read_unique, deadline, key,
            self._codec.most)
        return cas.of(found, server.backlog.name)

    def _change(self, key, request, expires, read, deadline, server=None,
                since=math.inf):
        return self._cluster.change(
            key, request, expires, read, deadline, server, since)

    def _change_many(self, changes, request, expires, read, deadline):
        return self._cluster.change_all(
            changes, request, expires, read, deadline)

    def _renew(self, key, request, expires, read, deadline, *args):
        return self._cluster.renew(
            key, request, expires, read, deadline, *args)

    def _lend(self, key, grace, deadline):
        server = self._cluster.server(key, deadline)
        name, mine = server.backlog.name, None
        if not server.knows_meta(deadline) or name in self._unlending:
            return lease.claim(self, key, name, deadline)
        look = partial(
            server.request, meta.get_or_renew(key, grace), meta.read_leased,
            deadline, key, self._codec.most)
        since = monotonic()
        try:
            found = look()
            if found is None:
                mine = lease.make_mark()
                unique = self._change(
                    key, partial(meta.add, key, mine, CLAIM), lease.SECONDS,
                    partial(meta.read_added, key=key), deadline)
                if unique:
                    return lease.Lease(
                        None, cas.make(unique, name), True, since=since,
                        mark=mine)
                since = monotonic()
                found = look()
        except ClientError:
            server.forget_meta()
            raise
        if found is None:
            return None
        data, flags, unique, win = found
        if not unique:
            if data == mine:
                self._remove(key, deadline)
            return lease.lend_nothing(
                self, key, name, 'its unique numbers are 0', deadline)
        number = cas.make(unique, name)
        if flags == CLAIM:
            return lease.Lease(
                None, number, data == mine, since=since, mark=data)
        if not data and win is not None:
            # The claim of another kind of client.
            return lease.Lease(None, number, win, since=since)

        def give_back(deadline):
            server.request(meta.make_stale(key, unique),
                           meta.read_made_stale, deadline, since=since)

        return lease.Lease(
            (data, flags), number, win, give_back if win else None,
            knows_age=grace > 0, since=since, mark=data)

    def _is_leased(self, key, deadline):
        server = self._cluster.server(key, deadline)
        if not server.knows_meta(deadline):
            return None
        return server.request(
            meta.is_leased(key), meta.read_is_leased, deadline)

    def _owe(self, key):
        self._cluster.owe(key)

    def _owe_absent(self, key, deadline):
        self._cluster.owe_absent(key, deadline)

    def _flush(self, deadline):
        cluster = self._cluster
        try:
            replies = cluster.ask_all(
                protocol.flush_all(), protocol.read_ok, deadline)
        except BaseException:
            for server in cluster.servers:
                server.backlog.add_all()
            raise
        for server, reply in replies:
            if isinstance(reply, MemcacheError):
                server.backlog.add_all()
        return [(server.address, reply) for server, reply in replies]

    def _statistics(self, deadline):
        return [(server.address, reply)
                for server, reply in self._cluster.ask_all(
                    protocol.stats(), protocol.read_stats, deadline)]
