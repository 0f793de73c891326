# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Silence the log of tests that provoke failures."""

import logging


def keep_quiet(test):
    """Swallow, until the test ends, what logging would print by default."""
    logger = logging.getLogger('p01.memcache')
    handler = logging.NullHandler()
    logger.addHandler(handler)
    test.addCleanup(logger.removeHandler, handler)
