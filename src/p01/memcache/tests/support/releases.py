# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The releases of memcached that were tried, and what they do differently.

One column is one release, and the last is what the embedded server answers
as. The scenario of `test_embedded` asks for the column of the server that it
talks to; a release between two columns has the older one.
"""

import re


ERROR = b'ERROR\r\n'
END = b'END\r\n'
BAD_FORMAT = b'CLIENT_ERROR bad command line format\r\n'
BAD_DELETE = (b'CLIENT_ERROR bad command line format.  '
              b'Usage: delete <key> [noreply]\r\n')
BAD_FLAG = b'CLIENT_ERROR invalid or duplicate flag\r\n'
DUPLICATE = b'CLIENT_ERROR duplicate flag\r\n'
TOO_LONG = b'CLIENT_ERROR options flags too long\r\n'
ARE_TOO_LONG = b'CLIENT_ERROR options flags are too long\r\n'

RELEASES = ('1.6.18', '1.6.38', '1.6.45')

DIFFERENCES = {
    # Lines, and their words. The parser was written anew in 1.6.40.
    'less than four bytes': (ERROR, ERROR, BAD_FORMAT),
    'too few words': (ERROR, ERROR, BAD_FORMAT),
    'too many words': (ERROR, ERROR, None),
    'words of cas': (5, 5, 4),
    'words of gat': (1, 1, 2),
    'gat without a key': (END, END, BAD_FORMAT),
    'a space before get': (END, END, ERROR),
    'unknown, with noreply': (ERROR, ERROR, b''),
    'a NUL ends a line': (True, True, False),
    'a long key of get': (BAD_FORMAT, BAD_FORMAT, BAD_FORMAT + b'\r\n'),
    'delete with a word': (BAD_DELETE, BAD_DELETE, b'DELETED\r\n'),
    # The value of a store that is refused is a command to some.
    'a refused value': (ERROR, ERROR, b''),
    # Whether C's library reads the numbers: with "+", and beyond 32 bits.
    'loose numbers': (True, True, False),

    # The unique numbers: the first, and what is used up.
    'first number': (1, 2, 2),
    'numbers of a refusal': (0, 1, 1),
    'numbers of a flush': (1, 0, 0),

    # The meta commands.
    'flags of mg': (17, 17, 18),
    'too many flags of mg': (ARE_TOO_LONG, ARE_TOO_LONG, ARE_TOO_LONG),
    'too many flags of md': (TOO_LONG, TOO_LONG, ARE_TOO_LONG),
    'too many flags of ma': (TOO_LONG, TOO_LONG, BAD_FLAG),
    'too many flags of ms': (TOO_LONG, TOO_LONG, ARE_TOO_LONG),
    'a flag of no letter': (DUPLICATE, DUPLICATE, BAD_FORMAT),
    'md names its mistake': (False, False, True),
    'a long key of ma': (BAD_FORMAT, BAD_FORMAT, BAD_FLAG),
    'one letter behind M': (True, True, False),
    'ms tells the size': (b'', b' s1', b' s1'),
    'a new number, with q': (b'HD\r\n', b'HD\r\n', b''),
    'mg compares with C': (False, False, True),
    'flags E and x': (False, True, True),
}


class Release:
    """A column of the table: `Release('1.6.38')['first number']`."""

    def __init__(self, version):
        known = [_numbers(release) for release in RELEASES]
        older = [column for column, numbers in enumerate(known)
                 if numbers <= _numbers(version)]
        self._column = max(older, default=0)

    @property
    def name(self):
        return RELEASES[self._column]

    def __getitem__(self, difference):
        return DIFFERENCES[difference][self._column]


class UniqueNumbers:
    """The unique numbers of a fresh server, counted along with it."""

    def __init__(self, release):
        self._release = release
        self.last = release['first number'] - 1

    def store(self):
        """The number of a value that has been stored."""
        self.last += 1
        return self.last

    def refuse(self, times=1):
        """A value has not been stored."""
        self.last += times * self._release['numbers of a refusal']

    def flush(self):
        self.last += self._release['numbers of a flush']


def _numbers(version):
    return [int(number) for number in re.findall(r'\d+', version)[:3]]
