# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The user name and the password for memcached's ASCII authentication."""

import re
from functools import partial

from p01.memcache.secret import Secret
from p01.memcache.secret import read_file
from p01.memcache.trust.renewable import Renewable


# memcached separates the two with a blank, and in its own file with a colon. A
# line of that file holds 255 bytes.
_is_text = re.compile(r'[^\x00-\x20\x7f\ud800-\udfff]+').fullmatch
_MOST = 127


def _is_valid(text: str) -> bool:
    return bool(_is_text(text)) and len(text.encode()) <= _MOST


class Credentials:
    """A user name and the `Secret` that is its password."""

    def __init__(self, username: str, password: Secret) -> None:
        if not _is_valid(username) or ':' in username:
            # Not shown: it may hold the password, too.
            raise ValueError(
                f'username: must be 1 to {_MOST} bytes, without colons, blanks'
                ' and control characters')
        if not _is_valid(password.reveal()):
            raise ValueError(
                f'password: must be 1 to {_MOST} bytes, without blanks and'
                ' control characters')
        self.username = username
        self.password = password

    def __repr__(self) -> str:
        return f'<Credentials of {self.username}>'


def read(path: str) -> Renewable[Credentials]:
    """Return the credentials in a file: its first line, ``user:password``.

    This is the format of memcached's own file, see its option ``-Y``.
    """
    return Renewable({'credentialsFile': path}, partial(_read, path))


def _read(path: str, is_first: bool) -> Credentials:
    line = read_file('credentialsFile', path, is_first).partition('\n')[0]
    username, _, password = line.rstrip('\r').partition(':')
    try:
        return Credentials(username, Secret(password))
    except ValueError:
        # Not shown: any line may hold the password.
        raise ValueError(
            f'credentialsFile {path!r}: its first line must be user:password,'
            f' each 1 to {_MOST} bytes, without blanks and control characters'
        ) from None
