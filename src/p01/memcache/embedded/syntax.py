# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The syntax of requests: what the words of a line mean to memcached.

memcached reads numbers in two ways. Its parser takes digits alone; what is
left to the C library, here `stored_number` and the like, may have a sign,
zeros, and white space around it.
"""

import re

from p01.memcache.embedded.replies import BAD_FORMAT
from p01.memcache.embedded.replies import BAD_NUMBER
from p01.memcache.embedded.replies import Malformed
from p01.memcache.embedded.replies import Refused


#: The bytes of the longest key.
KEY_LENGTH = 250
#: The words of a line that the parser counts; it ignores any more.
MOST_WORDS = 23

# What strtol() and strtoull() of C read, without more digits than 64 bits
# could hold: white space ends a number, and so does a NUL.
_LOOSE = re.compile(rb'\s*([+-]?)0*([0-9]{1,20})(?![^\s\0])')

# What the parser reads into 32 and into 64 bits; a "-" alone is 0.
_SIGNED = re.compile(rb'(?!.{12})(-?)([0-9]*)', re.DOTALL)
_UNSIGNED = {32: re.compile(rb'[0-9]{1,11}'), 64: re.compile(rb'[0-9]{1,22}')}


def check_key(key):
    if len(key) > KEY_LENGTH:
        raise Refused(BAD_FORMAT)


def integer(text, refusal=BAD_FORMAT):
    match = _SIGNED.fullmatch(text)
    value = int(match[1] + (match[2] or b'0')) if match else 2**31
    if not -2**31 <= value < 2**31:
        raise Refused(refusal)
    return value


def unsigned(text, refusal=BAD_FORMAT, bits=64):
    value = int(text) if _UNSIGNED[bits].fullmatch(text) else 2**bits
    if value >= 2**bits:
        raise Refused(refusal)
    return value


def data_length(text):
    try:
        length = integer(text)
    except Refused:
        length = -1
    if not 0 <= length < 2**31 - len('\r\n'):
        raise Malformed(BAD_FORMAT)
    return length


def stored_number(text):
    return _read_loosely(text, 0, 2**64, BAD_NUMBER)


def stored_flags(text):
    return _read_loosely(text, 0, 2**64, BAD_FORMAT) % 2**32


def stored_lifetime(text):
    """Return a lifetime: the library reads 64 bits, an int keeps 32."""
    value = _read_loosely(text, -2**63, 2**63, BAD_FORMAT)
    return (value + 2**31) % 2**32 - 2**31


def _read_loosely(text, low, high, refusal):
    match = _LOOSE.match(text)
    value = int(match[1] + match[2]) if match else high
    if not low <= value < high:
        raise Refused(refusal)
    return value
