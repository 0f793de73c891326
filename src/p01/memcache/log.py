# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The log of the package, in which all text is printable.

What a server says, a key, a value, and the exceptions of what reads it may be
an attacker's, who would write lines of his own, or to a terminal. So every
record passes here: its message is one line, and its traceback lines of ours.
"""

import logging
import traceback

from p01.memcache.errors import describe
from p01.memcache.errors import printable


logger = logging.getLogger('p01.memcache')

# Causes of an exception that are told, and characters of a message.
_MOST_CAUSES, _LONGEST = 10, 2000


def _make_printable(record):
    try:
        message = record.getMessage()
    except Exception as error:
        # That is no trouble of the caller of `query`.
        message = f'{record.msg}: {describe(error)}'
    record.msg, record.args = printable(message, _LONGEST), ()
    if record.exc_info:
        # Without the exception a handler has nothing else to write.
        record.exc_text = _tell(record.exc_info[1])
        record.exc_info = None
    return True


def _tell(error):
    """Return the tracebacks of an exception and of its causes, in order."""
    parts = []
    while error is not None and len(parts) < _MOST_CAUSES:
        lines = ''.join(traceback.format_tb(error.__traceback__)).splitlines()
        parts.append('\n'.join((
            'Traceback (most recent call last):', *map(printable, lines),
            describe(error))))
        error = error.__cause__ or (
            None if error.__suppress_context__ else error.__context__)
    return '\n\n'.join(reversed(parts))


logger.addFilter(_make_printable)
