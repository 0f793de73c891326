# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The token of a value: its number among all since the server was started.

The number is another one whenever the value was changed, and means nothing to
other servers, so the token names the server as well. A server that cannot
compare and swap says 0 for all of them.
"""

from p01.memcache.wire.protocol import MAX_NUMBER


def make(unique, server):
    return f'{unique}@{server}'


def of(found, server):
    """Return ``(data, flags, token)`` of what `read_unique` found, or None."""
    if found is None:
        return None
    data, flags, unique = found
    return data, flags, make(unique, server)


def compares(token):
    """Return whether the server of the token can compare and swap."""
    return not token.startswith('0@')


def parse(token):
    """Return the number and the server's name."""
    if isinstance(token, str):
        unique, at, server = str.partition(token, '@')
        if (at and unique.isascii() and unique.isdigit()
                and len(unique) <= 20 and int(unique) <= MAX_NUMBER):
            return int(unique), server
    raise ValueError(f'token {token!r}: must be one that gets has returned')
