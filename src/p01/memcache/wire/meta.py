# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The meta commands by which memcached lends the right to compute a value.

memcached knows them since its release 1.6; other servers and proxies refuse
them. As in `p01.memcache.wire.command`, a class is a command. The commands are
those of the section "Meta Commands" of memcached's ``doc/protocol.txt``.
"""

import math
import re
from enum import Enum
from typing import NamedTuple

from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Command
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Keyed
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_VALUE
from p01.memcache.wire.reader import Readable
from p01.memcache.wire.replies import one_of
from p01.memcache.wire.replies import parse_line
from p01.memcache.wire.replies import parse_unique
from p01.memcache.wire.replies import read_block
from p01.memcache.wire.replies import read_no_operation
from p01.memcache.wire.replies import unasked


# Not all releases repeat the key of a value that they do not have.
_parse_leased = re.compile(
    rb'(?:EN(?: k([^ ]+))?|VA (\d{1,10}) f(\d{1,10}) c(\d{1,20}) k([^ ]+)'
    rb'((?: [WXZ])*))\r\n').fullmatch

_parse_added = re.compile(
    rb'(HD|NS)(?: c(\d{1,20}))? k([^ ]+)\r\n').fullmatch

_parse_state = re.compile(
    rb'(?:EN|HD s(\d{1,10})((?: [WXZ])*))\r\n').fullmatch


class NoOperation(Command):
    """Answered by the servers alone that know the meta commands."""

    everywhere = False
    read = staticmethod(read_no_operation)

    def encode(self) -> bytes:
        return b'mn\r\n'


class Right(Enum):
    """Which caller has the right to compute a value."""

    OURS = 'this caller'
    THEIRS = 'another caller'
    NOBODYS = 'no caller: the value need not be computed'


# Looked up faster than as attributes of the class.
OURS, THEIRS, NOBODYS = Right


class Leased(NamedTuple):
    """An `Item`, and the right to renew it."""

    item: Item
    right: Right


class GetOrRenew(Get):
    """Ask for a value, and for the right to renew it.

    With less than `grace` seconds to live the value is returned, and one
    caller gets the right to compute it anew. No claim is made where there is
    no value (N): to the server that is a hit, and its hit rate would be of no
    use.
    """

    repeats = False

    def __init__(
            self, key: bytes, grace: int, most: int = MAX_VALUE) -> None:
        super().__init__(key, most)
        self.grace = grace

    def encode(self) -> bytes:
        renewal = b' R%d' % self.grace if self.grace else b''
        return b'mg %b v f c k%b\r\n' % (self.key, renewal)

    def read(self, reader: Readable) -> Leased | None:
        """Return a `Leased`, or None if there is no value."""
        missing, size, flags, unique, named, marks = parse_line(
            reader, _parse_leased)
        named = named or missing or self.key
        if named != self.key:
            raise unasked(named)
        if size is None:
            return None
        token = parse_unique(unique)
        data = read_block(reader, int(size), self.most)
        right = (
            OURS if b'W' in marks
            else THEIRS if b'Z' in marks else NOBODYS)
        return Leased(Item(data, int(flags), token), right)


class AddNumbered(Add):
    """`Add`, and ask for the unique number of what is stored."""

    usual = b''

    def encode(self) -> bytes:
        return b'ms %b %d F%d T%d c k ME\r\n%b\r\n' % (
            self.key, len(self.data), self.flags, self.expires, self.data)

    def read(self, reader: Readable) -> int | None:
        """Return the number; None if there is a value already.

        It is 0 where the server does not say it.
        """
        state, unique, named = parse_line(reader, _parse_added)
        if named != self.key:
            raise unasked(named)
        return None if state == b'NS' else parse_unique(unique or b'0')


class IsLeased(Keyed):
    """Ask whether what was seen empty is a claim, and no value."""

    def encode(self) -> bytes:
        return b'mg %b s\r\n' % self.key

    def read(self, reader: Readable) -> bool:
        """Return True for a claim, also for one that is over.

        Of the latter another value is there by now, or nothing.
        """
        size, marks = parse_line(reader, _parse_state)
        return size is None or int(size) > 0 or marks != b''


class MakeStale(Keyed):
    """Let the next caller that asks have the right to compute the value."""

    #: True, it is done; False for changed by another client, None for gone.
    read = staticmethod(one_of({
        b'HD\r\n': True, b'EX\r\n': False, b'NF\r\n': None}))

    def __init__(
            self, key: bytes, unique: int, since: float = math.inf) -> None:
        super().__init__(key)
        self.unique = unique
        self.since = since

    def encode(self) -> bytes:
        return b'md %b I C%d\r\n' % (self.key, self.unique)
