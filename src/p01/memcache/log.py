# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The log of the package, in which all text is printable.

A server's replies, keys, values, and the exceptions of the code that reads
them may come from an attacker, and forge lines of the log or send commands to
a terminal. So every record passes through here: its message becomes one line,
and only we break the lines of its traceback.
"""

import logging
import math
import traceback
from time import monotonic


logger = logging.getLogger('p01.memcache')

# So many lines of a `LimitedLog` in so many seconds.
_MOST_LINES, _MINUTE = 20, 60

# Exceptions of a chain that are logged, and characters of a message.
_MOST_CAUSES, _LONGEST = 10, 2000


def printable(text: str, most: int = 300) -> str:
    """Return the text without line breaks and commands to a terminal."""
    # Cut first: it may be the largest part of a value.
    text = text[:most]
    return (text if text.isprintable() else ascii(text)[1:-1])[:most]


def describe(error: BaseException) -> str:
    """Return an exception in printable words."""
    # Not by a TracebackException: it looks for names to suggest in objects
    # that an attacker has made, and fails if a name is not UTF-8.
    try:
        words = str(error)
    except Exception:
        words = '<exception str() failed>'
    return printable(f'{type(error).__name__}: {" ".join(words.split())}')


class LimitedLog:
    """Warnings about an object that may have one at every request.

    `what` they are about, in the plural.
    """

    def __init__(self, what: str = 'changes') -> None:
        self._what = what
        self._begin = -math.inf
        self._count = 0

    def warn(self, message: str, *args: object) -> None:
        now = monotonic()
        if now >= self._begin + _MINUTE:
            missing = self._count - _MOST_LINES
            if missing > 0:
                message += f' ({missing} more {self._what} were not logged)'
            self._begin, self._count = now, 0
        self._count += 1
        if self._count == _MOST_LINES:
            message += (
                f' (more {self._what} are not logged for {_MINUTE} seconds)')
        if self._count <= _MOST_LINES:
            logger.warning(message, *args)


def _make_printable(record: logging.LogRecord) -> bool:
    try:
        message = record.getMessage()
    except Exception as error:
        # The caller of `query` must not get this one.
        message = f'{record.msg}: {describe(error)}'
    record.msg, record.args = printable(message, _LONGEST), ()
    if record.exc_info:
        # Without the exception a handler cannot format it in another way.
        record.exc_text = _format(record.exc_info[1])
        record.exc_info = None
    return True


def _format(error: BaseException | None) -> str:
    """Return the tracebacks of an exception and of its causes, in order."""
    parts: list[str] = []
    while error is not None and len(parts) < _MOST_CAUSES:
        lines = ''.join(traceback.format_tb(error.__traceback__)).splitlines()
        parts.append('\n'.join((
            'Traceback (most recent call last):', *map(printable, lines),
            describe(error))))
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__)
    return '\n\n'.join(reversed(parts))


logger.addFilter(_make_printable)
