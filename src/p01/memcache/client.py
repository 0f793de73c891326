# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The classic memcache client, one connection per thread and server."""

from zope.interface import implementer

from p01.memcache.attributes.settings import Part
from p01.memcache.classic.store import ClassicStore
from p01.memcache.discovery.source import Source
from p01.memcache.discovery.source import parse_all
from p01.memcache.facade.client import BaseClient
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.secret import discreet


@implementer(IMemcacheClient)
class MemcacheClient(BaseClient):
    """See `IMemcacheClient`.

    Every thread that uses it has a connection to every server, until the
    thread ends. An operation takes 3 seconds at most. Several servers are
    asked one after the other. After a server has refused a connection, or has
    not answered in time on a new one, that thread does not use the server for
    3 seconds.
    """

    _timeout = 3
    _retry = 3

    @discreet
    def __init__(self, servers=('127.0.0.1:11211',), debug=0,
                 pickleProtocol=-1, lifetime=3600, namespace=None, *,
                 keyScheme='compatible', generations=False,
                 serializer='pickle', secretsFile=None, secretsVariable=None,
                 allow=None, compress=None, maxValueSize=1 << 26, slow=None):
        settings = dict(locals())
        del settings['self'], settings['__class__']
        super().__init__(**settings)

    def _make_store(self, settings, changed, former):
        serving = former and former.serving
        if serving is None or serving.depends_on(changed):
            serving = Part(self._connect, settings)
            if former is not None:
                serving.value.lineage = former.serving.value.lineage
        return serving

    def _connect(self, settings):
        servers = parse_all(settings.servers)
        for server in servers:
            is_source = isinstance(server, Source)
            if is_source or server.tls:
                raise ValueError(
                    f'server {server.text!r}: python-memcached has no '
                    + ('discovery' if is_source else 'TLS'))
        return ClassicStore(servers, self._timeout, self._retry)
