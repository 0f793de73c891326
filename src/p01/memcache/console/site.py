# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The site: the client whose servers, keys and settings the command uses."""

import os
import re
from time import monotonic

import zope.component
from zope.configuration import xmlconfig

import p01.memcache
from p01.memcache.console.trouble import Trouble
from p01.memcache.facade.state import GENERATION
from p01.memcache.features.dependencies import Versions
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheSettings
from p01.memcache.log import describe
from p01.memcache.secret import discreet
from p01.memcache.uclient import UltraMemcacheClient
from p01.memcache.values.unstorable import bare
from p01.memcache.wire.limits import check_key


#: The environment variable that names the servers.
VARIABLE = 'MEMCACHE_SERVERS'

# Instead of those of the site: the command asks a server again and again, and
# never another one in its place.
_OWN = {'retries': 1 << 30, 'delay': 0, 'blacktime': 0, 'connectTimeout': None,
        'failover': False, 'debug': 0}


class _Client(UltraMemcacheClient):
    """A client that shows what it is made of."""

    @property
    def parts(self):
        return self._state


class Site:
    """The servers of a client, and its keys.

    `origin` is the client of the application, if there is one, whose keys
    are used, and `client` one with the same settings.
    """

    def __init__(self, client, origin, timeout):
        self.origin = origin
        self.timeout = timeout
        self.parts = client.parts
        self.store = self.parts.base
        self.drained = list(client.drained)
        self.versions = Versions(self.store)
        #: That under which the generation of the namespace is stored.
        self.generation = GENERATION + origin.buildKey('').encode()

    def servers(self, deadline):
        """Return the servers, which change if they are found in a list."""
        self.store.server(self.generation, deadline)  # looks at it if due
        return self.store.servers

    def deadline(self):
        return monotonic() + self.timeout

    def find_key(self, options, deadline):
        """Return the built key, and the key on the wire or None.

        There is none if the namespace has no generation: whatever was stored
        is a miss. Asking does not make one.
        """
        key = options.key
        if options.wire:
            wire = os.fsencode(key)
            check_key(wire)
            return wire, wire
        built = os.fsencode(key if options.built else self.buildKey(key))
        check_key(built)
        if not self.origin.generations:
            return built, built
        found, errors = self.versions.read([self.generation], deadline)
        if errors:
            raise errors[0]
        if not found:
            return built, None
        return built, b'%b.%b' % (built, found[self.generation])

    def buildKey(self, key):
        return self.origin.buildKey(key)


def find(options):
    """Return the site that the options name."""
    if options.zcml is not None:
        named = ['--servers'] * bool(options.servers) + options.named
        if named:
            raise Trouble(
                '--zcml: has the settings, and must not be given with '
                + ', '.join(named))
        origin = _load(options.zcml, options.name)
        client = _open(_settings(origin), options.timeout)
        return Site(client, origin, client.timeout)
    if options.name:
        raise Trouble('--name: has no effect without --zcml')
    client = _open(_given(options), options.timeout)
    origin = client
    for name in options.region or ():
        origin = origin.region(name)
    return Site(client, origin, client.timeout)


@discreet
def _open(settings, timeout):
    if timeout is not None:
        settings['timeout'] = timeout
    return _Client(**{**settings, **_OWN})


def _given(options):
    """Return the settings of the command line and the environment."""
    texts, origin = options.servers, '--servers'
    if not texts:
        texts, origin = [os.environ.get(VARIABLE, '')], VARIABLE
    servers = [word for text in texts for word in re.split(r'[\s,]+', text)
               if word]
    if not servers:
        raise Trouble(
            f'no servers: give them by --servers, by {VARIABLE} in the'
            ' environment, or by the --zcml of an application'
            if origin == VARIABLE else '--servers: must name a server')
    return {'servers': servers, **options.settings}


def _load(path, name):
    """Return the client that is registered in a ZCML file."""
    if not os.path.isfile(path):
        raise Trouble(f'--zcml {path!r}: there is no such file')
    try:
        context = xmlconfig.file('meta.zcml', p01.memcache)
        xmlconfig.file(os.path.abspath(path), context=context)
    except Exception as error:
        raise Trouble(f'--zcml {path!r}: {describe(error)}') from None
    client = zope.component.queryUtility(IMemcacheClient, name)
    if client is None:
        names = sorted(name for name, _ in zope.component.getUtilitiesFor(
            IMemcacheClient))
        raise Trouble(
            f'--name {name!r}: no client of that name is registered in'
            f' {path!r}, but {names or "none"}')
    return bare(client)  # without its security proxy: we are no visitor


@discreet
def _settings(origin):
    settings = {name: getattr(origin, name)
                for name in IUltraMemcacheSettings.names(all=True)
                if hasattr(origin, name)}
    if not IUltraMemcacheClient.providedBy(origin):
        # That of python-memcached.
        settings['distribution'] = 'modulo'
    return settings
