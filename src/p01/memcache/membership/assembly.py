# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The store of a pooled client, made as its settings say."""

import ssl
from functools import partial
from typing import Any

from p01.memcache.discovery.find import find
from p01.memcache.discovery.source import Source
from p01.memcache.discovery.source import parse_all
from p01.memcache.discovery.watch import PATIENCE
from p01.memcache.discovery.watch import Watch
from p01.memcache.membership.blueprint import Blueprint
from p01.memcache.membership.discovered import Discovered
from p01.memcache.store import IStore
from p01.memcache.transport.address import Address
from p01.memcache.trust import context as contexts
from p01.memcache.trust import credentials
from p01.memcache.trust.credentials import Credentials
from p01.memcache.trust.renewable import Given


def assemble(former: Any, settings: Any,
             context: Given[ssl.SSLContext] | None,
             account: Given[Credentials] | None,
             watch: Watch | None) -> IStore:
    """Return the store, which takes over from the `former` one, if any.

    `context`, `account` and `watch` are those of the functions below.
    """
    drained = {address.identity for address in parse_all(settings.drained)}
    places = [place for place in parse_all(settings.servers)
              if place.identity not in drained]
    if not places:
        raise ValueError(
            f'drained {settings.drained!r}: must leave a server to be used')
    handover = settings.handover
    if handover is None:
        handover = 0
        if watch is not None:
            # A look may take its time, and so may an operation that began by
            # the former list.
            handover = settings.refresh + PATIENCE + settings.timeout
    blueprint = Blueprint(settings, handover, context, account, watch)
    former = getattr(former, 'former', former)
    if watch is not None:
        return Discovered(places, drained, watch, blueprint, former)
    return blueprint.build(
        [place for place in places if isinstance(place, Address)], former)


def make_watch(former: Watch | None, settings: Any,
               context: Given[ssl.SSLContext] | None,
               account: Given[Credentials] | None) -> Watch | None:
    """Return what looks at the sources that `servers` names, if any."""
    sources = [place for place in parse_all(settings.servers)
               if isinstance(place, Source)]
    if not sources:
        return None
    watch = Watch(sources, settings.refresh, partial(
        find, context=context, account=account))
    if former is not None:
        watch.found = {source: servers for source, servers
                       in former.found.items() if source in sources}
    watch.wait()
    return watch


def make_context(settings: Any) -> Given[ssl.SSLContext] | None:
    """Return the context for the servers' TLS, or None."""
    context = settings.ssl_context
    files = settings.caFile, settings.certFile, settings.keyFile
    if context is None:
        return contexts.read(*files) if is_encrypted(settings) else None
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(
            'ssl_context: must be an SSLContext, not'
            f' {type(context).__name__}')
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError('ssl_context: is one for servers')
    if any(file is not None for file in files):
        raise ValueError('ssl_context: must not be given with files')
    return Given(contexts.check(context))


def is_encrypted(settings: Any) -> bool:
    return any(address.tls for address in parse_all(settings.servers))


def read_credentials(settings: Any) -> Given[Credentials] | None:
    """Return the `Credentials` for the servers, or None."""
    if settings.credentialsFile is None:
        if settings.username is None:
            return None
        if settings.password is None:
            raise ValueError('username: needs a password, too')
        return Given(Credentials(settings.username, settings.password))
    if settings.username is not None:
        raise ValueError(
            'credentialsFile: must not be given with a username')
    return credentials.read(settings.credentialsFile)
