# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The flags of the meta commands: one letter each, and its argument."""

import base64
import binascii
import re

from p01.memcache.embedded import replies
from p01.memcache.embedded import syntax
from p01.memcache.embedded.replies import Malformed
from p01.memcache.embedded.replies import Refused


#: The bytes of the longest opaque token.
OPAQUE_LENGTH = 31
#: The words that a meta command may have, with its name and its key.
MOST_WORDS = 20

#: The arguments of the flag M.
MODES = {
    'ms': {b'S': 'set', b'E': 'add', b'R': 'replace', b'A': 'append',
           b'P': 'prepend'},
    'ma': {b'I': 'incr', b'+': 'incr', b'D': 'decr', b'-': 'decr'},
}


def _signed(text):
    # No argument is not 0.
    return syntax.integer(text or b'x', replies.BAD_TOKEN)


# The flags, and what reads their arguments. Each command takes them all, and
# ignores those that are not its own.
_READERS = dict.fromkeys('bcfhIklLOPqstuvx', bytes) | {
    'C': lambda text: syntax.unsigned(text, replies.BAD_TOKEN),
    'D': lambda text: syntax.unsigned(text, replies.BAD_META_DELTA),
    'E': lambda text: syntax.unsigned(text, replies.BAD_TOKEN),
    # It has no error of its own: that of an earlier flag stays.
    'F': lambda text: syntax.unsigned(text, None, 32),
    'J': lambda text: syntax.unsigned(text, replies.BAD_INITIAL),
    'M': lambda text: text[:1],
    'N': _signed,
    'R': _signed,
    'T': _signed,
}

_first_letter = re.compile(rb'[0-9A-z]').match


def check_letters(words):
    """Check how the flags begin: the parser does so before anything else."""
    if not all(map(_first_letter, words)):
        raise Malformed(replies.BAD_FORMAT)


def check_opaque(flags):
    if len(flags.get('O', b'')) > OPAQUE_LENGTH:
        raise Refused(replies.LONG_OPAQUE)


def read(name, key, words, count):
    """Return the key and the flags of a line that has `count` words.

    The flags are a mapping of letters, in their order, to their arguments.
    """
    try:
        syntax.check_key(key)
        if count > MOST_WORDS:
            raise Refused(replies.TOO_MANY_FLAGS)
        key, flags = _read_words(key, words)
    except Refused:
        if name == 'ma':
            raise Refused(replies.BAD_FLAG) from None
        raise
    if 'M' in flags and flags['M'] not in MODES.get(name, flags['M']):
        raise Refused(replies.BAD_MODE % name.encode())
    return key, flags


def _read_words(key, words):
    flags = {}
    refusal = None
    for word in words:
        letter = chr(word[0])
        if letter in flags:
            raise Refused(replies.DUPLICATE_FLAG)
        if letter not in _READERS:
            raise Refused(replies.INVALID_FLAG)
        flags[letter] = None
        try:
            flags[letter] = _READERS[letter](word[1:])
            if letter == 'b':
                key = _decode(key)
        except Refused as error:
            refusal = error.args[0] or refusal or replies.BAD_FORMAT
    # All flags are read; the reply is about the last mistake.
    if refusal is not None:
        raise Refused(refusal)
    return key, flags


def _decode(key):
    try:
        return base64.b64decode(key, validate=True)
    except binascii.Error:
        raise Refused(replies.BAD_KEY) from None
