# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""How the results of memoized functions are kept."""

from zope.interface import implementer
from zope.schema import getFieldNames

from p01.memcache.attributes.arguments import check_attribute
from p01.memcache.plone.interfaces import IMemoizeSettings


@implementer(IMemoizeSettings)
class MemoizeSettings:
    """See `IMemoizeSettings`."""

    def __init__(self, lifetime=None, grace=0, ram=0, cacheName=''):
        self.lifetime = lifetime
        self.grace = grace
        self.ram = ram
        self.cacheName = cacheName
        for name in getFieldNames(IMemoizeSettings):
            check_attribute(IMemoizeSettings[name], getattr(self, name))
