# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Examples made by hypothesis: always the same ones."""

import contextlib
import os

import hypothesis
from hypothesis import configuration


# By default it writes its results into a folder of the checkout.
configuration.set_hypothesis_home_dir(os.devnull)

# By default it tries the constants of all loaded modules. That takes long, and
# the examples depend on which other tests are run.
with contextlib.suppress(ImportError, AttributeError):
    from hypothesis.internal.conjecture import providers
    providers._get_local_constants = providers.Constants


def settings(examples):
    """Return settings: always the same examples, also on a slow machine."""
    return hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck))
