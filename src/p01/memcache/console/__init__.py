# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command memcache-client: what an operator asks from a terminal."""
