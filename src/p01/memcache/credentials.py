# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The user name and the password for memcached's ASCII authentication."""

import re


# memcached separates the two with a blank, and its own file's lines hold 255.
_check = re.compile(r'[^\x00-\x20\x7f\ud800-\udfff]{1,127}').fullmatch


class Secret:
    """A text that is shown to nobody who does not ask for it by name."""

    __slots__ = ('_text',)

    def __init__(self, text):
        self._text = text

    def __repr__(self):
        return '<secret>'

    def __reduce__(self):
        raise TypeError('a secret is not to be stored')

    def reveal(self):
        return self._text


class Credentials:
    """A user name and the `Secret` that is its password."""

    def __init__(self, username, password):
        if not _check(username):
            raise ValueError(
                f'username {username!r}: must be 1 to 127 characters, without'
                ' blanks and control characters')
        if not _check(password.reveal()):
            raise ValueError(
                'password: must be 1 to 127 characters, without blanks and'
                ' control characters')
        self.username = username
        self.password = password

    def hide(self, text):
        """Return the text without the password: servers may repeat it."""
        return text.replace(self.password.reveal(), '***')

    def __repr__(self):
        return f'<Credentials of {self.username}>'


def read(path):
    """Return the credentials in a file: its first line, ``user:password``.

    That is the format of the file that memcached has with ``-Y``.
    """
    try:
        with open(path, encoding='utf-8') as file:
            line = file.readline(1024)
    except UnicodeDecodeError:
        raise ValueError(
            f'credentialsFile {path!r}: it is not UTF-8') from None
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise ValueError(f'credentialsFile {path!r}: {reason}') from None
    username, _, password = line.rstrip('\r\n').partition(':')
    try:
        return Credentials(username, Secret(password))
    except ValueError:
        # Whatever the line is, it may hold the password.
        raise ValueError(
            f'credentialsFile {path!r}: its first line must be user:password,'
            ' each 1 to 127 characters, without blanks and control characters'
        ) from None
