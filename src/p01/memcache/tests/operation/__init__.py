# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Tests of what an operator looks at: bin/test-operation."""
