# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The replies of memcached that are longer than a word."""


BAD_FORMAT = b'CLIENT_ERROR bad command line format\r\n'
BAD_EXPTIME = b'CLIENT_ERROR invalid exptime argument\r\n'
BAD_DELTA = b'CLIENT_ERROR invalid numeric delta argument\r\n'
BAD_NUMBER = (b'CLIENT_ERROR cannot increment or decrement '
              b'non-numeric value\r\n')
TOO_LARGE = b'SERVER_ERROR object too large for cache\r\n'
BAD_CHUNK = b'CLIENT_ERROR bad data chunk\r\n'
BAD_TOKEN = b'CLIENT_ERROR bad token in command line format\r\n'
BAD_FLAG = b'CLIENT_ERROR invalid or duplicate flag\r\n'
BAD_MODE = b'CLIENT_ERROR incorrect length for M token\r\n'
BAD_KEY = b'CLIENT_ERROR error decoding key\r\n'
INVALID_FLAG = b'CLIENT_ERROR invalid flag\r\n'
DUPLICATE_FLAG = b'CLIENT_ERROR duplicate flag\r\n'
LONG_OPAQUE = b'CLIENT_ERROR opaque token too long\r\n'
TOO_MANY_FLAGS = b'CLIENT_ERROR options flags are too long\r\n'
