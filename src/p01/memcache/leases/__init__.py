# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Who computes a value: claims, leases, and those that wait for others."""
