# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command by which memcached says what it knows of an item.

``me`` is the one that changes nothing: ``mg`` counts as a read, and takes
the right to compute a value that is stale.
"""

import re
from typing import Any

from p01.memcache.errors import ClientError
from p01.memcache.errors import ReceiveError
from p01.memcache.wire.command import Keyed
from p01.memcache.wire.reader import Readable
from p01.memcache.wire.replies import parse_line
from p01.memcache.wire.replies import unasked


_parse = re.compile(
    rb'(?:EN|ME ([^ ]+)((?: [a-z]+=[a-z0-9-]{1,20})*))\r\n').fullmatch

_find_pairs = re.compile('([a-z]+)=([a-z0-9-]+)').findall


class Debug(Keyed):

    repeats = True
    everywhere = False

    def encode(self) -> bytes:
        return b'me %b\r\n' % self.key

    def read(self, reader: Readable) -> dict[str, str] | None:
        """Return what is known, such as ``exp`` and ``la``; None for nothing.
        """
        named, pairs = parse_line(reader, _parse)
        if named is None:
            return None
        if named != self.key:
            raise unasked(named)
        return dict(_find_pairs(pairs.decode()))


def ask(server: Any, wire: bytes, deadline: float) -> dict[str, str]:
    """Return what the server knows of the item; nothing if it does not say.
    """
    try:
        return server.run(Debug(wire), deadline) or {}
    except ClientError:
        return {}
    except ReceiveError as error:
        if type(error) is not ReceiveError:
            raise  # a time-out
        return {}  # a proxy closes the connection


def expiry(known: dict[str, str]) -> str:
    """Return when the item expires, in words."""
    left = seconds_left(known)
    if left is None:
        return 'the server does not say it'
    return 'never' if left == -1 else f'in {left} s'


def seconds_left(known: dict[str, str]) -> int | None:
    """Return the seconds until the item expires; -1 for never."""
    left = known.get('exp', '')
    # memcached 1.6 counted downwards at first: -30 is 30 seconds.
    return abs(int(left)) if re.fullmatch('-?[0-9]+', left) and int(
        left) != -1 else -1 if left == '-1' else None


def seconds_idle(known: dict[str, str]) -> int | None:
    """Return the seconds since the item was read or stored."""
    idle = known.get('la', '')
    return int(idle) if idle.isdecimal() else None
