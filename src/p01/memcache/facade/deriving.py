# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A client within a client: it shares connections, and follows settings."""

import weakref
from typing import Any

from p01.memcache.attributes.settings import Configured
from p01.memcache.attributes.settings import checked
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.threads import fork
from p01.memcache.trouble import Trouble


#: The settings that a region has of its own, if it is given them.
OF_REGION = 'lifetime', 'keyScheme', 'generations'


def derive(client, own=None, owns=(), **attributes):
    """Return a client of the same class, with the store of this one.

    It has the settings of this one, now and after each change, but for the
    dict `own`. It can be given its own settings of the names in `owns`, too;
    to set another one is to set that of this client. `attributes` are those
    that it has instead of this one's, such as ``_regions``, or ``_wrap``:
    ``_wrap(store, report, begin)`` returns an `IStore` on top of the store.
    For ``report(error, message, *args)`` see `Trouble`; ``begin()`` is called
    before changes are made that no operation waits for.
    """
    return client._derive(own or {}, frozenset(owns), attributes)


class Derivable(Configured):
    """A client from which others are derived, or that is derived itself."""

    _interface = IMemcacheClient
    # The names of the regions that it is in, outermost first.
    _regions: tuple[str, ...] = ()

    _origin: Any = None  # the client that it is derived from
    _immediate: Any = None  # that without a layer on its store, if needed
    _state: Any
    _counts: Any

    # Whether the changes of the servers' states are reported.
    _reports_states = False

    def __init__(self, **settings):
        self._derived = weakref.WeakValueDictionary()
        super().__init__(**settings)

    def region(self, name, lifetime=None, keyScheme=None, generations=None):
        if not isinstance(name, str):
            raise TypeError(f'region {name!r}: must be a str')
        if not name:
            raise ValueError(f'region {name!r}: must not be empty')
        name.encode()
        given = zip(OF_REGION, (lifetime, keyScheme, generations), strict=True)
        region = derive(
            self, {setting: value for setting, value in given
                   if value is not None},
            OF_REGION, _regions=(*self._regions, name))
        region._count_with(
            self._counts.share(name, region._counts, region))
        return region

    def getRegions(self):
        return self._counts.get_regions()

    def _count_with(self, counts):
        vars(self)['_counts'] = self._trouble.counts = counts

    def immediate(self):
        if self._wrap is None:
            return self
        if self._immediate is None:
            immediate = derive(self, _wrap=None)
            immediate._count_with(self._counts)
            self._immediate = immediate
        return self._immediate

    def __copy__(self):
        copy = self._copy()
        if self._origin is None:
            copy._share(self._state)
        else:
            self._origin._derived[id(copy)] = copy
            copy._follow()
        return copy

    def _share(self, former):
        vars(self).update(_state=self._make_state(
            former.settings, (), former))

    def _copy(self):
        copy = object.__new__(type(self))
        vars(copy).update(vars(self))
        trouble = Trouble(copy, self._reports_states)
        vars(copy).update(
            _immediate=None, _trouble=trouble, _counts=trouble.counts,
            _derived=weakref.WeakValueDictionary())
        fork.register(copy)
        return copy

    def _derive(self, own, owns, attributes):
        other = self._copy()
        vars(other).update(
            attributes, _origin=self, _owns=owns, _own={
                name: checked(self._interface[name], value)
                for name, value in own.items()})
        # First known, and then up to date: nothing in between gets lost.
        self._derived[id(other)] = other
        other._follow()
        return other

    def _follow(self):
        """Make the state from that of the client it is derived from."""
        while True:
            former = self._origin._state
            settings = former.settings.replace(**self._own)
            state = self._make_state(settings, frozenset(self._own), former)
            changed = {
                name: getattr(settings, name) for name in self._names}
            changed['_state'], update = state, vars(self).update
            if self._origin._state is former:
                update(changed)
                break
        self._lead()

    def _outermost(self):
        """Return the client from which all of them are derived."""
        return self if self._origin is None else self._origin._outermost()

    def _lead(self):
        """Let those that are derived from it follow."""
        for reference in list(self._derived.valuerefs()):
            client = reference()
            if client is not None:
                client._follow()

    def _replace(self, name, value):
        if self._origin is None:
            super()._replace(name, value)
        elif name not in self._owns:
            setattr(self._origin, name, value)
        else:
            former = self._own
            try:
                self._own = {**former, name: value}
                self._follow()
            except BaseException:
                self._own = former
                raise
