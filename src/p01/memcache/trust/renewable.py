# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A value that is made of files, and made anew when they change.

Whatever is wrong with them then, the former value remains in force.
"""

import contextlib
import hashlib
import math
import os
import stat
from collections.abc import Callable
from collections.abc import Mapping
from time import monotonic
from typing import Generic
from typing import TypeVar

from p01.memcache.errors import PoolTimeout
from p01.memcache.log import logger
from p01.memcache.secret import discreet
from p01.memcache.secret import reason
from p01.memcache.secret import show_path
from p01.memcache.threads import fork
from p01.memcache.threads.turn import MOMENT
from p01.memcache.threads.turn import Turn


T = TypeVar('T')

# Seconds. So long after a change a file is read once more: it may have changed
# again within the same tick of the file system's clock. A file that is wrong
# is read at this interval, and logged if it still is: it may have been half
# written.
_SETTLED = 1

# Bytes of a file, which is read within an operation. The authorities of a
# system are a tenth of that.
_MOST = 1 << 21


class Given(Generic[T]):
    """A value that never changes."""

    def __init__(self, value: T) -> None:
        self.value = value

    def current(self) -> T:
        """Return the value, for the next use."""
        return self.value

    def renewed(self) -> T:
        """Return the value, after a failure that it may have caused."""
        return self.value


class Renewable(Given[T]):
    """A value that ``make(is_first)`` makes of files, or else a ValueError.

    `files` are paths by the names of their settings. A pipe, for example, is
    read once.
    """

    @discreet
    def __init__(self, files: Mapping[str, str],
                 make: Callable[[bool], T]) -> None:
        self._files = files
        self._make = make
        self._seen = self._look()
        self._read_at = now = monotonic()
        self._next = now + _SETTLED  # when they are read without a change
        self._wrong_since = math.inf
        self._digests: dict[str, bytes] = {}
        with contextlib.suppress(OSError, ValueError):  # make() says why
            if not all(map(_is_regular, files.values())):
                self._files = {}
                self._seen, self._next = self._look(), math.inf
            # Before it is read: if it changes meanwhile, that is noticed.
            self._digests = self._digest()
        super().__init__(make(True))
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        self._turn = Turn()

    def current(self) -> T:
        """Return the value, which is made anew if a file has changed."""
        if monotonic() >= self._next or self._look() != self._seen:
            return self.renewed()
        return self.value

    @discreet
    def renewed(self) -> T:
        """Return the value, which is made anew if a file differs.

        One thread reads, and others wait for a moment.
        """
        asked = monotonic()
        with contextlib.suppress(PoolTimeout), self._turn.by(asked + MOMENT):
            if self._files and self._read_at < asked:
                self._read()
        return self.value

    def _read(self) -> None:
        self._read_at = now = monotonic()
        seen = self._look()
        try:
            digests = self._digest()
            changed = {name: path for name, path in self._files.items()
                       if digests[name] != self._digests.get(name)}
            value = self._make(False) if changed else self.value
            if changed and self._digest() != digests:
                raise ValueError(f'{_list(changed)}: changes all the time')
        except ValueError as error:
            self._seen, self._next = seen, now + _SETTLED
            self._note(error, now)
            return
        if changed:
            self.value = value
            self._digests = digests
        if seen != self._seen:
            self._seen, self._next = seen, now + _SETTLED
        elif now >= self._next:
            self._next = math.inf
        self._wrong_since = math.inf
        if changed:
            logger.info('memcache %s: read again', _list(changed))

    def _note(self, error: ValueError, now: float) -> None:
        """Log once that a file is wrong, and was not just being written."""
        self._wrong_since = min(self._wrong_since, now)
        if 0 < self._wrong_since <= now - _SETTLED:
            self._wrong_since = -math.inf
            logger.warning('memcache %s; the former remains in force', error)

    def _look(self) -> list[tuple[int, ...] | None]:
        """Return what shows that a file has changed."""
        return [_look(path) for path in self._files.values()]

    def _digest(self) -> dict[str, bytes]:
        digests = {}
        for name, path in self._files.items():
            try:
                if not _is_regular(path):
                    raise OSError('it is not a file')
                with open(path, 'rb') as file:
                    if os.fstat(file.fileno()).st_size > _MOST:
                        raise OSError(f'it has more than {_MOST} bytes')
                    digests[name] = hashlib.file_digest(
                        file, 'sha256').digest()
            except OSError as error:
                raise ValueError(
                    f'{name} {show_path(path)}: {reason(error)}') from None
        return digests


def _look(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # the path cannot be one
        return None
    # The time of the last change of its status differs, too, if its mode was
    # mended, or an older file was moved there.
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino,
            found.st_dev)


def _is_regular(path: str) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)


def _list(files: Mapping[str, str]) -> str:
    return ', '.join(
        f'{name} {show_path(path)}' for name, path in files.items())
