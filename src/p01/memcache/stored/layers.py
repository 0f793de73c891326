# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What is stored under a key: taken apart, and never executed."""

import pickletools

from p01.memcache.errors import ForgedValue
from p01.memcache.errors import UnreadableValue
from p01.memcache.leases.claim import is_claim
from p01.memcache.leases.claim import is_watch
from p01.memcache.values import signing
from p01.memcache.values import stamp
from p01.memcache.values.compression import decompress
from p01.memcache.values.flags import COMPRESSED
from p01.memcache.values.flags import JSON
from p01.memcache.values.flags import PLAIN
from p01.memcache.values.flags import SIGNED
from p01.memcache.values.flags import STAMPED
from p01.memcache.values.flags import ZLIB


# Opcodes of a pickle that are looked at for the names in it.
_MOST = 100_000


class Stored:
    """An item, and its layers: a signature, a stamp, compression.

    `data` and `flags` are what is left below them, and `layers` describes
    each; `wrong` says why readers do not get the value, if they do not.
    `versions` are those of its dependencies.
    """

    def __init__(self, built, item, parts):
        self.data, self.flags, _ = item
        self.layers, self.wrong, self.versions = [], None, {}
        try:
            self._take_apart(built, parts)
        except UnreadableValue as error:
            self.wrong = f'unreadable: {error}'

    def _take_apart(self, built, parts):
        if len(self.data) > parts.codec.most:
            raise UnreadableValue('larger than maxValueSize')
        if self.flags & SIGNED:
            self.layers.append(self._unsign(built, parts.codec.signer))
        elif parts.codec.signer is not None:
            self.wrong = 'not signed, as the client requires'
        if self.flags & STAMPED:
            self.versions, self.data = stamp.take(self.data)
            self.flags &= ~STAMPED
            self.layers.append('stamped with dependencies')
        if self.flags & COMPRESSED:
            how = 'zlib' if self.flags & ZLIB else 'zstandard'
            self.data, self.flags = decompress(
                self.data, self.flags, parts.settings.maxValueSize)
            self.layers.append(f'compressed by {how}')

    def _unsign(self, built, signer):
        if signer is None:
            self.flags &= ~SIGNED
            self.data = self.data[signing.SIZE:]
            return 'signed (not verified: no secret is known)'
        try:
            self.data, self.flags = signer.verify(
                built, self.data, self.flags)
        except ForgedValue as error:
            self.wrong = f'forged: {error}'
            self.flags &= ~SIGNED
            self.data = self.data[signing.SIZE:]
            return 'signed wrongly'
        return 'signed rightly'

    @property
    def is_pickle(self):
        return (self.flags == PLAIN and self.data[:1] == b'\x80'
                and self.data[-1:] == b'.')

    @property
    def kind(self):
        """What the bytes are, in words."""
        if self.flags == JSON:
            return 'JSON'
        if self.flags == PLAIN:
            return 'a pickle' if self.is_pickle else 'raw bytes'
        return (f'of another client, or of a serializer of the application'
                f' (flags {self.flags})')


def claim(store, wire, item, deadline):
    """Return what stands for a value that is computed; None for a value."""
    if not is_claim(store, wire, item, deadline, False):
        return None
    if is_watch(item.data):
        return 'a watch: a caller computes the value, and nobody waits'
    return 'a claim: a caller computes the value'


def obsolete(versions, value, deadline):
    """Return why the stamp makes the value a miss; None if it does not.

    What is dated by a database depends on the reader's snapshot.
    """
    wanted = {key: version for key, version in value.versions.items()
              if not key.startswith(stamp.TID)}
    current, errors = versions.read(list(wanted), deadline)
    if errors:
        raise errors[0]
    gone = [key for key, version in wanted.items()
            if current.get(key) != version]
    if gone:
        return (f'obsolete: {len(gone)} of its {len(value.versions)}'
                ' dependencies or lifetimes have ended')
    return None


def names(data):
    """Return what a pickle refers to, without reading it."""
    found, strings = {}, []
    for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if number == _MOST:
            break
        if opcode.name in ('GLOBAL', 'INST'):
            found[argument.replace(' ', '.')] = None
        elif opcode.name == 'STACK_GLOBAL':
            found['.'.join(strings[-2:])] = None
        elif opcode.name.startswith('EXT'):
            found[f'extension {argument}'] = None
        elif isinstance(argument, str):
            strings = [*strings[-1:], argument]
    return list(found)
