# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""memcached's text protocol: requests as bytes, replies as Python values.

A function named like a command makes its request. A ``read_`` function reads
one reply from anything with ``readline`` and ``read`` (a ``Reader``, or an
``io.BytesIO`` in a test), and is done exactly at its end. No reply is
believed: whatever differs from what was asked for is a ``ProtocolError``.
The commands are those of memcached's ``doc/protocol.txt``.
"""

import re

from p01.memcache.errors import ClientError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError


# The longest line that any reply needs is far shorter.
MAX_LINE = 2048

# Of memcached's statistics there are some hundred.
MAX_STATISTICS = 10_000

# The largest item that memcached can be configured for (-I 1024m).
MAX_VALUE = 1 << 30

_is_key = re.compile(rb'[^\x00-\x20\x7f]{1,250}').fullmatch
parse_value = re.compile(
    rb'VALUE ([^ ]+) (\d{1,10}) (\d{1,10})\r\n').fullmatch


def check_key(key):
    """Raise a ValueError if memcached would not take `key` for one key."""
    if not _is_key(key):
        raise ValueError(
            f'key {key!r}: must be 1 to 250 bytes, without blanks and'
            ' control characters')


def get(keys):
    if not all(map(_is_key, keys)):
        for key in keys:
            check_key(key)
    return b'get %b\r\n' % b' '.join(keys)


def set(key, data, flags, expires):
    check_key(key)
    if len(data) > MAX_VALUE:
        # A server that does not understand so large a number would take the
        # value for commands.
        raise ValueError(
            f'a value of {len(data)} bytes: must be {MAX_VALUE} at most')
    return b'set %b %d %d %d\r\n%b\r\n' % (
        key, flags, expires, len(data), data)


def delete(key):
    check_key(key)
    return b'delete %b\r\n' % key


def delete_all(keys):
    return b''.join(map(delete, keys))


def flush_all():
    return b'flush_all\r\n'


def stats():
    return b'stats\r\n'


def authenticate(username, password):
    """The first request to a server that was started with ``-Y``.

    Any other server stores it, as a value that has expired already.
    """
    data = b'%b %b' % (username.encode(), password.encode())
    return b'set p01.memcache 0 -1 %d\r\n%b\r\n' % (len(data), data)


def is_common(read):
    """Return whether also proxies answer requests whose replies it reads."""
    return read not in (read_ok, read_stats)


def unexpected(line):
    """Return the error that the line is, which is no reply to the request."""
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
        return ServerBusy(text)
    if line.startswith(b'CLIENT_ERROR ') or line == b'ERROR\r\n':
        return ClientError(text)
    return ProtocolError(f'unexpected reply: {text!r}')


def read_values(reader, keys, found):
    """Put what the server has of `keys` into the dict `found`.

    A key's value is ``(data, flags)``. Where the reply is cut, `found` holds
    what arrived whole before.
    """
    while (line := reader.readline(MAX_LINE)) != b'END\r\n':
        match = parse_value(line)
        if match is None:
            raise unexpected(line)
        key, flags, size = match.groups()
        size = int(size)
        if key not in keys or key in found:
            raise ProtocolError(f'a value that was not asked for: {key!r}')
        if size > MAX_VALUE:
            raise ProtocolError(f'a value of {size} bytes')
        data = reader.read(size)
        end = reader.read(2)
        if end != b'\r\n':
            if len(end) < 2:
                raise ReceiveError(
                    'the server closed the connection within a value')
            raise ProtocolError(f'a value of {size} bytes does not end there')
        found[key] = data, int(flags)
    return found


def read_stored(reader):
    """Return None, the value is stored."""
    line = reader.readline(MAX_LINE)
    if line != b'STORED\r\n':
        raise unexpected(line)


def read_deleted(reader):
    """Return whether there was something to delete."""
    line = reader.readline(MAX_LINE)
    if line == b'DELETED\r\n':
        return True
    if line == b'NOT_FOUND\r\n':
        return False
    raise unexpected(line)


def read_all_deleted(reader, keys):
    """Return a dict of the keys that the server refused, and the errors."""
    refused = {}
    for key in keys:
        try:
            read_deleted(reader)
        except ServerError as error:
            refused[key] = error
    return refused


def read_ok(reader):
    """Return None, the command was carried out."""
    line = reader.readline(MAX_LINE)
    if line != b'OK\r\n':
        raise unexpected(line)


def read_stats(reader):
    """Return a dict of names and values, both of them text."""
    result = {}
    while (line := reader.readline(MAX_LINE)) != b'END\r\n':
        if not (line.startswith(b'STAT ') and line.endswith(b'\r\n')):
            raise unexpected(line)
        name, _, value = line[5:-2].decode('utf-8', 'replace').partition(' ')
        result[name] = value
        if len(result) > MAX_STATISTICS:
            raise ProtocolError(f'more than {MAX_STATISTICS} statistics')
    return result
