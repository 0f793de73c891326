# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Content and the cache: names of objects, and the events that change them.

A value that shows content depends on names such as ``path:/shop/shoes``; the
directive ``<p01:dependencies>`` has the events of content invalidate them.
"""

from p01.memcache.content.events import changedNames
from p01.memcache.content.interfaces import IContentIdentity
from p01.memcache.content.names import dependenciesOf
from p01.memcache.content.names import listingName
from p01.memcache.content.names import pathName
from p01.memcache.content.names import typeName
from p01.memcache.content.names import uidName


__all__ = [
    'IContentIdentity',
    'changedNames',
    'dependenciesOf',
    'listingName',
    'pathName',
    'typeName',
    'uidName',
]
