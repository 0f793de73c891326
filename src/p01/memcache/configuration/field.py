# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The schema fields that the settings need."""

import math

from zope import schema


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class Unshown(schema.TextLine):
    """A text that no error shows: it may be a misplaced secret."""


class File(Unshown):
    """The path of a file. In ZCML it may be relative to the ZCML file."""


class Servers(schema.List):
    """Addresses of servers, and places that list servers."""


class Drained(schema.List):
    """Addresses of servers that are not used."""


class Namespace(schema.TextLine):
    """A text that can be encoded, as keys are."""


class Lifetime(schema.Int):
    """A number of seconds that memcached can count."""


class Seconds(schema.Real):
    """A duration in seconds, of a day at most."""

    def __init__(self, min=0, max=86400, **kw):
        super().__init__(min=min, max=max, **kw)

    def constraint(self, value):
        return math.isfinite(value)
