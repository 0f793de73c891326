# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The state of a client: its settings, and all that is made from them."""

from functools import partial

from p01.memcache.features.dependencies import Versions
from p01.memcache.features.namespace import Namespace
from p01.memcache.keys import compatible
from p01.memcache.keys import strict
from p01.memcache.keys.regions import RegionKeys
from p01.memcache.leases.watching import Watching


#: Prefix of the key of a namespace's generation. No built key has it: they are
#: hexadecimal digits.
GENERATION = b'generation:'


class State:
    """A snapshot that is never changed.

    An operation takes it once, so all that it uses fits together. `coding`
    and `serving` are each a `p01.memcache.attributes.settings.Part`; their
    values are the codec and the `base`. That is the store itself; `store` may
    be a layer on top of it, which leases pass by.
    """

    def __init__(self, settings, coding, serving, store, unlending, trouble,
                 regions=()):
        self.settings = settings
        self.coding = coding
        self.serving = serving
        self.codec = coding.value
        self.base = serving.value
        self.store = store
        #: See `IVersions`.
        self.versions = getattr(self.store, 'make_versions', partial(
            Versions, self.store))()
        self.lending = Watching(
            self.base, unlending, trouble, self.codec.most)
        is_strict = settings.keyScheme == 'strict'
        if regions:
            keys = RegionKeys((settings.namespace or '', *regions), is_strict,
                              settings.pickleProtocol)
            self.build_key, self.build_all = keys.build, keys.build_all
        else:
            scheme, options = compatible, {
                'protocol': settings.pickleProtocol}
            if is_strict:
                scheme, options = strict, {}
            options['namespace'] = settings.namespace
            self.build_key = partial(scheme.build, **options)
            self.build_all = partial(scheme.build_all, **options)
        self.namespace = None
        if settings.generations:
            self.namespace = Namespace(
                self.store, GENERATION + self.build_key('').encode())
        #: Reads values by their built keys.
        self.source = self.namespace or self.store

    def address(self, key):
        """Return the address of the server of a built key, or None.

        So it is for more than one, such as '3 keys', on several servers.
        """
        wire = None if ' ' in key else key.encode()
        if wire and self.namespace is not None:
            wire += b'.' + (self.namespace.seen or b'')
        return self.base.address(wire)

    def locate(self, key, deadline):
        """Return the key on the wire of a built key; both are bytes."""
        if self.namespace is None:
            return key
        return key + self.namespace.suffix(deadline)

    def retire(self, successor):
        """Close what the next state does not use."""
        if successor.base is not self.base:
            self.base.retire(successor.base)
