# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""MD5, which finds a place for a key, and protects nothing."""

import hashlib
from functools import partial


try:
    # The interpreter's own: for so short a text it takes half the time.
    from _md5 import md5  # type: ignore[import-not-found]
except ImportError:
    md5 = partial(hashlib.md5, usedforsecurity=False)
