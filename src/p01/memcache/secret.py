# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Secrets, and where they are read from. None of them is shown."""

import os
import re

from p01.memcache.errors import reason


# Bytes of the shortest secret that signs: as many as its signature has.
_LEAST = 32

# Characters of the largest file of secrets.
_MOST = 1 << 16


_is_name = re.compile(r'[A-Za-z_][A-Za-z_0-9]{,49}').fullmatch


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


def read_file(name, path):
    """Return the text of the file that the attribute `name` names."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            text = file.read(_MOST + 1)
    except UnicodeDecodeError:
        text = None  # that error has all of it
    except (OSError, ValueError) as error:
        raise ValueError(f'{name} {path!r}: {reason(error)}') from None
    if text is None:
        raise ValueError(f'{name} {path!r}: it is not UTF-8')
    if len(text) > _MOST:
        text = None
        raise ValueError(
            f'{name} {path!r}: it has more than {_MOST} characters')
    return text


def read(file, variable):
    """Return the secrets for signatures, in a file or in the environment.

    They are separated by blanks or new lines.
    """
    if (file is None) == (variable is None):
        raise ValueError(
            'serializer: signing needs a secretsFile or a secretsVariable, and'
            ' not both')
    if file is not None:
        name, text = f'secretsFile {file!r}', read_file('secretsFile', file)
    else:
        if not _is_name(variable):
            # It is not named: it may be the secret.
            raise ValueError(
                'secretsVariable: must be the name of a variable, at most 50'
                ' letters, digits and underscores')
        name = f'secretsVariable {variable!r}'
        text = os.environ.get(variable)
        if text is None:
            raise ValueError(f'{name}: is not in the environment')
    secrets = [
        word.encode('utf-8', 'surrogateescape') for word in text.split()]
    wrong = _find_wrong(secrets)
    if wrong:
        text = secrets = None  # some show what the frames of an error have
        raise ValueError(
            f'{name}: {wrong}; secrets are separated by blanks or new lines,'
            ' and there are no comments')
    return secrets


def _find_wrong(secrets):
    """Return what is wrong about the secrets, in words without them."""
    for number, secret in enumerate(secrets, 1):
        if len(secret) < _LEAST:
            return f'secret {number} has less than {_LEAST} bytes'
    return None if secrets else 'there must be at least one secret'
