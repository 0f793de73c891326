# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The base of both clients: all operations, but no store."""

from zope.interface import implementer

from p01.memcache.facade.counting import Counting
from p01.memcache.facade.creating import Creating
from p01.memcache.facade.flushing import Flushing
from p01.memcache.interfaces import IMemcacheClient


@implementer(IMemcacheClient)
class BaseClient(Creating, Counting, Flushing):
    """See `IMemcacheClient`."""
