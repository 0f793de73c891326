# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Examples that hypothesis makes: always the same ones."""

import contextlib
import os

import hypothesis
from hypothesis import configuration


# It would write what it has computed into a folder of the checkout.
configuration.set_hypothesis_home_dir(os.devnull)

# It would try the constants of all modules that are loaded: that takes long,
# and other examples come of it whenever other tests are run as well.
with contextlib.suppress(ImportError, AttributeError):
    from hypothesis.internal.conjecture import providers
    providers._get_local_constants = providers.Constants


def settings(examples):
    """Always the same examples, on a slow machine too."""
    return hypothesis.settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck))
