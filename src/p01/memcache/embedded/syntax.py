# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A request to the embedded server: what its words mean to memcached.

memcached reads numbers in two ways. Its parser takes digits alone; what is
left to the C library may have a sign, zeros, and white space around it.
"""

import base64
import binascii
import re


KEY_LENGTH = 250
#: More words than these the parser does not count.
MOST_WORDS = 23
#: What the line of a meta command may have, its key and itself included.
META_WORDS = 20
OPAQUE_LENGTH = 31

BAD_FORMAT = b'CLIENT_ERROR bad command line format\r\n'
BAD_TOKEN = b'CLIENT_ERROR bad token in command line format\r\n'

#: What strtol() and strtoull() of C read, without more digits than 64 bits
#: could hold: white space ends a number, and so does a NUL.
NUMBER = re.compile(rb'\s*([+-]?)0*([0-9]{1,20})(?![^\s\0])')

#: What the parser reads into 32 and into 64 bits; a "-" alone is 0.
INTEGER = re.compile(rb'(?!.{12})(-?)([0-9]*)', re.DOTALL)
UNSIGNED = {32: re.compile(rb'[0-9]{1,11}'), 64: re.compile(rb'[0-9]{1,22}')}

#: The arguments of the flag M.
MODES = {
    'ms': {b'S': 'set', b'E': 'add', b'R': 'replace', b'A': 'append',
           b'P': 'prepend'},
    'ma': {b'I': 'incr', b'+': 'incr', b'D': 'decr', b'-': 'decr'},
}

#: How a flag of a meta command may begin.
FLAG = re.compile(rb'[0-9A-z]')


class Refused(Exception):
    """A request that cannot be followed; the argument is the reply."""


class Malformed(Refused):
    """A request that the parser does not take; `noreply` is not read then."""


def read_number(text, low, high, refusal):
    """A number as the C library reads it."""
    match = NUMBER.match(text)
    value = int(match[1] + match[2]) if match else high
    if not low <= value < high:
        raise Refused(refusal)
    return value


def integer(text, refusal=BAD_FORMAT):
    match = INTEGER.fullmatch(text)
    value = int(match[1] + (match[2] or b'0')) if match else 2**31
    if not -2**31 <= value < 2**31:
        raise Refused(refusal)
    return value


def unsigned(text, refusal=BAD_FORMAT, bits=64):
    value = int(text) if UNSIGNED[bits].fullmatch(text) else 2**bits
    if value >= 2**bits:
        raise Refused(refusal)
    return value


def stored_number(text):
    return read_number(
        text, 0, 2**64, b'CLIENT_ERROR cannot increment or decrement '
                        b'non-numeric value\r\n')


def stored_flags(text):
    return read_number(text, 0, 2**64, BAD_FORMAT) % 2**32


def stored_lifetime(text):
    """The C library reads 64 bits, which are put into an int."""
    value = read_number(text, -2**63, 2**63, BAD_FORMAT)
    return (value + 2**31) % 2**32 - 2**31


def data_length(text):
    try:
        length = integer(text)
    except Refused:
        length = -1
    if not 0 <= length < 2**31 - len('\r\n'):
        raise Malformed(BAD_FORMAT)
    return length


def check_key(key):
    if len(key) > KEY_LENGTH:
        raise Refused(BAD_FORMAT)


def meta_integer(text):
    # Without an argument there is no number, not even 0.
    return integer(text or b'x', BAD_TOKEN)


#: The flags of the meta commands, and what reads their arguments. Each
#: command takes them all, and ignores those which are not its own.
META_FLAGS = dict.fromkeys('bcfhIklLOPqstuvx', bytes) | {
    'C': lambda text: unsigned(text, BAD_TOKEN),
    'D': lambda text: unsigned(
        text, b'CLIENT_ERROR invalid numeric delta value\r\n'),
    'E': lambda text: unsigned(text, BAD_TOKEN),
    # It has no error of its own, and keeps the one of a flag before.
    'F': lambda text: unsigned(text, None, 32),
    'J': lambda text: unsigned(
        text, b'CLIENT_ERROR invalid numeric initial value\r\n'),
    'M': lambda text: text[:1],
    'N': meta_integer,
    'R': meta_integer,
    'T': meta_integer,
}


def read_flags(key, words):
    """The key, and the flags of a meta command by their letters."""
    flags = {}
    refusal = None
    for word in words:
        letter = chr(word[0])
        if letter in flags:
            raise Refused(b'CLIENT_ERROR duplicate flag\r\n')
        if letter not in META_FLAGS:
            raise Refused(b'CLIENT_ERROR invalid flag\r\n')
        flags[letter] = None
        try:
            flags[letter] = META_FLAGS[letter](word[1:])
            if letter == 'b':
                key = decode_key(key)
        except Refused as error:
            refusal = error.args[0] or refusal or BAD_FORMAT
    # All are looked at, and the last mistake is told.
    if refusal is not None:
        raise Refused(refusal)
    return key, flags


def decode_key(key):
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error:
        raise Refused(b'CLIENT_ERROR error decoding key\r\n') from None


def check_flags(words):
    """Before anything else the parser looks how the flags begin."""
    if not all(FLAG.match(word) for word in words):
        raise Malformed(BAD_FORMAT)


def read_meta(command, key, words, count):
    """The key and the flags of a meta command of so many words."""
    try:
        check_key(key)
        if count > META_WORDS:
            raise Refused(b'CLIENT_ERROR options flags are too long\r\n')
        key, flags = read_flags(key, words)
    except Refused:
        if command == 'ma':
            raise Refused(
                b'CLIENT_ERROR invalid or duplicate flag\r\n') from None
        raise
    modes = MODES.get(command)
    if modes and 'M' in flags and flags['M'] not in modes:
        raise Refused(
            b'CLIENT_ERROR invalid mode for %b M token\r\n' % (
                command.encode()))
    return key, flags


def check_opaque(flags):
    if len(flags.get('O', b'')) > OPAQUE_LENGTH:
        raise Refused(b'CLIENT_ERROR opaque token too long\r\n')
