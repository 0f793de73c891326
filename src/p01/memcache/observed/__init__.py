# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What is observed: clients, their regions, and what their servers say."""
