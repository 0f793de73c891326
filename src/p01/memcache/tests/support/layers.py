# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What the test runner runs side by side: each layer in a process of its own.

They set up nothing. Tests that mostly wait, or start processes, are apart
from those that compute; where a class has a layer with a server, that counts.
"""


class Commands:
    """The package's scripts, run as a whole."""


class Contract:
    """What each client promises."""


class Incidents:
    """Outages and other trouble of servers, and of this process."""


class Interruptions:
    """What strikes within an operation."""


class Replies:
    """What goes wrong between a request and its reply."""


def run_in(layer):
    """Return a module's ``load_tests``: its tests are the layer's."""
    def load_tests(loader, tests, pattern):
        tests.layer = layer
        return tests

    return load_tests
