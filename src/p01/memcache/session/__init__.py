# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""zope.session's sessions in memcached, shared by all processes."""

from p01.memcache.extra import extra


with extra('session'):
    from p01.memcache.session.container import MemcacheSessionDataContainer


__all__ = ['MemcacheSessionDataContainer']
