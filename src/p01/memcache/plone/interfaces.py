# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of how the results of memoized functions are kept."""

from zope import schema
from zope.interface import Interface

from p01.memcache.interfaces import Lifetime
from p01.memcache.interfaces import Seconds


class IMemoizeSettings(Interface):
    """How the results of a function are kept.

    This is a utility. Its name is that of the function, "module.function" (or
    "module.method", without the class); without a name it is for all
    functions that have none of their own.
    """

    lifetime = Lifetime(
        title='Lifetime',
        description=(
            "Seconds until a result expires; the default is the client's "
            '`lifetime`. 0 never expires.'),
        min=0,
        required=False,
        default=None)

    grace = Lifetime(
        title='Grace',
        description=(
            'Seconds after the lifetime during which callers get the former '
            'result while one of them computes a new one, see getOrCreate.'),
        min=0,
        default=0)

    ram = Seconds(
        title='RAM',
        description=(
            'Seconds for which a process keeps a result in its own memory '
            'while memcached is away; 0 keeps none. Such a result may be that '
            'old, as no invalidation by other processes reaches it, and it '
            'follows no transaction.'),
        default=0)

    cacheName = schema.TextLine(
        title='Name of the cache',
        description='The name of the `IMemcacheClient` utility.',
        default='')
