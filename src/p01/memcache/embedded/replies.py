# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The replies of memcached, and the exceptions that end a request early."""

#: The release whose behaviour this is.
VERSION = '1.6.45'

OK = b'OK\r\n'
END = b'END\r\n'
ERROR = b'ERROR\r\n'
NOT_FOUND = b'NOT_FOUND\r\n'

#: What becomes of a change, in the words of the meta commands: done, not
#: stored, another value exists, nothing found.
HD, NS, EX, NF = b'HD', b'NS', b'EX', b'NF'

#: The same in the words of the basic commands.
STORED = {HD: b'STORED\r\n', NS: b'NOT_STORED\r\n', EX: b'EXISTS\r\n',
          NF: NOT_FOUND}

BAD_FORMAT = b'CLIENT_ERROR bad command line format\r\n'
BAD_CHUNK = b'CLIENT_ERROR bad data chunk\r\n'
BAD_EXPTIME = b'CLIENT_ERROR invalid exptime argument\r\n'
BAD_DELTA = b'CLIENT_ERROR invalid numeric delta argument\r\n'
BAD_NUMBER = (b'CLIENT_ERROR cannot increment or decrement '
              b'non-numeric value\r\n')
TOO_LARGE = b'SERVER_ERROR object too large for cache\r\n'

# The meta commands only.
BAD_TOKEN = b'CLIENT_ERROR bad token in command line format\r\n'
BAD_META_DELTA = b'CLIENT_ERROR invalid numeric delta value\r\n'
BAD_INITIAL = b'CLIENT_ERROR invalid numeric initial value\r\n'
BAD_KEY = b'CLIENT_ERROR error decoding key\r\n'
BAD_FLAG = b'CLIENT_ERROR invalid or duplicate flag\r\n'
BAD_MODE = b'CLIENT_ERROR invalid mode for %b M token\r\n'
INVALID_FLAG = b'CLIENT_ERROR invalid flag\r\n'
DUPLICATE_FLAG = b'CLIENT_ERROR duplicate flag\r\n'
TOO_MANY_FLAGS = b'CLIENT_ERROR options flags are too long\r\n'
LONG_OPAQUE = b'CLIENT_ERROR opaque token too long\r\n'


class Refused(Exception):
    """A request that is not carried out; the argument is the reply."""


class Malformed(Refused):
    """A request that the parser does not take; `noreply` is not read then."""


class HangUp(Exception):
    """The connection ends, without another word."""
