# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What all clients have in common: arguments, keys, values and misses.

A client inherits `BaseClient` and implements five methods on bytes: `_store`,
`_retrieve`, `_remove`, `_flush` and `_statistics`. Each of them raises a
`MemcacheError` where it fails, and its user never sees that.
"""

import logging
import math
import time
from numbers import Real

from zope.event import notify
from zope.interface import implementer
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Password
from zope.schema.interfaces import IField
from zope.schema.interfaces import RequiredMissing
from zope.schema.interfaces import ValidationError
from zope.schema.interfaces import WrongType

from p01.memcache import address
from p01.memcache import key as keys
from p01.memcache import serializer
from p01.memcache.credentials import Secret
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import UnreadableValue
from p01.memcache.event import UnreadableValueEvent
from p01.memcache.interfaces import IMemcacheClient


logger = logging.getLogger('p01.memcache')

# memcached takes a larger number for a unix time, of 31 bits.
_RELATIVE = 60 * 60 * 24 * 30
_LAST = 2 ** 31 - 1

# Seconds in which the same message is logged once.
_QUIET = 60


def expiry(lifetime):
    """Return `lifetime`, in seconds, as memcached's ``exptime``."""
    if (isinstance(lifetime, bool)
            or not isinstance(lifetime, (int, float))
            or not 0 <= lifetime < math.inf):
        raise ValueError(
            f'lifetime {lifetime!r}: must be a number of seconds, 0 or more')
    seconds = math.ceil(lifetime)
    if seconds <= _RELATIVE:
        return seconds
    moment = int(time.time()) + seconds
    if moment > _LAST:
        raise ValueError(
            f'lifetime {lifetime!r}: must end before the 19th of January 2038,'
            ' or be 0 to never end')
    return moment


def check_attribute(field, value):
    """Raise a ValueError or TypeError if `value` is not one of the field."""
    name = field.__name__
    shown = address.hide_secrets(repr(value)) if name == 'servers' else (
        repr(value))
    if isinstance(field, Choice) and value not in field.vocabulary:
        raise ValueError(f'{name} {shown}: must be one of ' + ', '.join(
            term.value for term in field.vocabulary))
    if isinstance(field, Password):
        # Other rules are for the two together, see `Credentials`. No error
        # of the field: it would keep the value.
        if not isinstance(value, (str, type(None))):
            raise TypeError(f'{name}: must be str')
        return
    try:
        if isinstance(value, bool) != isinstance(field, Bool):
            raise WrongType(value, field._type, name)
        field.validate(value)
    except (WrongType, RequiredMissing):
        kind = 'a number' if field._type is Real else field._type.__name__
        raise TypeError(f'{name} {shown}: must be {kind}') from None
    except (ValidationError, OverflowError) as error:
        raise ValueError(f'{name} {shown}: {_rule(field, error)}') from None
    if name == 'lifetime':
        expiry(value)
    elif name == 'namespace' and value is not None:
        value.encode()
    elif name == 'servers':
        address.parse_all(value)


def _rule(field, error):
    bounds = ', '.join(
        f'{word} {bound}' for word, bound in (
            ('at least', getattr(field, 'min', None)),
            ('at most', getattr(field, 'max', None)),
            ('at least', getattr(field, 'min_length', None) or None))
        if bound is not None)
    rule = error.doc() if isinstance(error, ValidationError) else error
    return f'{rule} ({bounds})' if bounds else rule


@implementer(IMemcacheClient)
class BaseClient:
    """See `IMemcacheClient`."""

    # The interface whose fields say what an attribute may be.
    _interface = IMemcacheClient

    # Errors that are told elsewhere, as the change of a server's state.
    _told = ()

    def __init__(self, servers, debug, pickleProtocol, lifetime, namespace):
        self._logged = {}  # kind of trouble -> when it may be logged again
        self.servers = servers
        self.debug = debug
        self.pickleProtocol = pickleProtocol
        self.lifetime = lifetime
        self.namespace = namespace

    def __setattr__(self, name, value):
        field = self._interface.get(name)
        if IField.providedBy(field):
            if name == 'servers' and isinstance(value, (list, tuple)):
                value = list(value)
            if isinstance(value, Secret):
                value = value.reveal()
            check_attribute(field, value)
            if isinstance(field, Password) and value is not None:
                value = Secret(value)
        super().__setattr__(name, value)

    def __repr__(self):
        return f'<{type(self).__name__} {", ".join(self.servers)}>'

    def buildKey(self, key):
        return keys.build(key, self.namespace, self.pickleProtocol)

    def set(self, key, data, lifetime=None, raw=False):
        builtKey = self.buildKey(key)
        expires = expiry(self.lifetime if lifetime is None else lifetime)
        if raw:
            data = serializer.raw_bytes(data)
        else:
            data = serializer.dumps(data, self.pickleProtocol)
        try:
            self._store(builtKey.encode(), data, serializer.FLAGS, expires)
        except MemcacheError as error:
            self._degraded(
                error, '%s: %d bytes not stored', builtKey, len(data))
            return None
        return builtKey

    def query(self, key, raw=False, default=None):
        builtKey = self.buildKey(key)
        try:
            found = self._retrieve(builtKey.encode())
        except MemcacheError as error:
            self._degraded(error, '%s: not read', builtKey)
            return default
        if found is None:
            return default
        try:
            return serializer.loads(*found, raw)
        except UnreadableValue as error:
            self._degraded(error, '%s: not readable', builtKey)
            notify(UnreadableValueEvent(self, key, error))
            return default

    def invalidate(self, key):
        builtKey = self.buildKey(key)
        try:
            self._remove(builtKey.encode())
        except MemcacheError as error:
            self._degraded(error, '%s: not invalidated', builtKey)
            return None
        return True

    def invalidateAll(self):
        errors = {server: reply for server, reply in self._flush()
                  if isinstance(reply, MemcacheError)}
        if errors:
            raise NotInvalidated(errors)

    def getStatistics(self):
        return [
            (server, {'error': str(reply)}
             if isinstance(reply, MemcacheError) else reply)
            for server, reply in self._statistics()]

    def _degraded(self, error, message, *args):
        """Log why an operation became a miss, each kind once a minute."""
        if not self.debug:
            if type(error) in self._told:
                return
            kind, now = (message, type(error)), time.monotonic()
            if now < self._logged.get(kind, 0):
                return
            self._logged[kind] = now + _QUIET
        where = f' (at {error.server})' if error.server else ''
        logger.warning('memcache key ' + message + ': %s%s', *args, error,
                       where, exc_info=error if self.debug else None)
