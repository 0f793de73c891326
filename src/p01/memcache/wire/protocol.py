# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""memcached's text protocol: requests as bytes, replies as Python values.

A function named like a command makes its request. A ``read_`` function reads
one reply from anything with ``readline`` and ``read`` (a ``Reader``, or an
``io.BytesIO`` in a test), and is done exactly at its end. No reply is
believed: whatever differs from what was asked for is a ``ProtocolError``.
Where it announces a value of more than `most` bytes, nothing is read any more:
it is closed, and the value is an `Announced`.
The commands are those of memcached's ``doc/protocol.txt``.
"""

import functools
import re

from p01.memcache.errors import ClientError
from p01.memcache.errors import ProtocolError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerError


# The longest line that any reply needs is far shorter.
MAX_LINE = 2048

# Of memcached's statistics there are some hundred, of a few bytes each.
MAX_STATISTICS, MAX_BYTES_OF_STATISTICS = 2000, 1 << 18

# The largest item that memcached can be configured for (-I 1024m).
MAX_VALUE = 1 << 30

# So many keys are asked for at once, and then the values are read, so that
# neither side waits for the other to read.
MOST_KEYS = 1000

# Behind so many values that are too large, the others are read. Each of them
# costs a connection.
MOST_LARGE = 10

# So many changes, of so many bytes, are sent before the replies are read.
MOST_CHANGES, MOST_BYTES = 500, 1 << 16

# Counters have 64 bits, and so has the number that tells a value from others.
MAX_NUMBER = (1 << 64) - 1

# A key is of so many bytes at most.
MAX_KEY = 250

is_key = re.compile(rb'[^\x00-\x20\x7f]{1,%d}' % MAX_KEY).fullmatch
_value = re.compile(rb'VALUE ([^ \n]+) (\d{1,10}) (\d{1,10})\r\n')
parse_value, _match_value = _value.fullmatch, _value.match
_parse_unique = re.compile(
    rb'VALUE ([^ ]+) (\d{1,10}) (\d{1,10}) (\d{1,20})\r\n').fullmatch
_parse_number = re.compile(rb'(\d{1,20}) *\r\n').fullmatch


def check_key(key):
    """Raise a ValueError if memcached would not take `key` for one key."""
    if type(key) is bytes and key.isalnum() and len(key) <= MAX_KEY:
        return  # as those are that a client builds
    if not is_key(key):
        raise ValueError(
            f'key {key!r}: must be 1 to 250 bytes, without blanks and'
            ' control characters')


def get(keys):
    for key in keys:
        check_key(key)
    return b'get %b\r\n' % b' '.join(keys)


def get_all(keys, found, most=MAX_VALUE):
    """Yield requests, each with what reads its reply into `found`.

    What stands behind a value that is too large is asked for again, a few
    times.
    """
    left = MOST_LARGE
    while keys:
        # The name `set` is that of a command here.
        wanted = frozenset(keys[:MOST_KEYS])
        yield get(keys[:MOST_KEYS]), read_values, wanted, found, most
        last = next(reversed(found), None)
        if left and last in wanted and type(found[last][0]) is Announced:
            left -= 1
            keys = [key for key in keys if key not in found]
        else:
            keys = keys[MOST_KEYS:]


def change_all(changes, read, replies, most):
    """Yield requests, each with what puts the replies into `replies`.

    `changes` maps keys to requests, and `read` reads the reply to one of
    them. At most `most` bytes are sent at once; a larger value goes alone.
    """
    for keys in _batches(changes, most):
        yield (b''.join(map(changes.get, keys)), read_each, keys, read,
               replies)


def _batches(changes, most):
    keys, size = [], 0
    for key, data in changes.items():
        size += len(data)
        if keys and (size > most or len(keys) == MOST_CHANGES):
            yield keys
            keys, size = [], len(data)
        keys.append(key)
    if keys:
        yield keys


def gets(key):
    check_key(key)
    return b'gets %b\r\n' % key


def get_and_touch(key, expires):
    check_key(key)
    return b'gat %d %b\r\n' % (expires, key)


def check_value(data):
    if len(data) > MAX_VALUE:
        # A server that does not understand so large a number would take the
        # value for commands.
        raise ValueError(
            f'a value of {len(data)} bytes: must be {MAX_VALUE} at most')


def _store(command, key, data, flags, expires):
    check_key(key)
    check_value(data)
    return b'%b %b %d %d %d\r\n%b\r\n' % (
        command, key, flags, expires, len(data), data)


set = functools.partial(_store, b'set')
add = functools.partial(_store, b'add')
replace = functools.partial(_store, b'replace')
append = functools.partial(_store, b'append')
prepend = functools.partial(_store, b'prepend')


def cas(key, data, flags, unique, expires):
    check_key(key)
    check_value(data)
    return b'cas %b %d %d %d %d\r\n%b\r\n' % (
        key, flags, expires, len(data), unique, data)


def touch(key, expires):
    check_key(key)
    return b'touch %b %d\r\n' % (key, expires)


def increment(key, delta):
    check_key(key)
    return b'incr %b %d\r\n' % (key, delta)


def decrement(key, delta):
    check_key(key)
    return b'decr %b %d\r\n' % (key, delta)


def delete(key):
    check_key(key)
    return b'delete %b\r\n' % key


def flush_all():
    return b'flush_all\r\n'


def stats():
    return b'stats\r\n'


def no_operation():
    """What only servers answer that know the meta commands."""
    return b'mn\r\n'


def authenticate(username, password):
    """The first request to a server that was started with ``-Y``.

    Any other server stores it, as a value that has expired already.
    """
    data = b'%b %b' % (username.encode(), password.encode())
    return b'set p01.memcache 0 -1 %d\r\n%b\r\n' % (len(data), data)


def is_common(read):
    """Return whether also proxies answer requests whose replies it reads."""
    return read not in (read_ok, read_stats, read_no_operation, read_unique,
                        read_fetched)


def may_repeat(read):
    """Return whether it does no harm to make such a request twice."""
    return read in (read_values, read_unique, read_fetched, read_deleted,
                    read_touched, read_ok, read_stats)


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
        # What is behind it may be a password that was repeated.
        return ServerBusy('ERROR Too many open connections')
    if line.startswith(b'CLIENT_ERROR ') or line == b'ERROR\r\n':
        return ClientError(text)
    return ProtocolError(f'unexpected reply: {text!r}')


class Announced(bytes):
    """Stands for a value that is too large: it has its length, and no bytes.
    """

    def __new__(cls, size):
        self = super().__new__(cls)
        self._size = size
        return self

    def __len__(self):
        return self._size

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


def unasked(named):
    """Return the error that a value of that key is, not of the wanted one."""
    return ProtocolError(f'a value that was not asked for: {named[:80]!r}')


def read_values(reader, keys, found, most=MAX_VALUE):
    """Put what the server has of `keys` into the dict `found`.

    A key's value is ``(data, flags)``. Where the reply is cut, `found` holds
    what arrived whole before.
    """
    scan = getattr(reader, 'scan', None)
    while True:
        if scan is not None:
            scan(_match_value, keys, found)  # most of them, in less time
        line = reader.readline(MAX_LINE)
        if line == b'END\r\n':
            return found
        match = parse_value(line)
        if match is None:
            raise unexpected(line)
        key, flags, size = match.groups()
        if key not in keys or key in found:
            raise unasked(key)
        data = read_block(reader, int(size), most)
        found[key] = data, int(flags)
        if type(data) is Announced:
            return found


def read_fetched(reader, key, most=MAX_VALUE):
    """Return ``(data, flags)`` of the key that was touched, or None."""
    return read_values(reader, (key,), {}, most).get(key)


def read_unique(reader, key, most=MAX_VALUE):
    """Return ``(data, flags, unique)`` of the key, or None.

    ``unique`` is another number whenever the value was changed.
    """
    line = reader.readline(MAX_LINE)
    if line == b'END\r\n':
        return None
    match = _parse_unique(line)
    if match is None:
        raise unexpected(line)
    named, flags, size, unique = match.groups()
    if named != key:
        raise unasked(named)
    check_unique(unique)
    data = read_block(reader, int(size), most)
    if type(data) is not Announced:
        line = reader.readline(MAX_LINE)
        if line != b'END\r\n':
            raise unexpected(line)
    return data, int(flags), int(unique)


def check_unique(unique):
    if int(unique) > MAX_NUMBER:
        raise ProtocolError(f'a value with the number {int(unique)}')


def read_block(reader, size, most=MAX_VALUE):
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


def one_of(outcomes):
    """Return a function that reads a line and returns what it stands for."""
    def read(reader):
        line = reader.readline(MAX_LINE)
        if line in outcomes:
            return outcomes[line]
        raise unexpected(line)
    return read


#: True, the value is stored.
read_stored = one_of({b'STORED\r\n': True})

#: Whether it is stored: there is, or is not, a value already.
read_stored_or_not = one_of({b'STORED\r\n': True, b'NOT_STORED\r\n': False})

#: True for stored, False for changed by another, None for gone.
read_compared = one_of({
    b'STORED\r\n': True, b'EXISTS\r\n': False, b'NOT_FOUND\r\n': None})

#: Whether there is something that could be touched.
read_touched = one_of({b'TOUCHED\r\n': True, b'NOT_FOUND\r\n': False})

#: Whether there was something to delete.
read_deleted = one_of({b'DELETED\r\n': True, b'NOT_FOUND\r\n': False})

#: True, the command was carried out.
read_ok = one_of({b'OK\r\n': True})

#: True, the server knows the meta commands.
read_no_operation = one_of({b'MN\r\n': True})

_NO_NUMBER = b'CLIENT_ERROR cannot increment or decrement non-numeric value'


def read_number(reader):
    """Return the number; None if there is nothing, False for no number."""
    line = reader.readline(MAX_LINE)
    match = _parse_number(line)
    if match is not None and int(match[1]) <= MAX_NUMBER:
        return int(match[1])
    if line == b'NOT_FOUND\r\n':
        return None
    if line == _NO_NUMBER + b'\r\n':
        return False
    raise unexpected(line)


def read_each(reader, keys, read, replies):
    """Put what `read` makes of the reply to each key, or its refusal."""
    for key in keys:
        try:
            replies[key] = read(reader)
        except ServerError as error:
            # A traceback would lead back to the replies, and to all frames.
            replies[key] = error.with_traceback(None)


def read_stats(reader):
    """Return a dict of names and values, both of them text."""
    result, size = {}, 0
    while (line := reader.readline(MAX_LINE)) != b'END\r\n':
        if not (line.startswith(b'STAT ') and line.endswith(b'\r\n')):
            raise unexpected(line)
        name, _, value = line[5:-2].decode('utf-8', 'replace').partition(' ')
        result[name] = value
        size += len(line)
        if len(result) > MAX_STATISTICS or size > MAX_BYTES_OF_STATISTICS:
            raise ProtocolError(
                f'statistics of more than {MAX_STATISTICS} lines, or'
                f' {MAX_BYTES_OF_STATISTICS} bytes')
    return result
