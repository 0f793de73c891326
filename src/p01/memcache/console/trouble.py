# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The one error of the command, which ends it."""


class Trouble(Exception):
    """What cannot be done, in a line that names the value and the rule."""
