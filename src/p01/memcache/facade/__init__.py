# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheClient`, on top of any store."""
