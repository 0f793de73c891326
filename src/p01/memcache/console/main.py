# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command itself: it runs one of its subcommands, and reports trouble."""

import logging
import os
import signal
import sys

from p01.memcache.console.status import INTERRUPTED
from p01.memcache.console.status import NO_READER
from p01.memcache.console.status import TROUBLE
from p01.memcache.console.trouble import Trouble
from p01.memcache.console.trouble import complain
from p01.memcache.errors import MemcacheError
from p01.memcache.log import logger


def main():
    """Run the command of this process, and exit with its status."""
    for name in 'stdin', 'stdout', 'stderr':
        if getattr(sys, name) is None:  # closed
            setattr(sys, name, os.fdopen(
                os.open(os.devnull, os.O_RDWR), 'r+'))
    # A terminal of another encoding shows what it cannot write as \x....
    for stream in sys.stdout, sys.stderr:
        stream.reconfigure(errors='backslashreplace')
    signal.signal(signal.SIGTERM, _end)
    logger.addHandler(_Warnings())
    logger.propagate = False
    try:
        status = execute()
    except BrokenPipeError:
        # What is left would fail again when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = NO_READER
    sys.exit(status)


def execute(arguments=None):
    """Do what the arguments say, and return the exit status."""
    try:
        # Ctrl-C may come while all the rest is imported.
        from p01.memcache.console.arguments import parse
        options = parse(arguments)
        status = options.run(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (Trouble, MemcacheError, ValueError, OSError) as error:
        complain(error)
        return TROUBLE


class _Warnings(logging.Handler):
    """Writes what the client logs, such as a file that others can read."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self._known = set()  # our client and the application's say the same

    def emit(self, record):
        # Changes of a server's state, which the commands show themselves,
        # come from a `LimitedLog`.
        message = record.getMessage()
        if record.module != 'log' and message not in self._known:
            self._known.add(message)
            complain(message)


def _end(number, frame):
    sys.exit(128 + number)
