# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The token of a value: its unique number, and the server that made it.

A server gives a value another number whenever it is changed. The numbers
begin anew when it is restarted, and mean nothing to other servers. A server
without compare-and-swap says 0 for all of them.
"""

from p01.memcache.wire.limits import MAX_NUMBER


def make(unique, server):
    return f'{unique}@{server}'


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
