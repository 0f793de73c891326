# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""zope.ramcache's ``IRAMCache`` on memcached, shared by all processes."""

from p01.memcache.extra import extra


with extra('ramcache'):
    from p01.memcache.ramcache.cache import MemcacheRAMCache


__all__ = ['MemcacheRAMCache']
