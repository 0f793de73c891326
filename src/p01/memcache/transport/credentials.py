# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The user name and the password for memcached's ASCII authentication."""

import re

from p01.memcache.secret import Secret
from p01.memcache.secret import read_file


# memcached separates the two with a blank, and in its own file with a colon. A
# line of that holds 255 bytes.
_is_text = re.compile(r'[^\x00-\x20\x7f\ud800-\udfff]+').fullmatch
_MOST = 127


def _is_valid(text):
    return _is_text(text) and len(text.encode()) <= _MOST


class Credentials:
    """A user name and the `Secret` that is its password."""

    def __init__(self, username, password):
        if not _is_valid(username) or ':' in username:
            # It is not named: it may be both in one.
            raise ValueError(
                f'username: must be 1 to {_MOST} bytes, without colons, blanks'
                ' and control characters')
        if not _is_valid(password.reveal()):
            raise ValueError(
                f'password: must be 1 to {_MOST} bytes, without blanks and'
                ' control characters')
        self.username = username
        self.password = password

    def __repr__(self):
        return f'<Credentials of {self.username}>'


def read(path):
    """Return the credentials in a file: its first line, ``user:password``.

    That is the format of the file that memcached has with ``-Y``.
    """
    line = read_file('credentialsFile', path).partition('\n')[0]
    username, _, password = line.rstrip('\r').partition(':')
    try:
        return Credentials(username, Secret(password))
    except ValueError:
        # Whatever the line is, it may hold the password.
        raise ValueError(
            f'credentialsFile {path!r}: its first line must be user:password,'
            f' each 1 to {_MOST} bytes, without blanks and control characters'
        ) from None
