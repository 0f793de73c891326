# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The ZCML directive that installs the client."""

from zope.interface import Interface

from p01.memcache.mcdutils.client import install


class IMcdutilsDirective(Interface):
    """Let every MemCacheProxy of Products.mcdutils use the utility.

    It is the utility with the id of the proxy, or else the unnamed one. The
    servers that the proxy lists are not used.
    """


def mcdutils(_context):
    """See `IMcdutilsDirective`."""
    _context.action(discriminator=IMcdutilsDirective, callable=install)
