# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A Python object as bytes, and back."""

import pickle
import traceback

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue


# What is written into the flags of a value. All releases of this package
# wrote it, for pickles and for raw values; other flags are other clients'.
FLAGS = 0

# Bits that no known client uses. A value behind a stamp, see
# `p01.memcache.stamp`, and no value but a claim, see `p01.memcache.lease`.
STAMPED = 1 << 6
CLAIM = 1 << 7


def _describe(error):
    # Of any exception, even of one that cannot be turned into a str.
    told = str(traceback.TracebackException.from_exception(error))
    return f'{type(error).__name__}: {" ".join(told.split())}'


def dumps(obj, protocol):
    try:
        return pickle.dumps(obj, protocol)
    except Exception as error:
        raise SerializationError(
            f'a {type(obj).__name__} cannot be pickled:'
            f' {_describe(error)}') from error


def raw_bytes(data):
    """Return raw data as it is, if it is bytes."""
    if not isinstance(data, bytes):
        raise ValueError(
            f'a raw value must be bytes, not {type(data).__name__}')
    # A subclass may tell lies about its length.
    return data if type(data) is bytes else bytes(memoryview(data))


def loads(data, flags, raw):
    if flags != FLAGS:
        raise UnreadableValue(f'unknown flags {flags}')
    if raw:
        return data
    try:
        return pickle.loads(data)
    except Exception as error:
        raise UnreadableValue(_describe(error)) from error
