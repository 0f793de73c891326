# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The same work, in several threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

from p01.memcache.tests.support.waits import PATIENCE


def at_once(function, arguments):
    """Call a function with each of the arguments at once, each in a thread."""
    arguments = list(arguments)
    barrier = threading.Barrier(len(arguments))

    def call(argument):
        barrier.wait(PATIENCE)
        return function(argument)

    with ThreadPoolExecutor(len(arguments)) as executor:
        return list(executor.map(call, arguments))
