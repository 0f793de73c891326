# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The exit statuses of the command."""

#: All is well; what was asked for is there.
WELL = 0

#: Some servers are down; there is no such value.
PARTLY = 1

#: No server can be reached, or the command is wrong.
TROUBLE = 2

#: Ended by Ctrl-C, and by a reader that has gone.
INTERRUPTED, NO_READER = 130, 141


def of_servers(up, count):
    """Return the status if so many of the servers are up."""
    if not up:
        return TROUBLE
    return WELL if up == count else PARTLY
