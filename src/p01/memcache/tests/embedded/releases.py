# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How the tested releases of memcached differ.

Each answer is listed with the first of these releases that gives it. A release
between two of them counts as the older one. A conversation looks up the
answers of its server; the embedded server follows the newest release.
"""

import re

from p01.memcache.tests.embedded.replies import BAD_FLAG
from p01.memcache.tests.embedded.replies import BAD_FORMAT
from p01.memcache.tests.embedded.replies import DUPLICATE_FLAG
from p01.memcache.tests.embedded.replies import TOO_MANY_FLAGS


ERROR = b'ERROR\r\n'
END = b'END\r\n'
BAD_DELETE = (b'CLIENT_ERROR bad command line format.  '
              b'Usage: delete <key> [noreply]\r\n')
FLAGS_TOO_LONG = b'CLIENT_ERROR options flags too long\r\n'

#: Those of Debian 12, Debian 13 and Debian's unstable suite.
RELEASES = ('1.6.18', '1.6.38', '1.6.45')

DIFFERENCES = {
    # Lines, and their words. The parser was rewritten in 1.6.40.
    'less than four bytes': {'1.6.18': ERROR, '1.6.45': BAD_FORMAT},
    'too few words': {'1.6.18': ERROR, '1.6.45': BAD_FORMAT},
    'too many words': {'1.6.18': ERROR, '1.6.45': None},
    'words of cas': {'1.6.18': 5, '1.6.45': 4},
    'words of gat': {'1.6.18': 1, '1.6.45': 2},
    'gat without a key': {'1.6.18': END, '1.6.45': BAD_FORMAT},
    'a space before get': {'1.6.18': END, '1.6.45': ERROR},
    'unknown, with noreply': {'1.6.18': ERROR, '1.6.45': b''},
    'a NUL ends a line': {'1.6.18': True, '1.6.45': False},
    'a long key of get': {
        '1.6.18': BAD_FORMAT, '1.6.45': BAD_FORMAT + b'\r\n'},
    'a long key of get, with noreply': {
        '1.6.18': BAD_FORMAT, '1.6.45': b'\r\n'},
    'delete with a word': {'1.6.18': BAD_DELETE, '1.6.45': b'DELETED\r\n'},
    # Some take the value of a refused store for a command.
    'a refused value': {'1.6.18': ERROR, '1.6.45': b''},
    # Whether the C library parses numbers: with "+", and beyond 32 bits.
    'loose numbers': {'1.6.18': True, '1.6.45': False},

    # The unique numbers: the first one, and how many are skipped.
    'first number': {'1.6.18': 1, '1.6.38': 2},
    'numbers of a refusal': {'1.6.18': 0, '1.6.38': 1},
    'numbers of a flush': {'1.6.18': 1, '1.6.38': 0},

    # The meta commands.
    'flags of mg': {'1.6.18': 17, '1.6.45': 18},
    'too many flags of md': {
        '1.6.18': FLAGS_TOO_LONG, '1.6.45': TOO_MANY_FLAGS},
    'too many flags of ma': {
        '1.6.18': FLAGS_TOO_LONG, '1.6.45': BAD_FLAG},
    'too many flags of ms': {
        '1.6.18': FLAGS_TOO_LONG, '1.6.45': TOO_MANY_FLAGS},
    'a flag of no letter': {'1.6.18': DUPLICATE_FLAG, '1.6.45': BAD_FORMAT},
    'md names its mistake': {'1.6.18': False, '1.6.45': True},
    'a long key of ma': {'1.6.18': BAD_FORMAT, '1.6.45': BAD_FLAG},
    'one letter behind M': {'1.6.18': True, '1.6.45': False},
    'ms tells the size': {'1.6.18': b'', '1.6.38': b' s1'},
    'a new number, with q': {'1.6.18': b'HD\r\n', '1.6.45': b''},
    'mg compares with C': {'1.6.18': False, '1.6.45': True},
    'flags E and x': {'1.6.18': False, '1.6.38': True},
}


class Release:
    """The answers of one release: `Release('1.6.38')['first number']`."""

    def __init__(self, version):
        self._numbers = _numbers(version)

    @property
    def name(self):
        """The release of the table that this one counts as."""
        return self._newest(RELEASES)

    def __getitem__(self, difference):
        answers = DIFFERENCES[difference]
        return answers[self._newest(answers)]

    def _newest(self, releases):
        # A release older than all of them counts as the oldest.
        return max((release for release in releases
                    if _numbers(release) <= self._numbers),
                   key=_numbers, default=RELEASES[0])


class UniqueNumbers:
    """The unique numbers of a fresh server, counted along with it."""

    def __init__(self, release):
        self._release = release
        self.last = release['first number'] - 1

    def store(self):
        """Return the number of a value that has been stored."""
        self.last += 1
        return self.last

    def refuse(self, times=1):
        """Count the numbers used up by a value that is not stored."""
        self.last += times * self._release['numbers of a refusal']

    def flush(self):
        self.last += self._release['numbers of a flush']


def _numbers(version):
    return [int(number) for number in re.findall(r'\d+', version)[:3]]
