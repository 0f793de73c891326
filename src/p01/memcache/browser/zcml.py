# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The directive that registers a page, in Zope or with the Zope Toolkit."""

from p01.memcache.extra import extra
from p01.memcache.protection import in_zope


with extra('browser'):
    from zope.browserpage.metadirectives import IPageDirective


__all__ = ['IPageDirective', 'page']


def page(_context, **options):
    """Register it as browser:page does, whose own directive differs."""
    if in_zope():
        from Products.Five.browser.metaconfigure import page
    else:
        from zope.browserpage.metaconfigure import page
    page(_context, **options)
