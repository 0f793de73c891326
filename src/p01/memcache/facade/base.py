# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What all clients have in common: arguments, keys, values and misses.

A client inherits `BaseClient` and implements these methods, on bytes. Each
raises a `MemcacheError` where it fails; the user of a client never sees it.
What is larger than a value may be is not received, see `protocol.Announced`.

``_retrieve(key, deadline)``
    returns ``(data, flags)`` or None
``_retrieve_many(keys, deadline, most)``
    returns ``({key: (data, flags)}, [error of a server])``
``_retrieve_unique(key, deadline)``
    returns ``(data, flags, token)`` or None
``_change(key, request, expires, read, deadline, server=None, since=inf)``
    sends ``request(expires)`` and returns what `read` makes of the reply; None
    where the key is not on the server that a token was made by; a `LeaseLost`
    where there is no connection that was made before `since`
``_change_many(changes, request, expires, read, deadline)``
    does so by ``request(key, *arguments, expires)`` for ``{key: arguments}``,
    returns ``{key: reply or MemcacheError}``
``_renew(key, request, expires, read, deadline, *args)``
    is `_change` for what leaves the value as it is; the arguments are for
    `read`
``_lend(key, grace, deadline)``
    returns a `Lease`, or None where the key's place changes meanwhile
``_is_leased(key, deadline)``
    returns whether an empty value is a claim; None if that is not known
``_owe(key)``
    has the key removed before this process reads it again, if it can
``_owe_absent(key, deadline)``
    does so where another server stands in for the one that has the key
``_flush(deadline)``, ``_statistics(deadline)``
    return ``[(server, reply or MemcacheError)]``
"""

import threading
import time
import weakref
from functools import partial
from time import monotonic

from zope.event import notify
from zope.interface import implementer

from p01.memcache.errors import MemcacheError
from p01.memcache.errors import NotInvalidated
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.event import UnreadableValueEvent
from p01.memcache.facade.arguments import check_number
from p01.memcache.facade.arguments import expiry
from p01.memcache.facade.arguments import listed
from p01.memcache.facade.settings import Configured
from p01.memcache.features.computing import Creation
from p01.memcache.features.lease import is_claim
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.keys import strict
from p01.memcache.keys.compatible import build
from p01.memcache.log import logger
from p01.memcache.threads.turn import Turn
from p01.memcache.values import codec
from p01.memcache.values import stamp
from p01.memcache.values.flags import CLAIM
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import STAMPED
from p01.memcache.wire import cas as tokens
from p01.memcache.wire import protocol


# Seconds in which the same message is logged once.
_QUIET = 60

# In front of a key of our own. Those that are built are hexadecimal digits.
_GENERATION = b'generation:'


def _delete(wire, expires):
    """A change that nothing is left of to expire."""
    return protocol.delete(wire)


def _is_doubtful(found):
    """Return whether ``(data, flags)`` may be no value that counts."""
    data, flags = found
    return flags & (STAMPED | CLAIM) or not data


class _Token:
    """Is there as long as something is being told, whatever ends that."""


@implementer(IMemcacheClient)
class BaseClient(Configured):
    """See `IMemcacheClient`."""

    # The interface whose fields say what an attribute may be.
    _interface = IMemcacheClient

    # Errors that are told elsewhere, as the change of a server's state.
    _told = ()

    # The generation that was seen last, and most likely is the one.
    _generation = None

    # What turns objects into bytes depends on these.
    _coding = frozenset((
        'pickleProtocol', 'serializer', 'secretsFile', 'secretsVariable',
        'allow', 'compress', 'maxValueSize'))

    def __init__(self, **attributes):
        self._logged = {}  # kind of trouble -> when it may be logged again
        self._unread = {}  # name of an error -> how often
        self._unlending = set()  # servers that cannot compare and swap
        BaseClient.after_fork(self)
        super().__init__(**attributes)
        self._check_coding()
        self._codec = codec.make(self)

    def _check_coding(self):
        """Raise a ValueError if an argument would have no effect."""
        signed = codec.is_signed(self.serializer)
        for name, has_effect in (
                ('secretsFile', signed),
                ('secretsVariable', signed),
                ('allow', self.serializer in ('pickle', 'signed-pickle'))):
            if getattr(self, name) is not None and not has_effect:
                raise ValueError(
                    f'{name}: has no effect with the serializer'
                    f' {self.serializer!r}')

    def _follow(self, name):
        if name in self._coding:
            self._codec = codec.make(self)

    def after_fork(self):
        super().after_fork()
        # By key on the wire. Those of the parent process never end here.
        self._flights = {}
        self._counting = Turn()
        self._telling = weakref.WeakValueDictionary()

    def __repr__(self):
        return f'<{type(self).__name__} {", ".join(self.servers)}>'

    def buildKey(self, key):
        if self.keyScheme == 'strict':
            return strict.build(key, self.namespace)
        return build(key, self.namespace, self.pickleProtocol)

    # One value

    def set(self, key, data, lifetime=None, raw=False, dependencies=()):
        builtKey = self.buildKey(key)
        expires = self._expiry(lifetime)
        tags = self._tags_of_value(dependencies) if dependencies != () else ()
        dumped = self._dump(builtKey, data, raw)
        if dumped is None:
            self._invalidate(builtKey)  # it must not stand as if it were new
            return None
        data, flags = dumped
        size = len(data)
        deadline = monotonic() + self._timeout
        try:
            wire = self._target(builtKey, deadline)
            if tags:
                data, flags = self._codec.stamp(
                    builtKey.encode(), self._versions(wire, tags, deadline),
                    data, flags)
            self._store(wire, data, flags, expires, deadline)
        except MemcacheError as error:
            self._degraded(
                error, 'key %s: %d bytes not stored', builtKey, size)
            return None
        return builtKey

    def query(self, key, raw=False, default=None):
        return self._query(key, raw, default, self._look_up)

    def invalidate(self, key):
        return self._invalidate(self.buildKey(key))

    def add(self, key, data, lifetime=None, raw=False):
        return self._store_if(protocol.add, key, data, lifetime, raw)

    def replace(self, key, data, lifetime=None, raw=False):
        return self._store_if(protocol.replace, key, data, lifetime, raw)

    def append(self, key, data):
        # The server leaves its lifetime as it is.
        return self._store_if(protocol.append, key, data, 0, raw=True)

    def prepend(self, key, data):
        return self._store_if(protocol.prepend, key, data, 0, raw=True)

    def touch(self, key, lifetime=None):
        expires = self._expiry(lifetime)
        builtKey = self.buildKey(key)
        deadline = monotonic() + self._timeout
        try:
            wire = self._wire(builtKey, deadline)
            return self._renew(wire, partial(protocol.touch, wire), expires,
                               protocol.read_touched, deadline)
        except MemcacheError as error:
            self._degraded(error, 'key %s: not touched', builtKey)
            return None

    def queryAndTouch(self, key, lifetime=None, raw=False, default=None):
        expires = self._expiry(lifetime)

        def look_up(builtKey, deadline):
            wire = self._wire(builtKey, deadline)
            return self._renew(
                wire, partial(protocol.get_and_touch, wire), expires,
                protocol.read_fetched, deadline, wire, self._codec.most)

        return self._query(key, raw, default, look_up)

    def gets(self, key, raw=False, default=None):
        missing, token = object(), None

        def look_up(builtKey, deadline):
            nonlocal token
            found = self._retrieve_unique(
                self._wire(builtKey, deadline), deadline)
            if found is not None:
                *found, token = found
            return found

        value = self._query(key, raw, missing, look_up)
        return (default, None) if value is missing else (value, token)

    def cas(self, key, data, token, lifetime=None, raw=False):
        unique, server = tokens.parse(token)
        builtKey = self.buildKey(key)
        expires = self._expiry(lifetime)
        dumped = self._dump(builtKey, data, raw)
        if dumped is None:
            return None
        if not tokens.compares(token):
            self._degraded(
                MemcacheError(f'{server} has no compare-and-swap'),
                'key %s: not stored', builtKey)
            return None
        return self._command(
            builtKey, 'not stored',
            lambda wire, expires: protocol.cas(wire, *dumped, unique, expires),
            expires, protocol.read_compared, server)

    def increment(self, key, delta=1, initial=None, lifetime=None):
        return self._count(protocol.increment, key, delta, initial, lifetime)

    def decrement(self, key, delta=1, initial=None, lifetime=None):
        return self._count(protocol.decrement, key, delta, initial, lifetime)

    # Many values

    def queryMany(self, keys, raw=False):
        wanted, build = {}, self.buildKey
        for key in listed('keys', keys):
            builtKey = build(key)
            try:
                former = wanted.setdefault(key, builtKey)
            except TypeError:
                raise TypeError(
                    f'keys: {key!r} cannot be in a dict') from None
            if former != builtKey:
                raise ValueError(
                    f'keys: {key!r} equals another one, and is not the same'
                    ' to memcached')
        deadline = monotonic() + self._timeout
        try:
            found = self._find(set(wanted.values()), deadline)
            if any(map(_is_doubtful, found.values())):
                found = self._inspect(found, deadline)
        except MemcacheError as error:
            self._degraded(error, '%s: not read', f'{len(wanted)} keys')
            return {}
        values, loads = {}, self._codec.loads
        for key, builtKey in wanted.items():
            if builtKey in found:
                try:
                    values[key] = loads(
                        builtKey.encode(), *found[builtKey], raw)
                except UnreadableValue as error:
                    self._unreadable(key, builtKey, error)
        return values

    def setMany(self, mapping, lifetime=None, raw=False):
        try:
            values = list(mapping.items())
        except AttributeError:
            raise TypeError(
                f'mapping {type(mapping).__name__}: must map keys to values'
            ) from None
        expires = self._expiry(lifetime)
        pairs, dumped, large = [], {}, []
        for key, data in values:
            builtKey = self.buildKey(key)
            if builtKey in dumped:
                raise ValueError(
                    f'mapping: {key!r} and another key are the same to'
                    ' memcached')
            try:
                dumped[builtKey] = self._dump(builtKey, data, raw)
            except ValueError as error:
                raise type(error)(f'mapping: {key!r}: {error}') from error
            (large if dumped[builtKey] is None else pairs).append(
                (key, builtKey))
        deadline = monotonic() + self._timeout
        self._remove_many(large, deadline)
        return [key for key, _ in large] + self._command_many(
            pairs, dumped, '%s: not stored', protocol.set, expires,
            protocol.read_stored, deadline)

    def invalidateMany(self, keys):
        pairs = [(key, self.buildKey(key)) for key in listed('keys', keys)]
        return self._remove_many(pairs, monotonic() + self._timeout)

    # Values that are computed where there is none

    def getOrCreate(self, key, factory, lifetime=None, grace=None,
                    dependencies=()):
        if not callable(factory):
            raise TypeError(f'factory {factory!r}: must be callable')
        lifetime = self.lifetime if lifetime is None else lifetime
        return Creation(
            self, key, factory, lifetime,
            0 if grace is None else grace,
            self._tags_of_value(dependencies)).run()

    # All values

    def invalidateNamespace(self):
        if not self.generations:
            raise ValueError(
                'generations: must be on to invalidate a namespace')
        return self._forget([self._generation_key], 'namespace')

    def invalidateDependencies(self, *dependencies):
        return self._forget(self._tags(dependencies), 'dependencies')

    def invalidateAll(self):
        self._flights.clear()
        errors = {server: reply for server, reply in self._flush(
                      monotonic() + self._timeout)
                  if isinstance(reply, MemcacheError)}
        if errors:
            raise NotInvalidated(errors)

    def getStatistics(self):
        return [
            (server, {'error': str(reply)}
             if isinstance(reply, MemcacheError) else reply)
            for server, reply in self._statistics(
                monotonic() + self._timeout)]

    def getUnreadable(self):
        return dict(self._unread)

    # Arguments

    def _expiry(self, lifetime):
        return expiry(self.lifetime if lifetime is None else lifetime)

    def _dump(self, builtKey, data, raw):
        """Return ``(bytes, flags)``, or None for what is too large."""
        try:
            return self._codec.dumps(builtKey.encode(), data, raw)
        except ValueTooLarge as error:
            self._degraded(error, 'key %s: not stored', builtKey)
            return None

    def _tags(self, dependencies):
        """Return the keys under which their versions are."""
        tags = []
        for dependency in listed('dependencies', dependencies):
            if not isinstance(dependency, str):
                raise TypeError(f'dependency {dependency!r}: must be a str')
            tags.append(stamp.TAG + self.buildKey(dependency).encode())
        return list(dict.fromkeys(tags))

    def _tags_of_value(self, dependencies):
        tags = self._tags(dependencies)
        if len(tags) > stamp.MOST:
            raise ValueError(
                f'dependencies: {len(tags)} are more than {stamp.MOST}')
        return tags

    # The key on the wire

    @property
    def _generation_key(self):
        return _GENERATION + self.buildKey('').encode()

    def _suffix(self, deadline):
        """Return what is behind all keys of the namespace."""
        if not self.generations:
            return b''
        key = self._generation_key
        # It may be from a stand-in, before this call or after it.
        self._owe_absent(key, deadline)
        self._generation = stamp.current(self, [key], deadline)[key]
        self._owe_absent(key, deadline)
        return b'.' + self._generation

    def _wire(self, builtKey, deadline):
        return builtKey.encode() + self._suffix(deadline)

    def _suffix_of_targets(self, deadline):
        try:
            return self._suffix(deadline)
        except BaseException:
            # What is to be changed cannot be named, not even to remember it.
            self._owe(self._generation_key)
            raise

    def _target(self, builtKey, deadline):
        """Return the key on the wire of what is about to be changed."""
        wire = builtKey.encode()
        self._end_flights((wire,))
        if self.generations:
            wire += self._suffix_of_targets(deadline)
            self._end_flights((wire,))
        return wire

    def _end_flights(self, wires):
        """Whoever computes values of these keys, he does so for himself."""
        if self._flights:
            for wire in wires:
                self._flights.pop((wire, None), None)

    # Reading

    def _query(self, key, raw, default, look_up):
        builtKey = self.buildKey(key)
        deadline = monotonic() + self._timeout
        try:
            found = look_up(builtKey, deadline)
            if found is not None and _is_doubtful(found):
                found = self._inspect(
                    {builtKey: found}, deadline).get(builtKey)
        except MemcacheError as error:
            self._degraded(error, 'key %s: not read', builtKey)
            return default
        if found is None:
            return default
        try:
            return self._codec.loads(builtKey.encode(), *found, raw)
        except UnreadableValue as error:
            self._unreadable(key, builtKey, error)
            return default

    def _look_up(self, builtKey, deadline):
        if self.generations:
            return self._find([builtKey], deadline).get(builtKey)
        return self._retrieve(builtKey.encode(), deadline)

    def _find(self, builtKeys, deadline):
        """Return ``{built key: (data, flags)}`` of what there is."""
        seen = self._generation if self.generations else None
        current = None
        if seen:
            # Most likely it is this generation still, so ask for all at once.
            own = self._generation_key
            wires = {key.encode() + b'.' + seen: key for key in builtKeys}
            found, errors = self._retrieve_many(
                [own, *wires], deadline, self._codec.most)
            current = stamp.version(found.pop(own, None))
        if not seen or current != seen:
            suffix = b'.' + current if current else self._suffix(deadline)
            self._generation = current or self._generation
            wires = {key.encode() + suffix: key for key in builtKeys}
            found, errors = self._retrieve_many(
                list(wires), deadline, self._codec.most)
        for error in errors:
            self._degraded(error, '%s: not all read', f'{len(wires)} keys')
        return {wires[wire]: item for wire, item in found.items()}

    def _inspect(self, found, deadline):
        """Return those of ``{built key: (data, flags)}`` that are values.

        Most are, and need no inspection, see `_is_doubtful`.
        """
        values, stamped = {}, {}
        for builtKey, (data, flags) in found.items():
            if flags & STAMPED:
                try:
                    stamped[builtKey] = self._codec.unstamp(data, flags)
                    continue
                except UnreadableValue:
                    pass  # and that is told when it is loaded
            elif _is_doubtful((data, flags)) and self._is_claim(
                    builtKey, data, flags, deadline):
                continue
            values[builtKey] = data, flags
        if stamped:
            current, errors = stamp.read(self, list({
                key for versions, _ in stamped.values() for key in versions
            }), deadline)
            for error in errors:
                self._degraded(error, '%s: versions not read', 'dependencies')
            for builtKey, (versions, value) in stamped.items():
                if all(current.get(key) == version
                       for key, version in versions.items()):
                    values[builtKey] = value
        return values

    def _is_claim(self, builtKey, data, flags, deadline):
        try:
            if monotonic() >= deadline:
                raise MemcacheError('no time to ask whether it is a value')
            return is_claim(self, self._wire(builtKey, deadline), data, flags,
                            deadline, False)
        except MemcacheError as error:
            # A miss, and none of the other keys' concern.
            self._degraded(error, 'key %s: not read', builtKey)
            return True

    def _unreadable(self, key, builtKey, error):
        self._degraded(error, 'key %s: not readable', builtKey)
        name = type(error).__name__
        with self._counting.soon():
            self._unread[name] = self._unread.get(name, 0) + 1
        try:
            self._tell(notify, UnreadableValueEvent(self, key, error))
        except Exception:
            # The listener's trouble, not that of the caller of `query`.
            logger.exception(
                'memcache key %s: a listener failed to hear that it is not'
                ' readable', builtKey)

    # Changing

    def _command(self, builtKey, trouble, request, expires, read,
                 server=None):
        """Return the reply to ``request(key on the wire, expires)``, or None.
        """
        deadline = monotonic() + self._timeout
        try:
            wire = self._target(builtKey, deadline)
            return self._change(wire, partial(request, wire), expires, read,
                                deadline, server)
        except MemcacheError as error:
            self._degraded(error, 'key %s: ' + trouble, builtKey)
            return None

    def _store_if(self, command, key, data, lifetime, raw):
        builtKey = self.buildKey(key)
        expires = self._expiry(lifetime)
        dumped = self._dump(builtKey, data, raw)
        if dumped is None:
            if command is protocol.replace:
                self._invalidate(builtKey)
            return None
        return self._command(
            builtKey, 'not stored',
            lambda wire, expires: command(wire, *dumped, expires),
            expires, protocol.read_stored_or_not)

    def _invalidate(self, builtKey):
        reply = self._command(builtKey, 'not invalidated', _delete, None,
                              protocol.read_deleted)
        return None if reply is None else True

    def _count(self, command, key, delta, initial, lifetime):
        check_number('delta', delta)
        if initial is not None:
            check_number('initial', initial)
        expires = self._expiry(lifetime)
        builtKey = self.buildKey(key)
        deadline = monotonic() + self._timeout
        try:
            wire = self._target(builtKey, deadline)
            count = partial(
                self._change, wire, lambda expires: command(wire, delta), 0,
                protocol.read_number, deadline)
            number = count()
            if number is None and initial is not None:
                if self._change(
                        wire, partial(protocol.add, wire, b'%d' % initial,
                                      PLAIN),
                        expires, protocol.read_stored_or_not, deadline):
                    return initial
                number = count()  # another one was faster
            if number is False:
                raise UnreadableValue('the value is not a number')
            return number
        except MemcacheError as error:
            self._degraded(error, 'key %s: not counted', builtKey)
            return None

    def _remove_many(self, pairs, deadline):
        return self._command_many(
            pairs, {}, '%s: not invalidated', _delete, None,
            protocol.read_deleted, deadline)

    def _command_many(self, pairs, arguments, trouble, request, expires, read,
                      deadline):
        """Return the keys for which it was not done.

        `pairs` are keys and what was built of them, which `arguments` maps to
        those of ``request(key on the wire, *arguments, expires)``.
        """
        if not pairs:
            return []
        self._end_flights(builtKey.encode() for _, builtKey in pairs)
        try:
            suffix = self._suffix_of_targets(deadline)
        except MemcacheError as error:
            self._degraded(error, trouble, f'{len(pairs)} keys')
            return [key for key, _ in pairs]
        wires = {builtKey: builtKey.encode() + suffix for _, builtKey in pairs}
        self._end_flights(wires.values())
        replies = self._change_many(
            {wire: arguments.get(builtKey, ())
             for builtKey, wire in wires.items()},
            request, expires, read, deadline)
        failed = []
        for key, builtKey in pairs:
            reply = replies[wires[builtKey]]
            if isinstance(reply, MemcacheError):
                self._degraded(reply, 'key ' + trouble, builtKey)
                failed.append(key)
        return failed

    def _store(self, wire, data, flags, expires, deadline):
        self._change(wire, partial(protocol.set, wire, data, flags), expires,
                     protocol.read_stored, deadline)

    def _versions(self, wire, tags, deadline):
        try:
            return stamp.current(self, tags, deadline)
        except BaseException:
            # As if it were not acknowledged: the old value must not stay.
            self._owe(wire)
            raise

    def _remove(self, wire, deadline):
        self._change(wire, partial(_delete, wire), None,
                     protocol.read_deleted, deadline)

    def _forget(self, wires, what):
        """Remove keys of our own; return True, or None where it failed."""
        self._flights.clear()
        replies = self._change_many(
            dict.fromkeys(wires, ()), _delete, None, protocol.read_deleted,
            monotonic() + self._timeout)
        errors = [reply for reply in replies.values()
                  if isinstance(reply, MemcacheError)]
        for error in errors:
            self._degraded(error, '%s: not invalidated', what)
        return None if errors else True

    def _owe(self, wire):
        """A client that remembers nothing owes nothing."""

    def _owe_absent(self, wire, deadline):
        """Nor does one that has no stand-ins."""

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
        self._tell(logger.warning, 'memcache ' + message + ': %s%s', *args,
                   error, where, exc_info=error if self.debug else None)

    def _tell(self, tell, *args, **kw):
        """Call listeners, which may use this very client.

        What a listener itself meets with is not told again: that might never
        end.
        """
        token = _Token()
        if self._telling.setdefault(
                (tell, threading.get_ident()), token) is token:
            tell(*args, **kw)
