# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pooled memcache client."""

from functools import partial
from operator import attrgetter

from zope.interface import implementer

from p01.memcache.attributes.settings import Part
from p01.memcache.facade.client import BaseClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.membership import assembly
from p01.memcache.secret import discreet


# What is known of a drained server, see `getServers`.
_DRAINED = {
    'server': '', 'state': 'drained', 'since': 0.0, 'reason': None,
    'nextProbe': 0.0, 'active': 0, 'idle': 0, 'waiting': 0, 'opened': 0,
    'broken': 0, 'owed': 0, 'drained': True}


@implementer(IUltraMemcacheClient)
class UltraMemcacheClient(BaseClient):
    """See `IUltraMemcacheClient`."""

    _interface = IUltraMemcacheClient
    _reports_states = True
    _timeout = property(attrgetter('_state.settings.timeout'))
    _make_watch = staticmethod(assembly.make_watch)

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
                 maxAge=300, connectTimeout=None, refresh=30, handover=None,
                 drained=(), slow=None):
        settings = dict(locals())
        del settings['self'], settings['__class__']
        super().__init__(**settings)

    def invalidateAll(self, delay=0):
        if delay and self.distribution == 'roundrobin':
            raise ValueError(
                f'delay {delay!r}: must be 0 with proxies, as each of them'
                ' passes it on to the same servers')
        super().invalidateAll(delay)

    def getPools(self):
        return [
            (server.address, server.statistics())
            for server in self._state.base.servers]

    def getServers(self):
        return [server.describe() for server in self._state.base.servers] + [
            {**_DRAINED, 'server': address} for address in self.drained]

    def _check(self):
        super()._check()

        def given(name):
            return getattr(self, name) is not None

        for name, other in (('password', 'username'), ('keyFile', 'certFile')):
            if given(name) and not given(other):
                raise ValueError(f'{name}: needs a {other}, too')
        for name in ('ssl_context', 'caFile', 'certFile'):
            if given(name) and not assembly.is_encrypted(self):
                raise ValueError(f'{name}: none of the servers is tls://')

    def _make_store(self, settings, changed, former):
        serving = former and former.serving
        if serving is not None and not serving.depends_on(changed):
            return serving
        parts = []
        for number, make in enumerate(
                (assembly.make_context, assembly.read_credentials)):
            part = serving and serving.parts[number]
            if part is None or part.depends_on(changed):
                part = Part(make, settings)
            parts.append(part)
        watch = serving and serving.parts[-1]
        if watch is None or watch.depends_on(changed):
            watch = Part(partial(
                self._make_watch, watch and watch.value), settings, *parts)
        return Part(
            partial(assembly.assemble, serving and serving.value), settings,
            *parts, watch)
