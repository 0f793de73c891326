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


def _describe(error):
    # Of any exception, even of one that cannot be turned into a str.
    return traceback.format_exception_only(error)[-1].strip()


def dumps(obj, protocol):
    try:
        return pickle.dumps(obj, protocol)
    except Exception as error:
        raise SerializationError(
            f'a {type(obj).__name__} cannot be pickled:'
            f' {_describe(error)}') from error


def check_raw(data):
    if not isinstance(data, bytes):
        raise ValueError(
            f'a raw value must be bytes, not {type(data).__name__}')


def loads(data, flags, raw):
    if flags != FLAGS:
        raise UnreadableValue(f'unknown flags {flags}')
    if raw:
        return data
    try:
        return pickle.loads(data)
    except Exception as error:
        raise UnreadableValue(_describe(error)) from error
