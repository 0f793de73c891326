# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Secrets, and the files and variables that hold them. None is ever shown."""

import contextlib
import functools
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from typing import TypeVar

from p01.memcache.log import logger


# Bytes of the shortest secret that signs: as many as its signature has.
_LEAST = 32

# Different characters that a secret has at least, to tell it from a ruled
# line. Of 10 million secrets of 32 hexadecimal digits less than one has fewer.
_VARIETY = 8

# Characters of the largest file of secrets.
_MOST = 1 << 16

_Function = TypeVar('_Function', bound=Callable)


_is_name = re.compile(r'[A-Za-z_][A-Za-z_0-9]*').fullmatch


class Secret:
    """A text that only `reveal` shows."""

    __slots__ = ('_text',)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return '<secret>'

    def __reduce__(self) -> NoReturn:
        raise TypeError('a secret must not be stored')

    def reveal(self) -> str:
        return self._text


def discreet(function: _Function) -> _Function:
    """Decorate a function that handles secrets.

    Its exceptions carry nothing but their messages: error trackers show the
    local variables of each frame, and the exceptions in the context.
    """
    @functools.wraps(function)
    def call(*args, **kw):
        handled = sys.exception()
        try:
            return function(*args, **kw)
        except BaseException as error:
            del args, kw
            _empty(error, handled)
            raise
    return call  # type: ignore[return-value]


def _empty(error: BaseException | None, handled: BaseException | None) -> None:
    """Drop what led to the error, but not what was `handled` before."""
    while error is not None and error is not handled:
        traceback.clear_frames(error.__traceback__)
        if error.__suppress_context__:
            error.__context__ = None
        error = error.__cause__ or error.__context__


def reason(error: Exception) -> str:
    """Return why a file could not be used, without its path."""
    return getattr(error, 'strerror', None) or str(error)


def show_path(path: str) -> str:
    """Return as much of the path as exists, to be shown.

    The rest may be a secret that was passed by mistake.
    """
    if os.path.lexists(path):
        return repr(path)
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return repr(os.path.join(folder, '***'))


def read_file(name: str, path: str, warns: bool = True) -> str:
    """Return the text of the file that is the value of attribute `name`.

    It `warns` if others can read or replace the file.
    """
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
        _check_access(name, Path(path), mode, warns)
    if len(text) > _MOST:
        raise ValueError(
            f'{name} {path!r}: it has more than {_MOST} characters')
    return text


def _open(path: str, flags: int) -> int:
    """Open the file, without waiting for ever if it is an idle pipe."""
    number = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(number, True)
    return number


def _check_access(name: str, path: Path, mode: int, warns: bool) -> None:
    """Refuse a file that others can write, warn of what else they can do.

    Others are all but its owner and its group. They can replace the file if
    they can write to a folder above it that is not sticky.
    """
    if mode & stat.S_IWOTH:
        raise ValueError(f'{name} {str(path)!r}: others can write to it')
    if not warns:
        return
    if mode & stat.S_IROTH:
        logger.warning('memcache %s %r: others can read it', name, str(path))
    for folder in {*path.absolute().parents, *path.resolve().parents}:
        with contextlib.suppress(OSError):  # we may have no access to it
            mode = folder.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                logger.warning(
                    'memcache %s %r: others can replace it, as they can write'
                    ' to %r', name, str(path), str(folder))


def read(file: str | None, variable: str | None,
         warns: bool = True) -> list[bytes]:
    """Return the secrets for signatures, of a file or of the environment.

    They are separated by blanks or new lines.
    """
    if file is not None and variable is None:
        name = f'secretsFile {file!r}'
        text = read_file('secretsFile', file, warns)
    elif variable is not None and file is None:
        name, text = f'secretsVariable {variable!r}', _read_variable(variable)
    else:
        raise ValueError(
            'serializer: signing needs a secretsFile or a secretsVariable, and'
            ' not both')
    words = text.split()
    wrong = _find_wrong(words)
    if wrong:
        raise ValueError(
            f'{name}: {wrong}; secrets are separated by blanks or new lines,'
            ' and there are no comments')
    return [word.encode('utf-8', 'surrogateescape') for word in words]


def _read_variable(variable: str) -> str:
    if not _is_name(variable):
        raise ValueError(
            'secretsVariable: must be the name of a variable, of letters,'
            ' digits and underscores')
    text = os.environ.get(variable)
    if text is None:
        raise ValueError(
            'secretsVariable: is not in the environment; its name is not'
            ' shown, since it may be the secret')
    return text


def _find_wrong(words: list[str]) -> str | None:
    """Return what is wrong with the secrets, without showing them."""
    for number, word in enumerate(words, 1):
        if word.startswith('#'):
            return f'secret {number} begins with #'
        if len(word.encode('utf-8', 'surrogateescape')) < _LEAST:
            return f'secret {number} has less than {_LEAST} bytes'
        if len(set(word)) < _VARIETY:
            return (f'secret {number} has fewer than {_VARIETY} different'
                    ' characters')
    return None if words else 'there must be at least one secret'
