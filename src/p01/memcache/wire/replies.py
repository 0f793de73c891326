# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Replies of memcached, read as Python values.

A function reads one reply from anything with ``readline`` and ``read`` (a
`Reader`, or an ``io.BytesIO`` in a test), and stops exactly at its end. No
reply is believed: whatever differs from what was asked for is a
`ProtocolError`. Where a value of more than `most` bytes is announced, nothing
more is read: the reader is closed, and the value is an `Announced`.
The replies are those of memcached's ``doc/protocol.txt``.
"""

import re
from collections.abc import Callable
from collections.abc import Collection
from re import Match
from typing import Any

from p01.memcache.errors import ClientError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError
from p01.memcache.wire.item import Announced
from p01.memcache.wire.item import Item
from p01.memcache.wire.limits import MAX_BYTES_OF_STATISTICS
from p01.memcache.wire.limits import MAX_LINE
from p01.memcache.wire.limits import MAX_NUMBER
from p01.memcache.wire.limits import MAX_STATISTICS
from p01.memcache.wire.limits import MAX_VALUE
from p01.memcache.wire.reader import Readable


Parser = Callable[[bytes], Match[bytes] | None]


#: What a counter's key has, where that is no number.
NOT_A_NUMBER = object()

parse_value = re.compile(
    rb'VALUE ([^ \n]+) (\d{1,10}) (\d{1,10})\r\n').fullmatch
_parse_unique = re.compile(
    rb'VALUE ([^ ]+) (\d{1,10}) (\d{1,10}) (\d{1,20})\r\n').fullmatch
_parse_number = re.compile(rb'(\d{1,20}) *\r\n').fullmatch


def unexpected(line: bytes) -> MemcacheError:
    """Return the error for a line that is no reply to the request."""
    if not line.endswith(b'\r\n'):
        if len(line) < MAX_LINE and not line.endswith(b'\n'):
            return ReceiveError(
                'the server closed the connection within a line')
        return ProtocolError(f'not a line of the protocol: {line[:80]!r}')
    text = line[:200].rstrip().decode('ascii', 'backslashreplace')
    if not text.isprintable():
        text = repr(text)
    if line.startswith(b'SERVER_ERROR '):
        return ServerError(text)
    if line.startswith(b'ERROR Too many open connections'):
        # What follows may be a password that the server repeats.
        return ServerBusy('ERROR Too many open connections')
    if line.startswith(b'CLIENT_ERROR ') or line == b'ERROR\r\n':
        return ClientError(text)
    return ProtocolError(f'unexpected reply: {text!r}')


def unasked(named: bytes) -> ProtocolError:
    """Return the error for a value of another key."""
    return ProtocolError(f'a value that was not asked for: {named[:80]!r}')


def parse_line(reader: Readable, parse: Parser) -> tuple[Any, ...]:
    """Return the groups of a line that matches."""
    line = reader.readline(MAX_LINE)
    match = parse(line)
    if match is None:
        raise unexpected(line)
    return match.groups()


def parse_unique(text: bytes) -> int:
    """Return the unique number of a value."""
    unique = int(text)
    if unique > MAX_NUMBER:
        raise ProtocolError(f'a value with the number {unique}')
    return unique


def read_values(reader: Readable, keys: Collection[bytes],
                found: dict[bytes, Item], most: int = MAX_VALUE,
                parse: Parser = parse_value) -> dict[bytes, Item]:
    """Put the `Item` of each of the `keys` that exists into the dict `found`.

    Where the reply is cut, `found` has the items that arrived whole before.
    """
    scan = getattr(reader, 'scan', None) if parse is parse_value else None
    while True:
        if scan is not None:
            scan(keys, found)  # most of them, in less time
        line = reader.readline(MAX_LINE)
        if line == b'END\r\n':
            return found
        match = parse(line)
        if match is None:
            raise unexpected(line)
        key, flags, size, *unique = match.groups()
        if key not in keys or key in found:
            raise unasked(key)
        token = parse_unique(*unique) if unique else None
        data = read_block(reader, int(size), most)
        found[key] = Item(data, int(flags), token)
        if type(data) is Announced:
            return found


def read_item(
        reader: Readable, key: bytes, most: int = MAX_VALUE) -> Item | None:
    """Return the `Item` of the key, or None."""
    take = getattr(reader, 'take', None)
    if take is not None:
        item: Item | None = take(key)  # most, in less time
        if item is not None:
            return item
    return read_values(reader, (key,), {}, most).get(key)


def read_unique(
        reader: Readable, key: bytes, most: int = MAX_VALUE) -> Item | None:
    """Return the `Item` of the key with its unique number, or None.

    The number is another one whenever the value was changed.
    """
    return read_values(reader, (key,), {}, most, _parse_unique).get(key)


def read_block(reader: Readable, size: int, most: int = MAX_VALUE) -> bytes:
    """Return so many bytes, behind which a line ends; or an `Announced`."""
    if size > most:
        if size > MAX_VALUE:
            raise ProtocolError(f'a value of {size} bytes')
        reader.close()
        return Announced(size)
    data = reader.read(size)
    end = reader.read(2)
    if end != b'\r\n':
        if len(end) < 2:
            raise ReceiveError(
                'the server closed the connection within a value')
        raise ProtocolError(f'a value of {size} bytes does not end there')
    return data


def one_of(outcomes: dict[bytes, Any]) -> Callable[[Readable], Any]:
    """Return a function that reads a line and returns what it stands for."""
    def read(reader: Readable) -> Any:
        line = reader.readline(MAX_LINE)
        if line in outcomes:
            return outcomes[line]
        # Not from within the except clause of a KeyError: an error that is
        # kept would keep that one, too, and its frames.
        raise unexpected(line)
    return read


#: True, the value is stored.
read_stored = one_of({b'STORED\r\n': True})

#: Whether it is stored: there is, or is not, a value already.
read_stored_or_not = one_of({b'STORED\r\n': True, b'NOT_STORED\r\n': False})

#: True for stored, False for changed by another client, None for gone.
read_compared = one_of({
    b'STORED\r\n': True, b'EXISTS\r\n': False, b'NOT_FOUND\r\n': None})

#: Whether there is none any more: it is removed, or was gone before.
read_discarded = one_of({
    b'STORED\r\n': True, b'EXISTS\r\n': False, b'NOT_FOUND\r\n': True})

#: Whether there is a value that could be touched.
read_touched = one_of({b'TOUCHED\r\n': True, b'NOT_FOUND\r\n': False})

#: Whether there was a value to delete.
read_deleted = one_of({b'DELETED\r\n': True, b'NOT_FOUND\r\n': False})

#: True, the command was carried out.
read_ok = one_of({b'OK\r\n': True})

#: True, the server knows the meta commands.
read_no_operation = one_of({b'MN\r\n': True})

_NO_NUMBER = (
    b'CLIENT_ERROR cannot increment or decrement non-numeric value\r\n')


def read_number(reader: Readable) -> Any:
    """Return the counter, None if there is no value, or `NOT_A_NUMBER`."""
    line = reader.readline(MAX_LINE)
    match = _parse_number(line)
    if match is not None and int(match[1]) <= MAX_NUMBER:
        return int(match[1])
    if line == b'NOT_FOUND\r\n':
        return None
    if line == _NO_NUMBER:
        return NOT_A_NUMBER
    raise unexpected(line)


def read_stats(reader: Readable) -> dict[str, str]:
    """Return a dict of names and values, both of them text."""
    result: dict[str, str] = {}
    size = 0
    while (line := reader.readline(MAX_LINE)) != b'END\r\n':
        if not (line.startswith(b'STAT ') and line.endswith(b'\r\n')):
            raise unexpected(line)
        name, _, value = line[5:-2].decode('utf-8', 'replace').partition(' ')
        result[name] = value
        size += len(line)
        if len(result) > MAX_STATISTICS or size > MAX_BYTES_OF_STATISTICS:
            raise ProtocolError('statistics of too many lines or bytes')
    return result
