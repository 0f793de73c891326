# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""plone.memoize in memcached: ``<include package="p01.memcache.plone" />``.

What ``plone.memoize.ram.cache`` decorates is then computed once among all
processes. See plone.txt.
"""

from p01.memcache.extra import extra


with extra('plone'):
    from p01.memcache.plone.chooser import EVERYTHING
    from p01.memcache.plone.chooser import chooseCache
    from p01.memcache.plone.interfaces import IMemoizeSettings
    from p01.memcache.plone.settings import MemoizeSettings


__all__ = [
    'EVERYTHING',
    'IMemoizeSettings',
    'MemoizeSettings',
    'chooseCache',
]
