# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The right to compute a value: claims, leases, and waiting for others."""
