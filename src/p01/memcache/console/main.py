# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command itself: it runs one of its subcommands, and reports trouble."""

import contextlib
import logging
import os
import signal
import sys

from p01.memcache.console.arguments import parse
from p01.memcache.console.status import INTERRUPTED
from p01.memcache.console.status import NO_READER
from p01.memcache.console.status import TROUBLE
from p01.memcache.console.trouble import Trouble
from p01.memcache.errors import MemcacheError
from p01.memcache.log import logger
from p01.memcache.log import printable


def main(arguments=None):
    """Run the command, and exit with its status."""
    # A terminal of another encoding shows what it cannot write as \\x....
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors='backslashreplace')
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _end)
    logger.addHandler(_Warnings(logging.WARNING))
    logger.propagate = False
    try:
        status = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left would fail again when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = NO_READER
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (Trouble, MemcacheError, ValueError, OSError) as error:
        complain(error)
        status = TROUBLE
    sys.exit(status)


def complain(text):
    """Write a line to standard error, and nothing but a line."""
    words = ' '.join(str(text).split())
    print(f'memcache-client: {printable(words, 2000)}', file=sys.stderr)


class _Warnings(logging.Handler):
    """Writes what the client logs, such as a file that others can read."""

    def emit(self, record):
        complain(record.getMessage())


def _end(number, frame):
    sys.exit(128 + number)
