# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Secrets, and where they are read from. None of them is shown."""

import contextlib
import functools
import os
import re
import stat
import sys
import traceback
from pathlib import Path

from p01.memcache.errors import reason
from p01.memcache.log import logger


# Bytes of the shortest secret that signs: as many as its signature has.
_LEAST = 32

# Different characters of a secret: a line drawn with a few is none. Of 10
# million secrets of 32 hexadecimal digits less than one has fewer.
_VARIETY = 8

# Characters of the largest file of secrets.
_MOST = 1 << 16


_is_name = re.compile(r'[A-Za-z_][A-Za-z_0-9]*').fullmatch


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


def discreet(function):
    """Decorate a function that sees secrets.

    What it raises tells nothing but its words: error trackers show the local
    variables of an error's frames, and the errors in its context.
    """
    @functools.wraps(function)
    def call(*args, **kw):
        handled = sys.exception()
        try:
            return function(*args, **kw)
        except BaseException as error:
            args = kw = None
            _empty(error, handled)
            raise
    return call


def _empty(error, handled):
    """Forget what led to the error, but not what was `handled` before."""
    while error is not None and error is not handled:
        traceback.clear_frames(error.__traceback__)
        if error.__suppress_context__:
            error.__context__ = None
        error = error.__cause__ or error.__context__


def show_path(path):
    """Return the path to be shown, as far as it exists.

    What does not exist may be a secret that was given instead.
    """
    if os.path.lexists(path):
        return repr(path)
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return repr(os.path.join(folder, '***'))


def read_file(name, path):
    """Return the text of the file that the attribute `name` names."""
    try:
        with open(path, encoding='utf-8-sig', opener=(
                _open if os.name == 'posix' else None)) as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST + 1)
    except UnicodeDecodeError:
        raise ValueError(f'{name} {path!r}: it is not UTF-8') from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{name} {show_path(path)}: {reason(error)}') from None
    if os.name == 'posix':
        _check_access(name, Path(path), mode)
    if len(text) > _MOST:
        raise ValueError(
            f'{name} {path!r}: it has more than {_MOST} characters')
    return text


def _open(path, flags):
    """Open a pipe that nobody writes to, too, without waiting for ever."""
    number = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(number, True)
    return number


def _check_access(name, path, mode):
    """Refuse a file that others can write, warn of what else they can do.

    Others are all but its owner and its group. In a folder that they can
    write, other than a sticky one, they can put another file in its place.
    """
    if mode & stat.S_IWOTH:
        raise ValueError(f'{name} {str(path)!r}: others can write to it')
    if mode & stat.S_IROTH:
        logger.warning('memcache %s %r: others can read it', name, str(path))
    for folder in {*path.absolute().parents, *path.resolve().parents}:
        with contextlib.suppress(OSError):  # it may be closed to ourselves
            mode = folder.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                logger.warning(
                    'memcache %s %r: others can replace it, as they can write'
                    ' to %r', name, str(path), str(folder))


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
            raise ValueError(
                'secretsVariable: must be the name of a variable, of letters,'
                ' digits and underscores')
        name, text = f'secretsVariable {variable!r}', os.environ.get(variable)
        if text is None:
            raise ValueError(
                'secretsVariable: is not in the environment; its name is not'
                ' shown, since it may be the secret')
    words = text.split()
    wrong = _find_wrong(words)
    if wrong:
        raise ValueError(
            f'{name}: {wrong}; secrets are separated by blanks or new lines,'
            ' and there are no comments')
    return [word.encode('utf-8', 'surrogateescape') for word in words]


def _find_wrong(words):
    """Return what is wrong about the secrets, in words without them."""
    for number, word in enumerate(words, 1):
        if word.startswith('#'):
            return f'secret {number} begins with #'
        if len(word.encode('utf-8', 'surrogateescape')) < _LEAST:
            return f'secret {number} has less than {_LEAST} bytes'
        if len(set(word)) < _VARIETY:
            return (f'secret {number} has less than {_VARIETY} different'
                    ' characters')
    return None if words else 'there must be at least one secret'
