# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Layers, to be run in parallel: each in a process of its own.

They set up nothing. Tests that mostly wait, or start processes, are kept apart
from those that compute. A class whose layer has a server keeps that layer.
"""


class Commands:
    """The package's scripts, run as a whole."""


class Contract:
    """What each client promises."""


class Incidents:
    """Outages and other failures of servers, and of this process."""


class Interruptions:
    """Exceptions that strike within an operation."""


class Replies:
    """Failures between a request and its reply."""


def run_in(layer):
    """Return a ``load_tests`` that puts a module's tests into the layer."""
    def load_tests(loader, tests, pattern):
        tests.layer = layer
        return tests

    return load_tests
