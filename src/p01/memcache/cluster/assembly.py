# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A cluster, put together as the settings of a client say."""

import ssl
from functools import partial
from typing import Any

from zope.event import notify

from p01.memcache.cluster.cluster import Cluster
from p01.memcache.cluster.cluster import Memory
from p01.memcache.cluster.ring import DISTRIBUTIONS
from p01.memcache.cluster.server import Server
from p01.memcache.event import ServerDownEvent
from p01.memcache.event import ServerUpEvent
from p01.memcache.health.health import Health
from p01.memcache.health.undelivered import Undelivered
from p01.memcache.threads.pool import Pool
from p01.memcache.transport import credentials
from p01.memcache.transport import tls
from p01.memcache.transport.address import parse_all
from p01.memcache.transport.connection import Connection
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.lockkeeping import LockKeeping
from p01.memcache.wire.batch import MOST_BYTES


def _notify(server: str, state: str, reason: str) -> None:
    event = ServerDownEvent if state == 'down' else ServerUpEvent
    notify(event(server, reason))


def assemble(former: Cluster | None, settings: Any,
             context: ssl.SSLContext | None,
             account: credentials.Credentials | None) -> Cluster:
    """Return the cluster, which takes over from the `former` one, if any.

    `context` and `account` are those of `make_context` and
    `read_credentials`.
    """
    addresses = parse_all(settings.servers)
    ring = DISTRIBUTIONS[settings.distribution](addresses)
    servers, memory = [], Memory({}, {})
    known = Memory({}, {}) if former is None else former.memory
    for address in addresses:
        # What a server has missed it must receive, even if other settings are
        # used to reach it now.
        owner = 'proxies' if ring.alike else address.identity
        undelivered = memory.undelivered[owner] = (
            memory.undelivered.get(owner) or known.undelivered.get(owner)
            or Undelivered(address.text, flush=not ring.alike))
        health = memory.healths[address.identity] = Health(
            address.text, settings.retries, settings.delay,
            settings.blacktime, _notify)
        if address.identity in known.healths:
            health.inherit(known.healths[address.identity])
        keeping = LockKeeping()
        connect = partial(
            Connection, Dialer(address), keeping, settings.maxAge,
            context if address.tls else None, address.server_name, account)
        servers.append(Server(
            address.text,
            Pool(connect, settings.maxPoolSize, settings.pooltime), keeping,
            health, undelivered, tls.RECORD if address.tls else MOST_BYTES,
            settings.connectTimeout))
    cluster = Cluster(servers, ring, settings.failover, memory)
    if former is not None:
        cluster.inherit(former)
    return cluster


def make_context(settings: Any) -> ssl.SSLContext | None:
    """Return the context for the servers' TLS, or None."""
    context = settings.ssl_context
    files = settings.caFile, settings.certFile, settings.keyFile
    if context is None:
        return tls.make_context(*files) if is_encrypted(settings) else None
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(
            'ssl_context: must be an SSLContext, not'
            f' {type(context).__name__}')
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError('ssl_context: is one for servers')
    if any(file is not None for file in files):
        raise ValueError('ssl_context: must not be given with files')
    return tls.check_context(context)


def is_encrypted(settings: Any) -> bool:
    return any(address.tls for address in parse_all(settings.servers))


def read_credentials(settings: Any) -> credentials.Credentials | None:
    """Return the `Credentials` for the servers, or None."""
    if settings.credentialsFile is None:
        if settings.username is None:
            return None
        if settings.password is None:
            raise ValueError('username: needs a password, too')
        return credentials.Credentials(settings.username, settings.password)
    if settings.username is not None:
        raise ValueError(
            'credentialsFile: must not be given with a username')
    return credentials.read(settings.credentialsFile)
