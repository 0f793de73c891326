# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Keys as python-memcached takes them, and its errors."""

import re


MOST = 250

_ALLOWED = re.compile(rb'[\x21-\x7e\x80-\xff]+')


class MemcachedKeyError(ValueError):
    """A key that memcached would not take."""


class MemcachedKeyNoneError(MemcachedKeyError):
    """No key."""


class MemcachedKeyTypeError(MemcachedKeyError):
    """A key that is neither text nor bytes."""


class MemcachedKeyLengthError(MemcachedKeyError):
    """A key that is too long."""


class MemcachedKeyCharacterError(MemcachedKeyError):
    """A key with blanks or control characters."""


def check(key, prefix=b''):
    """Return the key as bytes, with the prefix."""
    if isinstance(key, tuple):
        _, key = key  # the first one would choose a server
    if isinstance(key, str):
        key = key.encode()
    if key is None:
        raise MemcachedKeyNoneError('key None: must be str or bytes')
    if not isinstance(key, bytes):
        raise MemcachedKeyTypeError(f'key {key!r}: must be str or bytes')
    if len(prefix) + len(key) > MOST:
        raise MemcachedKeyLengthError(
            f'key {prefix + key!r}: must have at most {MOST} bytes')
    if not _ALLOWED.fullmatch(key):
        raise MemcachedKeyCharacterError(
            f'key {key!r}: must have at least one character, and no blanks or'
            ' control characters')
    return prefix + key


def check_all(keys, prefix):
    """Return a dict of the checked keys, with the prefix, and the keys.

    Here a number is a key, too; so is whatever else python-memcached takes.
    """
    prefix = check(prefix) if prefix else b''
    checked = {}
    for key in keys:
        name = key[1] if isinstance(key, tuple) else key
        if key is not None and not isinstance(name, (str, bytes)):
            name = str(name)
        checked[check(name, prefix)] = key
    return checked
