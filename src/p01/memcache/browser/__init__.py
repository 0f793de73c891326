# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The page @@memcache: what an operator sees of all clients, in a browser."""
