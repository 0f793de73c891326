# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What memcached has under a key: taken apart, described, never executed."""
