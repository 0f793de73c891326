# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A site for the tests: numbers in the database, and pages that show them."""
