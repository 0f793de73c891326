# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The one error of the command, which ends it, and its line."""

import contextlib
import sys

from p01.memcache.log import printable


class Trouble(Exception):
    """What cannot be done, in a line that names the value and the rule."""


def complain(error):
    """Write a line to standard error, and nothing but a line."""
    words = ' '.join(str(error).split())
    if getattr(error, 'server', None):
        words = f'{error.server}: {words}'
    with contextlib.suppress(OSError):  # such as a full disk
        print(f'memcache-client: {printable(words, 2000)}', file=sys.stderr)
